"""The kinds of jobs of this app."""

from __future__ import annotations

from typing import Any

from django.urls import reverse

from environments.models import Environment
from sstools.jobs.models import Job
from sstools.jobs.registry import job_kind
from sstools.jobs.runner import JobContext
from sstools.roles.permissions import Permission

from . import services, states


def _link(job: Job) -> tuple[str, str] | None:
    return "Overview", reverse("web:home")


@job_kind(
    services.COMPARE, title="Compare two environments", permission=Permission.MIGRATION_PLAN, link=_link
)
def compare_pair(ctx: JobContext, *, source: str, target: str) -> dict[str, Any]:
    """Bring the states between two environments up to date, from what was read last. Asks no Superset."""
    pair = {str(row.uuid): row for row in Environment.objects.filter(uuid__in=(source, target))}
    if len(pair) < 2:
        return {}  # one was removed meanwhile
    ctx.step(f"Comparing {pair[source].name} with {pair[target].name}")
    states.refresh_pair(pair[source], pair[target])
    return {"source": pair[source].slug, "target": pair[target].slug}
