"""What an asset consists of, line by line over all environments."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from environments.canonical.documents import Document, Kind
from environments.canonical.trees import as_list, as_mapping
from environments.models import Asset, AssetReference
from environments.store import get_documents
from environments.words import fold
from migrations_app.estate.models import SyncState
from migrations_app.pairings import pairs_between

from .families import Family, Member, page_url
from .reach import chunks

#: Fields of columns and metrics that make two of them different for a reader.
_FIELDS = (
    "type",
    "expression",
    "is_dttm",
    "verbose_name",
    "description",
    "d3format",
    "groupby",
    "filterable",
)


@dataclass
class Cell:
    """`state`: of sstools.web.states, "" where the asset does not have it; `text`: what stands there beside it."""

    state: str = ""
    changes: int = 0
    text: str = ""
    go: tuple[str, str, str] | None = None  # arguments of environments:go


@dataclass
class Row:
    """One thing on all environments; `cells` in the order of the family's members."""

    kind: str
    title: str
    url: str = ""
    sub: str = ""
    cells: list[Cell] = field(default_factory=list)


@dataclass
class Table:
    """`title` says what the rows are; `noun` of one."""

    title: str
    noun: str
    rows: list[Row]
    note: str = ""


def tables_of(family: Family, reference: Member | None) -> list[Table]:
    """Dashboards: charts, and datasets of filters. Charts: what they need, and where they are. Datasets: columns and
    metrics. Databases: their datasets.
    """
    if reference is None:
        return []
    match family.kind:
        case Kind.DASHBOARD:
            charts = {member.environment.pk: _charts_on(member) for member in family.present}
            filters = {member.environment.pk: _named(member, Kind.DATASET) for member in family.present}
            tables = [Table("Charts", "chart", _rows(family, reference, Kind.CHART, charts))]
            if any(filters.values()):
                rows = _rows(family, reference, Kind.DATASET, filters)
                tables.append(Table("Datasets of its filters", "dataset", rows))
            return tables
        case Kind.CHART:
            datasets = {m.environment.pk: _only(m.asset.dataset_uuid) for m in family.present if m.asset}
            databases = {m.environment.pk: _only(m.asset.database_uuid) for m in family.present if m.asset}
            boards = {m.environment.pk: set(m.asset.dashboard_uuids) for m in family.present if m.asset}
            return [
                Table("Dataset", "dataset", _rows(family, reference, Kind.DATASET, datasets)),
                Table("Connection", "connection", _rows(family, reference, Kind.DATABASE, databases)),
                Table("On dashboards", "dashboard", _rows(family, reference, Kind.DASHBOARD, boards)),
            ]
        case Kind.DATASET:
            databases = {m.environment.pk: _only(m.asset.database_uuid) for m in family.present if m.asset}
            tables = [Table("Connection", "connection", _rows(family, reference, Kind.DATABASE, databases))]
            return [*_columns(family, reference), *tables]
        case _:
            datasets = {
                member.environment.pk: set(
                    member.environment.assets.filter(
                        kind=Kind.DATASET, database_uuid=member.uuid
                    ).values_list("uuid", flat=True)
                )
                for member in family.present
            }
            return [Table("Datasets", "dataset", _rows(family, reference, Kind.DATASET, datasets))]


def _only(uuid: str) -> set[str]:
    return {uuid} if uuid else set()


def _charts_on(member: Member) -> set[str]:
    """By its contents, and by the lists: a chart may be a member without being in the layout."""
    listed = member.environment.assets.filter(kind=Kind.CHART, dashboard_uuids__icontains=member.uuid)
    return _named(member, Kind.CHART) | set(listed.values_list("uuid", flat=True))


def _named(member: Member, kind: Kind) -> set[str]:
    rows = AssetReference.objects.filter(
        environment=member.environment, from_uuid=member.uuid, to_kind=kind.value, how="needs"
    )
    return set(rows.values_list("to_uuid", flat=True))


def _rows(family: Family, reference: Member, kind: Kind, uuids: Mapping[int, Iterable[str]]) -> list[Row]:
    """One row for each asset, whichever environment has it in there. Some queries for each environment, not row."""
    here = reference.environment
    assets: dict[int, dict[str, Asset]] = {}
    names: dict[int, dict[str, str]] = {}  # environment -> its uuid -> the row's
    lines: dict[str, dict[int, str]] = {}  # row -> environment -> uuid there
    for member in family.members:
        pk = member.environment.pk
        pairs = {} if pk == here.pk else pairs_between(here, member.environment, kind.value)
        names[pk] = {there: one for one, there in pairs.items()}
        wanted = sorted(set(uuids.get(pk, ())))
        for uuid in wanted:
            lines.setdefault(names[pk].get(uuid, uuid), {})[pk] = uuid
        assets[pk] = {
            row.uuid: row
            for some in chunks(wanted)
            for row in member.environment.assets.filter(kind=kind.value, uuid__in=some).defer(
                "search_text", "owners", "dashboard_uuids"
            )
        }
    states = _states(reference, family, kind, lines)
    rows = []
    for name, places in lines.items():
        known = [assets[pk].get(uuid) for pk, uuid in places.items()]
        first = next((asset for asset in known if asset is not None), None)
        row = Row(kind.value, first.title if first else name, page_url(kind, name) if first else "")
        if first is not None:
            row.sub = first.viz_type or first.backend or (first.schema if kind == Kind.DATASET else "")
        for member in family.members:
            row.cells.append(_cell(member, reference, places, name, assets, states, kind))
        rows.append(row)
    return sorted(rows, key=lambda row: (fold(row.title), row.url))


def _cell(
    member: Member,
    reference: Member,
    places: Mapping[int, str],
    name: str,
    assets: Mapping[int, Mapping[str, Asset]],
    states: Mapping[tuple[int, str], SyncState],
    kind: Kind,
) -> Cell:
    pk = member.environment.pk
    uuid = places.get(pk, "")
    if not member.is_there:
        return Cell()
    if not uuid:
        return Cell("absent", text="not in there")
    asset = assets[pk].get(uuid)
    if asset is None:
        return Cell("failed", text="deleted")
    go = (member.environment.slug, kind.value, uuid)
    if pk == reference.environment.pk:
        return Cell("source", go=go)
    is_here = reference.environment.pk in places
    state = states.get((pk, name))
    if not is_here:
        return Cell("only_here", go=go)
    if kind == Kind.DATABASE:
        return Cell("mapped" if asset.uuid != name else "same", text=asset.title, go=go)
    if state is None:
        return Cell("unknown", go=go)
    return Cell(state.state, state.changes, go=go)


def _states(
    reference: Member, family: Family, kind: Kind, lines: Mapping[str, Mapping[int, str]]
) -> dict[tuple[int, str], SyncState]:
    """By environment and uuid on the reference."""
    rows = SyncState.objects.filter(
        source=reference.environment,
        target__in=[member.environment.pk for member in family.present],
        kind=kind.value,
    ).defer("sentences")
    return {
        (row.target_id, row.row): row for some in chunks(list(lines)) for row in rows.filter(row__in=some)
    }


# --- Columns and metrics of a dataset ---------------------------------------------------------------------------


def _columns(family: Family, reference: Member) -> list[Table]:
    documents = _documents(family.present)
    tables = []
    for title, noun, part, key in (
        ("Columns", "column", "columns", "column_name"),
        ("Metrics", "metric", "metrics", "metric_name"),
    ):
        entries = {
            pk: {str(as_mapping(one).get(key)): as_mapping(one) for one in as_list(document.body.get(part))}
            for pk, document in documents.items()
        }
        names = list(dict.fromkeys(name for one in entries.values() for name in one))
        base = entries.get(reference.environment.pk, {})
        rows = []
        for name in sorted(names, key=fold):
            known = next(one[name] for one in entries.values() if name in one)
            sub = str(known.get("expression") or known.get("type") or "")
            row = Row(noun, name, "", sub[:80] + ("…" if len(sub) > 80 else ""))
            for member in family.members:
                row.cells.append(_entry(member, reference, name, base, entries.get(member.environment.pk)))
            rows.append(row)
        tables.append(Table(title, noun, rows))
    return tables


def _entry(
    member: Member,
    reference: Member,
    name: str,
    base: Mapping[str, Mapping[str, Any]],
    entries: Mapping[str, Mapping[str, Any]] | None,
) -> Cell:
    if not member.is_there:
        return Cell()
    if entries is None:
        return Cell("unknown", text="not read")
    if member.environment.pk == reference.environment.pk:
        return Cell("source") if name in entries else Cell("absent", text="not in there")
    if name not in entries:
        return Cell("absent", text="not in there")
    if name not in base:
        return Cell("only_here")
    moved = [part for part in _FIELDS if _text(base[name].get(part)) != _text(entries[name].get(part))]
    return Cell("differs", text=", ".join(moved).replace("_", " ")) if moved else Cell("same")


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str) if value not in (None, "") else ""


def _documents(members: Sequence[Member]) -> dict[int, Document]:
    wanted = {
        member.environment.pk: str(member.asset.document_id)
        for member in members
        if member.asset is not None and member.asset.document_id
    }
    found = get_documents(wanted.values())
    return {pk: found[sha] for pk, sha in wanted.items()}
