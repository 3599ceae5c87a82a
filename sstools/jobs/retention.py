"""Forgetting: jobs, their logs and what the queue leaves behind, by age.

Never a job that has not ended, nor one that another app's row still refers to (a run's, a schedule's last one): it goes
when that row has gone. What the history says of a job stays. In batches, each a short transaction of its own, so that
nothing waits for it, and it may be broken off at any moment.
"""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import models, transaction
from django.db.models import Exists, ForeignObjectRel, OuterRef, Q, QuerySet
from django_q.models import OrmQ, Schedule, Task
from django_q.signing import BadSignature

from .clock import db_now
from .models import FINISHED, Job, JobLog, Level

APP = Job._meta.app_label
BATCH = 500  # rows of one transaction
LOG_BATCH = 50  # logs of one transaction: each may have thousands of lines
FETCHED_FOR = timedelta(
    hours=1
)  # a message that a cluster fetched longer ago, for a job that has ended, is left over
KEPT_LEVELS = (Level.WARNING, Level.ERROR)

Checkpoint = Callable[[], object]


def forget_jobs(*, dry_run: bool = False, checkpoint: Checkpoint = lambda: None) -> int:
    """Jobs that ended SSTOOLS_JOB_KEEP_DAYS ago. `checkpoint()` is called between batches; what it raises ends it.

    With `dry_run` nothing is changed, and the number is that of a run now; so with the others.
    """
    return _delete(old_jobs(_ago(settings.JOB_KEEP_DAYS)), dry_run, checkpoint)


def shorten_logs(*, dry_run: bool = False, checkpoint: Checkpoint = lambda: None) -> int:
    """Lines of logs of jobs that ended SSTOOLS_JOB_LOG_KEEP_DAYS ago: steps, warnings and errors stay, and a line that
    says what was taken out.
    """
    ended_before = _ago(settings.JOB_LOG_KEEP_DAYS)
    jobs = Job.objects.filter(finished_at__lt=ended_before, log_shortened_at=None, log_count__gt=0)
    unimportant = JobLog.objects.filter(is_step=False).exclude(level__in=KEPT_LEVELS)
    if dry_run:
        return unimportant.filter(job__in=jobs).count()
    removed = 0
    for found in _batches(jobs, LOG_BATCH, checkpoint):
        with transaction.atomic():
            for job in Job.objects.select_for_update().filter(pk__in=found):
                removed += _shorten(job, unimportant.filter(job=job))
    return removed


def forget_leftovers(*, dry_run: bool = False, checkpoint: Checkpoint = lambda: None) -> int:
    """The queue's own results, messages that nobody will get, and schedules of its own that have no run left."""
    ended_before = _ago(settings.JOB_KEEP_DAYS)
    return (
        _delete(Task.objects.filter(stopped__lt=ended_before), dry_run, checkpoint)
        + _delete_messages(dry_run, checkpoint)
        # We make none of them; one that somebody made in the Django admin would stay for ever.
        + _delete(Schedule.objects.filter(repeats=0, next_run__lt=ended_before), dry_run, checkpoint)
    )


FORGOTTEN = {  # by what people call it, for `tidying` and the command
    "jobs": forget_jobs,
    "lines of logs": shorten_logs,
    "leftovers of the queue": forget_leftovers,
}


def old_jobs(ended_before: datetime) -> QuerySet[Job]:
    """Those that ended before, and that nothing of another app refers to."""
    rows = Job.objects.filter(state__in=FINISHED, finished_at__lt=ended_before)
    for relation in Job._meta.get_fields(include_hidden=True):  # also those that Job has no name for
        if isinstance(relation, ForeignObjectRel) and relation.related_model._meta.app_label != APP:
            field = relation.field.name
            rows = rows.exclude(Exists(_all_of(relation.related_model).filter(**{field: OuterRef("pk")})))
    return rows


def _ago(days: int) -> datetime:
    return db_now() - timedelta(days=days)


def _all_of(model: Any) -> QuerySet[Any]:
    found: QuerySet[Any] = model._base_manager.all()
    return found


def _batches(rows: QuerySet[Any], size: int, checkpoint: Checkpoint) -> Iterator[list[Any]]:
    """Primary keys, oldest first. Rows that are left as they were do not come again."""
    last = None
    while True:
        checkpoint()
        later = rows if last is None else rows.filter(pk__gt=last)
        found = list(later.order_by("pk").values_list("pk", flat=True)[:size])
        if not found:
            return
        last = found[-1]
        yield found


def _delete(rows: QuerySet[Any], dry_run: bool, checkpoint: Checkpoint) -> int:
    if dry_run:
        return rows.count()
    deleted = 0
    for found in _batches(rows, BATCH, checkpoint):
        with transaction.atomic():
            _, of_model = rows.model._base_manager.filter(
                pk__in=rows.filter(pk__in=found).values("pk")
            ).delete()
        deleted += of_model.get(rows.model._meta.label, 0)
    return deleted


def _shorten(job: Job, lines: QuerySet[JobLog]) -> int:
    now = db_now()
    removed, _ = lines.delete()
    job.log_shortened_at = now
    if removed:
        job.log_count += 1
        text = f"{removed} lines of this log were removed on {now:%Y-%m-%d}: it is older than {_days()}."
        JobLog.objects.create(job=job, seq=job.log_count, at=now, text=text)
    job.save(update_fields=["log_shortened_at", "log_count"])
    return removed


def _days() -> str:
    return f"{settings.JOB_LOG_KEEP_DAYS} days (SSTOOLS_JOB_LOG_KEEP_DAYS)"


def _delete_messages(dry_run: bool, checkpoint: Checkpoint) -> int:
    """Messages that a cluster had fetched when it died, for jobs that others have done since."""
    now = db_now()
    hidden_since = timedelta(seconds=settings.JOB_TIMEOUT_SECONDS + 600)  # as Q_CLUSTER["retry"]
    fetched = OrmQ.objects.filter(lock__gt=now, lock__lt=now + hidden_since - FETCHED_FOR)
    deleted = 0
    for found in _batches(fetched, BATCH, checkpoint):
        uuids = {message.pk: _uuid_of(message) for message in OrmQ.objects.filter(pk__in=found)}
        known = [uuid for uuid in uuids.values() if uuid]
        open_jobs = Job.objects.filter(~Q(state__in=FINISHED), uuid__in=known)
        needed = {str(uuid) for uuid in open_jobs.values_list("uuid", flat=True)}
        left_over = [pk for pk, uuid in uuids.items() if uuid is not None and uuid not in needed]
        deleted += len(left_over) if dry_run else OrmQ.objects.filter(pk__in=left_over).delete()[0]
    return deleted


def _uuid_of(message: OrmQ) -> str | None:
    """The job that a message of ours is about; None for one that is not ours, or signed with another key."""
    try:
        task = message.task
    except (BadSignature, TypeError, ValueError, models.ObjectDoesNotExist):
        return None
    arguments = task.get("args") if isinstance(task, dict) else None
    return str(arguments[0]) if arguments and isinstance(arguments[0], str) else None
