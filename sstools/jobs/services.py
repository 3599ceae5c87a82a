"""Every change of a job's state. The picture is in the docstring of `models.Job`.

The queue delivers at least once, and sometimes late; so a message is only a hint that a job may be claimable, and all
that counts is one conditional UPDATE on the job's row.
"""

import json
import logging
import os
import secrets
import socket
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models import Exists, F, Min, Q, QuerySet
from django.db.models.functions import Coalesce, Greatest
from django.utils import timezone
from django_q.tasks import async_task

from sstools.audit import services as audit
from sstools.audit.redact import redact, redact_text
from sstools.errors import Conflict, Invalid, NotAllowed
from sstools.resources import resource_name
from sstools.roles import policy
from sstools.roles.permissions import Permission
from sstools.secrets import Secret

from . import registry
from .models import (
    FINISHED,
    UNFINISHED,
    Job,
    JobLock,
    JobLog,
    JobResource,
    Level,
    Priority,
    Source,
    State,
    locks_in_the_way,
)

logger = logging.getLogger(__name__)

RUNNER = "sstools.jobs.runner.run_job"
SWEEP_LIMIT = 500  # rows a sweep looks at; the next one goes on
WAKE_LIMIT = 20  # waiting jobs told about a freed lock; each end tells the next ones
TITLE_LENGTH = 300
CANCEL_CHOICE = "cancel_choice"  # code of the question which cancel is meant


class LeaseLost(BaseException):
    """Another worker may have this job by now. A BaseException, so that no `except Exception` of a handler eats it."""


# --- Asking for work ------------------------------------------------------------------------------------------------


@transaction.atomic
def enqueue(
    kind: str,
    params: dict[str, Any] | None = None,
    *,
    actor: Any,
    locks: Iterable[Any] = (),
    about: Iterable[Any] = (),
    join_key: str | None = None,
    idempotency_key: str | None = None,
    title: str = "",
    source: str = Source.PAGE,
    priority: Priority | None = None,
    retry_of: Job | None = None,
) -> Job:
    """Ask for a job; inside the caller's transaction, so that the job exists exactly if the caller's rows do.

    kind, params: the registered handler and its keyword arguments (JSON; no secrets).
    actor: the user who asked, or None for ss-tools itself.
    locks: objects or resource names that the job has for itself while it runs. about: what else it concerns;
        whoever may see jobs of one of these sees the job.
    join_key: as long as a job with this key is unfinished, it is returned instead (`job.joined` is then True).
    idempotency_key: the same for good, per actor: a program that repeats a request gets the job of the first one.
    priority: None takes what fits the source (a person's page first, schedules last). A job that waits already is moved
        forward when it is asked for more urgently.

    Raises UnknownKind; Conflict("idempotency_key_reused") if the key belongs to another request; TypeError for params
    that are not JSON.
    """
    known = registry.kind(kind)
    params = params or {}
    _check_params(params)
    key = _request_key(actor, idempotency_key)
    urgency = priority or Priority.of_source(source)
    if job := _same_request(kind, params, key) or _joinable(join_key, urgency):
        return job
    exclusive = {resource_name(obj) for obj in locks}
    concerned = {resource_name(obj) for obj in about} - exclusive
    try:
        with transaction.atomic():
            now = db_now()
            job = Job.objects.create(
                kind=kind,
                title=(title or known.title)[:TITLE_LENGTH],
                params=params,
                actor=actor,
                source=source,
                join_key=join_key,
                idempotency_key=key,
                retry_of=retry_of,
                priority=urgency,
                created_at=now,
                line_at=now + urgency.handicap,
            )
    except IntegrityError:  # somebody else was faster with the same key
        if job := _same_request(kind, params, key) or _joinable(join_key, urgency):
            return job
        raise
    JobResource.objects.bulk_create(
        [JobResource(job=job, resource=name, exclusive=True) for name in sorted(exclusive)]
        + [JobResource(job=job, resource=name) for name in sorted(concerned)]
    )
    _send(job)
    return job


def of_request(actor: Any, idempotency_key: str | None) -> Job | None:
    """The job that `actor` asked for with this key before. For services whose params exist only once they are asked."""
    key = _request_key(actor, idempotency_key)
    return Job.objects.filter(idempotency_key=key).first() if key else None


def _request_key(actor: Any, idempotency_key: str | None) -> str | None:
    return f"{getattr(actor, 'pk', None) or '-'}:{idempotency_key}" if idempotency_key else None


def _same_request(kind: str, params: dict[str, Any], key: str | None) -> Job | None:
    job = Job.objects.filter(idempotency_key=key).first() if key else None
    if job is None:
        return None
    if job.kind != kind or job.params != json.loads(json.dumps(params)):
        raise Conflict(
            "This idempotency key was used for another request.",
            code="idempotency_key_reused",
            remedy="Use a new key for a new request.",
        )
    job.joined = True
    return job


def _joinable(join_key: str | None, urgency: Priority) -> Job | None:
    job = Job.objects.filter(join_key=join_key, state__in=UNFINISHED).first() if join_key else None
    if job is not None:
        _hurry(job, urgency)
        job.joined = True
    return job


def _hurry(job: Job, urgency: Priority) -> None:
    """A waiting job that somebody wants more urgently than the one before moves forward in line."""
    place = db_now() + urgency.handicap
    if job.line_at <= place or urgency.handicap >= Priority(job.priority).handicap:
        return
    waiting = Job.objects.filter(pk=job.pk, state=State.QUEUED, line_at__gt=place)
    if waiting.update(priority=urgency, line_at=place):
        job.refresh_from_db()
        _send(job)


def _check_params(value: Any) -> None:
    if isinstance(value, Secret):
        raise TypeError("Job params never hold secrets: pass the row's uuid and let the handler read it.")
    if isinstance(value, dict):
        for item in value.values():
            _check_params(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _check_params(item)
    elif value is not None and not isinstance(value, str | bool | int | float):
        raise TypeError(f"Job params are JSON, not {type(value).__name__}.")


def _send(job: Job) -> None:
    """Put a message into the queue. The stamp says when the sweeper may take it for lost."""
    now = db_now()
    until = now + timedelta(seconds=settings.JOB_GRACE_SECONDS)
    Job.objects.filter(pk=job.pk, state=State.QUEUED).update(ready_at=now, resend_at=until)
    job.ready_at, job.resend_at = now, until
    async_task(RUNNER, str(job.uuid))


# --- Doing it -------------------------------------------------------------------------------------------------------


class _Blocked(Exception):
    def __init__(self, older: Job | None = None) -> None:
        self.older = older


def claim(uuid: str) -> Job | None:
    """Take the job for this worker: one conditional UPDATE, and its locks in the same transaction.

    None if there is nothing to take: someone else has it, it is finished, it waits for a lock (then it stays queued
    and is woken when the holder ends). The caller renews the lease, see `renew`.
    """
    try:
        with transaction.atomic():
            job = _claim_row(uuid)
            if job is not None:
                _take_locks(job)
            return job
    except _Blocked as blocked:
        if blocked.older is not None:  # it was here first, and could run: see that it knows
            async_task(RUNNER, str(blocked.older.uuid))
        return None


def _claim_row(uuid: str) -> Job | None:
    now = db_now()
    owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(6)}"
    values: dict[str, Any] = {
        "state": State.RUNNING,
        "owner": owner,
        "lease_until": now + timedelta(seconds=settings.JOB_LEASE_SECONDS),
        "attempt": F("attempt") + 1,
        "started_at": Coalesce("started_at", now),
        "resend_at": None,
    }
    rows = Job.objects.filter(uuid=uuid)
    if not rows.filter(state=State.QUEUED).update(**values):
        lost = {**values, "losses": F("losses") + 1, "lost_at": F("lease_until")}
        expired = rows.filter(
            state=State.RUNNING, lease_until__lt=now, losses__lt=settings.JOB_MAX_ATTEMPTS - 1
        )
        if not expired.update(**lost):
            return None
    return Job.objects.select_related("actor").prefetch_related("resources").get(uuid=uuid)


def _take_locks(job: Job) -> None:
    """All or none. Raises _Blocked."""
    wanted = job.lock_names()
    if not wanted or set(wanted) <= set(job.held_locks.values_list("resource", flat=True)):
        return  # nothing to take, or its own from before: it was resumed, or rested and kept them
    JobLock.objects.bulk_create([JobLock(resource=name, job=job) for name in wanted], ignore_conflicts=True)
    if JobLock.objects.filter(resource__in=wanted).exclude(job=job).exists():
        raise _Blocked
    # First come, first served: a job that was asked for earlier, wants one of these and could run now goes first.
    older = (
        Job.objects.filter(
            state=State.QUEUED, pk__lt=job.pk, resources__exclusive=True, resources__resource__in=wanted
        )
        .exclude(Exists(locks_in_the_way(besides=job)))
        .order_by("pk")
        .first()
    )
    if older is not None:
        raise _Blocked(older)


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
    _add_log(_mine(job), job, level, text, is_step=is_step, fields=fields)


def _add_log(
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
    return _end(job, _mine(job), state, result=result, error=error)


def _end(
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
        _release(job)
    return True


def _release(job: Job) -> None:
    """Give the locks back and tell those who wait for them."""
    names = list(JobLock.objects.filter(job=job).values_list("resource", flat=True))
    if not names:
        return
    JobLock.objects.filter(job=job).delete()
    waiting = Job.objects.filter(
        state=State.QUEUED, resources__exclusive=True, resources__resource__in=names
    ).distinct()
    for other in waiting.order_by("pk")[:WAKE_LIMIT]:
        _send(other)


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


def send_again(uuid: str) -> None:
    """Put another message for a job into the queue: one too many is nothing, one too few waits for the sweeper."""
    async_task(RUNNER, uuid)


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
            _release(job)
        if _asks_for_choice(job) and job.cancel_choice:
            _wake(job, answer=job.cancel_choice)
        return True


def _asks_for_choice(job: Job) -> bool:
    return bool(job.question and job.question.get("code") == CANCEL_CHOICE)


def _wake(job: Job, **values: Any) -> None:
    """Let a resting job, whose row the caller has locked, run again from its beginning."""
    Job.objects.filter(pk=job.pk).update(state=State.QUEUED, **values)
    job.refresh_from_db()
    _send(job)


@transaction.atomic
def wake(job: Job) -> bool:
    """Let a resting job run again without an answer: what it asked for may have come about by itself. False if it does
    not rest.
    """
    job.refresh_from_db(from_queryset=Job.objects.select_for_update())
    if job.state != State.NEEDS_INPUT:
        return False
    _wake(job, answer=None)
    return True


# --- Answering, cancelling, trying again ----------------------------------------------------------------------------


@transaction.atomic
def answer(job: Job, value: Any, *, actor: Any, source: str = Source.PAGE) -> Job:
    """Give a job the input it waits for; it runs again from its beginning.

    The answer to the question which cancel is meant (code "cancel_choice") is also kept as `cancel_choice`.
    Raises NotAllowed; Conflict("not_waiting"); Invalid("bad_answer") if it is none of the question's choices.
    """
    _require_may_drive(job, actor)
    job.refresh_from_db(from_queryset=Job.objects.select_for_update())
    if job.state != State.NEEDS_INPUT:
        raise Conflict("This job does not wait for input any more.", code="not_waiting")
    choices = [choice["value"] for choice in (job.question or {}).get("choices", ())]
    if choices and value not in choices:
        text = f"Choose one of {', '.join(map(str, choices))}."
        raise Invalid(text, errors={"answer": [text]}, code="bad_answer")
    if _asks_for_choice(job):
        _wake(job, answer=value, cancel_choice=value, cancel_requested=True)
    else:
        if (on_answer := registry.kind(job.kind).on_answer) is not None:
            value = on_answer(job, value, actor)
        _wake(job, answer=value, cancel_requested=False, cancel_choice="")
    audit.record("job:answer", job, actor=actor, data={"answer": value}, source=source)
    return job


@transaction.atomic
def request_cancel(job: Job, *, actor: Any, choice: str = "", source: str = Source.PAGE) -> Job:
    """Ask for a job's end. A waiting job ends at once, a running one at its next cancel point; asking twice is fine.

    choice: one of the kind's `cancel_choices`, for the case that the job has written already; "" leaves it open, or
        as it was chosen before. A job that rests and kept its locks is half done: it is woken to deal with the wish,
        and while it asks for the choice a cancel without one changes nothing.

    Raises NotAllowed; Conflict("already_finished"); Invalid("no_such_choice").
    """
    if not may_cancel(job, actor):
        raise NotAllowed(policy.explain(actor, Permission.JOB_CANCEL).sentence)
    _check_choice(job, choice)
    job.refresh_from_db(from_queryset=Job.objects.select_for_update())
    if job.is_finished:
        raise Conflict("This job has ended already.", code="already_finished")
    wish = {
        "cancel_requested": True,
        "cancel_requested_by": actor,
        "cancel_choice": choice or job.cancel_choice,
    }
    rows = Job.objects.filter(pk=job.pk)
    rows.update(**wish)
    half_done = job.held_locks.exists()
    if job.state == State.NEEDS_INPUT and half_done:
        if not _asks_for_choice(job):
            _wake(job)
        elif choice:
            _wake(job, answer=choice)
    elif job.state in (State.QUEUED, State.NEEDS_INPUT) and not half_done:
        before = "Cancelled before it started." if job.attempt == 0 else "Cancelled while it waited."
        _end(job, rows, State.CANCELLED, error={"code": "cancelled", "message": before, "remedy": ""})
    job.refresh_from_db()
    audit.record("job:cancel", job, actor=actor, data={"choice": choice} if choice else None, source=source)
    return job


def _check_choice(job: Job, choice: str) -> None:
    try:
        known = registry.kind(job.kind).cancel_choices
    except registry.UnknownKind:
        known = ()
    if choice and choice not in known:
        text = (
            f"Choose one of {', '.join(known)}."
            if known
            else "A cancel of this job leaves nothing to choose."
        )
        raise Invalid(text, errors={"choice": [text]}, code="no_such_choice")


def retry(job: Job, *, actor: Any, source: str = Source.PAGE) -> Job:
    """The same work as a new job, for one that failed or was cancelled. Asking twice gives the same new job.

    Raises NotAllowed; Conflict("not_retryable").
    """
    with transaction.atomic():
        _require_may_drive(job, actor)
        if not job.can_be_retried or not registry.kind(job.kind).can_retry:
            raise Conflict(
                "Only a job that failed or was cancelled can be tried again.", code="not_retryable"
            )
        resources = list(job.resources.all())
        again = enqueue(
            job.kind,
            job.params,
            actor=actor,
            locks=[row.resource for row in resources if row.exclusive],
            about=[row.resource for row in resources if not row.exclusive],
            join_key=job.join_key or f"retry:{job.uuid}",
            title=job.title,
            source=source,
            retry_of=job,
        )
        if not again.joined:
            audit.record("job:retry", again, actor=actor, data={"of": str(job.uuid)}, source=source)
        return again


def link_of(job: Job) -> tuple[str, str] | None:
    """(label, address) of the page that shows what the job works on."""
    try:
        link = registry.kind(job.kind).link
    except registry.UnknownKind:
        return None
    return link(job) if link else None


def may_cancel(job: Job, user: Any) -> bool:
    """One's own jobs always; others with `job:cancel` on something the job concerns."""
    if user.is_authenticated and user.is_active and job.actor_id == user.pk:
        return True
    where = policy.scopes(user, Permission.JOB_CANCEL)
    return where.everything or any(row.resource in where.resources for row in job.resources.all())


def may_drive(job: Job, user: Any) -> bool:
    """May `user` retry the job, or answer it? With the kind's permission on all that it locks, else concerns."""
    try:
        permission = registry.kind(job.kind).permission
    except registry.UnknownKind:
        return False
    if permission is None:
        return (user.is_active and job.actor_id == user.pk) or policy.can(user, Permission.ACCESS_EDIT)
    where = policy.scopes(user, permission)
    rows = list(job.resources.all())
    names = [row.resource for row in rows if row.exclusive] or [row.resource for row in rows]
    return where.everything or (bool(names) and all(name in where.resources for name in names))


def _require_may_drive(job: Job, actor: Any) -> None:
    if not may_drive(job, actor):
        raise NotAllowed("You may not do that with this job.")


# --- Looking after --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Swept:
    """What a sweep did: messages sent again, jobs given up, locks freed."""

    resent: int
    lost: int
    freed: int


def sweep() -> Swept:
    """Send lost messages again, resume jobs of dead workers, give up on those that kill their workers.

    Harmless when several run at once: each row is taken by a conditional UPDATE.
    """
    now = db_now()
    expired = Job.objects.filter(state=State.RUNNING, lease_until__lt=now)
    lost = sum(
        _give_up(job, now) for job in expired.filter(losses__gte=settings.JOB_MAX_ATTEMPTS - 1)[:SWEEP_LIMIT]
    )
    due = Q(resend_at__isnull=True) | Q(resend_at__lt=now)
    forgotten = Job.objects.filter(due, state=State.QUEUED).exclude(Exists(locks_in_the_way()))
    resent = 0
    for rows in (expired.filter(due), forgotten):
        for job in rows.order_by("pk")[:SWEEP_LIMIT]:
            with transaction.atomic():
                until = now + timedelta(seconds=settings.JOB_GRACE_SECONDS)
                if rows.filter(pk=job.pk).update(resend_at=until):  # the condition is asked again here
                    async_task(RUNNER, str(job.uuid))
                    resent += 1
    return Swept(resent, lost, _free_orphaned_locks())


def _give_up(job: Job, now: datetime) -> bool:
    rows = Job.objects.filter(pk=job.pk, state=State.RUNNING, lease_until__lt=now, owner=job.owner)
    text = f"The worker died {job.losses + 1} times while it did this."
    error = {
        "code": "worker_lost",
        "message": text,
        "remedy": "Look at what the job had done, and at the workers' log and memory, before trying again.",
    }
    if not _end(job, rows, State.FAILED, error=error):
        return False
    _add_log(Job.objects.filter(pk=job.pk), job, Level.ERROR, text)
    return True


def _free_orphaned_locks() -> int:
    """Locks whose job has ended. Ends release theirs in the same transaction; this is for hands in the database.

    A job that rests, or was answered and waits for a worker, may hold locks: it is half done.
    """
    orphaned = JobLock.objects.filter(job__state__in=FINISHED).select_related("job")
    jobs: Sequence[Job] = list({lock.job_id: lock.job for lock in orphaned}.values())
    for job in jobs:
        with transaction.atomic():
            _release(job)
    return len(jobs)


def oldest_wait_seconds() -> float:
    """How long the oldest claimable job has waited for a worker; 0 if there is none. Blocked ones do not count."""
    waiting = Job.objects.filter(state=State.QUEUED).exclude(Exists(locks_in_the_way()))
    first = waiting.aggregate(first=Min("ready_at"))["first"]
    return max(0.0, (db_now() - first).total_seconds()) if first else 0.0


def db_now() -> datetime:
    """The database's clock: workers on several machines must agree on whose lease is over."""
    if connection.vendor != "postgresql":
        return timezone.now()
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        row = cursor.fetchone()
    moment: datetime = row[0]
    return moment
