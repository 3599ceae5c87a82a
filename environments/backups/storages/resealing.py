"""Sealing what a storage has anew, with the first of the keys: so that an old key can be given up."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from environments.backups.models import Backup

from . import calls, manifests, named
from .base import Storage
from .copies import CHUNK, about, object_key, proven
from .envelope import Envelope
from .errors import ObjectError, StorageError
from .models import DocumentCopy, Manifest

Progress = Callable[[str, int, int], None]


@dataclass
class Resealed:
    """How many objects and manifests were sealed anew, and how many were already. `failed`: what is wrong with each
    that could not be read; while there are any, no key may be given up.
    """

    objects: int = 0
    manifests: int = 0
    same: int = 0
    failed: list[StorageError] = field(default_factory=list)


def reseal(storage: str, progress: Progress = lambda what, done, total: None) -> Resealed:
    """Write every object that another key sealed once more, read it back, and only then say that it is there.

    Backups may be taken and read meanwhile. To be called again after an error. Raises StorageError where the storage
    does not answer, is full or refuses.
    """
    place, envelope, done = named.get(storage), named.envelope(), Resealed()
    rows = DocumentCopy.objects.filter(storage=storage).order_by("pk")
    total, after, looked = rows.count(), 0, 0
    while chunk := list(rows.filter(pk__gt=after)[:CHUNK]):
        progress("Objects", looked, total)
        after, looked = chunk[-1].pk, looked + len(chunk)

        def renewed(row: DocumentCopy) -> tuple[str, bytes] | None:
            return _renewed(place, envelope, row)

        for row, outcome in calls.each(renewed, chunk, seconds=named.seconds() * 3, words=place.words):
            if isinstance(outcome, StorageError):
                if not isinstance(outcome, ObjectError):
                    raise outcome
                done.failed.append(about(row.document_id, outcome))
            elif outcome is None:
                done.same += 1
            else:
                done.objects += _is_there_now(place, row, *outcome)
    _manifests(place, envelope, done, progress)
    return done


def _renewed(place: Storage, envelope: Envelope, row: DocumentCopy) -> tuple[str, bytes] | None:
    """Key and bytes of the new object, written and read back; None for one that is as it would be written today."""
    data = place.get(row.key)
    name = row.key.rpartition("/")[2].partition(".")[0]
    if envelope.is_sealed_with_the_first_key(data) and name == envelope.name_of(row.document_id):
        return None
    body = proven(envelope, data, row.document_id)
    key, sealed = object_key(envelope, row.document_id), envelope.seal(body, row.document_id)
    place.put(key, sealed)
    proven(envelope, place.get(key), row.document_id)
    return key, sealed


def _is_there_now(place: Storage, row: DocumentCopy, key: str, data: bytes) -> int:
    """From now on it is found there; the old object goes. A row that went meanwhile takes the new one with it."""
    seal = hashlib.sha256(data).hexdigest()
    mine = DocumentCopy.objects.filter(pk=row.pk, key=row.key)
    moved = mine.update(key=key, size=len(data), sha256=seal)
    gone = row.key if moved else key
    calls.once(lambda: place.delete(gone), seconds=named.seconds(), words=place.words)
    return moved


def _manifests(place: Storage, envelope: Envelope, done: Resealed, progress: Progress) -> None:
    backups = Backup.objects.readable().filter(storage=place.name).select_related("snapshot", "environment")
    for backup in backups.order_by("pk"):
        row = Manifest.objects.filter(snapshot=backup.snapshot.uuid, storage=place.name).first()
        try:
            if row is not None:
                found = row
                data = calls.once(
                    lambda found=found: place.get(found.key),  # type: ignore[misc]
                    seconds=named.seconds(),
                    words=place.words,
                )
                if envelope.is_sealed_with_the_first_key(data):
                    done.same += 1
                    continue
            manifests.write(backup)  # of what the rows say; what was there goes
            done.manifests += 1
        except ObjectError as exc:
            done.failed.append(exc)
