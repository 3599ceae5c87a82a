"""The plan: what would happen to each asset, and why. Pure: the same documents and answers give the same plan."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from environments.canonical.documents import DEPENDENCY_ORDER, Document, Documents, Kind
from environments.canonical.references import closure, references

from .checks import Loss, Problem, Severity, asset_losses, document_problems
from .deciding import Builder
from .lengths import length_problems
from .planned import Action, Affected, Answer, Baseline, Edit, Given, Plan, PlanInput, PlanItem
from .wanted import as_it_will_read, is_left_out, settle_identities


def make_plan(given: PlanInput) -> Plan:
    """Compare what the selection should be on the target with what is there, and decide for each asset."""
    pulled = (
        closure(given.selection, given.source)
        if given.with_dependencies
        else {uuid: () for uuid in given.selection if uuid in given.source}
    )
    members = {uuid: given.source[uuid] for uuid in pulled if given.source[uuid].kind != Kind.DATABASE}
    mapping, conflicts, wanted = settle_identities(members, given)
    conflicts = {**given.questions, **conflicts}
    out = {uuid for uuid in members if is_left_out(uuid, given)}
    wanted = as_it_will_read(wanted, given, out)
    unmapped = mapping.unmapped(members[uuid] for uuid in members if uuid not in out)
    builder = Builder(given, mapping, members, wanted, conflicts, out, unmapped, pulled)
    items = builder.items()
    problems = [
        *_missing_on_source(members, given),
        *document_problems([item for item in items if item.action.writes], given.target),
        *length_problems(items, given.target, given.target_ids),
        *builder.problems,
    ]
    return Plan(
        items=tuple(items),
        problems=tuple(
            sorted(
                set(problems),
                key=lambda problem: (
                    list(Severity).index(problem.severity),
                    problem.code,
                    problem.uuid,
                    problem.text,
                ),
            )
        ),
        losses=tuple(_losses(items, members, given)),
        affected=tuple(_affected(items, given)),
        unmapped_databases=unmapped,
        mapping=mapping,
    )


def _missing_on_source(members: Documents, given: PlanInput) -> Iterable[Problem]:
    unreadable = {note.uuid: note.text for note in given.source_notes if note.code == "unreadable"}
    for uuid in sorted(set(given.selection) - set(given.source)):
        if uuid in unreadable:
            text, remedy = f"A selected asset cannot be read: {unreadable[uuid]}", "Repair it on the source."
        else:
            text = f"A selected asset does not exist on the source any more ({uuid})."
            remedy = "Take it out of the selection."
        yield Problem(Severity.ERROR, "selection_gone", uuid, text, remedy)
    for uuid, document in members.items():
        for reference in references(document):
            if (
                reference.how == "needs"
                and reference.kind != Kind.DATABASE
                and reference.uuid not in given.source
            ):
                yield Problem(
                    Severity.WARNING,
                    "dangling_reference",
                    uuid,
                    f"“{document.title}” names a {reference.kind.value} that the source does not "
                    f"have ({reference.uuid}).",
                    "Repair it on the source, or go on without it.",
                )
            elif (
                reference.how == "mentions"
                and reference.uuid in given.source
                and reference.uuid not in members
            ):
                other = given.source[reference.uuid]
                yield Problem(
                    Severity.INFO,
                    "mention_outside",
                    uuid,
                    f"“{document.title}” links to the {other.kind.value} “{other.title}”, which is "
                    f"not part of the selection"
                    + (
                        "."
                        if other.uuid in given.target
                        else " and not on the target: the link will lead nowhere."
                    ),
                    "",
                )
    for note in given.source_notes:
        if note.uuid in members:
            yield Problem(
                Severity.INFO if note.code in ("stale_reference", "stale_chart_uuid") else Severity.WARNING,
                note.code,
                note.uuid,
                f"“{members[note.uuid].title}”: {note.text}",
                "",
            )


def _losses(items: Iterable[PlanItem], members: Documents, given: PlanInput) -> Iterable[Loss]:
    for item in items:
        if item.action in (Action.CREATE, Action.UPDATE) and item.uuid in members:
            yield from asset_losses(members[item.uuid], item.present, given.unknown_fields, given.version)


def _affected(items: Iterable[PlanItem], given: PlanInput) -> Iterable[Affected]:
    """Assets of the target that are not in the plan and need one that is updated or removed."""
    in_plan = {item.target_uuid for item in items}
    written = {item.target_uuid for item in items if item.action in (Action.UPDATE, Action.REMOVE)}
    found: list[Affected] = []
    for document in given.target.values():
        if document.uuid in in_plan:
            continue
        for reference in references(document):
            if reference.how == "needs" and reference.uuid in written:
                found.append(Affected(document.kind, document.uuid, document.title, reference.uuid))
    # A dashboard stands on a dataset through its charts as well.
    charts = {entry.uuid: entry.by for entry in found if entry.kind == Kind.CHART}
    for document in given.target.values():
        if document.kind == Kind.DASHBOARD and document.uuid not in in_plan:
            for reference in references(document):
                if reference.uuid in charts:
                    found.append(
                        Affected(document.kind, document.uuid, document.title, charts[reference.uuid])
                    )
    return sorted(
        set(found), key=lambda entry: (-DEPENDENCY_ORDER.index(entry.kind), entry.title, entry.uuid, entry.by)
    )


def written_documents(plan: Plan) -> dict[str, Document]:
    """What an apply writes, by target uuid."""
    return {
        item.target_uuid: item.wanted
        for item in plan.items
        if item.action in (Action.CREATE, Action.UPDATE) and item.wanted is not None
    }


def model_after(target: Documents, plan: Plan) -> dict[str, Document]:
    """The target as it should be after the plan was applied: the model that the re-read is held against."""
    after: dict[str, Any] = {**target, **written_documents(plan)}
    for item in plan.items:
        if item.action == Action.REMOVE:
            after.pop(item.target_uuid, None)
    return after


__all__ = [
    "Action",
    "Affected",
    "Answer",
    "Baseline",
    "Edit",
    "Given",
    "Plan",
    "PlanInput",
    "PlanItem",
    "as_it_will_read",
    "make_plan",
    "model_after",
    "written_documents",
]
