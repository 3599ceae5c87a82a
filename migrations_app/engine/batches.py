"""In which order documents are written: a small state machine over closed bundles.

A bundle is closed when everything it names is on the target or in the bundle, so that the importer neither
skips nor unlinks anything (superset-api.md 8.3, 9.2). After each batch the caller reads the target's new ids
and asks for the next one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from environments.canonical.documents import DEPENDENCY_ORDER, Document, Documents, Kind
from environments.canonical.ids import IdTable
from environments.canonical.references import closure
from environments.canonical.rendering import Dialect, Rendered, render

#: Assets in one import. 600 take 10-15 s on a one-worker Superset (superset-api.md 15), far below any proxy's limit.
BATCH_LIMIT = 500


class Way(StrEnum):
    """By which import a batch goes."""

    SPARSE = "sparse"  # one assets import without databases: 6.0 and newer
    DATASETS = "datasets"  # the kinds' own imports with stub databases: before 6.0
    CHARTS = "charts"
    DASHBOARDS = "dashboards"


@dataclass(frozen=True)
class Batch:
    """One import. `writes` are the uuids it is for; `rendered` also holds what a closed bundle needs beside
    them (never written because it exists and its kind's import only creates); `databases` are the target's
    connections that need a stub. `provisional` uuids hold a reference that has no id yet and must be written
    once more."""

    way: Way
    writes: tuple[str, ...]
    rendered: tuple[Rendered, ...]
    databases: tuple[str, ...] = ()
    provisional: frozenset[str] = frozenset()

    @property
    def label(self) -> str:
        kinds = [item.kind for item in self.rendered if item.uuid in set(self.writes)]
        parts = [
            f"{kinds.count(kind)} {kind.plural if kinds.count(kind) != 1 else kind.value}"
            for kind in DEPENDENCY_ORDER
            if kind in kinds
        ]
        return ", ".join(parts)


def next_batch(
    pending: Documents,
    target: Documents,
    ids: IdTable,
    *,
    sparse: bool,
    base_url: str = "",
    dialect: Dialect | None = None,
    provisional: Collection[str] = (),
) -> Batch | None:
    """The next import, or None when nothing is pending.

    `pending`: what is still to be written, by target uuid; `target`: what the target holds (what a closed
    bundle may need
    besides); `ids`: the target's ids as they are now; `provisional`: what was written once with references left open.
    """
    if not pending:
        return None
    rendered = {item.uuid: item for item in render(pending.values(), ids, base_url, dialect)}
    if sparse:
        ready = _ready(pending, rendered, ids)
        # Everything at once where the target has every id already; otherwise what others need an id of goes first.
        chosen, open_ones = (ready, frozenset[str]()) if ready else _break_cycle(pending, rendered, ids)
        return Batch(Way.SPARSE, chosen, tuple(rendered[uuid] for uuid in chosen), (), open_ones)
    return _old_batch(pending, target, rendered, ids, base_url, dialect)


def without_stale(batch: Batch, done: Collection[str]) -> bool:
    """Whether a batch still has something to write after some uuids are known to be done."""
    return any(uuid not in done for uuid in batch.writes)


def _open(item: Rendered) -> frozenset[tuple[Kind, str]]:
    """References without an id that matter: the importer itself fills in a chart's dataset, but not in texts."""
    if item.kind == Kind.CHART:
        own = (Kind.DATASET, item.data.get("dataset_uuid"))
        return frozenset(entry for entry in item.missing if entry != own or entry in item.missing_in_texts)
    return item.missing


def _ready(pending: Documents, rendered: Mapping[str, Rendered], ids: IdTable) -> tuple[str, ...]:
    ready: list[str] = []
    for uuid, item in rendered.items():  # in dependency order: datasets, charts, dashboards
        if _open(item) or len(ready) >= BATCH_LIMIT:
            continue
        if item.kind == Kind.CHART:
            dataset = str(item.data.get("dataset_uuid"))
            if dataset in pending and dataset not in ready:
                continue
        ready.append(uuid)
    return tuple(ready)


def _break_cycle(
    pending: Documents, rendered: Mapping[str, Rendered], ids: IdTable
) -> tuple[tuple[str, ...], frozenset[str]]:
    """Nothing can be written whole (two new dashboards that link to each other): write what only lacks an
    id, and come back.

    Open references are written as id 0, which exists nowhere. What stands on the members of the cycle waits for them.
    """
    lowest = min((item.kind for item in rendered.values()), key=DEPENDENCY_ORDER.index)
    chosen = tuple(uuid for uuid, item in rendered.items() if item.kind == lowest)[:BATCH_LIMIT]
    return chosen, frozenset(uuid for uuid in chosen if _open(rendered[uuid]))


def _old_batch(
    pending: Documents,
    target: Documents,
    rendered: Mapping[str, Rendered],
    ids: IdTable,
    base_url: str,
    dialect: Dialect | None,
) -> Batch:
    """Before 6.0 each kind goes by its own import: datasets, then charts, then dashboards, each with what
    it stands on.
    """
    for kind, way in (
        (Kind.DATASET, Way.DATASETS),
        (Kind.CHART, Way.CHARTS),
        (Kind.DASHBOARD, Way.DASHBOARDS),
    ):
        of_kind = [uuid for uuid, item in rendered.items() if item.kind == kind]
        if not of_kind:
            continue
        whole = [uuid for uuid in of_kind if not _open(rendered[uuid])]
        chosen = (whole or of_kind)[:BATCH_LIMIT]
        everything = {**target, **pending}
        around = closure(chosen, everything)
        beside = {
            uuid: everything[uuid]
            for uuid in around
            if uuid not in chosen and everything[uuid].kind != Kind.DATABASE
        }
        databases = {
            str(document.body["database_uuid"])
            for document in [*(everything[uuid] for uuid in around), *(pending[uuid] for uuid in chosen)]
            if document.kind == Kind.DATASET
        }
        nested = render(beside.values(), ids, base_url, dialect)
        open_ones = frozenset() if whole else frozenset(uuid for uuid in chosen if _open(rendered[uuid]))
        return Batch(
            way,
            tuple(chosen),
            (*nested, *(rendered[uuid] for uuid in chosen)),
            tuple(sorted(databases)),
            open_ones,
        )
    raise AssertionError("pending holds a kind that is never written")


def missing_ids(
    pending: Documents, ids: IdTable, *, base_url: str = "", dialect: Dialect | None = None
) -> frozenset[tuple[Kind, str]]:
    """What the rest of a plan refers to and has no id on the target yet."""
    rendered = render(pending.values(), ids, base_url, dialect)
    return frozenset(reference for item in rendered for reference in _open(item))


def still_pending(pending: Documents, batch: Batch) -> dict[str, Document]:
    """What remains after a batch was carried out."""
    return {
        uuid: document
        for uuid, document in pending.items()
        if uuid not in batch.writes or uuid in batch.provisional
    }
