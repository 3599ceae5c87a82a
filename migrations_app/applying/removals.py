"""Before the first write: does what a plan removes still have its proof?"""

from __future__ import annotations

from migrations_app import pruning
from migrations_app.engine.plan import Action

from .attempt import Attempt


def moved_removals(attempt: Attempt) -> list[tuple[str, bool, str]]:
    """What was to go because the source no longer had it and nothing used it, and one of both is so no more: in words,
    whether it is about the source, and the target's uuid. Asks the target. Raises SupersetError.
    """
    migration = attempt.migration
    removals = {item.uuid: item.row for item in attempt.items if item.action == Action.REMOVE}
    if not migration.prune or migration.is_rollback or not removals:
        return []
    assert attempt.before is not None
    wanted = {
        item.uuid: item.wanted for item in attempt.items if item.action.writes and item.wanted is not None
    }
    back = attempt.source_reading.documents.keys() & removals.keys() if attempt.source_reading else set()
    moved = [(f"“{removals[uuid].title}” on the source", True, uuid) for uuid in sorted(back)]
    documents = {uuid: one for uuid in removals if (one := attempt.before.documents.get(uuid)) is not None}
    in_use = {
        **pruning.used_now(attempt.before, removals.keys(), wanted),
        **pruning.used_by_lists(attempt.target.list_charts(), attempt.before, removals.keys(), wanted),
        **pruning.held_elsewhere(attempt.target, attempt.before, documents),
    }
    said = {uuid for uuid, row in removals.items() if row.answer is not None}  # remove it anyway
    moved += [
        (f"the use of “{removals[uuid].title}” on the target", False, uuid)
        for uuid in sorted(in_use.keys() - said)
    ]
    return moved
