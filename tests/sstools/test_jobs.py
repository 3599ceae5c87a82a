"""Claiming, fencing, locks, cancel, sweep: with rows and functions, without processes (see test_workers.py)."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import F
from django_q.models import OrmQ

from sstools.audit.models import AuditEvent
from sstools.errors import Conflict, Invalid, JobCancelled, NotAllowed
from sstools.jobs import registry, runner, services
from sstools.jobs.models import Job, JobLock, JobLog, JobResource, State
from sstools.secrets import Secret
from tests.sstools.queue import expire, forget_message, in_threads
from tests.trial import tasks
from tests.trial.models import Effect

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]
PROD = "environment:prod"
DEV = "environment:dev"


# --- Asking


def test_a_job_and_its_message_come_and_go_with_the_transaction(author):
    with transaction.atomic():
        services.enqueue("trial.write", {"name": "a"}, actor=author)
        transaction.set_rollback(True)
    assert (Job.objects.count(), OrmQ.objects.count()) == (0, 0)
    services.enqueue("trial.write", {"name": "a"}, actor=author)
    assert (Job.objects.count(), OrmQ.objects.count()) == (1, 1)


def test_the_message_carries_nothing_but_the_uuid(author):
    job = services.enqueue("trial.write", {"name": "a"}, actor=author)
    task = OrmQ.objects.get().task
    assert (task["func"], task["args"], task["kwargs"]) == (services.RUNNER, (str(job.uuid),), {})


def test_a_second_click_joins_the_running_job_and_a_new_try_after_its_end_is_a_new_job(author, run_jobs):
    first = services.enqueue("trial.write", {"name": "a"}, actor=author, join_key="run:1")
    second = services.enqueue("trial.write", {"name": "a"}, actor=author, join_key="run:1")
    assert (second.pk, second.joined, first.joined) == (first.pk, True, False)
    run_jobs()
    assert services.enqueue("trial.write", {"name": "a"}, actor=author, join_key="run:1").pk != first.pk


def test_many_concurrent_clicks_make_one_job(author):
    jobs = in_threads(
        8, lambda _: services.enqueue("trial.write", {"name": "a"}, actor=author, join_key="run:1").pk
    )
    assert len(set(jobs)) == 1
    assert (Job.objects.count(), OrmQ.objects.count()) == (1, 1)


def test_an_idempotency_key_gives_the_first_job_for_good_and_refuses_another_request(
    author, viewer, run_jobs
):
    first = services.enqueue("trial.write", {"name": "a"}, actor=author, idempotency_key="k1")
    run_jobs()
    again = services.enqueue("trial.write", {"name": "a"}, actor=author, idempotency_key="k1")
    assert (again.pk, again.joined) == (first.pk, True)
    with pytest.raises(Conflict) as refused:
        services.enqueue("trial.write", {"name": "b"}, actor=author, idempotency_key="k1")
    assert refused.value.code == "idempotency_key_reused"
    other_person = services.enqueue("trial.write", {"name": "a"}, actor=viewer, idempotency_key="k1")
    assert other_person.pk != first.pk


def test_params_with_a_secret_or_an_object_are_refused(author):
    for value in (Secret("x"), object(), {"deep": [Secret("x")]}):
        with pytest.raises(TypeError):
            services.enqueue("trial.write", {"name": value}, actor=author)


def test_an_unknown_kind_is_refused_before_anything_is_written(author):
    with pytest.raises(registry.UnknownKind):
        services.enqueue("trial.nonsense", actor=author)
    assert not Job.objects.exists()


# --- Doing


def test_a_job_runs_once_and_leaves_result_log_and_times(author, run_jobs):
    job = services.enqueue("trial.apply", {"name": "n"}, actor=author)
    assert run_jobs() == 1
    job.refresh_from_db()
    assert (job.state, job.result, job.attempt, job.error) == (State.SUCCEEDED, {"name": "n"}, 1, None)
    assert job.created_at <= job.started_at <= job.finished_at
    assert job.lease_until is None
    lines = list(JobLog.objects.filter(job=job).values_list("seq", "text", "is_step", "fields"))
    assert lines == [
        (1, "First", True, {}),
        (2, "with password=*** in it", False, {"token": "***"}),
        (3, "Second", True, {}),
    ]


def test_of_many_workers_with_the_same_message_one_gets_the_job(author):
    job = services.enqueue("trial.write", {"name": "a"}, actor=author)
    claims = in_threads(8, lambda _: services.claim(str(job.uuid)))
    assert sum(isinstance(claim, Job) for claim in claims) == 1
    assert sum(claim is None for claim in claims) == 7
    job.refresh_from_db()
    assert job.attempt == 1


def test_a_message_for_a_finished_job_does_nothing(author, run_jobs):
    job = services.enqueue("trial.write", {"name": "a"}, actor=author)
    run_jobs()
    assert runner.run_job(str(job.uuid)) == "nothing to claim"
    assert Effect.objects.count() == 1


def test_an_expected_error_is_kept_with_code_and_remedy(author, run_jobs):
    job = services.enqueue("trial.refuse", actor=author)
    run_jobs()
    job.refresh_from_db()
    assert job.state == State.FAILED
    assert job.error == {"code": "stale_plan", "message": "The plan is stale.", "remedy": "Make a new plan."}


def test_what_a_job_is_refused_is_in_the_history_with_the_job(author, run_jobs):
    job = services.enqueue("trial.forbidden", {"user": author.pk}, actor=author)
    run_jobs()
    job.refresh_from_db()
    assert (job.state, job.error["code"]) == (State.FAILED, "not_allowed")
    denied = AuditEvent.objects.get(action="access:denied")
    assert (denied.actor_name, denied.source, denied.job) == ("author", "job", str(job.uuid))
    assert denied.data == {"permission": "migration:apply", "kind": "trial.forbidden"}


def test_a_bug_ends_the_job_as_unexpected_and_shows_no_secret(author, run_jobs):
    job = services.enqueue("trial.break", actor=author)
    run_jobs()
    job.refresh_from_db()
    assert (job.state, job.error["code"]) == (State.FAILED, "unexpected")
    assert "hunter2" not in str(job.error) + " ".join(job.logs.values_list("text", flat=True))


def test_a_result_that_is_not_json_fails_the_job(author, run_jobs):
    job = services.enqueue("trial.bad_result", actor=author)
    run_jobs()
    job.refresh_from_db()
    assert (job.state, job.error["code"]) == (State.FAILED, "unexpected")


def test_on_end_is_told_of_every_way_to_end(author, run_jobs):
    tasks.ended.clear()
    done = services.enqueue("trial.write", {"name": "a"}, actor=author)
    run_jobs()
    dropped = services.enqueue("trial.write", {"name": "b"}, actor=author)
    services.request_cancel(dropped, actor=author)
    assert tasks.ended == [(str(done.uuid), "succeeded"), (str(dropped.uuid), "cancelled")]


# --- Losing a lease


def test_a_worker_that_lost_its_lease_writes_no_row(author):
    job = services.enqueue("trial.write", {"name": "a"}, actor=author)
    slow = services.claim(str(job.uuid))
    expire(job)
    fast = services.claim(str(job.uuid))
    assert fast is not None
    assert (fast.attempt, fast.losses, fast.is_resumed) == (2, 1, True)
    assert fast.lost_at is not None
    assert fast.owner != slow.owner

    ctx = runner.JobContext(slow, runner.Heartbeat(slow))
    with pytest.raises(services.LeaseLost):
        ctx.step("I am late")
    with pytest.raises(services.LeaseLost), ctx.fenced():
        Effect.objects.create(name="late")
    with pytest.raises(services.LeaseLost):
        ctx.log("info", "late")
    assert services.finish(slow, State.SUCCEEDED, result={"late": True}) is False
    assert services.renew(slow) is None
    assert not Effect.objects.exists()
    assert not JobLog.objects.exists()
    assert services.finish(fast, State.SUCCEEDED) is True


def test_a_fenced_block_commits_while_the_job_is_ours(author):
    job = services.enqueue("trial.write", {"name": "a"}, actor=author)
    mine = services.claim(str(job.uuid))
    ctx = runner.JobContext(mine, runner.Heartbeat(mine))
    with ctx.fenced():
        Effect.objects.create(name="in time")
    assert Effect.objects.count() == 1


def test_a_lease_that_could_not_be_renewed_counts_as_lost_by_the_workers_own_clock(author, settings):
    job = services.enqueue("trial.write", {"name": "a"}, actor=author)
    mine = services.claim(str(job.uuid))
    heartbeat = runner.Heartbeat(mine)
    assert not heartbeat.is_lost
    heartbeat._renewed -= settings.JOB_LEASE_SECONDS + 1
    with pytest.raises(services.LeaseLost):
        runner.JobContext(mine, heartbeat).checkpoint()


def test_the_heartbeat_keeps_a_job_longer_than_its_lease(author, settings):
    settings.JOB_LEASE_SECONDS = 1
    job = services.enqueue("trial.write", {"name": "a", "steps": 2, "seconds": 1.2}, actor=author)
    assert runner.run_job(str(job.uuid)) == State.SUCCEEDED
    job.refresh_from_db()
    assert (job.attempt, job.losses) == (1, 0)


# --- Cancelling


def test_a_waiting_job_is_cancelled_at_once(author, run_jobs):
    job = services.enqueue("trial.write", {"name": "a"}, actor=author, locks=[PROD])
    services.request_cancel(job, actor=author)
    job.refresh_from_db()
    assert (job.state, job.error["code"]) == (State.CANCELLED, "cancelled")
    assert run_jobs() == 0
    assert not Effect.objects.exists()


def test_a_running_job_ends_at_its_next_cancel_point_but_not_between_writes_that_belong_together(author):
    job = services.enqueue("trial.write", {"name": "a"}, actor=author)
    mine = services.claim(str(job.uuid))
    ctx = runner.JobContext(mine, runner.Heartbeat(mine))
    ctx.step("One")
    services.request_cancel(job, actor=author)
    services.request_cancel(job, actor=author)
    ctx.step("Two", cancellable=False)
    assert ctx.cancel_requested
    with pytest.raises(JobCancelled):
        ctx.step("Three")


def test_cancelling_a_finished_job_is_a_conflict_and_its_end_stands(author, run_jobs):
    job = services.enqueue("trial.write", {"name": "a"}, actor=author)
    run_jobs()
    with pytest.raises(Conflict) as refused:
        services.request_cancel(job, actor=author)
    assert refused.value.code == "already_finished"
    job.refresh_from_db()
    assert (job.state, job.cancel_requested) == (State.SUCCEEDED, False)


def test_a_cancel_that_races_with_the_end_leaves_one_truth(author):
    for _ in range(5):
        job = services.enqueue("trial.write", {"name": "a"}, actor=author)
        mine = services.claim(str(job.uuid))
        work: list[Callable[[], Any]] = [
            lambda mine=mine: services.finish(mine, State.SUCCEEDED),
            lambda job=job: services.request_cancel(job, actor=author),
        ]
        in_threads(2, lambda index, work=work: work[index]())
        job.refresh_from_db()
        assert job.state == State.SUCCEEDED


def test_who_may_cancel(author, viewer, release_lead, make_user):
    job = services.enqueue("trial.write", {"name": "a"}, actor=author, locks=[PROD])
    other_lead = make_user("lead_of_dev", "release_lead", on=DEV)
    for user in (viewer, other_lead):
        with pytest.raises(NotAllowed):
            services.request_cancel(job, actor=user)
    assert services.may_cancel(job, make_user("lead_of_prod", "release_lead", on=PROD))
    services.request_cancel(job, actor=release_lead)
    job.refresh_from_db()
    assert (job.state, job.cancel_requested_by) == (State.CANCELLED, release_lead)


# --- Locks


def test_two_jobs_on_one_target_run_one_after_the_other_in_the_order_asked(author):
    first = services.enqueue("trial.write", {"name": "a"}, actor=author, locks=[PROD])
    second = services.enqueue("trial.write", {"name": "b"}, actor=author, locks=[PROD])
    third = services.enqueue("trial.write", {"name": "c"}, actor=author, locks=[PROD])
    elsewhere = services.enqueue("trial.write", {"name": "d"}, actor=author, locks=[DEV])

    mine = services.claim(str(first.uuid))
    assert services.claim(str(second.uuid)) is None
    assert services.claim(str(elsewhere.uuid)) is not None
    second.refresh_from_db()
    assert (second.state, second.attempt, second.waits_for()) == (State.QUEUED, 0, [first])
    assert set(Job.objects.with_is_blocked().filter(is_blocked=True)) == {second, third}

    OrmQ.objects.all().delete()
    services.finish(mine, State.SUCCEEDED)
    assert [m.task["args"][0] for m in OrmQ.objects.order_by("pk")] == [str(second.uuid)]
    assert services.claim(str(third.uuid)) is None  # the second was here first
    assert services.claim(str(second.uuid)) is not None


def test_a_job_takes_all_its_locks_or_none(author):
    first = services.enqueue("trial.write", {"name": "a"}, actor=author, locks=[PROD])
    both = services.enqueue("trial.write", {"name": "b"}, actor=author, locks=[DEV, PROD])
    services.claim(str(first.uuid))
    assert services.claim(str(both.uuid)) is None
    assert set(JobLock.objects.values_list("resource", flat=True)) == {PROD}


def test_a_job_that_waits_for_two_does_not_hold_up_the_rest(author):
    """The older job cannot run now, so the younger one need not wait for it."""
    holder = services.enqueue("trial.write", {"name": "a"}, actor=author, locks=[PROD])
    services.claim(str(holder.uuid))
    services.enqueue("trial.write", {"name": "b"}, actor=author, locks=[DEV, PROD])
    younger = services.enqueue("trial.write", {"name": "c"}, actor=author, locks=[DEV])
    assert services.claim(str(younger.uuid)) is not None


def test_many_workers_and_one_target_never_two_at_a_time(author):
    jobs = [
        services.enqueue("trial.write", {"name": f"{n}"}, actor=author, locks=[PROD, f"other:{n}"])
        for n in range(6)
    ]
    claims = in_threads(6, lambda index: services.claim(str(jobs[index].uuid)))
    assert not [claim for claim in claims if isinstance(claim, Exception)]
    assert sum(isinstance(claim, Job) for claim in claims) <= 1
    assert JobLock.objects.filter(resource=PROD).count() == Job.objects.filter(state=State.RUNNING).count()


def test_a_lost_job_keeps_its_lock_until_it_is_resumed_or_given_up(author):
    job = services.enqueue("trial.write", {"name": "a"}, actor=author, locks=[PROD])
    other = services.enqueue("trial.write", {"name": "b"}, actor=author, locks=[PROD])
    services.claim(str(job.uuid))
    expire(job)
    assert services.claim(str(other.uuid)) is None
    again = services.claim(str(job.uuid))
    assert again is not None
    services.finish(again, State.FAILED, error={"code": "x", "message": "x", "remedy": ""})
    assert services.claim(str(other.uuid)) is not None


def test_locks_of_jobs_that_do_not_run_are_freed_by_the_sweep(author):
    job = services.enqueue("trial.write", {"name": "a"}, actor=author, locks=[PROD])
    services.claim(str(job.uuid))
    Job.objects.filter(pk=job.pk).update(state=State.FAILED)  # by hand, in the database
    assert services.sweep().freed == 1
    assert not JobLock.objects.exists()


# --- Sweeping


def test_the_sweep_leaves_what_is_in_order_alone(author):
    services.enqueue("trial.write", {"name": "a"}, actor=author)
    running = services.enqueue("trial.write", {"name": "b"}, actor=author)
    services.claim(str(running.uuid))
    assert services.sweep() == services.Swept(0, 0, 0)


def test_the_sweep_sends_a_lost_message_once_per_grace_time(author):
    job = services.enqueue("trial.write", {"name": "a"}, actor=author)
    forget_message(job)
    assert services.sweep().resent == 1
    assert services.sweep().resent == 0
    assert OrmQ.objects.get().task["args"] == (str(job.uuid),)


def test_the_sweep_resumes_the_job_of_a_dead_worker_and_done_steps_are_not_repeated(author, run_jobs):
    job = services.enqueue("trial.write", {"name": "a", "steps": 3}, actor=author)
    services.claim(str(job.uuid))
    Effect.objects.create(name="a/0")  # what the dead worker got done
    expire(job)
    OrmQ.objects.all().delete()
    assert services.sweep().resent == 1
    assert services.sweep().resent == 0
    assert runner.run_job(OrmQ.objects.get().task["args"][0]) == State.SUCCEEDED
    job.refresh_from_db()
    assert (job.attempt, job.losses) == (2, 1)
    assert sorted(Effect.objects.values_list("name", flat=True)) == ["a/0", "a/1", "a/2"]
    assert JobLog.objects.filter(job=job, text__contains="the worker before was lost").exists()


def test_a_job_that_kills_its_workers_is_given_up_as_worker_lost(author, settings):
    tasks.ended.clear()
    job = services.enqueue("trial.write", {"name": "a"}, actor=author, locks=[PROD])
    for attempt in range(1, settings.JOB_MAX_ATTEMPTS + 1):
        assert services.claim(str(job.uuid)).attempt == attempt
        expire(job)
    assert services.claim(str(job.uuid)) is None
    assert services.sweep().lost == 1
    job.refresh_from_db()
    assert (job.state, job.error["code"], job.attempt) == (
        State.FAILED,
        "worker_lost",
        settings.JOB_MAX_ATTEMPTS,
    )
    assert not JobLock.objects.exists()
    assert tasks.ended == [(str(job.uuid), "failed")]


def test_a_job_that_waits_for_a_lock_is_not_sent_again_and_again(author):
    first = services.enqueue("trial.write", {"name": "a"}, actor=author, locks=[PROD])
    second = services.enqueue("trial.write", {"name": "b"}, actor=author, locks=[PROD])
    services.claim(str(first.uuid))
    forget_message(second)
    assert services.sweep().resent == 0
    Job.objects.filter(pk=second.pk).update(ready_at=F("ready_at") - timedelta(hours=1))
    assert services.oldest_wait_seconds() == 0


def test_several_sweepers_send_one_message(author):
    job = services.enqueue("trial.write", {"name": "a"}, actor=author)
    forget_message(job)
    swept = in_threads(4, lambda _: services.sweep())
    assert sum(one.resent for one in swept) == 1
    assert OrmQ.objects.count() == 1


def test_how_long_the_oldest_claimable_job_waits(author):
    assert services.oldest_wait_seconds() == 0
    job = services.enqueue("trial.write", {"name": "a"}, actor=author)
    Job.objects.filter(pk=job.pk).update(ready_at=F("ready_at") - timedelta(seconds=90))
    assert 89 < services.oldest_wait_seconds() < 100


# --- Input, retry


def test_a_job_that_needs_input_holds_neither_worker_nor_lock_and_goes_on_with_the_answer(author, run_jobs):
    job = services.enqueue("trial.ask", actor=author, locks=[PROD])
    run_jobs()
    job.refresh_from_db()
    assert (job.state, job.question["title"], job.owner) == (State.NEEDS_INPUT, "Which database?", "")
    assert not JobLock.objects.exists()
    services.answer(job, "dwh", actor=author)
    with pytest.raises(Conflict):
        services.answer(job, "other", actor=author)
    run_jobs()
    job.refresh_from_db()
    assert (job.state, job.result, job.losses) == (State.SUCCEEDED, {"chosen": "dwh"}, 0)


def test_an_answer_that_is_none_of_the_choices_is_refused(author, run_jobs):
    job = services.enqueue("trial.ask", actor=author)
    run_jobs()
    with pytest.raises(Invalid) as refused:
        services.answer(job, "nonsense", actor=author)
    assert refused.value.code == "bad_answer"
    job.refresh_from_db()
    assert (job.state, job.answer) == (State.NEEDS_INPUT, None)


# --- A cancel when half is written


def paused(author: Any, run_jobs: Callable[[], int]) -> Job:
    """A job that wrote half, was cancelled without saying how, and asks."""
    job = services.enqueue("trial.half", {"name": "h"}, actor=author, locks=[PROD])
    tasks.between.append(lambda: services.request_cancel(job, actor=author))
    run_jobs()
    job.refresh_from_db()
    assert (job.state, job.question["code"], job.owner) == (State.NEEDS_INPUT, "cancel_choice", "")
    return job


def effects() -> list[str]:
    return sorted(Effect.objects.values_list("name", flat=True))


@pytest.mark.parametrize(
    ("choice", "state", "left"),
    [("finish", State.SUCCEEDED, ["h/0", "h/1"]), ("roll_back", State.CANCELLED, [])],
)
@pytest.mark.parametrize("how", ["cancel", "answer", "at once"])
def test_a_cancel_of_half_written_work_is_obeyed_as_it_was_meant(author, run_jobs, choice, state, left, how):
    if how == "at once":
        job = services.enqueue("trial.half", {"name": "h"}, actor=author, locks=[PROD])
        tasks.between.append(lambda: services.request_cancel(job, actor=author, choice=choice))
    else:
        job = paused(author, run_jobs)
        if how == "cancel":
            services.request_cancel(job, actor=author, choice=choice)
        else:
            services.answer(job, choice, actor=author)
    run_jobs()
    job.refresh_from_db()
    assert (job.state, job.cancel_choice, effects()) == (state, choice, left)
    assert not JobLock.objects.exists()


def test_a_job_that_asks_with_half_written_keeps_its_locks_whatever_sweeps(author, run_jobs):
    job = paused(author, run_jobs)
    other = services.enqueue("trial.write", {"name": "o"}, actor=author, locks=[PROD])
    assert services.sweep() == services.Swept(0, 0, 0)
    assert services.claim(str(other.uuid)) is None
    assert other.waits_for() == [job]
    Job.objects.filter(pk=other.pk).update(ready_at=F("ready_at") - timedelta(hours=1))
    assert services.oldest_wait_seconds() == 0  # the queue moves: it waits for a person
    services.request_cancel(job, actor=author)  # the second click on the same button
    job.refresh_from_db()
    assert (job.state, effects()) == (State.NEEDS_INPUT, ["h/0"])
    services.answer(job, "finish", actor=author)
    assert services.sweep().freed == 0
    assert services.claim(str(other.uuid)) is None  # still half written, though nobody works on it
    assert run_jobs() == 2
    assert effects() == ["h/0", "h/1", "o/0"]


def test_a_choice_that_comes_while_the_job_is_about_to_ask_is_not_overlooked(author):
    job = services.enqueue("trial.half", {"name": "h"}, actor=author, locks=[PROD])
    mine = services.claim(str(job.uuid))
    services.request_cancel(job, actor=author, choice="finish")
    assert services.ask(mine, {"code": "cancel_choice", "text": "?"}, keep_locks=True)
    job.refresh_from_db()
    assert (job.state, job.answer, job.held_locks.count()) == (State.QUEUED, "finish", 1)


def test_a_cancel_wakes_a_half_done_job_that_asks_something_else(author):
    job = services.enqueue("trial.half", {"name": "h"}, actor=author, locks=[PROD])
    services.ask(services.claim(str(job.uuid)), {"code": "mapping", "text": "Which?"}, keep_locks=True)
    services.request_cancel(job, actor=author, choice="roll_back")
    job.refresh_from_db()
    assert (job.state, job.cancel_requested, job.cancel_choice) == (State.QUEUED, True, "roll_back")
    services.request_cancel(job, actor=author)  # and does not end it while it waits for its worker
    job.refresh_from_db()
    assert (job.state, job.cancel_choice) == (State.QUEUED, "roll_back")


def test_a_choice_that_the_kind_does_not_know_is_refused_and_nothing_is_cancelled(author):
    half = services.enqueue("trial.half", {"name": "h"}, actor=author)
    plain = services.enqueue("trial.write", {"name": "a"}, actor=author)
    for job, choice in ((half, "explode"), (plain, "finish")):
        with pytest.raises(Invalid) as refused:
            services.request_cancel(job, actor=author, choice=choice)
        assert refused.value.code == "no_such_choice"
        job.refresh_from_db()
        assert (job.state, job.cancel_requested) == (State.QUEUED, False)


def test_trying_again_is_a_new_job_and_asking_twice_gives_the_same(author, run_jobs):
    job = services.enqueue("trial.refuse", actor=author, locks=[PROD], about=[DEV])
    with pytest.raises(Conflict):
        services.retry(job, actor=author)
    run_jobs()
    job.refresh_from_db()
    again, twice = services.retry(job, actor=author), services.retry(job, actor=author)
    assert again.pk == twice.pk != job.pk
    assert (again.retry_of, again.lock_names()) == (job, [PROD])
    assert set(JobResource.objects.filter(job=again).values_list("resource", flat=True)) == {PROD, DEV}


def test_a_kind_that_forbids_it_is_not_tried_again(author, run_jobs):
    job = services.enqueue("trial.break", actor=author)
    run_jobs()
    job.refresh_from_db()
    with pytest.raises(Conflict) as refused:
        services.retry(job, actor=author)
    assert refused.value.code == "not_retryable"


def test_trying_again_needs_the_right_that_the_kind_asks_for(author, release_lead, make_user):
    job = services.enqueue("trial.apply", actor=author, locks=[PROD])
    services.request_cancel(job, actor=author)
    job.refresh_from_db()
    lead_of_dev = make_user("lead_of_dev", "release_lead", on=DEV)
    for user in (author, lead_of_dev):
        with pytest.raises(NotAllowed):
            services.retry(job, actor=user)
    assert services.retry(job, actor=release_lead).actor == release_lead


# --- Seeing


def test_who_sees_which_job(author, viewer, stranger, make_user):
    mine = services.enqueue("trial.write", {"name": "a"}, actor=stranger)
    on_prod = services.enqueue("trial.write", {"name": "b"}, actor=author, locks=[PROD], about=[DEV])
    viewer_of_dev = make_user("viewer_of_dev", "viewer", on=DEV)
    viewer_of_stage = make_user("viewer_of_stage", "viewer", on="environment:stage")
    assert set(Job.objects.visible_to(viewer)) == {mine, on_prod}
    assert set(Job.objects.visible_to(stranger)) == {mine}
    assert set(Job.objects.visible_to(viewer_of_dev)) == {on_prod}
    assert set(Job.objects.visible_to(viewer_of_stage)) == set()


def test_log_numbers_have_no_gaps_when_several_write(author):
    job = services.enqueue("trial.write", {"name": "a"}, actor=author)
    mine = services.claim(str(job.uuid))
    in_threads(4, lambda index: [services.log(mine, "info", f"{index}") for _ in range(5)])
    assert list(JobLog.objects.filter(job=job).order_by("seq").values_list("seq", flat=True)) == list(
        range(1, 21)
    )


def test_the_leases_clock_is_the_databases(author):
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT clock_timestamp()")
            assert abs((services.db_now() - cursor.fetchone()[0]).total_seconds()) < 5
        else:
            assert services.db_now().tzinfo is not None
