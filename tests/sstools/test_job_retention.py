"""Forgetting jobs: what is old and ended goes, what somebody still needs stays."""

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django_q.models import OrmQ, Schedule, Task
from django_q.tasks import async_task

from migrations_app.models import Migration
from sstools.audit.models import AuditEvent
from sstools.jobs import retention, services
from sstools.jobs.models import Job, JobLog, JobResource, State
from tests.factories import make_environment, make_migration

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]


def ended(name: str, *, days: int, lines: int = 0, **values: Any) -> Job:
    """A job that ended so many days ago, with so many lines in its log."""
    job = services.enqueue("trial.write", {"name": name}, actor=None, **values)
    mine = services.claim(str(job.uuid))
    services.log(mine, "info", "Step", is_step=True)
    for number in range(lines):
        services.log(mine, "info", f"line {number}")
    services.log(mine, "warning", "careful")
    services.finish(mine, State.SUCCEEDED)
    Job.objects.filter(pk=job.pk).update(finished_at=services.db_now() - timedelta(days=days))
    return job


def texts(job: Job) -> list[str]:
    return list(JobLog.objects.filter(job=job).order_by("seq").values_list("text", flat=True))


def test_what_ended_long_ago_goes_with_all_that_is_its_own_and_the_rest_stays(settings):
    settings.JOB_KEEP_DAYS = 100
    old = ended("a", days=101, locks=["environment:x"], idempotency_key="k")
    young = ended("b", days=99)
    waiting = services.enqueue("trial.write", {"name": "c"}, actor=None)
    resting = services.enqueue("trial.ask", actor=None)
    services.ask(services.claim(str(resting.uuid)), {"code": "x", "text": "?"})
    Job.objects.exclude(pk=young.pk).update(created_at=services.db_now() - timedelta(days=1000))
    assert retention.forget_jobs() == 1
    assert set(Job.objects.all()) == {young, waiting, resting}
    assert not JobResource.objects.exists()
    assert not JobLog.objects.filter(job_id=old.pk).exists()
    assert retention.forget_jobs() == 0
    again = services.enqueue("trial.write", {"name": "other"}, actor=None, idempotency_key="k")
    assert not again.joined  # its key is free


def test_a_job_that_a_row_of_another_app_refers_to_stays_as_long_as_that_row():
    job = ended("a", days=1000)
    migration = make_migration(make_environment("dev"), make_environment("prod"))
    Migration.objects.filter(pk=migration.pk).update(job=job)
    assert (retention.forget_jobs(dry_run=True), retention.forget_jobs()) == (0, 0)
    Migration.objects.filter(pk=migration.pk).update(job=None)
    assert (retention.forget_jobs(dry_run=True), retention.forget_jobs()) == (1, 1)


def test_a_later_try_outlives_the_first_one_and_history_outlives_both(author):
    first = services.enqueue("trial.write", {"name": "a"}, actor=author)
    services.request_cancel(first, actor=author)
    second = services.retry(first, actor=author)
    Job.objects.filter(pk=first.pk).update(finished_at=services.db_now() - timedelta(days=1000))
    assert retention.forget_jobs() == 1
    second.refresh_from_db()
    assert second.retry_of is None
    assert AuditEvent.objects.filter(action="job:cancel", object_name=f"job:{first.uuid}").exists()


def test_of_an_old_log_steps_and_warnings_stay_and_it_says_what_is_gone(settings):
    settings.JOB_LOG_KEEP_DAYS = 10
    old, young = ended("a", days=11, lines=5), ended("b", days=9, lines=5)
    assert retention.shorten_logs(dry_run=True) == 5
    assert len(texts(old)) == 7
    assert retention.shorten_logs() == 5
    step, warning, note = texts(old)
    assert (step, warning) == ("Step", "careful")
    assert note.startswith("5 lines of this log were removed on ")
    assert len(texts(young)) == 7
    assert retention.shorten_logs() == 0  # the note stays
    assert len(texts(old)) == 3


def test_a_log_without_end_is_cut_while_it_is_written_but_for_steps_and_warnings(settings):
    settings.JOB_LOG_LINES = 10
    job = services.enqueue("trial.write", {"name": "a"}, actor=None)
    mine = services.claim(str(job.uuid))
    for number in range(30):
        services.log(mine, "info", f"line {number}")
    services.log(mine, "error", "broken")
    services.log(mine, "info", "Next", is_step=True)
    lines = texts(job)
    assert lines[:9] == [f"line {number}" for number in range(9)]
    assert lines[9].startswith("The log is cut here")
    assert lines[10:] == ["broken", "Next"]


def test_what_the_queue_leaves_behind_goes_and_what_it_needs_stays(settings):
    done, open_job = ended("a", days=1), services.enqueue("trial.write", {"name": "b"}, actor=None)
    now = services.db_now()
    retry = settings.Q_CLUSTER["retry"]
    OrmQ.objects.all().delete()
    for job, fetched in ((done, 2), (done, 0), (open_job, 2)):
        async_task(services.RUNNER, str(job.uuid))
        newest = OrmQ.objects.latest("pk")
        OrmQ.objects.filter(pk=newest.pk).update(lock=now + timedelta(seconds=retry - 3600 * fetched))
    async_task(services.RUNNER, str(done.uuid))  # on its way: a worker takes it for what is first in line
    OrmQ.objects.create(
        key="sstools", payload="signed with another key", lock=now + timedelta(seconds=retry - 7200)
    )
    for age in (1000, 1):
        Task.objects.create(
            id=f"{age}", name="x", func="x", success=False, started=now, stopped=now - timedelta(days=age)
        )
    Schedule.objects.create(func="x", repeats=0, next_run=now - timedelta(days=1000))
    Schedule.objects.create(func="x", repeats=-1, next_run=now - timedelta(days=1000))
    assert retention.forget_leftovers(dry_run=True) == 3  # a result, a message, a schedule
    assert retention.forget_leftovers() == 3
    assert (OrmQ.objects.count(), Task.objects.count(), Schedule.objects.count()) == (4, 1, 1)


def test_many_go_in_batches_and_may_be_broken_off(monkeypatch):
    monkeypatch.setattr(retention, "BATCH", 3)
    for number in range(8):
        ended(f"{number}", days=1000)
    rounds = []

    def stop() -> None:
        rounds.append(1)
        if len(rounds) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        retention.forget_jobs(checkpoint=stop)
    assert Job.objects.count() == 2
    assert retention.forget_jobs() == 2


def test_by_command(settings):
    ended("a", days=1000)
    out = StringIO()
    call_command("prune_jobs", "--dry-run", stdout=out)
    call_command("prune_jobs", stdout=out)
    first, second = out.getvalue().splitlines()
    assert first.startswith("would forget 1 jobs, ")
    assert second.startswith("forgot 1 jobs, ")
    assert not Job.objects.exists()


def test_by_the_schedule_that_comes_with_ss_tools(run_jobs):
    ended("a", days=1000)
    job = services.enqueue("schedules.tidy_up", actor=None)
    run_jobs()
    job.refresh_from_db()
    assert (job.state, job.result["jobs"]) == (State.SUCCEEDED, 1)
