"""Removing what a migration's way brought to the target and its source no longer has: each with a proof, or not at all.

Proof: a run of ss-tools from this source created it there; the source was read completely, by an account that sees
all of it, and does not have it; no other way brought it since; nothing else of the target uses it, neither assets nor
alerts, reports or embedding pages. Whether it was edited since is a question to a person, as with every removal
(`engine.plan`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from django.conf import settings
from django.db.models import Q

from environments.canonical.documents import Document, Documents, Kind
from environments.canonical.ids import as_id
from environments.canonical.references import references
from environments.store import EnvironmentReading
from environments.superset.client import SupersetClient
from environments.superset.connection import is_admin, open_lists
from environments.superset.errors import SupersetRefused
from environments.superset.rows import ChartRow

from .engine.checks import Problem, Severity
from .engine.plan import Plan as EnginePlan
from .engine.plan import written_documents
from .models import Baseline, Migration, PlanItem, Run, RunState

TOO_MUCH = "prune_too_much"
#: So few are removed without asking twice, however large their share.
ALWAYS = 2
#: Runs whose creations stand.
STANDING = (RunState.APPLIED, RunState.ACCEPTED, RunState.NEEDS_ATTENTION)


@dataclass(frozen=True)
class Candidate:
    """An asset that a run created on the target and that the source no longer has, or that came after a backup. `run`:
    which, 0 of a backup; `removes`: whether the plan removes it; `reason`: the proof, or why it stays.
    """

    kind: str
    uuid: str
    title: str
    run: int
    removes: bool
    reason: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Pruning:
    candidates: tuple[Candidate, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def removals(self) -> list[str]:
        return [one.uuid for one in self.candidates if one.removes]


def find(
    migration: Migration,
    plan: EnginePlan,
    source: EnvironmentReading,
    target: EnvironmentReading,
    client: SupersetClient,
    source_client: SupersetClient,
) -> Pruning:
    """What is to be removed besides what `plan` writes. Asks both sides for the account's rights, and the target for
    alerts, reports and embedding. Raises SupersetError where one is away.
    """
    brought = _brought(migration)
    there = {uuid: run for uuid, run in brought.items() if uuid in target.documents}
    has = {*source.documents, *source.unreadable}
    stays = {item.target_uuid for item in plan.items}
    stays |= {target_uuid for uuid, target_uuid in plan.mapping.pairs.items() if uuid in has}
    gone = {
        uuid: run
        for uuid, run in there.items()
        if run.origin not in source.documents and uuid not in source.documents and uuid not in stays
    }
    if not gone:
        return Pruning()
    documents = {uuid: target.documents[uuid] for uuid in gone}
    reasons = why_blind(migration, gone, source_client, client) or _known_reasons(
        migration, gone, source, target
    )
    free = {uuid: documents[uuid] for uuid in gone if uuid not in reasons}
    reasons |= held_elsewhere(client, target, free)
    after = {**target.documents, **written_documents(plan)}
    reasons |= _used(after, set(gone) - reasons.keys())
    candidates = tuple(
        Candidate(
            documents[uuid].kind.value,
            uuid,
            documents[uuid].title,
            gone[uuid].run,
            uuid not in reasons,
            reasons.get(uuid) or _proof(migration, gone[uuid].run),
        )
        for uuid in sorted(
            gone, key=lambda uuid: (-list(Kind).index(documents[uuid].kind), documents[uuid].title)
        )
    )
    removed = [one for one in candidates if one.removes]
    return Pruning(candidates, tuple(_too_much(migration, removed, len(there))))


def _proof(migration: Migration, run: int) -> str:
    return (
        f"Created by run {run}; {migration.source_name} was read completely and no longer has it; "
        f"nothing else on {migration.target.name} uses it."
    )


@dataclass(frozen=True)
class _Origin:
    run: int
    origin: str  # uuid on the source


def _brought(migration: Migration) -> dict[str, _Origin]:
    """Target uuid -> which run created it, of the runs that brought assets from this source to this target."""
    runs = Run.objects.filter(
        migration__source=migration.source,
        migration__target=migration.target,
        migration__rolls_back=None,
        migration__copy_terms__isnull=True,
        state__in=STANDING,
    ).exclude(created=[])
    found: dict[str, _Origin] = {}
    for run in runs.order_by("number"):
        items = PlanItem.objects.filter(plan=run.plan_id, action="create").values_list("target_uuid", "uuid")
        origins = dict(items)
        for uuid in run.created:
            if uuid in origins:
                found[uuid] = _Origin(run.number, origins[uuid])
    return found


def origins_of(migration: Migration) -> dict[str, str]:
    """uuid on the target -> on the source, of what its way created there."""
    return {uuid: one.origin for uuid, one in _brought(migration).items()}


def why_blind(
    migration: Migration,
    gone: Collection[str],
    source_client: SupersetClient,
    client: SupersetClient,
) -> dict[str, str]:
    """Why all stay: an account that is shown only a part cannot tell what is not there."""
    for name, one in ((migration.source_name, source_client), (migration.target.name, client)):
        rights = is_admin(one)
        if rights is False and (open_to_all := open_lists(one)):
            named = " and ".join(f"{kind}s" for kind in open_to_all)
            text = f"Everybody may read the {named} of {name}, so it shows any account only what the Public role sees."
            return dict.fromkeys(gone, text)
        if not rights:
            known = "is no Admin" if rights is False else "cannot be shown to be an Admin"
            text = f"The account on {name} {known}: what it is not shown may be there."
            return dict.fromkeys(gone, text)
    return {}


def _known_reasons(
    migration: Migration,
    gone: Mapping[str, _Origin],
    source: EnvironmentReading,
    target: EnvironmentReading,
) -> dict[str, str]:
    """Why some stay, as far as ss-tools itself knows."""
    if not source.complete:
        text = f"{migration.source_name} was not read completely: its absence there proves nothing."
        return dict.fromkeys(gone, text)
    if not target.complete:
        return dict.fromkeys(
            gone, f"{migration.target.name} was not read completely: who uses it is not known."
        )
    bases = {
        row.uuid: row
        for row in Baseline.objects.filter(target=migration.target, uuid__in=list(gone)).select_related(
            "run__migration"
        )
    }
    others = _brought_by_others(migration, gone)
    reasons: dict[str, str] = {}
    for uuid, origin in gone.items():
        base = bases.get(uuid)
        if origin.origin in source.unreadable:
            reasons[uuid] = f"{migration.source_name} has it, but it cannot be read there."
        elif base is None:
            reasons[uuid] = "What the run left of it is not known any more."
        elif base.accepted:
            reasons[uuid] = f"The target's own was accepted by {base.accepted['by']}."
        elif base.run is not None and base.run.migration.source_id not in (migration.source_id, None):
            reasons[uuid] = f"{base.run.migration.source_name} brought it last (run {base.run.number})."
        elif others.get(uuid, 0) > origin.run:
            reasons[uuid] = f"Another way brought it since (run {others[uuid]})."
        elif base.run is None:
            reasons[uuid] = "Which run brought it last is not known any more."
        elif PlanItem.objects.filter(plan=base.run.plan_id, target_uuid=uuid, action="keep").exists():
            reasons[uuid] = f"Edited on {migration.target.name}, and kept so by run {base.run.number}."
    return reasons


def _brought_by_others(migration: Migration, gone: Mapping[str, _Origin]) -> dict[str, int]:
    """uuid -> the last run that brought it, or left it, from another environment, a file, a commit or a backup."""
    first = min(origin.run for origin in gone.values())
    runs = (
        Run.objects.filter(migration__target=migration.target, state__in=STANDING, number__gt=first)
        .filter(
            Q(migration__source__isnull=False)
            | Q(migration__source_place__startswith="file:")
            | Q(migration__source_place__startswith="git:")
            | Q(migration__source_place__startswith="backup:")
        )
        .filter(Q(migration__source__isnull=True) | ~Q(migration__source_id=migration.source_id))
    )
    found: dict[str, int] = {}
    for number, plan in runs.order_by("number").values_list("number", "plan_id"):
        items = PlanItem.objects.filter(
            plan=plan, target_uuid__in=list(gone), action__in=("create", "update", "unchanged", "keep")
        )
        found |= dict.fromkeys(items.values_list("target_uuid", flat=True), number)
    return found


def _used(after: Documents, candidates: Collection[str]) -> dict[str, str]:
    """Those that something uses which stays; what only they themselves use goes with them. A link from or to a
    dashboard is no use; an annotation layer, or a macro in a chart's or dataset's query, is.
    """
    removed = set(candidates)
    reasons: dict[str, str] = {}
    needed: dict[str, list[Document]] = {}
    for document in after.values():
        for one in references(document):
            is_link = one.how == "mentions" and Kind.DASHBOARD in (document.kind, one.kind)
            if not is_link and one.uuid in removed and document.uuid != one.uuid:
                needed.setdefault(one.uuid, []).append(document)
    while True:
        kept = {uuid: [user for user in needed.get(uuid, ()) if user.uuid not in removed] for uuid in removed}
        used = {uuid: users for uuid, users in kept.items() if users}
        if not used:
            return reasons
        for uuid, users in used.items():
            names = ", ".join(f"{user.kind.value} “{user.title}”" for user in users[:3])
            reasons[uuid] = f"Used by {names}{' and others' if len(users) > 3 else ''}, which stays."
            removed.discard(uuid)


def used_now(before: EnvironmentReading, removals: Collection[str], written: Documents) -> dict[str, str]:
    """Of what a plan removes, that which something needs by now that is neither removed nor rewritten by the plan."""
    return _used({**before.documents, **written}, removals) if removals else {}


def held_elsewhere(
    client: SupersetClient, target: EnvironmentReading, documents: Documents
) -> dict[str, str]:
    """Why some stay, as the target itself knows: alerts, reports, embedding. Nothing is concluded from a refusal."""
    reasons: dict[str, str] = {}
    numbers = {
        (document.kind, number): uuid
        for uuid, document in documents.items()
        if (number := target.ids.id_of(document.kind, uuid)) is not None
    }
    wanted = {kind for kind, _ in numbers}
    if wanted & {Kind.CHART, Kind.DASHBOARD}:
        try:
            rows = client.list_rows("report", ("id", "name", "type", "chart_id", "dashboard_id"))
        except SupersetRefused as error:
            rows = []
            if error.code != "not_found":  # without the feature there is no such address
                text = f"Whether an alert or report needs it cannot be asked: {error.message}"
                reasons |= {uuid: text for (kind, _), uuid in numbers.items() if kind != Kind.DATASET}
        for row in rows:
            for kind, key in ((Kind.CHART, "chart_id"), (Kind.DASHBOARD, "dashboard_id")):
                shown = as_id(row.get(key))
                if shown is not None and (kind, shown) in numbers:
                    word = str(row.get("type") or "report").lower()
                    reasons[numbers[kind, shown]] = f"The {word} “{row.get('name') or row['id']}” shows it."
    for (kind, number), uuid in numbers.items():
        if kind != Kind.DASHBOARD or uuid in reasons:
            continue
        try:
            client.get(f"dashboard/{number}", "embedded")
        except SupersetRefused as error:
            if error.code != "not_found":
                reasons[uuid] = f"Whether it is embedded somewhere cannot be asked: {error.message}"
        else:
            reasons[uuid] = "It is embedded in other pages."
    return reasons


def _too_much(migration: Migration, removed: Collection[Candidate], total: int) -> Iterable[Problem]:
    """A source that is suddenly all but empty is more likely broken than tidied up."""
    share = round(100 * len(removed) / total) if total else 0
    if len(removed) <= ALWAYS or share <= settings.PRUNE_SHARE_PERCENT:
        return
    yield Problem(
        Severity.ERROR,
        TOO_MUCH,
        "",
        f"{len(removed)} of the {total} assets that {migration.source_name} brought to {migration.target.name} "
        f"would be removed ({share} %): is {migration.source_name} what it should be?",
        "If it is, confirm the removal with a reason; else look at the source.",
    )


def used_by_lists(
    charts: Iterable[ChartRow], before: EnvironmentReading, removals: Collection[str], written: Documents
) -> dict[str, str]:
    """The same by the list of charts, which is complete also where the target was not read whole."""
    removed = set(removals)
    rewritten = removed | {uuid for uuid, document in written.items() if document.kind == Kind.DASHBOARD}
    reasons: dict[str, str] = {}
    for row in charts:
        dataset = before.ids.uuid_of(Kind.DATASET, row.dataset_id)
        if dataset in removed and row.uuid not in removed and row.uuid not in written:
            reasons[str(dataset)] = f"The chart “{row.name}” reads it."
        if row.uuid in removed:
            boards = {before.ids.uuid_of(Kind.DASHBOARD, number) for number in row.dashboard_ids}
            if boards - rewritten:
                reasons[row.uuid] = "It is on a dashboard that stays."
    return reasons
