"""How many workers background jobs may take: never the last ones.

Counted over all machines, so that it does not matter which worker gets a message: as long as there is room, any of them
may take a background job, and when there is none, none of them may.
"""

from django.conf import settings
from django.db import connection
from django.db.models import Sum

from .clock import db_now
from .models import Job, Priority, State, Worker

FREE_SHARE = 4  # one worker in so many is kept free for people, and at least one
_LOCK = 0x53535F4C  # of PostgreSQL's advisory locks, ours by having been made up


def room() -> int:
    """How many more background jobs may start now; below 0 where too many run."""
    now = db_now()
    running = Job.objects.filter(state=State.RUNNING, priority=Priority.BACKGROUND, lease_until__gt=now)
    return most(workers()) - running.count()


def workers() -> int:
    """Workers of all machines, as their supervisors report them; where none does, as many as are configured here."""
    alive = Worker.objects.alive(db_now()).aggregate(number=Sum("workers"))["number"]
    return alive or settings.JOB_WORKERS


def most(workers: int) -> int:
    """Background jobs that may run at once. A single worker does everything, or schedules would never run there."""
    return max(1, workers - max(1, workers // FREE_SHARE))


def one_at_a_time() -> None:
    """Until the end of the transaction nobody else counts: two workers must not both take the last place."""
    if connection.vendor == "postgresql":  # SQLite has one writer at a time anyway
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
