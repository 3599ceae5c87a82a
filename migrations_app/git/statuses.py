"""Telling a forge what a plan says of a commit: pending, success or failure, with a link to the plan."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import transaction

from environments.models import Environment
from migrations_app import promotions
from migrations_app import services as migrations
from migrations_app.gates import obstacles
from migrations_app.models import Migration, MigrationState, Plan
from sstools.errors import NotFoundError, SSToolsError
from sstools.jobs import services as jobs
from sstools.jobs.models import Job, Source
from sstools.jobs.runner import JobContext
from sstools.roles import policy
from sstools.roles.permissions import Permission

from . import forges
from .holds import repository_of
from .models import Repository

STATUS = "git.status"
_ENDED = {
    MigrationState.DONE: ("success", "Applied"),
    MigrationState.ACCEPTED: ("success", "Applied in part, and left so"),
    MigrationState.ROLLED_BACK: ("failure", "Rolled back"),
    MigrationState.NEEDS_ATTENTION: ("failure", "Applying it needs somebody"),
    MigrationState.DISCARDED: ("failure", "The plan was put away"),
}


@transaction.atomic
def request_status(
    migration: Migration, *, actor: Any, source: str = Source.PAGE, idempotency_key: str | None = None
) -> Job:
    """Tell the forge where a migration of a commit stands, in the background: its job says what was told.

    Raises NotAllowed; NotFoundError for one that is not of a commit.
    """
    policy.require(actor, Permission.MIGRATION_PLAN, migration.target)
    repository = repository_of(migration)
    if repository is None:
        raise NotFoundError(f"{migration} is not of a commit.")
    return _queue(repository, migration, actor=actor, source=source, idempotency_key=idempotency_key)


def _queue(repository: Repository, migration: Migration, *, actor: Any, source: str, **asked: Any) -> Job:
    return jobs.enqueue(
        STATUS,
        {"repository": str(repository.uuid), "migration": str(migration.uuid)},
        actor=actor,
        about=[migration.target],
        title=f"Tell {repository.name} about migration {migration.number}",
        source=source,
        **asked,
    )


def request_broken(
    repository: Repository, target: Environment, sha: str, error: SSToolsError, *, actor: Any
) -> None:
    """A commit that no plan can be made of."""
    if repository.statuses:
        jobs.enqueue(
            STATUS,
            {
                "repository": str(repository.uuid),
                "sha": sha,
                "text": error.message[:200],
                "target": target.slug,
            },
            actor=actor,
            about=[target],
            title=f"Tell {repository.name} about {sha[:10]}",
            source=Source.SCHEDULE,
        )


def migration_created(sender: Any, instance: Migration, created: bool, **_: Any) -> None:
    """Every plan of a commit begins as pending, whoever asks for it."""
    if created and instance.is_of_commit:
        _tell(instance)


def job_moved(job: Job) -> None:
    """For `hooks`: a plan is made or failed, waits for somebody, or is applied."""
    if job.kind in (migrations.PLAN, promotions.PROMOTE):
        found = Migration.objects.filter(uuid=job.params.get("migration")).first()
    elif job.kind == migrations.APPLY:
        found = Migration.objects.filter(runs__number=job.params.get("run")).first()
    else:
        return
    if found is not None and found.is_rollback and found.rolls_back is not None:
        found = found.rolls_back.migration
    if found is not None and found.is_of_commit:
        _tell(found)


def _tell(migration: Migration) -> None:
    repository = repository_of(migration)
    if repository is not None and repository.statuses:
        _queue(repository, migration, actor=migration.created_by, source=Source.SCHEDULE)


# --- Doing it ---------------------------------------------------------------------------------------------------------


def run_status(ctx: JobContext, repository: Repository, migration: Migration) -> dict[str, Any]:
    """Posts what is so now. Safe to run again."""
    state, text = standing(migration)
    sha = migration.source_place.partition("@")[2]
    path = migration.get_absolute_url()
    return _post(ctx, repository, migration.target.slug, sha, state, text, path)


def run_broken(ctx: JobContext, repository: Repository, target: str, sha: str, text: str) -> dict[str, Any]:
    return _post(ctx, repository, target, sha, "failure", text, repository.get_absolute_url())


def _post(
    ctx: JobContext, repository: Repository, target: str, sha: str, state: str, text: str, path: str
) -> dict[str, Any]:
    address = forges.address_of(repository)
    ctx.step(f"Telling {forges.NAMES[address.kind]}")
    ctx.still_mine()
    url = f"{settings.PUBLIC_URL}{path}" if settings.PUBLIC_URL else ""
    forges.post_status(address, sha, state, text=text, url=url, context=f"ss-tools/{target}")
    return {"commit": sha, "state": state, "text": text}


def standing(migration: Migration) -> tuple[str, str]:
    """(pending, success or failure; in words). A plan that waits for an approval is a good plan."""
    state = MigrationState(migration.state)
    if state in _ENDED:
        return _ENDED[state]
    plan = migration.plan
    if migration.is_busy:
        return "pending", "Being applied"
    if plan is None:
        job = migration.job
        if job is not None and job.is_finished and job.error:
            return "failure", str(job.error.get("message", "Planning failed"))
        return "pending", "Planning"
    if plan.blocked_count:
        return "failure", f"{plan.blocked_words}"
    if plan.errors and not migration.override_reason:
        return "failure", f"{len(plan.errors)} checks failed: {plan.errors[0]['text']}"
    return "success", " ".join([f"{_counts(plan)}.", *(one.text for one in obstacles(migration, plan))])


def _counts(plan: Plan) -> str:
    words = [
        f"{plan.counts[name]} to {name}" for name in ("create", "update", "remove") if plan.counts.get(name)
    ]
    return ", ".join(words) if words else "Nothing would change"
