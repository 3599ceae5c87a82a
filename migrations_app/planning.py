"""Making a plan: reading both sides, asking the target's warehouses, and keeping what the engine decided.
Runs in a job.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from environments.canonical.companions import CompanionKind
from environments.canonical.comparison import comparison_fingerprint
from environments.canonical.documents import Document, Documents
from environments.canonical.ids import IdTable
from environments.canonical.references import closure
from environments.connections import connect
from environments.dialects import unknown_fields
from environments.models import Environment, Snapshot
from environments.store import EnvironmentReading, get_documents, put_documents
from environments.superset.client import SupersetClient
from environments.superset.errors import SupersetError
from environments.superset.versions import Capabilities
from environments.superset.viz_types import KNOWN, needing_a_flag, undrawable
from environments.words import clean, cleaned
from sstools.jobs.runner import JobContext

from . import removing
from .carrying import accepted_in_words, carry_along, carrying_of, counts_of, keep_companions, losses_beside
from .engine import plan as engine
from .engine.checks import Problem, needed_tables, warehouse_problems
from .engine.conflicts import ConflictCode
from .engine.copies import Copy, copy_uuid, placeholder_notes
from .engine.sentences import sentence
from .errors import NotReady
from .mappings import asset_mapping, identity_mapping, mapping_to_json
from .models import Baseline, Migration, MigrationState, Plan, PlanItem, Run
from .models import Mapping as PairMapping
from .places import (
    SourceReading,
    address_of,
    keep_for_plan,
    reader_for_plan,
    source_of_base,
    source_of_file,
    source_of_run,
)
from .plugged import plan_problems
from .pruning import TOO_MUCH, Pruning
from .pruning import find as find_what_to_prune
from .repairing import mend
from .replacing.planning import replaced_in
from .restoring.source import find_later, restore_input, source_of_backup
from .side_by_side import Meanwhile, side_by_side
from .warehouses import Warehouses, database_rows, expected_tables, learn_database_ids

#: How often a plan is made from the same readings while people go on changing what they ask for.
TRIES = 3
#: Items of which the last editor is asked for singly, when no listing said it.
EDITS_ASKED = 50


#: Of the source and of the target, as the plan read them.
Snapshots = tuple[Snapshot | None, Snapshot]


@dataclass(frozen=True)
class TargetReading:
    reading: EnvironmentReading
    capabilities: Capabilities


def make_plan(migration: Migration, ctx: JobContext) -> Plan:
    """Read, compare, check, and keep the plan; the migration is then *planned*. Raises SupersetError, NotReady."""
    actor = ctx.job.actor

    def still_mine(method: str, path: str) -> None:
        ctx.still_mine()  # a worker that lost the job asks nothing more

    with ExitStack() as stack:
        client = stack.enter_context(connect(migration.target, before_request=still_mine))
        clients = [client]
        # Rolling back follows a write that went wrong: no list is believed then.
        readers = [reader_for_plan(client, migration.target, fresh=migration.is_rollback)]
        if migration.rolls_back is not None:
            ctx.step(f"Reading the restore point and {migration.target.name}")
            source = source_of_run(migration.rolls_back)
        elif migration.is_of_file:
            ctx.step(f"Reading {migration.source_name} and {migration.target.name}")
            source = source_of_file(migration)
        elif migration.is_of_backup:
            ctx.step(f"Reading {migration.source_name} and {migration.target.name}")
            source = source_of_backup(migration)
        elif migration.changes_own:
            ctx.step(f"Reading {migration.target.name}")
            source = SourceReading({}, IdTable(), (), None)
        elif migration.source is None:
            ctx.step(f"Reading {migration.target.name}")
            source = source_of_base(migration.target, migration.selection)
        else:
            ctx.step(f"Reading {migration.source.name} and {migration.target.name}")
            clients.append(stack.enter_context(connect(migration.source, before_request=still_mine)))
            readers.append(reader_for_plan(clients[1], migration.source))
        warehouses = Warehouses(client)
        expected = expected_tables(migration)
        beside = stack.enter_context(Meanwhile(ctx.checkpoint))
        beside.start(partial(warehouses.ask_ahead, expected))
        readings = side_by_side(readers)
        if migration.source is not None:
            source = SourceReading(readings[1].documents, readings[1].ids, readings[1].notes, None)
        target = TargetReading(readings[0], client.capabilities)
        snapshots: Snapshots | None = None
        known: dict[Any, Any] = {}
        ids = [reading.ids for reading in readings]
        for _ in range(TRIES):
            asked = _asked(migration)
            ctx.step("Comparing")
            if migration.is_repair:
                given = _repair_input(migration, client, readings[0])
            elif migration.is_replacement:
                given = _replacement_input(migration, target)
            else:
                given = plan_input(migration, source, target)
            plan = engine.make_plan(given)
            if edits := _ask_for_edits(client, plan, target.reading):
                given = replace(given, target_edits={**given.target_edits, **edits})
                plan = engine.make_plan(given)
            pruned = Pruning()
            if migration.prune and migration.is_put_back:
                ctx.step(f"Looking for what came after {migration.source_name}")
                pruned = find_later(migration, plan, source, target.reading, client)
                given = replace(given, removals=pruned.removals)
                plan = engine.make_plan(given)
            elif migration.prune and migration.source is not None and not migration.copy_terms:
                ctx.step("Looking for what the source no longer has")
                pruned = find_what_to_prune(migration, plan, readings[1], target.reading, client, clients[1])
                given = replace(given, removals=pruned.removals)
                plan = engine.make_plan(given)
            if wanted := removing.asked(migration):
                ctx.step("Looking at what is to be removed")
                named = removing.find(migration, wanted, readings[1], target.reading, client, clients[1])
                pruned = replace(pruned, candidates=(*pruned.candidates, *named.candidates))
                bases = {**given.baselines, **removing.bases_of(wanted)}
                given = replace(given, removals=pruned.removals, baselines=bases)
                plan = engine.make_plan(given)
            ctx.step("Asking the target's connections")
            needed = needed_tables(plan.items)
            learn_database_ids(client, migration.target, target.reading, needed)
            facts = beside.start(partial(warehouses.facts, needed, target.reading))
            snapshots = snapshots or _keep_readings(migration, source, readings, actor)
            plan = carry_along(migration, plan, given, clients, ids, known)
            problems = [*pruned.problems, *plan.problems, *warehouse_problems(plan.items, facts())]
            problems += plan_problems(migration, plan, ctx)
            databases = database_rows(client, migration.target, plan, given, target.reading, ctx)
            ctx.step("Keeping the plan")
            requests = sum(len(one.log) for one in clients)
            kept = _keep(migration, plan, given, problems, databases, snapshots, requests, ctx, asked, pruned)
            if kept is not None:
                return kept
    raise NotReady(f"{migration} was changed again and again while its plan was made.", remedy="Plan again.")


def _keep_readings(
    migration: Migration, source: SourceReading, readings: list[EnvironmentReading], actor: Any
) -> Snapshots:
    snapshot = source.snapshot
    if migration.source is not None:
        snapshot = keep_for_plan(migration.source, readings[1], actor=actor)
    return snapshot, keep_for_plan(migration.target, readings[0], actor=actor)


def _asked(migration: Migration) -> list[Any]:
    """What decides how a plan comes out, as it is now; the migration then has it. Whoever changes it while a
    plan is being made joins that plan's job, and must not get a plan of what was asked for before.
    """
    fields = ["selection", "left_out", "with_dependencies", "answers", "carrying", "copy_terms", "prune"]
    migration.refresh_from_db(fields=fields)
    asked: list[Any] = [getattr(migration, name) for name in fields]
    if not migration.maps_nothing:
        pair = PairMapping.objects.between(migration.terms, migration.target)
        asked += [pair.databases, pair.substitutions, pair.renames, pair.people, pair.roles]
    return asked


def plan_input(migration: Migration, source: SourceReading, target: TargetReading) -> engine.PlanInput:
    """What the engine plans from: for a rollback the restore point in the target's own terms, or what was last
    applied, else the mapped source, or what a backup holds.
    """
    documents = target.reading.documents
    answers = {
        uuid: engine.Given(engine.Answer(entry["answer"]), entry.get("value", ""))
        for uuid, entry in migration.answers.items()
    }
    puts_back = migration.maps_nothing or migration.is_put_back
    common: dict[str, Any] = {
        "target": documents,
        "left_out": migration.left_out,
        "answers": answers,
        "baselines": baselines_of(migration.target, documents),
        "target_edits": _edits_of(target.reading),
        "target_complete": target.reading.complete,
        "unreadable_target": target.reading.unreadable,
        "unknown_fields": unknown_fields(target.capabilities, with_metadata=not puts_back),
        "undrawable": {} if puts_back else undrawable(target.capabilities),
        "flagged": {} if puts_back else needing_a_flag(target.capabilities),
        "released": () if puts_back else KNOWN,
        "version": target.capabilities.version,
        "target_ids": target.reading.ids,
        "target_url": migration.target.url.rstrip("/"),
        "annotations_apart": carrying_of(migration).carries(CompanionKind.ANNOTATION_USE),
    }
    if migration.rolls_back is not None:
        run = migration.rolls_back
        touched = {
            item.target_uuid for item in run.plan.items.all() if item.action in ("create", "update", "remove")
        }
        created = {uuid for uuid in touched if uuid not in source.documents}
        if run.migration.is_replacement:
            common["baselines"] = {**common["baselines"], **_left_by(run)}
        return engine.PlanInput(
            source=source.documents,
            selection=sorted(touched - created),
            mapping=identity_mapping(source.documents),
            removals=sorted(created & set(documents)),
            with_dependencies=False,
            **common,
        )
    if migration.maps_nothing:
        return engine.PlanInput(
            source=source.documents,
            selection=sorted(set(migration.selection) & set(source.documents)),
            mapping=identity_mapping(source.documents),
            removals=sorted((set(migration.selection) - set(source.documents)) & set(documents)),
            with_dependencies=False,
            **common,
        )
    if migration.is_of_backup:
        return restore_input(migration, source, documents, common)
    if migration.copy_terms:
        return _copy_input(migration, source, documents, common)
    return engine.PlanInput(
        source=source.documents,
        selection=migration.selection,
        mapping=asset_mapping(migration.terms, migration.target, documents),
        source_notes=source.notes,
        with_dependencies=migration.with_dependencies,
        **common,
    )


def _repair_input(
    migration: Migration, client: SupersetClient, reading: EnvironmentReading
) -> engine.PlanInput:
    """What is damaged was not edited by hand: no baseline stands in the way of mending it."""
    found = mend(migration, client, reading)
    source = SourceReading(found.wanted, IdTable(), (), None)
    target = TargetReading(found.reading, client.capabilities)
    return replace(
        plan_input(migration, source, target), baselines={}, removals=(), questions=found.questions
    )


def _replacement_input(migration: Migration, target: TargetReading) -> engine.PlanInput:
    """What is there was not edited by hand in between: it is what the replacement is made of."""
    replaced = replaced_in(migration, target.reading.documents)
    source = SourceReading({**target.reading.documents, **replaced}, IdTable(), (), None)
    given = plan_input(migration, source, target)
    return replace(given, selection=sorted(replaced), baselines={}, removals=())


def _copy_input(
    migration: Migration, source: SourceReading, documents: Documents, common: dict[str, Any]
) -> engine.PlanInput:
    """A copy of the source, in its own terms. What was answered to stay as it is stays; beside its source a copy writes
    to nothing but its own.
    """
    assert migration.source is not None
    copy = Copy.from_json(migration.copy_terms or {})
    of_the_template = closure({*copy.selection, *migration.selection}, source.documents)
    members = {uuid: source.documents[uuid] for uuid in of_the_template}
    stays = set((migration.copy_terms or {}).get("kept", ()))
    if address_of(migration.source) == address_of(migration.target):
        stays |= {
            uuid
            for uuid, item in members.items()
            if copy.pairs.get(uuid, copy.uuid_of(item.kind, uuid)) != copy_uuid(copy.template, copy.key, uuid)
        }
        keep = engine.Answer.KEEP
        common["answers"] = {
            uuid: replace(one, answer=keep) if one.answer == engine.Answer.ADOPT else one
            for uuid, one in common["answers"].items()
        }
    common = {**common, "left_out": sorted({*common["left_out"], *stays})}
    return engine.PlanInput(
        source=source.documents,
        selection=migration.selection,
        mapping=asset_mapping(migration.source, migration.target, documents, copy, members),
        source_notes=(*source.notes, *placeholder_notes(source.documents, members, copy)),
        with_dependencies=migration.with_dependencies,
        **common,
    )


def baselines_of(target: Environment, documents: Documents) -> dict[str, engine.Baseline]:
    rows = Baseline.objects.filter(target=target).values_list("uuid", "wanted", "present", "accepted")
    return {
        uuid: engine.Baseline(wanted, present, accepted_in_words(accepted))
        for uuid, wanted, present, accepted in rows
    }


def _left_by(run: Run) -> dict[str, engine.Baseline]:
    """What a replacement left, which keeps no baselines: what is otherwise by now was edited since."""
    rows = run.plan.items.filter(action="update", wanted__isnull=False)
    wanted = dict(rows.values_list("target_uuid", "wanted_id"))
    found = get_documents(sha for sha in wanted.values() if sha)
    prints = {uuid: comparison_fingerprint(found[sha]) for uuid, sha in wanted.items() if sha}
    return {uuid: engine.Baseline(mark, mark) for uuid, mark in prints.items()}


def _edits_of(reading: EnvironmentReading) -> dict[str, engine.Edit]:
    edits: dict[str, engine.Edit] = {}
    for rows in reading.rows.values():
        for row in rows:
            when = getattr(row, "changed_on", None)
            edits[row.uuid] = engine.Edit(
                str(getattr(row, "changed_by", "") or ""), when.isoformat() if when else ""
            )
    return edits


def _ask_for_edits(
    client: SupersetClient, plan: engine.Plan, reading: EnvironmentReading
) -> dict[str, engine.Edit]:
    """Who edited what conflicts, and when, where a full export was read and no list said it."""
    edits: dict[str, engine.Edit] = {}
    told = (ConflictCode.DRIFTED, ConflictCode.DIVERGED)
    asked = [
        item
        for item in plan.items
        if item.conflict is not None and item.conflict.code in told and not item.conflict.when
    ]
    for item in asked[:EDITS_ASKED]:
        number = reading.ids.id_of(item.kind, item.target_uuid)
        if number is None:
            continue
        try:
            found = client.get(item.kind.value, number)
        except SupersetError:
            continue  # who it was is a service to the reader; the plan stands without
        by = found.get("changed_by")
        who = (
            " ".join(str(by.get(key) or "") for key in ("first_name", "last_name")).strip()
            if isinstance(by, Mapping)
            else str(found.get("changed_by_name") or "")
        )
        when = found.get("changed_on_utc") or found.get("changed_on") or ""
        edits[item.target_uuid] = engine.Edit(who, str(when))
    return edits


# --- Keeping
# --------------------------------------------------------------------------------------------------------------


def _keep(
    migration: Migration,
    plan: engine.Plan,
    given: engine.PlanInput,
    problems: Iterable[Problem],
    databases: list[dict[str, Any]],
    snapshots: Snapshots,
    requests: int,
    ctx: JobContext,
    asked: list[Any],
    pruned: Pruning,
) -> Plan | None:
    """The plan's rows; None if something else is asked for by now than what the plan was made from."""
    documents = [
        document for item in plan.items for document in (item.wanted, item.present) if document is not None
    ]
    put_documents({document.fingerprint: document for document in documents}.values())
    names = {**given.target, **given.source}
    losses = [asdict(loss) for loss in plan.losses] + [
        {"uuid": "", "code": code, "text": text} for code, text in losses_beside(migration)
    ]
    with ctx.fenced():
        locked = Migration.objects.select_for_update().get(pk=migration.pk)
        if locked.is_open and _asked(locked) != asked:
            return None
        row = Plan.objects.create(
            migration=migration,
            hash=plan.fingerprint,
            counts=plan.counts,
            companion_counts=counts_of(plan.companions),
            problems=cleaned([asdict(problem) for problem in problems]),
            losses=[] if migration.maps_nothing else cleaned(losses),
            affected=cleaned([asdict(entry) for entry in plan.affected]),
            pruning=cleaned([one.to_json() for one in pruned.candidates]),
            databases=[] if migration.maps_nothing else cleaned(databases),
            mapping=mapping_to_json(plan.mapping),
            source_snapshot=snapshots[0],
            target_snapshot=snapshots[1],
            request_count=requests,
            created_by=ctx.job.actor,
        )
        PlanItem.objects.bulk_create(
            (_item_row(row, position, item, names) for position, item in enumerate(plan.items)),
            batch_size=500,
        )
        keep_companions(row, plan.companions)
        if locked.is_open:
            locked.plan = row
            locked.state = MigrationState.PLANNED
            if locked.override_reason and _errors(row) - _errors(locked.plans.exclude(pk=row.pk).first()):
                locked.override_reason = ""  # it was given for other errors than these
            locked.save(update_fields=["plan", "state", "override_reason", "updated_at"])
    return row


def _errors(plan: Plan | None) -> set[tuple[str, str]]:
    """What a word overrides: of a removal that is too large, each asset that it removes."""
    if plan is None:
        return set()
    found = {(problem["code"], problem["uuid"]) for problem in plan.errors}
    if any(code == TOO_MUCH for code, _ in found):
        found |= {(TOO_MUCH, one["uuid"]) for one in plan.pruning if one["removes"]}
    return found


def _item_row(plan: Plan, position: int, item: engine.PlanItem, names: Documents) -> PlanItem:
    return PlanItem(
        plan=plan,
        position=position,
        kind=item.kind.value,
        uuid=item.uuid,
        target_uuid=item.target_uuid,
        title=clean(item.title, 500),
        action=item.action.value,
        reasons=cleaned(
            [
                {"uuid": uuid, "kind": names[uuid].kind.value, "title": names[uuid].title}
                for uuid in item.reasons
                if uuid in names
            ]
        ),
        changes=cleaned(
            [
                {
                    **change.to_json(),
                    "sentence": sentence(item.kind, change, names, (item.wanted, item.present)),
                }
                for change in item.changes
            ]
        ),
        conflict=cleaned(asdict(item.conflict)) if item.conflict else None,
        answer={"answer": item.answer.answer.value, "value": item.answer.value} if item.answer else None,
        blocked_by=clean(item.blocked_by, 1000),
        wanted_id=item.wanted.fingerprint if item.wanted else None,
        present_id=item.present.fingerprint if item.present else None,
        source_sha256=item.source_fingerprint,
    )


def same_for_comparison(one: Document | None, other: Document | None) -> bool:
    """Equal where it counts; nothing equals nothing."""
    if one is None or other is None:
        return one is other
    return one.fingerprint == other.fingerprint or comparison_fingerprint(one) == comparison_fingerprint(
        other
    )


Progress = Callable[[str], None]
