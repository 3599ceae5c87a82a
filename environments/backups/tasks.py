"""The kinds of jobs of this app."""

from typing import Any

from environments.models import Environment
from sstools.errors import NotFoundError, SSToolsError
from sstools.jobs.models import Job
from sstools.jobs.registry import job_kind
from sstools.jobs.runner import JobContext
from sstools.roles.permissions import Permission
from sstools.texts import counted

from . import retention, scheduling, services, taking, verifying
from .models import Backup, BackupReason


def _link(job: Job) -> tuple[str, str] | None:
    environment = Environment.objects.filter(uuid=job.params.get("environment")).first()
    return (environment.name, environment.get_absolute_url()) if environment else None


def _ended(job: Job) -> None:
    error = job.error or {
        "code": "cancelled",
        "message": "Somebody cancelled it. It holds nothing.",
        "remedy": "Take another one.",
    }
    taking.end_with_job(job.uuid, error)


@job_kind(
    services.TAKE,
    title="Back up",
    permission=Permission.BACKUP_CREATE,
    link=_link,
    on_end=_ended,
    schedulable=scheduling.TAKE,
)
def take(
    ctx: JobContext,
    *,
    environment: str,
    title: str = "",
    selection: list[str] | None = None,
    storage: str = "",
    notes: str = "",
) -> dict[str, Any]:
    """Back an environment up. Safe to run again: what an attempt before had kept is used, and it ends as one backup."""
    row = Environment.objects.get(uuid=environment)
    firing = ctx.job.firings.select_related("schedule").first()
    asked = taking.Asked(
        title=title,
        selection=None if selection is None else tuple(selection),
        notes=notes,
        reason=BackupReason.SCHEDULE if firing else BackupReason.MANUAL,
        actor=ctx.job.actor,
        job=ctx.job.uuid,
        schedule=firing.schedule.uuid if firing else None,
        storage=storage,
    )

    def still_mine(method: str, path: str) -> None:
        ctx.still_mine()  # a worker that lost the job asks nothing more

    backup = taking.take(
        row,
        asked,
        lambda what, done, total: ctx.step(what, done, total),
        fenced=ctx.fenced,
        before_request=still_mine,
    )
    total = sum(backup.counts.values())
    ctx.step("Done", 1, 1, cancellable=False)
    for kind, why in backup.companions_read.items():
        if why:
            ctx.log("warning", why, code="companions_unread", kind=kind)
    for problem in backup.problems[:20]:
        ctx.log("warning", problem["text"], code=problem["code"], uuid=problem["uuid"])
    ctx.log(
        "info",
        f"Backup {backup.pk}: {counted(total, 'item')}, {counted(backup.added_documents, 'new document')} "
        f"({backup.added_bytes:,} bytes).",
    )
    if (used := retention.usage(row)).is_over:
        text = f"The backups of {row.name} take {used.size:,} bytes, of {used.quota:,} that they may take."
        ctx.log("warning", text, code="over_quota")
    return {
        "backup": backup.pk,
        "state": backup.state,
        "counts": backup.counts,
        "total": total,
        "added_documents": backup.added_documents,
        "added_bytes": backup.added_bytes,
        "problems": len(backup.problems),
        "environment": row.slug,
    }


@job_kind(services.VERIFY, title="Verify a backup", permission=Permission.BACKUP_CREATE)
def verify(ctx: JobContext, *, backup: int) -> dict[str, Any]:
    """Check every document of a backup. Succeeds when it was carried out, whatever it found."""
    row = Backup.objects.select_related("snapshot__environment", "environment").filter(pk=backup).first()
    if row is None:
        raise NotFoundError(f"Backup {backup} is gone.")
    found = verifying.verify(row, lambda what, done, total: ctx.step(what, done, total))
    for problem in (found.verification or {}).get("problems", ())[:20]:
        ctx.log("error", problem["text"], code=problem["code"], uuid=problem["uuid"])
    return verifying.summary(found)


@job_kind(
    services.VERIFY_ALL,
    title="Verify backups",
    permission=Permission.BACKUP_CREATE,
    link=_link,
    schedulable=scheduling.VERIFY_ALL,
)
def verify_all(ctx: JobContext, *, environment: str = "", percent: int | None = None) -> dict[str, Any]:
    """Check all backups, or those of an environment. Succeeds when each could be asked for, whatever was found."""
    rows = services.verifiable(environment or None)
    report = verifying.verify_many(
        rows, lambda what, done, total: ctx.step(what, done, total), percent=percent
    )
    for backup in report.corrupt:
        for problem in verifying.problems_of(backup)[:20]:
            ctx.log("error", f"{backup}: {problem['text']}", code=problem["code"], uuid=problem["uuid"])
    for number in report.others:
        ctx.log("error", f"Backup {number} has a document that is missing or damaged.", code="corrupt")
    result = {
        "checked": len(report.checked),
        "documents": report.objects,
        "corrupt": sorted({*(backup.pk for backup in report.corrupt), *report.others}),
        "unchecked": sorted(report.unchecked),
    }
    for number, error in report.unchecked.items():
        ctx.log("error", f"Backup {number}: {error.message}", code=error.code)
    if report.unchecked:
        first = next(iter(report.unchecked.values()))
        raise SSToolsError(
            f"{counted(len(report.unchecked), 'backup')} could not be verified: {first.message}",
            code=first.code,
            remedy=first.remedy,
            detail=result,
        )
    return result
