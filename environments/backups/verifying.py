"""Looking whether backups are whole: each document read from where the backup keeps it, and checked against its hash.

A document is read once, however many backups have it. What is found bad is said of every backup that has it there, also
of those that nobody asked about; all others stay as they are.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from environments import store
from environments.models import Document, SnapshotCompanion, SnapshotEntry
from environments.words import clean
from sstools.audit import services as audit
from sstools.errors import SSToolsError

from . import notices
from .models import READABLE, Backup, BackupState, Span
from .storages import copies, manifests, named
from .storages.errors import ObjectError, ObjectMissing, StorageError
from .storages.models import DocumentCopy

CHUNK = 200
MOST_PROBLEMS = 500

Progress = Callable[[str, int, int], None]
Row = tuple[str, str, str | None]  # kind, uuid, fingerprint


@dataclass
class Report:
    """What a look at several backups found. `unchecked`: number -> why nothing can be said of that one, a storage that
    does not answer. `objects`: documents that were read; `others`: backups that nobody asked about and that turned out
    to be corrupt.
    """

    checked: list[Backup] = field(default_factory=list)
    unchecked: dict[int, SSToolsError] = field(default_factory=dict)
    others: list[int] = field(default_factory=list)
    objects: int = 0

    @property
    def corrupt(self) -> list[Backup]:
        return [backup for backup in self.checked if problems_of(backup)]


def nothing(what: str, done: int, total: int) -> None:
    """For who does not want to know how far it is."""


def verify(backup: Backup, progress: Progress = nothing) -> Backup:
    """Read every document of a backup and say what is missing or damaged: good becomes corrupt, and corrupt good again.

    Raises StorageUnreachable and other StorageErrors where its storage cannot be asked, and what `progress` raises;
    then nothing is said of the backup.
    """
    report = verify_many([backup], progress)
    for error in report.unchecked.values():
        raise error
    return backup


def verify_many(
    backups: Iterable[Backup], progress: Progress = nothing, *, percent: int | None = None
) -> Report:
    """The same of several. `percent`: of the documents of each backup, by chance, instead of all of them; then what was
    corrupt stays so, as the rest was not looked at. Raises what `progress` raises.
    """
    report = Report()
    known: dict[str, dict[str, SSToolsError | None]] = {}  # storage -> fingerprint -> what is wrong with it
    for backup in backups:
        checker = _Checker(backup, known.setdefault(backup.storage, {}), progress, percent)
        try:
            checker.look()
        except StorageError as exc:
            report.unchecked[backup.pk] = exc
        else:
            report.checked.append(backup)
        report.objects += checker.read
    mine = {backup.pk for backup in report.checked}
    for storage, found in known.items():
        bad = {sha: error for sha, error in found.items() if error is not None}
        report.others += _tell_others(storage, bad, mine)
    return report


class _Checker:
    """One backup. `known`: of the documents in its storage that were looked at already; filled here."""

    def __init__(
        self,
        backup: Backup,
        known: dict[str, SSToolsError | None],
        progress: Progress,
        percent: int | None,
    ) -> None:
        self.backup, self.known, self.progress, self.percent = backup, known, progress, percent
        self.read = 0

    def look(self) -> None:
        """Raises StorageError."""
        backup = self.backup
        if backup.storage != named.DATABASE:
            copies.begin(named.get(backup.storage))
        entries = list(manifests.entries_of(backup.snapshot))
        rows: list[Row] = [(kind, uuid, sha) for kind, uuid, _, sha in entries]
        shas = list(dict.fromkeys(sha for *_, sha in rows if sha is not None))
        if self.percent is not None:
            number = max(1, len(shas) * self.percent // 100)
            shas = random.sample(shas, min(number, len(shas)))
        new = [sha for sha in shas if sha not in self.known]
        for start in range(0, len(new), CHUNK):
            self.progress(f"Checking backup {backup.pk}", start, len(new))
            chunk = new[start : start + CHUNK]
            self.known.update(_look_at(backup.storage, chunk))
            self.read += len(chunk)
        problems = self._of_the_list(entries)
        looked = set(shas)
        wrong = {sha: error for sha in looked if (error := self.known[sha]) is not None}
        problems += _problems(rows, wrong)
        checked = sum(1 for *_, sha in rows if sha in looked)
        _say(backup, problems, checked, whole=self.percent is None)

    def _of_the_list(self, entries: Sequence[manifests.Entry]) -> list[dict[str, str]]:
        """What is wrong with the list of what it holds, in the database and in the storage."""
        backup, found = self.backup, []
        if backup.digest and manifests.digest_of(entries) != backup.digest:
            text = "The list of what this backup holds is not what it was when it was taken."
            found.append({"code": "list_changed", "uuid": "", "title": "", "text": text})
        if backup.storage != named.DATABASE:
            try:
                manifests.check(backup)
            except ObjectError as exc:
                found.append({"code": exc.code, "uuid": "", "title": "", "text": exc.message})
        return found


def _look_at(storage: str, shas: list[str]) -> dict[str, SSToolsError | None]:
    """What is wrong with each of these documents in a storage, None for nothing. Raises StorageError."""
    found: dict[str, SSToolsError | None] = {}
    if storage == named.DATABASE:
        elsewhere = []
        rows = dict(Document.objects.filter(pk__in=shas).values_list("pk", "body"))
        for sha in shas:
            body = rows.get(sha)
            if body is None and sha in rows:
                elsewhere.append(sha)
                continue
            found[sha] = _wrong(sha, None if body is None else bytes(body))
        for sha in elsewhere:  # seldom: of another storage's backups, and needed by one of the database since
            try:
                copies.read(sha)
                found[sha] = None
            except ObjectError as exc:
                found[sha] = exc
        return found
    known = DocumentCopy.objects.filter(storage=storage, document__in=shas)
    for row, outcome in copies.fetch(known):
        if isinstance(outcome, StorageError) and not isinstance(outcome, ObjectError):
            raise outcome
        found[row.document_id] = outcome if isinstance(outcome, ObjectError) else None
    for sha in shas:
        found.setdefault(sha, ObjectMissing("It is not in the storage any more."))
    return found


def _wrong(sha: str, body: bytes | None) -> SSToolsError | None:
    if body is None:
        return store.StoreDamaged("The stored document is missing.")
    try:
        store.unpacked(sha, body)
    except store.StoreDamaged as exc:
        return exc
    return None


# --- Saying it ------------------------------------------------------------------------------------------------


def _problems(rows: Iterable[Row], wrong: dict[str, SSToolsError]) -> list[dict[str, str]]:
    """By asset, with its title."""
    titles = {
        sha: title
        for start in range(0, len(wrong), CHUNK)
        for sha, title in Document.objects.filter(pk__in=list(wrong)[start : start + CHUNK]).values_list(
            "pk", "title"
        )
    }
    return [
        {
            "code": wrong[sha].code,
            "uuid": uuid,
            "title": titles.get(sha, ""),
            "text": clean(f"{kind} “{titles.get(sha) or uuid}”: {wrong[sha].message}", 500),
        }
        for kind, uuid, sha in rows
        if sha is not None and sha in wrong
    ]


def _say(backup: Backup, problems: list[dict[str, str]], checked: int, *, whole: bool) -> None:
    """Write down what was found, unless the backup went meanwhile."""
    with transaction.atomic():
        fresh = (
            Backup.objects.select_for_update(of=("self",)).filter(pk=backup.pk, state__in=READABLE).first()
        )
        if fresh is None:
            return
        state = BackupState.CORRUPT if problems else BackupState.GOOD
        if not problems and not whole:
            state = BackupState(fresh.state)
            problems = problems_of(fresh)  # of the rest nothing is known
        backup.verified_at = timezone.now()
        backup.verification = {
            "state": state.value,
            "checked": checked,
            "problems": problems[:MOST_PROBLEMS],
            "whole": whole,
        }
        backup.state = state
        backup.save(update_fields=["state", "verified_at", "verification"])
        if state != fresh.state:
            if state == BackupState.CORRUPT:
                notices.corrupt(backup)
            data = {"problems": len(problems), "storage": backup.storage}
            audit.record(f"backup:{state.value}", backup, actor=None, data=data)


def problems_of(backup: Backup) -> list[dict[str, str]]:
    """What the last look found wrong."""
    return list((backup.verification or {}).get("problems", ()))


def _tell_others(storage: str, bad: dict[str, SSToolsError], known: set[int]) -> list[int]:
    """Backups beside these that have one of these documents in that storage are corrupt too. Returns their numbers."""
    if not bad:
        return []
    numbers: set[int] = set()
    readable = Backup.objects.readable().filter(storage=storage)
    for chunk in copies.chunks(bad, CHUNK):
        for model in (SnapshotEntry, SnapshotCompanion):
            rows = model._default_manager.filter(document__in=chunk, snapshot__backup__isnull=False)
            numbers.update(rows.values_list("snapshot_id", flat=True))
        for environment, first, last in Span.objects.filter(document__in=chunk).values_list(
            "environment_id", "first", "last"
        ):
            within = Q(pk__gte=first) & (Q() if last is None else Q(pk__lte=last))
            mine = readable.filter(within, environment=environment, snapshot__in_spans=True)
            numbers.update(mine.values_list("pk", flat=True))
    others = readable.filter(pk__in=numbers - known).select_related("snapshot__environment", "environment")
    told = []
    for backup in others:
        entries = [(kind, uuid, sha) for kind, uuid, _, sha in manifests.entries_of(backup.snapshot)]
        named_already = {one["uuid"]: one for one in problems_of(backup)}
        new = [one for one in _problems(entries, bad) if one["uuid"] not in named_already]
        checked = (backup.verification or {}).get("checked", 0)
        if new:
            _say(backup, [*named_already.values(), *new], checked, whole=False)
            told.append(backup.pk)
    return told


def summary(backup: Backup) -> dict[str, Any]:
    """What a job says of it."""
    return {
        "backup": backup.pk,
        "state": backup.state,
        "checked": (backup.verification or {}).get("checked", 0),
        "problems": len(problems_of(backup)),
    }
