"""For how long backups are kept, what of them goes, and how much they take."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import BigIntegerField, Exists, F, OuterRef, QuerySet, Sum
from django.db.models.functions import Coalesce, Length
from django.utils import timezone

from environments.models import Document, Environment, SnapshotCompanion, SnapshotEntry
from sstools.audit import services as audit
from sstools.errors import Conflict
from sstools.texts import counted

from . import hooks, spans
from .models import Backup, BackupReason, BackupState, Policy, QuotaAction, Span
from .storages.models import DocumentCopy

FAILED_DAYS = 30  # a failed one holds nothing, and its reason is read by then
CHUNK = 500


@dataclass(frozen=True)
class Decision:
    """Whether the rules keep a backup, and which: words such as "the last of 2026-11"."""

    backup: Backup
    keeps: bool
    why: str


@dataclass(frozen=True)
class Preview:
    """What a tidying would do now. `frees`: bytes that no other backup, reading or plan needs."""

    decisions: tuple[Decision, ...]
    frees: int

    @property
    def removed(self) -> list[Backup]:
        return [one.backup for one in self.decisions if not one.keeps]


@dataclass(frozen=True)
class Usage:
    """How much the backups of an environment take, each document counted once. `quota`: None for no limit."""

    documents: int
    size: int
    quota: int | None
    action: str

    @property
    def is_over(self) -> bool:
        return self.quota is not None and self.size >= self.quota

    @property
    def percent(self) -> int | None:
        return None if not self.quota else self.size * 100 // self.quota


# --- Rules ----------------------------------------------------------------------------------------------------


def decide(policy: Policy, backups: Iterable[Backup], *, now: datetime | None = None) -> list[Decision]:
    """What the rules say of these, which are all of the environment; newest first. Nothing is asked but `hooks`."""
    now = now or timezone.now()
    rows = sorted(backups, key=lambda backup: -backup.pk)
    reasons = {} if not policy.enabled else _by_rules(policy, rows, now)
    held = dict.fromkeys((row.pk for row in rows), "retention is off") if not policy.enabled else {}
    going = [row.pk for row in rows if row.pk not in reasons and row.pk not in held]
    held |= hooks.needed_by(going)
    return [
        Decision(
            row,
            row.pk in reasons or row.pk in held,
            reasons.get(row.pk) or held.get(row.pk) or _gone(policy, row),
        )
        for row in rows
    ]


def _by_rules(policy: Policy, rows: Sequence[Backup], now: datetime) -> dict[int, str]:
    """Number -> what keeps it, of those that something keeps."""
    kept: dict[int, str] = {}
    for row in rows:
        if row.state == BackupState.RUNNING:
            kept[row.pk] = "it is being taken"
        elif row.pinned:
            kept[row.pk] = "pinned"
        elif row.keep_until is not None and row.keep_until > now:
            kept[row.pk] = f"kept until {_day(row.keep_until)}"
        elif row.state == BackupState.FAILED:
            if row.started_at > now - timedelta(days=FAILED_DAYS):
                kept[row.pk] = f"failed less than {FAILED_DAYS} days ago"
        elif row.reason == BackupReason.RESTORE_POINT and row.started_at > now - timedelta(
            days=policy.restore_point_days
        ):
            kept[row.pk] = f"restore point of the last {counted(policy.restore_point_days, 'day')}"
    series: dict[tuple[str, ...], list[Backup]] = {}
    for row in rows:
        if row.is_readable and row.reason != BackupReason.RESTORE_POINT:
            series.setdefault((str(row.whole), *row.selection), []).append(row)
    for one in series.values():
        # A corrupt one takes no place from a good one, and keeps its own as long as it would were it good.
        good = [row for row in one if row.is_good]
        kept = _of_series(policy, one) | _of_series(policy, good) | kept
        if good and good[0].whole:
            kept.setdefault(good[0].pk, "the newest good one")
    return kept


def _of_series(policy: Policy, rows: Sequence[Backup]) -> dict[int, str]:
    """Backups of one selection, newest first."""
    kept: dict[int, str] = {}
    rules: tuple[tuple[int, Callable[[date], Any], Callable[[date], str]], ...] = (
        (policy.monthly, lambda day: (day.year, day.month), lambda day: f"the last of {day:%Y-%m}"),
        (policy.weekly, lambda day: day.isocalendar()[:2], _week),
        (policy.daily, lambda day: day, lambda day: f"the last of {day}"),
    )
    for number, bucket, words in rules:
        seen: set[Any] = set()
        for row in rows:
            day = timezone.localdate(row.started_at)
            if bucket(day) in seen:
                continue
            if len(seen) == number:
                break
            seen.add(bucket(day))
            kept[row.pk] = words(day)
    return kept | {row.pk: f"one of the last {policy.keep_last}" for row in rows[: policy.keep_last]}


def _week(day: date) -> str:
    year, week, _ = day.isocalendar()
    return f"the last of week {week} of {year}"


def _day(moment: datetime) -> str:
    return f"{timezone.localdate(moment)}"


def _gone(policy: Policy, row: Backup) -> str:
    if row.state == BackupState.FAILED:
        return f"failed more than {FAILED_DAYS} days ago"
    if row.reason == BackupReason.RESTORE_POINT:
        return f"restore point older than {counted(policy.restore_point_days, 'day')}"
    return "no rule keeps it"


def policy_of(environment: Environment) -> Policy:
    """How its backups are kept; where nobody said anything the defaults, not saved."""
    return Policy.objects.filter(environment=environment).first() or Policy(environment=environment)


def preview(
    environment: Environment, policy: Policy | None = None, *, now: datetime | None = None
) -> Preview:
    """What a tidying would remove, with the policy of the environment or the given one, which need not be saved."""
    rows = environment.backups.select_related("environment", "snapshot").defer("problems", "verification")
    decisions = decide(policy or policy_of(environment), rows, now=now)
    gone = [one.backup for one in decisions if not one.keeps]
    return Preview(tuple(decisions), would_free(environment, gone))


# --- Removing -------------------------------------------------------------------------------------------------


def forget_backups() -> int:
    """Remove what no rule keeps, of all environments. Returns how many went. May run at any time, and beside itself."""
    return sum(len(tidy(environment)) for environment in Environment.objects.order_by("pk"))


def tidy(environment: Environment, *, now: datetime | None = None) -> list[int]:
    """Remove what no rule keeps of one environment; the others are told what keeps them. Returns the numbers
    that went.
    """
    rows = environment.backups.select_related("snapshot").defer("problems", "verification")
    gone: list[int] = []
    for decision in decide(policy_of(environment), rows, now=now):
        row = decision.backup
        if decision.keeps:
            if row.kept_by != decision.why:
                Backup.objects.filter(pk=row.pk).update(kept_by=decision.why)
            continue
        with transaction.atomic():
            # Pinned, prolonged or needed since the rules were asked: then it stays.
            fresh = (
                Backup.objects.select_for_update(of=("self",))
                .select_related("snapshot")
                .filter(pk=row.pk)
                .first()
            )
            if fresh is None or not _is_as(fresh, row) or hooks.needed_by([row.pk]):
                continue
            remove(fresh, sweep=False)
        gone.append(row.pk)
    if gone:
        with transaction.atomic():
            lock(environment)
            spans.forget(environment)
            audit.record("backup:expire", environment, actor=None, data={"backups": sorted(gone)})
    return gone


def _is_as(fresh: Backup, row: Backup) -> bool:
    names = ("pinned", "keep_until", "state")
    return all(getattr(fresh, name) == getattr(row, name) for name in names)


def remove(backup: Backup, *, sweep: bool = True) -> None:
    """Forget a backup and what it alone holds, but documents: those go when nothing refers to them (`readings`).

    In the caller's transaction. Without `sweep` the caller calls `spans.forget` itself.
    """
    lock(backup.environment_id)
    hooks.let_go([backup.pk])
    in_spans = backup.snapshot.in_spans
    backup.snapshot.delete()
    if sweep and in_spans:
        spans.forget(backup.environment_id)


def lock(environment: Environment | int) -> None:
    """Nobody else writes or removes spans of this environment until the transaction ends. Without it a backup could
    count on a span that a removal takes away.
    """
    pk = environment if isinstance(environment, int) else environment.pk
    list(Environment.objects.select_for_update(no_key=True).filter(pk=pk).values_list("pk"))


# --- Sizes ----------------------------------------------------------------------------------------------------


def usage(environment: Environment) -> Usage:
    """What the backups of an environment take now."""
    policy = policy_of(environment)
    rows = Document.objects.filter(
        Exists(Span.objects.filter(environment=environment, document=OuterRef("pk")))
    ) | Document.objects.filter(_held_by_rows(environment.backups.values("pk")))
    found = rows.aggregate(size=Sum(packed_size()))
    return Usage(rows.count(), found["size"] or 0, policy.quota_bytes, policy.quota_action)


def packed_size() -> Any:
    """Bytes that a document takes: packed in the database, else as it is counted in a storage."""
    return Coalesce(Length("body"), F("size"), output_field=BigIntegerField())


def _held_by_rows(numbers: QuerySet[Any]) -> Any:
    entry = SnapshotEntry.objects.filter(document=OuterRef("pk"), snapshot__in=numbers)
    companion = SnapshotCompanion.objects.filter(document=OuterRef("pk"), snapshot__in=numbers)
    return Exists(entry) | Exists(companion)


def refuse_over_quota(environment: Environment) -> None:
    """Raises Conflict("quota") where its backups take what they may, and no more are to be taken then."""
    policy = policy_of(environment)
    if policy.quota_bytes is None or policy.quota_action != QuotaAction.REFUSE:
        return
    found = usage(environment)
    if found.is_over:
        raise Conflict(
            f"The backups of {environment.name} take {found.size:,} bytes of the {found.quota:,} that they may. "
            "No backup was taken.",
            code="quota",
            remedy="Delete some, keep them for less long, or allow more, in the retention of the environment.",
        )


def would_free(environment: Environment, gone: Collection[Backup]) -> int:
    """Bytes of the documents that only these backups need."""
    if not gone:
        return 0
    removed = {backup.pk for backup in gone}
    in_spans = environment.backups.filter(snapshot__in_spans=True).exclude(pk__in=list(removed))
    staying = sorted(in_spans.values_list("pk", flat=True))
    lost: set[int] = set()
    candidates: set[str] = set()
    rows = Span.objects.filter(environment=environment).values_list("pk", "document_id", "first", "last")
    for pk, sha, first, last in rows.iterator(chunk_size=2000):
        if not spans.has_any(staying, first, last):
            lost.add(pk)
            if sha is not None:
                candidates.add(sha)
    for model in (SnapshotEntry, SnapshotCompanion):
        held = model.objects.filter(snapshot__in=list(removed), document__isnull=False)
        candidates.update(held.values_list("document_id", flat=True).iterator(chunk_size=2000))
    wanted = sorted(candidates)
    return sum(_free(wanted[start : start + CHUNK], lost, removed) for start in range(0, len(wanted), CHUNK))


def _free(hashes: list[str], lost: set[int], removed: set[int]) -> int:
    used = {
        sha
        for pk, sha in Span.objects.filter(document__in=hashes).values_list("pk", "document_id")
        if pk not in lost
    }
    for relation in Document._meta.related_objects:
        model: Any = relation.related_model
        if model in (Span, DocumentCopy):
            continue
        others = model._base_manager.filter(**{f"{relation.field.name}__in": hashes})
        if model in (SnapshotEntry, SnapshotCompanion):
            others = others.exclude(snapshot__in=list(removed))
        used.update(others.values_list(f"{relation.field.name}_id", flat=True))
    rows = Document.objects.filter(pk__in=[sha for sha in hashes if sha not in used])
    return int(rows.aggregate(size=Sum(packed_size()))["size"] or 0)
