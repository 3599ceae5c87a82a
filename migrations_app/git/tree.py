"""The tree of files in which assets are kept in git: canonical documents, one file each, made to be reviewed.

::

    ss-tools.yaml                       what this is: the format and its number
    README.md                           the same for people
    dashboards/sales_1f0c2d3e.yaml      slug or title, and the beginning of the uuid; never an id
    charts/revenue_by_month_0a1b2c3d.yaml
    datasets/sales_fact_77aa88bb.yaml
    datasets/sales_fact_77aa88bb.sql    of a virtual dataset, beside its file
    databases/dwh_55cc66dd.yaml         without secrets

Nothing in it changes by itself: no dates, no ids, no order of reading. A file keeps its name when its asset is renamed,
so that its history goes on; names beside uuids are comments.

Pure: files are texts by path, wherever they are.
"""

from __future__ import annotations

import posixpath
import re
import unicodedata
from collections import ChainMap, Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from environments.canonical.documents import Document, Kind, Note
from environments.canonical.ids import IdTable
from environments.canonical.reading import read_assets
from environments.canonical.references import references
from environments.canonical.rendering import render
from environments.canonical.secrets import find_secrets, without_secrets
from environments.superset.bundle import RawAsset
from environments.superset.errors import SupersetRefused
from environments.superset.trees import FileProblem
from environments.superset.yaml_text import YamlReader

from .yaml_files import NotWritable, name_in_comment, to_yaml

FORMAT = 1
MANIFEST, README = "ss-tools.yaml", "README.md"
SQL_FILE = "sql_file"  # of a dataset's file: what its SQL is called, which stands in the same folder
_STEM = (
    60  # characters of a file's name before the uuid; UTF-8 has up to 4 bytes for each, file systems take 255
)
_FIRST = {
    Kind.DATABASE: ("database_name",),
    Kind.DATASET: ("table_name", "schema", "catalog", "database_uuid"),
    Kind.CHART: ("slice_name", "viz_type", "dataset_uuid"),
    Kind.DASHBOARD: ("dashboard_title", "slug"),
}
#: An address that no Superset has: links to the instance itself pass through it while a document is proven.
_NOWHERE = "https://superset.invalid"
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_README = """# Superset assets, kept by ss-tools

One file for each dashboard, chart, dataset and database connection. They hold what the assets *are*: no ids of
an instance, no times, no passwords. Names behind `#` are for readers and mean nothing; the SQL of virtual
datasets is in `.sql` files beside.

These files are compared with, and brought to, a Superset by ss-tools (`git:<repository>@<branch>`); Superset
itself does not import them. Names of files may be changed, uuids may not: the uuid is what an asset is known by.
"""


@dataclass(frozen=True)
class Written:
    """`files`: content by path; `paths`: the YAML file of each uuid; `problems`: what no file can hold."""

    files: Mapping[str, bytes]
    paths: Mapping[str, str]
    problems: tuple[Note, ...] = ()


@dataclass(frozen=True)
class Found:
    """What a tree holds. `paths`: the YAML file of each uuid. `problems`: files that cannot be read; then `documents`
    is not all of it.
    """

    documents: Mapping[str, Document]
    paths: Mapping[str, str]
    notes: tuple[Note, ...] = ()
    problems: tuple[FileProblem, ...] = field(default=())


# --- Writing ----------------------------------------------------------------------------------------------------------


def header_files() -> dict[str, bytes]:
    """What a tree has beside its assets. Written where it is not there: people may say more in a README."""
    manifest = (
        f"# What this folder is, so that ss-tools can read it.\nformat: {FORMAT}\nkind: ss-tools assets\n"
    )
    return {MANIFEST: manifest.encode(), README: _README.encode()}


def write_documents(
    documents: Iterable[Document], *, names: Mapping[str, str], paths: Mapping[str, str] | None = None
) -> Written:
    """The files of documents. `names`: what is called how, for the comments. `paths`: the YAML files that a tree has
    already, by uuid; an asset stays in its file.
    """
    known = dict(paths or {})
    documents = sorted(documents, key=lambda one: (one.kind.value, one.uuid))
    taken = Counter(path.casefold() for path in known.values())
    fresh = {one.uuid: _path(one, one.uuid[:8]) for one in documents if one.uuid not in known}
    taken.update(path.casefold() for path in fresh.values())
    files: dict[str, bytes] = {}
    problems: list[Note] = []
    written: dict[str, str] = {}
    for one in documents:
        path = known.get(one.uuid) or fresh[one.uuid]
        if one.uuid in fresh and taken[path.casefold()] > 1:
            path = _path(one, one.uuid)
        try:
            files |= _files_of(one, path, names)
        except NotWritable as error:
            problems.append(
                Note("not_writable", one.uuid, f"{one.title} cannot be written to a file. {error}")
            )
            continue
        written[one.uuid] = path
    return Written(files, written, tuple(problems))


def _files_of(document: Document, path: str, names: Mapping[str, str]) -> dict[str, bytes]:
    body = dict(document.body)
    files: dict[str, bytes] = {}
    sql = body.get("sql")
    if document.kind == Kind.DATASET and isinstance(sql, str) and sql and _fits_a_file(sql):
        beside = posixpath.splitext(path)[0] + ".sql"
        files[beside] = (sql + "\n").encode()
        del body["sql"]
        body[SQL_FILE] = posixpath.basename(beside)
    first = [name for name in _FIRST[document.kind] if name in body]
    ordered = {"uuid": document.uuid, **{name: body[name] for name in first}}
    ordered |= {name: _sorted(body[name]) for name in sorted(body) if name not in first}
    # Its own name stands in the next line.
    return {
        path: to_yaml(ordered, ChainMap({document.uuid: ""}, cast("dict[str, str]", names))).encode(),
        **files,
    }


def _fits_a_file(text: str) -> bool:
    """Editors and git change the ends of lines that are not plain newlines, and what is no text is shown by nobody."""
    return not re.search("[\0-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff]", text)


def _sorted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _sorted(value[key]) for key in sorted(value)}
    if isinstance(value, (list, tuple)):
        return [_sorted(item) for item in value]
    return value


def _path(document: Document, tail: str) -> str:
    name = str(document.body.get("slug") or "") if document.kind == Kind.DASHBOARD else ""
    return f"{document.kind.plural}/{stem_of(name or document.title)}_{tail}.yaml"


def stem_of(name: str) -> str:
    """A name as part of a file's name: letters and digits of any script in lower case, the rest underscores."""
    text = unicodedata.normalize("NFC", unicodedata.normalize("NFKC", name).casefold())
    words = re.sub(r"[\W_]+", "_", text.encode("utf-8", "ignore").decode()).strip("_")
    return words[:_STEM].strip("_") or "unnamed"


def names_of(documents: Iterable[Document]) -> dict[str, str]:
    """uuid -> name, as comments have it."""
    return {one.uuid: name_in_comment(one.title) for one in documents if one.title != one.uuid}


# --- Reading ----------------------------------------------------------------------------------------------------------


def is_own(files: Mapping[str, bytes]) -> bool:
    """Whether a tree is one of these: its manifest says so."""
    return MANIFEST in files


def read_documents(files: Mapping[str, bytes]) -> Found:
    """The documents of a tree of these. What people changed by hand is brought into canonical form again: lists in
    order, secrets masked, what no Superset takes left out with a note.

    Raises SupersetRefused(bundle_invalid) for a manifest of another kind or of a later format.
    """
    reader = YamlReader()
    _check_manifest(reader, files[MANIFEST])
    problems: list[FileProblem] = []
    found: dict[str, Document] = {}
    paths: dict[str, str] = {}
    for path in sorted(files):
        kind = _kind_of(path)
        if kind is None:
            continue
        try:
            document = _document(reader.read(files[path], path), kind, path, files)
        except SupersetRefused as refused:
            text = str(refused.detail.get(path) or refused.message)
            line = re.search(r"in line (\d+)", text)
            problems.append(FileProblem(path, text, int(line[1]) if line else 0))
            continue
        except ValueError as error:
            problems.append(FileProblem(path, str(error)))
            continue
        if (other := paths.get(document.uuid)) is not None:
            problems.append(FileProblem(path, f"{other} has the same uuid"))
            continue
        found[document.uuid], paths[document.uuid] = document, path
    documents, notes, damaged = _proven(found)
    problems += [FileProblem(paths[note.uuid], note.text) for note in damaged]
    return Found(documents, paths, notes, tuple(problems))


def _check_manifest(reader: YamlReader, content: bytes) -> None:
    data = reader.read(content, MANIFEST)
    number = data.get("format")
    if data.get("kind") != "ss-tools assets" or not isinstance(number, int) or isinstance(number, bool):
        raise SupersetRefused(
            f"{MANIFEST} does not say that this is a tree of ss-tools.", code="bundle_invalid"
        )
    if number > FORMAT:
        raise SupersetRefused(
            f"{MANIFEST} has format {number}, and this ss-tools knows {FORMAT}: a newer one wrote it.",
            code="bundle_invalid",
        )


_FOLDERS = {kind.plural: kind for kind in Kind}


def _kind_of(path: str) -> Kind | None:
    folder, _, name = path.partition("/")
    if "/" in name or name.startswith((".", "_")) or not name.lower().endswith((".yaml", ".yml")):
        return None
    return _FOLDERS.get(folder)


def _document(data: dict[str, Any], kind: Kind, path: str, files: Mapping[str, bytes]) -> Document:
    """Raises ValueError, with what is wrong with the file."""
    uuid = data.pop("uuid", None)
    if not isinstance(uuid, str) or not _UUID.fullmatch(uuid):
        raise ValueError("has no uuid" if uuid is None else "its uuid is not one")
    if kind == Kind.DATASET and SQL_FILE in data:
        name = data.pop(SQL_FILE)
        # Its name may be changed; that it leads elsewhere may not.
        beside = posixpath.join(posixpath.dirname(path), str(name))
        if not isinstance(name, str) or "/" in name or beside not in files:
            raise ValueError(f"its {SQL_FILE} is not there")
        try:
            data["sql"] = files[beside].decode().replace("\r\n", "\n").removesuffix("\n")
        except UnicodeDecodeError:
            raise ValueError(f"its {SQL_FILE} is not UTF-8 text") from None
        if "\0" in data["sql"]:
            raise ValueError(f"its {SQL_FILE} is not text")
    for name, wanted in _TYPES[kind].items():
        if not isinstance(data.get(name), wanted):
            raise ValueError(f"“{name}” is missing, or not what it should be")
    return Document(kind, uuid, data)


_TYPES: Mapping[Kind, Mapping[str, Any]] = {
    Kind.DATABASE: {"database_name": str},
    Kind.DATASET: {"table_name": str, "columns": list, "metrics": list},
    Kind.CHART: {"slice_name": str, "viz_type": str, "params": dict},
    Kind.DASHBOARD: {"dashboard_title": str, "position": dict, "metadata": dict},
}


def _proven(documents: Mapping[str, Document]) -> tuple[dict[str, Document], tuple[Note, ...], list[Note]]:
    """Documents as an instance that imported them would show them: (documents, notes, notes of what cannot be read).

    What ss-tools wrote comes back as it was; what somebody edited gets the form in which equal things are equal.
    """
    notes: list[Note] = []
    damaged: list[Note] = []
    named: dict[tuple[Kind, str], None] = {(one.kind, one.uuid): None for one in documents.values()}
    raw: list[RawAsset] = []
    usable: list[Document] = []
    for one in documents.values():
        try:
            named |= {(reference.kind, reference.uuid): None for reference in references(one)}
            usable.append(one)
        except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
            damaged.append(_unreadable(one, error))
    ids = IdTable((kind, number, uuid) for number, (kind, uuid) in enumerate(named, start=1))
    for one in usable:
        try:
            if one.kind == Kind.DATABASE:
                data = {**one.body, "uuid": one.uuid}
            else:
                data = dict(render([one], ids, _NOWHERE)[0].data)
        except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
            damaged.append(_unreadable(one, error))
            continue
        raw.append(RawAsset(one.kind.value, one.uuid, one.uuid, _without_secrets(one, data, notes), None))
    charts = frozenset(uuid for kind, uuid in named if kind == Kind.CHART)
    reading = read_assets(raw, ids, _NOWHERE, charts=charts)
    damaged += [note for note in reading.notes if note.code == "unreadable"]
    notes += [note for note in reading.notes if note.code != "unreadable"]
    return dict(reading.documents), tuple(notes), damaged


def _without_secrets(document: Document, data: dict[str, Any], notes: list[Note]) -> dict[str, Any]:
    for keys in find_secrets(document.kind.value, data):
        text = "A secret in clear was masked; it is kept nowhere. Change it, as whoever has the file has it."
        notes.append(Note("secret_masked", document.uuid, text, ".".join(map(str, keys))))
    return without_secrets(document.kind.value, data)


def _unreadable(document: Document, error: Exception) -> Note:
    text = f"This {document.kind.value} cannot be read: {type(error).__name__}: {error}"[:300]
    return Note("unreadable", document.uuid, text)
