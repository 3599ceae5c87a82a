"""Holds: after a roll back nothing of a repository is written to a target until somebody says that it may go on."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from django.db import IntegrityError, transaction
from django.urls import reverse
from django.utils import timezone

from environments.models import Environment
from migrations_app.gates import Obstacle
from migrations_app.models import Migration, Plan, Run
from migrations_app.services import APPLY
from sstools.audit import services as audit
from sstools.errors import Conflict, Invalid, NotFoundError, SSToolsError
from sstools.jobs import services as jobs
from sstools.jobs.models import Job, Source, State
from sstools.notices import events
from sstools.notices import services as notices
from sstools.roles import policy
from sstools.roles.permissions import Permission

from .models import Hold, Repository

logger = logging.getLogger(__name__)
HELD = events.register(
    "git.held", "Deploys from git are on hold after a roll back", Permission.MIGRATION_VIEW
)


def standing(repository: Repository, target: Environment) -> Hold | None:
    rows = Hold.objects.standing().select_related("created_by", "run")
    return rows.filter(repository=repository, target=target).first()


def words_of(hold: Hold) -> str:
    """ "On hold since 24 Nov 10:02, by ann: run 7 was rolled back."."""
    who = f" by {policy.name_of(hold.created_by)}" if hold.created_by is not None else ""
    return f"{hold.repository} is on hold for {hold.target}{who}: {hold.reason}"


def find_hold(uuid: Any, user: Any) -> Hold:
    """Raises NotFoundError: absent and forbidden look alike."""
    rows = Hold.objects.visible_to(user).select_related("repository", "target", "created_by", "run")
    if (found := rows.filter(uuid=uuid).first()) is None:
        raise NotFoundError("There is no such hold, or you may not see it.")
    return found


@transaction.atomic
def put_on_hold(
    repository: Repository, target: Environment, *, reason: str, actor: Any, source: str = Source.PAGE
) -> Hold:
    """By hand. Raises NotAllowed; Invalid without a reason; Conflict("held") where one stands."""
    policy.require(actor, Permission.REPOSITORY_VIEW)
    policy.require(actor, Permission.MIGRATION_APPLY, target)
    if not reason.strip():
        raise Invalid("Say why.", errors={"reason": ["Needed."]})
    made = _hold(repository, target, reason.strip(), actor=actor, source=source)
    if made is None:
        raise Conflict(f"{repository} is on hold for {target} already.", code="held")
    return made


@transaction.atomic
def lift(hold: Hold, *, actor: Any, reason: str = "", source: str = Source.PAGE) -> Hold:
    """Let it go on: branches that are followed to there are looked at at once. The commit that was rolled back is not
    brought again by itself. Raises NotAllowed; Conflict("lifted") for one that somebody lifted before.
    """
    policy.require(actor, Permission.MIGRATION_APPLY, hold.target)
    row = Hold.objects.select_for_update(of=("self",)).select_related("repository", "target").get(pk=hold.pk)
    if row.lifted_at is not None:
        raise Conflict("This hold was lifted already.", code="lifted")
    row.lifted_at, row.lifted_by, row.lift_reason = timezone.now(), actor, reason.strip()[:500]
    row.save(update_fields=["lifted_at", "lifted_by", "lift_reason"])
    data = {"repository": row.repository.slug, "target": row.target.slug, "reason": row.lift_reason}
    audit.record("hold:lift", row, actor=actor, data=data, source=source)
    from .following import look_after_lift  # which stands on this module

    look_after_lift(row)
    return row


def _hold(
    repository: Repository,
    target: Environment,
    reason: str,
    *,
    actor: Any,
    run: Run | None = None,
    source: str = "",
) -> Hold | None:
    """None where one stands already. Deploys that wait for their turn are taken out of the queue."""
    try:
        with transaction.atomic():
            made = Hold.objects.create(
                repository=repository, target=target, run=run, reason=reason[:500], created_by=actor
            )
    except IntegrityError:
        return None
    data: dict[str, Any] = {"repository": repository.slug, "target": target.slug, "reason": reason}
    data |= {"run": run.number} if run is not None else {}
    audit.record("hold:create", made, actor=actor, data=data, source=source)
    prefix = f"git:{repository.slug}@"
    waiting = Run.objects.unfinished().filter(
        migration__source_place__startswith=prefix, migration__target=target, job__state=State.QUEUED
    )
    for one in waiting.select_related("job"):
        if one.job is not None and actor is not None and one.job.kind == APPLY:
            _take_out(one.job, actor)
    notices.publish(
        HELD.key,
        title=f"{repository} → {target} is on hold: {reason}"[:300],
        text="Nothing of this repository is written there until somebody lifts the hold.",
        path=made.get_absolute_url(),
        about=[target],
        people=[follow.owner for follow in repository.follows.filter(target=target).select_related("owner")],
        data=data,
    )
    return made


def _take_out(job: Job, actor: Any) -> None:
    try:
        with transaction.atomic():
            jobs.request_cancel(job, actor=actor)
    except (
        SSToolsError
    ):  # who rolls back may not cancel jobs of others; what its plan stands on is gone by then
        pass


def run_created(sender: Any, instance: Run, created: bool, **_: Any) -> None:
    """A run that takes back what came from git puts its repository on hold: from the moment that it is asked for, as
    the target belongs to nobody between its end and ours.
    """
    if not created:
        return
    migration = instance.migration
    if migration.rolls_back_id is None or migration.rolls_back is None:
        return
    run = migration.rolls_back
    first = run.migration
    if (repository := repository_of(first)) is None:
        return
    reason = f"Run {run.number} of {first.source_place.partition('@')[2][:10]} was rolled back."
    try:
        with transaction.atomic():
            _hold(repository, first.target, reason, actor=instance.created_by, run=run)
    except Exception:  # whatever is wrong with holds, the target is put back
        logger.exception("No hold for run %s", run.number)


def repository_of(migration: Migration) -> Repository | None:
    """Where a migration's assets come from, if that is git."""
    if not migration.is_of_commit:
        return None
    slug = migration.source_place.removeprefix("git:").partition("@")[0]
    return Repository.objects.filter(slug=slug).first()


def obstacles(migration: Migration, plan: Plan) -> Iterator[Obstacle]:
    """For `gates`: it cannot be passed by, it is lifted."""
    repository = repository_of(migration)
    if repository is None or (hold := standing(repository, migration.target)) is None:
        return
    yield Obstacle(
        "held",
        words_of(hold),
        remedy="Lift the hold on the repository's page, if it may go on.",
        url=reverse("git:follows", args=[repository.slug]),
    )


def noted(*_: Any) -> None:
    """For `gates`: nobody passes a hold by."""
