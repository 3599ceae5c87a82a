"""The kinds of jobs of this app."""

from typing import Any

from sstools.jobs.models import Job
from sstools.jobs.registry import job_kind
from sstools.jobs.runner import JobContext
from sstools.roles.permissions import Permission
from sstools.texts import counted

from . import scheduling, services
from .models import Environment


def _link(job: Job) -> tuple[str, str] | None:
    environment = Environment.objects.filter(uuid=job.params.get("environment")).first()
    return (environment.name, environment.get_absolute_url()) if environment else None


@job_kind(
    services.CHECK,
    title="Test a connection",
    permission=Permission.ENVIRONMENT_TEST,
    link=_link,
    schedulable=scheduling.CHECK,
)
def check(ctx: JobContext, *, environment: str) -> dict[str, Any]:
    """Test the connection of an environment. Succeeds when the test was carried out, whatever it found."""
    row = Environment.objects.get(uuid=environment)
    ctx.step(f"Testing {row.name}")
    report = services.run_check(row)
    for stage in report.stages:
        level = "info" if stage.ok else "warning" if stage.ok is None else "error"
        ctx.log(level, f"{stage.text} {stage.remedy if not stage.ok else ''}".strip(), code=stage.code)
    return {"state": str(row.check_state), "version": report.version, "environment": row.slug}


@job_kind(
    services.READING,
    title="Read an environment",
    permission=Permission.ENVIRONMENT_TEST,
    link=_link,
    schedulable=scheduling.READING,
)
def read_inventory(ctx: JobContext, *, environment: str) -> dict[str, Any]:
    """Read what is there now, exporting what changed. Safe to run again: the last one stays until its end."""
    row = Environment.objects.get(uuid=environment)

    def still_mine(method: str, path: str) -> None:
        ctx.still_mine()  # a worker that lost the job asks nothing more

    found = services.run_reading(
        row,
        lambda what, done, total: ctx.step(what, done, total),
        job=ctx.job.uuid,
        before_request=still_mine,
    )
    ctx.step("Done", 4, 4, cancellable=False)
    ctx.log(
        "info",
        f"{counted(sum(found.counts.values()), 'asset')}: {found.added} new, {found.changed} changed, "
        f"{found.gone} gone. {found.requests_text}.",
    )
    return {
        "counts": found.counts,
        "new": found.added,
        "changed": found.changed,
        "gone": found.gone,
        "requests": found.requests,
        "swept": found.swept,
        "reading": str(found.uuid),
        "environment": row.slug,
    }
