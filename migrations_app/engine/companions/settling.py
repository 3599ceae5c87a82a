"""What each kind of companion needs on the target, and what becomes of one that does not find it there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from environments.canonical.companions import (
    FACETS,
    Companion,
    CompanionKind,
    companion_uuid,
    mapped,
    person_name,
    withheld,
)
from environments.canonical.documents import Kind
from migrations_app.engine.carrying import ACTIVE, NOBODY, RECIPIENTS
from migrations_app.engine.checks import Loss, Problem, Severity
from migrations_app.engine.mapping import AssetMapping
from migrations_app.engine.plan import Action

from .comparing import decided
from .model import WORDS, CompanionInput, CompanionItem
from .words import some


class Settling:
    """Collects losses and problems beside what it decides."""

    def __init__(self, given: CompanionInput) -> None:
        self.given, self.carrying = given, given.carrying
        self.scope = given.scope
        self.losses: list[Loss] = []
        self.problems: list[Problem] = []
        mapping: AssetMapping = given.plan.mapping
        self.assets: dict[str, str] = {
            **{uuid: target.uuid for uuid, target in mapping.databases.items()},
            **mapping.pairs,
            **{item.uuid: item.target_uuid for item in given.plan.items},
        }
        self.done: dict[str, CompanionItem] = {}

    def _title(self, companion: Companion) -> str:
        whose = companion.asset
        if whose is None:
            return companion.title
        item = self.scope.get(whose[1])
        return item.title if item is not None else whose[1]

    def _lose(self, uuid: str, code: str, text: str) -> None:
        self.losses.append(Loss(uuid, code, text))

    def _problem(self, severity: Severity, code: str, uuid: str, text: str, remedy: str) -> None:
        self.problems.append(Problem(severity, code, uuid, text, remedy))

    def _in_target_terms(self, source: Companion) -> Companion:
        people = self.given.people
        wanted = mapped(source, assets=self.assets, person=people.person, role=people.role)
        mapping = self.given.plan.mapping
        sql = {CompanionKind.RLS: "clause", CompanionKind.REPORT: "sql", CompanionKind.SAVED_QUERY: "sql"}
        if (name := sql.get(source.kind)) and wanted.body.get(name):
            text = str(wanted.body[name])
            for substitution in mapping.substitutions:
                text = substitution.apply(text)
            wanted = wanted.replace(**{name: text})
        if source.kind == CompanionKind.SAVED_QUERY:
            target = mapping.databases.get(str(source.body["database"]))
            if target is not None:
                body = source.body
                wanted = wanted.replace(
                    catalog=target.catalog(body.get("catalog")), schema=target.schema(body.get("schema"))
                )
        return wanted

    def _left_out(self, item: CompanionItem, reason: str) -> CompanionItem:
        about = (
            f"“{item.title}”" if item.kind in FACETS else f"{WORDS[item.kind].capitalize()} “{item.title}”"
        )
        self._lose(item.asset_uuid, f"{item.kind.value}_left_out", f"{about}: {reason}")
        return replace(item, reason=reason)

    def _blocked(self, item: CompanionItem, reason: str, remedy: str) -> CompanionItem:
        """Not written, and an error of the plan: what would be there without it is open to more people."""
        about = (
            f"“{item.title}”" if item.kind in FACETS else f"{WORDS[item.kind].capitalize()} “{item.title}”"
        )
        # A reason to go on all the same is given for this one, and not for the next rule that is blocked.
        whose = item.asset_uuid or item.target_uuid
        self._problem(Severity.ERROR, f"{item.kind.value}_blocked", whose, f"{about}: {reason}", remedy)
        return replace(item, action=Action.BLOCKED, reason=reason)

    def _missing_roles(self, companion: Companion) -> list[str]:
        return [role for role in companion.roles if self.given.people.role(role) is None]

    def _missing_people(self, item: CompanionItem, source: Companion) -> list[str]:
        missing = [person_name(one) for one in source.people if self.given.people.person(one) is None]
        if missing:
            text = f"“{item.title}”: nobody on the target is {some(missing)}."
            self._lose(item.asset_uuid, "owner_unknown", text)
        return missing

    def _query(self, item: CompanionItem, source: Companion, wanted: Companion) -> CompanionItem | Companion:
        if str(source.body["database"]) not in self.given.plan.mapping.databases:
            return self._left_out(item, "its connection is not mapped to one of the target.")
        return wanted

    def _is_there(self, uuid: str) -> bool:
        item = self.done.get(uuid)
        if uuid in self.given.target.companions:
            return True
        return (
            item is not None and item.is_carried and item.action != Action.KEEP
        )  # removed there, and kept so

    def settle(self, item: CompanionItem, source: Companion, wanted: Companion) -> CompanionItem | Companion:
        """What is wanted on the target once people, roles and assets that it lacks are seen to; or the item, where it
        is left out or blocked for that.
        """
        settle = _SETTLE.get(source.kind)
        return wanted if settle is None else settle(self, item, source, wanted)

    # -- kind by kind -------------------------------------------------------------------------------------------

    def _owners(self, item: CompanionItem, source: Companion, wanted: Companion) -> CompanionItem | Companion:
        if not wanted.body["users"]:
            names = some([person_name(one) for one in source.people])
            return self._left_out(
                item, f"none of its owners ({names}) is a user of the target; its own stay."
            )
        self._missing_people(item, source)
        return wanted

    def _roles(self, item: CompanionItem, source: Companion, wanted: Companion) -> CompanionItem | Companion:
        missing = self._missing_roles(source)
        if not wanted.body["roles"]:
            return self._blocked(
                item,
                f"the target has none of its roles ({some(missing)}); without them everybody who may read its data "
                "may open it.",
                "Make the role on the target, or map it to another one.",
            )
        if missing:
            self._lose(
                item.asset_uuid, "role_unknown", f"“{item.title}”: the target has no role {some(missing)}."
            )
        return wanted

    def _access(self, item: CompanionItem, source: Companion, wanted: Companion) -> CompanionItem | Companion:
        if missing := self._missing_roles(source):
            if not wanted.roles:
                return self._left_out(item, f"the target has none of its roles ({some(missing)}).")
            self._lose(
                item.asset_uuid, "role_unknown", f"“{item.title}”: the target has no role {some(missing)}."
            )
        needed = [role for role in wanted.body["roles"] if role not in self.given.people.everything]
        if not needed:
            return self._left_out(item, "its roles may use everything on the target already.")
        return wanted.replace(roles=needed)

    def _rule(self, item: CompanionItem, source: Companion, wanted: Companion) -> CompanionItem | Companion:
        missing = self._missing_roles(source)
        if missing and source.body.get("filter_type") != "Base":
            return self._blocked(
                item,
                f"the target has no role {some(missing)}: people whom it keeps from rows on the source would see "
                "them.",
                "Make the role on the target, or map it to another one.",
            )
        if missing:  # a base rule holds for everybody but its roles: without one it keeps more from view
            self._lose("", "role_unknown", f"Rule “{item.title}”: the target has no role {some(missing)}.")
        tables = {table for table in wanted.body["tables"] if table in self.given.exists}
        if (there := item.present) is not None:  # what it protects there besides stays protected
            others = set(there.body["tables"]) - tables
            tables |= others
            deciding = ("clause", "filter_type", "group_key", "roles")
            if others and any(there.body.get(name) != wanted.body.get(name) for name in deciding):
                many = f"{len(others)} other {'dataset' if len(others) == 1 else 'datasets'}"
                self._problem(
                    Severity.ERROR,
                    "rls_shared",
                    item.target_uuid,
                    f"The rule “{item.title}” also protects {many} of the target, and would change for them.",
                    "Rename one of the two rules, or override.",
                )
        return wanted.replace(tables=sorted(tables))

    def _report(self, item: CompanionItem, source: Companion, wanted: Companion) -> CompanionItem | Companion:
        for kind in (Kind.DASHBOARD, Kind.CHART, Kind.DATABASE):
            uuid = wanted.body.get(kind.value)
            if uuid and uuid not in self.given.exists:
                return self._left_out(item, f"it needs a {kind.value} that is not on the target.")
        there = item.present
        about = ("dashboard", "chart")
        if there is not None and [there.body.get(name) for name in about] != [
            wanted.body.get(name) for name in about
        ]:
            return self._left_out(item, "the target has one of this name about something else.")
        self._missing_people(item, source)
        changes: dict[str, Any] = {}
        if self.carrying["reports"] != ACTIVE:
            changes["active"] = bool(item.present.body.get("active")) if item.present is not None else False
        if addresses := self.carrying.addresses:
            changes["recipients"] = [{"type": "Email", "target": ", ".join(addresses), "cc": "", "bcc": ""}]
        elif self.carrying[RECIPIENTS] == NOBODY:
            changes["recipients"] = []
        elif secret := Counter(withheld(wanted)) - Counter(withheld(there) if there is not None else ()):
            self._lose(
                "",
                "recipient_withheld",
                f"“{item.title}”: the address of {some(sorted(secret))} is a secret.",
            )
            kept: list[Any] = []
            for one in wanted.body["recipients"]:
                if one.get("withheld") and secret[one.get("target")]:
                    secret[one["target"]] -= 1
                else:
                    kept.append(one)
            changes["recipients"] = kept
        if there is not None and not wanted.body["owners"]:  # nobody of them is known: its own stay
            changes["owners"] = there.body["owners"]
        settled = wanted.replace(**changes) if changes else wanted
        if there is not None and (lost := Counter(withheld(there)) - Counter(withheld(settled))):
            return self._left_out(
                item,
                f"the target’s posts to {some(sorted(lost))}, a secret that no roll back could put back; take it off "
                "there first.",
            )
        return settled

    def _annotations(
        self, item: CompanionItem, source: Companion, wanted: Companion
    ) -> CompanionItem | Companion:
        kept: list[Any] = []
        for layer in wanted.body["layers"]:
            value = layer.get("value")
            named = value if isinstance(value, Mapping) else {}
            if "chart" in named and named["chart"] not in self.given.exists:
                why = "reads a chart that is not on the target"
            elif "annotation_layer" in named and not self._is_there(
                companion_uuid(CompanionKind.ANNOTATION_LAYER, str(named["annotation_layer"]))
            ):
                why = f"shows the layer “{named['annotation_layer']}”, which is not carried"
            else:
                kept.append(layer)
                continue
            text = f"“{item.title}”: the annotation “{layer.get('name')}” {why}."
            self._lose(item.asset_uuid, "annotation_left_out", text)
        if any(isinstance(layer.get("value"), Mapping) for layer in kept):
            return wanted.replace(layers=kept)
        # Nothing that a reading would ever show: an import keeps the formulas by itself, and takes the target's layers.
        if item.present is not None and self.scope[item.asset_uuid].action == Action.UPDATE:
            return decided(replace(item, wanted=None))
        return self._left_out(item, "none of its annotations has what it shows on the target.")

    def _theme(self, item: CompanionItem, source: Companion, wanted: Companion) -> CompanionItem | Companion:
        for uuid in wanted.needs:
            if not self._is_there(uuid):
                return self._left_out(
                    item, "its theme is not on the target, and is not carried; the target's stays."
                )
        return wanted


_SETTLE: Mapping[
    CompanionKind, Callable[[Settling, CompanionItem, Companion, Companion], CompanionItem | Companion]
] = {
    CompanionKind.OWNERS: Settling._owners,
    CompanionKind.ROLES: Settling._roles,
    CompanionKind.ACCESS: Settling._access,
    CompanionKind.RLS: Settling._rule,
    CompanionKind.REPORT: Settling._report,
    CompanionKind.ANNOTATION_USE: Settling._annotations,
    CompanionKind.THEME_USE: Settling._theme,
    CompanionKind.SAVED_QUERY: Settling._query,
}
