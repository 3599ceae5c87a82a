"""Writing: closed bundles in order, and removals. What was not answered is settled by reading (`settling.py`)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from environments.canonical.comparison import comparison_fingerprint
from environments.canonical.dashboards import chart_uuids
from environments.canonical.documents import DEPENDENCY_ORDER, Document, Kind
from environments.canonical.rendering import Rendered, importable, of_new_dataset, render
from environments.dialects import dialect_of
from environments.superset.bundle import Bundle, stub_database
from environments.superset.client import DELETE_CHUNK
from migrations_app.engine.batches import Batch, Way, missing_ids, next_batch, still_pending
from migrations_app.engine.plan import Action
from migrations_app.errors import RunFailed
from migrations_app.models import RunState
from migrations_app.planning import same_for_comparison

from .attempt import Attempt
from .patience import patiently
from .proving import shows
from .settling import send


def write(attempt: Attempt) -> None:
    assert attempt.before is not None
    wanted = {
        # Layers that are written apart are in no bundle: their ids say nothing to an import.
        item.uuid: importable(item.wanted) if item.aside else item.wanted
        for item in attempt.items
        if item.action in (Action.CREATE, Action.UPDATE) and item.wanted is not None
    }
    # After a crash part of it may be there already: what the target says counts, not what memory said.
    pending = {
        uuid: document
        for uuid, document in wanted.items()
        if not same_for_comparison(document, attempt.before.documents.get(uuid))
    }
    if attempt.is_resumed:
        pending = _without_done(attempt, pending)
    if not pending:
        return
    attempt.enter(RunState.WRITING)
    _re_parent(attempt, pending)
    ids, capabilities = attempt.before.ids, attempt.target.capabilities
    base_url, dialect = attempt.migration.target.url, dialect_of(capabilities)
    if half := pending.keys() & attempt.without_members:  # an attempt before had imported them already
        rendered = render([pending[uuid] for uuid in sorted(half)], ids, base_url, dialect)
        _set_members(attempt, dict(_members_to_set(attempt, rendered)))
        pending = {uuid: document for uuid, document in pending.items() if uuid not in half}
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
        _write_batch(attempt, batch)
        pending = still_pending(pending, batch)
        if pending:
            missing = missing_ids(pending, ids, base_url=base_url, dialect=dialect)
            patiently(attempt, partial(attempt.learn_ids, batch, missing))


def _without_done(attempt: Attempt, pending: Mapping[str, Document]) -> dict[str, Document]:
    """What an attempt before wrote whole, and is otherwise by now, somebody edited since: it is not overwritten.
    Raises RunFailed("edited_meanwhile").
    """
    assert attempt.before is not None
    done = attempt.done_before()
    edited = [
        item
        for item in attempt.items
        if item.uuid in done & pending.keys() and not shows(item, attempt.before)
    ]
    if edited:
        names = ", ".join(f"“{item.row.title}”" for item in edited[:3])
        raise RunFailed(
            f"Somebody edited {names} on {attempt.migration.target.name} after this run had written it.",
            code="edited_meanwhile",
            detail={"assets": [item.uuid for item in edited[:50]]},
        )
    return {uuid: document for uuid, document in pending.items() if uuid not in done}


def _write_batch(attempt: Attempt, batch: Batch) -> None:
    assert attempt.before is not None
    before = attempt.before.documents
    members = dict(_members_to_set(attempt, batch.rendered)) if batch.way == Way.DASHBOARDS else {}
    opened = {uuid: before.get(uuid) for uuid in (*batch.provisional, *members)}
    intent = {
        "what": "import",
        "uuids": list(batch.writes),
        "way": batch.way.value,
        # What this import alone does not complete, with what it is now: it is done when that has changed.
        "open": {uuid: comparison_fingerprint(now) if now else "" for uuid, now in opened.items()},
        "members": list(members),
        "sent_at": None,
    }
    with attempt.step("write", f"Write {batch.label}", intent) as step:
        send(attempt, step, lambda: _import_batch(attempt, batch))
        step.result |= {"imported": len(batch.writes)}
    _set_members(attempt, members)


def _set_members(attempt: Attempt, members: Mapping[str, tuple[int, dict[str, Any]]]) -> None:
    for uuid, (number, fields) in members.items():
        title = next(item.row.title for item in attempt.items if item.uuid == uuid)
        _put(attempt, "members", uuid, f"Set the charts of dashboard {title}", "dashboard", number, fields)


def _put(
    attempt: Attempt, what: str, uuid: str, title: str, kind: str, number: int, fields: Mapping[str, Any]
) -> None:
    with attempt.step("write", title, {"what": what, "uuids": [uuid], "sent_at": None}) as step:
        send(attempt, step, lambda: attempt.target.update(kind, number, fields))


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
        database = patiently(attempt, partial(attempt.database_id, str(document.body["database_uuid"])))
        if dataset is None or database is None:
            continue
        title = f"Move dataset {document.title} to its connection"
        _put(attempt, "connection", uuid, title, "dataset", dataset, {"database_id": database})


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
    import_them = {
        "dataset": attempt.target.import_datasets,
        "chart": attempt.target.import_charts,
        "dashboard": attempt.target.import_dashboards,
    }[kind]
    import_them(
        Bundle.from_assets(kind, [*assets, *((stub.kind, stub.uuid, stub.data) for stub in stubs)]), True
    )


def _members_to_set(
    attempt: Attempt, rendered: Iterable[Rendered]
) -> Iterator[tuple[str, tuple[int, dict[str, Any]]]]:
    """Before 6.1 a dashboard's import only adds charts; a PUT of the layout makes its members what the layout shows.

    Gives (uuid, (id, fields of the PUT)) for each dashboard that has charts to lose.
    """
    if attempt.target.capabilities.membership_replaced:
        return
    assert attempt.before is not None
    for item in rendered:
        present = attempt.before.documents.get(item.uuid)
        number = attempt.before.ids.id_of(Kind.DASHBOARD, item.uuid)
        if item.kind != Kind.DASHBOARD or present is None or number is None:
            continue
        wanted = next((entry.wanted for entry in attempt.items if entry.uuid == item.uuid), None)
        if wanted is None or chart_uuids(present.body["position"]) <= chart_uuids(wanted.body["position"]):
            continue
        layout = {**item.data["metadata"], "positions": item.data["position"]}
        yield item.uuid, (number, {"json_metadata": json.dumps(layout)})


def remove(attempt: Attempt) -> None:
    removals = [item for item in attempt.items if item.action == Action.REMOVE]
    if not removals:
        return
    assert attempt.before is not None
    attempt.enter(RunState.WRITING)
    for kind in reversed(DEPENDENCY_ORDER):
        there = [
            (item.uuid, number)
            for item in removals
            if item.kind == kind
            and item.uuid in attempt.before.documents
            and (number := attempt.before.ids.id_of(kind, item.uuid)) is not None
        ]
        for start in range(0, len(there), DELETE_CHUNK):
            _remove_some(attempt, kind, there[start : start + DELETE_CHUNK])


def _remove_some(attempt: Attempt, kind: Kind, chosen: Sequence[tuple[str, int]]) -> None:
    """One request, so that one answer tells of all. Sent again it removes what is left; what is gone counts as gone."""
    title = f"Remove {len(chosen)} {kind.plural if len(chosen) > 1 else kind.value}"
    intent = {"what": "remove", "uuids": [uuid for uuid, _ in chosen], "sent_at": None}
    with attempt.step("remove", title, intent) as step:
        send(attempt, step, lambda: attempt.target.delete_many(kind.value, [number for _, number in chosen]))
        step.result |= {"removed": len(chosen)}
