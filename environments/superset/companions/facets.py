"""Owners, roles, tags, theme and embedding of assets. Superset replaces whole lists, so a write is the whole truth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from environments.canonical.companions import FACETS, Companion, CompanionKind, sorted_people
from environments.canonical.documents import Kind
from environments.superset.client import SupersetClient

from .objects import make_tag
from .reading import Adapter, CompanionId, Lookup, Reader, refuse


def _asset(companion: Companion, lookup: Lookup) -> tuple[Kind, int]:
    whose = companion.asset
    assert whose is not None, companion.kind
    return whose[0], lookup.asset(*whose)


def _set(
    client: SupersetClient, companion: Companion, existing: CompanionId | None, fields: Mapping[str, Any]
) -> None:
    whose = companion.asset
    assert whose is not None
    assert isinstance(existing, int)
    client.update(whose[0].value, existing, fields)


# -- owners ----------------------------------------------------------------------------------------


def _read_owners(reader: Reader) -> None:
    for kind in FACETS[CompanionKind.OWNERS]:
        for row in reader.rows(kind):
            if row.get("owners"):
                users = sorted_people(reader.persons(row["owners"]))
                reader.add(Companion.facet(CompanionKind.OWNERS, kind, row["uuid"], users=users), row["id"])


def _write_owners(
    client: SupersetClient, companion: Companion, existing: CompanionId | None, lookup: Lookup
) -> CompanionId:
    """A PUT of a dataset also sets its catalog to the connection's default where several are not allowed
    (superset-api.md 9.4), which is where a migration had put it.
    """
    kind, number = _asset(companion, lookup)
    client.update(kind.value, number, {"owners": lookup.users(companion.body["users"])})
    return number


def _delete_owners(client: SupersetClient, companion: Companion, existing: CompanionId) -> None:
    _set(client, companion, existing, {"owners": []})


# -- roles of dashboards ---------------------------------------------------------------------------


def _read_roles(reader: Reader) -> None:
    for row in reader.rows(Kind.DASHBOARD):
        if names := sorted({str(role["name"]) for role in row.get("roles") or ()}):
            facet = Companion.facet(CompanionKind.ROLES, Kind.DASHBOARD, row["uuid"], roles=names)
            reader.add(facet, row["id"])


def _write_roles(
    client: SupersetClient, companion: Companion, existing: CompanionId | None, lookup: Lookup
) -> CompanionId:
    kind, number = _asset(companion, lookup)
    client.update(kind.value, number, {"roles": lookup.role_ids(companion.body["roles"])})
    return number


def _delete_roles(client: SupersetClient, companion: Companion, existing: CompanionId) -> None:
    _set(client, companion, existing, {"roles": []})


# -- tags ------------------------------------------------------------------------------------------


def _read_tags(reader: Reader) -> None:
    for kind in FACETS[CompanionKind.TAGS]:
        for row in reader.rows(kind):
            # Type 1 are those that people made; Superset has "owner:1" and "type:chart" (superset/tags/models.py).
            names = {str(tag["name"]) for tag in row.get("tags") or () if tag.get("type") in (1, "custom")}
            if names:
                facet = Companion.facet(CompanionKind.TAGS, kind, row["uuid"], tags=sorted(names))
                reader.add(facet, row["id"])


def _write_tags(
    client: SupersetClient, companion: Companion, existing: CompanionId | None, lookup: Lookup
) -> CompanionId:
    kind, number = _asset(companion, lookup)
    tags = [
        lookup.row(CompanionKind.TAG, name) or make_tag(client, lookup, name)
        for name in companion.body["tags"]
    ]
    client.update(kind.value, number, {"tags": tags})
    return number


def _delete_tags(client: SupersetClient, companion: Companion, existing: CompanionId) -> None:
    _set(client, companion, existing, {"tags": []})


# -- themes of dashboards --------------------------------------------------------------------------


def _read_theme_use(reader: Reader) -> None:
    """What a dashboard itself says; Superset's own two themes are told by name."""
    themes = {
        row["id"]: row for row in reader.client.list_rows("theme", ("id", "uuid", "theme_name", "is_system"))
    }
    if not themes:
        return
    by_uuid = {str(theme["uuid"]).lower(): theme for theme in themes.values()}
    for row in reader.rows(Kind.DASHBOARD):
        uuid = str(row["uuid"]).lower()
        if uuid in reader.unmoved:  # a theme that was deleted since is no longer that of any dashboard
            theme = by_uuid.get(reader.unmoved[uuid] or "")
        else:
            theme = themes.get(reader.themes.get(row["id"], 0))
        if theme is not None:
            said = {
                "uuid": str(theme["uuid"]).lower(),
                "name": theme["theme_name"],
                "is_system": bool(theme.get("is_system")),
            }
            facet = Companion.facet(CompanionKind.THEME_USE, Kind.DASHBOARD, row["uuid"], theme=said)
            reader.add(facet, row["id"])


def _write_theme_use(
    client: SupersetClient, companion: Companion, existing: CompanionId | None, lookup: Lookup
) -> CompanionId:
    kind, number = _asset(companion, lookup)
    theme = companion.body["theme"]
    wanted = lookup.row(CompanionKind.THEME, str(theme["uuid"]))
    if wanted is None and theme.get("is_system"):  # every Superset makes its own, under a uuid of its own
        rows = client.list_rows("theme", ("id", "theme_name", "is_system"))
        wanted = next(
            (row["id"] for row in rows if row["theme_name"] == theme["name"] and row["is_system"]), None
        )
    if wanted is None:
        refuse(f"This Superset has no theme “{theme['name']}”. Nothing was written.", "unknown_theme")
    client.update(kind.value, number, {"theme_id": wanted})
    return number


def _delete_theme_use(client: SupersetClient, companion: Companion, existing: CompanionId) -> None:
    _set(client, companion, existing, {"theme_id": None})


# -- embedding -------------------------------------------------------------------------------------


def _read_embedded(reader: Reader) -> None:
    """One request per dashboard: no list tells which are embedded (4.1.4 to 6.1.0)."""
    rows = reader.rows(Kind.DASHBOARD)
    answers = reader.client.get_each((f"dashboard/{row['id']}", "embedded") for row in rows)
    for row, found in zip(rows, answers, strict=True):
        if found is None:
            continue
        domains = sorted(str(domain) for domain in found.get("allowed_domains") or ())
        facet = Companion.facet(CompanionKind.EMBEDDED, Kind.DASHBOARD, row["uuid"], allowed_domains=domains)
        reader.add(facet, str(found["uuid"]))


def _write_embedded(
    client: SupersetClient, companion: Companion, existing: CompanionId | None, lookup: Lookup
) -> CompanionId:
    """Superset chooses the uuid that the embedding page must name, and keeps it when written again (L4.1 L6.1)."""
    _, number = _asset(companion, lookup)
    fields = {"allowed_domains": list(companion.body["allowed_domains"])}
    said = client.update(f"dashboard/{number}", "embedded", fields)
    return str((said if "uuid" in said else client.get(f"dashboard/{number}", "embedded")).get("uuid") or "")


def _delete_embedded(client: SupersetClient, companion: Companion, existing: CompanionId) -> None:
    whose = companion.asset
    assert whose is not None
    client.delete(f"dashboard/{whose[1]}", "embedded")  # a dashboard is found by its uuid too (L4.1 L6.1)


OWNERS = Adapter(_read_owners, _write_owners, _delete_owners)
ROLES = Adapter(_read_roles, _write_roles, _delete_roles)
TAGS = Adapter(_read_tags, _write_tags, _delete_tags)
THEME_USE = Adapter(_read_theme_use, _write_theme_use, _delete_theme_use)
EMBEDDED = Adapter(_read_embedded, _write_embedded, _delete_embedded)
