"""Jobs that plan and apply in one go (`promoting.py`), as the other services need to know them: found, and woken.

Apart from `promoting`, which stands on those services itself.
"""

from __future__ import annotations

from collections.abc import Iterable

from sstools.jobs import services as jobs
from sstools.jobs.models import Job, State

from .models import Migration

PROMOTE = "migrations_app.promote"


def join_key(migration: Migration) -> str:
    return f"promote:{migration.uuid}"


def unfinished(migration: Migration) -> Job | None:
    """The job that plans and applies this migration, as long as it has not ended."""
    return Job.objects.unfinished().filter(join_key=join_key(migration)).first()


def wake(migrations: Iterable[Migration]) -> None:
    """What they wait for may be there now: let them look again. Inside the caller's transaction."""
    keys = [join_key(migration) for migration in migrations]
    for job in Job.objects.filter(join_key__in=keys, state=State.NEEDS_INPUT):
        jobs.wake(job)
