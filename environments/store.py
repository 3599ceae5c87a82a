"""Documents by content hash, and snapshots: what was where, at one moment."""

import hashlib
import json
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, TypeVar

from django.db import transaction
from django.db.models import BooleanField, ExpressionWrapper, Q, QuerySet
from django.utils import timezone

from sstools.errors import SSToolsError

from . import contents, events, inventory, models
from .backups.spans import spans_of
from .canonical.companions import Companion
from .canonical.documents import Document, Kind, Note, canonical_json
from .canonical.ids import IdTable
from .inventory import Key
from .models import TITLE_LENGTH, Environment, Reason, Snapshot, SnapshotCompanion, SnapshotEntry
from .words import clean

T = TypeVar("T")

#: Of these a second one that says the same as the last complete snapshot is that one.
REPEATABLE = (Reason.PLAN, Reason.READING)

READ_CHUNK = 500  # keys per query: SQLite takes 32,766 values in one statement, older builds 999
WRITE_CHUNK = 500  # documents packed and inserted at a time, so that memory holds one chunk
KEPT_AGAIN = timedelta(hours=12)  # how old `kept_at` may be before keeping a known document renews it
PACKING = 6  # zlib's own default; 9 takes twice as long for 1 % less


IS_ELSEWHERE = ExpressionWrapper(Q(body=None), output_field=BooleanField())
#: Fingerprints -> packed bodies, of documents that are not in the database.
Elsewhere = Callable[[list[str]], dict[str, bytes]]
_elsewhere: Elsewhere | None = None


def register_elsewhere(read: Elsewhere) -> None:
    """Who reads documents whose body is not in the database; in `ready()`. It raises where one cannot be read."""
    global _elsewhere
    _elsewhere = read


class StoreDamaged(SSToolsError):
    """A stored document is not there, or is not what its fingerprint says."""

    code, status = "store_damaged", 500
    message = "A stored document is damaged or missing."
    remedy = "Restore the database of ss-tools from a backup, or read the environment anew."


@dataclass
class EnvironmentReading:
    """What one environment holds, in canonical form.

    documents: by uuid. ids: which id is which uuid there, also of assets that are known and were not read.
    hashes: uuid -> fingerprint of documents that are in the store and not loaded, with `kinds` telling what they are;
    an asset is either in here or in `documents`.
    complete: every asset of the environment is in it, so what is absent is not there. exported_at: the server's clock
    at the oldest content (aware), None for what never was exported. exported: the same by uuid. marks: uuid -> digest
    of what the lists said. rows: what the lists answered, empty where only exports were asked for. requests: how many
    were needed, sign-in left out. companions: by uuid, of the kinds that were asked for; they say nothing of others.
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
    hashes: dict[str, str] = field(default_factory=dict)
    kinds: dict[str, Kind] = field(default_factory=dict)
    purposes: Counter[str] = field(default_factory=Counter)
    swept: frozenset[str] = frozenset()
    learned: dict[str, contents.Learned] = field(default_factory=dict)
    companions: dict[str, Companion] = field(default_factory=dict)

    def put_away(self) -> None:
        """Keep the documents in the store and only their `hashes` here, so that memory does not hold them all."""
        put_documents(self.documents.values())
        for uuid, document in self.documents.items():
            self.hashes[uuid], self.kinds[uuid] = document.fingerprint, document.kind
            self.learned[uuid] = contents.Learned.of(document)
        self.documents = {}

    def fingerprints(self) -> Iterator[tuple[Kind, str, str]]:
        """Kind, uuid and content fingerprint of every document, loaded or not."""
        for uuid, document in self.documents.items():
            yield document.kind, uuid, document.fingerprint
        for uuid, sha in self.hashes.items():
            yield self.kinds[uuid], uuid, sha

    def of_kind(self, kind: Kind) -> list[Document]:
        return [document for document in self.documents.values() if document.kind == kind]

    @property
    def unreadable(self) -> frozenset[str]:
        """Assets that are there and could not be read: nothing may be concluded from their absence."""
        return frozenset(note.uuid for note in self.notes if note.code == "unreadable")

    def counts(self) -> dict[str, int]:
        """Number of documents by kind, every kind named."""
        counts = dict.fromkeys((kind.value for kind in Kind), 0)
        for kind, _uuid, _sha in self.fingerprints():
            counts[kind.value] += 1
        return counts


# --- Documents ------------------------------------------------------------------------------------------------


def put_documents(documents: Iterable[Document | Companion]) -> int:
    """Keep documents and companions; those that are there already cost one look. Returns how many were new."""
    added = 0
    for chunk in _chunks(documents, WRITE_CHUNK):
        by_hash = {document.fingerprint: document for document in chunk}
        rows_there = models.Document.objects.filter(pk__in=by_hash).annotate(is_elsewhere=IS_ELSEWHERE)
        there = {
            sha: (kept_at, gone)
            for sha, kept_at, gone in rows_there.values_list("pk", "kept_at", "is_elsewhere")
        }
        known = {sha: kept_at for sha, (kept_at, _) in there.items()}
        now = timezone.now()
        if aged := [sha for sha, kept_at in known.items() if kept_at < now - KEPT_AGAIN]:
            # Whoever keeps it is about to refer to it: it is not to be forgotten in between.
            models.Document.objects.filter(pk__in=aged).update(kept_at=now)
        for sha in (sha for sha, (_, is_elsewhere) in there.items() if is_elsewhere):
            # Of today again, so it belongs here; and whatever becomes of the storage, this content is saved.
            models.Document.objects.filter(pk=sha, body=None).update(body=_row(by_hash[sha]).body)
        rows = [_row(document) for sha, document in by_hash.items() if sha not in known]
        models.Document.objects.bulk_create(
            rows, ignore_conflicts=True
        )  # another worker may keep the same now
        added += len(rows)
    return added


def missing_documents(fingerprints: Iterable[str]) -> list[str]:
    """Those of these that are not there, in their order."""
    missing: list[str] = []
    for chunk in _chunks(dict.fromkeys(fingerprints), READ_CHUNK):
        known = set(models.Document.objects.filter(pk__in=chunk).values_list("pk", flat=True))
        missing += [sha for sha in chunk if sha not in known]
    return missing


def get_documents(fingerprints: Iterable[str]) -> dict[str, Document]:
    """Documents by fingerprint. Raises StoreDamaged if one is missing or its content does not match."""
    return _get(fingerprints, _document)


def get_companions(fingerprints: Iterable[str]) -> dict[str, Companion]:
    """Companions by fingerprint, as `get_documents`. Raises StoreDamaged."""
    return _get(fingerprints, lambda sha, body: Companion.from_json(_stored(sha, body)))


def _get(fingerprints: Iterable[str], read: Callable[[str, bytes], T]) -> dict[str, T]:
    wanted = list(dict.fromkeys(fingerprints))
    found: dict[str, T] = {}
    for chunk in _chunks(wanted, READ_CHUNK):
        elsewhere = []
        for sha, body in models.Document.objects.filter(pk__in=chunk).values_list("pk", "body"):
            if body is None:
                elsewhere.append(sha)
            else:
                found[sha] = read(sha, bytes(body))
        if elsewhere and _elsewhere is not None:
            found |= {sha: read(sha, body) for sha, body in _elsewhere(elsewhere).items()}
    if missing := [sha for sha in wanted if sha not in found]:
        raise StoreDamaged(f"{len(missing)} stored documents are missing.", detail={"missing": missing[:20]})
    return found


def _row(document: Document | Companion) -> models.Document:
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
    document = Document.from_json(_stored(sha, body))
    document.__dict__["fingerprint"] = sha  # just proven; computing it again would write the text once more
    return document


def _stored(sha: str, body: bytes) -> Any:
    return json.loads(unpacked(sha, body).decode("utf-8", "surrogatepass"))


def unpacked(sha: str, body: bytes) -> bytes:
    """The text of a packed body: canonical JSON, proven by its fingerprint. Raises StoreDamaged."""
    try:
        text = zlib.decompress(body)
    except zlib.error as exc:
        raise StoreDamaged(f"The stored document {sha} cannot be unpacked.") from exc
    if hashlib.sha256(text).hexdigest() != sha:
        raise StoreDamaged(f"The stored document {sha} was changed.")
    return text


# --- Snapshots ------------------------------------------------------------------------------------------------


def take_snapshot(
    environment: Environment, reading: EnvironmentReading, reason: str, actor: Any = None
) -> Snapshot:
    """Keep a reading. For a plan or a reading that finds exactly what the last complete snapshot holds, that one.

    A restore point, and what is taken by hand or after a run, always is a snapshot of its own. What the lists said, if
    they were asked, goes into the inventory, whose rows follow the newest complete snapshot; then others are told.
    """
    put_documents(reading.documents.values())
    changed: set[Key] = set()
    if reading.complete and reading.rows:
        changed |= inventory.record(environment, reading.rows).keys
    with transaction.atomic():
        snapshot = _confirmed(environment, reading) if reason in REPEATABLE and reading.complete else None
        if snapshot is None:
            snapshot = Snapshot.objects.create(
                environment=environment,
                reason=reason,
                complete=reading.complete,
                exported_at=reading.exported_at,
                notes=[_clean_note(note) for note in reading.notes],
                created_by=actor if getattr(actor, "pk", None) else None,
            )
            fill_snapshot(snapshot, reading)
        if reading.complete:
            changed |= contents.link(environment, reading, get_documents)
    if reading.complete and (changed or reason == Reason.READING):
        events.was_read(environment, frozenset(changed))  # a plan that found nothing new has nothing to tell
    return snapshot


def fill_snapshot(snapshot: Snapshot, reading: EnvironmentReading) -> None:
    """Write what a reading found into a snapshot that was made empty; the documents are kept already."""
    SnapshotEntry.objects.bulk_create(entries_from(snapshot, reading), batch_size=1000)
    put_documents(reading.companions.values())
    SnapshotCompanion.objects.bulk_create(companion_entries_from(snapshot, reading))


def companion_entries_from(snapshot: Snapshot, reading: EnvironmentReading) -> Iterator[SnapshotCompanion]:
    """The rows of its companions, not saved."""
    for found in reading.companions.values():
        yield SnapshotCompanion(
            snapshot=snapshot, kind=found.kind.value, uuid=found.uuid, document_id=found.fingerprint
        )


def latest_complete(environment: Environment) -> Snapshot | None:
    """The newest that a reading can go on from. Backups are none: they keep no marks, and each comes of a reading."""
    rows = environment.snapshots.filter(complete=True).exclude(reason=Reason.BACKUP)
    return rows.order_by("-number").first()


def believe_no_list(environment: Environment, uuids: Collection[str]) -> None:
    """Have the next reading export these assets again, whatever lists say: they moved without showing there."""
    latest = latest_complete(environment)
    if latest is not None and uuids:
        latest.entries.filter(uuid__in=list(uuids)[:READ_CHUNK]).update(exported_at=None)


def entries_of(snapshot: Snapshot) -> QuerySet[Any]:
    """The assets in a snapshot, one row each: `kind`, `uuid`, `superset_id`, `document_id` (None: it was there, and
    could not be read). Of whole backups they are `backups.Span`, of all others `SnapshotEntry`; ordered by nothing.
    """
    if snapshot.in_spans:
        return spans_of(snapshot).filter(kind__in=[kind.value for kind in Kind])
    return snapshot.entries.order_by()


def companion_entries_of(snapshot: Snapshot) -> QuerySet[Any]:
    """The companions in a snapshot, as `entries_of`: `kind`, `uuid`, `document_id`."""
    if snapshot.in_spans:
        return spans_of(snapshot).exclude(kind__in=[kind.value for kind in Kind])
    return snapshot.companions.order_by()


def companions_of(snapshot: Snapshot) -> dict[str, Companion]:
    """What a snapshot holds beside its assets, by uuid. Raises StoreDamaged."""
    rows = dict(companion_entries_of(snapshot).values_list("uuid", "document_id"))
    found = get_companions(rows.values())
    return {uuid: found[sha] for uuid, sha in rows.items()}


def load_snapshot(snapshot: Snapshot, *, bodies: bool = True) -> EnvironmentReading:
    """A snapshot as the reading it was taken of: documents, ids, notes; no rows, no companions (`companions_of`).
    Raises StoreDamaged.

    Without `bodies` it has `hashes` instead of documents: for whoever looks at few of them, or none.
    """
    reading = EnvironmentReading(
        environment_uuid=str(snapshot.environment.uuid),
        exported_at=snapshot.exported_at,
        complete=snapshot.complete,
        notes=notes_of(snapshot),
    )
    columns = ["kind", "uuid", "superset_id", "document_id"]
    if not snapshot.in_spans:
        columns += ["exported_at", "mark"]
    for kind, uuid, number, sha, *seen in entries_of(snapshot).values_list(*columns):
        exported_at, mark = seen or (snapshot.exported_at, "")
        if number is not None:
            reading.ids.add(Kind(kind), number, uuid)
        reading.exported[uuid] = exported_at
        reading.marks[uuid] = mark
        if sha is not None:
            reading.hashes[uuid], reading.kinds[uuid] = sha, Kind(kind)
    if bodies:
        documents = get_documents(reading.hashes.values())
        reading.documents = {uuid: documents[sha] for uuid, sha in reading.hashes.items()}
        reading.hashes, reading.kinds = {}, {}
    return reading


def notes_of(snapshot: Snapshot) -> tuple[Note, ...]:
    return tuple(Note(**note) for note in snapshot.notes)


def entries_from(snapshot: Snapshot, reading: EnvironmentReading) -> Iterator[SnapshotEntry]:
    """The rows of a snapshot that holds this reading, not saved."""
    for kind, uuid, sha in reading.fingerprints():
        yield SnapshotEntry(
            snapshot=snapshot,
            kind=kind.value,
            uuid=uuid,
            superset_id=reading.ids.id_of(kind, uuid),
            document_id=sha,
            exported_at=reading.exported.get(uuid, reading.exported_at),
            mark=reading.marks.get(uuid, ""),
        )
    unread = set(reading.unreadable - reading.documents.keys() - reading.hashes.keys())
    for kind, number, uuid in reading.ids:
        if uuid in unread:
            unread.remove(uuid)  # one row, also where two kinds have one uuid
            yield SnapshotEntry(
                snapshot=snapshot,
                kind=kind.value,
                uuid=uuid,
                superset_id=number,
                exported_at=reading.exported.get(uuid, reading.exported_at),
                mark=reading.marks.get(uuid, ""),
            )


def _confirmed(environment: Environment, reading: EnvironmentReading) -> Snapshot | None:
    """The latest complete snapshot, if this reading found exactly the same."""
    latest = latest_complete(environment)
    if latest is None or not _same_content(latest, reading):
        return None
    latest.confirmed_at = timezone.now()
    latest.save(update_fields=["confirmed_at"])
    _refresh_marks(latest, reading)
    return latest


def _same_content(snapshot: Snapshot, reading: EnvironmentReading) -> bool:
    entries = snapshot.entries.values_list("uuid", "document_id", "superset_id")
    known = {uuid: (sha, number) for uuid, sha, number in entries}
    unread = reading.unreadable - reading.documents.keys() - reading.hashes.keys()
    if len(known) != len(reading.documents) + len(reading.hashes) + len(unread):
        return False
    for kind, uuid, found in reading.fingerprints():
        sha, number = known.get(uuid, ("", None))
        if sha != found:
            return False
        now = reading.ids.id_of(kind, uuid)
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


def _clean_note(note: Note) -> dict[str, str]:
    return {name: clean(text, 2000) for name, text in asdict(note).items()}


def _chunks(items: Iterable[T], size: int) -> Iterator[Sequence[T]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
