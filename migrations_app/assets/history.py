"""What happened to an asset, in one line of time: what readings saw change, runs that touched it, edits, commits that
hold another content of it, backups, pairings, and its end. Any two of the contents are compared.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import F, Q
from django.urls import reverse

from environments.backups import holding
from environments.canonical.documents import Document, Kind
from environments.models import Environment, SnapshotEntry
from environments.store import get_documents
from migrations_app.engine.diff import field_changes
from migrations_app.engine.sentences import sentence
from migrations_app.git.models import CommitAsset
from migrations_app.models import PlanItem, Run, RunState
from sstools.roles import policy
from sstools.roles.permissions import Permission
from sstools.texts import counted

from .cards import WRITING
from .families import Family, Member

#: Of the newest snapshots of an environment that have the asset: what came before is in the audit and in the runs.
MOST_SNAPSHOTS = 200
MOST_RUNS = 100
MOST_COMMITS = 500
MOST_SENTENCES = 8
RUN_WORDS = {"create": "created it", "update": "changed it", "remove": "removed it"}


@dataclass
class Event:
    """`what`: seen, changed, edited, run, commit, backup, paired, gone. `environment`: None of a commit. `sentences`:
    of the changes; `more`: how many besides. `place`: that holds what it was then, "" where none does.
    """

    at: datetime
    what: str
    environment: Environment | None
    text: str
    who: str = ""
    state: str = ""
    url: str = ""
    sentences: list[str] = field(default_factory=list)
    more: int = 0
    place: str = ""


def events_of(family: Family, user: Any) -> list[Event]:
    """Newest first."""
    events: list[Event] = []
    for member in family.members:
        if member.uuid:
            events += _readings(family.kind, member)
    events += _runs(family, user)
    events += _commits(family, user)
    events += _backups(family, user)
    events += _pairings(family.members)
    return sorted(events, key=lambda event: event.at, reverse=True)


def _readings(kind: Kind, member: Member) -> list[Event]:
    """Contents over time: a document that differs from the one before is a change that somebody made in between."""
    environment = member.environment
    newest = (
        SnapshotEntry.objects.filter(
            snapshot__environment=environment, uuid=member.uuid, document__isnull=False
        )
        .order_by("-snapshot__number")
        .values_list("document_id", "exported_at", "snapshot__created_at", "snapshot__exported_at")
    )[:MOST_SNAPSHOTS]
    entries = list(reversed(newest))
    changes: list[tuple[str, datetime]] = []
    for sha, exported, created, snapshot_at in entries:
        if not changes or changes[-1][0] != sha:
            changes.append((sha, exported or snapshot_at or created))
    documents = get_documents(sha for sha, _ in changes)
    events = []
    for index, (sha, at) in enumerate(changes):
        if index == 0:
            first = member.asset.first_seen_at if member.asset is not None else at
            is_first = len(entries) < MOST_SNAPSHOTS
            if is_first:
                events.append(Event(min(first, at), "seen", environment, "Seen for the first time"))
            continue
        before, after = documents[changes[index - 1][0]], documents[sha]
        said = _sentences(kind, before, after)
        if not said:
            continue
        event = Event(
            at, "changed", environment, "A reading found it changed", sentences=said[:MOST_SENTENCES]
        )
        event.more = max(0, len(said) - MOST_SENTENCES)
        if index == len(changes) - 1 and member.asset is not None and member.asset.changed_by:
            event.who = member.asset.changed_by  # only of the last edit do the lists say who it was
            event.text = "Edited in Superset"
            event.at = min(at, member.asset.changed_on or at)
        events.append(event)
    if member.asset is not None and len(changes) < 2 and member.asset.changed_on is not None:
        who = member.asset.changed_by
        events.append(Event(member.asset.changed_on, "edited", environment, "Edited in Superset", who))
    if member.gone is not None and member.asset is None:
        text = f"Gone; last seen {member.gone.last_seen_at:%Y-%m-%d %H:%M} UTC"
        events.append(Event(member.gone.gone_at, "gone", environment, text, state="only_here"))
    return events


def _sentences(kind: Kind, before: Document, after: Document) -> list[str]:
    changes = field_changes(before, after)
    return list(dict.fromkeys(sentence(kind, change, {}, (after, before)) for change in changes))


def _runs(family: Family, user: Any) -> list[Event]:
    """Runs that were to write it, among those that `user` may know of."""
    places = Q()
    for member in family.members:
        if member.uuid:
            places |= Q(migration__target=member.environment, plan__items__target_uuid=member.uuid)
    if not places:
        return []
    runs = (
        Run.objects.visible_to(user)
        .filter(places, plan__items__action__in=WRITING)
        .exclude(state=RunState.STOPPED)
        .select_related("migration__target", "migration__source", "created_by")
        .distinct()
        .order_by("-number")[:MOST_RUNS]
    )
    uuids = {member.environment.pk: member.uuid for member in family.members}
    items = PlanItem.objects.filter(
        plan__in=[run.plan_id for run in runs], target_uuid__in=set(uuids.values()), action__in=WRITING
    )
    actions = {
        (plan, uuid): action for plan, uuid, action in items.values_list("plan", "target_uuid", "action")
    }
    found = []
    for run in runs:
        action = actions.get((run.plan_id, uuids[run.migration.target_id]))
        if action is None:
            continue
        who = run.created_by.get_username() if run.created_by else ""
        text = f"Run {run.number} of migration {run.migration_id} {RUN_WORDS[action]}"
        at = run.finished_at or run.started_at or run.created_at
        place = f"run:{run.number}:before" if run.restore_point_id and action != "create" else ""
        found.append(
            Event(
                at,
                "run",
                run.migration.target,
                text,
                who,
                str(run.state),
                run.get_absolute_url(),
                place=place,
            )
        )
    return found


def _commits(family: Family, user: Any) -> list[Event]:
    """Of the commits that were read, those that hold another content of it than the one before in that repository."""
    uuids = {member.uuid for member in family.members if member.uuid}
    if not policy.can(user, Permission.REPOSITORY_VIEW):
        return []
    rows = (
        CommitAsset.objects.filter(uuid__in=uuids, kind=family.kind.value)
        .filter(reading__folder=F("reading__repository__folder"))
        .select_related("reading__repository")
        .order_by("-reading__committed_at", "-reading__pk")[:MOST_COMMITS]
    )
    found = []
    before: dict[int, str] = {}
    for row in reversed(rows):
        reading = row.reading
        if before.get(reading.repository_id) == row.document_id:
            continue
        before[reading.repository_id] = row.document_id
        text = f"{reading.name} “{reading.subject}”"
        who = reading.author.partition(" <")[0]
        url = reading.repository.get_absolute_url()
        found.append(Event(reading.committed_at, "commit", None, text, who, url=url, place=reading.place))
    return found


def _backups(family: Family, user: Any) -> list[Event]:
    """The first backup of each content in a row, as the tab of backups has them."""
    uuids = {member.environment: member.uuid for member in family.members}
    found = []
    for version in holding.versions_of(uuids, family.kind.value, user):
        if not version.sha:
            continue
        oldest = version.oldest
        more = f" and {counted(len(version.backups) - 1, 'more backup')}" if len(version.backups) > 1 else ""
        text = f"Content {version.sha[:10]} is in backup {oldest.pk}{more}"
        url = reverse("backups:entry", args=[oldest.pk, family.kind.value, version.uuid])
        found.append(Event(version.since, "backup", version.environment, text, url=url, place=oldest.place))
    return found


def _pairings(members: Iterable[Member]) -> list[Event]:
    seen: dict[int, Event] = {}
    for member in members:
        row = member.pairing
        if row is not None and row.pk not in seen:
            who = row.created_by.get_username() if row.created_by else ""
            text = f"Paired: {row.source_uuid} on {row.source} is {row.target_uuid} on {row.target}"
            seen[row.pk] = Event(row.created_at, "paired", row.target, text, who)
    return list(seen.values())
