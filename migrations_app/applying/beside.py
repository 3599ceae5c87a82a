"""What goes with the assets, read for a run: before the first write and whenever the target is looked at."""

from __future__ import annotations

from typing import Any

from environments.canonical.companions import FACETS, CompanionKind
from environments.store import EnvironmentReading
from environments.superset.errors import SupersetUnreachable
from migrations_app.carrying import Read, read_side
from migrations_app.engine.companions import difference, same
from migrations_app.engine.plan import Action
from migrations_app.errors import RunFailed
from migrations_app.models import PlanCompanion, Run

from .attempt import Attempt


def add_companions(attempt: Attempt, reading: EnvironmentReading) -> None:
    """Put what the target holds of the plan's companions into a reading of it. Raises SupersetError, also where it does
    not tell any more what it told when the plan was made.
    """
    kinds = {one.kind for one in attempt.companions}
    assets = {item.uuid for item in attempt.items} | {
        str(one.wanted.title) for one in attempt.companions if one.wanted and one.kind in FACETS
    }
    migration = attempt.migration
    for run in (
        migration.rolls_back,
        migration.continues,
    ):  # what becomes of that run is told by this reading too
        if run is not None:
            kinds |= _kinds_of(run)
            assets |= set(run.plan.items.values_list("target_uuid", flat=True))
    if not kinds:
        return
    assets |= {target["target"] for target in _databases(attempt, kinds)}
    read = read_side(attempt.target, kinds, reading.ids, assets, whole=True)
    needed = {one.kind for one in attempt.companions}
    if lost := [why for kind, why in read.side.unreadable.items() if kind in needed]:
        # Perhaps a page of maintenance: waited for once something is half done, and an end of the run before.
        raise SupersetUnreachable(
            f"{attempt.migration.target.name} does not tell any more what the plan stands on: {lost[0]}",
            code="companions_unreadable",
        )
    reading.companions = dict(read.side.companions)
    attempt.companion_ids = dict(read.ids)


def moved_companions(attempt: Attempt) -> list[tuple[str, bool]]:
    """What is not as the plan saw it: in words, and whether on the source, which is asked. Raises SupersetError."""
    assert attempt.before is not None
    moved = [
        (f"the {one.row.words} on the target ({difference(one.present, now)})", False)
        for one in attempt.companions
        if not same(one.present, now := attempt.before.companions.get(one.uuid))
    ]
    from_source = [one for one in attempt.companions if one.source is not None]
    if attempt.source is None or attempt.source_reading is None or not from_source:
        return moved
    kinds = {one.kind for one in from_source}
    assets = {item.row.uuid for item in attempt.items} | {source for source in _mapping(attempt)}
    read: Read = read_side(attempt.source, kinds, attempt.source_reading.ids, assets, whole=False)
    attempt.source_companion_ids = dict(read.ids)
    if lost := [why for kind, why in read.side.unreadable.items() if kind in kinds]:
        raise RunFailed(
            f"{attempt.migration.source} does not tell any more what the plan stands on: {lost[0]}",
            code="companions_unreadable",
        )
    return moved + [
        (f"the {one.row.words} on the source ({difference(one.source, now)})", True)
        for one in from_source
        if not same(one.source, now := read.side.companions.get(one.row.uuid))
    ]


def _kinds_of(run: Run) -> set[CompanionKind]:
    rows = PlanCompanion.objects.filter(plan=run.plan_id).exclude(
        action__in=(Action.LEAVE_OUT.value, Action.BLOCKED.value)
    )
    return {CompanionKind(kind) for kind in rows.values_list("kind", flat=True).distinct()}


def _databases(attempt: Attempt, kinds: set[CompanionKind]) -> list[dict[str, Any]]:
    of_connections = {CompanionKind.ACCESS, CompanionKind.SAVED_QUERY}
    return list(_mapping(attempt).values()) if kinds & of_connections else []


def _mapping(attempt: Attempt) -> dict[str, dict[str, Any]]:
    return dict(attempt.row.plan.mapping.get("databases", {}))
