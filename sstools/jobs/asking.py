"""Asking for work."""

import json
from collections.abc import Iterable
from typing import Any

from django.db import IntegrityError, transaction

from sstools.errors import Conflict
from sstools.resources import resource_name
from sstools.secrets import Secret

from . import registry
from .clock import db_now
from .messages import send
from .models import UNFINISHED, Job, JobResource, Priority, Source, State

TITLE_LENGTH = 300


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
    send(job)
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
        send(job)


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
