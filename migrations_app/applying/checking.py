"""Before the first write: is everything as the plan saw it? Then the restore point."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

from environments.canonical.documents import Document, Kind
from environments.connections import connect
from environments.models import Environment, Reason
from environments.services import keep_capabilities
from environments.store import (
    believe_no_list,
    get_documents,
    load_snapshot,
    take_snapshot,
)
from environments.superset.versions import Capabilities
from migrations_app.engine.conflicts import natural_key_conflicts
from migrations_app.engine.plan import Action
from migrations_app.errors import StalePlan
from migrations_app.models import RunState
from migrations_app.planning import same_for_comparison
from migrations_app.side_by_side import side_by_side

from .attempt import Attempt
from .reading import fresh_reading

#: Seconds between looks at the target after a worker was lost in the middle of an import (its lease ran out before).
LOST_WRITE_WAITS = (5, 10, 20)


@dataclass(frozen=True)
class Moved:
    """Something that is not as the plan saw it: in words, and where."""

    text: str
    environment: Environment | None
    uuid: str


def check(attempt: Attempt, interrupted: Collection[str] = ()) -> None:
    """Export both sides once more and compare with what the plan was made from."""
    with attempt.step("check", "Check that nothing moved since the plan") as result:
        attempt.enter(RunState.RESTORE_POINT)
        migration = attempt.migration
        target_ids = attempt.target_ids()
        calls: list[Callable[[], Any]] = [
            attempt.target.detect,
            lambda: fresh_reading(attempt.target, migration.target, target_ids),
        ]
        if migration.source is not None and not migration.is_rollback:
            attempt.source = attempt.stack.enter_context(connect(migration.source, on_request=attempt.count))
            source, environment = attempt.source, migration.source
            source_ids = attempt.source_ids()
            calls.append(lambda: fresh_reading(source, environment, source_ids))
        found, *readings = side_by_side(calls)
        _same_version(attempt, found)
        attempt.before = readings[0]
        attempt.source_reading = readings[1] if len(readings) > 1 else None
        resuming = attempt.may_have_written
        if interrupted:
            _wait_for_lost_writes(attempt, interrupted)
        attempt.untouched = attempt.before
        if resuming and attempt.row.restore_point is not None:
            attempt.untouched = load_snapshot(attempt.row.restore_point)
        moved = _moved(attempt, skip_target=resuming)
        result.update(read=len(attempt.before.documents), moved=len(moved))
        if moved:
            _export_again_next_time(attempt, moved)
            names = ", ".join(entry.text for entry in moved[:3]) + (" and others" if len(moved) > 3 else "")
            raise StalePlan(
                f"The plan is stale: {names} changed after it was made."
                + ("" if resuming else " Nothing was written."),
                detail={"moved": [entry.text for entry in moved[:50]]},
            )


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


def _wait_for_lost_writes(attempt: Attempt, uuids: Collection[str]) -> None:
    """A Superset goes on with the import of a worker that died: see its end before it is sent once more."""
    wanted = {item.uuid: item.wanted for item in attempt.items if item.uuid in set(uuids)}
    for seconds in LOST_WRITE_WAITS:
        assert attempt.before is not None
        there = attempt.before.documents
        if all(same_for_comparison(document, there.get(uuid)) for uuid, document in wanted.items()):
            return
        attempt.ctx.wait(seconds, cancellable=False)
        attempt.before = fresh_reading(attempt.target, attempt.migration.target, attempt.target_ids())


def _export_again_next_time(attempt: Attempt, moved: Collection[Moved]) -> None:
    """What no list told apart from what is stored would make the next plan as stale as this one."""
    for environment in (attempt.migration.source, attempt.migration.target):
        if environment is not None:
            uuids = [entry.uuid for entry in moved if entry.environment == environment]
            believe_no_list(environment, uuids)


def _moved(attempt: Attempt, *, skip_target: bool) -> list[Moved]:
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
        if not skip_target and (
            not same_for_comparison(item.present, attempt.before.documents.get(item.uuid))
            or item.uuid in attempt.before.unreadable
        ):
            moved.append(Moved(f"“{item.row.title}” on the target", target, item.uuid))
    if not skip_target:
        # Somebody may have taken a slug or a table meanwhile: an import would overwrite that asset.
        wanted = {
            item.uuid: item.wanted for item in attempt.items if item.action.writes and item.wanted is not None
        }
        for conflict in natural_key_conflicts(wanted, _around(attempt)).values():
            moved.append(Moved(f"“{conflict.other_title}” on the target", target, conflict.other_uuid))
        moved += _moved_connections(attempt, wanted.values())
    return moved


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
    if attempt.row.restore_point_id is not None:
        return
    assert attempt.before is not None
    with attempt.step("restore_point", "Take the restore point") as result:
        snapshot = take_snapshot(
            attempt.migration.target, attempt.before, Reason.RESTORE_POINT, attempt.ctx.job.actor
        )
        created = sorted(
            item.uuid
            for item in attempt.items
            if item.action == Action.CREATE and item.uuid not in attempt.before.documents
        )
        attempt.save(restore_point=snapshot, created=created)
        result.update(snapshot=snapshot.number, assets=len(attempt.before.documents))
