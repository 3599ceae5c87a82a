"""What the target's own assets make of these files: connections, datasets and dashboards that an import takes over."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from environments.canonical.datasets import masked
from environments.canonical.documents import Document, Kind

from .model import AssetFile, AuditInput, Finding, Severity, finding, title_of

_OURS = "Never writes connections: each is mapped to one of the target, which stays as it is."


def of_target(given: AuditInput) -> Iterator[Finding]:
    for asset in given.of_kind(Kind.DATABASE):
        yield from _connection(asset, given)
    slugs = {
        str(item.body["slug"]): item
        for item in given.target.values()
        if item.kind == Kind.DASHBOARD and item.body.get("slug")
    }
    for asset in given.of_kind(Kind.DASHBOARD):
        yield from _slug(asset, slugs, given)
    tables: dict[tuple[str, str], list[Document]] = {}
    for item in given.target.values():
        if item.kind == Kind.DATASET:
            key = (str(item.body.get("database_uuid")), str(item.body.get("table_name")))
            tables.setdefault(key, []).append(item)
    connections = {asset.uuid: asset for asset in given.of_kind(Kind.DATABASE)}
    mine: dict[tuple[str, str, str], AssetFile] = {}
    for asset in given.of_kind(Kind.DATASET):
        yield from _dataset(asset, connections, tables, given)
        yield from _doubled_table(asset, mine)
    for path, data in given.queries:
        if given.version and given.version < (5, 0) and "catalog" in data:
            yield Finding(
                "unknown_field",
                Severity.ERROR,
                path,
                ("catalog",),
                "query",
                str(data.get("uuid") or ""),
                str(data.get("label") or path),
                "“catalog” of a saved query is exported by 4.1 and not taken back by its import.",
                "The whole import is refused: 422 (I#32706).",
                "Leaves the catalog out, and brings the query.",
            )


# --- Connections (9.2, R1) ------------------------------------------------------------------------------------------
def _connection(asset: AssetFile, given: AuditInput) -> Iterator[Finding]:
    name, uri = str(asset.data.get("database_name") or ""), _address(asset.data)
    same = given.there(Kind.DATABASE, asset.uuid)
    if same is not None:
        theirs = _address(same.body)
        if theirs != uri:
            yield finding(
                asset,
                "connection_hijacked",
                Severity.ERROR,
                ("sqlalchemy_uri",),
                f"{given.target_name} has this connection, “{same.title}”, with another address: {theirs}; here "
                f"it is {uri}.",
                "An assets import, which preset-cli and its kin send, points it there; "
                "dashboard, "
                "chart and dataset imports leave it.",
                _OURS,
            )
        return
    other = given.by_name.get(name)
    if other is not None:
        theirs = _address(other.body)
        also = f"; its address is {theirs}, here it is {uri}" if theirs != uri else ""
        yield finding(
            asset,
            "connection_hijacked",
            Severity.ERROR,
            ("database_name",),
            f"{given.target_name} has another connection of the name “{name}” ({other.uuid}){also}.",
            "Any import, also one that overwrites nothing, gives that connection this address and this uuid, "
            "answers OK and "
            "says nothing (R1).",
            _OURS,
        )
        return
    yield finding(
        asset,
        "connection_new",
        Severity.WARNING,
        ("database_name",),
        f"{given.target_name} has no connection “{name}” ({asset.uuid}).",
        "With a masked password the import is refused (“Must provide a password”); a password sent along "
        "stands in the "
        "target's action log.",
        _OURS + " Make one in Superset if none of them fits.",
    )


def _address(data: Mapping[str, Any]) -> str:
    """The address of a connection without secrets, to compare and to show."""
    text = str(masked(str(data.get("sqlalchemy_uri") or "")))
    return re.sub(r"(://[^:/@]*):X+@", r"\1@", text)


# --- Dashboards -----------------------------------------------------------------------------------------------------
def _slug(asset: AssetFile, slugs: Mapping[str, Document], given: AuditInput) -> Iterator[Finding]:
    other = slugs.get(str(asset.data.get("slug") or ""))
    if other is None or other.uuid == asset.uuid:
        return
    exists = given.there(Kind.DASHBOARD, asset.uuid) is not None
    yield finding(
        asset,
        "dashboard_hijacked",
        Severity.ERROR,
        ("slug",),
        f"The slug “{asset.data.get('slug')}” belongs to another dashboard of {given.target_name}, “{other.title}” "
        f"({other.uuid}).",
        "The whole import fails with an error 500."
        if exists
        else "That dashboard is overwritten with this one and gets its uuid, even without overwrite.",
        "Asks what to do: adopt it, bring this one under another slug, or leave it out.",
    )


# --- Datasets (9.2, 9.4, R12) ---------------------------------------------------------------------------------------
def _dataset(
    asset: AssetFile,
    connections: Mapping[str, AssetFile],
    tables: Mapping[tuple[str, str], list[Document]],
    given: AuditInput,
) -> Iterator[Finding]:
    wanted = str(asset.data.get("database_uuid") or "").lower()
    database = _lands_on(wanted, connections, given)
    same = given.there(Kind.DATASET, asset.uuid)
    if database is None and (same is None or wanted not in connections):
        return
    table, schema = str(asset.data.get("table_name") or ""), asset.data.get("schema") or None
    catalog = asset.data.get("catalog") or None
    # Only what the file leaves out matches anything (9.1); the table itself is there once for each schema.
    here = [
        other
        for other in (tables.get((database.uuid, table), []) if database is not None else [])
        if other.uuid != asset.uuid and (schema is None or other.body.get("schema") == schema)
    ]
    others = [other for other in here if catalog is None or (other.body.get("catalog") or None) == catalog]
    clashing = [other for other in here if schema is not None and other not in others]
    name = ".".join(part for part in (schema, table) if part)
    if same is not None and (database is None or str(same.body.get("database_uuid")) != database.uuid):
        yield finding(
            asset,
            "dataset_moved",
            Severity.ERROR,
            ("database_uuid",),
            f"{given.target_name} has this dataset on another connection.",
            "The whole import fails with an error 500: datasets cannot change their connection by an import.",
            "Blocks it until the connection is mapped to the one it is on.",
        )
    elif same is not None and others:
        yield finding(
            asset,
            "dataset_unmodified",
            Severity.ERROR,
            ("table_name",),
            f"{given.target_name} has this dataset, and another one on {name}, “{others[0].title}” "
            f"({others[0].uuid}).",
            "The import answers OK and leaves the dataset unmodified (R12).",
            "Blocks it as a conflict that says so, and reads back whatever it writes.",
        )
    elif clashing:
        theirs = clashing[0].body.get("catalog") or "none"
        yield finding(
            asset,
            "dataset_ambiguous",
            Severity.ERROR,
            ("catalog",),
            f"{given.target_name} has another dataset on {name}, “{clashing[0].title}” ({clashing[0].uuid}), under "
            f"another catalog: {theirs}, here it is {catalog}.",
            "The whole import fails with an error 500: a table of a schema is there once, whatever its catalog.",
            "Asks what to do: adopt it, keep it, bring this one beside it, or leave it out.",
        )
    elif others and schema is None and len(others) > 1:
        yield finding(
            asset,
            "dataset_ambiguous",
            Severity.ERROR,
            ("schema",),
            f"{given.target_name} has {len(others)} datasets on tables called {table}, and this one names no schema.",
            "The whole import fails with an error 500.",
            "Asks which schema of the target is meant.",
        )
    elif others:
        yield finding(
            asset,
            "dataset_hijacked",
            Severity.ERROR,
            ("table_name",),
            f"{given.target_name} has another dataset on {name}, “{others[0].title}” ({others[0].uuid}).",
            "Any import, even one that overwrites nothing, replaces that one's content and uuid; its charts go "
            "on with it.",
            "Asks what to do: adopt it, keep it, bring this one beside it, or leave it out.",
        )
    if database is None:
        return
    default = given.catalogs.get(database.uuid)
    if catalog is not None and default is not None and catalog != default:
        yield finding(
            asset,
            "other_catalog",
            Severity.ERROR,
            ("catalog",),
            f"The catalog “{catalog}” is not the one of “{database.title}” on {given.target_name}, which is "
            f"“{default}”.",
            "Charts there read the tables of that other catalog, with 200 everywhere: data of another environment.",
            "Writes the target's own catalog.",
        )


def _lands_on(uuid: str, connections: Mapping[str, AssetFile], given: AuditInput) -> Document | None:
    """The connection of the target that a plain import puts a dataset on: that of the uuid, else that of the name."""
    same = given.there(Kind.DATABASE, uuid)
    if same is not None or uuid not in connections:
        return same
    return given.by_name.get(str(connections[uuid].data.get("database_name") or ""))


def _doubled_table(asset: AssetFile, mine: dict[tuple[str, str, str], AssetFile]) -> Iterator[Finding]:
    key = tuple(str(asset.data.get(name) or "") for name in ("database_uuid", "schema", "table_name"))
    first = mine.setdefault((key[0], key[1], key[2]), asset)
    if first is asset or first.uuid == asset.uuid:
        return
    yield finding(
        asset,
        "doubled_table",
        Severity.ERROR,
        ("table_name",),
        f"“{title_of(first)}” in {first.path} is on the same table, under another uuid.",
        "One of the two takes the place of the other, or the import fails: Superset holds one dataset a table.",
        "Asks which of them to bring, or brings the second as a query beside the first.",
    )
