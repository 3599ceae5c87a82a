"""The kind of job of this app."""

from __future__ import annotations

from typing import Any

from sstools.jobs.models import Job
from sstools.jobs.registry import job_kind
from sstools.jobs.runner import JobContext
from sstools.roles.permissions import Permission

from . import scheduling, services
from .scheduling import find_route


def _link(job: Job) -> tuple[str, str] | None:
    from django.urls import reverse

    from migrations_app.release.models import Route

    route = Route.objects.select_related("target").filter(uuid=job.params.get("route")).first()
    return ("Drift", f"{reverse('drift:list')}?route={route.slug}") if route else None


@job_kind(
    services.CHECK,
    title="Check for drift",
    permission=Permission.ENVIRONMENT_TEST,
    link=_link,
    schedulable=scheduling.CHECK,
)
def check(ctx: JobContext, *, route: str) -> dict[str, Any]:
    """Safe to run again: it says what is there now."""
    target = find_route({"route": route}).target

    def still_mine(method: str, path: str) -> None:
        ctx.still_mine()  # a worker that lost the job asks nothing more

    counts = services.check(
        target,
        lambda what, done, total: ctx.step(what, done, total),
        job=ctx.job.uuid,
        log=ctx.log,
        before_request=still_mine,
    )
    ctx.step("Done", cancellable=False)
    words = ", ".join(f"{number} {name}" for name, number in counts.items())
    ctx.log("info", f"{target.name}: {words}.")
    return {**counts, "environment": target.slug}
