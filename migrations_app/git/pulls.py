"""The work of opening a pull request: both branches are read, what differs is its text."""

from __future__ import annotations

from typing import Any

from sstools.audit import services as audit
from sstools.errors import SSToolsError
from sstools.jobs.runner import JobContext
from sstools.roles.policy import name_of

from . import forges, remotes
from .models import CommitReading, PullRequest, Repository
from .reviewing import review_text
from .work import read_commit, refs_of


def run_pull(
    ctx: JobContext, repository: Repository, branch: str, into: str, title: str = ""
) -> dict[str, Any]:
    """Opens one, or finds the one that is open: {"number", "url", "is_new"}. Raises what the forge says."""
    address = forges.address_of(repository)
    ctx.step(f"Reading {branch} and {into}")
    refs = refs_of(repository)
    head = read_commit(repository, remotes.resolve(refs, branch))
    base = read_commit(repository, remotes.resolve(refs, into))
    text = review_text(base, head, ending=_ending(ctx, head))
    ctx.step(f"Asking {forges.NAMES[address.kind]} for a pull request")
    ctx.still_mine()
    title = title.strip().split("\n")[0] or head.subject
    found = forges.open_pull(address, branch=branch, into=into, title=title, text=text)
    with ctx.fenced():
        PullRequest.objects.update_or_create(
            repository=repository,
            number=found.number,
            defaults={"branch": branch, "into": into, "url": found.url, "title": title[:300]},
            create_defaults={
                "branch": branch, "into": into, "url": found.url, "title": title[:300], "created_by": ctx.job.actor,
            },
        )  # fmt: skip
        if found.is_new:
            data = {"repository": repository.slug, "branch": branch, "into": into, "number": found.number}
            audit.record(
                "repository:pull_request", repository, actor=ctx.job.actor, data=data, source=ctx.job.source
            )
    ctx.log("info", f"{'Opened' if found.is_new else 'Open already:'} {found.url}")
    return {"number": found.number, "url": found.url, "is_new": found.is_new}


def beside_commit(ctx: JobContext, repository: Repository, branch: str, message: str) -> dict[str, Any]:
    """As `run_pull`, for a commit that is pushed: it stays so if the forge says no, and the result says why."""
    try:
        return {"pull_request": run_pull(ctx, repository, branch, repository.branch, message)}
    except SSToolsError as error:
        ctx.log("error", f"The commit is pushed; the pull request was not opened: {error}", code=error.code)
        return {"pull_request_error": error.as_dict()}


def _ending(ctx: JobContext, head: CommitReading) -> str:
    actor = ctx.job.actor
    return f"Asked for by {name_of(actor) if actor is not None else 'ss-tools'}, commit {head.short}."
