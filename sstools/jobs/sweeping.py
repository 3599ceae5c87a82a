"""Looking after the queue: messages that were lost, workers that died, locks that nobody holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.db.models import Max, Min, Q, QuerySet, Sum
from django_q.models import OrmQ

from . import lanes
from .claiming import add_log, end, release
from .clock import db_now
from .messages import grace, send_again
from .models import FINISHED, Job, JobLock, Level, Priority, State, Worker

SWEEP_LIMIT = 500  # rows a sweep looks at; the next one goes on


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
    return Swept(resend(), lost, _free_orphaned_locks())


def resend() -> int:
    """Send a message for every job that could be taken and should have been by now, unless enough are on their way.

    Cheap while there is nothing to do. Returns how many were sent. What waits for a lock or for room among the
    background jobs is left alone: it is told when there is some.
    """
    now = db_now()
    due = Q(resend_at__isnull=True) | Q(resend_at__lt=now)
    late = Job.objects.filter(due)
    jobs = list(late.filter(state=State.RUNNING, lease_until__lt=now).order_by("line_at", "pk")[:SWEEP_LIMIT])
    if late.filter(state=State.QUEUED).exists():
        background = Q(priority=Priority.BACKGROUND)
        jobs += late.in_line().exclude(background)[:SWEEP_LIMIT]
        jobs += late.in_line().filter(background)[: max(0, lanes.room())]
    if not jobs:
        return 0
    on_the_way = OrmQ.objects.filter(key=settings.Q_CLUSTER["name"], lock__lte=now).count()
    sent = 0
    for job in jobs:
        with transaction.atomic():
            stamped = late.filter(pk=job.pk, state=job.state).update(resend_at=now + grace(job))
            if not stamped:  # somebody else looked after it
                continue
            if on_the_way:  # any message finds it
                on_the_way -= 1
                continue
            send_again(str(job.uuid))
            sent += 1
    return sent


def _give_up(job: Job, now: datetime) -> bool:
    rows = Job.objects.filter(pk=job.pk, state=State.RUNNING, lease_until__lt=now, owner=job.owner)
    text = f"The worker died {job.losses + 1} times while it did this."
    error = {
        "code": "worker_lost",
        "message": text,
        "remedy": "Look at what the job had done, and at the workers' log and memory, before trying again.",
    }
    if not end(job, rows, State.FAILED, error=error):
        return False
    add_log(Job.objects.filter(pk=job.pk), job, Level.ERROR, text)
    return True


def _free_orphaned_locks() -> int:
    """Locks whose job has ended. Ends release theirs in the same transaction; this is for hands in the database.

    A job that rests, or was answered and waits for a worker, may hold locks: it is half done.
    """
    orphaned = JobLock.objects.filter(job__state__in=FINISHED).select_related("job")
    jobs: Sequence[Job] = list({lock.job_id: lock.job for lock in orphaned}.values())
    for job in jobs:
        with transaction.atomic():
            release(job)
    return len(jobs)


def oldest_wait_seconds() -> float:
    """How long the oldest claimable job has waited for a worker; 0 if there is none. Those that wait for a lock, or for
    room among the background jobs, do not count.
    """
    first = _claimable().aggregate(first=Min("ready_at"))["first"]
    return max(0.0, (db_now() - first).total_seconds()) if first else 0.0


def stalled_seconds() -> float:
    """How long no job was begun or ended although one waits, or lost its worker, and another worker should be free; 0
    while the queue moves.
    """
    now = db_now()
    lost = Job.objects.filter(state=State.RUNNING, lease_until__lt=now)
    waiting = (
        _claimable().aggregate(first=Min("ready_at"))["first"],
        lost.aggregate(first=Min("lease_until"))["first"],
    )
    first = min((moment for moment in waiting if moment is not None), default=None)
    if first is None:
        return 0.0
    at_work = Job.objects.filter(state=State.RUNNING, lease_until__gt=now)
    workers = Worker.objects.alive(now).aggregate(number=Sum("workers"))["number"] or 0
    if 0 < workers <= at_work.count():
        return 0.0
    begun = at_work.aggregate(last=Max("started_at"))["last"]
    ended = Job.objects.aggregate(last=Max("finished_at"))["last"]
    moved: datetime = max(moment for moment in (first, begun, ended) if moment is not None)
    return max(0.0, (now - moved).total_seconds())


def _claimable() -> QuerySet[Job]:
    rows = Job.objects.in_line()
    return rows if lanes.room() > 0 else rows.exclude(priority=Priority.BACKGROUND)
