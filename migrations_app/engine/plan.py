"""The plan: what would happen to each asset, and why. Pure: the same documents and answers give the same plan."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any

from environments.canonical.charts import with_lost_annotations_of
from environments.canonical.comparison import comparison_fingerprint
from environments.canonical.dashboards import filter_datasets, without_charts
from environments.canonical.documents import DEPENDENCY_ORDER, Document, Documents, Kind, Note, fingerprint_of
from environments.canonical.ids import IdTable
from environments.canonical.references import closure, references, without_mentions
from environments.canonical.texts import hide_tokens, show_tokens, text_to_canonical
from environments.canonical.trees import map_texts

from .checks import Loss, Problem, Severity, asset_losses, document_problems
from .conflicts import Conflict, ConflictCode, natural_key_conflicts, renamed
from .conversion import successors, was_converted
from .diff import FieldChange, field_changes
from .drift import Moved, who_moved
from .lengths import length_problems, what_it_lacks
from .mapping import AssetMapping, all_in_target_terms

if TYPE_CHECKING:
    from .companions import CompanionItem


class Action(StrEnum):
    CREATE = "create"
    UPDATE = "update"
    REMOVE = "remove"
    UNCHANGED = "unchanged"
    KEEP = "keep"
    LEAVE_OUT = "leave_out"
    BLOCKED = "blocked"

    @property
    def writes(self) -> bool:
        return self in (Action.CREATE, Action.UPDATE, Action.REMOVE)


class Answer(StrEnum):
    """What a person may say to a conflict. Not every conflict takes every answer: `Conflict.options`."""

    TAKE = "take"  # overwrite the target's with the source's
    KEEP = "keep"  # the target's stays, and counts as seen
    LEAVE_OUT = "leave_out"  # not part of this migration
    ADOPT = "adopt"  # the target's own asset is this one: write into it, under its own uuid
    RENAME = "rename"  # bring ours beside it under another name
    BY_UUID = "by_uuid"  # of a damaged layout: its uuids say which charts are meant
    BY_ID = "by_id"  # its ids do, as the page shows it


@dataclass(frozen=True)
class Given:
    """An answer, and for RENAME the new name (empty: one is made)."""

    answer: Answer
    value: str = ""


@dataclass(frozen=True)
class Baseline:
    """The state after the last run that wrote or confirmed an asset: comparison fingerprints of what was
    wanted and what was there, "" for nothing. `accepted`: who made it so by a word, and why; "" if a run did.
    """

    wanted: str
    present: str
    accepted: str = ""


@dataclass(frozen=True)
class Edit:
    """Who changed an asset in Superset last, and when (ISO 8601, UTC)."""

    who: str
    when: str


@dataclass(frozen=True)
class PlanInput:
    """Everything a plan is made from.

    `source` and `target` hold the documents of both sides, databases included. `target_complete` says whether `target`
    is everything the target has: otherwise what stands on a written asset outside the plan cannot be named in full.
    `unknown_fields`: by kind the fields that the target's `version` does not know, and what an asset is without each.
    `undrawable`: chart types that the target cannot draw, and why; `flagged`: those that it draws once it is told to.
    `removals` are uuids of the target to be removed (rollback). `unreadable_target`: what is there but could not be
    read, so that its absence from `target` means nothing. `target_ids` and `target_url`: how the target itself reads
    links. `annotations_apart`: those that an import deletes are written apart, as companions, and not compared here.
    `questions`: what else has to be answered before these are written, by source uuid.
    Keys of `answers` are source uuids, or target uuids of removals.
    """

    source: Documents
    target: Documents
    selection: Collection[str]
    mapping: AssetMapping = field(default_factory=AssetMapping)
    left_out: Collection[str] = ()
    answers: Mapping[str, Given] = field(default_factory=dict)
    baselines: Mapping[str, Baseline] = field(default_factory=dict)
    target_edits: Mapping[str, Edit] = field(default_factory=dict)
    source_notes: tuple[Note, ...] = ()
    removals: Collection[str] = ()
    target_complete: bool = True
    with_dependencies: bool = True
    unreadable_target: Collection[str] = ()
    unknown_fields: Mapping[Kind, Mapping[str, str]] = field(default_factory=dict)
    undrawable: Mapping[str, str] = field(default_factory=dict)
    flagged: Mapping[str, str] = field(default_factory=dict)
    version: str = ""
    target_ids: IdTable = field(default_factory=IdTable)
    target_url: str = ""
    questions: Mapping[str, Conflict] = field(default_factory=dict)
    annotations_apart: bool = False


@dataclass(frozen=True)
class PlanItem:
    """One asset. `uuid` is the source's, `target_uuid` the one it has or gets on the target; `reasons` are
    the uuids that pulled it in.
    """

    kind: Kind
    uuid: str
    target_uuid: str
    title: str
    action: Action
    reasons: tuple[str, ...] = ()
    changes: tuple[FieldChange, ...] = ()
    conflict: Conflict | None = None
    answer: Given | None = None
    blocked_by: str = ""
    wanted: Document | None = None
    present: Document | None = None
    source_fingerprint: str = ""


@dataclass(frozen=True)
class Affected:
    """An asset of the target outside the plan that stands on one that will be written."""

    kind: Kind
    uuid: str
    title: str
    by: str


@dataclass(frozen=True)
class Plan:
    items: tuple[PlanItem, ...]
    problems: tuple[Problem, ...]
    losses: tuple[Loss, ...]
    affected: tuple[Affected, ...]
    unmapped_databases: tuple[str, ...]
    mapping: AssetMapping = field(default_factory=AssetMapping)  # as used: with what answers added to it
    companions: tuple[CompanionItem, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """Number of items by action; every action has an entry."""
        return {action.value: sum(item.action == action for item in self.items) for action in Action}

    @property
    def is_blocked(self) -> bool:
        return any(item.action == Action.BLOCKED for item in self.items)

    @property
    def has_changes(self) -> bool:
        return any(item.action.writes for item in self.items) or any(
            item.action.writes for item in self.companions
        )

    @property
    def fingerprint(self) -> str:
        """What an approval is bound to: every item and companion with what it was made from and what it would write."""
        return fingerprint_of(
            [
                [
                    item.kind.value,
                    item.uuid,
                    item.target_uuid,
                    item.action.value,
                    [item.answer.answer.value, item.answer.value] if item.answer else None,
                    item.source_fingerprint,
                    item.wanted.fingerprint if item.wanted else None,
                    item.present.fingerprint if item.present else None,
                ]
                for item in self.items
            ]
            + [
                [
                    item.kind.value,
                    item.uuid,
                    item.target_uuid,
                    item.action.value,
                    *(one.fingerprint if one else None for one in (item.source, item.wanted, item.present)),
                ]
                for item in self.companions
            ]
        )


def make_plan(given: PlanInput) -> Plan:
    """Compare what the selection should be on the target with what is there, and decide for each asset."""
    pulled = (
        closure(given.selection, given.source)
        if given.with_dependencies
        else {uuid: () for uuid in given.selection if uuid in given.source}
    )
    members = {uuid: given.source[uuid] for uuid in pulled if given.source[uuid].kind != Kind.DATABASE}
    mapping, conflicts, wanted = _settle_identities(members, given)
    conflicts = {**given.questions, **conflicts}
    out = {uuid for uuid in members if _is_left_out(uuid, given)}
    wanted = as_it_will_read(wanted, given, out)
    unmapped = mapping.unmapped(members[uuid] for uuid in members if uuid not in out)
    builder = _Builder(given, mapping, members, wanted, conflicts, out, unmapped, pulled)
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


def _is_left_out(uuid: str, given: PlanInput) -> bool:
    answer = given.answers.get(uuid)
    return uuid in given.left_out or (answer is not None and answer.answer == Answer.LEAVE_OUT)


def _settle_identities(
    members: Documents, given: PlanInput
) -> tuple[AssetMapping, dict[str, Conflict], dict[str, Document]]:
    """Find unrelated assets of the target that an import would take over, and let the answers decide: pairs, renames,
    or a conflict. Returns the mapping with them, the open conflicts, and the members in the target's terms.
    """
    mapping = given.mapping
    out = {uuid for uuid in members if _is_left_out(uuid, given)}
    used: set[str] = set()
    while True:  # a rename may hit another asset again: look once more with every answer in place
        wanted = all_in_target_terms(members, mapping)
        conflicts = natural_key_conflicts(wanted, given.target, out)
        pairs, renames = dict(mapping.pairs), dict(mapping.renames)
        answered = {
            uuid: answer
            for uuid in conflicts
            if uuid not in used
            and (answer := given.answers.get(uuid)) is not None
            and answer.answer in (Answer.ADOPT, Answer.KEEP, Answer.RENAME)
            and answer.answer.value in conflicts[uuid].options
        }
        if not answered:
            return mapping, conflicts, wanted
        used.update(answered)
        for uuid, answer in answered.items():
            if answer.answer == Answer.RENAME:
                fields = renamed(wanted[uuid], answer.value, given.target, wanted.values())
                renames[uuid] = {**renames.get(uuid, {}), **fields}
                wanted[uuid] = wanted[uuid].replace(**fields)
            else:
                pairs[uuid] = conflicts[uuid].other_uuid
        mapping = replace(mapping, pairs=pairs, renames=renames)


def as_it_will_read(
    wanted: Mapping[str, Document], given: PlanInput, out: Collection[str] = ()
) -> dict[str, Document]:
    """What the target will hold once these (all but `out`) were imported: links that it reads as links to itself, links
    to what is not there, and nothing that its import does not carry. Of `given` the facts of the target are asked for.
    """
    there = {*given.target, *given.unreadable_target} - set(given.removals)
    there |= {document.uuid for uuid, document in wanted.items() if uuid not in out}

    def own_links(text: str) -> str:
        if given.target_url not in text:
            return text
        hidden, tokens = hide_tokens(text)
        return show_tokens(text_to_canonical(hidden, given.target_ids, given.target_url)[0], tokens)

    def is_there(document: Document, kind: Kind, uuid: str) -> bool:
        # What a query's macro names is needed: its absence is an obstacle, not a dead link.
        needed = kind == Kind.DATASET and document.kind == Kind.DATASET
        known = given.target_ids.id_of(kind, uuid) is not None and uuid not in given.removals
        return uuid in there or needed or known

    found: dict[str, Document] = {}
    for uuid, document in wanted.items():
        if given.target_url:
            document = Document(document.kind, document.uuid, map_texts(document.body, own_links))
        found[uuid] = _carried(without_mentions(document, partial(is_there, document)), given)
    return found


def _carried(document: Document, given: PlanInput) -> Document:
    """The document without what its import leaves behind (`checks.asset_losses` names it): a theme, which stays as the
    target has it, and fields that the target's version does not know.
    """
    changes: dict[str, Any] = {}
    if document.kind == Kind.DASHBOARD and "theme_uuid" in document.body:
        present = given.target.get(document.uuid)
        changes["theme_uuid"] = present.body.get("theme_uuid") if present is not None else None
    if document.kind == Kind.CHART and given.annotations_apart:
        present = given.target.get(document.uuid)
        if present is not None and present.kind == Kind.CHART:
            changes["params"] = with_lost_annotations_of(document.body, present.body)
    for name in given.unknown_fields.get(document.kind, ()):
        group, _, column = name.partition(".")
        if not column and document.body.get(name) is not None:
            changes[name] = None
        elif isinstance(document.body.get(group), Mapping):
            settings = changes.get(group, document.body[group])
            changes[group] = {key: value for key, value in settings.items() if key != column}
        elif column and document.body.get(group):
            entries = changes.get(group, document.body[group])
            changes[group] = [{**entry, column: None} if column in entry else entry for entry in entries]
    return document.replace(**changes) if changes else document


class _Builder:
    """Decides item by item, in dependency order, so that what stands on a blocked asset is blocked too."""

    def __init__(
        self,
        given: PlanInput,
        mapping: AssetMapping,
        members: Documents,
        wanted: dict[str, Document],
        conflicts: Mapping[str, Conflict],
        out: Collection[str],
        unmapped: Collection[str],
        pulled: Mapping[str, tuple[str, ...]],
    ) -> None:
        self.given, self.mapping, self.members, self.wanted = given, mapping, members, wanted
        self.conflicts, self.out, self.unmapped, self.pulled = conflicts, out, frozenset(unmapped), pulled
        self.problems: list[Problem] = []
        #: target uuids that are there, or will be
        self.exists: set[str] = set(given.target)
        self.blocked: set[str] = set()
        self.done: dict[str, PlanItem] = {}

    def items(self) -> list[PlanItem]:
        order = {kind: index for index, kind in enumerate(DEPENDENCY_ORDER)}
        shown = sorted(
            self.members, key=lambda uuid: (order[self.members[uuid].kind], self.members[uuid].title, uuid)
        )
        for uuid in self._needed_first(shown):
            item = self._item(uuid)
            self.done[uuid] = item
            if item.action == Action.CREATE:
                self.exists.add(item.target_uuid)
            elif item.action == Action.BLOCKED:
                self.blocked.add(item.target_uuid)
        self.done = {uuid: self.done[uuid] for uuid in shown}
        removed = [self._removal(uuid) for uuid in sorted(self.given.removals) if uuid in self.given.target]
        return [*self.done.values(), *sorted(removed, key=lambda item: (-order[item.kind], item.title))]

    def _needed_first(self, uuids: Collection[str]) -> list[str]:
        """Datasets whose queries read other datasets, and charts that show other charts, after those."""
        ordered: dict[str, None] = {}
        begun: set[str] = set()

        def put(uuid: str) -> None:
            if uuid in begun:
                return
            begun.add(uuid)
            for reference in references(self.members[uuid]):
                if reference.how == "needs" and reference.uuid in self.members:
                    put(reference.uuid)
            ordered[uuid] = None

        for uuid in uuids:
            put(uuid)
        return list(ordered)

    def _item(self, uuid: str) -> PlanItem:
        source = self.members[uuid]
        wanted = self.wanted[uuid]
        present = self.given.target.get(wanted.uuid)
        item = PlanItem(
            kind=source.kind,
            uuid=uuid,
            target_uuid=wanted.uuid,
            title=source.title,
            action=Action.BLOCKED,
            reasons=self.pulled[uuid],
            answer=self.given.answers.get(uuid),
            wanted=wanted,
            present=present,
            source_fingerprint=source.fingerprint,
        )
        if uuid in self.out:
            return replace(item, action=Action.LEAVE_OUT, conflict=self.conflicts.get(uuid), wanted=None)
        if item.answer is not None and item.answer.answer == Answer.KEEP and present is not None:
            return self._kept(item, present)
        if conflict := self.conflicts.get(uuid):
            return replace(item, conflict=conflict, blocked_by=conflict.text)
        if reason := self._obstacle(source, wanted):
            return replace(item, blocked_by=reason)
        wanted = self._without_what_stays_away(wanted, uuid)
        item = replace(item, wanted=wanted)
        if wanted.uuid in self.given.unreadable_target:
            return replace(
                item,
                blocked_by=(
                    "The target has this asset, but what it holds cannot be read; it would "
                    "be overwritten unseen."
                ),
            )
        if present is None:
            self._say_if_its_absence_was_accepted(item)
            return replace(item, action=Action.CREATE)
        if present.kind != wanted.kind:
            return replace(
                item, blocked_by=f"On the target this uuid is a {present.kind.value}, “{present.title}”."
            )
        if comparison_fingerprint(wanted) == comparison_fingerprint(present):
            return replace(item, action=Action.UNCHANGED)
        if self._stays_converted(wanted, present):
            return replace(item, action=Action.UNCHANGED)
        return self._changed(item, wanted, present)

    def _stays_converted(self, wanted: Document, present: Document) -> bool:
        """Superset turned the chart into another type when it was brought, and neither side has moved since."""
        baseline = self.given.baselines.get(present.uuid)
        return (
            baseline is not None
            and baseline.wanted == comparison_fingerprint(wanted)
            and baseline.present == comparison_fingerprint(present)
            and was_converted(wanted, present)
        )

    def _say_if_its_absence_was_accepted(self, item: PlanItem) -> None:
        baseline = self.given.baselines.get(item.target_uuid)
        if baseline is not None and baseline.accepted and not baseline.present:
            text = f"“{item.title}” was deleted on the target, which was {baseline.accepted}; it would be created anew."
            remedy = "Leave it out if it is to stay away."
            self.problems.append(Problem(Severity.WARNING, "deletion_accepted", item.uuid, text, remedy))

    def _kept(self, item: PlanItem, present: Document) -> PlanItem:
        assert item.wanted is not None
        same = comparison_fingerprint(item.wanted) == comparison_fingerprint(present)
        return replace(
            item,
            action=Action.UNCHANGED if same else Action.KEEP,
            changes=() if same else field_changes(present, item.wanted),
            conflict=None if same else self._edit_conflict(item, present),
        )

    def _changed(self, item: PlanItem, wanted: Document, present: Document) -> PlanItem:
        item = replace(item, changes=field_changes(present, wanted))
        conflict = self._edit_conflict(item, present)
        taken = item.answer is not None and item.answer.answer in (Answer.TAKE, Answer.ADOPT, Answer.RENAME)
        if conflict is None or taken:
            return replace(item, action=Action.UPDATE, conflict=conflict)
        if conflict.code == ConflictCode.ACCEPTED:
            return replace(
                item, action=Action.KEEP, conflict=conflict
            )  # it was answered when it was accepted
        return replace(item, conflict=conflict, blocked_by=conflict.text)

    def _edit_conflict(self, item: PlanItem, present: Document) -> Conflict | None:
        """Somebody edited the target after what we last brought there."""
        baseline = self.given.baselines.get(item.target_uuid)
        if baseline is None or item.wanted is None:
            return None
        moved = who_moved(
            wanted=comparison_fingerprint(item.wanted),
            present=comparison_fingerprint(present),
            base_wanted=baseline.wanted,
            base_present=baseline.present,
        )
        if moved in (Moved.NEITHER, Moved.SOURCE):
            return self._accepted(baseline, moved, present) if baseline.accepted else None
        source_moved = moved == Moved.BOTH
        edit = self.given.target_edits.get(item.target_uuid)
        who = f" by {edit.who}" if edit and edit.who else ""
        when = f" on {edit.when[:16].replace('T', ' ')} UTC" if edit and edit.when else ""
        if source_moved:
            text = (
                f"Edited on both sides since the last run: the source's changed, and the "
                f"target's was edited{who}{when}."
            )
        else:
            text = f"The target's was edited{who}{when} after the last run; the source's is as it was."
        return Conflict(
            code=ConflictCode.DIVERGED if source_moved else ConflictCode.DRIFTED,
            text=text,
            options=(Answer.KEEP.value, Answer.TAKE.value, Answer.LEAVE_OUT.value),
            other_uuid=present.uuid,
            other_title=present.title,
            who=edit.who if edit else "",
            when=edit.when if edit else "",
        )

    def _accepted(self, baseline: Baseline, moved: Moved, present: Document) -> Conflict:
        """The target's own state was accepted: it stays while the source's is as it was then."""
        if moved == Moved.SOURCE and baseline.wanted:
            code = ConflictCode.DIVERGED
            text = f"The source's changed after the target's own was {baseline.accepted}."
        elif moved == Moved.SOURCE:
            code, text = (
                ConflictCode.DIVERGED,
                f"The target's own was made there by hand and {baseline.accepted}.",
            )
        else:
            code, text = ConflictCode.ACCEPTED, f"The target's own was {baseline.accepted}."
        options = (Answer.KEEP.value, Answer.TAKE.value, Answer.LEAVE_OUT.value)
        return Conflict(code, text, options, present.uuid, present.title)

    def _obstacle(self, source: Document, wanted: Document) -> str:
        if lack := what_it_lacks(wanted):
            return lack
        if source.kind == Kind.DATASET:
            database = str(source.body.get("database_uuid") or "")
            if not database:
                return "This dataset has no database."
            if database in self.unmapped:
                name = self.given.source[database].title if database in self.given.source else database
                return f"The database “{name}” is not mapped to one of the target."
        if source.kind == Kind.CHART and not source.body.get("dataset_uuid"):
            return (
                "The dataset of this chart does not exist any more; no import takes such a "
                "chart. Give it a dataset, or leave it out."
            )
        if source.kind == Kind.CHART and (reason := self._cannot_be_drawn(source)):
            return reason
        for reference in references(wanted):
            if reference.how != "needs" or reference.kind in (Kind.DATABASE,):
                continue
            if wanted.kind == Kind.DASHBOARD and reference.kind == Kind.CHART:
                # A layout can be without a chart (`_without_what_stays_away`), but not because nobody answered yet.
                if reference.uuid in self.blocked:
                    return f"Its chart {self._name(reference.uuid)} is blocked."
                continue
            if reference.uuid in self.exists:
                continue
            name = self._name(reference.uuid)
            return (
                f"Stands on the {reference.kind.value} {name}, which is not on the target and "
                f"not part of what is written."
            )
        return ""

    def _cannot_be_drawn(self, chart: Document) -> str:
        """The releases' own lists say what a target draws; one that shows such charts already knows better."""
        viz_type = str(chart.body.get("viz_type"))
        if off := self.given.flagged.get(viz_type):
            remedy = "Switch it on there, unless it is off on the source as well."
            self.problems.append(
                Problem(
                    Severity.WARNING,
                    "viz_type_flag",
                    chart.uuid,
                    f"“{chart.title}” will not be shown: {off}",
                    remedy,
                )
            )
        reason = self.given.undrawable.get(viz_type, "")
        if not reason or successors(viz_type):
            return ""
        others = (
            document
            for document in self.given.target.values()
            if document.kind == Kind.CHART and document.body.get("viz_type") == viz_type
        )
        if any(document.uuid != chart.uuid for document in others):
            text = f"“{chart.title}”: {reason} It is brought because the target has such charts already."
            remedy = "Look whether the target shows them: its pages may have been extended."
            self.problems.append(Problem(Severity.WARNING, "viz_type_unknown", chart.uuid, text, remedy))
            return ""
        return f"{reason} Give the chart another type on the source, or leave it out."

    def _without_what_stays_away(self, wanted: Document, uuid: str) -> Document:
        if wanted.kind != Kind.DASHBOARD:
            return wanted
        away = {
            reference.uuid
            for reference in references(wanted)
            if reference.kind == Kind.CHART and reference.how == "needs"
        } - self.exists
        if not away:
            return wanted
        names = ", ".join(sorted(self._name(chart) for chart in away))
        self.problems.append(
            Problem(
                Severity.WARNING,
                "charts_left_out",
                uuid,
                f"“{wanted.title}” will be without {names}: not on the target and not part of what is written.",
                "Take them into the selection if they belong on the target.",
            )
        )
        return without_charts(wanted, away)

    def _removal(self, uuid: str) -> PlanItem:
        present = self.given.target[uuid]
        item = PlanItem(
            present.kind,
            uuid,
            uuid,
            present.title,
            Action.REMOVE,
            present=present,
            answer=self.given.answers.get(uuid),
        )
        if self._stays(uuid):
            return replace(item, action=Action.KEEP)
        baseline = self.given.baselines.get(uuid)
        conflict: Conflict | None = None
        if baseline is not None and comparison_fingerprint(present) != baseline.present:
            edit = self.given.target_edits.get(uuid)
            conflict = Conflict(
                ConflictCode.DRIFTED,
                "Edited on the target after the run that created it"
                + (f", by {edit.who}." if edit and edit.who else "."),
                (Answer.KEEP.value, Answer.TAKE.value),
                uuid,
                present.title,
                edit.who if edit else "",
                edit.when if edit else "",
            )
        users = [
            other
            for other in self.given.target.values()
            if (other.uuid not in self.given.removals or self._stays(other.uuid))
            and any(
                reference.uuid == uuid and reference.how == "needs"
                for reference in references(self._after(other))
            )
        ]
        if users:
            names = ", ".join(f"{user.kind.value} “{user.title}”" for user in users[:3])
            conflict = Conflict(
                ConflictCode.IN_USE,
                f"Used by {names}{' and others' if len(users) > 3 else ''}, outside this plan.",
                (Answer.KEEP.value, Answer.TAKE.value),
                uuid,
                present.title,
            )
        if conflict is not None and not (item.answer is not None and item.answer.answer == Answer.TAKE):
            return replace(item, action=Action.BLOCKED, conflict=conflict, blocked_by=conflict.text)
        return replace(item, conflict=conflict)

    def _stays(self, uuid: str) -> bool:
        """Somebody answered that it is not to be removed."""
        answer = self.given.answers.get(uuid)
        return answer is not None and answer.answer in (Answer.KEEP, Answer.LEAVE_OUT)

    def _after(self, present: Document) -> Document:
        """What a document of the target will be after the plan: a dashboard that is put back no longer
        needs what is removed.
        """
        for item in self.done.values():
            if item.target_uuid == present.uuid and item.action == Action.UPDATE and item.wanted is not None:
                return item.wanted
        return present

    def _name(self, uuid: str) -> str:
        for documents in (self.wanted, self.given.source, self.given.target):
            for key, document in documents.items() if documents is self.wanted else ():
                if document.uuid == uuid or key == uuid:
                    return f"“{document.title}”"
            if uuid in documents:
                return f"“{documents[uuid].title}”"
        return uuid


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
    "filter_datasets",
    "make_plan",
    "model_after",
    "written_documents",
]
