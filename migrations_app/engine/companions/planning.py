"""The companions of a plan: which come along, and what somebody has to be asked about."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from environments.canonical.companions import FACETS, Companion, CompanionKind
from environments.canonical.documents import Kind
from migrations_app.engine.carrying import OPTION_OF, OPTIONS, WARN, Carrying
from migrations_app.engine.checks import Severity
from migrations_app.engine.edited import edit_conflict
from migrations_app.engine.plan import Action, Answer, Plan
from migrations_app.engine.sentences import shown

from .comparing import decided
from .model import CompanionInput, CompanionItem, companion_words, urgency
from .settling import Settling
from .words import sentences_of

#: Said by a losing asset of what a companion carries: code of the loss -> kind.
_CARRIED_LOSSES = {
    "annotation_layer": CompanionKind.ANNOTATION_USE,
    "annotation_layer_target": CompanionKind.ANNOTATION_USE,
    "theme": CompanionKind.THEME_USE,
}


def with_companions(given: CompanionInput) -> Plan:
    """The plan with what comes along, and with its losses and problems as they are then."""
    builder = _Builder(given)
    items = builder.items()
    carried = {(item.asset_uuid, item.kind) for item in items if item.is_carried}
    losses = [
        loss for loss in given.plan.losses if (loss.uuid, _CARRIED_LOSSES.get(loss.code)) not in carried
    ]
    return replace(
        given.plan,
        companions=tuple(items),
        losses=tuple(losses + builder.losses),
        problems=tuple(sorted({*given.plan.problems, *builder.problems}, key=urgency)),
    )


def general_losses(carrying: Carrying) -> list[tuple[str, str]]:
    """What this migration brings of no asset: (code, sentence). Shown with every plan."""
    found = [
        (option.name, option.without)
        for option in OPTIONS
        if option.without and not any(carrying.carries(kind) for kind in option.kinds)
    ]
    return [*found, ("people", "Favourites, permalinks and saved filter states.")]


class _Builder(Settling):
    def items(self) -> list[CompanionItem]:
        readable = [kind for kind in CompanionKind if self._is_readable(kind)]
        uses = {
            uuid
            for companion in self._of(CompanionKind.ANNOTATION_USE, CompanionKind.THEME_USE)
            if self._is_whose(companion)
            for uuid in companion.needs
        }
        tags = {
            str(name)
            for companion in self._of(CompanionKind.TAGS)
            if self._is_whose(companion)
            for name in companion.body["tags"]
        }
        for kind in readable:
            found = sorted(self._of(kind), key=lambda one: (self._title(one), one.uuid))
            if kind == CompanionKind.RLS and self.carrying["rls"] == WARN:
                self._warn_of_rules(found)
                continue
            for companion in found:
                if kind in FACETS:
                    is_meant = self._is_whose(companion)
                elif self.given.everything:
                    is_meant = True
                elif kind in (CompanionKind.ANNOTATION_LAYER, CompanionKind.THEME):
                    is_meant = companion.uuid in uses
                elif kind == CompanionKind.TAG:
                    is_meant = companion.title in tags
                elif kind == CompanionKind.SAVED_QUERY:
                    is_meant = str(companion.body["database"]) in self.given.plan.mapping.databases
                elif kind == CompanionKind.CSS_TEMPLATE:
                    is_meant = True
                else:
                    is_meant = any(uuid in self.scope for _, uuid in companion.assets)
                if is_meant:
                    self._put(self._item(companion))
            if kind == CompanionKind.ANNOTATION_USE:
                self._without_annotations()
        return list(self.done.values())

    def _put(self, item: CompanionItem) -> None:
        """Two of the source may be one on the target, as where their assets were paired: the first counts."""
        if item.target_uuid not in self.done:
            self.done[item.target_uuid] = self._asked(item)

    def _asked(self, item: CompanionItem) -> CompanionItem:
        """What was edited on the target since the last run is written over only where somebody says so."""
        if not item.action.writes or self._is_of_a_new_asset(item):
            return item
        base = self.given.bases.get(item.target_uuid)
        words = companion_words(item.kind, item.title)
        conflict, is_settled = edit_conflict(base, item.wanted, item.present, words, item.title)
        if conflict is None:
            return item
        answer = self.given.answers.get(item.uuid)
        item = replace(item, conflict=conflict, answer=answer)
        if answer is not None and answer.answer == Answer.TAKE:
            return item
        if is_settled or (answer is not None and answer.answer == Answer.KEEP):
            changes_for_others = ("rls_shared", item.target_uuid)  # not written, so it does not
            self.problems = [one for one in self.problems if (one.code, one.uuid) != changes_for_others]
            return replace(item, action=Action.KEEP)
        return replace(item, action=Action.BLOCKED, reason=conflict.text)

    def _is_of_a_new_asset(self, item: CompanionItem) -> bool:
        """What went with an asset that somebody deleted comes again with it."""
        if item.present is not None or item.wanted is None:
            return False
        made = {one.target_uuid for one in self.scope.values() if one.action == Action.CREATE}
        return any(uuid in made for kind, uuid in item.wanted.assets if kind != Kind.DATABASE)

    def _of(self, *kinds: CompanionKind) -> Iterator[Companion]:
        return (one for one in self.given.source.companions.values() if one.kind in kinds)

    def _is_whose(self, companion: Companion) -> bool:
        whose = companion.asset
        return whose is not None and whose[1] in self.scope

    def _is_readable(self, kind: CompanionKind) -> bool:
        if not self.carrying.asks(kind):
            return False
        for side, where in ((self.given.source, "source"), (self.given.target, "target")):
            if why := side.unreadable.get(kind):
                option = OPTION_OF[kind]
                text = f"{option.label} cannot be carried, as the {where} does not tell them: {why}"
                self._lose("", f"{kind.value}_unreadable", text)
                if kind in (CompanionKind.ROLES, CompanionKind.RLS, CompanionKind.ACCESS):
                    remedy = "See that they are right on the target, or switch the option off."
                    self._problem(Severity.WARNING, f"{kind.value}_unreadable", "", text, remedy)
                return False
        return True

    def _item(self, source: Companion) -> CompanionItem:
        wanted = self._in_target_terms(source)
        whose = source.asset
        present = self.given.target.companions.get(wanted.uuid)
        item = CompanionItem(
            kind=source.kind,
            uuid=source.uuid,
            target_uuid=wanted.uuid,
            title=self._title(source),
            action=Action.LEAVE_OUT,
            asset_uuid=whose[1] if whose else "",
            source=source,
            present=present,
        )
        settled = self.settle(item, source, wanted)
        if isinstance(settled, CompanionItem):
            return settled
        return decided(replace(item, wanted=settled))

    def _warn_of_rules(self, rules: Iterable[Companion]) -> None:
        there = [one for one in self.given.target.companions.values() if one.kind == CompanionKind.RLS]
        for rule in rules:
            wanted = self._in_target_terms(rule)
            for uuid in rule.body["tables"]:
                item = self.scope.get(uuid)
                if item is None:
                    continue
                same = any(
                    item.target_uuid in other.body["tables"]
                    and (other.title == rule.title or other.body.get("clause") == wanted.body.get("clause"))
                    for other in there
                )
                if not same:
                    self._problem(
                        Severity.WARNING,
                        "rls_missing",
                        uuid,
                        f"On the source the rule “{rule.title}” keeps rows of “{item.title}” from view "
                        f"({shown(rule.body.get('clause'))}); the target has no such rule for it.",
                        "Carry row-level security with this migration, or make the rule on the target.",
                    )

    def _without_annotations(self) -> None:
        """Where the source's chart has none, the target's layers go with the import: the restore point keeps them."""
        for target in self.given.target.companions.values():
            if target.kind != CompanionKind.ANNOTATION_USE or target.uuid in self.done:
                continue
            item = next((one for one in self.scope.values() if one.target_uuid == target.title), None)
            if item is not None and item.action == Action.UPDATE:
                self._put(
                    CompanionItem(
                        CompanionKind.ANNOTATION_USE,
                        target.uuid,
                        target.uuid,
                        item.title,
                        Action.REMOVE,
                        item.uuid,
                        present=target,
                        changes=sentences_of(target, None),
                    )
                )
