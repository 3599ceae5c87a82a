"""From what somebody uploads, or a folder, to a tree and to canonical documents. Nothing is kept here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from environments.canonical.companions import Companion, CompanionKind
from environments.canonical.documents import Document, Kind, Note
from environments.canonical.ids import IdTable
from environments.canonical.reading import read_assets
from environments.canonical.secrets import find_secrets, without_secrets
from environments.superset.archives import archive_files
from environments.superset.bundle import RawAsset
from environments.superset.companions.objects import saved_query_body
from environments.superset.errors import SupersetRefused
from environments.superset.trees import SUPERSET, Tree, layout_ids, layout_uuids, read_tree
from migrations_app.engine.auditing.files import FIELDS
from sstools.errors import Invalid

from .rendering import read_values, render_files

MAX_BYTES = 10 * 2**20  # of the file; an export of 1,000 charts has 600 KB
#: Read while somebody waits: some three seconds at most. An estate beyond that is better registered as an environment.
MAX_UNPACKED_BYTES = 16 * 2**20
#: What Superset makes of a field that a file does not have (connectors/sqla/models.py and models/dashboard.py, the same
#: in 4.1.4 and 6.1.0). Exports have them all; files that people write do not, and are what they become.
_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    Kind.DASHBOARD: {"published": False},
    Kind.DATASET: {
        "offset": 0,
        "filter_select_enabled": True,
        "normalize_columns": False,
        "always_filter_main_dttm": False,
    },
}
_COLUMN_DEFAULTS = {"is_active": True, "groupby": True, "filterable": True, "is_dttm": False}


@dataclass(frozen=True)
class TreeReading:
    """Documents by uuid as far as the tree has them, its saved queries, and what there is to say about them."""

    tree: Tree
    documents: Mapping[str, Document]
    notes: tuple[Note, ...]
    queries: tuple[Companion, ...] = ()


def tree_of(data: bytes, values: bytes | None = None) -> Tree:
    """What an uploaded file holds: a ZIP, tar or tar.gz. With `values` its templates are rendered.

    Raises Invalid("too_large", "bundle_invalid", "values_invalid", "template_failed").
    """
    if len(data) > MAX_BYTES:
        raise Invalid(
            f"The file is larger than {MAX_BYTES // 2**20} MiB.",
            code="too_large",
            remedy="Export fewer dashboards at once, or register the Superset as an environment.",
            errors={"file": [f"At most {MAX_BYTES // 2**20} MiB."]},
        )
    try:
        files = archive_files(data, max_total_bytes=MAX_UNPACKED_BYTES)
        if values is not None:
            files = render_files(files, read_values(values), most_bytes=MAX_UNPACKED_BYTES)
        return read_tree(files, rendered=values is not None)
    except SupersetRefused as refused:
        raise _refused(refused.message, refused.code) from None


def documents_of(tree: Tree, ids: IdTable | None = None, base_url: str = "") -> TreeReading:
    """The documents of a tree, without secrets. `ids` and `base_url`: of the environment that it was exported from, if
    that is known.

    Raises Invalid("bundle_invalid") for a tree of which nobody can say what it means: files that cannot be read, one
    uuid in several files.
    """
    if tree.problems:
        problem = tree.problems[0]
        line = f", line {problem.line}" if problem.line else ""
        more = f" {len(tree.problems) - 1} more files are not right either." if len(tree.problems) > 1 else ""
        raise _refused(f"{problem.path}{line}: {problem.text}.{more}")
    for uuid, assets in tree.doubled().items():
        paths = " and ".join(asset.path for asset in assets[:3])
        raise _refused(f"{paths} have the same uuid, {uuid}.")
    notes: list[Note] = []
    assets = [_cleaned(asset, notes) for asset in tree.assets]
    named = [
        (Kind(asset.kind), asset.source_id, asset.uuid)
        for asset in assets
        if asset.source_id is not None and asset.kind in FIELDS
    ]
    known = IdTable([*named, *(ids or ())])
    boards = [asset for asset in assets if asset.kind == Kind.DASHBOARD]
    shown = frozenset(uuid for board in boards for uuid in layout_uuids(board.data))
    # A part of an estate: what its layouts show and it does not hold may well be on the target.
    charts = frozenset() if tree.shape == SUPERSET else shown
    reading = read_assets([asset for asset in assets if asset.kind != Kind.DASHBOARD], known, base_url)
    documents = dict(reading.documents)
    notes += reading.notes
    mine = frozenset(uuid for uuid, document in documents.items() if document.kind == Kind.CHART)
    for board in boards:
        # Each with the ids of its own layout: dashboards of several instances may lie side by side.
        own = IdTable(
            [*reading.ids, *((Kind.CHART, number, uuid) for number, uuid in layout_ids(board.data))]
        )
        found = read_assets(
            [board], reading.ids if tree.trusts_names else own, base_url, charts=charts | mine
        )
        documents |= found.documents
        notes += found.notes
    return TreeReading(tree, documents, tuple(notes), _queries_of(tree))


def _queries_of(tree: Tree) -> tuple[Companion, ...]:
    """The saved queries of a tree. Raises Invalid("bundle_invalid") for one without a uuid of its own or without its
    connection: nothing could say later which one it is.
    """
    found: dict[str, tuple[str, Companion]] = {}
    for path, data in tree.queries:
        for name in ("uuid", "database_uuid"):
            try:
                UUID(str(data.get(name)))
            except ValueError:
                raise _refused(f"{path}: the saved query has no “{name}” that is one.") from None
        body = saved_query_body(data, str(UUID(str(data["database_uuid"]))))
        query = Companion.of(CompanionKind.SAVED_QUERY, body)
        first, known = found.setdefault(query.uuid, (path, query))
        if known != query:
            raise _refused(f"{first} and {path} have the same uuid, {query.body['uuid']}.")
    return tuple(query for _, query in found.values())


def _cleaned(asset: RawAsset, notes: list[Note]) -> RawAsset:
    """The asset without secrets and without what no version takes."""
    data: dict[str, Any] = asset.data
    for keys in find_secrets(asset.kind, data):
        text = "A secret in clear was masked; it is kept nowhere. Change it, as whoever has the file has it."
        notes.append(Note("secret_masked", asset.uuid, text, ".".join(map(str, keys))))
    data = without_secrets(asset.kind, data)
    if asset.kind in FIELDS:
        for name in sorted(set(data) - FIELDS[asset.kind]):
            text = f"“{name}” is no field of a {asset.kind} in any tested version; left out."
            notes.append(Note("unknown_field", asset.uuid, text, name))
            del data[name]
    return replace(asset, data=_completed(asset.kind, data))


def _completed(kind: str, data: dict[str, Any]) -> dict[str, Any]:
    """The asset with the fields that an import would fill in."""
    whole = {**_DEFAULTS.get(kind, {}), **data}
    if kind == Kind.DATASET and isinstance(columns := data.get("columns"), list):
        whole["columns"] = [
            {**_COLUMN_DEFAULTS, **column} if isinstance(column, dict) else column for column in columns
        ]
    return whole


def _refused(text: str, code: str = "bundle_invalid") -> Invalid:
    return Invalid(
        f"This file cannot be read: {text}",
        code=code,
        remedy="Give a ZIP that Superset exported, or a ZIP or tar.gz of a tree of preset-cli or ol-superset; with a "
        "file of values where its files are templates.",
        errors={"file": [text]},
    )
