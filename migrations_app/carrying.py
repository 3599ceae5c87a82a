"""Companions of a plan: reading them on both sides, deciding what becomes of them, and keeping it with the plan."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from environments.canonical.companions import FACETS, Companion, CompanionKind, Person, person_key
from environments.canonical.ids import IdTable
from environments.models import Environment
from environments.store import companions_of, get_companions, put_documents
from environments.superset.client import SupersetClient
from environments.superset.companions import CompanionId, read_companions
from environments.superset.companions.access import roles_for_everything
from environments.superset.companions.people import list_people, list_roles
from environments.superset.errors import SupersetUnreachable
from environments.words import clean, cleaned
from sstools.errors import Invalid

from .comparing.models import UploadedBundle
from .engine.carrying import OFF, ON, OPTIONS, SAVED_QUERIES, WARN, Carrying, checked
from .engine.checks import Problem, Severity
from .engine.companions import (
    TAKEN,
    TOUCHED_BY_IMPORT,
    CompanionInput,
    CompanionItem,
    People,
    Side,
    Touched,
    companion_words,
    general_losses,
    kinds_to_read,
    with_companions,
    with_restored,
)
from .engine.edited import CompanionBase
from .engine.plan import Action, Plan, PlanInput
from .models import ASKED, CompanionBaseline, Migration, PlanCompanion, Run
from .models import Mapping as PairMapping
from .models import Plan as PlanRow
from .restoring.source import companions_in, takes_everything
from .side_by_side import side_by_side

#: Whose names are needed on the target before anything is decided.
_OF_PEOPLE = frozenset({CompanionKind.OWNERS, CompanionKind.REPORT})
_OF_ROLES = frozenset({CompanionKind.ROLES, CompanionKind.ACCESS, CompanionKind.RLS})


@dataclass(frozen=True)
class Read:
    """Companions as one environment holds them now, with their ids there."""

    side: Side = field(default_factory=Side)
    ids: Mapping[str, CompanionId] = field(default_factory=dict)


#: What a pair of environments carries unless a migration says otherwise; packages that know register it in `ready()`.
Defaults = Callable[[Environment, Environment], Mapping[str, str]]
_defaults: list[Defaults] = []


def register_defaults(defaults: Defaults) -> None:
    """Asking twice changes nothing."""
    if defaults not in _defaults:
        _defaults.append(defaults)


def defaults_between(source: Environment, target: Environment) -> dict[str, str]:
    return {name: value for one in _defaults for name, value in one(source, target).items()}


def clean_carrying(values: Mapping[str, object] | None) -> dict[str, str]:
    """Options as a migration or a route keeps them. Raises Invalid, option by option."""
    kept, errors = checked(values or {})
    if errors:
        raise Invalid(
            "Some options of what comes along are not right.",
            code="wrong_carrying",
            errors={f"carrying.{name}": found for name, found in errors.items()},
        )
    return kept


def carrying_of(migration: Migration) -> Carrying:
    """What a migration carries: of a file at most its saved queries, nothing where it comes from what was applied last,
    which holds no more than assets; of a copy no saved queries; what an import takes off charts where texts of the
    target's own are replaced.
    """
    if migration.is_replacement:
        return Carrying({**{option.name: OFF for option in OPTIONS}, "annotations": ON})
    has_companions = (
        migration.source is not None or migration.rolls_back is not None or migration.is_of_backup
    )
    if has_companions and migration.copy_terms:
        # A saved query has one uuid everywhere: each copy would write over that of the one before, or of its source.
        return Carrying({**migration.carrying, SAVED_QUERIES: OFF})
    if has_companions:
        return Carrying(migration.carrying)
    nothing = {option.name: OFF for option in OPTIONS}
    if migration.is_of_file and SAVED_QUERIES in migration.carrying:
        nothing[SAVED_QUERIES] = migration.carrying[SAVED_QUERIES]
    return Carrying(nothing)


def _kept_side(migration: Migration, kinds: Collection[CompanionKind]) -> Side:
    """What is read nowhere any more: of a backup, or the saved queries of a file."""
    if migration.is_of_backup:
        return companions_in(migration, kinds)
    file = migration.file
    if not isinstance(file, UploadedBundle) or CompanionKind.SAVED_QUERY not in kinds:
        return Side()
    return Side(
        {one.uuid: one for one in get_companions(file.queries.values_list("document_id", flat=True)).values()}
    )


def read_side(
    client: SupersetClient,
    kinds: Collection[CompanionKind],
    ids: IdTable,
    assets: Collection[str],
    *,
    whole: bool,
    lenient: Collection[CompanionKind] = (),
) -> Read:
    """The companions of these kinds: facets of `assets`; of objects those that name one of them, or with `whole` all,
    as a target is looked through by name. `lenient`: kinds whose list may fail in Superset, and are unreadable then.
    Raises SupersetError.
    """
    facets = {kind for kind in kinds if kind in FACETS}
    objects = set(kinds) - facets
    everything = objects if whole else objects & {CompanionKind.CSS_TEMPLATE}
    companions: dict[str, Companion] = {}
    unreadable: dict[CompanionKind, str] = {}
    found_ids: dict[str, CompanionId] = {}
    groups: list[tuple[set[CompanionKind], frozenset[str] | None]] = []
    for group, limit in ((facets | (objects - everything), frozenset(assets)), (everything, None)):
        groups += [(group - set(lenient), limit), *(({kind}, limit) for kind in group & set(lenient))]
    for wanted, limit in groups:
        if not wanted:
            continue
        try:
            found = read_companions(client, wanted, ids, assets=limit)
        except SupersetUnreachable as exc:
            if exc.code != "server_error" or not wanted <= set(lenient):
                raise
            unreadable |= dict.fromkeys(wanted, exc.message)
            continue
        companions |= found.documents
        unreadable |= found.unreadable
        found_ids |= found.ids
    return Read(Side(companions, unreadable), found_ids)


def carry_along(
    migration: Migration,
    plan: Plan,
    given: PlanInput,
    clients: list[SupersetClient],
    ids: list[IdTable],
    known: dict[Any, list[Read]],
) -> Plan:
    """The plan with its companions. `clients` and `ids`: of the target, then of the source where it is an environment.
    `known`: what was read for a try before. Raises SupersetError.
    """
    if migration.rolls_back is not None:
        return _restored(migration.rolls_back, plan, clients[0], ids[0])
    if migration.source is None and not (
        migration.is_of_backup or migration.is_of_file or migration.is_replacement
    ):
        return plan
    carrying = carrying_of(migration)
    kinds = frozenset(kinds_to_read(carrying, plan.items, given.source))
    if migration.is_of_file:  # its saved queries come by themselves
        kinds = frozenset(kind for kind in CompanionKind if carrying.asks(kind))
    whole = takes_everything(migration, given.source)
    if whole:
        kinds = frozenset(kind for kind in CompanionKind if carrying.asks(kind))
    if not kinds:
        return plan
    taken = [item for item in plan.items if item.action in TAKEN]
    under = _connections(plan, kinds)
    here = frozenset({item.uuid for item in taken} | set(under))
    there = frozenset({item.target_uuid for item in taken} | {under[uuid] for uuid in under})
    # Nothing is written of what is only warned of: that a Superset cannot list it is one more thing to warn of.
    lenient = {CompanionKind.RLS} if carrying["rls"] == WARN else set()
    if (kinds, here, there) not in known:
        calls: list[Callable[[], Read]] = [
            lambda: read_side(clients[0], kinds, ids[0], there, whole=True, lenient=lenient)
        ]
        if migration.source is not None:
            calls.append(lambda: read_side(clients[1], kinds, ids[1], here, whole=False, lenient=lenient))
        elif migration.is_replacement:  # what is there is what is wanted
            calls.append(lambda: read_side(clients[0], kinds, ids[0], there, whole=False, lenient=lenient))
        read = side_by_side(calls)
        known[kinds, here, there] = read if len(read) > 1 else [*read, Read(_kept_side(migration, kinds))]
    target, source = known[kinds, here, there]
    exists = {*given.target, *given.unreadable_target} | {
        item.target_uuid for item in taken if item.action == Action.CREATE
    }
    exists |= {uuid for _, _, uuid in ids[0]}
    plan = with_companions(
        CompanionInput(
            plan=plan,
            carrying=carrying,
            source=source.side,
            target=target.side,
            people=_people(migration, clients[0], source.side, target.side, carrying),
            exists=exists,
            everything=whole or migration.is_of_file,
            # Who puts back what was there before wants no edit of since.
            bases={}
            if migration.is_put_back or migration.is_replacement
            else bases_of(migration.target, kinds),
            answers=given.answers,
        )
    )
    return _with_what_copies_share(plan) if migration.copy_terms else plan


def _with_what_copies_share(plan: Plan) -> Plan:
    """The plan of a copy, which says where it writes what its sisters write too: their plans are stale after it."""
    shared = [
        one
        for one in plan.companions
        if one.kind not in FACETS and one.action in (Action.CREATE, Action.UPDATE)
    ]
    if not shared:
        return plan
    shared.sort(key=lambda one: one.kind != CompanionKind.RLS)
    words = ", ".join(companion_words(one.kind, one.title) for one in shared[:3])
    more = f" and {len(shared) - 3} more" if len(shared) > 3 else ""
    problem = Problem(
        Severity.WARNING,
        "shared_by_copies",
        "",
        f"All copies on a target share what goes by its name: {words}{more}.",
        "Once this copy is applied, plan the others on this target again; they add theirs to it.",
    )
    return replace(plan, problems=(*plan.problems, problem))


def bases_of(target: Environment, kinds: Collection[CompanionKind]) -> dict[str, CompanionBase]:
    """What the last run left on a target of what goes with its assets, by uuid there. Raises StoreDamaged."""
    rows = list(
        CompanionBaseline.objects.filter(target=target, kind__in=[kind.value for kind in kinds]).values_list(
            "uuid", "wanted_id", "present_id", "accepted"
        )
    )
    found = get_companions({sha for _, *hashes, _ in rows for sha in hashes if sha})
    return {
        uuid: CompanionBase(found.get(wanted), found.get(present), accepted_in_words(accepted))
        for uuid, wanted, present, accepted in rows
    }


def accepted_in_words(accepted: Mapping[str, str] | None) -> str:
    """ "accepted by Ann on 2026-11-23: “reason”"."""
    return (
        f"accepted by {accepted['by']} on {accepted['at'][:10]}: “{accepted['reason']}”" if accepted else ""
    )


def _connections(plan: Plan, kinds: Collection[CompanionKind]) -> dict[str, str]:
    """Connections under the plan, of the source and what they are on the target, where their companions count."""
    if not {CompanionKind.ACCESS, CompanionKind.SAVED_QUERY} & set(kinds):
        return {}
    return {uuid: target.uuid for uuid, target in plan.mapping.databases.items()}


def _people(
    migration: Migration, client: SupersetClient, source: Side, target: Side, carrying: Carrying
) -> People:
    pair = PairMapping.objects.between(migration.terms, migration.target)
    carried = {one.kind for one in source.companions.values() if carrying.carries(one.kind)}
    users = tuple(user.person for user in list_people(client).users) if carried & _OF_PEOPLE else ()
    numbers = list_roles(client) if carried & _OF_ROLES else {}
    roles = frozenset(numbers) if carried & _OF_ROLES else None
    people = People(users, roles, pair.people, pair.roles)
    access = [one for one in source.companions.values() if one.kind == CompanionKind.ACCESS]
    if CompanionKind.ACCESS not in carried or CompanionKind.ACCESS in target.unreadable:
        return people
    named = {people.role(name) for one in access for name in one.roles}
    wanted = {name: number for name, number in numbers.items() if name in named}
    return replace(people, everything=roles_for_everything(client, wanted))


# --- Rolling back ---------------------------------------------------------------------------------------------------


def _restored(run: Run, plan: Plan, client: SupersetClient, ids: IdTable) -> Plan:
    touched = touched_by(run)
    if not touched or run.restore_point is None:
        return plan
    read = read_side(
        client,
        {one.kind for one in touched},
        ids,
        {one.asset_uuid for one in touched} | {item.target_uuid for item in plan.items},
        whole=True,
    )
    return with_restored(plan, touched, companions_of(run.restore_point), read.side)


def touched_by(run: Run) -> list[Touched]:
    """The companions that a run wrote or may have written, in its target's terms."""
    from .applying.attempt import may_have_written  # which needs this

    actions = (*TAKEN, Action.REMOVE, Action.KEEP)
    steps = [step for step in run.steps.all() if may_have_written(step)]
    tried = {
        uuid
        for step in steps
        if step.intent.get("what") in ("companion", "remove_companion")
        for uuid in step.intent["uuids"]
    }
    rows = [row for row in run.plan.companions.all() if Action(row.action) in actions]
    written = set(run.plan.items.filter(action__in=("create", "update")).values_list("uuid", flat=True))
    rows = [
        row
        for row in rows
        if row.target_uuid in tried
        or (row.asset_uuid in written and CompanionKind(row.kind) in TOUCHED_BY_IMPORT)
    ]
    left = {row.pk: row.present_id if row.action == Action.KEEP else row.wanted_id for row in rows}
    found = get_companions({sha for sha in left.values() if sha})
    targets = dict(run.plan.items.values_list("uuid", "target_uuid"))
    return [
        Touched(
            CompanionKind(row.kind),
            row.target_uuid,
            row.title,
            targets.get(row.asset_uuid, row.asset_uuid),
            found.get(left[row.pk] or ""),
        )
        for row in rows
    ]


# --- Keeping --------------------------------------------------------------------------------------------------------


def names_in(plan: PlanRow) -> tuple[list[Person], list[str]]:
    """The people and the roles of the source that companions of a plan name, each once, in their order."""
    hashes = set(plan.companions.exclude(source=None).values_list("source_id", flat=True))
    found = get_companions(hashes).values()
    people = {person_key(person): person for one in found for person in one.people}
    roles = {role for one in found for role in one.roles}
    return [people[key] for key in sorted(people)], sorted(roles)


def losses_beside(migration: Migration) -> list[tuple[str, str]]:
    """What a plan of this migration says of what no import carries: (code, sentence)."""
    return general_losses(carrying_of(migration))


def counts_of(items: Collection[CompanionItem]) -> dict[str, int]:
    counts = Counter(item.action.value for item in items)
    asked = sum(item.is_asked for item in items)
    return {**counts, **({ASKED: asked} if asked else {})}


def keep_companions(row: PlanRow, items: tuple[CompanionItem, ...]) -> None:
    """The rows of a plan's companions. In the transaction of the plan."""
    documents = [one for item in items for one in (item.source, item.wanted, item.present) if one is not None]
    put_documents({one.fingerprint: one for one in documents}.values())
    PlanCompanion.objects.bulk_create(
        (
            PlanCompanion(
                plan=row,
                position=position,
                kind=item.kind.value,
                uuid=item.uuid,
                target_uuid=item.target_uuid,
                asset_uuid=item.asset_uuid,
                title=clean(item.title, 500),
                action=item.action.value,
                reason=clean(item.reason, 1000),
                changes=cleaned(list(item.changes)),
                wanted_id=item.wanted.fingerprint if item.wanted else None,
                present_id=item.present.fingerprint if item.present else None,
                source_id=item.source.fingerprint if item.source else None,
                conflict=cleaned(asdict(item.conflict)) if item.conflict else None,
                answer={"answer": item.answer.answer.value, "value": ""} if item.answer else None,
            )
            for position, item in enumerate(items)
        ),
        batch_size=500,
    )
