"""Bringing backups back out of a storage that this ss-tools has no rows of: its database was lost, or is another one.

What a backup held is in its manifest. Each document is read and proven by its fingerprint before a row says that it is
there; a backup of which one is missing or damaged is named and left where it is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.core.management.color import no_style
from django.db import connection, transaction
from django.db.models import Max

from environments import store
from environments.backups import retention, spans
from environments.backups.models import Backup, BackupReason, BackupState
from environments.backups.taking import describe
from environments.canonical.companions import Companion
from environments.canonical.documents import Document, Kind
from environments.models import Environment, Reason, Snapshot, SnapshotCompanion, SnapshotEntry
from environments.words import clean
from sstools.audit import services as audit
from sstools.jobs.models import Source

from . import calls, named
from .copies import CHUNK, chunks, proven
from .errors import ObjectDamaged, ObjectMissing, StorageError
from .manifests import Bare
from .models import DocumentCopy, Manifest

Progress = Callable[[str, int, int], None]
ASSETS = {kind.value for kind in Kind}


class Found(NamedTuple):
    """A backup in a storage. `environment`: the one here that it is of, None where there is none like it."""

    key: str
    content: Mapping[str, Any]
    environment: Environment | None

    @property
    def number(self) -> int:
        return int(self.content["backup"]["number"])


@dataclass
class Look:
    """What a storage has that this ss-tools does not know. `unreadable`: key of a manifest -> what is wrong."""

    backups: list[Found] = field(default_factory=list)
    unreadable: dict[str, StorageError] = field(default_factory=dict)
    known: int = 0


@dataclass
class Adopted:
    """`numbers`: what was the number there -> the number here. `failed`: number there -> why it was left."""

    numbers: dict[int, int] = field(default_factory=dict)
    failed: dict[int, StorageError] = field(default_factory=dict)


def look(storage: str, *, of: str = "", into: Environment | None = None) -> Look:
    """All backups in a storage that have no row here, oldest first. An environment is found by its uuid, else by its
    address; `into`: take this one. `of`: only backups of the environment that had this slug. Raises StorageError.
    """
    found = Look()
    by_uuid = {str(row.uuid): row for row in Environment.objects.all()}
    by_url = {row.url.rstrip("/"): row for row in by_uuid.values()}
    for key, content in Bare(named.get(storage)).manifests():
        if isinstance(content, StorageError):
            found.unreadable[key] = content
            continue
        said = content["environment"]
        if of and said["slug"] != of:
            continue
        if Snapshot.objects.filter(uuid=content["snapshot"]["uuid"]).exists():
            found.known += 1
            continue
        here = by_uuid.get(str(said["uuid"])) or by_url.get(str(said["url"]).rstrip("/"))
        found.backups.append(Found(key, content, into or here))
    found.backups.sort(key=lambda one: one.number)
    return found


def adopt(
    storage: str, backups: Iterable[Found], progress: Progress = lambda what, done, total: None
) -> Adopted:
    """Give each of these a row, and its documents. They keep their numbers, or all get higher ones where one is taken.

    Those without an environment here are left out. To be called again after an error: what was adopted is known then.
    Raises StorageError where the storage does not answer.
    """
    waiting = [one for one in backups if one.environment is not None]
    taken = Snapshot.objects.filter(pk__in=[one.number for one in waiting]).exists()
    beyond = (Snapshot.objects.aggregate(last=Max("pk"))["last"] or 0) if taken else 0
    bare, done = Bare(named.get(storage)), Adopted()
    for place, one in enumerate(waiting):
        progress(f"Backup {one.number} of {one.content['environment']['name']}", place, len(waiting))
        try:
            _bring_documents(bare, {entry[3] for entry in one.content["entries"] if entry[3] is not None})
            done.numbers[one.number] = _write(storage, one, one.number + beyond).pk
        except store.StoreDamaged as exc:
            done.failed[one.number] = exc if isinstance(exc, StorageError) else ObjectDamaged(exc.message)
    with connection.cursor() as cursor:  # numbers that were given by hand are not to be given again
        for statement in connection.ops.sequence_reset_sql(no_style(), [Snapshot]):
            cursor.execute(statement)
    return done


def _bring_documents(bare: Bare, fingerprints: set[str]) -> None:
    """Have these here, each proven, with a row that says where its object is."""
    rows = DocumentCopy.objects.filter(storage=bare.place.name)
    bare.keys_of("")  # lists the storage now, and not in each thread
    for chunk in chunks(sorted(fingerprints), CHUNK):
        known = set(rows.filter(document__in=chunk).values_list("document_id", flat=True))
        known -= set(store.missing_documents(chunk))
        wanted = [sha for sha in chunk if sha not in known]
        read = calls.each(
            lambda sha: _object(bare, sha), wanted, seconds=named.seconds(), words=bare.place.words
        )
        copies = []
        for sha, outcome in read:
            if isinstance(outcome, StorageError):
                raise outcome
            key, data, body = outcome
            document = _document(sha, body)
            store.put_documents([document])
            seal = hashlib.sha256(data).hexdigest()
            copies.append(
                DocumentCopy(document_id=sha, storage=bare.place.name, key=key, size=len(data), sha256=seal)
            )
        DocumentCopy.objects.bulk_create(copies, ignore_conflicts=True)


def _object(bare: Bare, sha: str) -> tuple[str, bytes, bytes]:
    """Key, object and packed body of a document: the first that proves to be it."""
    failed: StorageError = ObjectMissing(f"No object in the {bare.place.words} holds {sha}.")
    for key in bare.keys_of(sha):
        try:
            data = bare.place.get(key)
            return key, data, proven(bare.envelope, data, sha)
        except StorageError as exc:
            failed = exc
    raise failed


def _document(sha: str, body: bytes) -> Document | Companion:
    data = json.loads(store.unpacked(sha, body).decode("utf-8", "surrogatepass"))
    return Document.from_json(data) if data["kind"] in ASSETS else Companion.from_json(data)


@transaction.atomic
def _write(storage: str, one: Found, number: int) -> Backup:
    """Its rows. Raises ObjectDamaged where they are not what the manifest says."""
    environment, said, shot = one.environment, one.content["backup"], one.content["snapshot"]
    assert environment is not None
    retention.lock(environment)
    exported_at = datetime.fromisoformat(shot["exported_at"]) if shot["exported_at"] else None
    started_at = datetime.fromisoformat(said["started_at"])
    snapshot = Snapshot.objects.create(
        pk=number,
        uuid=UUID(shot["uuid"]),
        environment=environment,
        reason=Reason.BACKUP,
        complete=bool(said["whole"]),
        exported_at=exported_at,
        notes=shot["notes"],
        created_at=started_at,
    )
    backup = Backup(
        snapshot=snapshot,
        environment=environment,
        title=clean(said["title"], 200),
        reason=said["reason"] if said["reason"] in BackupReason.values else BackupReason.MANUAL,
        state=BackupState.GOOD,
        whole=bool(said["whole"]),
        selection=said["selection"],
        storage=storage,
        companions_read=said["companions_read"],
        problems=said["problems"],
        notes=said["notes"],
        started_at=started_at,
        ended_at=started_at,
    )
    entries = [tuple(entry) for entry in one.content["entries"]]
    changed: list[str] = []
    if backup.whole and not environment.backups.filter(pk__gt=number).exists():
        held = {(kind, uuid): (id_there, sha) for kind, uuid, id_there, sha in entries}
        changed = spans.write(environment, number, held)
        snapshot.in_spans = True
        snapshot.save(update_fields=["in_spans"])
    else:
        _fill(snapshot, entries)
    describe(backup, changed)
    if backup.digest != said["digest"]:
        raise ObjectDamaged(f"Backup {one.number} is not what its manifest says.")
    backup.save()
    row = Manifest(snapshot=snapshot.uuid, storage=storage, key=one.key, size=0, sha256="")
    data = calls.once(
        lambda: named.get(storage).get(one.key), seconds=named.seconds(), words=named.get(storage).words
    )
    row.size, row.sha256 = len(data), hashlib.sha256(data).hexdigest()
    row.save()
    told = {"storage": storage, "number_there": one.number, "digest": backup.digest}
    audit.record("backup:adopt", backup, actor=None, data=told, source=Source.COMMAND)
    return backup


def _fill(snapshot: Snapshot, entries: Iterable[tuple[Any, ...]]) -> None:
    assets, companions = [], []
    for kind, uuid, number, sha in entries:
        if kind in ASSETS:
            assets.append(
                SnapshotEntry(snapshot=snapshot, kind=kind, uuid=uuid, superset_id=number, document_id=sha)
            )
        else:
            companions.append(SnapshotCompanion(snapshot=snapshot, kind=kind, uuid=uuid, document_id=sha))
    SnapshotEntry.objects.bulk_create(assets, batch_size=1000)
    SnapshotCompanion.objects.bulk_create(companions, batch_size=1000)
