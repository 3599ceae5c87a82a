"""Before the first write: does what a plan removes still have its proof?"""

from __future__ import annotations

from environments.models import Environment
from environments.reading import last_reading, read_everything
from environments.store import EnvironmentReading
from environments.superset.client import SupersetClient
from environments.superset.connection import is_admin
from migrations_app import pruning, removing
from migrations_app.engine.plan import Action
from migrations_app.models import PlanItem

from .attempt import Attempt


def moved_removals(attempt: Attempt) -> list[tuple[str, bool, str]]:
    """What was to go because the source no longer had it and nothing used it, and one of both is so no more, in words,
    whether it is about the source, and the target's uuid. Asks the target. Raises SupersetError.
    """
    migration = attempt.migration
    removals = {item.uuid: item.row for item in attempt.items if item.action == Action.REMOVE}
    named = {one.uuid: one.origin for one in removing.asked(migration)}
    if not (migration.prune or named) or migration.is_rollback or not removals:
        return []
    assert attempt.before is not None
    if migration.is_of_backup:
        return _moved_since_backup(attempt, removals)
    assert migration.source is not None
    if attempt.source is None or not (is_admin(attempt.source) and is_admin(attempt.target)):
        return [
            (f"the right to see what removing “{row.title}” stands on", False, uuid)
            for uuid, row in removals.items()
        ]
    source = _whole(attempt.source, migration.source, attempt.source_reading)
    before = _whole(attempt.target, migration.target, attempt.before)
    has = {*source.documents, *source.unreadable}
    origins = {**pruning.origins_of(migration), **named}
    paired = {
        target_uuid for uuid, target_uuid in attempt.row.plan.mapping.get("pairs", {}).items() if uuid in has
    }
    back = {uuid for uuid in removals if uuid in paired or {uuid, origins.get(uuid, uuid)} & has}
    moved = [(f"“{removals[uuid].title}” on the source", True, uuid) for uuid in sorted(back)]
    return moved + _uses(attempt, before, removals)


def _moved_since_backup(attempt: Attempt, removals: dict[str, PlanItem]) -> list[tuple[str, bool, str]]:
    """The same of what came after a backup: only the target is asked, whether somebody needs it by now."""
    if not is_admin(attempt.target):
        return [
            (f"the right to see what removing “{row.title}” stands on", False, uuid)
            for uuid, row in removals.items()
        ]
    before = _whole(attempt.target, attempt.migration.target, attempt.before)
    return _uses(attempt, before, removals)


def _uses(
    attempt: Attempt, before: EnvironmentReading, removals: dict[str, PlanItem]
) -> list[tuple[str, bool, str]]:
    """What needs by now what is to go, but for what somebody said to remove anyway."""
    wanted = {
        item.uuid: item.wanted for item in attempt.items if item.action.writes and item.wanted is not None
    }
    documents = {uuid: one for uuid in removals if (one := before.documents.get(uuid)) is not None}
    in_use = {
        **pruning.used_now(before, removals.keys(), wanted),
        **pruning.used_by_lists(attempt.target.list_charts(), before, removals.keys(), wanted),
        **pruning.held_elsewhere(attempt.target, before, documents),
    }
    said = {uuid for uuid, row in removals.items() if row.answer is not None}
    return [
        (f"the use of “{removals[uuid].title}” on the target", False, uuid)
        for uuid in sorted(in_use.keys() - said)
    ]


def _whole(
    client: SupersetClient, environment: Environment, reading: EnvironmentReading | None
) -> EnvironmentReading:
    """All that is there: of a large estate a run reads no more than its plan names, and a use stands elsewhere."""
    if reading is not None and reading.complete:
        return reading
    return read_everything(client, environment, stored=last_reading(environment))
