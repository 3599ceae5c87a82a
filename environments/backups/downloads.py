"""Backups as files: ZIPs that Superset imports by itself, and a tree of all that a backup holds, to read and to keep.

Never a password: backups have none. A connection comes with its masked address, as Superset's own exports do.
"""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, Any

from environments.canonical.companions import CompanionKind
from environments.canonical.documents import Document, Kind
from environments.canonical.ids import IdTable
from environments.canonical.references import references
from environments.canonical.rendering import FORMAT_VERSION, render
from environments.dialects import dialect_of
from environments.models import Environment
from environments.store import companion_entries_of, entries_of, get_companions, get_documents
from environments.superset.bundle import TYPES, RawAsset, file_slug, pack, path_for
from environments.superset.fields import of_kind, unknown_to
from environments.superset.versions import Capabilities
from environments.superset.yaml_text import readable_yaml, write_yaml
from sstools.audit import services as audit
from sstools.errors import Invalid
from sstools.jobs.models import Source
from sstools.roles import policy
from sstools.roles.permissions import Permission

from .models import Backup
from .services import must_be_readable

_CHUNK = 200  # documents in memory at a time

#: What can be downloaded. An import with overwriting writes what the ZIP is named after, and only makes what it lacks
#: of all else (superset-api.md 8.2): dashboards, charts and datasets of a backup are three ZIPs, not one.
IMPORTABLE: Mapping[str, tuple[Kind, ...]] = {
    "dashboards": (Kind.DASHBOARD, Kind.CHART, Kind.DATASET, Kind.DATABASE),
    "charts": (Kind.CHART, Kind.DATASET, Kind.DATABASE),
    "datasets": (Kind.DATASET, Kind.DATABASE),
}
TREE = "tree"
FORMATS = (*IMPORTABLE, TREE)


@dataclass(frozen=True)
class Offer:
    """One file to download. `endpoint`: of Superset's API that takes it, "" for none. `count`: what it is about."""

    format: str
    label: str
    count: int
    endpoint: str


def offers(counts: Mapping[str, int]) -> list[Offer]:
    """What can be downloaded of a backup with these numbers by kind, most wanted first."""
    found = [
        Offer(
            name, f"{name.capitalize()} for Superset", counts.get(kinds[0], 0), f"/api/v1/{kinds[0]}/import/"
        )
        for name, kinds in IMPORTABLE.items()
        if counts.get(kinds[0])
    ]
    return [*found, Offer(TREE, "Everything as a tree of files", sum(counts.values()), "")]


def download(backup: Backup, format_: str, *, actor: Any, source: str = Source.PAGE) -> tuple[IO[bytes], str]:
    """(an open temporary file, the name that it should have). Raises NotAllowed; Invalid for an unknown format;
    Conflict for a backup that holds nothing; StoreDamaged, and what a storage raises: then there is no file at all.
    """
    policy.require(actor, Permission.BACKUP_VIEW, backup.environment)
    if format_ not in FORMATS:
        raise Invalid(
            "There is no such format.",
            errors={"as": [f"One of {', '.join(FORMATS)}."]},
            code="no_such_format",
        )
    must_be_readable(backup)
    out = tempfile.TemporaryFile()  # noqa: SIM115  closed by the answer that sends it
    try:
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
            if format_ == TREE:
                _write_tree(backup, archive)
            else:
                _write_bundle(backup, IMPORTABLE[format_], archive)
        out.seek(0)
    except BaseException:
        out.close()
        raise
    audit.record("backup:download", backup, actor=actor, data={"format": format_}, source=source)
    return out, f"{backup.environment.slug}-backup-{backup.number}-{format_}.zip"


class _Files:
    """The files of a backup in Superset's own form, as the Superset that it is of takes them."""

    def __init__(self, backup: Backup) -> None:
        snapshot = backup.snapshot
        self.rows = list(
            entries_of(snapshot)
            .filter(document__isnull=False)
            .values_list("kind", "uuid", "superset_id", "document_id", "document__title")
        )
        self.ids = IdTable(
            (Kind(kind), number, uuid) for kind, uuid, number, *_ in self.rows if number is not None
        )
        self.capabilities = _capabilities_of(backup.environment)
        self.dialect = dialect_of(self.capabilities)
        self.folders = {
            uuid: file_slug(title) for kind, uuid, _, _, title in self.rows if kind == Kind.DATABASE
        }
        self.url = backup.environment.url

    def documents(self, kind: Kind, only: frozenset[str] | None = None) -> Iterator[Document]:
        """Of one kind by uuid, a few in memory at a time; `only`: these uuids."""
        found = sorted((uuid, sha) for one, uuid, _, sha, _ in self.rows if one == kind)
        hashes = [sha for uuid, sha in found if only is None or uuid in only]
        for start in range(0, len(hashes), _CHUNK):
            chunk = hashes[start : start + _CHUNK]
            by_hash = get_documents(chunk)
            yield from (by_hash[sha] for sha in chunk)

    def file(self, document: Document) -> tuple[str, dict[str, Any]]:
        """(path, content)."""
        if document.kind == Kind.DATABASE:
            data = _connection(document, self.capabilities)
        else:
            data = dict(render([document], self.ids, self.url, self.dialect)[0].data)
        return path_for(RawAsset(document.kind.value, document.uuid, "", data), self.folders), data


def _capabilities_of(environment: Environment) -> Capabilities:
    return environment.known_capabilities or Capabilities.of_version(environment.version)


def _connection(document: Document, capabilities: Capabilities) -> dict[str, Any]:
    """A connection's file: its address is masked, so whoever makes it new is asked for the password."""
    unknown = of_kind(unknown_to(capabilities), Kind.DATABASE.value)
    body = {name: value for name, value in document.body.items() if name not in unknown}
    extra = body.get("extra")
    body["extra"] = (
        {name: value for name, value in extra.items() if f"extra.{name}" not in unknown}
        if isinstance(extra, dict)
        else {}
    )
    body.setdefault("allow_csv_upload", False)  # up to 6.0 the importer cannot do without
    return {**body, "uuid": document.uuid, "version": FORMAT_VERSION}


# --- For Superset -----------------------------------------------------------------------------------------------


def _write_bundle(backup: Backup, kinds: tuple[Kind, ...], archive: zipfile.ZipFile) -> None:
    """All of the first kind, and of the others what that stands on."""
    files = _Files(backup)
    moment = backup.snapshot.exported_at or backup.started_at
    metadata = {"version": FORMAT_VERSION, "type": TYPES[kinds[0].value], "timestamp": moment.isoformat()}
    pack(archive, "bundle/metadata.yaml", write_yaml(metadata))
    needed: set[str] = set()
    themes: set[str] = set()
    for number, kind in enumerate(kinds):
        waiting = None if number == 0 else frozenset(needed)
        done: set[str] = set()
        while waiting is None or waiting:
            for document in files.documents(kind, waiting):
                done.add(document.uuid)
                needed.update(one.uuid for one in references(document) if one.how == "needs")
                path, data = files.file(document)
                if theme := data.get("theme_uuid"):
                    themes.add(str(theme))
                pack(archive, f"bundle/{path}", write_yaml(data))
            # Charts of charts (deck.gl), datasets that read datasets: needed by what was just written.
            waiting = frozenset(needed & _of_kind(files, kind)) - done if waiting is not None else frozenset()
    for theme, data in _themes(backup, themes):
        pack(archive, f"bundle/{path_for(RawAsset('theme', theme, '', data), {})}", write_yaml(data))


def _of_kind(files: _Files, kind: Kind) -> frozenset[str]:
    return frozenset(uuid for one, uuid, *_ in files.rows if one == kind)


def _themes(backup: Backup, wanted: Iterable[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The themes of dashboards: without its file in the ZIP a dashboard would lose its own."""
    wanted = set(wanted)
    if not wanted:
        return
    rows = companion_entries_of(backup.snapshot).filter(kind=CompanionKind.THEME)
    for companion in get_companions(rows.values_list("document_id", flat=True)).values():
        body = companion.body
        if body["uuid"] in wanted:
            data = {"theme_name": body["name"], "json_data": body["json_data"], "uuid": body["uuid"]}
            yield body["uuid"], {**data, "version": FORMAT_VERSION}


# --- To read, and to keep ---------------------------------------------------------------------------------------


def _write_tree(backup: Backup, archive: zipfile.ZipFile) -> None:
    """Assets in folders as other tools keep them, so that ss-tools reads the tree again; beside them `companions/` and
    `backup.yaml`. No metadata.yaml: Superset would take it for a bundle, and import connections over those it has.
    """
    root = f"{backup.environment.slug}-backup-{backup.number}"
    pack(archive, f"{root}/backup.yaml", readable_yaml(_about(backup)).encode())
    files = _Files(backup)
    for kind in reversed(Kind):
        for document in files.documents(kind):
            path, data = files.file(document)
            pack(archive, f"{root}/{path}", write_yaml(data))
    rows = list(
        companion_entries_of(backup.snapshot).order_by("kind", "uuid").values_list("document_id", flat=True)
    )
    for start in range(0, len(rows), _CHUNK):
        chunk = rows[start : start + _CHUNK]
        found = get_companions(chunk)
        for sha in chunk:
            one = found[sha]
            name = f"{file_slug(one.title)[:100]}_{one.uuid}".lstrip("_.")
            pack(archive, f"{root}/companions/{one.kind.value}/{name}.yaml", readable_yaml(one.body).encode())


def _about(backup: Backup) -> dict[str, Any]:
    environment = backup.environment
    return {
        "backup": backup.number,
        "environment": environment.name,
        "superset": {"url": environment.url, "version": environment.version},
        "taken_at": _text(backup.snapshot.exported_at or backup.started_at),
        "title": backup.title,
        "whole_environment": backup.whole,
        "counts": backup.counts,
        "digest": backup.digest,
        "not_read": {kind: why for kind, why in backup.companions_read.items() if why},
        "problems": backup.problems,
        "passwords": "never in a backup: addresses of connections are masked",
    }


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")


__all__ = ["FORMATS", "IMPORTABLE", "TREE", "Offer", "download", "offers"]
