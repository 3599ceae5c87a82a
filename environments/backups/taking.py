"""Taking a backup: reading, keeping, and only then saying that it is good.

Of the whole environment it goes on from the last reading, as the inventory does: what changed is exported, what did not
is in the store. Then companions of every kind. Its spans, and that it is good, are written in one transaction.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Count, Exists, OuterRef, Q, Sum
from django.utils import timezone

from environments import readings, store
from environments.canonical.companions import CompanionKind
from environments.canonical.documents import Kind
from environments.canonical.ids import IdTable
from environments.canonical.references import closure
from environments.connections import connect
from environments.models import (
    Document,
    Environment,
    Reason,
    Snapshot,
    SnapshotCompanion,
    SnapshotEntry,
)
from environments.reading import read_selected
from environments.superset.client import SupersetClient
from environments.superset.companions import MORE_COLUMNS, CompanionsRead, read_companions
from environments.words import clean
from sstools.errors import SSToolsError, as_expected

from . import retention, spans
from .models import Backup, BackupReason, BackupState, Span
from .storages import copies, manifests, named

MOST_PROBLEMS = 500
CHUNK = 500
SKEW = timedelta(seconds=2)  # a server's clock has whole seconds, and a Superset may have several servers

Progress = Callable[[str, int, int], None]
Fenced = Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True)
class Asked:
    """What somebody, or a schedule, asked for. `selection`: None for the whole environment. `storage`: "" for the
    default.
    """

    title: str = ""
    selection: tuple[str, ...] | None = None
    storage: str = ""
    notes: str = ""
    reason: str = BackupReason.MANUAL
    actor: Any = None
    job: UUID | None = None
    schedule: UUID | None = None


def take(
    environment: Environment,
    asked: Asked,
    progress: Progress = lambda what, done, total: None,
    *,
    fenced: Fenced = transaction.atomic,
    before_request: Callable[[str, str], None] | None = None,
) -> Backup:
    """Back up now. Whatever ends it early leaves a failed backup that says why, and all others as they were.

    `fenced()`: the transaction in which its contents are written. Raises what reading raises, and what `progress` and
    `before_request` raise.
    """
    if asked.job is not None:
        done = (
            environment.backups.filter(job=asked.job, state=BackupState.GOOD)
            .select_related("snapshot")
            .first()
        )
        if done is not None:  # the worker was lost after that, before it could say so
            return done
    backup = _begin(environment, asked)
    try:
        if asked.selection is None:
            _take_whole(backup, progress, fenced, before_request)
        else:
            _take_selection(backup, asked.selection, progress, fenced, before_request)
    except BaseException as exc:
        _failed(backup, exc)
        raise
    return backup


@transaction.atomic
def _begin(environment: Environment, asked: Asked) -> Backup:
    """The row of this backup: a new one, or that of an attempt whose worker was lost, if none was taken since."""
    retention.lock(environment)
    running = Backup.objects.filter(environment=environment, state=BackupState.RUNNING)
    mine = running.filter(job=asked.job).select_related("snapshot").last() if asked.job else None
    if mine is not None and not environment.backups.filter(pk__gt=mine.pk).exists():
        running.exclude(pk=mine.pk).update(**_lost())
        mine.environment = environment
        return mine
    running.update(**_lost())  # there is one at a time, and this is it
    actor = asked.actor if getattr(asked.actor, "pk", None) else None
    snapshot = Snapshot.objects.create(environment=environment, reason=Reason.BACKUP, created_by=actor)
    return Backup.objects.create(
        snapshot=snapshot,
        environment=environment,
        title=asked.title,
        reason=asked.reason,
        whole=asked.selection is None,
        selection=list(asked.selection or ()),
        storage=named.require(asked.storage or named.default()),
        notes=asked.notes,
        job=asked.job,
        schedule=asked.schedule,
        created_by=actor,
    )


def _lost() -> dict[str, Any]:
    error = {
        "code": "worker_lost",
        "message": "Its worker was lost on the way. It holds nothing.",
        "remedy": "Take another one.",
    }
    return {"state": BackupState.FAILED, "ended_at": timezone.now(), "error": error}


def _failed(backup: Backup, exc: BaseException) -> None:
    """Say why, unless another worker has it now, or this process ends: then nothing is known here, see `_begin`."""
    if not isinstance(exc, Exception):
        return
    error = as_expected(exc) or SSToolsError(
        "Something unexpected happened; the log of the job has it. This backup holds nothing.",
        code="unexpected",
    )
    mine = Backup.objects.filter(pk=backup.pk, state=BackupState.RUNNING)
    mine.update(state=BackupState.FAILED, ended_at=timezone.now(), error=error.as_dict())


def end_with_job(job: UUID, error: Mapping[str, Any]) -> None:
    """A job ended whose backup did not: it failed. Called in the transaction that ends the job."""
    rows = Backup.objects.filter(job=job, state=BackupState.RUNNING)
    rows.update(state=BackupState.FAILED, ended_at=timezone.now(), error=dict(error))


# --- The whole environment ------------------------------------------------------------------------------------


def _take_whole(
    backup: Backup,
    progress: Progress,
    fenced: Fenced,
    before_request: Callable[[str, str], None] | None,
) -> None:
    environment = backup.environment
    with connect(environment, before_request=before_request) as client:
        client.keep_lists(MORE_COLUMNS)
        source = readings.run(environment, progress, job=backup.job, client=client).snapshot
        assert source is not None
        entries = list(
            source.entries.values_list("kind", "uuid", "superset_id", "document_id", "exported_at")
        )
        held: dict[spans.Key, spans.Content] = {
            (kind, uuid): (number, sha) for kind, uuid, number, sha, _ in entries
        }
        ids = IdTable((Kind(kind), number, uuid) for kind, uuid, number, *_ in entries if number is not None)
        exported = {uuid: at for kind, uuid, *_, at in entries if kind == Kind.DASHBOARD and at is not None}
        found = _companions(backup, client, ids, progress, unmoved=_unmoved(environment, exported))
        backup.seen_at = max((at for *_, at in entries if at is not None), default=None)
    for uuid, companion in found.documents.items():
        held[companion.kind.value, uuid] = (None, companion.fingerprint)
    backup.snapshot.exported_at, backup.snapshot.notes = source.exported_at, source.notes
    keep(backup, [(*key, *content) for key, content in held.items()], progress)
    with fenced():
        write_whole(backup, held, exported_at=source.exported_at, notes=source.notes)


def write_whole(
    backup: Backup,
    held: Mapping[spans.Key, spans.Content],
    *,
    exported_at: datetime | None,
    notes: list[dict[str, str]],
) -> None:
    """Have a running backup of a whole environment, the newest of it, hold exactly this, and be good. In the caller's
    transaction; the documents are kept already.
    """
    retention.lock(backup.environment)
    changed = spans.write(backup.environment, backup.pk, held)
    snapshot = backup.snapshot
    snapshot.complete, snapshot.in_spans = True, True
    snapshot.exported_at, snapshot.notes = exported_at, notes
    snapshot.save(update_fields=["complete", "in_spans", "exported_at", "notes"])
    _finish(backup, changed)


def _companions(
    backup: Backup,
    client: SupersetClient,
    ids: IdTable,
    progress: Progress,
    *,
    assets: Collection[str] | None = None,
    unmoved: Mapping[str, str | None] | None = None,
) -> CompanionsRead:
    """Companions of every kind, into the store; which could not be read stays with the backup."""
    progress("Reading what goes with assets", 0, 1)
    found = read_companions(client, CompanionKind, ids, assets=assets, unmoved=unmoved)
    store.put_documents(found.documents.values())
    backup.companions_read = {
        kind.value: clean(found.unreadable.get(kind, ""), 500) for kind in CompanionKind
    }
    backup.problems = [
        {"code": note.code, "uuid": note.uuid, "title": "", "text": clean(note.text, 500)}
        for note in found.notes[:MOST_PROBLEMS]
    ]
    return found


def _unmoved(environment: Environment, exported: Mapping[str, datetime]) -> dict[str, str | None]:
    """Of the dashboards (uuid -> when their content was exported) those that did not change since the last backup of
    everything -> the uuid of the theme that they had then, which takes a request of each to find out. Whoever gives one
    another theme changes it (L6.0 L6.1), and then its content is exported again.
    """
    rows = Backup.objects.readable().filter(environment=environment, snapshot__in_spans=True)
    last = rows.select_related("snapshot").order_by("-pk").first()
    if last is None or last.seen_at is None or last.companions_read.get(CompanionKind.THEME_USE) != "":
        return {}
    held = spans.within(environment, last.pk)
    facets = held.filter(kind=CompanionKind.THEME_USE).values_list("document_id", flat=True)
    themes: dict[str, str | None] = {}
    for facet in store.get_companions(sha for sha in facets if sha is not None).values():
        if facet.asset is not None:
            themes[facet.asset[1]] = str(facet.body["theme"]["uuid"])
    there = set(held.filter(kind=Kind.DASHBOARD).values_list("uuid", flat=True))
    return {
        uuid: themes.get(uuid) for uuid, at in exported.items() if uuid in there and at + SKEW < last.seen_at
    }


# --- A selection ----------------------------------------------------------------------------------------------


def _take_selection(
    backup: Backup,
    selection: Iterable[str],
    progress: Progress,
    fenced: Fenced,
    before_request: Callable[[str, str], None] | None,
) -> None:
    environment = backup.environment
    asked = {(kind, uuid) for kind, _, uuid in (item.partition(":") for item in selection)}
    known = {
        (kind, uuid): number
        for kind, uuid, number in environment.assets.values_list("kind", "uuid", "superset_id")
    }
    wanted: dict[Kind, list[int]] = {}
    for kind, uuid in sorted(asked & known.keys()):
        wanted.setdefault(Kind(kind), []).append(known[kind, uuid])
    with connect(environment, before_request=before_request) as client:
        if environment.known_capabilities is None:
            readings.keep_capabilities(environment, client.detect())
        read = read_selected(client, environment, wanted, progress=progress)
        # Where all of a small estate was exported, what nobody asked for is left out again.
        chosen = closure([uuid for _, uuid in asked], read.documents)
        read.documents = {uuid: read.documents[uuid] for uuid in chosen}
        read.complete = False
        read.notes = tuple(note for note in read.notes if note.uuid in chosen)
        gone = sorted((kind, uuid) for kind, uuid in asked if uuid not in chosen)
        if len(gone) == len(asked):
            raise SSToolsError(
                f"Nothing of what was chosen is in {environment.name} any more. This backup holds nothing.",
                code="selection_gone",
                remedy="Read the environment anew, and choose again.",
            )
        found = _companions(backup, client, read.ids, progress, assets=chosen)
    read.companions = dict(found.documents)
    titles = {
        (kind, uuid): title for kind, uuid, title in environment.assets.values_list("kind", "uuid", "title")
    }
    backup.problems += [
        {
            "code": "not_there",
            "uuid": uuid,
            "title": titles.get((kind, uuid), ""),
            "text": f"This {kind} was chosen and could not be exported: it is gone, or cannot be read.",
        }
        for kind, uuid in gone
    ]
    store.put_documents(read.documents.values())
    rows: list[SnapshotEntry | SnapshotCompanion] = [
        *store.entries_from(backup.snapshot, read),
        *store.companion_entries_from(backup.snapshot, read),
    ]
    entries = [(row.kind, row.uuid, getattr(row, "superset_id", None), row.document_id) for row in rows]
    keep(backup, entries, progress)
    with fenced():
        store.fill_snapshot(backup.snapshot, read)
        _finish(backup, [sha for *_, sha in entries if sha is not None])


# --- Common ---------------------------------------------------------------------------------------------------


def keep(backup: Backup, entries: Sequence[manifests.Entry], progress: Progress) -> None:
    """Have the backup's storage hold these documents, and the list of them, before anybody is told that they are safe.
    Raises StoreDamaged, StorageUnreachable, StorageFull, StorageRefused, StorageError.
    """
    wanted = sorted({sha for *_, sha in entries if sha is not None})
    progress("Keeping the documents", 0, len(wanted))
    missing = store.missing_documents(wanted)
    if missing:
        raise store.StoreDamaged(
            f"{len(missing)} stored documents are missing. This backup holds nothing.",
            remedy="Read the environment anew, and take another one.",
            detail={"missing": missing[:20]},
        )
    copies.keep_copies(
        wanted, backup.storage, lambda done, total: progress("Keeping the documents", done, total)
    )
    manifests.write(backup, entries)


def _finish(backup: Backup, changed: Iterable[str]) -> None:
    """It is good: what it holds, by what the database says now."""
    describe(backup, changed)
    backup.problems = (_unreadable(backup) + backup.problems)[:MOST_PROBLEMS]
    backup.state, backup.ended_at, backup.error = BackupState.GOOD, timezone.now(), None
    backup.save()


def describe(backup: Backup, changed: Iterable[str] = ()) -> None:
    """Set counts, sizes and digest from the rows that hold its contents; not saved. `changed`: the fingerprints that
    may be in no older backup. Raises StoreDamaged where a document is missing.
    """
    snapshot = backup.snapshot
    digest = hashlib.sha256()
    counts: Counter[str] = Counter()
    size = 0
    lines: list[str] = []
    for rows in (store.entries_of(snapshot), store.companion_entries_of(snapshot)):
        columns = ("kind", "uuid", "document_id", "document__size")
        for kind, uuid, sha, bytes_held in rows.values_list(*columns).iterator(chunk_size=2000):
            lines.append(digest_line(kind, uuid, sha))
            if sha is not None and bytes_held is None:
                raise store.StoreDamaged(
                    f"The document of {kind} {uuid} is no longer stored. This backup holds nothing.",
                    remedy="Take another one.",
                )
            if sha is not None:
                counts[kind] += 1
                size += bytes_held
    for line in sorted(lines):
        digest.update(line.encode())
    backup.counts, backup.size_bytes, backup.digest = dict(sorted(counts.items())), size, digest.hexdigest()
    backup.added_documents, backup.added_bytes = _added(backup, sorted(set(changed)))


def digest_line(kind: str, uuid: str, sha: str | None) -> str:
    """One line of what a backup's digest is the SHA-256 of, all lines sorted."""
    return f"{kind} {uuid} {sha or '-'}\n"


def _added(backup: Backup, hashes: list[str]) -> tuple[int, int]:
    """Number and packed bytes of those of these documents that no other backup holds."""
    number = size = 0
    elsewhere = ~Q(snapshot=backup.pk) & Q(snapshot__backup__isnull=False)
    mine = Q(environment=backup.environment_id, first=backup.pk)
    others = (
        Span.objects.filter(~mine, document=OuterRef("pk")),
        SnapshotEntry.objects.filter(elsewhere, document=OuterRef("pk")),
        SnapshotCompanion.objects.filter(elsewhere, document=OuterRef("pk")),
    )
    for start in range(0, len(hashes), CHUNK):
        rows = Document.objects.filter(pk__in=hashes[start : start + CHUNK])
        for other in others:
            rows = rows.exclude(Exists(other))
        found = rows.aggregate(number=Count("pk"), size=Sum(retention.packed_size()))
        number, size = number + found["number"], size + (found["size"] or 0)
    return number, size


def _unreadable(backup: Backup) -> list[dict[str, str]]:
    """What was there and could not be exported, with what Superset said."""
    rows = store.entries_of(backup.snapshot).filter(document=None)
    lost = dict(rows.values_list("uuid", "kind")[:MOST_PROBLEMS])
    if not lost:
        return []
    said = {note["uuid"]: note["text"] for note in backup.snapshot.notes if note["code"] == "unreadable"}
    assets = backup.environment.assets.filter(uuid__in=list(lost)).values_list("uuid", "title")
    titles = dict(assets)
    return [
        {
            "code": "unreadable",
            "uuid": uuid,
            "title": titles.get(uuid, ""),
            "text": clean(said.get(uuid, f"This {kind} could not be exported."), 500),
        }
        for uuid, kind in sorted(lost.items())
    ]
