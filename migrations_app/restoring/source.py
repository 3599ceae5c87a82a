"""What a backup gives to a migration: documents, what goes with them, and what is not in it because it came later."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Any

from django.conf import settings

from environments.backups.models import Backup
from environments.canonical.companions import CompanionKind
from environments.canonical.dashboards import chart_uuids
from environments.canonical.documents import Document, Documents, Kind, Note
from environments.canonical.references import closure
from environments.store import (
    EnvironmentReading,
    companion_entries_of,
    get_companions,
    get_documents,
    load_snapshot,
)
from environments.superset.client import SupersetClient
from environments.superset.connection import is_admin
from migrations_app.engine import plan as engine
from migrations_app.engine.checks import Problem, Severity
from migrations_app.engine.companions import Side
from migrations_app.engine.copies import Copy
from migrations_app.errors import NotReady
from migrations_app.mappings import asset_mapping, identity_mapping
from migrations_app.models import Migration
from migrations_app.places import SourceReading
from migrations_app.pruning import ALWAYS, TOO_MUCH, Candidate, Pruning, held_elsewhere, used_now


def backup_of(migration: Migration) -> Backup:
    """Raises NotReady where it was removed, or holds nothing."""
    backup = migration.backup
    if backup is None:
        raise NotReady(
            f"The {migration.source_name} of this migration was removed.",
            remedy="Restore from another backup.",
        )
    if not backup.is_readable:
        raise NotReady(f"{backup} is {backup.get_state_display()}: there is nothing to restore from it.")
    return backup


def source_of_backup(migration: Migration) -> SourceReading:
    """`backup:N`: what a backup holds. What was found damaged in it is missing, with a note. Raises NotReady, and what
    the storage raises.
    """
    backup = backup_of(migration)
    reading = load_snapshot(backup.snapshot, bodies=False)
    bad = _damaged(backup)
    found = get_documents(sha for uuid, sha in reading.hashes.items() if uuid not in bad)
    documents = {uuid: found[sha] for uuid, sha in reading.hashes.items() if uuid not in bad}
    lost = tuple(
        Note("unreadable", uuid, f"it is damaged in backup {backup.number}.")
        for uuid in sorted(bad & reading.hashes.keys())
    )
    return SourceReading(documents, reading.ids, (*reading.notes, *lost), backup.snapshot)


def _damaged(backup: Backup) -> frozenset[str]:
    """The uuids of what the last look at a corrupt backup found damaged or missing."""
    if backup.is_good:
        return frozenset()
    return frozenset(str(one.get("uuid")) for one in (backup.verification or {}).get("problems", ()))


def companions_in(migration: Migration, kinds: Collection[CompanionKind]) -> Side:
    """What a backup holds of these kinds. Of one that it did not read, or that is damaged in it, nothing follows."""
    backup = backup_of(migration)
    bad = _damaged(backup)
    rows = list(
        companion_entries_of(backup.snapshot)
        .filter(kind__in=[kind.value for kind in kinds])
        .values_list("kind", "uuid", "document_id")
    )
    unreadable: dict[CompanionKind, str] = {}
    held = {kind for kind, _, _ in rows}
    for kind in kinds:
        said = backup.companions_read.get(kind.value)
        if said or (said is None and kind.value not in held):
            unreadable[kind] = said or f"backup {backup.number} did not read them."
    for kind_name, uuid, _ in rows:
        if uuid in bad:
            unreadable[CompanionKind(kind_name)] = f"they are damaged in backup {backup.number}."
    hashes = {uuid: sha for kind, uuid, sha in rows if CompanionKind(kind) not in unreadable}
    found = get_companions(hashes.values())
    return Side({uuid: found[sha] for uuid, sha in hashes.items()}, unreadable)


def movable(documents: Documents) -> set[str]:
    """The uuids of what can be written: connections are not."""
    return {uuid for uuid, document in documents.items() if document.kind != Kind.DATABASE}


def takes_everything(migration: Migration, documents: Documents) -> bool:
    """Whether it puts a whole environment back: then also what goes with no asset, as an unused layer."""
    return migration.is_put_back and movable(documents) <= set(migration.selection)


def restore_input(
    migration: Migration, source: SourceReading, target: Documents, common: dict[str, Any]
) -> engine.PlanInput:
    """What the engine plans from. Over the backup's own environment its connections stand for themselves, and nothing
    that was edited there since is in the way: that is what restoring is for.
    """
    copy = Copy.from_json(migration.copy_terms) if migration.copy_terms else None
    members: Documents = {}
    if copy is not None:
        members = {
            uuid: source.documents[uuid]
            for uuid in closure({*copy.selection, *migration.selection}, source.documents)
        }
    mapping = asset_mapping(migration.terms, migration.target, target, copy, members)
    if copy is not None:
        # A copy beside writes to nothing that is there: its charts read the datasets as they are now.
        stays = {
            uuid
            for uuid, item in members.items()
            if item.kind == Kind.DATASET and mapping.pairs.get(uuid, uuid) in target
        }
        common = {**common, "left_out": sorted({*common["left_out"], *stays})}
    elif migration.is_put_back:
        own = {
            uuid: entry
            for uuid, entry in identity_mapping(source.documents).databases.items()
            if uuid in target
        }
        mapping = replace(mapping, databases={**mapping.databases, **own})
        common = {**common, "baselines": {}}
    return engine.PlanInput(
        source=source.documents,
        selection=migration.selection,
        mapping=mapping,
        source_notes=source.notes,
        with_dependencies=migration.with_dependencies,
        **common,
    )


# --- What came later --------------------------------------------------------------------------------------------------


def find_later(
    migration: Migration,
    plan: engine.Plan,
    source: SourceReading,
    target: EnvironmentReading,
    client: SupersetClient,
) -> Pruning:
    """What the environment has and its backup has not: of a whole restore all of it, else the charts that were put on
    the restored dashboards since. Each with why it is removed, or why it stays. Asks the target for the account's
    rights, alerts, reports and embedding. Raises SupersetError.
    """
    backup = backup_of(migration)
    known = {*source.documents, *(note.uuid for note in source.notes if note.code == "unreadable")}
    stays = {item.target_uuid for item in plan.items} | set(plan.mapping.pairs.values())
    later = {uuid: target.documents[uuid] for uuid in movable(target.documents) - known - stays}
    if not takes_everything(migration, source.documents):
        shown = _shown_on(item.present for item in plan.items if item.kind == Kind.DASHBOARD)
        later = {uuid: document for uuid, document in later.items() if uuid in shown}
    if not later:
        return Pruning()
    reasons = _blind(backup, target, client, later)
    free = {uuid: document for uuid, document in later.items() if uuid not in reasons}
    reasons |= held_elsewhere(client, target, free)
    reasons |= used_now(target, later.keys() - reasons.keys(), engine.written_documents(plan))
    order = list(Kind)
    candidates = tuple(
        Candidate(
            document.kind.value,
            uuid,
            document.title,
            0,
            uuid not in reasons,
            reasons.get(uuid)
            or f"Not in backup {backup.number}, which holds all that there was; nothing else uses it.",
        )
        for uuid, document in sorted(
            later.items(), key=lambda pair: (-order.index(pair[1].kind), pair[1].title, pair[0])
        )
    )
    removed = sum(one.removes for one in candidates)
    return Pruning(candidates, tuple(_too_much(migration, removed, len(movable(target.documents)))))


def _shown_on(dashboards: Iterable[Document | None]) -> set[str]:
    return {uuid for one in dashboards if one is not None for uuid in chart_uuids(one.body["position"])}


def _blind(
    backup: Backup, target: EnvironmentReading, client: SupersetClient, later: Collection[str]
) -> dict[str, str]:
    """Why all stay: what is not in the backup may have been there all the same."""
    text = ""
    if not (backup.whole and backup.snapshot.complete):
        text = (
            f"Backup {backup.number} is not of the whole environment: what is not in it may have been there."
        )
    elif not target.complete:
        text = "The environment was not read completely: who uses it is not known."
    elif not (rights := is_admin(client)):
        what = "is no Admin" if rights is False else "cannot be shown to be an Admin"
        text = f"The account {what}: what it is not shown may use it, or have been there."
    return dict.fromkeys(later, text) if text else {}


def _too_much(migration: Migration, removed: int, total: int) -> Iterable[Problem]:
    share = round(100 * removed / total) if total else 0
    if removed <= ALWAYS or share <= settings.PRUNE_SHARE_PERCENT:
        return
    yield Problem(
        Severity.ERROR,
        TOO_MUCH,
        "",
        f"{removed} of the {total} assets of {migration.target.name} came after {migration.source_name} and would be "
        f"removed ({share} %): is it the right one?",
        "If it is, confirm the removal with a reason; else let them stay.",
    )
