"""Branches that are followed: what is new on them is planned, and applied where it may be."""

from __future__ import annotations

from typing import Any
from uuid import NAMESPACE_URL, uuid5

from django.db import IntegrityError, transaction

from environments.models import Environment
from migrations_app import promoting
from migrations_app import services as migrations
from migrations_app.errors import WrongConfirmation
from migrations_app.files import sources
from migrations_app.models import Migration
from sstools.audit import services as audit
from sstools.errors import Conflict, Invalid, NotAllowed, NotFoundError, SSToolsError
from sstools.jobs import services as jobs
from sstools.jobs.models import Job, Source, State
from sstools.jobs.runner import JobContext
from sstools.roles import policy
from sstools.roles.permissions import Permission

from . import holds, remotes
from .address import check_branch
from .models import CommitReading, Follow, Hold, Policy, Repository
from .services import must_be_readable

FOLLOW = "git.follow"


def find_follow(uuid: Any, user: Any) -> Follow:
    """Raises NotFoundError: absent and forbidden look alike."""
    rows = Follow.objects.visible_to(user).select_related("repository", "target", "owner", "migration")
    if (found := rows.filter(uuid=uuid).first()) is None:
        raise NotFoundError("There is no such branch that is followed, or you may not see it.")
    return found


@transaction.atomic
def create_follow(
    repository: Repository,
    target: Environment,
    *,
    actor: Any,
    branch: str = "",
    policy_: str = Policy.PLAN,
    roll_back_when_red: bool = True,
    confirmation: str = "",
    from_now: bool = False,
    source: str = Source.PAGE,
) -> Follow:
    """Follow a branch ("": the repository's) to a target, in the name of `actor`: with the rights that they have then.

    `policy_`: "plan", or "apply" when green. `confirmation`: the target's slug, where it is protected and written to.
    `from_now`: what the branch points to, as last seen, is there already.
    Raises NotAllowed; Invalid("branch_name"), Invalid for an unknown policy; WrongConfirmation; Conflict("followed").
    """
    policy.require(actor, Permission.REPOSITORY_VIEW)
    branch = check_branch(branch.strip() or repository.branch)
    _check_policy(target, policy_, confirmation, actor)
    row = Follow(
        repository=repository,
        branch=branch,
        target=target,
        policy=policy_,
        roll_back_when_red=roll_back_when_red,
        owner=actor,
        sha=repository.branches.get(branch, "") if from_now else "",
    )
    try:
        with transaction.atomic():
            row.save()
    except IntegrityError:
        raise Conflict(f"{branch} is followed to {target} already.", code="followed") from None
    audit.record("follow:create", row, actor=actor, data=_told(row), source=source)
    return row


@transaction.atomic
def update_follow(
    follow: Follow,
    *,
    actor: Any,
    policy_: str | None = None,
    roll_back_when_red: bool | None = None,
    is_enabled: bool | None = None,
    confirmation: str = "",
    source: str = Source.PAGE,
) -> Follow:
    """Change how a branch is followed; from then on in the name of `actor`. Raises as `create_follow`."""
    row = (
        Follow.objects.select_for_update(of=("self",))
        .select_related("repository", "target")
        .get(pk=follow.pk)
    )
    policy.require(actor, Permission.REPOSITORY_VIEW)
    turns_off = is_enabled is False and policy_ is None and roll_back_when_red is None
    if turns_off:
        policy.require(actor, Permission.MIGRATION_PLAN, row.target)
    else:
        row.policy = policy_ or row.policy
        _check_policy(row.target, row.policy, confirmation, actor)
        row.owner = actor
    row.roll_back_when_red = row.roll_back_when_red if roll_back_when_red is None else roll_back_when_red
    row.is_enabled = row.is_enabled if is_enabled is None else is_enabled
    row.save()
    audit.record("follow:update", row, actor=actor, data=_told(row), source=source)
    return row


@transaction.atomic
def remove_follow(follow: Follow, *, actor: Any, source: str = Source.PAGE) -> None:
    """Follow it no more; what was planned stays. Raises NotAllowed."""
    policy.require(actor, Permission.MIGRATION_PLAN, follow.target)
    audit.record("follow:remove", follow, actor=actor, data=_told(follow), source=source)
    follow.delete()


def _check_policy(target: Environment, policy_: str, confirmation: str, actor: Any) -> None:
    if policy_ not in Policy.values:
        raise Invalid("Unknown policy.", errors={"policy": [f"One of {', '.join(Policy.values)}."]})
    policy.require(actor, Permission.MIGRATION_PLAN, target)
    if policy_ == Policy.APPLY:
        policy.require(actor, Permission.MIGRATION_APPLY, target)
        if target.protected and confirmation.strip() != target.slug:
            raise WrongConfirmation(
                f"{target.name} is protected: type its name, {target.slug}, to have it written to.",
                errors={"confirmation": [f"Type {target.slug}."]},
            )


def _told(row: Follow) -> dict[str, Any]:
    return {
        "repository": row.repository.slug,
        "branch": row.branch,
        "target": row.target.slug,
        "policy": row.policy,
        "roll_back_when_red": row.roll_back_when_red,
        "is_enabled": row.is_enabled,
    }


# --- Asking -----------------------------------------------------------------------------------------------------------


@transaction.atomic
def request_look(
    follow: Follow, *, actor: Any, source: str = Source.PAGE, idempotency_key: str | None = None
) -> Job:
    """See whether there is something new, in the background, and bring it. Joins a look that is at work or waits.

    The job's result: {"outcome", "commit", "migration", "job"}. Raises NotAllowed.
    """
    policy.require(actor, Permission.REPOSITORY_VIEW)
    policy.require(actor, Permission.MIGRATION_PLAN, follow.target)
    return _queue(follow, actor=actor, source=source, idempotency_key=idempotency_key)


def _queue(follow: Follow, *, actor: Any, source: str, idempotency_key: str | None = None) -> Job:
    job = jobs.enqueue(
        FOLLOW,
        {"follow": str(follow.uuid)},
        actor=actor,
        about=[follow.target],
        join_key=f"{FOLLOW}:{follow.uuid}",
        idempotency_key=idempotency_key,
        title=f"Follow {follow.repository.name} at {follow.branch} to {follow.target.name}"[:200],
        source=source,
    )
    if job.joined:  # it may have looked already: it is told to look once more
        Follow.objects.filter(pk=follow.pk).update(asked_at=jobs.db_now())
    return job


def look_at_branch(repository: Repository, branch: str) -> int:
    """What a webhook asks for: every follow of a branch looks, in the name of its owner. How many."""
    rows = Follow.objects.filter(repository=repository, branch=branch, is_enabled=True)
    found = list(rows.select_related("repository", "target", "owner"))
    for row in found:
        _queue(row, actor=row.owner, source=Source.SCHEDULE)
    return len(found)


def look_after_lift(hold: Hold) -> None:
    rows = Follow.objects.filter(repository=hold.repository, target=hold.target)
    rows.filter(outcome="held").update(outcome="", text="")
    rows = rows.filter(is_enabled=True)
    for row in rows.select_related("repository", "target", "owner"):
        _queue(row, actor=row.owner, source=Source.SCHEDULE)


def look_ended(job: Job) -> None:
    """For the kind: what was asked for while it looked is looked at."""
    row = (
        Follow.objects.select_related("repository", "target", "owner")
        .filter(uuid=job.params["follow"])
        .first()
    )
    if row is None:
        return
    if job.state == State.FAILED:
        Follow.objects.filter(pk=row.pk).update(outcome="failed", text=_error_words(job))
    elif row.asked_at is not None and row.looked_at is not None and row.asked_at > row.looked_at:
        _queue(row, actor=row.owner, source=Source.SCHEDULE)


def apply_ended(job: Job) -> None:
    """For `hooks`: a commit that came while the one before was being applied gets its turn."""
    if job.kind != migrations.APPLY:
        return
    rows = Follow.objects.filter(
        migration__runs__number=job.params.get("run"), outcome="busy", is_enabled=True
    )
    for row in rows.select_related("repository", "target", "owner").distinct():
        _queue(row, actor=row.owner, source=Source.SCHEDULE)


def _error_words(job: Job) -> str:
    error = job.error or {}
    return f"{error.get('message', '')} {error.get('remedy', '')}".strip()[:500]


# --- Doing it ---------------------------------------------------------------------------------------------------------


def run_look(ctx: JobContext, uuid: str) -> dict[str, Any]:
    """Brings the newest commit of a branch, if it was not dealt with. Safe to run again."""
    from .work import read_commit, refs_of  # with what talks to servers

    follow = (
        Follow.objects.select_related("repository", "target", "owner", "migration").filter(uuid=uuid).first()
    )
    if follow is None:
        raise NotFoundError("This branch is not followed any more.")
    if not follow.is_enabled:
        return {"outcome": "off"}
    if follow.owner is None:
        raise NotAllowed("Whoever had this branch followed is no longer a user here.", remedy="Save it anew.")
    repository, target = follow.repository, follow.target
    looked_at = jobs.db_now()
    ctx.step(f"Asking {repository.name} for {follow.branch}")
    refs = refs_of(repository)
    sha = remotes.resolve(refs, follow.branch)
    _note(follow, looked_at=looked_at, seen_sha=sha)
    if (hold := holds.standing(repository, target)) is not None:
        return _ended(follow, "held", holds.words_of(hold), sha)
    if sha == follow.sha:
        return _ended(follow, "nothing_new", "", sha)
    if follow.migration is not None and follow.migration.is_busy:
        return _ended(follow, "busy", f"{follow.migration} is still being applied.", sha)
    ctx.step(f"Reading {sha[:10]}")
    reading = read_commit(repository, sha)
    try:
        must_be_readable(reading)
        migration, job = _begin(ctx, follow, reading)
    except Invalid as error:
        _note(follow, sha=sha)  # the same commit will not get better
        _tell_broken(follow, sha, error)
        raise
    outcome = "applying" if follow.policy == Policy.APPLY else "planning"
    ctx.log("info", f"{sha[:10]} “{reading.subject}” by {reading.author}: {migration}")
    return {"outcome": outcome, "commit": sha, "migration": migration.number, "job": str(job.uuid)}


def _begin(ctx: JobContext, follow: Follow, reading: CommitReading) -> tuple[Migration, Job]:
    """The migration of a commit, with its plan asked for, in place of the one of the commit before."""
    apply = follow.policy == Policy.APPLY
    ctx.step(f"Planning {reading.short}")
    with ctx.fenced():
        before = follow.migration
        if before is not None and before.is_open:
            migrations.discard_migration(before, actor=follow.owner)
        migration = sources.create_migration(
            reading,
            follow.target,
            actor=follow.owner,
            roll_back_when_red=apply and follow.roll_back_when_red,
            uuid=uuid5(NAMESPACE_URL, f"{FOLLOW}:{ctx.job.uuid}:{reading.sha}"),
        )
        if apply:
            job = promoting.request_promotion(
                migration,
                actor=follow.owner,
                confirmation=follow.target.slug if follow.target.protected else "",
                source=Source.SCHEDULE,
            )
        else:
            job = migrations.request_plan(migration, actor=follow.owner, source=Source.SCHEDULE)
        _note(
            follow,
            sha=reading.sha,
            migration=migration,
            outcome="applying" if apply else "planning",
            text=f"{reading.short} “{reading.subject}” by {reading.author}",
        )
    return migration, job


def _note(follow: Follow, **values: Any) -> None:
    if "text" in values:
        values["text"] = str(values["text"])[:500]
    Follow.objects.filter(pk=follow.pk).update(**values)


def _ended(follow: Follow, outcome: str, text: str, sha: str) -> dict[str, Any]:
    if outcome != "nothing_new":  # what became of the commit that is there stays to be read
        _note(follow, outcome=outcome, text=text)
    elif follow.outcome in ("held", "busy", "failed"):
        _note(follow, outcome=outcome, text="")
    return {"outcome": outcome, "commit": sha, **({"text": text} if text else {})}


def _tell_broken(follow: Follow, sha: str, error: SSToolsError) -> None:
    from .statuses import request_broken  # which stands on the services

    request_broken(follow.repository, follow.target, sha, error, actor=follow.owner)
