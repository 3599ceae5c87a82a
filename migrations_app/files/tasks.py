"""The kind of job of this app."""

from __future__ import annotations

from typing import Any

from sstools.jobs.models import Job
from sstools.jobs.registry import job_kind
from sstools.jobs.runner import JobContext
from sstools.roles.permissions import Permission

from . import services
from .models import FileAudit


def _link(job: Job) -> tuple[str, str] | None:
    row = FileAudit.objects.filter(uuid=job.params.get("audit")).first()
    return ("Audit", row.get_absolute_url()) if row is not None else None


@job_kind(
    services.AUDIT,
    title="Audit files",
    permission=Permission.MIGRATION_PLAN,
    can_retry=False,  # the file is gone by then
    link=_link,
)
def audit_files(ctx: JobContext, *, audit: str) -> dict[str, Any]:
    """Safe to run again: the file is there until the report is."""
    return services.run_audit(ctx, audit)
