"""Taking a job, having it, and giving it away: all that a worker does to the row.

The queue delivers at least once, and sometimes late; so all that counts is one conditional UPDATE on the job's row.
"""

import logging
import os
import secrets
import socket
from collections.abc import Collection
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Exists, F, Q, QuerySet
from django.db.models.functions import Coalesce, Greatest

from sstools.audit.redact import redact, redact_text

from . import hooks, lanes, registry
from .clock import db_now
from .messages import send, send_again
from .models import Job, JobLock, JobLog, JobQuerySet, JobResource, Level, Priority, State, locks_in_the_way

logger = logging.getLogger(__name__)

CLAIM_TRIES = 20  # jobs that a worker looks at for one message
WAKE_LIMIT = 20  # waiting jobs that are looked at when locks are freed
CANCEL_CHOICE = "cancel_choice"  # code of the question which cancel is meant


class LeaseLost(BaseException):
    """Another worker may have this job by now. A BaseException, so that no `except Exception` of a handler eats it."""


class _Blocked(Exception):
    def __init__(self, older: Job | None = None) -> None:
        self.older = older


def claim(uuid: str) -> Job | None:
    """Take this job for this worker: one conditional UPDATE, and its locks in the same transaction.

    None if there is nothing to take: someone else has it, it is finished, it waits for a lock (then it stays queued
    and is woken when the holder ends). The caller renews the lease, see `renew`.
    """
    try:
        with transaction.atomic():
            job = _claim_row(Job.objects.filter(uuid=uuid))
            if job is not None:
                _take_locks(job)
            return job
    except _Blocked as blocked:
        if blocked.older is not None:  # it was here first, and could run: see that it knows
            send_again(str(blocked.older.uuid))
        return None


def claim_next() -> Job | None:
    """Take the job that is first in line of those that can run now; None if there is none.

    A job whose worker died stands where it stood. Background jobs are passed over while they have no room (`lanes`).
    """
    looked_at: list[int] = []
    while len(looked_at) < CLAIM_TRIES:
        try:
            with transaction.atomic():
                pk = _first_in_line(looked_at)
                if pk is None:
                    return None
                looked_at.append(pk)
                job = _claim_row(Job.objects.filter(pk=pk))
                if job is None:
                    continue
                if job.priority == Priority.BACKGROUND:
                    lanes.one_at_a_time()
                    if lanes.room() < 0:  # with this one
                        raise _Blocked
                _take_locks(job)
                return job
        except _Blocked:
            continue
    return None


def _first_in_line(besides: list[int]) -> int | None:
    rows = Job.objects.exclude(pk__in=besides)
    if lanes.room() <= 0:
        rows = rows.exclude(priority=Priority.BACKGROUND)
    # What another worker is just taking is passed over. Others who lock a queued job send a message for it.
    rows = _unlocked(rows)
    lost = rows.filter(_is_lost()).order_by("line_at", "pk")
    firsts = [part.values_list("line_at", "pk").first() for part in (rows.in_line(), lost)]
    return min((first for first in firsts if first is not None), default=(None, None))[1]


def _unlocked(rows: JobQuerySet) -> JobQuerySet:
    """Those that nobody else has locked, locked; on SQLite a transaction has the whole database to itself."""
    if connection.features.has_select_for_update_skip_locked:
        return rows.select_for_update(skip_locked=True, of=("self",))
    return rows


def _is_lost() -> Q:
    return Q(state=State.RUNNING, lease_until__lt=db_now(), losses__lt=settings.JOB_MAX_ATTEMPTS - 1)


def _claim_row(rows: QuerySet[Job]) -> Job | None:
    now = db_now()
    owner = f"{socket.gethostname()}:{os.getpid()}:{os.getppid()}:{secrets.token_hex(6)}"
    values: dict[str, Any] = {
        "state": State.RUNNING,
        "owner": owner,
        "lease_until": now + timedelta(seconds=settings.JOB_LEASE_SECONDS),
        "attempt": F("attempt") + 1,
        "started_at": Coalesce("started_at", now),
        "resend_at": None,
    }
    if not rows.filter(state=State.QUEUED).update(**values):
        lost = {**values, "losses": F("losses") + 1, "lost_at": F("lease_until")}
        if not rows.filter(_is_lost()).update(**lost):
            return None
    return rows.select_related("actor").prefetch_related("resources").get(owner=owner)


def _take_locks(job: Job) -> None:
    """All or none. Raises _Blocked."""
    wanted = job.lock_names()
    if not wanted or set(wanted) <= set(job.held_locks.values_list("resource", flat=True)):
        return  # nothing to take, or its own from before: it was resumed, or rested and kept them
    JobLock.objects.bulk_create([JobLock(resource=name, job=job) for name in wanted], ignore_conflicts=True)
    if JobLock.objects.filter(resource__in=wanted).exclude(job=job).exists():
        raise _Blocked
    # First come, first served: a job that stands before it, wants one of these and could run now goes first.
    older = (
        Job.objects.filter(pk__in=_wanting(wanted), state=State.QUEUED)
        .before(job)
        .exclude(Exists(locks_in_the_way(besides=job)))
        .order_by("line_at", "pk")
        .first()
    )
    if older is not None:
        raise _Blocked(older)


def _wanting(names: Collection[str]) -> QuerySet[JobResource, int]:
    """Ids of the jobs that want one of these for themselves."""
    return JobResource.objects.filter(exclusive=True, resource__in=names).values_list("job_id", flat=True)


def _mine(job: Job) -> QuerySet[Job]:
    """The row, if this claim still owns it: the fence. Every write for a running job goes through here."""
    return Job.objects.filter(pk=job.pk, owner=job.owner, state=State.RUNNING)


def renew(job: Job) -> bool | None:
    """Believe the worker alive for another lease. Returns whether a cancel was asked for; None if the job is lost."""
    until = db_now() + timedelta(seconds=settings.JOB_LEASE_SECONDS)
    with transaction.atomic():
        if not _mine(job).update(lease_until=until):
            return None
        return bool(Job.objects.filter(pk=job.pk, cancel_requested=True).exists())


def is_cancel_requested(job: Job) -> bool:
    """Also sets `job.cancel_choice` to the latest wish. Raises LeaseLost."""
    row = _mine(job).values_list("cancel_requested", "cancel_choice").first()
    if row is None:
        raise LeaseLost
    requested, job.cancel_choice = row
    return requested


def write(job: Job, **values: Any) -> None:
    """Set fields of a job that this claim owns. Raises LeaseLost."""
    if not _mine(job).update(**values):
        raise LeaseLost
    for name, value in values.items():
        setattr(job, name, value)


def log(
    job: Job, level: str, text: str, *, is_step: bool = False, fields: dict[str, Any] | None = None
) -> None:
    """Add a line to the log of a job that this claim owns. Raises LeaseLost."""
    add_log(_mine(job), job, level, text, is_step=is_step, fields=fields)


def add_log(
    rows: QuerySet[Job],
    job: Job,
    level: str,
    text: str,
    *,
    is_step: bool = False,
    fields: dict[str, Any] | None = None,
) -> None:
    with transaction.atomic():
        if not rows.update(log_count=F("log_count") + 1):  # also the row lock that makes numbers unique
            raise LeaseLost
        seq = Job.objects.values_list("log_count", flat=True).get(pk=job.pk)
        if seq >= settings.JOB_LOG_LINES and not is_step and level in (Level.DEBUG, Level.INFO):
            if seq > settings.JOB_LOG_LINES:
                return
            text, fields = f"The log is cut here: from line {seq} on steps, warnings and errors only.", None
        JobLog.objects.create(
            job_id=job.pk,
            seq=seq,
            at=db_now(),
            level=level,
            is_step=is_step,
            text=redact_text(text),
            fields=redact(fields or {}),
        )


def finish(
    job: Job, state: State, *, result: dict[str, Any] | None = None, error: dict[str, Any] | None = None
) -> bool:
    """End a job that this claim owns and let the next ones run; False if the job is not ours any more."""
    return end(job, _mine(job), state, result=result, error=error)


def end(
    job: Job,
    rows: QuerySet[Job],
    state: State,
    *,
    result: dict[str, Any] | None = None,
    error: dict[str, Any] | None = None,
) -> bool:
    values: dict[str, Any] = {
        "state": state,
        "finished_at": db_now(),
        "lease_until": None,
        "resend_at": None,
        "error": redact(error) if error else None,
    }
    if result is not None:
        values["result"] = result
    with transaction.atomic():
        if not rows.update(**values):
            return False
        job.refresh_from_db()
        try:
            on_end = registry.kind(job.kind).on_end
        except registry.UnknownKind:
            on_end = None
        if on_end is not None:
            try:
                with transaction.atomic():
                    on_end(job)
            except Exception:
                # The job has ended all the same; staying "running" for ever would hide that.
                logger.exception("on_end of %s failed for job %s", job.kind, job.uuid)
        release(job)
        _leave_lane(job)
        hooks.call(hooks.ended, job)
    return True


def release(job: Job) -> None:
    """Give the locks back, and tell the first of those who wait for them."""
    names = set(JobLock.objects.filter(job=job).values_list("resource", flat=True))
    if not names:
        return
    JobLock.objects.filter(job=job).delete()
    given: set[str] = set()
    # One that is being claimed needs no message, and its claim may wait for our locks: waiting for it is a deadlock.
    for other in _unlocked(Job.objects.in_line().filter(pk__in=_wanting(names)))[:WAKE_LIMIT]:
        wanted = set(other.lock_names())
        if not wanted & given:
            given |= wanted
            send(other)


def _leave_lane(job: Job) -> None:
    """A background job that ends or rests makes room for the next one, whose message may have found none."""
    if job.priority == Priority.BACKGROUND and job.attempt:
        following = _unlocked(Job.objects.in_line().filter(priority=Priority.BACKGROUND)).first()
        if following is not None and lanes.room() > 0:
            send(following)


def hand_back(job: Job, why: str) -> bool:
    """Give up a running job so that the next worker resumes it at once. False if the job is not ours any more.

    It keeps its locks. Being handed back is no loss that counts towards giving the job up, though the next attempt is
    told that there was one before it.
    """
    with transaction.atomic():
        now = db_now()
        handed = _mine(job).update(
            lease_until=now,
            losses=Greatest(F("losses"), 1) - 1,
            resend_at=now + timedelta(seconds=settings.JOB_GRACE_SECONDS),
        )
        if handed:
            log(job, Level.WARNING, f"The worker gave the job back: {why}")
            send_again(str(job.uuid))
        return bool(handed)


def release_leases(host: str, pids: Collection[int]) -> int:
    """Workers that are known to be dead: their jobs are resumed at once and not after the lease. Returns how many."""
    released = 0
    for job in Job.objects.filter(state=State.RUNNING, owner__startswith=f"{host}:"):
        if int(job.owner.split(":")[1]) in pids:
            now = db_now()
            until = now + timedelta(seconds=settings.JOB_GRACE_SECONDS)
            with transaction.atomic():
                if _mine(job).filter(lease_until__gt=now).update(lease_until=now, resend_at=until):
                    send_again(str(job.uuid))
                    released += 1
    return released


def hand_over_locks(job: Job, successor: Job) -> None:
    """Give what a job has locked to another one, which nobody can go before then. For `on_end`: in its transaction the
    locks are still there, and nobody else gets them in between.
    """
    JobLock.objects.filter(job=job).update(job=successor)


def ask(job: Job, question: dict[str, Any], *, keep_locks: bool = False) -> bool:
    """Put a running job to rest until somebody answers: it holds no worker, and no lock unless it is to keep them.

    A job that asks which cancel is meant, and was told in the meantime, goes on at once. False if it is not ours.
    """
    with transaction.atomic():
        rested = _mine(job).update(
            state=State.NEEDS_INPUT, question=question, answer=None, owner="", lease_until=None
        )
        if not rested:
            return False
        job.refresh_from_db()
        if not keep_locks:
            release(job)
        _leave_lane(job)
        if asks_for_choice(job) and job.cancel_choice:
            requeue(job, answer=job.cancel_choice)
        else:
            hooks.call(hooks.asked, job)
        return True


def asks_for_choice(job: Job) -> bool:
    return bool(job.question and job.question.get("code") == CANCEL_CHOICE)


@transaction.atomic
def wake(job: Job) -> bool:
    """Let a resting job run again without an answer: what it asked for may have come about by itself. False if it does
    not rest.
    """
    job.refresh_from_db(from_queryset=Job.objects.select_for_update())
    if job.state != State.NEEDS_INPUT:
        return False
    requeue(job, answer=None)
    return True


def requeue(job: Job, **values: Any) -> None:
    """Let a resting job, whose row the caller has locked, run again from its beginning."""
    Job.objects.filter(pk=job.pk).update(state=State.QUEUED, **values)
    job.refresh_from_db()
    send(job)
