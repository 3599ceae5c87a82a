"""Who works, on what, and how long the line is: for the page of the workers and the API."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Count, Exists

from . import services, waiting
from .models import WORKER_SILENCE, Job, Priority, State, Worker, locks_in_the_way

REPORTED = timedelta(hours=1)  # a machine that was seen this lately is still shown after it went silent


@dataclass(frozen=True)
class AtWork:
    """A job that runs now. `job` is None where the reader may not see it."""

    job: Job | None
    claim: waiting.Claim | None
    since: datetime | None
    lease_until: datetime | None
    silence: waiting.Silence | None


@dataclass(frozen=True)
class Machine:
    """One set of workers. `at_work`: the jobs of its host; where two sets share a host, of both."""

    worker: Worker
    is_alive: bool
    silent_seconds: float
    at_work: Sequence[AtWork]


@dataclass(frozen=True)
class Line:
    """What is not finished, by what it needs next; `oldest_seconds`: the longest wait for nothing but a worker."""

    claimable: int
    blocked: int
    running: int
    asking: int
    oldest_seconds: float
    by_priority: dict[str, int]

    @property
    def background(self) -> int:
        return self.by_priority.get(Priority.BACKGROUND, 0)


def overview(user: Any) -> dict[str, Any]:
    """Machines, jobs whose machine is not known, the line, and the times by which workers live."""
    now = services.db_now()
    running = list(Job.objects.filter(state=State.RUNNING).select_related("actor").order_by("pk"))
    seen = set(
        Job.objects.visible_to(user).filter(pk__in=[job.pk for job in running]).values_list("pk", flat=True)
    )
    by_host: dict[str, list[AtWork]] = defaultdict(list)
    for job in running:
        claim = waiting.Claim.of(job.owner)
        by_host[claim.host if claim else ""].append(
            AtWork(
                job if job.pk in seen else None,
                claim,
                job.started_at,
                job.lease_until,
                waiting.silence(job, now),
            )
        )
    workers = list(Worker.objects.filter(seen_at__gt=now - REPORTED).order_by("host", "pk"))
    machines = []
    for worker in workers:
        silent = max(0.0, (now - worker.seen_at).total_seconds())
        alive = silent < WORKER_SILENCE.total_seconds()
        machines.append(Machine(worker, alive, silent, by_host.get(worker.host, [])))
    hosts = {worker.host for worker in workers}
    alive_machines = [machine for machine in machines if machine.is_alive]
    return {
        "machines": machines,
        "elsewhere": [each for host, rows in by_host.items() if host not in hosts for each in rows],
        "line": line(),
        "versions": sorted({machine.worker.version for machine in alive_machines if machine.worker.version}),
        "worker_count": sum(machine.worker.workers for machine in alive_machines),
        "no_worker": not alive_machines,
        "last_sweep": max((machine.worker.seen_at for machine in alive_machines), default=None),
        "sweep_seconds": settings.JOB_SWEEP_SECONDS,
        "lease_seconds": settings.JOB_LEASE_SECONDS,
        "max_attempts": settings.JOB_MAX_ATTEMPTS,
        "timeout_seconds": settings.JOB_TIMEOUT_SECONDS,
        "retention": (
            ("Jobs", f"{Job.objects.count():,} now; forgotten {settings.JOB_KEEP_DAYS} days after their end"),
            ("Logs", f"whole for {settings.JOB_LOG_KEEP_DAYS} days, then only steps, warnings and errors"),
        ),
        "now": now,
    }


def line() -> Line:
    """The jobs of everybody: numbers tell nothing that is not for all who may see jobs."""
    states = dict(Job.objects.unfinished().order_by().values_list("state").annotate(number=Count("pk")))
    queued = states.get(State.QUEUED, 0)
    blocked = Job.objects.filter(Exists(locks_in_the_way()), state=State.QUEUED).count() if queued else 0
    return Line(
        claimable=queued - blocked,
        blocked=blocked,
        running=states.get(State.RUNNING, 0),
        asking=states.get(State.NEEDS_INPUT, 0),
        oldest_seconds=services.oldest_wait_seconds() if queued else 0.0,
        by_priority=_by_priority() if queued else {},
    )


def _by_priority() -> dict[str, int]:
    rows = Job.objects.filter(state=State.QUEUED).order_by().values_list("priority")
    return dict(rows.annotate(number=Count("pk")))
