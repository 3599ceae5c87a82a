"""Making, changing, pausing, taking over, running: rights, validation and history."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from environments.models import Environment
from migrations_app.models import MigrationState, Run, RunState
from sstools.audit.models import AuditEvent
from sstools.errors import Conflict, Invalid, NotAllowed
from sstools.jobs import registry
from sstools.jobs import services as jobs
from sstools.jobs.models import Job, State
from sstools.roles.models import Grant
from sstools.schedules import firing, services
from sstools.schedules.models import Firing, Schedule
from sstools.schedules.tasks import TIDY_UP
from tests.factories import make_environment, make_migration, make_plan

from .conftest import at, due, end, scope

pytestmark = pytest.mark.django_db
Make = Callable[..., Schedule]


def errors_of(make: Make, owner: Any, **fields: Any) -> dict[str, list[str]]:
    with pytest.raises(Invalid) as refused:
        make(owner, **fields)
    assert not Schedule.objects.exists()
    return refused.value.errors


def history() -> list[str]:
    return list(AuditEvent.objects.order_by("number").values_list("action", flat=True))


# --- Making


def test_a_schedule_is_made_with_its_next_run_and_a_line_in_history(
    make_schedule: Make, author: Any, environment: Environment
) -> None:
    schedule = make_schedule(author, cron=" 0  2 * * MON-FRI ", time_zone="Europe/Berlin")
    assert (schedule.cron, schedule.words) == ("0 2 * * mon-fri", "At 02:00, Monday through Friday")
    assert (schedule.owner, schedule.resource) == (author, scope(environment))
    assert schedule.next_due_at is not None
    assert schedule.next_due_at > jobs.db_now()
    assert schedule.next_due_at.astimezone(schedule.zone).hour == 2
    event = AuditEvent.objects.get()
    assert (event.action, event.actor_id) == ("schedule:create", author.pk)
    assert event.data["params"] == {"environment": str(environment.uuid)}


def test_wrong_values_are_named_by_field(make_schedule: Make, author: Any) -> None:
    found = errors_of(
        make_schedule,
        author,
        name="  ",
        cron="61 25 * * *",
        time_zone="Mars/Olympus",
        jitter_seconds=-1,
        grace_seconds=5,
        missed="never",
        params={"environment": "00000000-0000-0000-0000-000000000000"},
    )
    assert set(found) == {
        "name",
        "cron",
        "time_zone",
        "jitter_seconds",
        "grace_seconds",
        "missed",
        "params.environment",
    }
    assert found["cron"] == ["Minute: 61 is not between 0 and 59.", "Hour: 25 is not between 0 and 23."]


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"params": {}}, "params.environment"),
        ({"params": {"environment": "dev"}}, "params.environment"),
        ({"params": {"environment": ["x"]}}, "params.environment"),
        ({"params": {"enviroment": "x"}}, "params.enviroment"),
        ({"params": "dev"}, "params"),
        ({"kind": "migrations_app.apply_plan"}, "kind"),  # writing by the clock is for later
        ({"kind": "no.such"}, "kind"),
        ({"cron": 5}, "cron"),
        ({"time_zone": None}, "time_zone"),
        ({"jitter_seconds": True}, "jitter_seconds"),
        ({"grace_seconds": "600"}, "grace_seconds"),
        ({"cron": "*/5 * * * *", "jitter_seconds": 300}, "jitter_seconds"),
    ],
)
def test_input_of_the_wrong_shape_is_refused(
    make_schedule: Make, author: Any, fields: dict[str, Any], name: str
) -> None:
    assert set(errors_of(make_schedule, author, **fields)) == {name}


def test_an_environment_that_one_may_not_see_is_no_choice(
    make_schedule: Make, make_user: Callable[..., Any], environment: Environment
) -> None:
    other = make_environment("prod")
    ann = make_user("ann", role="author", on=scope(environment))
    assert set(errors_of(make_schedule, ann, params={"environment": str(other.uuid)})) == {
        "params.environment"
    }
    assert make_schedule(ann).owner == ann


@pytest.mark.parametrize("role", ["viewer", ""])
def test_making_one_needs_the_right(make_schedule: Make, make_user: Callable[..., Any], role: str) -> None:
    ann = make_user("ann", role=role)
    with pytest.raises((NotAllowed, Invalid)):
        make_schedule(ann)
    assert not Schedule.objects.exists()


def test_making_one_needs_the_right_of_its_kind_as_well(
    make_schedule: Make, make_user: Callable[..., Any], environment: Environment
) -> None:
    """schedule:edit everywhere, but plans only on prod: a schedule of dev's plans is not for ann."""
    from sstools.roles.models import CustomRole

    CustomRole.objects.create(
        key="clerk", name="Clerk", permissions=["schedule:edit", "schedule:view", "environment:view"]
    )
    ann = make_user("ann", role="clerk")
    with pytest.raises(NotAllowed) as refused:
        make_schedule(ann)
    assert "environment:test" in str(refused.value)


# --- Changing


def test_a_change_moves_the_next_run_and_shows_before_and_after(make_schedule: Make, author: Any) -> None:
    schedule = make_schedule(author)
    changed = services.update_schedule(schedule, {"cron": "30 4 * * *", "name": "Later"}, actor=author)
    assert changed.next_due_at is not None
    assert (changed.next_due_at.hour, changed.next_due_at.minute) == (4, 30)
    event = AuditEvent.objects.get(action="schedule:update")
    assert event.data == {
        "name": {"before": "Nightly test", "after": "Later"},
        "cron": {"before": "0 2 * * *", "after": "30 4 * * *"},
    }
    services.update_schedule(changed, {"cron": "30 4 * * *"}, actor=author)
    assert AuditEvent.objects.filter(action="schedule:update").count() == 1  # nothing changed, nothing said


def test_whoever_changes_what_it_works_on_becomes_its_owner(
    make_schedule: Make, author: Any, admin: Any
) -> None:
    """Or somebody could let another's rights act where they have none."""
    schedule = make_schedule(author)
    assert services.update_schedule(schedule, {"cron": "@daily"}, actor=admin).owner == author
    prod = make_environment("prod")
    changed = services.update_schedule(schedule, {"params": {"environment": str(prod.uuid)}}, actor=admin)
    assert (changed.owner, changed.resource) == (admin, scope(prod))


def test_one_cannot_point_somebody_elses_schedule_to_where_one_has_no_right(
    make_schedule: Make, admin: Any, make_user: Callable[..., Any], environment: Environment
) -> None:
    schedule = make_schedule(admin)
    prod = make_environment("prod")
    ann = make_user("ann", role="author", on=scope(environment))
    Grant.objects.create(user=ann, role="viewer", scope=scope(prod))
    with pytest.raises(NotAllowed):
        services.update_schedule(schedule, {"params": {"environment": str(prod.uuid)}}, actor=ann)
    schedule.refresh_from_db()
    assert (schedule.owner, schedule.resource) == (admin, scope(environment))


def test_the_kind_stays(make_schedule: Make, author: Any) -> None:
    schedule = make_schedule(author)
    with pytest.raises(Invalid):
        services.update_schedule(schedule, {"kind": "environments.read_inventory"}, actor=author)


@pytest.mark.parametrize(
    "change",
    [
        lambda schedule, ann: services.update_schedule(schedule, {"cron": "@daily"}, actor=ann),
        lambda schedule, ann: services.pause(schedule, actor=ann),
        lambda schedule, ann: services.resume(schedule, actor=ann),
        lambda schedule, ann: services.take_over(schedule, actor=ann),
        lambda schedule, ann: services.run_now(schedule, actor=ann),
        lambda schedule, ann: services.delete_schedule(schedule, actor=ann),
    ],
)
def test_every_change_needs_the_right(
    make_schedule: Make, author: Any, viewer: Any, change: Callable[..., Any]
) -> None:
    schedule = make_schedule(author)
    before = history()
    with pytest.raises(NotAllowed):
        change(schedule, viewer)
    assert history() == before
    assert not Job.objects.exists()


def test_everything_is_in_the_history(make_schedule: Make, author: Any, admin: Any) -> None:
    schedule = make_schedule(author)
    services.pause(schedule, actor=admin, reason="Maintenance")
    services.pause(schedule, actor=admin, reason="Twice")  # it rests already
    services.resume(schedule, actor=admin)
    services.take_over(schedule, actor=admin)
    services.run_now(schedule, actor=admin)
    services.delete_schedule(schedule, actor=admin)
    assert history() == [
        "schedule:create",
        "schedule:pause",
        "schedule:resume",
        "schedule:take_over",
        "schedule:run",
        "schedule:delete",
    ]


# --- Running now


def test_run_now_acts_in_the_name_of_who_clicks_and_a_second_click_joins(
    make_schedule: Make, author: Any, admin: Any
) -> None:
    schedule = make_schedule(author)
    before = schedule.next_due_at
    job = services.run_now(schedule, actor=admin)
    assert (job.actor, job.source, job.joined) == (admin, "page", False)
    again = services.run_now(schedule, actor=author)
    assert (again.pk, again.joined) == (job.pk, True)
    row = Firing.objects.get()
    assert (row.trigger, row.actor, row.job) == ("hand", admin, job)
    schedule.refresh_from_db()
    assert (schedule.next_due_at, schedule.last_job) == (before, job)
    end(job, State.SUCCEEDED, result={"state": "ok"})
    firing.settle()
    row.refresh_from_db()
    assert (row.result, row.text) == ("succeeded", "reached")


# --- The kinds


def test_a_plan_is_made_again_and_tells_what_would_change(make_schedule: Make, author: Any) -> None:
    migration = make_migration(make_environment("a"), make_environment("b"), actor=author)
    schedule = make_schedule(
        author, kind="migrations_app.make_plan", params={"migration": str(migration.uuid)}
    )
    assert schedule.resource == scope(migration.target)
    assert schedule.subject is not None
    assert schedule.subject.label == f"Migration {migration.number}: Q4 finance fixes"
    due(schedule, "2026-11-24 02:00")
    firing.fire_due(at("2026-11-24 02:00:01"))
    job = Job.objects.get()
    assert (job.kind, job.params) == ("migrations_app.make_plan", {"migration": str(migration.uuid)})
    end(job, State.SUCCEEDED, result={"counts": {"create": 2, "update": 1, "unchanged": 7, "blocked": 1}})
    firing.settle()
    assert Firing.objects.get().text == "2 to create, 1 to update, 1 blocked"
    migration.state = MigrationState.DONE
    migration.save()
    firing.fire_due(at("2026-11-25 02:00:01"))
    newest = Firing.objects.first()
    assert newest is not None
    assert newest.outcome == "failed"
    assert "cannot be changed any more" in newest.text


def test_a_run_is_verified_again(make_schedule: Make, author: Any) -> None:
    migration = make_migration(make_environment("a"), make_environment("b"), actor=author)
    run = Run.objects.create(migration=migration, plan=make_plan(migration), state=RunState.APPLIED)
    schedule = make_schedule(author, kind="migrations_app.verify_run", params={"run": run.number})
    assert schedule.params == {"run": run.number}
    due(schedule, "2026-11-24 02:00")
    firing.fire_due(at("2026-11-24 02:00:01"))
    job = Job.objects.get()
    assert (job.kind, job.params) == ("migrations_app.verify_run", {"run": run.number})
    end(job, State.SUCCEEDED, result={"ok": 3, "not_checkable": 1, "failed": 0})
    firing.settle()
    assert Firing.objects.get().text == "1 not checkable, 3 ok"


def test_every_schedulable_kind_says_what_it_is_good_for() -> None:
    names = {kind.name for kind in services.kinds()}
    assert names == {
        "backups.take",
        "drift.check",
        "environments.check",
        "environments.read_inventory",
        "git.commit_environment",
        "git.follow",
        "migrations_app.make_plan",
        "migrations_app.verify_run",
        "plugins.run",
        "rehearsals.run",
    }
    assert all(kind.schedulable and kind.schedulable.text and kind.permission for kind in services.kinds())


def test_what_comes_with_ss_tools_is_made_once_and_only_its_times_can_be_changed(
    monkeypatch: pytest.MonkeyPatch, admin: Any, author: Any
) -> None:
    builtins = [
        name
        for name in registry.names()
        if (spec := registry.kind(name).schedulable) is not None and spec.builtin is not None
    ]
    assert builtins, "retention is one"
    for _ in range(2):
        monkeypatch.setattr(firing, "_ensured", False)
        firing.ensure_builtins()
    assert sorted(Schedule.objects.values_list("builtin", flat=True)) == sorted(builtins)
    schedule = Schedule.objects.get(builtin=TIDY_UP)
    changed = services.update_schedule(schedule, {"cron": "0 5 * * *"}, actor=admin)
    assert changed.next_due_at is not None
    assert changed.next_due_at.astimezone(changed.zone).hour == 5
    monkeypatch.setattr(firing, "_ensured", False)
    firing.ensure_builtins()
    schedule.refresh_from_db()
    assert schedule.cron == "0 5 * * *"  # a new start does not undo what people set
    for forbidden in (
        lambda: services.update_schedule(schedule, {"name": "Mine"}, actor=admin),
        lambda: services.delete_schedule(schedule, actor=admin),
        lambda: services.take_over(schedule, actor=admin),
    ):
        with pytest.raises(Conflict):
            forbidden()
    with pytest.raises(NotAllowed):
        services.pause(schedule, actor=author)  # schedule:edit on everything, but not the right of the kind
    due(schedule, "2026-11-24 05:00")
    firing.fire_due(at("2026-11-24 05:00:01"))
    job = Job.objects.get()
    assert (job.actor, job.source) == (None, "schedule")


def test_tidying_up_forgets_what_is_old_and_goes_on_after_a_failure(
    make_schedule: Make, admin: Any, run_jobs: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    from sstools.jobs import tidying

    schedule = due(make_schedule(admin), "2020-01-01 02:00")
    for day in (1, 2, 3):
        firing.fire_due(at(f"2020-01-0{day} 02:00:01"))
        end(Job.objects.latest("pk"), State.SUCCEEDED)
    monkeypatch.setattr(tidying, "_registered", {"runs of schedules": firing.prune})
    job = jobs.enqueue(TIDY_UP, actor=admin)
    run_jobs()
    job.refresh_from_db()
    assert (job.state, job.result) == ("succeeded", {"runs of schedules": 2})
    assert registry.kind(TIDY_UP).schedulable.summary(job) == "2 runs of schedules forgotten"  # type: ignore
    assert schedule.firings.count() == 1

    def bug() -> int:
        raise ZeroDivisionError

    done: list[int] = []
    tidying.register("broken things", bug)
    tidying.register("other things", lambda: done.append(1) or 7)  # type: ignore[func-returns-value]
    job = jobs.enqueue(TIDY_UP, actor=admin)
    run_jobs()
    job.refresh_from_db()
    assert (job.state, job.error["code"], done) == ("failed", "not_tidy", [1])
    assert job.error["message"] == "Could not forget: broken things."


# --- The command


def run_command(*args: str) -> str:
    from io import StringIO

    out = StringIO()
    call_command("schedules", *args, stdout=out)
    return out.getvalue()


def test_the_command_lists_and_runs(make_schedule: Make, admin: Any, make_user: Callable[..., Any]) -> None:
    with pytest.raises(CommandError, match="no administrator"):
        run_command()
    make_user("root", is_superuser=True)
    assert "There are no schedules." in run_command()
    schedule = make_schedule(admin)
    text = run_command()
    assert "on       Nightly test" in text
    assert "environments.check Dev · At 02:00, every day (UTC)" in text
    (row,) = json.loads(run_command("--json"))
    assert (row["uuid"], row["state"], row["last_result"]) == (str(schedule.uuid), "on", None)
    assert row["next_due_at"].endswith("T02:00:00+00:00")
    made = json.loads(run_command("--run", str(schedule.uuid), "--json"))
    job = Job.objects.get()
    assert (made["job"], job.source, job.actor.get_username()) == (str(job.uuid), "command", "root")
    assert "was at work already" in run_command("--run", str(schedule.uuid))
    with pytest.raises(CommandError, match="no such schedule"):
        run_command("--run", "00000000-0000-0000-0000-000000000000")
    make_user("nobody")
    assert "There are no schedules." in run_command("--as", "nobody")
