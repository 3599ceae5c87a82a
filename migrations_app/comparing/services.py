"""What people and programs do with a comparison: mark what they have seen, read again, make a migration of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from environments.services import request_reading
from migrations_app import services as migrations
from migrations_app.estate.services import request_comparison
from migrations_app.models import Migration
from migrations_app.restoring.services import create_restore
from sstools.errors import Conflict, Invalid
from sstools.jobs.models import Job, Source
from sstools.roles import policy
from sstools.roles.permissions import Permission
from sstools.texts import counted

from .listing import PLANNABLE, Comparison, Row
from .models import Viewed
from .places import PlaceContents


def why_no_plan(comparison: Comparison, user: Any) -> str:
    """Why nobody, or this user, can make a migration of it; "" if it can be done."""
    left, right = comparison.left, comparison.right
    if not right.is_live or right.environment is None:
        return f"A migration writes to an environment, and {right.label} is none: choose one on the right."
    if left.backup is not None:
        if not policy.can(user, Permission.MIGRATION_PLAN, right.environment):
            return policy.explain(user, Permission.MIGRATION_PLAN, right.environment).sentence
        return ""
    if not left.is_live or left.environment is None:
        if left.run is not None and left.environment == right.environment:
            return f"What was there before run {left.run.number} is brought back by rolling that run back."
        return f"A migration starts from an environment, and {left.label} is none."
    if left.environment == right.environment:
        return "Both sides are the same environment."
    if not policy.can(user, Permission.MIGRATION_PLAN, right.environment):
        return policy.explain(user, Permission.MIGRATION_PLAN, right.environment).sentence
    return ""


def plannable(rows: Iterable[Row]) -> list[str]:
    """The uuids that a migration of these rows takes: what the right side would get or have changed, never removed."""
    return [row.left_uuid for row in rows if row.state in PLANNABLE and row.left_uuid]


def plan_migration(
    comparison: Comparison, rows: Iterable[Row], *, actor: Any, expected: int | None = None
) -> Migration:
    """A migration of exactly these assets, nothing pulled in, and nothing removed.

    `expected`: how many the asker was shown. Raises Conflict("comparison_changed") if it is another number by now;
    Invalid("not_plannable", "empty_selection"); NotAllowed.
    """
    left, right = comparison.left.environment, comparison.right.environment
    if reason := why_no_plan(comparison, actor):
        if comparison.right.is_live and comparison.left.is_live and left != right:
            policy.require(actor, Permission.MIGRATION_PLAN, right)
        raise Invalid(reason, code="not_plannable")
    assert left is not None and right is not None  # noqa: PT018
    backup = comparison.left.backup
    uuids = plannable(rows)
    if expected is not None and expected != len(uuids):
        raise Conflict(
            f"It is {counted(len(uuids), 'asset')} by now, not {expected}.",
            code="comparison_changed",
            remedy="Look at the list again, then plan.",
        )
    if backup is not None:
        if not uuids:
            raise Invalid("Nothing is selected.", code="empty_selection")
        return create_restore(backup, right, selection=uuids, actor=actor, with_dependencies=False)
    return migrations.create_migration(left, right, selection=uuids, actor=actor, with_dependencies=False)


# --- What somebody has looked at ------------------------------------------------------------------------------------
def viewed_by(user: Any, comparison: Comparison) -> frozenset[str]:
    """The uuids of rows that `user` has looked at, and that are still as they were then."""
    marks = Viewed.objects.filter(user=user, left=comparison.left.place, right=comparison.right.place)
    seen = set(marks.values_list("uuid", "stamp"))
    return (
        frozenset(row.uuid for row in comparison.rows if (row.uuid, row.stamp) in seen)
        if seen
        else frozenset()
    )


def mark_viewed(comparison: Comparison, row: Row, *, user: Any, viewed: bool) -> None:
    key = {"user": user, "left": comparison.left.place, "right": comparison.right.place, "uuid": row.uuid}
    if viewed:
        Viewed.objects.update_or_create(defaults={"stamp": row.stamp}, **key)
    else:
        Viewed.objects.filter(**key).delete()


# --- In the background ------------------------------------------------------------------------------------------------
def read_again(*places: PlaceContents, actor: Any, source: str = Source.PAGE) -> list[Job]:
    """Read the environments among the places, in the background. Raises NotAllowed."""
    live = {place.place: place.environment for place in places if place.is_live and place.environment}
    return [request_reading(environment, actor=actor, source=source) for environment in live.values()]


def compare_in_background(left: PlaceContents, right: PlaceContents, *, actor: Any) -> Job:
    """Compare two environments as a reading would, in a job. Whoever may see both may ask for it: nothing is read.

    Raises Invalid("not_comparable") for other places, and where one was never read.
    """
    job = None
    if left.is_live and right.is_live and left.environment and right.environment:
        job = request_comparison(left.environment, right.environment, actor=actor)
    if job is None:
        raise Invalid(
            "Only two environments that were read are compared in the background.", code="not_comparable"
        )
    return job


def may_read(user: Any, *places: PlaceContents) -> bool:
    live = [place.environment for place in places if place.is_live]
    return bool(live) and all(policy.can(user, Permission.ENVIRONMENT_TEST, item) for item in live)
