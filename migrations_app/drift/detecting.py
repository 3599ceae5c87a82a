"""Holding what the inventory of a target says against what was left there. Asks no Superset."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from environments.canonical.comparison import comparison_fingerprint
from environments.canonical.documents import Document, Kind
from environments.canonical.references import references
from environments.models import Asset, Environment, GoneAsset, ReadingState, SnapshotEntry
from environments.store import get_documents
from environments.words import clean, cleaned
from migrations_app.engine.diff import field_changes
from migrations_app.engine.drift import Drift, How, drifts
from migrations_app.engine.sentences import sentence
from migrations_app.models import Baseline, MigrationState, PlanItem, Run, RunState
from migrations_app.places import applied_documents
from migrations_app.release.models import Route

from . import notices
from .models import Answer, Check, Finding, FindingState

CHUNK = 500  # keys per query
MOST_CHANGES = 200  # of one finding that are kept; the page says how many there are more
#: Runs that left something that no baseline tells of.
UNSETTLED = (RunState.NEEDS_ATTENTION, RunState.ACCEPTED)


@dataclass
class Found:
    """What one look changed. `told`: found for the first time, or edited since people were told."""

    told: list[Finding] = field(default_factory=list)
    closed: list[Finding] = field(default_factory=list)


@dataclass(frozen=True)
class Base:
    """A baseline's row, as far as it is needed."""

    present: str
    document: str | None
    run: int | None


def environment_was_read(environment: Environment, changed: frozenset[tuple[str, str]] | None) -> None:
    """After every reading of a target, whoever asked for it. What plans and runs read is looked at with the next one:
    only of a reading it is known when it began, and so which runs it may have missed.
    """
    if not environment.readings.filter(state=ReadingState.RUNNING).exists():
        return
    if (
        Route.objects.filter(target=environment).exists()
        or Baseline.objects.filter(target=environment).exists()
    ):
        look(environment)


@transaction.atomic
def look(target: Environment) -> Found:
    """Bring the findings of a target up to date with its inventory, and tell people of what is new. Doing it again
    changes nothing.
    """
    Environment.objects.select_for_update().get(pk=target.pk)  # two at a time would find everything twice
    for finding in (
        Finding.objects.open().filter(target=target, answer=Answer.TAKE).select_related("migration")
    ):
        rebase_taken(finding)
    bases = {
        uuid: Base(present, document, run)
        for uuid, present, document, run in Baseline.objects.filter(target=target).values_list(
            "uuid", "present", "document_id", "run_id"
        )
    }
    assets = Asset.objects.filter(environment=target).exclude(kind=Kind.DATABASE.value)
    now = dict(assets.values_list("uuid", "comparable"))
    left = {uuid: base.present for uuid, base in bases.items()}
    busy = _busy(target)
    known = _known(target, now.keys() - left.keys())
    first = {one.uuid: one for one in drifts(left, now, known=known, ours={})}
    ours = _written_besides(target, first, bases)
    drifted = {one.uuid: one for one in drifts(left, now, known=known, ours=ours) if one.uuid not in busy}
    open_ones = {one.asset_uuid: one for one in Finding.objects.of_assets().open().filter(target=target)}
    found = Found()
    for uuid, finding in open_ones.items():
        is_unread = now.get(uuid) == ""
        if uuid not in drifted and uuid not in busy and not is_unread:
            _close(finding, bases.get(uuid))
            found.closed.append(finding)
    moved = [one for uuid, one in drifted.items() if uuid not in open_ones or _differs(open_ones[uuid], one)]
    found.told = _write(target, moved, open_ones, bases)
    notices.tell(target, [one for one in found.told if one.told != one.content])
    Finding.objects.filter(pk__in=[one.pk for one in found.told]).update(told=F("content"))
    Check.objects.update_or_create(target=target, defaults={"at": target.inventory_at or timezone.now()})
    return found


def _differs(finding: Finding, drift: Drift) -> bool:
    return (finding.content, finding.base) != (drift.now, drift.base)


# --- What is nobody's drift -------------------------------------------------------------------------------------------


def _busy(target: Environment) -> set[str]:
    """Assets of runs that are at work, or ended after the inventory was read: of these it says nothing yet."""
    seen = target.readings.filter(state__in=(ReadingState.RUNNING, ReadingState.DONE))
    reading = seen.order_by("-pk").first()
    since: datetime | None = reading.started_at if reading is not None else target.inventory_at
    at_work = Q(finished_at=None) | (Q(finished_at__gt=since) if since is not None else Q())
    runs = Run.objects.filter(at_work, migration__target=target).exclude(state=RunState.STOPPED)
    return set(
        PlanItem.objects.filter(
            plan__in=runs.values("plan"), action__in=("create", "update", "remove")
        ).values_list("target_uuid", flat=True)
    )


def _known(target: Environment, uuids: Collection[str]) -> set[str]:
    """Those of `uuids` that were there before the first run, or for which nothing tells when they came."""
    if not uuids:
        return set()
    first = (
        Run.objects.filter(migration__target=target, restore_point__isnull=False).order_by("number").first()
    )
    if first is None:
        return set(uuids)
    snapshots = [pk for pk in (first.restore_point_id, first.plan.target_snapshot_id) if pk is not None]
    known = set(SnapshotEntry.objects.filter(snapshot__in=snapshots).values_list("uuid", flat=True))
    began = first.started_at or first.created_at
    older = Asset.objects.filter(environment=target, first_seen_at__lt=began).values_list("uuid", flat=True)
    return known | set(older)


def _written_besides(
    target: Environment, drifted: Collection[str], bases: dict[str, Base]
) -> dict[str, set[str]]:
    """What runs wrote that did not come to their end as planned: their own work is nobody's edit."""
    ours: dict[str, set[str]] = {}
    runs = Run.objects.filter(migration__target=target, state__in=UNSETTLED)
    if not drifted or not runs.exists():
        return ours
    for chunk in _chunks(drifted):
        items = PlanItem.objects.filter(
            plan__runs__in=runs, target_uuid__in=chunk, action__in=("create", "update", "remove")
        )
        rows = list(items.values_list("target_uuid", "action", "wanted_id", "plan__runs__number"))
        documents = get_documents({sha for _, _, sha, _ in rows if sha})
        for uuid, action, sha, number in rows:
            if (base := bases.get(uuid)) is not None and (base.run or 0) >= number:
                continue
            left = "" if action == "remove" else comparison_fingerprint(documents[sha]) if sha else None
            if left is not None:
                ours.setdefault(uuid, set()).add(left)
    return ours


# --- Closing ----------------------------------------------------------------------------------------------------------


def _close(finding: Finding, base: Base | None) -> None:
    """It is as it was left again: by an answer, by a run, or by itself."""
    migration = finding.migration
    if migration is not None and migration.state == MigrationState.DONE and finding.answer:
        state = {"take": FindingState.TAKEN, "revert": FindingState.REVERTED}[finding.answer]
        finding.closed_by = migration.runs.order_by("-number").first()
    elif base is not None and base.run != finding.run_id and finding.how != How.CREATED:
        state, finding.closed_by_id = FindingState.SETTLED, base.run
    else:
        state = FindingState.GONE
    finding.state, finding.closed_at = state, timezone.now()
    finding.save(update_fields=["state", "closed_at", "closed_by"])


def rebase_taken(finding: Finding) -> bool:
    """Once the source holds what somebody made of it on the target, that is what was last applied. What was taken is
    what the plan read; a later edit is drift again. Returns whether it was taken.
    """
    migration = finding.migration
    if migration is None or migration.state != MigrationState.DONE:
        return False
    run = migration.runs.filter(state=RunState.APPLIED).order_by("-number").first()
    if finding.how == How.DELETED:
        return run is not None and _rebase_deleted(finding, run)
    items = PlanItem.objects.filter(uuid=finding.asset_uuid).exclude(
        action__in=("leave_out", "keep", "blocked")
    )
    item = items.filter(plan=run.plan_id).first() if run is not None else None
    if item is None or not item.source_sha256:
        return False
    taken = get_documents([item.source_sha256])[item.source_sha256]
    content = comparison_fingerprint(taken)
    Baseline.objects.update_or_create(
        target=finding.target,
        uuid=finding.asset_uuid,
        defaults={"wanted": content, "present": content, "document_id": taken.fingerprint, "accepted": None},
    )
    return True


def _rebase_deleted(finding: Finding, run: Run) -> bool:
    """It is gone on both sides: what was last applied is nothing."""
    gone = finding.source_uuid or finding.asset_uuid
    if not PlanItem.objects.filter(plan=run.plan_id, target_uuid=gone, action="remove").exists():
        return False
    Baseline.objects.update_or_create(
        target=finding.target,
        uuid=finding.asset_uuid,
        defaults={"wanted": "", "present": "", "document_id": None, "accepted": None},
    )
    return True


# --- Writing down -----------------------------------------------------------------------------------------------------


def _write(
    target: Environment, moved: list[Drift], open_ones: dict[str, Finding], bases: dict[str, Base]
) -> list[Finding]:
    if not moved:
        return []
    uuids = [one.uuid for one in moved]
    assets = {row.uuid: row for row in _assets(target, uuids)}
    gone = {
        row.uuid: row
        for chunk in _chunks(uuids)
        for row in GoneAsset.objects.filter(environment=target, uuid__in=chunk)
    }
    before = applied_documents(target, [one.uuid for one in moved if one.base])
    after = get_documents({row.document_id for row in assets.values() if row.document_id})
    origins = _origins(target, uuids)
    sources = set(Route.objects.filter(target=target, is_enabled=True).values_list("source_id", flat=True))
    written: list[Finding] = []
    for drift in moved:
        finding = open_ones.get(drift.uuid)
        is_new = finding is None
        if finding is None:
            finding = Finding(target=target, asset_uuid=drift.uuid)
        base, row, lost = bases.get(drift.uuid), assets.get(drift.uuid), gone.get(drift.uuid)
        left = before.get(drift.uuid)
        now = after.get(row.document_id) if row is not None and row.document_id else None
        kind = (
            row.kind
            if row is not None
            else lost.kind
            if lost is not None
            else left.kind.value
            if left
            else ""
        )
        if not kind:
            continue  # left by a version that kept no content, and gone: nothing is known of it but its uuid
        source, source_uuid = origins.get(drift.uuid, (None, ""))
        if source is None and len(sources) == 1:
            source = next(iter(sources))
        values = {
            "kind": kind,
            "title": (
                row.title
                if row is not None
                else lost.title
                if lost is not None
                else left.title
                if left
                else ""
            ),
            "how": drift.how.value,
            "content": drift.now,
            "base": drift.base,
            "document_id": now.fingerprint if now is not None else None,
            "base_document_id": left.fingerprint if left is not None else None,
            "changes": _changes(target, left, now),
            "changed_by": clean(row.changed_by, 150) if row is not None else "",
            "changed_on": row.changed_on if row is not None else None,
            "last_seen_at": lost.last_seen_at if lost is not None else None,
            "run_id": base.run if base is not None else _last_run(target),
            "source_id": source,
            "source_uuid": source_uuid,
            "updated_at": timezone.now(),
        }
        for name, value in values.items():
            setattr(finding, name, value)
        if not is_new:
            finding.edits += 1
        finding.save()
        written.append(finding)
    return written


def _assets(target: Environment, uuids: Collection[str]) -> Iterable[Asset]:
    for chunk in _chunks(uuids):
        yield from Asset.objects.filter(environment=target, uuid__in=chunk)


def _last_run(target: Environment) -> int | None:
    return (
        Run.objects.filter(migration__target=target, state=RunState.APPLIED)
        .order_by("-number")
        .values_list("number", flat=True)
        .first()
    )


def _origins(target: Environment, uuids: Collection[str]) -> dict[str, tuple[int, str]]:
    """Which environment each was brought from last, and its uuid there."""
    found: dict[str, tuple[int, str]] = {}
    for chunk in _chunks(uuids):
        rows = PlanItem.objects.filter(
            target_uuid__in=chunk,
            plan__runs__state=RunState.APPLIED,
            plan__migration__target=target,
            plan__migration__source__isnull=False,
        ).order_by("plan__runs__number")
        for uuid, source, source_uuid in rows.values_list(
            "target_uuid", "plan__migration__source_id", "uuid"
        ):
            found[uuid] = (source, source_uuid)
    return found


def _changes(target: Environment, left: Document | None, now: Document | None) -> list[dict[str, Any]]:
    """In words, from what was left to what is there."""
    if left is None or now is None:
        return []
    named = {one.uuid for document in (left, now) for one in references(document)}
    hashes = {row.document_id for row in _assets(target, named) if row.document_id}
    names = {document.uuid: document for document in get_documents(hashes).values()}
    changes = field_changes(left, now)
    rows: list[dict[str, Any]] = cleaned(
        [
            {**one.to_json(), "sentence": sentence(now.kind, one, names, (now, left))}
            for one in changes[:MOST_CHANGES]
        ]
    )
    return rows


def _chunks(uuids: Collection[str]) -> Iterable[list[str]]:
    every = sorted(uuids)
    for start in range(0, len(every), CHUNK):
        yield every[start : start + CHUNK]
