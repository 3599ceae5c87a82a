"""Unrelated assets of the target that an import would take over, and what can be done about each.

Superset matches an import by uuid or by natural key (import_from_dict in superset/models/helpers.py, 4.1.4
to 6.1.0): a dashboard
that owns the slug and a dataset on the same database, schema and table are overwritten, uuid included,
even without overwrite.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from environments.canonical.documents import Document, Documents, Kind


class ConflictCode(StrEnum):
    SLUG_TAKEN = "slug_taken"
    TABLE_TAKEN = "table_taken"
    DOUBLED = "doubled"
    DRIFTED = "drifted"
    DIVERGED = "diverged"
    IN_USE = "in_use"


@dataclass(frozen=True)
class Conflict:
    """Why an asset cannot simply be written; `options` are the answers (`plan.Answer` values) that settle it."""

    code: ConflictCode
    text: str
    options: tuple[str, ...]
    other_uuid: str = ""
    other_title: str = ""
    who: str = ""
    when: str = ""


def natural_key_conflicts(wanted: Mapping[str, Document], target: Documents) -> dict[str, Conflict]:
    """Conflicts by the key of `wanted` (source uuids). `wanted` is in the target's terms."""
    slugs = {
        str(item.body["slug"]): item
        for item in target.values()
        if item.kind == Kind.DASHBOARD and item.body.get("slug")
    }
    tables: dict[tuple[str, str], list[Document]] = {}
    for item in target.values():
        if item.kind == Kind.DATASET:
            tables.setdefault(_table_key(item), []).append(item)
    found: dict[str, Conflict] = {}
    seen: dict[tuple[Any, ...], tuple[str, Document]] = {}
    for uuid in sorted(wanted):
        document = wanted[uuid]
        if document.kind == Kind.DASHBOARD and document.body.get("slug"):
            other = slugs.get(str(document.body["slug"]))
            if other is not None and other.uuid != document.uuid:
                found[uuid] = Conflict(
                    ConflictCode.SLUG_TAKEN,
                    f"The slug “{document.body['slug']}” belongs to another dashboard of the target, “{other.title}”. "
                    "An import would overwrite that one.",
                    ("leave_out", "rename") if document.uuid in target else ("adopt", "rename", "leave_out"),
                    other.uuid,
                    other.title,
                )
        elif document.kind == Kind.DATASET:
            # A null schema matches any schema in the importer's eyes, so it does in ours.
            others = [
                other
                for other in tables.get(_table_key(document), [])
                if other.uuid != document.uuid
                and _may_match(other.body.get("schema"), document.body.get("schema"))
            ]
            if others:
                found[uuid] = _table_conflict(document, others, document.uuid in target)
                continue
            key = (*_table_key(document), document.body.get("schema"))
            if key in seen:
                _, first = seen[key]
                found[uuid] = Conflict(
                    ConflictCode.DOUBLED,
                    f"Would land on the same table as “{first.title}” of this plan "
                    f"({_full_name(document)}); the target holds one dataset a table.",
                    ("rename", "leave_out"),
                    first.uuid,
                    first.title,
                )
            else:
                seen[key] = (uuid, document)
    return found


def _table_conflict(document: Document, others: list[Document], exists: bool) -> Conflict:
    other = others[0]
    what = f"The target has another dataset on {_full_name(document)}, “{other.title}”."
    if exists:
        return Conflict(
            ConflictCode.TABLE_TAKEN,
            f"{what} Beside it the target also has this one: an import would answer OK and write nothing.",
            ("rename", "leave_out"),
            other.uuid,
            other.title,
        )
    return Conflict(
        ConflictCode.TABLE_TAKEN,
        f"{what} An import would overwrite it and give it another uuid.",
        ("adopt", "keep", "rename", "leave_out"),
        other.uuid,
        other.title,
    )


def renamed(document: Document, name: str, target: Documents) -> dict[str, Any]:
    """The fields that bring a document beside the one that is in its way: another slug; another name, and
    for a dataset on a
    table a query that reads the same table, because the target holds one dataset a table."""
    if document.kind == Kind.DASHBOARD:
        taken = {str(item.body.get("slug")) for item in target.values() if item.kind == Kind.DASHBOARD}
        return {"slug": name or _free(str(document.body["slug"]), taken, "-")}
    taken = {str(item.body.get("table_name")) for item in target.values() if item.kind == Kind.DATASET}
    new_name = name or _free(str(document.body["table_name"]), taken, "_")
    if document.body.get("sql"):
        return {"table_name": new_name}
    table = ".".join(
        _quoted(part) for part in (document.body.get("schema"), document.body["table_name"]) if part
    )
    return {"table_name": new_name, "sql": f"SELECT * FROM {table}"}  # noqa: S608  names are quoted, and people read it first


def _free(name: str, taken: set[str], separator: str) -> str:
    number = 2
    while f"{name}{separator}{number}" in taken:
        number += 1
    return f"{name}{separator}{number}"


def _quoted(name: str) -> str:
    # Standard SQL quoting; a plain lower-case name needs none on any engine.
    return name if re.fullmatch(r"[a-z_][a-z0-9_]*", name) else '"' + name.replace('"', '""') + '"'


def _table_key(document: Document) -> tuple[str, str]:
    return str(document.body.get("database_uuid")), str(document.body.get("table_name"))


def _may_match(one: object, other: object) -> bool:
    return one is None or other is None or one == other


def _full_name(document: Document) -> str:
    return ".".join(
        str(part) for part in (document.body.get("schema"), document.body.get("table_name")) if part
    )
