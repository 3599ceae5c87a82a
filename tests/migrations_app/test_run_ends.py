"""How a run ends when somebody cancels it, when its target goes away for good, when no worker is left; and the ways
on. At every request, over two small Supersets.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from migrations_app import leftovers, services
from migrations_app.applying import looking, wake_lookers
from migrations_app.applying.looking import LEAVE, TARGET_AWAY
from migrations_app.errors import NotReady
from migrations_app.models import Migration, MigrationState, Run, RunState, StepState
from sstools.audit.models import AuditEvent
from sstools.errors import NotAllowed
from sstools.jobs import services as jobs
from sstools.jobs.models import Job, JobLock, State
from sstools.jobs.runner import run_job
from sstools.jobs.services import LeaseLost
from sstools.resources import resource_name
from tests.factories import uuid_for

from .scenes import FULL, Scene, check, create, red, told, update

pytestmark = pytest.mark.django_db(transaction=True)


def measured(scene: Scene) -> tuple[int, list[int]]:
    """(number of requests, those that write) of the run when nothing happens to it."""
    scene.apply(scene.plan())
    return len(scene.gate.seen), scene.gate.writes


def only_run(migration: Migration) -> Run:
    return Run.objects.select_related("migration__target").get(migration=migration.pk)


# --- Cancelling ---------------------------------------------------------------------------------------------


@pytest.mark.both_databases
@pytest.mark.parametrize("choice", ["", "finish", "roll_back"])
def test_a_cancel_at_any_request_ends_as_it_was_chosen(scene: Scene, choice: str) -> None:
    """Before the first write nothing happens; after it the run is finished or undone. With no choice it asks."""
    total, writes = measured(scene)
    asked = 0
    for number in range(total):
        migration = scene.plan()
        before, dev = scene.pair.prod.state(), scene.pair.dev.state()

        def cancelled() -> None:
            jobs.request_cancel(Job.objects.get(state="running"), actor=scene.product.admin, choice=choice)

        job = scene.apply(migration, number, cancelled)
        if job.state == State.NEEDS_INPUT:
            asked += 1
            assert (job.question or {})["code"] == jobs.CANCEL_CHOICE
            assert set(job.held_locks.values_list("resource", flat=True)) == set(job.lock_names())
            assert number >= writes[0], told(job)
            answer = "finish" if number % 2 else "roll_back"
            jobs.answer(job, answer, actor=scene.product.admin)
            scene.work(job)
            expected = RunState.APPLIED if answer == "finish" else RunState.ROLLED_BACK
        elif number < writes[0]:
            expected = RunState.STOPPED
        elif choice == "roll_back":
            expected = RunState.ROLLED_BACK
        else:
            expected = RunState.APPLIED
        outcome = check(scene, migration, job, before, dev)
        late = number >= total - 2  # the last charts are asked: truth wins where it had ended already
        assert outcome == expected or (late and outcome == RunState.APPLIED), (number, told(job))
        run = only_run(migration)
        if outcome == RunState.APPLIED and number > writes[-1] + 1 and not choice and run.error:
            assert run.error["code"] == "verification_incomplete"
    assert bool(asked) == (choice == "")


@pytest.mark.both_databases
def test_a_run_that_asks_what_its_cancel_means_keeps_others_from_the_target(scene: Scene) -> None:
    _, writes = measured(scene)
    migration = scene.plan()

    def cancelled() -> None:
        jobs.request_cancel(Job.objects.get(state="running"), actor=scene.product.admin)

    job = scene.apply(migration, writes[0], cancelled)
    assert job.state == State.NEEDS_INPUT, told(job)
    chart = scene.pair.dev.record("chart", uuid_for("Revenue"))
    chart["data"]["description"], chart["changed_on"] = "newer", timezone.now()
    other = scene.product.migrate(scene.pair.source, scene.pair.target, [uuid_for("Revenue")])
    assert other.plan is not None
    assert other.plan.write_count == 1
    waiting = services.request_apply(other, plan_hash=other.plan.hash, actor=scene.product.admin)
    assert run_job(str(waiting.uuid)) == "nothing to claim"
    jobs.request_cancel(job, actor=scene.product.admin, choice="roll_back")
    scene.work(job)
    assert job.state == State.CANCELLED, told(job)
    run = only_run(migration)
    assert run.state == RunState.ROLLED_BACK
    assert "chose to roll it back" in (run.error or {})["message"]
    run_job(str(waiting.uuid))
    waiting.refresh_from_db()
    assert waiting.state != State.QUEUED


def test_a_roll_back_that_has_begun_to_write_is_brought_to_its_end(scene: Scene) -> None:
    first = scene.plan()
    scene.apply(first)
    rollback = scene.product.roll_back(only_run(first))
    rollback.refresh_from_db()

    def cancelled() -> None:
        jobs.request_cancel(Job.objects.get(state="running"), actor=scene.product.admin, choice="roll_back")

    scene.reset()
    state = scene.pair.prod.state()
    job = scene.apply(rollback)
    at = scene.gate.writes[0]
    scene.pair.prod.assets = state
    first.refresh_from_db()
    assert job.state == State.SUCCEEDED
    assert first.state == MigrationState.ROLLED_BACK
    # the same once more, cancelled right after its first write
    migration = scene.plan()
    scene.apply(migration)
    rollback = scene.product.roll_back(only_run(migration))
    rollback.refresh_from_db()
    job = scene.apply(rollback, at, cancelled)
    assert job.state == State.SUCCEEDED, told(job)
    assert "brought to its end" in told(job)
    assert only_run(migration).state == RunState.ROLLED_BACK


# --- The target goes away and comes back ---------------------------------------------------------------------


@pytest.mark.parametrize("prepare", [create, update, red] if FULL else [create])
def test_a_target_that_goes_away_in_the_middle_is_looked_at_when_it_is_back(
    scene: Scene, prepare: Any
) -> None:
    scene.prepare = prepare
    total, writes = measured(scene)
    rested = 0
    for number in range(total):
        migration = scene.plan()
        before, dev = scene.pair.prod.state(), scene.pair.dev.state()
        job = scene.apply(migration, down_from=number)
        run = only_run(migration)
        assert run.is_finished
        look = Job.objects.filter(kind=leftovers.LOOK).first()
        if run.looked_at is None and run.state == RunState.NEEDS_ATTENTION:
            assert look is not None, told(job)
            assert set(look.held_locks.values_list("resource", flat=True)) == set(job.lock_names())
            scene.work(look)  # still away
            assert (look.state, (look.question or {})["code"]) == (State.NEEDS_INPUT, TARGET_AWAY)
            assert wake_lookers() == 0  # not yet
            scene.reset()
            question = {**(look.question or {}), "look_at": timezone.now().isoformat()}
            Job.objects.filter(pk=look.pk).update(question=question)
            assert wake_lookers() == 1
            scene.work(look)
            assert look.state == State.SUCCEEDED, told(look)
            rested += 1
            run.refresh_from_db()
            assert run.looked_at is not None
        else:
            assert look is None
        scene.reset()
        if (
            run.state == RunState.APPLIED and job.state == State.FAILED
        ):  # as it turned out when it was looked at
            assert (run.error or {})["code"] == "verification_incomplete"
            run.job = None
            run.save()
        outcome = check(scene, migration, job, before, dev)
        if number <= writes[0]:
            assert outcome == RunState.STOPPED, (number, told(job))
    assert rested


def test_looking_can_be_ended_by_somebody(scene: Scene) -> None:
    _, writes = measured(scene)
    migration = scene.plan()
    scene.apply(migration, down_from=writes[0] + 1)
    look = Job.objects.get(kind=leftovers.LOOK)
    scene.work(look)
    jobs.answer(look, LEAVE, actor=scene.product.admin)
    scene.work(look)
    assert look.state == State.SUCCEEDED
    assert not JobLock.objects.exists()
    run = only_run(migration)
    assert (run.state, run.looked_at) == (RunState.NEEDS_ATTENTION, None)
    assert "is not known" in (run.error or {})["message"]
    with pytest.raises(NotReady, match="not known yet"):
        leftovers.retry_rest(run, actor=scene.product.admin)
    scene.reset()
    scene.product.do(leftovers.look_again(run, actor=scene.product.admin))
    run.refresh_from_db()
    assert run.looked_at is not None
    assert len(run.written) + len(run.unwritten) == 4


# --- No worker is left ---------------------------------------------------------------------------------------


@pytest.mark.both_databases
@pytest.mark.parametrize(
    ("prepare", "fault"),
    [
        (prepare, fault)
        for prepare in (create, red)
        for fault in ("dies", "dies_after", "dies_late")
        if FULL or (prepare, fault) in ((create, "dies_late"), (red, "dies_after"))
    ],
)
def test_a_run_whose_workers_all_died_is_looked_at_before_anybody_writes(
    scene: Scene, settings: Any, prepare: Any, fault: str
) -> None:
    settings.JOB_MAX_ATTEMPTS = 1
    scene.prepare = prepare
    total, _ = measured(scene)
    for number in range(total):
        migration = scene.plan()
        before, dev = scene.pair.prod.state(), scene.pair.dev.state()
        assert migration.plan is not None
        scene.reset(at=number, fault=fault)
        job = services.request_apply(migration, plan_hash=migration.plan.hash, actor=scene.product.admin)
        run_job(str(job.uuid))
        Job.objects.filter(pk=job.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
        jobs.sweep()
        job.refresh_from_db()
        assert (job.state, (job.error or {})["code"]) == (State.FAILED, "worker_lost")
        assert not Run.objects.unfinished().exists()
        look = Job.objects.filter(kind=leftovers.LOOK).first()
        if look is not None:
            assert set(look.held_locks.values_list("resource", flat=True)) == set(job.lock_names())
            scene.product.do(look)
        run = only_run(migration)
        run.job = None  # its job failed, whatever the run turned out to be
        run.save()
        try:
            check(scene, migration, job, before, dev)
        except AssertionError as error:
            told_all = f"{told(job)}\n{told(look) if look else ''}"
            raise AssertionError(
                f"{fault} at {number} {scene.gate.seen[number]}\n{error}\n{told_all}"
            ) from error


def lost(job: Job) -> None:
    """Its worker died and the lease ran out: given up, as JOB_MAX_ATTEMPTS is 1."""
    run_job(str(job.uuid))
    Job.objects.filter(pk=job.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    jobs.sweep()
    job.refresh_from_db()
    assert (job.state, (job.error or {})["code"]) == (State.FAILED, "worker_lost")


def left_to_look(scene: Scene, at: int, fault: str) -> tuple[Migration, Job, Job]:
    """A run whose workers all died at a request, and the look at what it left, still to be done."""
    migration = scene.plan()
    assert migration.plan is not None
    scene.reset(at=at, fault=fault)
    job = services.request_apply(migration, plan_hash=migration.plan.hash, actor=scene.product.admin)
    lost(job)
    scene.reset()
    return migration, job, Job.objects.get(kind=leftovers.LOOK)


@pytest.mark.parametrize("prepare", [create, red], ids=["at requests", "at conclusions"])
def test_a_look_whose_worker_dies_anywhere_is_taken_up_by_another(
    scene: Scene, settings: Any, monkeypatch: pytest.MonkeyPatch, prepare: Any
) -> None:
    """At every request of it; before and after each conclusion is written down, of the run and of what undid it."""
    scene.prepare = prepare
    _, writes = measured(scene)
    real, concluded = looking.conclude, [0]

    def died(at: int = -1, conclusion: int = 0) -> bool:
        """Whether the look got as far as where its worker was to die."""
        settings.JOB_MAX_ATTEMPTS = 1
        # After its last write: of `red` that undoes, so two runs are to be concluded.
        migration, job, look = left_to_look(scene, writes[-1], "dies_after")
        dev, before = scene.begin
        settings.JOB_MAX_ATTEMPTS = 3
        concluded[0] = 0

        def conclude(*args: Any, **kwargs: Any) -> Any:
            concluded[0] += 1
            if concluded[0] == conclusion:
                raise LeaseLost
            answer = real(*args, **kwargs)
            concluded[0] += 1
            if concluded[0] == conclusion:
                raise LeaseLost
            return answer

        monkeypatch.setattr(looking, "conclude", conclude)
        scene.reset(at=at, fault="dies")
        run_job(str(look.uuid))
        look.refresh_from_db()
        is_dead = look.state == State.RUNNING
        if is_dead:
            assert set(look.held_locks.values_list("resource", flat=True)) == set(job.lock_names())
            Job.objects.filter(pk=look.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
            concluded[0] = -100
        scene.reset()
        if is_dead:
            scene.work(look)
        assert look.state == State.SUCCEEDED, told(look)
        assert (look.result or {}).get("looked") is True
        run = only_run(migration)
        assert run.looked_at is not None
        run.job = None  # its job failed, whatever the run turned out to be
        run.save()
        check(scene, migration, job, before, dev)
        return is_dead

    tried = 0
    if prepare is create:
        while died(at=tried):
            tried += 1
        assert tried >= 2
    else:
        while died(conclusion=tried + 1):
            tried += 1
        assert tried == 4


def test_a_look_that_loses_all_its_workers_is_followed_by_another_with_its_locks(
    scene: Scene, settings: Any
) -> None:
    _, writes = measured(scene)
    settings.JOB_MAX_ATTEMPTS = 1
    migration, job, look = left_to_look(scene, writes[0], "dies_after")
    locked = set(job.lock_names())
    for number in range(leftovers.MOST_LOOKS):
        assert set(look.held_locks.values_list("resource", flat=True)) == locked
        assert (only_run(migration).error or {})["remedy"] == "Wait for the answer."
        scene.reset(at=0, fault="dies")
        lost(look)
        looks = Job.objects.filter(kind=leftovers.LOOK).order_by("pk")
        if number + 1 < leftovers.MOST_LOOKS:
            look = looks[number + 1]
            assert look.state == State.QUEUED
    assert looks.count() == leftovers.MOST_LOOKS  # something kills them: somebody has to see what
    assert not JobLock.objects.exists()
    run = only_run(migration)
    assert (run.state, run.looked_at) == (RunState.NEEDS_ATTENTION, None)
    assert "is not known. The worker died" in (run.error or {})["message"]
    scene.reset()
    scene.product.do(leftovers.look_again(run, actor=scene.product.admin))
    run.refresh_from_db()
    assert run.looked_at is not None


def test_a_death_of_the_next_look_counts_anew_after_one_that_saw_something(
    scene: Scene, settings: Any
) -> None:
    _, writes = measured(scene)
    settings.JOB_MAX_ATTEMPTS = 1
    migration, _, look = left_to_look(scene, writes[0], "dies_after")
    for _ in range(leftovers.MOST_LOOKS - 1):
        scene.reset(at=0, fault="dies")
        lost(look)
        look = Job.objects.filter(kind=leftovers.LOOK).latest("pk")
    scene.reset()
    scene.work(look)
    run = only_run(migration)
    assert (look.state, run.looked_at is not None) == (State.SUCCEEDED, True)


# --- A worker that lost the job, and is not dead --------------------------------------------------------------


def test_a_worker_that_lost_its_job_sends_nothing_more(scene: Scene) -> None:
    total, _ = measured(scene)

    def taken_away() -> None:
        Job.objects.filter(state="running").update(owner="another worker")

    for number in range(total):
        migration = scene.plan()
        assert migration.plan is not None
        scene.reset(at=number, fault=taken_away)
        job = services.request_apply(migration, plan_hash=migration.plan.hash, actor=scene.product.admin)
        run_job(str(job.uuid))
        assert not [other for other in scene.gate.writes if other > number], (number, scene.gate.seen)
        job.refresh_from_db()
        assert (job.state, job.owner) == (State.RUNNING, "another worker")


def test_what_somebody_edited_while_no_worker_was_there_stays(scene: Scene) -> None:
    """The first bundle was written, the worker died, a chart was edited, and another worker takes over."""
    _, writes = measured(scene)
    migration = scene.plan()

    def edited_and_died() -> None:
        record = scene.pair.prod.record("chart", uuid_for("Revenue"))
        record["data"]["description"] = "an hour of work"
        raise jobs.LeaseLost

    job = scene.apply(migration, writes[1], edited_and_died)
    run = only_run(migration)
    assert scene.pair.prod.record("chart", uuid_for("Revenue"))["data"]["description"] == "an hour of work"
    assert run.state == RunState.NEEDS_ATTENTION, told(job)
    assert "Revenue" in (run.error or {})["message"]
    assert set(run.unwritten) >= {uuid_for("Sales"), uuid_for("Regions")}


# --- Ways on -------------------------------------------------------------------------------------------------


@pytest.fixture
def half(scene: Scene) -> Run:
    """A run that wrote the charts and not the dashboard, and cannot be undone: it needs attention."""
    _, writes = measured(scene)
    migration = scene.plan()
    scene.apply(migration, down_from=writes[1])
    scene.reset()
    look = Job.objects.get(kind=leftovers.LOOK)
    scene.work(look)
    run = only_run(migration)
    assert run.state == RunState.NEEDS_ATTENTION
    assert sorted(run.unwritten) == [uuid_for("Sales")]
    return run


def test_the_rest_of_a_run_is_written_and_completes_it(scene: Scene, half: Run) -> None:
    admin = scene.product.admin
    rest = leftovers.retry_rest(half, actor=admin)
    assert leftovers.retry_rest(half, actor=admin) == rest
    scene.product.plan(rest)
    assert rest.plan is not None
    assert [(item.title, item.action) for item in rest.plan.items.all()] == [("Sales", "create")]
    scene.apply(rest)
    half.refresh_from_db()
    half.migration.refresh_from_db()
    assert (half.state, half.unwritten, len(half.written)) == (RunState.APPLIED, [], 4)
    assert half.migration.state == MigrationState.DONE
    assert f"by run {rest.runs.get().number}" in (half.error or {})["message"]
    assert AuditEvent.objects.filter(action="run:retry_rest").exists()
    # rolled back again, only that much is gone
    scene.apply(scene.product.roll_back(rest.runs.get()))
    half.refresh_from_db()
    assert (half.state, half.unwritten) == (RunState.NEEDS_ATTENTION, [uuid_for("Sales")])


def test_a_run_is_left_as_it_is_and_says_who_wanted_that(scene: Scene, half: Run, make_user: Any) -> None:
    author = make_user("author", "author", on=resource_name(scene.pair.target))
    with pytest.raises(NotAllowed):
        leftovers.accept(half, actor=author)
    state = scene.pair.prod.state()
    leftovers.accept(half, actor=scene.product.admin, comment="the dashboard is not needed")
    half.refresh_from_db()
    half.migration.refresh_from_db()
    assert (half.state, half.migration.state) == (RunState.ACCEPTED, MigrationState.ACCEPTED)
    assert scene.pair.prod.state() == state
    event = AuditEvent.objects.get(action="run:accept")
    assert event.data["comment"] == "the dashboard is not needed"
    for decide in (leftovers.retry_rest, leftovers.accept, leftovers.look_again):
        with pytest.raises(NotReady):
            decide(half, actor=scene.product.admin)
    # it can still be rolled back
    scene.apply(scene.product.roll_back(half))
    half.refresh_from_db()
    assert (half.state, half.written, half.created) == (RunState.ROLLED_BACK, [], [])


def test_looking_again_sees_what_somebody_mended_by_hand(scene: Scene, half: Run) -> None:
    for kind in ("chart", "dataset"):
        scene.pair.prod.assets[kind].clear()
    scene.product.do(leftovers.look_again(half, actor=scene.product.admin))
    half.refresh_from_db()
    half.migration.refresh_from_db()
    assert (half.state, half.written, half.created) == (RunState.ROLLED_BACK, [], [])
    assert half.migration.state == MigrationState.ROLLED_BACK


def test_no_step_is_left_running(scene: Scene, half: Run) -> None:
    assert not half.steps.filter(state=StepState.RUNNING).exists()
