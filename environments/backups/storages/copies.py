"""Documents as objects of storages: kept, read, and taken out of the database where only backups need them.

What an object holds is the document's body as the database has it (canonical JSON, packed) in an `envelope`. Nothing
of it is believed before the fingerprint was computed anew, at every reading.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import NamedTuple, TypeVar

from django.db import transaction
from django.utils import timezone

from environments.models import Document
from environments.store import IS_ELSEWHERE, StoreDamaged, unpacked

from . import calls, named, needed
from .base import Storage
from .envelope import Envelope
from .errors import ObjectDamaged, ObjectError, ObjectMissing, StorageError, StorageUnreachable
from .models import DocumentCopy

T = TypeVar("T")
Progress = Callable[[int, int], None]

logger = logging.getLogger(__name__)

OBJECTS = "objects/"
MARK = (
    "ss-tools-storage"  # the object that says: this is the storage, and not the empty place where it would be
)
MARK_TEXT = (
    b"Backups of ss-tools. Objects are named by what they hold; docs/backups.md tells how to read them.\n"
)
CHUNK = 200  # documents in memory at a time
LIST_FROM = 300  # so many copies are looked for in the list of all objects, fewer one by one
LISTING = 20  # times as long as one call may take
KEPT_AGAIN = timedelta(hours=12)  # how old `kept_at` may be before keeping a known copy renews it
REMOVED_AFTER = timedelta(days=1)  # what no backup needs may be about to be needed


@dataclass(frozen=True)
class Kept:
    """What keeping cost: objects and bytes that were written now. `known`: those that were there."""

    objects: int = 0
    bytes: int = 0
    known: int = 0


class Upload(NamedTuple):
    sha: str
    key: str
    data: bytes


def nothing(done: int, total: int) -> None:
    """For who does not want to know how far it is."""


# --- Keeping --------------------------------------------------------------------------------------------------------


def keep_copies(fingerprints: Iterable[str], storage: str, progress: Progress = nothing) -> Kept:
    """See that a storage has an object for each of these documents. What it has already is looked for, not believed.

    For `database`: that their bodies are there. To be called again after an error: what was written is found then.
    Raises StorageNotSetUp, StorageUnreachable, StorageFull, StorageRefused, StorageError; StoreDamaged for a document
    that is nowhere.
    """
    wanted = list(dict.fromkeys(fingerprints))
    if storage == named.DATABASE:
        return _keep_bodies(wanted, progress)
    place = named.get(storage)
    begin(place)
    known, replaced = _looked_for(place, wanted)
    missing = [sha for sha in wanted if sha not in known]
    written = 0
    for done in range(0, len(missing), CHUNK):
        progress(len(known) + done, len(wanted))
        written += _write(place, missing[done : done + CHUNK], replaced)
    return Kept(len(missing), written, len(known))


def begin(place: Storage) -> None:
    """Raises StorageUnreachable where the storage is not the one that was written to before: a share that is not
    mounted is an empty folder.
    """
    if not DocumentCopy.objects.filter(storage=place.name).exists():
        calls.once(lambda: place.put(MARK, MARK_TEXT), seconds=named.seconds(), words=place.words)
    elif calls.once(lambda: place.size(MARK), seconds=named.seconds(), words=place.words) is None:
        raise StorageUnreachable(
            f"The {place.words} is there, and not what ss-tools wrote to it.",
            remedy="Is it mounted, and the right one? Otherwise bring its objects back from a copy.",
        )


def _looked_for(place: Storage, wanted: list[str]) -> tuple[set[str], dict[str, int]]:
    """Which of these have an object as long as it was written, and the row numbers of those that have none any more."""
    rows: list[DocumentCopy] = []
    now = timezone.now()
    for chunk in chunks(wanted, 500):
        found = list(DocumentCopy.objects.filter(storage=place.name, document__in=chunk))
        if aged := [row.pk for row in found if row.kept_at < now - KEPT_AGAIN]:
            DocumentCopy.objects.filter(pk__in=aged).update(
                kept_at=now
            )  # not to be removed before it is needed
        rows += found
    if len(rows) >= LIST_FROM:
        there = {one.key: one.size for one in listed(place, OBJECTS)}
        sizes: Iterable[tuple[DocumentCopy, int | None]] = ((row, there.get(row.key)) for row in rows)
    else:
        sizes = _sizes(place, rows)
    known: set[str] = set()
    lost: dict[str, int] = {}
    for row, size in sizes:
        if size == row.size:
            known.add(row.document_id)
        else:
            lost[row.document_id] = row.pk
    if lost:
        logger.warning(
            "%d objects are not in the %s any more; they are written again.", len(lost), place.words
        )
    return known, lost


def _sizes(place: Storage, rows: list[DocumentCopy]) -> Iterator[tuple[DocumentCopy, int | None]]:
    asked = calls.each(lambda row: place.size(row.key), rows, seconds=named.seconds(), words=place.words)
    for row, size in asked:
        if isinstance(size, StorageError):
            raise size
        yield row, size


def _write(place: Storage, fingerprints: list[str], replaced: Mapping[str, int]) -> int:
    """Returns how many bytes. What was written before an error is noted down."""
    envelope = named.envelope()
    bodies = bodies_of(fingerprints)
    failures: list[StorageError] = []

    def uploads() -> Iterator[Upload]:
        for sha, body in bodies.items():
            if failures:  # no more then; what is under way comes to its end and is noted down
                return
            yield Upload(sha, object_key(envelope, sha), envelope.seal(body, sha))

    def put(one: Upload) -> None:
        place.put(one.key, one.data)

    rows: list[DocumentCopy] = []
    try:
        for one, failed in calls.each(put, uploads(), seconds=named.seconds(), words=place.words):
            if failed is not None:
                failures.append(failed)
                continue
            rows.append(
                DocumentCopy(
                    document_id=one.sha,
                    storage=place.name,
                    key=one.key,
                    size=len(one.data),
                    sha256=hashlib.sha256(one.data).hexdigest(),
                )
            )
    finally:
        with transaction.atomic():
            if again := [replaced[row.document_id] for row in rows if row.document_id in replaced]:
                DocumentCopy.objects.filter(pk__in=again).delete()
            # Another environment's backup may have written the same meanwhile: then ours is an object too many.
            DocumentCopy.objects.bulk_create(rows, ignore_conflicts=True)
    for failed in failures:
        raise failed
    return sum(row.size for row in rows)


def object_key(envelope: Envelope, fingerprint: str) -> str:
    """Where to write a document; never the same place twice."""
    name = envelope.name_of(fingerprint)
    return f"{OBJECTS}{name[:2]}/{name}.{secrets.token_hex(4)}"


def _keep_bodies(wanted: list[str], progress: Progress) -> Kept:
    found = written = objects = 0
    for chunk in chunks(wanted, CHUNK):
        progress(found, len(wanted))
        documents = Document.objects.filter(pk__in=chunk).annotate(is_elsewhere=IS_ELSEWHERE)
        rows = dict(documents.values_list("pk", "is_elsewhere"))
        if lost := [sha for sha in chunk if sha not in rows]:
            raise StoreDamaged(f"{len(lost)} stored documents are missing.", detail={"missing": lost[:20]})
        elsewhere = [sha for sha, is_elsewhere in rows.items() if is_elsewhere]
        for sha, body in read_packed(elsewhere).items():
            objects += Document.objects.filter(pk=sha, body=None).update(body=body)
            written += len(body)
        found += len(chunk)
    return Kept(objects, written, len(wanted) - objects)


# --- Reading --------------------------------------------------------------------------------------------------------


def bodies_of(fingerprints: Iterable[str]) -> dict[str, bytes]:
    """Packed bodies, from wherever they are, each proven. Raises StoreDamaged, StorageError."""
    wanted = list(dict.fromkeys(fingerprints))
    found: dict[str, bytes] = {}
    elsewhere = []
    rows = dict(Document.objects.filter(pk__in=wanted).values_list("pk", "body"))
    for sha in wanted:
        if sha not in rows:
            raise StoreDamaged(f"The stored document {sha} is missing.", detail={"missing": [sha]})
        body = rows[sha]
        if body is None:
            elsewhere.append(sha)
        else:
            found[sha] = bytes(body)
            unpacked(sha, found[sha])
    return found | read_packed(elsewhere)


def read(fingerprint: str) -> bytes:
    """The body of one document out of a storage, packed and proven. Raises as `read_packed`."""
    return read_packed([fingerprint])[fingerprint]


def read_packed(fingerprints: Iterable[str]) -> dict[str, bytes]:
    """Bodies of documents out of the storages that have them, packed and proven; another copy where one is bad.

    Raises ObjectMissing, ObjectDamaged, ObjectKeyUnknown naming the asset; StorageUnreachable and the like.
    """
    wanted = list(dict.fromkeys(fingerprints))
    copies: dict[str, list[DocumentCopy]] = {sha: [] for sha in wanted}
    for chunk in chunks(wanted, 500):
        for row in DocumentCopy.objects.filter(document__in=chunk).order_by("pk"):
            copies[row.document_id].append(row)
    found: dict[str, bytes] = {}
    failed: dict[str, StorageError] = {}
    left = list(wanted)
    while left:
        tried = [copies[sha].pop(0) for sha in left if copies[sha]]
        for row, outcome in fetch(tried):
            if isinstance(outcome, StorageError):
                failed.setdefault(row.document_id, outcome)
            else:
                found[row.document_id] = outcome
        left = [sha for sha in left if sha not in found and copies[sha]]
    for sha in wanted:
        if sha not in found:
            raise about(sha, failed.get(sha) or ObjectMissing("No storage has it any more."))
    return found


def fetch(rows: Iterable[DocumentCopy]) -> Iterator[tuple[DocumentCopy, bytes | StorageError]]:
    """The bodies that copies hold, packed and proven, or what is wrong with each."""
    envelope = named.envelope()
    by_storage: dict[str, list[DocumentCopy]] = {}
    for row in rows:
        by_storage.setdefault(row.storage, []).append(row)
    for storage, mine in by_storage.items():
        try:
            place = named.get(storage)
        except StorageError as exc:
            yield from ((row, exc) for row in mine)
            continue

        def opened(row: DocumentCopy, place: Storage = place) -> bytes:
            return proven(envelope, place.get(row.key), row.document_id)

        try:
            for row, outcome in calls.each(opened, mine, seconds=named.seconds(), words=place.words):
                if isinstance(outcome, ObjectMissing) and (moved := _elsewhere_now(row)) is not None:
                    yield from fetch([moved])
                else:
                    yield row, outcome
        except StorageUnreachable as exc:
            # It hangs: whoever has no answer yet gets this one, others may have another copy.
            yield from ((row, exc) for row in mine)


def _elsewhere_now(row: DocumentCopy) -> DocumentCopy | None:
    """The row of a copy that was sealed anew since it was read."""
    return DocumentCopy.objects.filter(pk=row.pk).exclude(key=row.key).first()


def proven(envelope: Envelope, data: bytes, fingerprint: str) -> bytes:
    """The packed body in an object. Raises ObjectDamaged, ObjectKeyUnknown."""
    body = envelope.open(data, fingerprint)
    try:
        unpacked(fingerprint, body)
    except StoreDamaged:
        raise ObjectDamaged("An object in the storage holds something else than it should.") from None
    return body


def about(fingerprint: str, error: StorageError) -> StorageError:
    """The same error, with the asset that it concerns in its words and its detail."""
    row = Document.objects.filter(pk=fingerprint).values("kind", "uuid", "title").first()
    if row is None or not isinstance(error, ObjectError):
        return error
    return type(error)(
        f"The {row['kind']} “{row['title']}” cannot be read: {error.message}",
        remedy=error.remedy,
        detail={"fingerprint": fingerprint, **row},
    )


# --- Out of the database --------------------------------------------------------------------------------------------


def drop_bodies() -> int:
    """Take the bodies out of the database that only backups in other storages need, each after its copy was read and
    proven. Returns how many.
    """
    dropped = 0
    before = timezone.now() - REMOVED_AFTER
    after = ""
    while rows := _droppable(after, before):
        after = rows[-1].document_id
        proof = {row.document_id for row, outcome in fetch(rows) if not isinstance(outcome, StorageError)}
        with transaction.atomic():
            # Locked, as whoever removes a copy locks it: one of the two sees what the other did.
            locked = Document.objects.select_for_update().filter(pk__in=proof).values_list("pk", flat=True)
            there = DocumentCopy.objects.filter(document__in=list(locked)).values_list(
                "document_id", flat=True
            )
            still = needed.only_by_backups_elsewhere(Document.objects.filter(pk__in=list(there)), before)
            dropped += Document.objects.filter(pk__in=list(still.values_list("pk", flat=True))).update(
                body=None
            )
    return dropped


def _droppable(after: str, before: datetime) -> list[DocumentCopy]:
    rows = needed.only_by_backups_elsewhere(Document.objects.filter(pk__gt=after), before)
    wanted = list(
        rows.filter(copies__isnull=False).distinct().order_by("pk").values_list("pk", flat=True)[:CHUNK]
    )
    found = DocumentCopy.objects.filter(document__in=wanted).order_by("document_id", "pk")
    return list({row.document_id: row for row in found}.values())


# --- Lists ----------------------------------------------------------------------------------------------------------


def listed(place: Storage, prefix: str) -> list:  # type: ignore[type-arg]
    return calls.once(
        lambda: list(place.objects(prefix)), seconds=named.seconds() * LISTING, words=place.words
    )


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
