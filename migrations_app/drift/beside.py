"""What goes with the assets of a target, held against what the last runs left of it: owners, rules, alerts and more.

No list of a reading tells of these, so a check asks for them: of the kinds that runs brought, and no others.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from environments.canonical.companions import FACETS, Companion, CompanionKind
from environments.connections import connect
from environments.models import Asset, Environment
from environments.store import get_companions, latest_complete, load_snapshot, put_documents
from environments.words import cleaned
from migrations_app.carrying import Read, read_side
from migrations_app.engine.companions import changed_fields, same
from migrations_app.engine.drift import How
from migrations_app.models import CompanionBaseline, PlanCompanion, Run, RunState

from . import notices
from .detecting import MOST_CHANGES, UNSETTLED
from .models import Finding, FindingState


def check(target: Environment, before_request: Callable[[str, str], None] | None = None) -> tuple[str, ...]:
    """Read what goes with the assets of a target, and bring the findings of it up to date. Returns why kinds could not
    be read. Raises SupersetError.
    """
    kinds = {CompanionKind(kind) for kind in _bases(target).values_list("kind", flat=True).distinct()}
    latest = latest_complete(target)
    if not kinds or latest is None:
        return ()
    whose = set(_bases(target).exclude(asset_uuid="").values_list("asset_uuid", flat=True))
    began = timezone.now()
    with connect(target, before_request=before_request) as client:
        ids = load_snapshot(latest, bodies=False).ids
        read = read_side(client, kinds, ids, whose, whole=True, lenient=kinds)
    look(target, read, began)
    return tuple(read.side.unreadable[kind] for kind in CompanionKind if kind in read.side.unreadable)


@transaction.atomic
def look(target: Environment, read: Read, began: datetime) -> None:
    """Hold what was read since `began` against what was left. Doing it again changes nothing."""
    Environment.objects.select_for_update().get(pk=target.pk)  # two at a time would find everything twice
    now = read.side.companions
    rows = [row for row in _bases(target) if CompanionKind(row.kind) not in read.side.unreadable]
    left = get_companions({row.present_id for row in rows if row.present_id})
    here = set(Asset.objects.filter(environment=target).values_list("uuid", flat=True))
    busy = _busy(target, began)
    drifted: dict[str, CompanionBaseline] = {}
    for row in rows:
        gone = row.asset_uuid and row.asset_uuid not in here  # that is a finding of its own
        if (
            row.uuid not in busy
            and not gone
            and not _as_left(left.get(row.present_id or ""), now.get(row.uuid))
        ):
            drifted[row.uuid] = row
    ours = _written_besides(target, drifted, now)
    drifted = {uuid: row for uuid, row in drifted.items() if uuid not in ours}
    open_ones = {one.asset_uuid: one for one in Finding.objects.beside().open().filter(target=target)}
    unread = {kind.value for kind in read.side.unreadable}
    known = {row.uuid: row for row in rows}
    for uuid, finding in open_ones.items():
        if uuid not in drifted and uuid not in busy and finding.kind not in unread:
            _close(finding, known.get(uuid))
    told: list[Finding] = []
    put_documents(now[uuid] for uuid in drifted if uuid in now)
    for uuid, row in drifted.items():
        content = now[uuid].fingerprint if uuid in now else ""
        finding = open_ones.get(uuid) or Finding(target=target, asset_uuid=uuid, edits=0)
        if finding.pk and (finding.content, finding.base) == (content, row.present_id or ""):
            continue
        _write(finding, row, left.get(row.present_id or ""), now.get(uuid))
        told.append(finding)
    notices.tell(target, [one for one in told if one.told != one.content])
    Finding.objects.filter(pk__in=[one.pk for one in told]).update(told=F("content"))


def _bases(target: Environment) -> Any:
    return CompanionBaseline.objects.filter(target=target).select_related("run__migration")


def _as_left(left: Companion | None, now: Companion | None) -> bool:
    """An alert that somebody switches on is not edited: it arrives switched off for that."""
    if left is not None and now is not None and "active" in now.body:
        left = left.replace(active=now.body["active"])
    return same(left, now)


def _busy(target: Environment, began: datetime) -> set[str]:
    """What runs write that are at work, or were while this was read."""
    runs = Run.objects.filter(Q(finished_at=None) | Q(finished_at__gt=began), migration__target=target)
    plans = runs.exclude(state=RunState.STOPPED).values("plan")
    return set(PlanCompanion.objects.filter(plan__in=plans).values_list("target_uuid", flat=True))


def _written_besides(target: Environment, drifted: Collection[str], now: Mapping[str, Companion]) -> set[str]:
    """What runs wrote that did not come to their end as planned: their own work is nobody's edit."""
    runs = Run.objects.filter(migration__target=target, state__in=UNSETTLED)
    if not drifted or not runs.exists():
        return set()
    rows = PlanCompanion.objects.filter(plan__runs__in=runs, action__in=("create", "update", "remove"))
    found = [row for row in rows.values_list("target_uuid", "wanted_id") if row[0] in drifted]
    wanted = get_companions({sha for _, sha in found if sha})
    return {uuid for uuid, sha in found if same(wanted.get(sha or ""), now.get(uuid))}


def _close(finding: Finding, base: CompanionBaseline | None) -> None:
    is_settled = base is not None and base.run_id is not None and base.run_id != finding.run_id
    finding.state = FindingState.SETTLED if is_settled else FindingState.GONE
    finding.closed_by_id = base.run_id if is_settled and base is not None else None
    finding.closed_at = timezone.now()
    finding.save(update_fields=["state", "closed_at", "closed_by"])


def _write(finding: Finding, base: CompanionBaseline, left: Companion | None, now: Companion | None) -> None:
    is_facet = CompanionKind(base.kind) in FACETS  # one that says nothing any more was changed, not deleted
    how = How.CREATED if left is None else How.DELETED if now is None and not is_facet else How.CHANGED
    run = base.run
    finding.kind, finding.title, finding.how = base.kind, base.title, how.value
    finding.content = now.fingerprint if now is not None else ""
    finding.base = base.present_id or ""
    finding.document_id = now.fingerprint if now is not None else None
    finding.base_document_id = base.present_id
    finding.changes = cleaned(
        [
            {"path": [name], "before": before or None, "after": after or None, "sentence": said}
            for name, before, after, said in changed_fields(left, now)[:MOST_CHANGES]
        ]
    )
    finding.run_id = base.run_id
    finding.source_id = run.migration.source_id if run is not None else None
    finding.edits += 1
    finding.updated_at = timezone.now()
    finding.save()


def accept(finding: Finding, word: Mapping[str, str]) -> None:
    """What is there becomes what the next edit is held against, and what a plan keeps."""
    base = _bases(finding.target).filter(uuid=finding.asset_uuid).first()
    if base is not None:
        base.present_id, base.accepted = finding.document_id, dict(word)
        base.save()


def why_only_accept(finding: Finding) -> str:
    """Why what goes with an asset is neither taken nor reverted by an answer, in words."""
    return (
        f"Plan the migration that brings the {finding.words} again: the plan asks whether the target’s own is kept "
        "or the source’s is taken."
    )
