"""From the files of an export to canonical documents."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from .charts import read_chart
from .context import ReadContext
from .dashboards import read_dashboard
from .datasets import read_database, read_dataset
from .documents import Document, Kind, Note
from .ids import IdTable, as_id
from .trees import as_mapping

_KINDS = frozenset(kind.value for kind in Kind)


class RawAsset(Protocol):
    """One parsed file of a bundle (`environments.superset.bundle.RawAsset`)."""

    @property
    def kind(self) -> str: ...
    @property
    def uuid(self) -> str: ...
    @property
    def data(self) -> Mapping[str, Any]: ...
    @property
    def source_id(self) -> int | None: ...


@dataclass(frozen=True)
class Reading:
    """Canonical documents by uuid, what there is to say about them, and the ids that the files themselves told."""

    documents: Mapping[str, Document]
    notes: tuple[Note, ...]
    ids: IdTable


def read_assets(
    assets: Iterable[RawAsset],
    ids: IdTable | None = None,
    base_url: str = "",
    *,
    charts: Collection[str] = (),
) -> Reading:
    """Read exported assets of one environment.

    `ids`: what its listings said; the files add what they know (file names end in ids; charts name their dataset's id).
    `base_url`: its address, so that links to itself become links to wherever a document is brought. `charts`: uuids of
    charts that are there beside those of `assets`, and may have no id.
    An asset that cannot be read at all is left out with a note `unreadable`: one damaged dashboard must
    not hide the others.
    """
    assets = [asset for asset in assets if asset.kind in _KINDS]
    known = _ids_of(assets, ids)
    there = frozenset(charts) | {asset.uuid for asset in assets if asset.kind == Kind.CHART}
    timeouts = {
        asset.uuid: as_id(asset.data.get("cache_timeout")) for asset in assets if asset.kind == Kind.DATABASE
    }
    documents: dict[str, Document] = {}
    notes: list[Note] = []
    for asset in assets:
        context = ReadContext(known, base_url.rstrip("/"), asset.uuid, there)
        try:
            body = _read(asset, context, timeouts)
        except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
            notes.append(
                Note(
                    "unreadable",
                    asset.uuid,
                    f"This {asset.kind} cannot be read: {type(error).__name__}: {error}",
                )
            )
            continue
        documents[asset.uuid] = Document(Kind(asset.kind), asset.uuid, body)
        notes.extend(context.notes)
    return Reading(documents, tuple(notes), known)


def _read(asset: RawAsset, context: ReadContext, timeouts: Mapping[str, int | None]) -> dict[str, Any]:
    if asset.kind == Kind.DASHBOARD:
        return read_dashboard(asset.data, context)
    if asset.kind == Kind.CHART:
        return read_chart(asset.data, context)
    if asset.kind == Kind.DATASET:
        return read_dataset(asset.data, context, timeouts.get(str(asset.data.get("database_uuid"))))
    return read_database(asset.data, context)


def _ids_of(assets: list[RawAsset], ids: IdTable | None) -> IdTable:
    known = IdTable(ids or ())
    for asset in assets:
        if asset.source_id is not None:
            known.add(Kind(asset.kind), asset.source_id, asset.uuid)
    for asset in assets:
        # Before 6.0 a dataset's file name has no id, but its charts name it: params.datasource is "12__table", and
        # dataset_uuid beside it is exported from the same row.
        if asset.kind == Kind.CHART and isinstance(dataset := asset.data.get("dataset_uuid"), str):
            number = as_id(str(as_mapping(asset.data.get("params")).get("datasource", "")).partition("__")[0])
            if (
                number is not None
                and known.id_of(Kind.DATASET, dataset) is None
                and known.uuid_of(Kind.DATASET, number) is None
            ):
                known.add(Kind.DATASET, number, dataset)
    return known
