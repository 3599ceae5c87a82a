"""The kinds of jobs of this app."""

from __future__ import annotations

from typing import Any

from django.urls import reverse

from environments.models import Environment
from sstools.errors import NotFoundError
from sstools.jobs.models import Job
from sstools.jobs.registry import job_kind
from sstools.jobs.runner import JobContext
from sstools.roles.permissions import Permission

from . import services
from .models import Repository


def _link(job: Job) -> tuple[str, str] | None:
    row = Repository.objects.filter(uuid=job.params.get("repository")).first()
    return (row.name, row.get_absolute_url()) if row is not None else None


def _commit_link(job: Job) -> tuple[str, str] | None:
    """A commit that was refused leads to where it is settled."""
    found = _link(job)
    if found is None or not ((job.error or {}).get("detail") or {}).get("remote_commit"):
        return found
    slug = Repository.objects.values_list("slug", flat=True).get(uuid=job.params["repository"])
    return "Settle it", reverse("git:conflict", args=[slug, job.uuid])


def _repository(uuid: str) -> Repository:
    row = Repository.objects.select_related("environment").filter(uuid=uuid).first()
    if row is None:
        raise NotFoundError("The repository was removed.")
    return row


@job_kind(services.CHECK, title="Test a repository", permission=Permission.REPOSITORY_VIEW, link=_link)
def check(ctx: JobContext, *, repository: str) -> dict[str, Any]:
    """Safe to run again: it only looks."""
    from . import work  # with what talks to servers: half a second of a start, which most do not need

    return work.run_check(ctx, _repository(repository))


@job_kind(services.READ, title="Read a repository", permission=Permission.REPOSITORY_VIEW, link=_link)
def read(ctx: JobContext, *, repository: str, ref: str) -> dict[str, Any]:
    """Safe to run again: what was read is kept under the commit's hash."""
    from . import work  # with what talks to servers: half a second of a start, which most do not need

    return work.run_reading(ctx, _repository(repository), ref)


@job_kind(
    services.COMMIT,
    title="Commit to a repository",
    permission=Permission.REPOSITORY_COMMIT,
    link=_commit_link,
)
def commit(
    ctx: JobContext,
    *,
    repository: str,
    environment: str,
    branch: str,
    base: str,
    message: str,
    assets: dict[str, str],
) -> dict[str, Any]:
    """Safe to run again: what an attempt before has pushed is there."""
    from . import work  # with what talks to servers: half a second of a start, which most do not need

    return work.run_commit(
        ctx,
        _repository(repository),
        Environment.objects.get(uuid=environment),
        branch=branch,
        base=base,
        message=message,
        assets=assets,
    )
