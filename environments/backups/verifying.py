"""Looking whether a backup is whole: each document read and checked against its hash."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from django.utils import timezone

from environments import store
from environments.canonical.documents import Kind

from .models import READABLE, Backup, BackupState

CHUNK = 200
MOST_PROBLEMS = 500
KINDS = frozenset(kind.value for kind in Kind)

Progress = Callable[[str, int, int], None]


def verify(backup: Backup, progress: Progress = lambda what, done, total: None) -> Backup:
    """Read every document of a backup and say what is missing or damaged: good becomes corrupt, and corrupt good again.

    Raises what `progress` raises; then nothing is said of the backup.
    """
    problems: list[dict[str, str]] = []
    rows = [
        (kind, uuid, sha)
        for held in (store.entries_of(backup.snapshot), store.companion_entries_of(backup.snapshot))
        for kind, uuid, sha in held.values_list("kind", "uuid", "document_id")
        if sha is not None
    ]
    for start in range(0, len(rows), CHUNK):
        progress(f"Checking backup {backup.pk}", start, len(rows))
        problems += _problems(rows[start : start + CHUNK])
    state = BackupState.CORRUPT if problems else BackupState.GOOD
    backup.verified_at = timezone.now()
    backup.verification = {"state": state.value, "checked": len(rows), "problems": problems[:MOST_PROBLEMS]}
    mine = Backup.objects.filter(pk=backup.pk, state__in=READABLE)
    if mine.update(state=state, verified_at=backup.verified_at, verification=backup.verification):
        backup.state = state
    return backup


def _problems(rows: list[tuple[str, str, str]]) -> Iterator[dict[str, str]]:
    """Of a chunk; one by one only where the chunk as a whole could not be read."""
    try:
        _read(rows)
        return
    except store.StoreDamaged:
        pass
    for row in rows:
        try:
            _read([row])
        except store.StoreDamaged as exc:
            kind, uuid, _ = row
            yield {"code": exc.code, "uuid": uuid, "title": "", "text": f"{kind} {uuid}: {exc.message}"}


def _read(rows: list[tuple[str, str, str]]) -> None:
    store.get_documents(sha for kind, _, sha in rows if kind in KINDS)
    store.get_companions(sha for kind, _, sha in rows if kind not in KINDS)


def summary(backup: Backup) -> dict[str, Any]:
    """What a job says of it."""
    found = backup.verification or {}
    return {
        "backup": backup.pk,
        "state": backup.state,
        "checked": found.get("checked", 0),
        "problems": len(found.get("problems", ())),
    }
