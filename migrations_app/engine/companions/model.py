"""What the companions of a plan are made of: what is given, who is who, and what became of each."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from environments.canonical.companions import FACETS, Companion, CompanionKind, Person, person_key
from migrations_app.engine.carrying import Carrying
from migrations_app.engine.checks import Problem, Severity
from migrations_app.engine.conflicts import Conflict
from migrations_app.engine.edited import CompanionBase
from migrations_app.engine.plan import Plan
from migrations_app.engine.planned import Action, Given, PlanItem

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


@dataclass(frozen=True)
class Touched:
    """A companion that a run wrote or may have written: what it left there, None where it removed it."""

    kind: CompanionKind
    uuid: str
    title: str
    asset_uuid: str
    left: Companion | None


def urgency(problem: Problem) -> tuple[int, str, str, str]:
    """The key that problems are sorted by: errors first."""
    return (list(Severity).index(problem.severity), problem.code, problem.uuid, problem.text)
