"""Documents by content hash, and snapshots: what was where, at one moment."""

import hashlib
import json
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar

from django.db import transaction
from django.db.models import OuterRef, Subquery
from django.utils import timezone

from sstools.errors import SSToolsError

from . import inventory, models
from .canonical.documents import Document, Kind, Note, canonical_json
from .canonical.ids import IdTable
from .models import TITLE_LENGTH, Environment, Reason, Snapshot, SnapshotEntry
from .words import clean

T = TypeVar("T")

READ_CHUNK = 500  # keys per query: SQLite takes 32,766 values in one statement, older builds 999
WRITE_CHUNK = 500  # documents packed and inserted at a time, so that memory holds one chunk
PACKING = 6  # zlib's own default; 9 takes twice as long for 1 % less


class StoreDamaged(SSToolsError):
    """A stored document is not there, or is not what its fingerprint says."""

    code, status = "store_damaged", 500
    message = "A stored document is damaged or missing."
    remedy = "Restore the database of ss-tools from a backup, or read the environment anew."


@dataclass
class EnvironmentReading:
    """What one environment holds, in canonical form.

    documents: by uuid. ids: which id is which uuid there, also of assets that are known and were not read.
    complete: every asset of the environment is in it, so what is absent is not there. exported_at: the server's clock
    at the oldest content (aware), None for what never was exported. exported: the same by uuid. marks: uuid -> digest
    of what the lists said. rows: what the lists answered, empty where only exports were asked for. requests: how many
    were needed, sign-in left out.
    """

    environment_uuid: str
    documents: dict[str, Document] = field(default_factory=dict)
    ids: IdTable = field(default_factory=IdTable)
    notes: tuple[Note, ...] = ()
    exported_at: datetime | None = None
    complete: bool = False
    rows: dict[Kind, list[Any]] = field(default_factory=dict)
    requests: int = 0
    exported: dict[str, datetime | None] = field(default_factory=dict)
    marks: dict[str, str] = field(default_factory=dict)

    def of_kind(self, kind: Kind) -> list[Document]:
        return [document for document in self.documents.values() if document.kind == kind]

    @property
    def unreadable(self) -> frozenset[str]:
        """Assets that are there and could not be read: nothing may be concluded from their absence."""
        return frozenset(note.uuid for note in self.notes if note.code == "unreadable")

    def counts(self) -> dict[str, int]:
        """Number of documents by kind, every kind named."""
        counts = dict.fromkeys((kind.value for kind in Kind), 0)
        for document in self.documents.values():
            counts[document.kind.value] += 1
        return counts


# --- Documents ------------------------------------------------------------------------------------------------


def put_documents(documents: Iterable[Document]) -> int:
    """Keep documents; those that are there already cost one look. Returns how many were new."""
    added = 0
    for chunk in _chunks(documents, WRITE_CHUNK):
        by_hash = {document.fingerprint: document for document in chunk}
        known = set(models.Document.objects.filter(pk__in=by_hash).values_list("pk", flat=True))
        rows = [_row(document) for sha, document in by_hash.items() if sha not in known]
        models.Document.objects.bulk_create(
            rows, ignore_conflicts=True
        )  # another worker may keep the same now
        added += len(rows)
    return added


def get_documents(fingerprints: Iterable[str]) -> dict[str, Document]:
    """Documents by fingerprint. Raises StoreDamaged if one is missing or its content does not match."""
    wanted = list(dict.fromkeys(fingerprints))
    found: dict[str, Document] = {}
    for chunk in _chunks(wanted, READ_CHUNK):
        for sha, body in models.Document.objects.filter(pk__in=chunk).values_list("pk", "body"):
            found[sha] = _document(sha, bytes(body))
    if missing := [sha for sha in wanted if sha not in found]:
        raise StoreDamaged(f"{len(missing)} stored documents are missing.", detail={"missing": missing[:20]})
    return found


def _row(document: Document) -> models.Document:
    text = canonical_json(document.to_json()).encode("utf-8", "surrogatepass")
    return models.Document(
        sha256=document.fingerprint,
        kind=document.kind.value,
        uuid=document.uuid,
        title=clean(document.title, TITLE_LENGTH),
        body=zlib.compress(text, PACKING),
        size=len(text),
    )


def _document(sha: str, body: bytes) -> Document:
    try:
        text = zlib.decompress(body)
    except zlib.error as exc:
        raise StoreDamaged(f"The stored document {sha} cannot be unpacked.") from exc
    if hashlib.sha256(text).hexdigest() != sha:
        raise StoreDamaged(f"The stored document {sha} was changed.")
    document = Document.from_json(json.loads(text.decode("utf-8", "surrogatepass")))
    document.__dict__["fingerprint"] = sha  # just proven; computing it again would write the text once more
    return document


# --- Snapshots ------------------------------------------------------------------------------------------------


def take_snapshot(
    environment: Environment, reading: EnvironmentReading, reason: str, actor: Any = None
) -> Snapshot:
    """Keep a reading. For a plan or a reading that finds exactly what the last complete snapshot holds, that one.

    A restore point, and what is taken by hand or after a run, always is a snapshot of its own. What the lists said, if
    they were asked, goes into the inventory.
    """
    put_documents(reading.documents.values())
    if reading.complete and reading.rows:
        learned = inventory.record(environment, reading.rows)
        is_linked = not learned.new
    else:
        is_linked = True
    with transaction.atomic():
        if reason in (Reason.PLAN, Reason.READING) and reading.complete:
            latest = latest_complete(environment)
            if latest is not None and _same_content(latest, reading):
                latest.confirmed_at = timezone.now()
                latest.save(update_fields=["confirmed_at"])
                _refresh_marks(latest, reading)
                if not is_linked:
                    _link_assets(environment, latest)
                return latest
        snapshot = Snapshot.objects.create(
            environment=environment,
            reason=reason,
            complete=reading.complete,
            exported_at=reading.exported_at,
            notes=[_clean_note(note) for note in reading.notes],
            created_by=actor if getattr(actor, "pk", None) else None,
        )
        SnapshotEntry.objects.bulk_create(_entries(snapshot, reading), batch_size=1000)
        if reading.complete:
            _link_assets(environment, snapshot)
    return snapshot


def latest_complete(environment: Environment) -> Snapshot | None:
    return environment.snapshots.filter(complete=True).order_by("-number").first()


def believe_no_list(environment: Environment, uuids: Collection[str]) -> None:
    """Have the next reading export these assets again, whatever lists say: they moved without showing there."""
    latest = latest_complete(environment)
    if latest is not None and uuids:
        latest.entries.filter(uuid__in=list(uuids)[:READ_CHUNK]).update(exported_at=None)


def load_snapshot(snapshot: Snapshot) -> EnvironmentReading:
    """A snapshot as the reading it was taken of: documents, ids, notes; no rows. Raises StoreDamaged."""
    reading = EnvironmentReading(
        environment_uuid=str(snapshot.environment.uuid),
        exported_at=snapshot.exported_at,
        complete=snapshot.complete,
        notes=notes_of(snapshot),
    )
    hashes: dict[str, str] = {}
    columns = ("kind", "uuid", "superset_id", "document_id", "exported_at", "mark")
    for kind, uuid, number, sha, exported_at, mark in snapshot.entries.values_list(*columns):
        if number is not None:
            reading.ids.add(Kind(kind), number, uuid)
        reading.exported[uuid] = exported_at
        reading.marks[uuid] = mark
        if sha is not None:
            hashes[uuid] = sha
    documents = get_documents(hashes.values())
    reading.documents = {uuid: documents[sha] for uuid, sha in hashes.items()}
    return reading


def notes_of(snapshot: Snapshot) -> tuple[Note, ...]:
    return tuple(Note(**note) for note in snapshot.notes)


def _entries(snapshot: Snapshot, reading: EnvironmentReading) -> Iterator[SnapshotEntry]:
    for uuid, document in reading.documents.items():
        yield SnapshotEntry(
            snapshot=snapshot,
            kind=document.kind.value,
            uuid=uuid,
            superset_id=reading.ids.id_of(document.kind, uuid),
            document_id=document.fingerprint,
            exported_at=reading.exported.get(uuid, reading.exported_at),
            mark=reading.marks.get(uuid, ""),
        )
    unreadable = reading.unreadable
    for kind, number, uuid in reading.ids:
        if uuid in unreadable and uuid not in reading.documents:
            yield SnapshotEntry(
                snapshot=snapshot,
                kind=kind.value,
                uuid=uuid,
                superset_id=number,
                exported_at=reading.exported.get(uuid, reading.exported_at),
                mark=reading.marks.get(uuid, ""),
            )


def _same_content(snapshot: Snapshot, reading: EnvironmentReading) -> bool:
    entries = snapshot.entries.values_list("uuid", "document_id", "superset_id")
    known = {uuid: (sha, number) for uuid, sha, number in entries}
    if len(known) != len(reading.documents) + len(reading.unreadable - reading.documents.keys()):
        return False
    for uuid, document in reading.documents.items():
        sha, number = known.get(uuid, ("", None))
        if sha != document.fingerprint:
            return False
        now = reading.ids.id_of(document.kind, uuid)
        if now != number and None not in (now, number):
            return False
    return bool(snapshot.notes == [_clean_note(note) for note in reading.notes])


def _refresh_marks(snapshot: Snapshot, reading: EnvironmentReading) -> None:
    """Remember what the lists say now, and how recent the content is, where a reading learned more than was known."""
    stale = []
    for entry in snapshot.entries.iterator(chunk_size=2000):
        mark = reading.marks.get(entry.uuid, entry.mark)
        exported_at = reading.exported.get(entry.uuid, entry.exported_at)
        number = reading.ids.id_of(Kind(entry.kind), entry.uuid) or entry.superset_id
        if (mark, exported_at, number) != (entry.mark, entry.exported_at, entry.superset_id):
            entry.pk, entry.mark, entry.exported_at, entry.superset_id = None, mark, exported_at, number
            stale.append(entry)
    # As upserts: an UPDATE with a CASE for each of thousands of rows takes seconds.
    SnapshotEntry.objects.bulk_create(
        stale,
        update_conflicts=True,
        unique_fields=["snapshot", "uuid"],
        update_fields=["mark", "exported_at", "superset_id"],
        batch_size=1000,
    )


def _link_assets(environment: Environment, snapshot: Snapshot) -> None:
    """Let the inventory's rows point to the documents of the newest complete snapshot."""
    entry = SnapshotEntry.objects.filter(snapshot=snapshot, uuid=OuterRef("uuid")).values("document_id")[:1]
    environment.assets.update(document_id=Subquery(entry))


def _clean_note(note: Note) -> dict[str, str]:
    return {name: clean(text, 2000) for name, text in asdict(note).items()}


def _chunks(items: Iterable[T], size: int) -> Iterator[Sequence[T]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
