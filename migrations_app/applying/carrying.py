"""Writing what goes with the assets, after these are read back; and reading it back in turn.

Each one is a step of its own: announced, sent, and settled by reading where its answer never came. Rules and reports
that a roll back takes away go before the assets, as Superset keeps what they stand on.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from environments.canonical.companions import Companion, CompanionKind
from environments.canonical.documents import Kind
from environments.superset.companions import Lookup, delete_companion, write_companion
from migrations_app.engine.companions import difference, same
from migrations_app.engine.plan import Action
from migrations_app.errors import RunFailed
from migrations_app.models import RunState, StepState

from .attempt import Attempt, Carried, may_have_written
from .patience import patiently, read_target
from .proving import look
from .settling import send

#: Superset refuses to delete what these stand on.
_FIRST = (CompanionKind.REPORT, CompanionKind.RLS)
_ORDER = list(CompanionKind)
#: What somebody added to these since would be taken away without a word.
_PROTECTING = (CompanionKind.RLS, CompanionKind.ROLES)


def remove_before_assets(attempt: Attempt) -> None:
    """Take away what stands on assets that are about to be removed."""
    if not any(item.action == Action.REMOVE for item in attempt.items):
        return
    assert attempt.before is not None
    _remove(attempt, [one for one in attempt.companions if one.kind in _FIRST], attempt.before.companions)


def carry(attempt: Attempt) -> None:
    """Write the companions that are not there yet as planned, and prove them. Safe to run again. Raises RunFailed."""
    assert attempt.after is not None
    if not attempt.companions:
        return
    there = attempt.after.companions
    pending = [
        one
        for one in attempt.companions
        if (one.action.writes or one.is_touched) and not same(one.wanted, there.get(one.uuid))
    ]
    if pending:
        _must_be_ours(attempt, pending)
        attempt.enter(RunState.WRITING)
        patiently(attempt, lambda: _learn_ids(attempt, pending))
        lookup = Lookup(attempt.target, attempt.after.ids, dict(attempt.companion_ids), seen=there)
        for one in sorted(pending, key=lambda one: _ORDER.index(one.kind)):
            if one.wanted is not None:
                _write(attempt, one, one.wanted, lookup, there.get(one.uuid))
        _remove(attempt, pending, there)
        _read_back(attempt)
    elif any(one.action.writes for one in attempt.companions) and not _was_read_back(attempt):
        _read_back(attempt)


def _learn_ids(attempt: Attempt, pending: Iterable[Carried]) -> None:
    """Ids of what they name, where neither an export nor a list has told them."""
    assert attempt.after is not None
    ids, missing = attempt.after.ids, dict[Kind, set[str]]()
    for one in pending:
        for kind, uuid in one.wanted.assets if one.wanted is not None else ():
            if ids.id_of(kind, uuid) is None:
                missing.setdefault(kind, set()).add(uuid)
    for kind, uuids in missing.items():
        if kind == Kind.DATABASE:
            for row in attempt.target.list_databases():
                ids.add(Kind.DATABASE, row.id, row.uuid)
            continue
        found, _ = attempt.target.ids_of(kind.value, uuids)
        for uuid, number in found.items():
            ids.add(kind, number, uuid)


def _must_be_ours(attempt: Attempt, pending: Iterable[Carried]) -> None:
    """What an attempt before wrote whole, and is otherwise by now, somebody edited since; and so is what keeps rows and
    dashboards from view, where it is not as it was before this run. Raises RunFailed.
    """
    steps = attempt.row.steps.filter(name="write", state=StepState.DONE)
    done = {uuid for step in steps if step.intent.get("what") == "companion" for uuid in step.intent["uuids"]}
    tried = {
        uuid
        for step in attempt.row.steps.filter(name__in=("write", "remove"))
        if may_have_written(step) and step.intent.get("what") in ("companion", "remove_companion")
        for uuid in step.intent["uuids"]
    }
    was = attempt.untouched.companions if attempt.untouched is not None else {}
    now = attempt.after.companions if attempt.after is not None else {}
    # An asset that was removed leaves its rules by itself, so these may be others than they were.
    guarded = () if any(item.action == Action.REMOVE for item in attempt.items) else _PROTECTING
    if edited := [
        one
        for one in pending
        if one.uuid in done
        or (one.kind in guarded and one.uuid not in tried and not same(was.get(one.uuid), now.get(one.uuid)))
    ]:
        names = ", ".join(one.row.words for one in edited[:3])
        raise RunFailed(
            f"Somebody edited {names} on {attempt.migration.target.name} while this run went on.",
            code="edited_meanwhile",
            detail={"companions": [one.uuid for one in edited[:50]]},
        )


def _write(attempt: Attempt, one: Carried, wanted: Companion, lookup: Lookup, now: Companion | None) -> None:
    intent = {
        "what": "companion",
        "uuids": [one.uuid],
        "before": now.fingerprint if now is not None else "",
        "sent_at": None,
    }
    with attempt.step("write", f"Write {one.row.words}", intent) as step:

        def request() -> None:
            # Sent a second time it goes on from what the target shows since: one that was made is not made again.
            if step.intent.get("requests"):
                lookup.seen = read_target(attempt).companions
            existing = attempt.companion_ids.get(one.uuid)
            attempt.companion_ids[one.uuid] = write_companion(attempt.target, wanted, existing, lookup)

        send(attempt, step, request)
        step.result |= {"carried": 1}
        if one.kind == CompanionKind.EMBEDDED:
            step.result |= {
                "embedded": {
                    "title": one.row.title,
                    "source": str(attempt.source_companion_ids.get(one.row.uuid, "")),
                    "target": str(attempt.companion_ids[one.uuid]),
                }
            }


def _remove(attempt: Attempt, candidates: Iterable[Carried], there: dict[str, Companion]) -> None:
    for one in sorted(candidates, key=lambda one: -_ORDER.index(one.kind)):
        now, number = there.get(one.uuid), attempt.companion_ids.get(one.uuid)
        if one.wanted is not None or now is None or number is None:
            continue
        attempt.enter(RunState.WRITING)
        intent = {
            "what": "remove_companion",
            "uuids": [one.uuid],
            "before": now.fingerprint,
            "sent_at": None,
        }
        with attempt.step("remove", f"Remove {one.row.words}", intent) as step:
            send(attempt, step, partial(delete_companion, attempt.target, now, number))
            step.result |= {"removed": 1}
        there.pop(one.uuid, None)


def _read_back(attempt: Attempt) -> None:
    attempt.enter(RunState.READING_BACK)
    with attempt.step("carry_back", "Read back what came along") as step:
        attempt.after = patiently(attempt, lambda: read_target(attempt))
        truth = look(attempt, attempt.after)
        attempt.save(written=truth.written, unwritten=truth.unwritten, created=truth.created)
        wrong = [one for one in attempt.companions if one.uuid in truth.unwritten]
        step.result |= {"equal": len(attempt.companions) - len(wrong), "different": len(wrong)}
        for one in wrong:
            now = attempt.after.companions.get(one.uuid)
            attempt.ctx.log("error", f"{one.row.words} {difference(one.wanted, now)}")
        if wrong:
            raise RunFailed(
                f"{len(wrong)} of what goes with the assets is not on the target as planned: "
                f"{', '.join(one.row.words for one in wrong[:3])}.",
                code="not_as_planned",
                detail={"companions": [one.uuid for one in wrong[:50]]},
            )


def _was_read_back(attempt: Attempt) -> bool:
    return attempt.row.steps.filter(name="carry_back", state=StepState.DONE).exists()
