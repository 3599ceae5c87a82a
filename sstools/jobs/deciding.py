"""What people do with jobs: answer, cancel, try again; and who may."""

from typing import Any

from django.db import transaction

from sstools.audit import services as audit
from sstools.errors import Conflict, Invalid, NotAllowed
from sstools.roles import policy
from sstools.roles.permissions import Permission

from . import registry
from .asking import enqueue
from .claiming import asks_for_choice, end, requeue
from .models import Job, Source, State


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
    if asks_for_choice(job):
        requeue(job, answer=value, cancel_choice=value, cancel_requested=True)
    else:
        if (on_answer := registry.kind(job.kind).on_answer) is not None:
            value = on_answer(job, value, actor)
        requeue(job, answer=value, cancel_requested=False, cancel_choice="")
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
        raise _refusal(job, actor, Permission.JOB_CANCEL)
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
        if not asks_for_choice(job):
            requeue(job)
        elif choice:
            requeue(job, answer=choice)
    elif job.state in (State.QUEUED, State.NEEDS_INPUT) and not half_done:
        before = "Cancelled before it started." if job.attempt == 0 else "Cancelled while it waited."
        end(job, rows, State.CANCELLED, error={"code": "cancelled", "message": before, "remedy": ""})
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
    if may_drive(job, actor):
        return
    try:
        permission = registry.kind(job.kind).permission or Permission.ACCESS_EDIT
    except registry.UnknownKind as exc:
        raise NotAllowed(str(exc)) from None
    raise _refusal(job, actor, permission)


def _refusal(job: Job, actor: Any, permission: Permission) -> NotAllowed:
    """Names the right, and the first of what the job concerns on which it is missing."""
    where = policy.scopes(actor, permission)
    missing = (row.resource for row in job.resources.all() if row.resource not in where.resources)
    return policy.refusal(actor, permission, next(missing, None))
