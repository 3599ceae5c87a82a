"""The kinds of jobs of this app."""

from __future__ import annotations

from typing import Any

from django.urls import reverse

from environments.models import Environment
from migrations_app.models import Migration
from sstools.errors import NotFoundError
from sstools.jobs.models import Job
from sstools.jobs.registry import job_kind
from sstools.jobs.runner import JobContext
from sstools.roles.permissions import Permission

from . import following, nightly, scheduling, services, statuses
from .models import Follow, Repository


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
    pull_request: bool = False,
) -> dict[str, Any]:
    """Safe to run again: what an attempt before has pushed is there, and so is a request that it opened."""
    from . import pulls, work  # with what talks to servers: half a second of a start, which most do not need

    row = _repository(repository)
    done = work.run_commit(
        ctx,
        row,
        Environment.objects.get(uuid=environment),
        branch=branch,
        base=base,
        message=message,
        assets=assets,
    )
    return {**done, **pulls.beside_commit(ctx, row, branch, message)} if pull_request else done


@job_kind(services.PULL, title="Open a pull request", permission=Permission.REPOSITORY_COMMIT, link=_link)
def pull_request(
    ctx: JobContext, *, repository: str, branch: str, into: str, title: str = ""
) -> dict[str, Any]:
    """Safe to run again: one that is open is found."""
    from . import pulls  # with what talks to servers: half a second of a start, which most do not need

    return {"pull_request": pulls.run_pull(ctx, _repository(repository), branch, into, title)}


def _link_to_follow(job: Job) -> tuple[str, str] | None:
    row = Follow.objects.select_related("repository", "target").filter(uuid=job.params.get("follow")).first()
    return (str(row), row.get_absolute_url()) if row is not None else None


@job_kind(
    following.FOLLOW,
    title="Follow a branch",
    permission=Permission.MIGRATION_PLAN,
    link=_link_to_follow,
    on_end=following.look_ended,
    schedulable=scheduling.FOLLOW,
)
def follow(ctx: JobContext, *, follow: str) -> dict[str, Any]:
    """Safe to run again: a commit that was dealt with is noted with its migration."""
    return following.run_look(ctx, follow)


@job_kind(
    nightly.COMMIT_ENVIRONMENT,
    title="Commit an environment",
    permission=Permission.REPOSITORY_COMMIT,
    link=_link,
    schedulable=scheduling.COMMIT_ENVIRONMENT,
)
def commit_environment(
    ctx: JobContext, *, repository: str, environment: str, branch: str = ""
) -> dict[str, Any]:
    """Safe to run again: it commits what still differs."""
    return nightly.run_commit_environment(
        ctx, _repository(repository), Environment.objects.get(uuid=environment), branch
    )


@job_kind(statuses.STATUS, title="Tell a forge", permission=Permission.MIGRATION_PLAN, link=_link)
def status(
    ctx: JobContext, *, repository: str, migration: str = "", sha: str = "", text: str = "", target: str = ""
) -> dict[str, Any]:
    """Safe to run again: it tells what is so then."""
    row = _repository(repository)
    if not migration:
        return statuses.run_broken(ctx, row, target, sha, text)
    found = Migration.objects.select_related("target", "plan", "job").get(uuid=migration)
    return statuses.run_status(ctx, row, found)
