"""Moving backups from one storage to another: written there, read back and proven, and only then found there. What it
was before goes with the tidying, as whatever no backup needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from django.db import transaction

from environments.backups.models import READABLE, Backup
from environments.store import StoreDamaged
from sstools.audit import services as audit
from sstools.errors import SSToolsError
from sstools.jobs.models import Source

from . import copies, manifests, named
from .errors import ObjectMissing, StorageError
from .models import DocumentCopy

Progress = Callable[[str, int, int], None]


@dataclass
class Moved:
    """`backups`: numbers of those that are at the new place now. `failed`: number -> why one stayed. `objects` and
    `bytes`: what was written, what was there already left out.
    """

    backups: list[int] = field(default_factory=list)
    failed: dict[int, SSToolsError] = field(default_factory=dict)
    objects: int = 0
    bytes: int = 0


def move(rows: Iterable[Backup], to: str, progress: Progress = lambda what, done, total: None) -> Moved:
    """Move these backups, one after the other. A backup that cannot be read whole stays where it is, and is named.

    To be called again after an error or a crash: what was written is used. Raises StorageNotSetUp, and what a storage
    says that is away, full or refuses; those that were moved by then are moved.
    """
    named.require(to)
    moved = Moved()
    proven: set[str] = set()
    waiting = [backup for backup in rows if backup.storage != to]
    for number, backup in enumerate(waiting):
        progress(f"Moving backup {backup.pk}", number, len(waiting))
        shas = sorted({sha for *_, sha in manifests.entries_of(backup.snapshot) if sha is not None})
        try:
            kept = copies.keep_copies(shas, to)
            moved.objects, moved.bytes = moved.objects + kept.objects, moved.bytes + kept.bytes
            _prove([sha for sha in shas if sha not in proven], to)
        except StoreDamaged as exc:
            moved.failed[backup.pk] = exc
            continue
        proven.update(shas)
        if _is_there_now(backup, to):
            moved.backups.append(backup.pk)
    return moved


def _prove(shas: list[str], storage: str) -> None:
    """Read each back. Raises StoreDamaged, StorageError."""
    for chunk in copies.chunks(shas, copies.CHUNK):
        if storage == named.DATABASE:
            copies.bodies_of(chunk)
            continue
        found = set()
        for row, outcome in copies.fetch(DocumentCopy.objects.filter(storage=storage, document__in=chunk)):
            if isinstance(outcome, StorageError):
                raise copies.about(row.document_id, outcome)
            found.add(row.document_id)
        for sha in chunk:
            if sha not in found:
                raise copies.about(sha, ObjectMissing("It was written, and is not there."))


def _is_there_now(backup: Backup, to: str) -> bool:
    """Write its list there, and say that this is where it is; unless it went meanwhile. Raises StorageError."""
    before, backup.storage = backup.storage, to
    manifests.write(backup)
    with transaction.atomic():
        mine = Backup.objects.filter(pk=backup.pk, storage=before, state__in=READABLE)
        if not mine.update(storage=to):
            return False
        audit.record(
            "backup:move", backup, actor=None, data={"from": before, "to": to}, source=Source.COMMAND
        )
    return True
