"""The kind of job of this app."""

from __future__ import annotations

from typing import Any

from environments.models import Environment
from sstools.errors import NotFoundError
from sstools.jobs.models import Job
from sstools.jobs.registry import job_kind
from sstools.jobs.runner import JobContext
from sstools.roles.permissions import Permission

from . import running, scheduling, services
from .models import Rehearsal


def _link(job: Job) -> tuple[str, str] | None:
    row = Rehearsal.objects.filter(job=job).first()
    return (str(row), row.get_absolute_url()) if row is not None else None


@job_kind(
    services.RUN,
    title="Rehearse a backup",
    permission=Permission.MIGRATION_APPLY,
    can_retry=False,  # what it wrote before it failed is taken away already; ask for another one
    on_end=running.job_ended,
    link=_link,
    schedulable=scheduling.REHEARSAL,
)
def rehearse(ctx: JobContext, *, environment: str, scratch: str, backup: str = "") -> dict[str, Any]:
    """Safe to run again: it goes on with the rehearsal of this job."""
    rows = {str(row.uuid): row for row in Environment.objects.filter(uuid__in=(environment, scratch))}
    if len(rows) != 2:
        raise NotFoundError("The environment was removed.")
    chosen = None
    if backup:
        chosen = rows[environment].backups.select_related("snapshot").filter(pk=backup).first()
        if chosen is None:
            raise NotFoundError(f"Backup {backup} was removed.")
    return running.rehearse(ctx, environment=rows[environment], scratch=rows[scratch], backup=chosen)
