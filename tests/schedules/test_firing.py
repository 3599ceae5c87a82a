"""Firing: once, in time, late, not at all, and what is told of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connections
from django_q.models import OrmQ

from environments.models import Environment
from sstools.audit.models import AuditEvent
from sstools.jobs import registry
from sstools.jobs import services as jobs
from sstools.jobs.models import Job, Priority, State
from sstools.roles.models import Grant
from sstools.schedules import firing, services
from sstools.schedules.models import Firing, Schedule

from .conftest import at, due, end

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]
Make = Callable[..., Schedule]


def states(now: str) -> list[str]:
    return list(Schedule.objects.with_state(at(now)).values_list("state", flat=True))


# --- On time


def test_a_due_run_becomes_a_job_of_its_owner_in_the_background(make_schedule: Make, author: Any) -> None:
    schedule = due(make_schedule(author), "2026-11-24 02:00")
    assert firing.fire_due(at("2026-11-24 01:59:59")) == 0
    assert not Job.objects.exists()
    assert firing.fire_due(at("2026-11-24 02:00:01")) == 1
    job = Job.objects.get()
    assert (job.actor, job.source, job.priority) == (author, "schedule", Priority.BACKGROUND)
    assert job.idempotency_key == f"{author.pk}:schedule:{schedule.uuid}:2026-11-24T02:00:00+00:00"
    assert OrmQ.objects.count() == 1
    schedule.refresh_from_db()
    assert schedule.next_due_at == at("2026-11-25 02:00")
    assert (schedule.last_job, schedule.consecutive_failures) == (job, 0)
    row = Firing.objects.get()
    assert (row.outcome, row.due_at, row.at, row.missed) == (
        "fired",
        at("2026-11-24 02:00"),
        at("2026-11-24 02:00:01"),
        0,
    )
    assert schedule.last_firing == row
    assert firing.fire_due(at("2026-11-24 02:00:05")) == 0
    assert Job.objects.count() == 1


def test_several_supervisors_at_the_same_moment_start_it_once(make_schedule: Make, author: Any) -> None:
    for number in range(10):
        due(make_schedule(author, name=f"s{number}", kind="environments.read_inventory"), "2026-11-24 02:00")
    gate, counts = threading.Barrier(4), [0] * 4

    def supervise(index: int) -> None:
        try:
            gate.wait()
            counts[index] = firing.fire_due(at("2026-11-24 02:00:01"))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=supervise, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    firing.fire_due(at("2026-11-24 02:00:02"))  # what a lock hid from all of them comes with the next round
    assert Firing.objects.count() == 10
    assert set(Firing.objects.values_list("outcome", flat=True)) == {"fired"}
    assert set(Schedule.objects.values_list("next_due_at", flat=True)) == {at("2026-11-25 02:00")}
    assert sum(counts) <= 10


def test_jitter_moves_the_start_and_not_the_timetable(make_schedule: Make, author: Any) -> None:
    schedule = due(make_schedule(author, jitter_seconds=600), "2026-11-24 02:00")
    start = schedule.next_fire_at
    assert start is not None
    assert at("2026-11-24 02:00") <= start <= at("2026-11-24 02:10")
    assert schedule.fire_at(at("2026-11-24 02:00")) == start
    assert firing.fire_due(start - timedelta(seconds=1)) == 0
    assert firing.fire_due(start) == 1
    schedule.refresh_from_db()
    assert schedule.next_due_at == at("2026-11-25 02:00")
    assert Firing.objects.get().due_at == at("2026-11-24 02:00")


def test_nothing_is_recorded_while_the_database_refuses_and_the_next_round_starts_it(
    make_schedule: Make, author: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    due(make_schedule(author), "2026-11-24 02:00")

    def locked(*args: Any, **kwargs: Any) -> None:
        raise OperationalError("database is locked")

    with monkeypatch.context() as broken:
        broken.setattr("environments.services.jobs.enqueue", locked)
        with pytest.raises(OperationalError):
            firing.fire_due(at("2026-11-24 02:00:01"))
    assert not Firing.objects.exists()
    assert firing.fire_due(at("2026-11-24 02:00:03")) == 1
    assert Firing.objects.get().outcome == "fired"


# --- Late, missed, at work


def test_a_run_within_its_grace_is_on_time_and_after_it_late(make_schedule: Make, author: Any) -> None:
    due(make_schedule(author, grace_seconds=600), "2026-11-24 02:00")
    assert states("2026-11-24 02:10:00") == ["on"]
    assert states("2026-11-24 02:10:01") == ["late"]
    firing.fire_due(at("2026-11-24 02:10:00"))
    assert Firing.objects.get().outcome == "fired"


def test_after_an_outage_one_run_stands_for_all_and_says_so(make_schedule: Make, author: Any) -> None:
    schedule = due(make_schedule(author, cron="0 * * * *"), "2026-11-24 02:00")
    firing.fire_due(at("2026-11-24 07:30"))
    row = Firing.objects.get()
    assert (row.outcome, row.due_at, row.missed) == ("late", at("2026-11-24 07:00"), 5)
    assert (
        row.text == "Nobody was there to start it in time, nor 5 runs before it: this one run stands for all."
    )
    assert Job.objects.count() == 1
    schedule.refresh_from_db()
    assert schedule.next_due_at == at("2026-11-24 08:00")


def test_after_an_outage_missed_runs_are_skipped_where_that_is_wished(
    make_schedule: Make, author: Any
) -> None:
    schedule = due(make_schedule(author, cron="0 * * * *", missed="skip"), "2026-11-24 02:00")
    firing.fire_due(at("2026-11-24 07:30"))
    row = Firing.objects.get()
    assert (row.outcome, row.due_at, row.missed) == ("missed", at("2026-11-24 07:00"), 5)
    assert row.text == "Nobody was there to start 6 runs; missed runs are skipped."
    assert not Job.objects.exists()
    schedule.refresh_from_db()
    assert (schedule.next_due_at, schedule.consecutive_failures) == (at("2026-11-24 08:00"), 0)
    firing.fire_due(at("2026-11-24 08:00:01"))
    assert Firing.objects.first().outcome == "fired"  # type: ignore[union-attr]


def test_a_run_in_time_is_started_also_where_older_ones_were_missed(make_schedule: Make, author: Any) -> None:
    due(make_schedule(author, cron="0 * * * *", missed="skip"), "2026-11-24 02:00")
    firing.fire_due(at("2026-11-24 05:00:30"))
    row = Firing.objects.get()
    assert (row.outcome, row.due_at, row.missed) == ("fired", at("2026-11-24 05:00"), 3)


def test_a_busy_schedule_after_a_long_rest_is_dealt_with_at_once(make_schedule: Make, author: Any) -> None:
    schedule = due(make_schedule(author, cron="* * * * *", jitter_seconds=50), "2026-06-01 00:00")
    firing.fire_due(at("2026-11-24 02:00:55"))
    row = Firing.objects.get()
    assert row.due_at == at("2026-11-24 02:00")
    assert row.missed >= 999
    schedule.refresh_from_db()
    assert schedule.next_due_at == at("2026-11-24 02:01")


def test_the_doubled_hour_of_a_clock_change_fires_once(make_schedule: Make, author: Any) -> None:
    schedule = due(make_schedule(author, cron="30 2 * * *", time_zone="Europe/Berlin"), "2026-10-25 00:30")
    for minute in range(0, 180, 10):
        firing.fire_due(at("2026-10-25 00:25") + timedelta(minutes=minute))
        for job in Job.objects.filter(state=State.QUEUED):
            end(job, State.SUCCEEDED)
    assert Firing.objects.count() == 1
    schedule.refresh_from_db()
    assert schedule.next_due_at == at("2026-10-26 01:30")


def test_a_run_whose_predecessor_is_at_work_is_skipped_and_says_so(make_schedule: Make, author: Any) -> None:
    schedule = due(make_schedule(author, cron="0 * * * *"), "2026-11-24 02:00")
    firing.fire_due(at("2026-11-24 02:00:01"))
    job = Job.objects.get()
    Job.objects.update(state=State.RUNNING)
    firing.fire_due(at("2026-11-24 03:00:01"))
    newest = Firing.objects.first()
    assert newest is not None
    assert (newest.outcome, newest.code, newest.job) == ("skipped", "at_work", job)
    assert newest.text == "The run before was still at work (running)."
    end(job, State.SUCCEEDED)
    firing.fire_due(at("2026-11-24 04:00:01"))
    assert Job.objects.count() == 2
    schedule.refresh_from_db()
    assert schedule.consecutive_failures == 0


def test_a_job_that_no_worker_takes_makes_its_schedule_late(make_schedule: Make, author: Any) -> None:
    due(make_schedule(author, grace_seconds=600), "2026-11-24 02:00")
    firing.fire_due(at("2026-11-24 02:00:01"))
    assert states("2026-11-24 02:09") == ["on"]
    assert states("2026-11-24 02:11") == ["late"]
    Job.objects.update(state=State.RUNNING, started_at=at("2026-11-24 02:12"))
    assert states("2026-11-24 02:13") == ["on"]


def test_what_somebody_asked_for_just_before_is_joined(
    make_schedule: Make, author: Any, admin: Any, environment: Environment
) -> None:
    from environments.services import request_check

    due(make_schedule(author), "2026-11-24 02:00")
    theirs = request_check(environment, actor=admin)
    firing.fire_due(at("2026-11-24 02:00:01"))
    row = Firing.objects.get()
    assert (row.outcome, row.is_joined, row.job) == ("fired", True, theirs)
    assert Job.objects.count() == 1


# --- Paused, without owner, without right


def test_a_paused_schedule_rests_and_makes_up_for_nothing(make_schedule: Make, author: Any) -> None:
    schedule = due(make_schedule(author), "2026-11-24 02:00")
    services.pause(schedule, actor=author, reason="Maintenance")
    assert firing.fire_due(at("2026-11-27 12:00")) == 0
    assert states("2026-11-27 12:00") == ["paused"]
    resumed = services.resume(schedule, actor=author)
    assert resumed.next_due_at is not None
    assert resumed.next_due_at > jobs.db_now()
    assert not Firing.objects.exists()


@pytest.mark.parametrize("gone", ["disabled", "removed"])
def test_a_schedule_without_its_owner_pauses_and_says_what_to_do(
    make_schedule: Make, author: Any, admin: Any, gone: str
) -> None:
    schedule = due(make_schedule(author), "2026-11-24 02:00")
    if gone == "disabled":
        author.is_active = False
        author.save()
    else:
        author.delete()
    firing.fire_due(at("2026-11-24 02:00:01"))
    schedule.refresh_from_db()
    words = "Its owner author is disabled." if gone == "disabled" else "Its owner was removed."
    assert schedule.pause_reason == f"{words} Somebody must take it over."
    assert (schedule.next_due_at, schedule.paused_by, schedule.consecutive_failures) == (None, None, 1)
    assert not Job.objects.exists()
    row = Firing.objects.get()
    assert (row.outcome, row.code, row.text) == ("failed", "owner_gone", schedule.pause_reason)
    assert AuditEvent.objects.filter(action="schedule:pause", actor_id=None).exists()
    with pytest.raises(services.Conflict) as refused:
        services.resume(schedule, actor=admin)
    assert refused.value.code == "owner_gone"
    services.take_over(schedule, actor=admin)
    assert services.resume(schedule, actor=admin).owner == admin
    due(schedule, "2026-11-25 02:00")
    firing.fire_due(at("2026-11-25 02:00:01"))
    assert Job.objects.get().actor == admin


def test_an_owner_who_lost_the_right_starts_nothing_and_it_is_said(make_schedule: Make, author: Any) -> None:
    schedule = due(make_schedule(author), "2026-11-24 02:00")
    Grant.objects.filter(user=author).update(role="viewer")
    firing.fire_due(at("2026-11-24 02:00:01"))
    assert not Job.objects.exists()
    row = Firing.objects.get()
    assert (row.outcome, row.code, row.state) == ("failed", "not_allowed", "not_started")
    assert "environment:test" in row.text
    schedule.refresh_from_db()
    assert (schedule.consecutive_failures, schedule.is_paused) == (1, False)
    assert states("2026-11-24 02:01") == ["failing"]
    Grant.objects.filter(user=author).update(role="author")
    firing.fire_due(at("2026-11-25 02:00:01"))
    assert Job.objects.count() == 1


def test_a_schedule_whose_environment_is_gone_pauses(
    make_schedule: Make, author: Any, environment: Environment
) -> None:
    schedule = due(make_schedule(author), "2026-11-24 02:00")
    environment.delete()
    firing.fire_due(at("2026-11-24 02:00:01"))
    schedule.refresh_from_db()
    assert schedule.pause_reason == "What it works on is gone. The environment was removed."
    assert Firing.objects.get().code == "not_found"


def test_a_bug_in_one_schedule_keeps_no_other_from_its_run(
    make_schedule: Make, author: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = due(make_schedule(author, name="a", kind="environments.read_inventory"), "2026-11-24 02:00")
    due(make_schedule(author, name="b"), "2026-11-24 02:00")

    def bug(*args: Any, **kwargs: Any) -> None:
        raise ZeroDivisionError("password=hunter2")

    monkeypatch.setattr("environments.services.request_reading", bug)
    assert firing.fire_due(at("2026-11-24 02:00:01")) == 2
    outcomes = dict(Firing.objects.values_list("schedule__name", "outcome"))
    assert outcomes == {"a": "failed", "b": "fired"}
    row = Firing.objects.get(schedule=broken)
    assert row.text == f"Unexpected: ZeroDivisionError. The log has it under schedule {broken.uuid}."


def test_an_expression_that_hands_broke_in_the_database_pauses_it(make_schedule: Make, author: Any) -> None:
    schedule = due(make_schedule(author), "2026-11-24 02:00")
    Schedule.objects.update(time_zone="Mars/Olympus")
    assert firing.fire_due(at("2026-11-24 02:00:01")) == 0
    schedule.refresh_from_db()
    assert schedule.is_paused
    assert "There is no time zone “Mars/Olympus”." in schedule.pause_reason


def test_its_owner_is_told_of_a_run_that_was_not_started_or_late(
    make_schedule: Make, author: Any, settings: Any
) -> None:
    from sstools.notices.models import Notice

    settings.MAIL_ENABLED, author.email = True, "ann@x.test"
    author.save()
    schedule = due(make_schedule(author), "2026-11-24 02:00")
    firing.fire_due(at("2026-11-24 02:00:01"))
    assert not Notice.objects.exists()  # in time: nothing to tell
    Job.objects.all().delete()
    Grant.objects.filter(user=author).update(role="viewer")
    firing.fire_due(at("2026-11-25 02:00:01"))
    notice = Notice.objects.get()
    assert (notice.event, notice.title) == ("schedule.not_started", "Not started: Nightly test")
    assert "environment:test" in notice.text
    assert notice.path == schedule.get_absolute_url()
    assert [delivery.user for delivery in notice.deliveries.all()] == [author]


def test_a_notice_that_cannot_be_written_keeps_no_run_from_being_recorded(
    make_schedule: Make, author: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    due(make_schedule(author, missed="skip"), "2026-11-24 02:00")

    def bug(*args: Any, **kwargs: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("sstools.schedules.telling.services.publish", bug)
    assert firing.fire_due(at("2026-11-24 12:00")) == 1
    assert Firing.objects.get().outcome == "missed"


# --- Afterwards


def test_the_results_of_jobs_are_noted_and_counted(make_schedule: Make, author: Any) -> None:
    schedule = due(make_schedule(author, kind="environments.read_inventory"), "2026-11-24 02:00")
    results = [
        (State.FAILED, {"error": {"code": "timeout", "message": "It did not answer.", "remedy": ""}}, 1),
        (State.FAILED, {"error": {"code": "timeout", "message": "It did not answer.", "remedy": ""}}, 2),
        (State.CANCELLED, {}, 2),
        (State.SUCCEEDED, {"result": {"new": 2, "changed": 0, "gone": 1}}, 0),
    ]
    for day, (state, fields, failures) in enumerate(results, start=24):
        firing.fire_due(at(f"2026-11-{day} 02:00:01"))
        assert firing.settle() == 0  # still at work
        end(Job.objects.latest("pk"), state, **fields)
        assert firing.settle() == 1
        assert firing.settle() == 0
        schedule.refresh_from_db()
        assert schedule.consecutive_failures == failures
    assert schedule.last_success_at is not None
    rows = list(Firing.objects.order_by("pk").values_list("result", "text"))
    assert rows == [
        ("failed", "It did not answer."),
        ("failed", "It did not answer."),
        ("cancelled", ""),
        ("succeeded", "2 new, 1 gone"),
    ]


def test_a_result_is_noted_in_the_moment_in_which_the_job_ends(
    make_schedule: Make, author: Any, run_jobs: Callable[[], int], environment: Environment
) -> None:
    Environment.objects.update(url="http://127.0.0.1:9", username="x")
    schedule = due(make_schedule(author), "2026-11-24 02:00")
    firing.fire_due(at("2026-11-24 02:00:01"))
    run_jobs()
    row = Firing.objects.get()
    assert (row.result, row.text) == ("succeeded", "the test failed")
    schedule.refresh_from_db()
    assert schedule.last_success_at == Job.objects.get().finished_at
    firing.fire_due(at("2026-11-25 02:00:01"))
    jobs.request_cancel(Job.objects.latest("pk"), actor=author)
    assert Firing.objects.latest("pk").result == "cancelled"


def test_two_supervisors_count_a_failure_once(make_schedule: Make, author: Any) -> None:
    schedule = due(make_schedule(author), "2026-11-24 02:00")
    firing.fire_due(at("2026-11-24 02:00:01"))
    end(Job.objects.get(), State.FAILED)
    row = Firing.objects.select_related("job").get()
    assert [firing._settle(row), firing._settle(row)] == [True, False]
    schedule.refresh_from_db()
    assert schedule.consecutive_failures == 1


def test_a_job_that_retention_took_away_leaves_its_run_settled(make_schedule: Make, author: Any) -> None:
    due(make_schedule(author), "2026-11-24 02:00")
    firing.fire_due(at("2026-11-24 02:00:01"))
    Job.objects.all().delete()
    firing.settle()
    assert Firing.objects.get().result == "unknown"


def test_old_history_is_forgotten_and_the_last_run_stays(make_schedule: Make, author: Any) -> None:
    schedule = due(make_schedule(author), "2026-11-24 02:00")
    for day in (24, 25, 26):
        firing.fire_due(at(f"2026-11-{day} 02:00:01"))
        end(Job.objects.latest("pk"), State.SUCCEEDED)
    assert firing.prune(at("2027-02-22 12:00")) == 1  # ninety days after the first
    assert firing.prune(at("2028-01-01 00:00")) == 1
    schedule.refresh_from_db()
    assert list(Firing.objects.all()) == [schedule.last_firing]


def test_a_kind_that_this_version_no_longer_has_pauses_its_schedules(
    make_schedule: Make, author: Any
) -> None:
    schedule = due(make_schedule(author), "2026-11-24 02:00")
    Schedule.objects.update(kind="plugin.gone")
    firing.fire_due(at("2026-11-24 02:00:01"))
    schedule.refresh_from_db()
    assert schedule.is_paused
    assert "plugin.gone" in schedule.pause_reason
    with pytest.raises(registry.UnknownKind):
        registry.kind("plugin.gone")
