"""Unrelated assets of the target that an import would take over, and what can be done about each.

Superset matches an import by uuid or by natural key (import_from_dict in superset/models/helpers.py, 4.1.4 to
6.1.0): a dashboard that owns the slug and a dataset on the same database, schema and table are overwritten,
uuid included, even without overwrite.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
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
    ACCEPTED = "accepted"
    IN_USE = "in_use"
    TWO_TRUTHS = "two_truths"
    BESIDE_DRIFTED = "beside_drifted"  # of what goes with an asset
    BESIDE_DIVERGED = "beside_diverged"


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


def natural_key_conflicts(
    wanted: Mapping[str, Document], target: Documents, left_out: Collection[str] = ()
) -> dict[str, Conflict]:
    """Conflicts by the key of `wanted` (source uuids). `wanted` is in the target's terms; what is left out is in
    nobody's way.
    """
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
    seen: dict[tuple[str, str], list[Document]] = {}
    seen_slugs: dict[str, Document] = {}
    becoming: dict[str, str] = {}  # target uuid -> the source's
    for uuid in sorted(wanted, key=lambda uuid: (uuid in left_out, uuid)):
        document = wanted[uuid]
        if uuid not in left_out and becoming.setdefault(document.uuid, uuid) != uuid:
            first = wanted[becoming[document.uuid]]
            found[uuid] = Conflict(
                ConflictCode.DOUBLED,
                f"Is paired with the same {document.kind.value} of the target as “{first.title}” of this plan: one of "
                "the two would be lost.",
                ("leave_out",) if document.kind == Kind.CHART else ("rename", "leave_out"),
                first.uuid,
                first.title,
            )
        elif document.kind == Kind.DASHBOARD and document.body.get("slug"):
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
            else:
                namesake = seen_slugs.get(str(document.body["slug"]), document)
                if uuid not in left_out:
                    seen_slugs.setdefault(str(document.body["slug"]), document)
                if namesake.uuid != document.uuid:
                    found[uuid] = Conflict(
                        ConflictCode.DOUBLED,
                        f"Has the slug of “{namesake.title}” of this plan, “{document.body['slug']}”: an import would "
                        "write one over the other.",
                        ("rename", "leave_out"),
                        namesake.uuid,
                        namesake.title,
                    )
        elif document.kind == Kind.DATASET:
            others = [
                other
                for other in tables.get(_table_key(document), [])
                if other.uuid != document.uuid and _may_match(document, other, document.uuid in target)
            ]
            if others:
                found[uuid] = _table_conflict(document, others, document.uuid in target)
                continue
            here = seen.setdefault(_table_key(document), [])
            beside = next((item for item in here if _may_match(document, item, False)), None)
            if beside is not None:
                found[uuid] = Conflict(
                    ConflictCode.DOUBLED,
                    f"Would land on the same table as “{beside.title}” of this plan ({_full_name(document)}); "
                    "the target holds one dataset a table.",
                    ("rename", "leave_out"),
                    beside.uuid,
                    beside.title,
                )
            elif uuid not in left_out:
                here.append(document)
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


def renamed(
    document: Document, name: str, target: Documents, others: Collection[Document] = ()
) -> dict[str, Any]:
    """The fields that bring a document beside the one that is in its way: another slug; another name, and for a dataset
    on a table a query that reads the same table, because the target holds one dataset a table. A name that is made up
    is neither on the target nor among `others`.
    """
    around = [item for item in (*target.values(), *others) if item.kind == document.kind]
    if document.kind == Kind.DASHBOARD:
        taken = {str(item.body.get("slug")) for item in around}
        return {"slug": name or _free(str(document.body["slug"]), taken, "-")}
    taken = {str(item.body.get("table_name")) for item in around}
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


def _may_match(document: Document, other: Document, exists: bool) -> bool:
    """Whether an import of `document` would hit `other` by its table. A null schema of ours matches any schema in the
    importer's eyes; one of theirs only null. It is most likely the same table even so, which matters as long as ours
    is not beside it already.
    """
    ours, theirs = document.body.get("schema"), other.body.get("schema")
    return ours is None or ours == theirs or (theirs is None and not exists)


def _full_name(document: Document) -> str:
    return ".".join(
        str(part) for part in (document.body.get("schema"), document.body.get("table_name")) if part
    )
