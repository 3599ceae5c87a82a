"""After the last write: what is on the target now, held against the plan and against what was there before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from environments.canonical.damage import unmarked
from environments.canonical.documents import Document, Kind
from environments.store import EnvironmentReading
from migrations_app.engine.companions import beside, same
from migrations_app.engine.conversion import was_converted
from migrations_app.engine.diff import field_changes
from migrations_app.engine.plan import Action
from migrations_app.errors import RunFailed
from migrations_app.models import RunState
from migrations_app.planning import same_for_comparison
from sstools.texts import counted

from .attempt import Attempt, Item
from .patience import patiently, read_target


@dataclass(frozen=True)
class Truth:
    """What one reading of the target shows of a run. All are target uuids of what the plan writes.

    `written`: as planned. `unwritten`: all others, of which those `between` are neither as planned nor as before the
    run. `created`: there now, and not before. `connections`: names of connections that changed.
    """

    written: list[str]
    unwritten: list[str]
    created: list[str]
    between: list[str]
    connections: list[str]

    @property
    def is_as_planned(self) -> bool:
        return not self.unwritten and not self.connections

    @property
    def is_as_before(self) -> bool:
        return not self.written and not self.between and not self.connections


def look(attempt: Attempt, reading: EnvironmentReading, *, companions: bool = True) -> Truth:
    """Hold a reading against the plan, and against the target as it was before the run's first write. Without
    `companions` the assets alone: what goes with them is written after them.
    """
    base = attempt.untouched.documents if attempt.untouched is not None else {}
    written: list[str] = []
    unwritten: list[str] = []
    created: list[str] = []
    between: list[str] = []
    for item in attempt.items:
        if not item.action.writes:
            continue
        now = reading.documents.get(item.uuid)
        is_there = now is not None or item.uuid in reading.unreadable
        if shows(item, reading):
            written.append(item.uuid)
        else:
            unwritten.append(item.uuid)
            if is_there != (item.uuid in base) or not _same_but_for_marks(base.get(item.uuid), now):
                between.append(item.uuid)
        if is_there and item.uuid not in base and item.action != Action.REMOVE:
            created.append(item.uuid)
    before = attempt.untouched.companions if attempt.untouched is not None else {}
    for one in attempt.companions if companions else ():
        if not (one.action.writes or one.is_touched):
            continue  # nothing of this run's: what becomes of it is somebody else's work
        there, was = reading.companions.get(one.uuid), before.get(one.uuid)
        if not same(one.wanted, there):
            unwritten.append(one.uuid)
            if not same(was, there):
                between.append(one.uuid)
        elif one.action.writes:
            written.append(one.uuid)
        if there is not None and was is None and one.action.writes:
            created.append(one.uuid)
    changed = _changed_connections(attempt, reading) if attempt.untouched is not None else []
    return Truth(written, unwritten, sorted(created), between, changed)


def read_back(attempt: Attempt) -> None:
    """Read what was written and hold it against the plan; prove that connections and bystanders are as before."""
    assert attempt.before is not None
    if not attempt.may_have_written:
        attempt.after = attempt.before
        return
    attempt.enter(RunState.READING_BACK)
    with attempt.step("read_back", "Read back and compare with the plan") as step:
        attempt.after = patiently(attempt, lambda: read_target(attempt))
        truth = look(attempt, attempt.after, companions=False)
        for item in attempt.items:
            if item.uuid in truth.unwritten:
                _say_difference(attempt, item, attempt.after.documents.get(item.uuid))
        attempt.save(written=truth.written, unwritten=truth.unwritten, created=truth.created)
        lost = _lost_bystanders(attempt, attempt.after)
        step.result |= {
            "equal": len(truth.written),
            "different": len(truth.unwritten),
            "connections": "unchanged" if not truth.connections else "CHANGED",
        }
        if converted := _converted(attempt, attempt.after):
            step.result["converted"] = converted
        if truth.connections:
            raise RunFailed(
                f"A connection of the target changed during the run: {', '.join(truth.connections)}.",
                code="connection_changed",
            )
        if lost:
            raise RunFailed(
                f"Assets outside the plan disappeared during the run: {', '.join(lost[:3])}.",
                code="bystander_lost",
            )
        if truth.unwritten:
            names = [item.row.title for item in attempt.items if item.uuid in truth.unwritten]
            many = counted(len(truth.unwritten), "asset is", "assets are")
            raise RunFailed(
                f"{many} not on the target as planned: {', '.join(names[:3])}.",
                code="not_as_planned",
                detail={"assets": truth.unwritten[:50]},
            )


def _same_but_for_marks(was: Document | None, now: Document | None) -> bool:
    """Of a repair: what was mended unseen counts as it was before."""
    return same_for_comparison(was and unmarked(was), now and unmarked(now))


def shows(item: Item, reading: EnvironmentReading) -> bool:
    """Whether a reading shows an item as the plan wants it."""
    now = reading.documents.get(item.uuid)
    if item.action == Action.REMOVE:
        return now is None and item.uuid not in reading.unreadable
    return as_planned(item, now)


def as_planned(item: Item, now: Document | None) -> bool:
    wanted = beside(item.wanted, now, item.aside) if item.wanted is not None else None
    return same_for_comparison(wanted, now) or was_converted(wanted, now)


def _converted(attempt: Attempt, after: EnvironmentReading) -> list[dict[str, Any]]:
    """Charts that Superset turned into another type when it imported them: from, to, and the settings it changed."""
    found: list[dict[str, Any]] = []
    for item in attempt.items:
        now = after.documents.get(item.uuid)
        if item.action == Action.REMOVE or item.wanted is None or now is None:
            continue
        if item.action.writes and was_converted(item.wanted, now):
            fields = [".".join(map(str, change.path)) for change in field_changes(item.wanted, now)]
            old, new = item.wanted.body.get("viz_type"), now.body.get("viz_type")
            attempt.ctx.log("info", f"Superset turned the chart “{item.row.title}” from {old} into {new}.")
            found.append(
                {"uuid": item.uuid, "title": item.row.title, "from": old, "to": new, "fields": fields[:50]}
            )
    return found


def _say_difference(attempt: Attempt, item: Item, now: Document | None) -> None:
    if item.action == Action.REMOVE or now is None or item.wanted is None:
        what = "is still there" if item.action == Action.REMOVE else "is not there"
    else:
        changes = field_changes(item.wanted, now)
        what = "differs in " + ", ".join(".".join(change.path) for change in changes[:5])
    attempt.ctx.log("error", f"{item.kind.value} “{item.row.title}” {what}")


def _changed_connections(attempt: Attempt, after: EnvironmentReading) -> list[str]:
    assert attempt.untouched is not None
    return [
        document.title
        for uuid, document in attempt.untouched.documents.items()
        if document.kind == Kind.DATABASE
        and (uuid in after.documents or after.complete)
        and (uuid not in after.documents or after.documents[uuid].fingerprint != document.fingerprint)
    ]


def _lost_bystanders(attempt: Attempt, after: EnvironmentReading) -> list[str]:
    assert attempt.untouched is not None
    if not (attempt.untouched.complete and after.complete):
        return []
    planned = {item.uuid for item in attempt.items}
    gone = [
        f"{document.kind.value} “{document.title}”"
        for uuid, document in attempt.untouched.documents.items()
        if uuid not in after.documents and uuid not in planned and uuid not in after.unreadable
    ]
    for uuid, document in attempt.untouched.documents.items():
        now = after.documents.get(uuid)
        if uuid not in planned and now is not None and not same_for_comparison(document, now):
            bystander = f"{document.kind.value} “{document.title}”"
            attempt.ctx.log(
                "warning", f"Not part of the plan, and changed by somebody else meanwhile: {bystander}."
            )
    return gone
