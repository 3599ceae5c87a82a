"""What becomes of the companions of a plan's assets: which come along, as what on the target, and which stay behind and
why. Pure, as the plan itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from environments.canonical.charts import lost_annotations, with_lost_annotations_of
from environments.canonical.companions import (
    FACETS,
    Companion,
    CompanionKind,
    Person,
    companion_uuid,
    comparable,
    mapped,
    person_key,
    person_name,
    withheld,
)
from environments.canonical.documents import Document, Kind, canonical_json

from .carrying import ACTIVE, NOBODY, OPTION_OF, OPTIONS, RECIPIENTS, WARN, Carrying
from .checks import Loss, Problem, Severity
from .conflicts import Conflict
from .edited import CompanionBase, edit_conflict
from .mapping import AssetMapping
from .plan import Action, Answer, Given, Plan, PlanItem
from .sentences import shown

#: Items of a plan with these are what companions go with.
TAKEN = (Action.CREATE, Action.UPDATE, Action.UNCHANGED)
#: An import of the asset changes these by itself: they are written after it, whatever they were when it was planned.
TOUCHED_BY_IMPORT = frozenset(
    {
        CompanionKind.OWNERS,
        CompanionKind.TAGS,
        CompanionKind.THEME_USE,
        CompanionKind.ANNOTATION_USE,
    }
)
#: They are part of their assets' documents, and no import brings them.
WRITTEN_APART = frozenset({CompanionKind.THEME_USE, CompanionKind.ANNOTATION_USE})
#: Said by a losing asset of what a companion carries: code of the loss -> kind.
_CARRIED_LOSSES = {
    "annotation_layer": CompanionKind.ANNOTATION_USE,
    "annotation_layer_target": CompanionKind.ANNOTATION_USE,
    "theme": CompanionKind.THEME_USE,
}
KIND_NAMES = [kind.value for kind in CompanionKind]
WORDS: Mapping[CompanionKind, str] = {
    CompanionKind.TAG: "tag",
    CompanionKind.ANNOTATION_LAYER: "annotation layer",
    CompanionKind.CSS_TEMPLATE: "CSS template",
    CompanionKind.THEME: "theme",
    CompanionKind.RLS: "row-level security rule",
    CompanionKind.ACCESS: "access",
    CompanionKind.ROLES: "roles",
    CompanionKind.OWNERS: "owners",
    CompanionKind.TAGS: "tags",
    CompanionKind.THEME_USE: "theme",
    CompanionKind.ANNOTATION_USE: "annotations",
    CompanionKind.EMBEDDED: "embedding",
    CompanionKind.SAVED_QUERY: "saved query",
    CompanionKind.REPORT: "alert or report",
}


def companion_words(kind: CompanionKind, title: str) -> str:
    """ "owners of “Sales”" of a facet, "annotation layer “Holidays”" of an object."""
    return f"{WORDS[kind]} of “{title}”" if kind in FACETS else f"{WORDS[kind]} “{title}”"


@dataclass(frozen=True)
class Side:
    """What one environment holds of the kinds that were asked for. `unreadable`: of which it could not be told, why."""

    companions: Mapping[str, Companion] = field(default_factory=dict)
    unreadable: Mapping[CompanionKind, str] = field(default_factory=dict)


@dataclass(frozen=True)
class People:
    """Who is who on the target. `users`, `roles`: what is there, None where it could not be told. `user_names` and
    `role_names`: what somebody decided, by e-mail address, user name or role of the source; "" for nobody.
    `everything`: roles that may use all data there.
    """

    users: tuple[Person, ...] | None = ()
    roles: frozenset[str] | None = frozenset()
    user_names: Mapping[str, str] = field(default_factory=dict)
    role_names: Mapping[str, str] = field(default_factory=dict)
    everything: frozenset[str] = frozenset()

    def person(self, person: Person) -> Person | None:
        """By decision, else by e-mail address, else by user name; None if the target has nobody like that."""
        keys = [str(person.get(name) or "").lower() for name in ("email", "username")]
        decided = {key.lower(): value for key, value in self.user_names.items()}
        for key in (*keys, person_key(person)):
            if key and key in decided:
                return self._user(decided[key].lower()) if decided[key] else None
        for name, key in zip(("email", "username"), keys, strict=True):
            for user in self.users or ():
                if key and str(user.get(name) or "").lower() == key:
                    return user
        named = person_key(person)
        found = [user for user in self.users or () if not any(keys) and _full_name(user) == named]
        return found[0] if len(found) == 1 else None

    def _user(self, name: str) -> Person | None:
        for user in self.users or ():
            if name in (str(user.get("username") or "").lower(), person_key(user), _full_name(user)):
                return user
        return None

    def role(self, name: str) -> str | None:
        wanted = self.role_names.get(name, name)
        return wanted if wanted and (self.roles is None or wanted in self.roles) else None


def _full_name(user: Person) -> str:
    return " ".join(str(user[part]) for part in ("first_name", "last_name") if user.get(part)).lower()


@dataclass(frozen=True)
class CompanionItem:
    """One companion in a plan. `uuid` is that of the source's, `target_uuid` of the target's; `asset_uuid` the source
    uuid of the item whose facet it is, "" for an object; `reason`: why it is left out or blocked. `wanted` is what the
    source wants there, also where somebody answered that the target's is kept.
    """

    kind: CompanionKind
    uuid: str
    target_uuid: str
    title: str
    action: Action
    asset_uuid: str = ""
    reason: str = ""
    changes: tuple[str, ...] = ()
    source: Companion | None = None
    wanted: Companion | None = None
    present: Companion | None = None
    conflict: Conflict | None = None
    answer: Given | None = None

    @property
    def is_carried(self) -> bool:
        return self.action in (Action.CREATE, Action.UPDATE, Action.UNCHANGED, Action.REMOVE, Action.KEEP)

    @property
    def is_asked(self) -> bool:
        """A conflict that nobody answered yet."""
        return self.conflict is not None and self.action == Action.BLOCKED


@dataclass(frozen=True)
class CompanionInput:
    """`exists`: target uuids of assets that are there, or will be. `everything`: also what goes with no asset of the
    plan, as a layer that no chart shows.
    """

    plan: Plan
    carrying: Carrying
    source: Side
    target: Side
    people: People = field(default_factory=People)
    exists: Collection[str] = ()
    #: What the last run left, by uuid of the target's; and answers by uuid of the source's.
    bases: Mapping[str, CompanionBase] = field(default_factory=dict)
    answers: Mapping[str, Given] = field(default_factory=dict)
    everything: bool = False

    @property
    def scope(self) -> dict[str, PlanItem]:
        return {item.uuid: item for item in self.plan.items if item.action in TAKEN}


# --- What has to be read --------------------------------------------------------------------------------------------


def kinds_to_read(
    carrying: Carrying, items: Iterable[PlanItem], sources: Mapping[str, Document]
) -> set[CompanionKind]:
    """The kinds that matter to these items of a plan: what none of them can have costs no request. `sources`: the
    source's documents by uuid.
    """
    taken = [item for item in items if item.action in TAKEN]
    have = {item.kind for item in taken}
    wanted: set[CompanionKind] = set()
    for kind in CompanionKind:
        if not carrying.asks(kind) or not taken:
            continue
        if kind in FACETS and not have & {*FACETS[kind]}:
            continue
        if kind == CompanionKind.RLS and Kind.DATASET not in have:
            continue
        has = _HAVE.get(kind)
        if has is None or any(has(item, sources) for item in taken):
            wanted.add(kind)
    return wanted


def _has_annotations(item: PlanItem, sources: Mapping[str, Document]) -> bool:
    documents = (sources.get(item.uuid), item.present)
    return item.kind == Kind.CHART and any(
        document is not None and lost_annotations(document.body["params"]) for document in documents
    )


def _has_theme(item: PlanItem, sources: Mapping[str, Document]) -> bool:
    document = sources.get(item.uuid)
    return item.kind == Kind.DASHBOARD and document is not None and bool(document.body.get("theme_uuid"))


_HAVE: Mapping[CompanionKind, Callable[[PlanItem, Mapping[str, Document]], bool]] = {
    CompanionKind.ANNOTATION_LAYER: _has_annotations,
    CompanionKind.ANNOTATION_USE: _has_annotations,
    CompanionKind.THEME: _has_theme,
    CompanionKind.THEME_USE: _has_theme,
}


# --- The plan -------------------------------------------------------------------------------------------------------


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
        problems=tuple(sorted({*given.plan.problems, *builder.problems}, key=_urgency)),
    )


def general_losses(carrying: Carrying) -> list[tuple[str, str]]:
    """What this migration brings of no asset: (code, sentence). Shown with every plan."""
    found = [
        (option.name, option.without)
        for option in OPTIONS
        if option.without and not any(carrying.carries(kind) for kind in option.kinds)
    ]
    return [*found, ("people", "Favourites, permalinks and saved filter states.")]


def _urgency(problem: Problem) -> tuple[int, str, str, str]:
    return (list(Severity).index(problem.severity), problem.code, problem.uuid, problem.text)


class _Builder:
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

    # -- one of them -------------------------------------------------------------------------------------------

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
        settle: Callable[[CompanionItem, Companion, Companion], CompanionItem | Companion] | None = {
            CompanionKind.OWNERS: self._owners,
            CompanionKind.ROLES: self._roles,
            CompanionKind.ACCESS: self._access,
            CompanionKind.RLS: self._rule,
            CompanionKind.REPORT: self._report,
            CompanionKind.ANNOTATION_USE: self._annotations,
            CompanionKind.THEME_USE: self._theme,
        }.get(source.kind)
        if settle is not None:
            settled = settle(item, source, wanted)
            if isinstance(settled, CompanionItem):
                return settled
            wanted = settled
        return decided(replace(item, wanted=wanted))

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
            text = f"“{item.title}”: nobody on the target is {_some(missing)}."
            self._lose(item.asset_uuid, "owner_unknown", text)
        return missing

    def _owners(self, item: CompanionItem, source: Companion, wanted: Companion) -> CompanionItem | Companion:
        if not wanted.body["users"]:
            names = _some([person_name(one) for one in source.people])
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
                f"the target has none of its roles ({_some(missing)}); without them everybody who may read its data "
                "may open it.",
                "Make the role on the target, or map it to another one.",
            )
        if missing:
            self._lose(
                item.asset_uuid, "role_unknown", f"“{item.title}”: the target has no role {_some(missing)}."
            )
        return wanted

    def _access(self, item: CompanionItem, source: Companion, wanted: Companion) -> CompanionItem | Companion:
        if missing := self._missing_roles(source):
            if not wanted.roles:
                return self._left_out(item, f"the target has none of its roles ({_some(missing)}).")
            self._lose(
                item.asset_uuid, "role_unknown", f"“{item.title}”: the target has no role {_some(missing)}."
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
                f"the target has no role {_some(missing)}: people whom it keeps from rows on the source would see "
                "them.",
                "Make the role on the target, or map it to another one.",
            )
        if missing:  # a base rule holds for everybody but its roles: without one it keeps more from view
            self._lose("", "role_unknown", f"Rule “{item.title}”: the target has no role {_some(missing)}.")
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
                f"“{item.title}”: the address of {_some(sorted(secret))} is a secret.",
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
                f"the target’s posts to {_some(sorted(lost))}, a secret that no roll back could put back; take it off "
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
                        changes=_sentences(target, None),
                    )
                )

    def _theme(self, item: CompanionItem, source: Companion, wanted: Companion) -> CompanionItem | Companion:
        for uuid in wanted.needs:
            if not self._is_there(uuid):
                return self._left_out(
                    item, "its theme is not on the target, and is not carried; the target's stays."
                )
        return wanted

    def _is_there(self, uuid: str) -> bool:
        item = self.done.get(uuid)
        if uuid in self.given.target.companions:
            return True
        return (
            item is not None and item.is_carried and item.action != Action.KEEP
        )  # removed there, and kept so


def decided(item: CompanionItem) -> CompanionItem:
    """The item with its action and sentences, from what it wants and what is there."""
    if item.wanted is None:
        return replace(item, action=Action.REMOVE, changes=_sentences(item.present, None))
    if item.present is None:
        return replace(item, action=Action.CREATE, changes=_sentences(None, item.wanted))
    if same(item.wanted, item.present):
        return replace(item, action=Action.UNCHANGED)
    return replace(item, action=Action.UPDATE, changes=_sentences(item.present, item.wanted))


def same(one: Companion | None, other: Companion | None) -> bool:
    """Whether two say the same, whether a report is switched on included. Nothing is the same as nothing."""
    if one is None or other is None:
        return one is other
    if canonical_json(dict(comparable(one))) != canonical_json(dict(comparable(other))):
        return False
    return one.kind != CompanionKind.REPORT or one.body.get("active") == other.body.get("active")


def beside(document: Document, other: Document | None, kinds: Collection[CompanionKind]) -> Document:
    """The document with what companions of these kinds say as it is in `other`: that is written apart from its import,
    and compared as a companion.
    """
    if other is None or other.kind != document.kind:
        return document
    if document.kind == Kind.CHART and CompanionKind.ANNOTATION_USE in kinds:
        return document.replace(params=with_lost_annotations_of(document.body, other.body))
    if document.kind == Kind.DASHBOARD and CompanionKind.THEME_USE in kinds:
        return document.replace(theme_uuid=other.body.get("theme_uuid"))
    return document


def difference(planned: Companion | None, now: Companion | None) -> str:
    """In words, what is not as it was planned or seen: "is not there", "differs in roles, clause"."""
    if planned is None:
        return "is there"
    if now is None:
        return "is not there"
    one, other = comparable(planned), comparable(now)
    fields = [
        name
        for name in {**one, **other, "active": None}
        if canonical_json([(one if name in one else planned.body).get(name)])
        != canonical_json([(other if name in other else now.body).get(name)])
    ]
    return f"differs in {', '.join(name.replace('_', ' ') for name in fields[:5])}"


# --- Putting back ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Touched:
    """A companion that a run wrote or may have written: what it left there, None where it removed it."""

    kind: CompanionKind
    uuid: str
    title: str
    asset_uuid: str
    left: Companion | None


def with_restored(plan: Plan, touched: Iterable[Touched], before: Mapping[str, Companion], now: Side) -> Plan:
    """The plan of a roll back with what puts companions back as they were `before` the run."""
    items: list[CompanionItem] = []
    problems: list[Problem] = []
    gone = {item.target_uuid for item in plan.items if item.action == Action.REMOVE}
    kept = {item.target_uuid for item in plan.items if item.action in (Action.KEEP, Action.LEAVE_OUT)}
    for one in touched:
        if one.kind in FACETS and one.asset_uuid in gone | kept:
            continue  # it goes, or stays, with its asset
        was, present = before.get(one.uuid), now.companions.get(one.uuid)
        if why := now.unreadable.get(one.kind):
            text = f"The {WORDS[one.kind]} “{one.title}” cannot be put back: {why}"
            problems.append(Problem(Severity.ERROR, "companion_unreadable", "", text, "See to it by hand."))
            continue
        if was is None and present is None:
            continue
        was_before = was
        if one.kind == CompanionKind.RLS and one.left is not None and present is not None:
            since = set(present.body["tables"]) - set(one.left.body["tables"])
            since -= set(was.body["tables"]) if was is not None else set()
            if since:  # put under the rule since the run: they stay protected
                held = was.body["tables"] if was is not None else ()
                was = (was or present).replace(tables=sorted(since.union(held)))
        if not same(present, one.left) and not same(present, was_before):
            stays = one.kind == CompanionKind.ROLES
            what = "it stays as it is now" if stays else "rolling back undoes that as well"
            what += "; datasets put under it since stay under it" if was is not was_before else ""
            text = f"The {WORDS[one.kind]} “{one.title}” was changed after the run: {what}."
            problems.append(Problem(Severity.WARNING, "companion_edited", "", text, ""))
            if stays:  # without roles everybody may open a dashboard that somebody closed since
                continue
        items.append(
            decided(
                CompanionItem(
                    one.kind,
                    one.uuid,
                    one.uuid,
                    one.title,
                    Action.LEAVE_OUT,
                    one.asset_uuid if one.kind in FACETS else "",
                    wanted=was,
                    present=present,
                )
            )
        )
    found = tuple(sorted({*plan.problems, *problems}, key=_urgency))
    return replace(plan, companions=tuple(items), problems=found)


# --- Words ----------------------------------------------------------------------------------------------------------

_FIELDS = {
    "users": "owners",
    "filter_type": "kind",
    "group_key": "group",
    "crontab": "schedule",
    "allowed_domains": "domains",
    "validator_config": "condition",
    "validator_type": "condition’s kind",
    "json_data": "content",
    "active": "switched on",
}


def _sentences(before: Companion | None, after: Companion | None) -> tuple[str, ...]:
    """What a companion's own list of changes says, field by field."""
    return tuple(said for *_, said in changed_fields(before, after))


def changed_fields(before: Companion | None, after: Companion | None) -> list[tuple[str, str, str, str]]:
    """(field, before, after, sentence) of what differs, all for people; "" where it was not there."""
    one = before.body if before is not None else {}
    other = after.body if after is not None else {}
    found: list[tuple[str, str, str, str]] = []
    for name in (*other, *(key for key in one if key not in other)):
        if name in ("asset", "uuid", "type") or canonical_json(one.get(name)) == canonical_json(
            other.get(name)
        ):
            continue
        was, now = _value(name, one.get(name)), _value(name, other.get(name))
        label = _FIELDS.get(name, name.replace("_", " "))
        if before is None:
            if other.get(name) not in (None, "", [], {}):
                found.append((label, "", now, f"{label}: {now}"))
        elif after is None:
            if one.get(name) not in (None, "", [], {}):
                found.append((label, was, "", f"{label}: {was} removed"))
        elif was != now:
            found.append((label, was, now, f"{label}: {was} → {now}"))
        else:
            found.append((label, was, now, f"{label} changed"))
    return found


def _value(name: str, value: Any) -> str:
    if name in ("users", "owners") and isinstance(value, list):
        return _some([person_name(one) for one in value]) or "nobody"
    if name == "recipients" and isinstance(value, list):
        return _some([str(one.get("target")) for one in value]) or "nobody"
    if name == "tables" and isinstance(value, list):
        return f"{len(value)} {'dataset' if len(value) == 1 else 'datasets'}"
    if name == "theme" and isinstance(value, Mapping):
        return f"“{value.get('name')}”"
    if name == "allowed_domains" and value == []:
        return "every domain"
    return shown(value)


def _some(names: Collection[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - 5} more" if len(listed) > 5 else ""
    return ", ".join(listed[:5]) + more
