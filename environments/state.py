"""Environments and the store in the state."""

from django.db.models import QuerySet

from sstools.state.tables import leave_out, table

from .backups.storages.copies import read_packed
from .backups.storages.errors import ObjectDamaged, ObjectMissing
from .models import (
    Asset,
    AssetReference,
    Document,
    Environment,
    GoneAsset,
    Pace,
    Reading,
    Slot,
    Snapshot,
    SnapshotCompanion,
    SnapshotEntry,
)
from .search.models import Entry, Word
from .store import latest_complete

READ_AGAIN = "is there again after the next reading"


def _snapshots() -> QuerySet[Snapshot]:
    """Backups, and of each environment what its next reading goes on from."""
    newest = [latest_complete(environment) for environment in Environment.objects.all()]
    numbers = [found.pk for found in newest if found is not None]
    return Snapshot.objects.filter(pk__in=numbers) | Snapshot.objects.filter(
        backup__state__in=("good", "corrupt")
    )


table(
    Environment,
    ("uuid",),
    "environments",
    leaves=(
        "version",
        "capabilities",
        "check_state",
        "check_report",
        "last_checked_at",
        "last_reached_at",
        "latency_ms",
        "asset_counts",
        "asset_tags",
        "inventory_at",
        "inventory_error",
    ),
)


def _bodies(fingerprints: list[str]) -> dict[str, bytes]:
    """Of documents that only a storage has. One that is missing there, or damaged, goes along as what it is: a backup
    with it is corrupt on either side. Raises StorageError for a storage that cannot be asked.
    """
    try:
        return read_packed(fingerprints)
    except (ObjectMissing, ObjectDamaged):
        if len(fingerprints) == 1:
            return {}
        half = len(fingerprints) // 2
        return _bodies(fingerprints[:half]) | _bodies(fingerprints[half:])


table(Document, ("sha256",), "documents", is_collected=True, fills={"body": _bodies})
table(Snapshot, ("uuid",), "snapshots", rows=_snapshots, of=("environment",), numbers=True)
table(
    SnapshotEntry,
    ("snapshot", "uuid"),
    "assets in snapshots",
    rows=lambda: SnapshotEntry.objects.filter(snapshot__in=_snapshots()),
    of=("snapshot",),
)
table(
    SnapshotCompanion,
    ("snapshot", "uuid"),
    "companions in snapshots",
    rows=lambda: SnapshotCompanion.objects.filter(snapshot__in=_snapshots()),
    of=("snapshot",),
)
leave_out(READ_AGAIN, Asset, AssetReference, GoneAsset, Reading, Entry, Word)
leave_out("of the traffic of this moment", Pace, Slot)
