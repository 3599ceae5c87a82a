"""Writing: closed bundles in order, and removals; what was not answered is settled by reading."""

from __future__ import annotations

import json
from collections.abc import Mapping

from environments.canonical.dashboards import chart_uuids
from environments.canonical.documents import DEPENDENCY_ORDER, Document, Kind
from environments.canonical.rendering import of_new_dataset
from environments.superset.bundle import Bundle, stub_database
from environments.superset.errors import AmbiguousWrite, SupersetError
from migrations_app.dialects import dialect_of
from migrations_app.engine.batches import Batch, Way, missing_ids, next_batch, still_pending
from migrations_app.engine.plan import Action
from migrations_app.errors import RunFailed
from migrations_app.models import RunState
from migrations_app.planning import same_for_comparison

from .attempt import Attempt
from .reading import fresh_reading

#: Seconds between looks at the target after an import whose answer never came: a Superset goes on without its client.
SETTLE_WAITS = (1, 2, 5, 10, 20, 30, 60)


def write(attempt: Attempt) -> None:
    assert attempt.before is not None
    wanted = {
        item.uuid: item.wanted
        for item in attempt.items
        if item.action in (Action.CREATE, Action.UPDATE) and item.wanted is not None
    }
    # After a crash part of it may be there already: what the target says counts, not what memory said.
    pending = {
        uuid: document
        for uuid, document in wanted.items()
        if not same_for_comparison(document, attempt.before.documents.get(uuid))
    }
    if not pending:
        return
    attempt.enter(RunState.WRITING)
    _re_parent(attempt, pending)
    ids, capabilities = attempt.before.ids, attempt.target.capabilities
    base_url, dialect = attempt.migration.target.url, dialect_of(capabilities)
    provisional: set[str] = set()
    # What was there or will be: a bundle for a target before 6.0 needs what its assets stand on beside them.
    around = {**attempt.before.documents, **wanted}
    while batch := next_batch(
        pending,
        around,
        ids,
        sparse=capabilities.sparse_import,
        base_url=base_url,
        dialect=dialect,
    ):
        if batch.provisional and batch.provisional <= provisional:
            raise RunFailed(
                "Some references cannot be resolved on the target.",
                code="unresolved_references",
                detail={"assets": sorted(batch.provisional)[:50]},
            )
        provisional |= batch.provisional
        with attempt.step(
            "write", f"Write {batch.label}", intent={"uuids": list(batch.writes), "way": batch.way.value}
        ) as result:
            attempt.may_have_written = True
            _send(attempt, batch)
            result.update(imported=len(batch.writes))
        pending = still_pending(pending, batch)
        if pending:
            missing = missing_ids(pending, ids, base_url=base_url, dialect=dialect)
            attempt.learn_ids(batch, missing)


def _re_parent(attempt: Attempt, pending: Mapping[str, Document]) -> None:
    """Datasets cannot be moved to another connection by an import (500, unique uuid): by PUT, before it."""
    assert attempt.before is not None
    for uuid, document in pending.items():
        present = attempt.before.documents.get(uuid)
        if (
            document.kind != Kind.DATASET
            or present is None
            or present.body.get("database_uuid") == document.body.get("database_uuid")
        ):
            continue
        dataset = attempt.before.ids.id_of(Kind.DATASET, uuid)
        database = attempt.database_id(str(document.body["database_uuid"]))
        if dataset is None or database is None:
            continue
        with attempt.step(
            "write", f"Move dataset {document.title} to its connection", intent={"uuids": [uuid]}
        ):
            attempt.may_have_written = True
            attempt.target.update("dataset", dataset, {"database_id": database})


def _send(attempt: Attempt, batch: Batch) -> None:
    try:
        _import_batch(attempt, batch)
    except AmbiguousWrite as error:
        attempt.ctx.log(
            "warning",
            f"No answer to the import ({error.message}). Reading the target to see what happened.",
        )
        if not _settled(attempt, batch):
            raise
        attempt.ctx.log("info", "The import was carried out although its answer never came.")
    if batch.way == Way.DASHBOARDS and not attempt.target.capabilities.membership_replaced:
        _set_members(attempt, batch)


def _import_batch(attempt: Attempt, batch: Batch) -> None:
    assert attempt.before is not None
    assets = [(item.kind.value, item.uuid, dict(item.data)) for item in batch.rendered]
    if batch.way == Way.SPARSE:
        there = attempt.before.documents
        assets = [
            (kind, uuid, of_new_dataset(data) if kind == Kind.DATASET.value and uuid not in there else data)
            for kind, uuid, data in assets
        ]
        attempt.target.import_assets(Bundle.from_assets("assets", assets), sparse=True)
        return
    stubs = [
        stub_database(uuid, attempt.before.documents[uuid].title)
        for uuid in batch.databases
        if uuid in attempt.before.documents
    ]
    kind = {Way.DATASETS: "dataset", Way.CHARTS: "chart", Way.DASHBOARDS: "dashboard"}[batch.way]
    send = {
        "dataset": attempt.target.import_datasets,
        "chart": attempt.target.import_charts,
        "dashboard": attempt.target.import_dashboards,
    }[kind]
    send(Bundle.from_assets(kind, [*assets, *((stub.kind, stub.uuid, stub.data) for stub in stubs)]), True)


def _settled(attempt: Attempt, batch: Batch) -> bool:
    """Whether an import of unknown outcome was carried out. One import is one transaction: all of it,
    or nothing.
    """
    wanted = {
        item.uuid: item.wanted for item in attempt.items if item.uuid in set(batch.writes) - batch.provisional
    }
    for seconds in SETTLE_WAITS:
        attempt.ctx.wait(seconds, cancellable=False)
        try:
            reading = fresh_reading(attempt.target, attempt.migration.target, attempt.target_ids())
        except SupersetError:
            continue
        if all(
            same_for_comparison(document, reading.documents.get(uuid)) for uuid, document in wanted.items()
        ):
            return True
    return False


def _set_members(attempt: Attempt, batch: Batch) -> None:
    """Before 6.1 a dashboard's import only adds charts; a PUT of the layout makes its members what the
    layout shows.
    """
    assert attempt.before is not None
    for item in batch.rendered:
        present = attempt.before.documents.get(item.uuid)
        number = attempt.before.ids.id_of(Kind.DASHBOARD, item.uuid)
        if item.kind != Kind.DASHBOARD or present is None or number is None:
            continue
        wanted = next(entry.wanted for entry in attempt.items if entry.uuid == item.uuid)
        if wanted is None or chart_uuids(present.body["position"]) <= chart_uuids(wanted.body["position"]):
            continue
        attempt.target.update(
            "dashboard",
            number,
            {"json_metadata": json.dumps({**item.data["metadata"], "positions": item.data["position"]})},
        )


def remove(attempt: Attempt) -> None:
    removals = [item for item in attempt.items if item.action == Action.REMOVE]
    if not removals:
        return
    assert attempt.before is not None
    attempt.enter(RunState.WRITING)
    for kind in reversed(DEPENDENCY_ORDER):
        there = {
            item.uuid: number
            for item in removals
            if item.kind == kind
            and item.uuid in attempt.before.documents
            and (number := attempt.before.ids.id_of(kind, item.uuid)) is not None
        }
        if not there:
            continue
        title = f"Remove {len(there)} {kind.plural if len(there) > 1 else kind.value}"
        with attempt.step("remove", title, intent={"uuids": sorted(there)}) as result:
            attempt.may_have_written = True
            try:
                attempt.target.delete_many(kind.value, there.values())
            except AmbiguousWrite:
                attempt.ctx.log("warning", "No answer to the removal; the re-read will tell what happened.")
            result.update(removed=len(there))
