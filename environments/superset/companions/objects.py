"""Tags, CSS templates, themes and saved queries: objects that stand by themselves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from environments.canonical.companions import Companion, CompanionKind
from environments.canonical.documents import Kind
from environments.superset.bundle import Bundle, stub_database
from environments.superset.client import SupersetClient
from environments.superset.errors import SupersetRefused
from environments.superset.versions import version_tuple

from .reading import Adapter, CompanionId, Lookup, Reader, parsed, refuse

# -- tags ------------------------------------------------------------------------------------------


def make_tag(client: SupersetClient, lookup: Lookup, name: str, description: str | None = None) -> int:
    """The id of a tag that is made, or described anew. The answer tells no id, so the list is read.

    Not by POST or PUT of a tag: both take it from everything that carries it and is not named along (TagDAO.
    create_tag_relationship, S4.1 S6.1). Making many at once never does.
    """
    tag: dict[str, Any] = {"name": name, "objects_to_tag": []}
    client.post("tag/bulk_create", {"tags": [tag | ({"description": description} if description else {})]})
    number = lookup.row(CompanionKind.TAG, name)
    if number is None:
        refuse(f"Superset took the tag “{name}” and does not show it.", "conflict")
    return number


def _read_tags(reader: Reader) -> None:
    """With a selection only those that its charts and dashboards carry."""
    used: set[str] | None = None
    if reader.assets is not None:
        rows = [*reader.rows(Kind.CHART), *reader.rows(Kind.DASHBOARD)]
        used = {str(tag["name"]) for row in rows for tag in row.get("tags") or ()}
    for row in reader.client.list_rows("tag", ("id", "name", "description", "type")):
        if row.get("type") in (1, "custom") and (used is None or row["name"] in used):
            body = {"name": str(row["name"]), "description": row.get("description") or None}
            reader.add(Companion.of(CompanionKind.TAG, body), row["id"])


def _write_tag(
    client: SupersetClient, companion: Companion, existing: CompanionId | None, lookup: Lookup
) -> CompanionId:
    return make_tag(client, lookup, companion.body["name"], companion.body["description"])


# -- CSS templates ---------------------------------------------------------------------------------


def _read_css(reader: Reader) -> None:
    """Belongs to no asset, so with a selection there are none: dashboards carry their CSS themselves."""
    if reader.assets is not None:
        return
    for row in reader.client.list_rows("css_template", ("id", "template_name", "css")):
        body = {"name": str(row.get("template_name") or ""), "css": row.get("css") or ""}
        reader.add(Companion.of(CompanionKind.CSS_TEMPLATE, body), row["id"])


def _write_css(
    client: SupersetClient, companion: Companion, existing: CompanionId | None, lookup: Lookup
) -> CompanionId:
    fields = {"template_name": companion.body["name"], "css": companion.body["css"]}
    if existing is None:
        return client.create("css_template", fields)
    client.update("css_template", existing, fields)
    return existing


# -- themes ----------------------------------------------------------------------------------------


def _read_themes(reader: Reader) -> None:
    """Without Superset's own two: every Superset has them, as it is configured."""
    columns = ("id", "uuid", "theme_name", "json_data", "is_system")
    rows = [row for row in reader.client.list_rows("theme", columns) if not row.get("is_system")]
    if rows and reader.assets is not None:
        rows = [row for row in rows if row["id"] in reader.themes.values()]
    for row in rows:
        body = {
            "uuid": str(row["uuid"]).lower(),
            "name": str(row.get("theme_name") or ""),
            "json_data": parsed(row.get("json_data")),
        }
        reader.add(Companion.of(CompanionKind.THEME, body), row["id"])


def _write_theme(
    client: SupersetClient, companion: Companion, existing: CompanionId | None, lookup: Lookup
) -> CompanionId:
    """A new one comes by import, because a POST gives it another uuid."""
    body = companion.body
    if existing is not None:
        fields = {"theme_name": body["name"], "json_data": json.dumps(body["json_data"], ensure_ascii=False)}
        client.update("theme", existing, fields)
        return existing
    data = {
        "theme_name": body["name"],
        "json_data": body["json_data"],
        "uuid": body["uuid"],
        "version": "1.0.0",
    }
    client.import_themes(Bundle.from_assets("theme", [("theme", body["uuid"], data)]), overwrite=False)
    number = lookup.row(CompanionKind.THEME, body["uuid"])
    if number is None:
        refuse(f"Superset took the theme “{body['name']}” and does not show it.", "conflict")
    return number


# -- saved queries ---------------------------------------------------------------------------------


def _read_queries(reader: Reader) -> None:
    """Each is exported alone: no list has their uuids, and files of equal labels are one (superset-api.md 6.4).
    Superset shows an account its own ones only, Admins too.
    """
    for row in reader.client.list_rows("saved_query", ("id", "db_id", "database.id")):
        database = reader.uuid_of(Kind.DATABASE, row.get("db_id"))
        if database is None or not reader.matters([database]):
            continue
        try:
            files = reader.client.export_saved_query(row["id"]).other
        except SupersetRefused as exc:
            if exc.code != "not_found":
                raise
            continue  # deleted meanwhile
        for path, data in files.items():
            if not path.startswith("queries/"):
                continue
            reader.add(Companion.of(CompanionKind.SAVED_QUERY, saved_query_body(data, database)), row["id"])


def saved_query_body(data: Mapping[str, Any], database: str) -> dict[str, Any]:
    """The body of a saved query from its file in an export (queries/*.yaml, parsed). `database`: the uuid of its
    connection.
    """
    return {
        "uuid": str(data["uuid"]).lower(),
        "label": str(data.get("label") or ""),
        "description": data.get("description") or None,
        "sql": str(data.get("sql") or ""),
        "catalog": data.get("catalog") or None,
        "schema": data.get("schema") or None,
        "database": database,
    }


def _write_query(
    client: SupersetClient, companion: Companion, existing: CompanionId | None, lookup: Lookup
) -> CompanionId:
    body = companion.body
    database = str(body["database"])
    number = lookup.asset(Kind.DATABASE, database)
    if existing is not None:
        fields = {name: body[name] for name in ("label", "description", "sql", "catalog", "schema")}
        client.update("saved_query", existing, {**fields, "db_id": number})
        return existing
    data: dict[str, Any] = {name: body[name] for name in ("label", "description", "sql", "schema", "uuid")}
    data |= {"description": body["description"] or "", "version": "1.0.0", "database_uuid": database}
    if version_tuple(client.capabilities.version) >= (5, 0, 0) or client.capabilities.themes:
        data["catalog"] = body["catalog"]  # 4.1 exports it and refuses it in an import (L4.1)
    name = next((row.name for row in client.list_databases() if row.id == number), "database")
    bundle = Bundle.from_assets("saved_query", [stub_database(database, name)])
    bundle.other[f"queries/{body['uuid']}.yaml"] = data
    before = {row["id"] for row in client.list_rows("saved_query", ("id",))}
    # An import finds a query by its uuid among those of all users: one that is not ours to see is not ours to replace.
    client.import_saved_queries(bundle, overwrite=False)
    made = [row["id"] for row in client.list_rows("saved_query", ("id",)) if row["id"] not in before]
    if len(made) != 1:
        refuse(f"Superset took the saved query “{body['label']}” and does not show it.", "conflict")
    return int(made[0])


def _remover(resource: str) -> Any:
    def delete(client: SupersetClient, companion: Companion, existing: CompanionId) -> None:
        client.delete(resource, existing)

    return delete


TAG = Adapter(_read_tags, _write_tag, _remover("tag"))
CSS_TEMPLATE = Adapter(_read_css, _write_css, _remover("css_template"))
THEME = Adapter(_read_themes, _write_theme, _remover("theme"))
SAVED_QUERY = Adapter(_read_queries, _write_query, _remover("saved_query"))
