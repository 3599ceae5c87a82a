"""Deleting objects that nothing needs: rows first, objects after. What a crash leaves between the two is an object that
no row knows: an orphan, which only a look at the whole storage finds.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from environments.backups.models import Backup
from environments.models import Document
from sstools.errors import Conflict

from . import calls, named, needed
from .base import Storage, StoredObject
from .copies import CHUNK, OBJECTS, REMOVED_AFTER, begin, listed
from .errors import StorageError
from .manifests import MANIFESTS, Unknown, unknown_manifests
from .models import DocumentCopy, Manifest

logger = logging.getLogger(__name__)

ORPHANED_AFTER = timedelta(days=1)  # what was written a moment ago gets its row in a moment


def forget_objects() -> int:
    """Objects of documents and backups that are gone, in all storages that answer. Returns how many."""
    return _forget_manifests() + _forget_copies()


def _forget_copies() -> int:
    removed = 0
    before = timezone.now() - REMOVED_AFTER
    while True:
        with transaction.atomic():
            found = list(needed.superfluous(before).order_by("pk").values_list("pk", "document_id")[:CHUNK])
            # Locked before asking once more, as whoever takes a body out of the database locks it.
            documents = Document.objects.select_for_update().filter(pk__in=[sha for _, sha in found])
            list(documents.values_list("pk", flat=True))
            mine = needed.superfluous(before).filter(pk__in=[pk for pk, _ in found])
            gone = list(mine.values_list("pk", "storage", "key"))
            DocumentCopy.objects.filter(pk__in=[pk for pk, _, _ in gone]).delete()
        if not gone:
            return removed
        _delete((storage, key) for _, storage, key in gone)
        removed += len(gone)


def _forget_manifests() -> int:
    """Rows last here: the key of a manifest is its own, and a row that stays is tried again."""
    backups = Backup.objects.filter(snapshot__uuid=OuterRef("snapshot"), storage=OuterRef("storage"))
    rows = list(
        Manifest.objects.filter(~Exists(backups), stored_at__lt=timezone.now() - REMOVED_AFTER).values_list(
            "pk", "storage", "key"
        )
    )
    deleted = _delete((storage, key) for _, storage, key in rows)
    Manifest.objects.filter(pk__in=[pk for pk, storage, key in rows if (storage, key) in deleted]).delete()
    return len(deleted)


def _delete(keys: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    """Returns what is gone. A storage that is away keeps its objects, which are orphans then."""
    by_storage: dict[str, list[str]] = {}
    for storage, key in keys:
        by_storage.setdefault(storage, []).append(key)
    gone: set[tuple[str, str]] = set()
    for storage, mine in by_storage.items():
        try:
            place = named.get(storage)
            for key, failed in calls.each(place.delete, mine, seconds=named.seconds(), words=place.words):
                if failed is not None:
                    raise failed
                gone.add((storage, key))
        except StorageError as exc:
            logger.warning("Objects in the storage %s were not deleted: %s", storage, exc.message)
    return gone


# --- Orphans --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Orphans:
    """`objects`: in the storage, old enough, and known to no row. `unknown`: backups there that this ss-tools does not
    know; while there are any, nobody can say of an object that it is needed by nothing.
    """

    storage: str
    objects: list[StoredObject]
    unknown: list[Unknown]

    @property
    def bytes(self) -> int:
        return sum(one.size for one in self.objects)


def orphans(storage: str) -> Orphans:
    """Look at all that is in a storage. Raises StorageError."""
    place = named.get(storage)
    begin(place)
    before = timezone.now() - ORPHANED_AFTER
    found = [one for prefix in (OBJECTS, MANIFESTS) for one in listed(place, prefix)]
    # The rows after the objects: what is written in between has its row, and is too young anyway.
    known = set(DocumentCopy.objects.filter(storage=storage).values_list("key", flat=True))
    known |= set(Manifest.objects.filter(storage=storage).values_list("key", flat=True))
    lost = [one for one in found if one.key not in known and one.changed_at < before]
    unknown = unknown_manifests(place, [one for one in lost if one.key.startswith(MANIFESTS)])
    return Orphans(storage, lost, unknown)


def remove_orphans(found: Orphans) -> int:
    """Delete them. Returns how many. Raises Conflict where the storage has backups of another ss-tools, or of this one
    before its database was lost: their objects look the same.
    """
    if found.unknown:
        raise Conflict(
            f"The storage {found.storage} holds {len(found.unknown)} backups that this ss-tools does not know. "
            "Nothing was deleted.",
            code="unknown_backups",
            remedy="Import them first, or give each ss-tools a prefix or folder of its own.",
        )
    deleted = _delete((found.storage, one.key) for one in found.objects)
    if len(deleted) < len(found.objects):
        raise StorageError(f"Only {len(deleted)} of {len(found.objects)} objects were deleted.")
    return len(deleted)


__all__ = ["Orphans", "Storage", "forget_objects", "orphans", "remove_orphans"]
