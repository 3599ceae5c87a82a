"""What happens to each asset of a plan, one by one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from environments.canonical.comparison import comparison_fingerprint
from environments.canonical.dashboards import without_charts
from environments.canonical.documents import DEPENDENCY_ORDER, Document, Documents, Kind
from environments.canonical.references import references

from .checks import Problem, Severity
from .conflicts import Conflict, ConflictCode
from .conversion import successors, was_converted
from .diff import field_changes
from .drift import Moved, who_moved
from .lengths import what_it_lacks
from .mapping import AssetMapping
from .planned import Action, Answer, Baseline, PlanInput, PlanItem


class Builder:
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
        if successors(viz_type):
            return ""
        has_others = any(
            document.kind == Kind.CHART
            and document.body.get("viz_type") == viz_type
            and document.uuid != chart.uuid
            for document in self.given.target.values()
        )
        if not reason:
            if self.given.released and viz_type not in self.given.released and not has_others:
                text = (
                    f"“{chart.title}”: no Superset release draws the type {viz_type}, and the target has "
                    "no such chart."
                )
                remedy = "See that the target's pages have the plugin for it: else it shows an error instead."
                self.problems.append(Problem(Severity.WARNING, "viz_type_own", chart.uuid, text, remedy))
            return ""
        if has_others:
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
                "Edited on the target since the last run"
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
