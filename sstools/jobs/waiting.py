"""Who waits for whom, and who has not been heard of: what pages say about jobs that do not move.

Everything here is asked for a whole list of jobs at once, with as many queries for one as for fifty.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Exists, Q, QuerySet

from . import services
from .models import Job, JobLock, JobResource, State, Worker, locks_in_the_way

LATE = timedelta(seconds=60)  # a job that nothing holds up should have a worker by then
LINE_LENGTH = 2_000  # of the line for a worker, that far the place in it is counted


# --- Waiting --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """Where a queued job stands: who holds what it needs, and how many go before it.

    `holders`: the jobs that hold it, None for one that the reader may not see. `resources`: what they hold.
    `ahead`: how many jobs are taken first; None if it is too far back to be counted.
    """

    holders: Sequence[Job | None] = ()
    resources: Sequence[str] = ()
    ahead: int | None = 0

    @property
    def is_blocked(self) -> bool:
        return bool(self.holders)


def places(jobs: Iterable[Job], user: Any) -> dict[int, Place]:
    """The places of those of `jobs` that are queued, by primary key."""
    queued = [job for job in jobs if job.state == State.QUEUED]
    if not queued:
        return {}
    wanted: dict[int, set[str]] = defaultdict(set)
    rows = JobResource.objects.filter(job__in=[job.pk for job in queued], exclusive=True)
    for pk, resource in rows.values_list("job_id", "resource"):
        wanted[pk].add(resource)
    names = {name for resources in wanted.values() for name in resources}
    locks = list(JobLock.objects.filter(resource__in=names).select_related("job__actor")) if names else []
    seen = _seen({lock.job_id for lock in locks}, user)
    for_workers, for_resource = _line(), _lines({lock.resource for lock in locks})
    found = {}
    for job in queued:
        mine = [lock for lock in locks if lock.resource in wanted[job.pk] and lock.job_id != job.pk]
        if not mine:
            found[job.pk] = Place(ahead=for_workers.get(job.pk))
            continue
        holders = {lock.job_id: lock.job if lock.job_id in seen else None for lock in mine}
        before = [for_resource[lock.resource].get(job.pk) for lock in mine]
        counted = [number for number in before if number is not None]
        found[job.pk] = Place(
            tuple(holders.values()),
            tuple(sorted({lock.resource for lock in mine})),
            len(holders) + max(counted) if len(counted) == len(before) else None,
        )
    return found


def _line() -> dict[int, int]:
    """Of the jobs that wait for nothing but a worker, how many go before each. By primary key; without the last ones of
    a long line.
    """
    rows = Job.objects.in_line().values_list("pk", flat=True)[:LINE_LENGTH]
    return {pk: number for number, pk in enumerate(rows)}


def _lines(resources: set[str]) -> dict[str, dict[int, int]]:
    """For each resource the same of the queued jobs that want it for themselves."""
    lines: dict[str, dict[int, int]] = defaultdict(dict)
    if resources:
        wanting = JobResource.objects.filter(
            resource__in=resources, exclusive=True, job__state=State.QUEUED
        ).order_by("job__line_at", "job_id")
        # Primary keys only: reading the times of a thousand jobs takes longer than all the rest.
        for resource, pk in wanting.values_list("resource", "job_id")[:LINE_LENGTH]:
            lines[resource][pk] = len(lines[resource])
    return lines


def _seen(jobs: set[int], user: Any) -> set[int]:
    if not jobs:
        return set()
    return set(Job.objects.visible_to(user).filter(pk__in=jobs).values_list("pk", flat=True))


def claimable() -> QuerySet[Job]:
    """Queued, and nothing but a worker is missing."""
    return Job.objects.filter(state=State.QUEUED).exclude(Exists(locks_in_the_way()))


def waiting_behind(job: Job) -> QuerySet[Job]:
    """Queued jobs that need what this one holds."""
    held = JobLock.objects.filter(job=job).values("resource")
    wanting = JobResource.objects.filter(resource__in=held, exclusive=True).exclude(job=job)
    return Job.objects.filter(state=State.QUEUED, pk__in=wanting.values("job_id"))


# --- Not heard of ---------------------------------------------------------------------------------------------------


def late(rows: QuerySet[Job], now: datetime) -> QuerySet[Job]:
    """Those that should be further: no worker took them within a minute, or their worker is not heard of."""
    untaken = Q(state=State.QUEUED, ready_at__lt=now - LATE) & ~Exists(locks_in_the_way())
    return rows.filter(untaken | Q(state=State.RUNNING, lease_until__lt=now + _silent_lease()))


def _silent_lease() -> timedelta:
    """What is left of a lease that was not renewed when it should have been (a third of it had gone by)."""
    return timedelta(seconds=settings.JOB_LEASE_SECONDS / 2)


@dataclass(frozen=True)
class Silence:
    """A running job whose worker gives no sign: `seconds` since the last one, and when another takes over.

    `is_over`: the lease has run out, whoever looks next takes the job. `is_last`: it is given up then, as it has lost
    its worker too often.
    """

    seconds: float
    takes_over_at: datetime
    is_over: bool
    is_last: bool


def silence(job: Job, now: datetime) -> Silence | None:
    """None while the worker renews its lease in time, and for jobs that do not run. `now`: of the database."""
    if job.state != State.RUNNING or job.lease_until is None or job.lease_until > now + _silent_lease():
        return None
    last_sign = job.lease_until - timedelta(seconds=settings.JOB_LEASE_SECONDS)
    return Silence(
        seconds=max(0.0, (now - last_sign).total_seconds()),
        takes_over_at=job.lease_until,
        is_over=job.lease_until <= now,
        is_last=job.losses >= settings.JOB_MAX_ATTEMPTS - 1,
    )


@dataclass(frozen=True)
class Claim:
    """Who has a job: the machine and the process, as the claim names them ("host:pid:pid of its parent:random")."""

    host: str
    pid: str

    @classmethod
    def of(cls, owner: str) -> "Claim | None":
        host, pid = [*owner.split(":"), ""][:2]
        return cls(host, pid) if host and pid else None


def nobody_works(now: datetime) -> bool:
    """No worker of any machine was seen for a minute: what is queued stays so."""
    return not Worker.objects.alive(now).exists()


# --- Waiting for a person -------------------------------------------------------------------------------------------


def asking(user: Any, limit: int = 50) -> list[Job]:
    """Jobs that wait for an answer which `user` may give, the longest waiting first."""
    rows = Job.objects.visible_to(user).filter(state=State.NEEDS_INPUT).select_related("actor")
    found = rows.prefetch_related("resources").order_by("pk")[:limit]
    return [job for job in found if services.may_drive(job, user)]
