"""Before the first write: is everything as the plan saw it? Then the restore point."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

from environments.backups.services import keep_restore_point
from environments.canonical.documents import Document, Kind
from environments.models import Environment, Reason
from environments.services import keep_capabilities
from environments.store import (
    believe_no_list,
    get_documents,
    take_snapshot,
)
from environments.superset.versions import Capabilities
from migrations_app.engine.conflicts import natural_key_conflicts
from migrations_app.engine.plan import Action
from migrations_app.errors import StalePlan
from migrations_app.models import RunState
from migrations_app.planning import same_for_comparison
from migrations_app.repairing import without_marks
from migrations_app.side_by_side import side_by_side

from .attempt import Attempt
from .beside import add_companions, moved_companions
from .patience import patiently, read_target
from .proving import look
from .reading import fresh_reading
from .removals import moved_removals


@dataclass(frozen=True)
class Moved:
    """Something that is not as the plan saw it: in words, and where."""

    text: str
    environment: Environment | None
    uuid: str


def check(attempt: Attempt) -> None:
    """Export both sides once more and compare with what the plan was made from.

    A run that has written already is past that: its plan held when it began, and what it wants is kept with it. Only
    the target is read then, as what it says decides how the run goes on.
    """
    if attempt.may_have_written:
        _look_again(attempt)
        return
    with attempt.step("check", "Check that nothing moved since the plan") as step:
        attempt.enter(RunState.RESTORE_POINT)
        migration = attempt.migration
        target_ids = attempt.target_ids()
        calls: list[Callable[[], Any]] = [
            attempt.target.detect,
            lambda: fresh_reading(attempt.target, migration.target, target_ids, attempt.mends),
        ]
        if migration.source is not None:
            attempt.source = attempt.connect(migration.source)
            source, environment = attempt.source, migration.source
            source_ids = attempt.source_ids()
            calls.append(lambda: fresh_reading(source, environment, source_ids))
        found, *readings = side_by_side(calls)
        _same_version(attempt, found)
        attempt.before = attempt.untouched = readings[0]
        attempt.source_reading = readings[1] if len(readings) > 1 else None
        add_companions(attempt, attempt.before)
        moved = _moved(attempt)
        step.result |= {"read": len(attempt.before.documents), "moved": len(moved)}
        if moved:
            _export_again_next_time(attempt, moved)
            names = ", ".join(entry.text for entry in moved[:3]) + (" and others" if len(moved) > 3 else "")
            raise StalePlan(
                f"The plan is stale: {names} changed after it was made. Nothing was written.",
                detail={"moved": [entry.text for entry in moved[:50]]},
            )


def _look_again(attempt: Attempt) -> None:
    with attempt.step("check", f"See how far the run came on {attempt.migration.target.name}") as step:
        _same_version(attempt, patiently(attempt, attempt.target.detect))
        attempt.before = patiently(attempt, lambda: read_target(attempt))
        truth = look(attempt, attempt.before)
        step.result |= {"read": len(attempt.before.documents), "written": len(truth.written)}


def _same_version(attempt: Attempt, found: Capabilities) -> None:
    """A plan is written for one version of Superset: another takes other fields, and other ways to import."""
    target = attempt.migration.target
    planned_for = target.version
    if planned_for in ("", found.version):
        return
    keep_capabilities(target, found)
    raise StalePlan(
        f"The plan is stale: {target.name} was Superset {planned_for} when it was made and is {found.version} now."
        + ("" if attempt.may_have_written else " Nothing was written.")
    )


def _export_again_next_time(attempt: Attempt, moved: Collection[Moved]) -> None:
    """What no list told apart from what is stored would make the next plan as stale as this one."""
    for environment in (attempt.migration.source, attempt.migration.target):
        if environment is not None:
            uuids = [entry.uuid for entry in moved if entry.environment == environment]
            believe_no_list(environment, uuids)


def _moved(attempt: Attempt) -> list[Moved]:
    assert attempt.before is not None
    target, source = attempt.migration.target, attempt.migration.source
    moved: list[Moved] = []
    planned = (
        get_documents(item.row.source_sha256 for item in attempt.items if item.row.source_sha256)
        if attempt.source_reading
        else {}
    )
    for item in attempt.items:
        if item.action == Action.LEAVE_OUT:
            continue
        if attempt.source_reading is not None and item.row.source_sha256:
            now = attempt.source_reading.documents.get(item.row.uuid)
            if not same_for_comparison(planned[item.row.source_sha256], now):
                moved.append(Moved(f"“{item.row.title}” on the source", source, item.row.uuid))
        if (
            not same_for_comparison(item.present, attempt.before.documents.get(item.uuid))
            or item.uuid in attempt.before.unreadable
        ):
            moved.append(Moved(f"“{item.row.title}” on the target", target, item.uuid))
    # Somebody may have taken a slug or a table meanwhile: an import would overwrite that asset.
    wanted = {
        item.uuid: item.wanted for item in attempt.items if item.action.writes and item.wanted is not None
    }
    for conflict in natural_key_conflicts(wanted, _around(attempt)).values():
        moved.append(Moved(f"“{conflict.other_title}” on the target", target, conflict.other_uuid))
    beside = [
        Moved(text, source if of_source else target, "") for text, of_source in moved_companions(attempt)
    ]
    removals = [
        Moved(text, source if of_source else target, uuid)
        for text, of_source, uuid in moved_removals(attempt)
    ]
    return moved + _moved_connections(attempt, wanted.values()) + beside + removals


def _around(attempt: Attempt) -> dict[str, Document]:
    """What the target holds; what was only listed with no more than the names that an import goes by."""
    assert attempt.before is not None
    around: dict[str, Document] = {}
    for row in attempt.listed.get(Kind.DASHBOARD, []):
        body: dict[str, Any] = {"dashboard_title": row.title, "slug": row.slug}
        around[row.uuid] = Document(Kind.DASHBOARD, row.uuid, body)
    for row in attempt.listed.get(Kind.DATASET, []):
        database = attempt.before.ids.uuid_of(Kind.DATABASE, row.database_id)
        body = {"table_name": row.name, "schema": row.schema, "database_uuid": database}
        around[row.uuid] = Document(Kind.DATASET, row.uuid, body)
    return {**around, **attempt.before.documents}


def _moved_connections(attempt: Attempt, wanted: Iterable[Document]) -> list[Moved]:
    """Connections that datasets of the plan were mapped to, and that are gone or another since."""
    assert attempt.before is not None
    snapshot = attempt.row.plan.target_snapshot
    needed = {
        str(document.body["database_uuid"])
        for document in wanted
        if document.kind == Kind.DATASET and document.body.get("database_uuid")
    }
    planned = (
        dict(snapshot.entries.filter(uuid__in=needed).values_list("uuid", "document_id"))
        if snapshot is not None
        else {}
    )
    moved: list[Moved] = []
    for uuid in sorted(needed):
        now = attempt.before.documents.get(uuid)
        if now is not None:
            is_same = planned.get(uuid) in (None, now.fingerprint)
        else:
            is_same = not attempt.before.complete and attempt.database_id(uuid) is not None
        if not is_same:
            name = f"“{now.title}”" if now is not None else uuid
            moved.append(Moved(f"the connection {name} of the target", attempt.migration.target, uuid))
    return moved


def take_restore_point(attempt: Attempt) -> None:
    """Keep what is there before the first write. One that an attempt before has taken counts: nothing was written
    since, or it is the only one that tells how things were.
    """
    if attempt.row.restore_point_id is not None:
        return
    assert attempt.before is not None
    with attempt.step("restore_point", "Take the restore point") as step:
        with attempt.ctx.fenced():  # taken and known, or not taken
            snapshot = take_snapshot(
                attempt.migration.target,
                without_marks(attempt.before),
                Reason.RESTORE_POINT,
                attempt.ctx.job.actor,
            )
            keep_restore_point(snapshot, actor=attempt.ctx.job.actor)
            attempt.put(restore_point=snapshot)
        step.result |= {"snapshot": snapshot.number, "assets": len(attempt.before.documents)}
