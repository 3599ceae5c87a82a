"""How an asset stands on each environment: its state against the reference, its last run, and who edited it when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from environments.models import Environment
from migrations_app.estate.models import SyncState
from migrations_app.models import FINISHED_RUNS, PlanItem, Run
from sstools.roles import policy
from sstools.roles.permissions import Permission

from .families import Family, Member

WRITING = ("create", "update", "remove")


@dataclass
class Card:
    """`state`: of sstools.web.states, "source" for the reference itself; `row`: what it was taken from."""

    member: Member
    state: str
    is_reference: bool
    changes: int = 0
    row: SyncState | None = None
    run: Run | None = None
    may_pair: policy.Explanation | None = None
    diff_url: str = ""
    promote_url: str = ""
    take_url: str = ""

    @property
    def environment(self) -> Environment:
        return self.member.environment


def cards_of(family: Family, reference: Member | None, user: Any) -> list[Card]:
    """One card for each environment. The number of queries does not depend on what is where."""
    states = _states(family, reference)
    runs = last_runs(family, user)
    cards = []
    for member in family.members:
        is_reference = reference is not None and member.environment.pk == reference.environment.pk
        row = states.get(member.environment.pk)
        card = Card(member, "source" if is_reference else state_of(member, row), is_reference, row=row)
        card.changes = row.changes if row is not None else 0
        card.run = runs.get(member.environment.pk)
        cards.append(card)
    return cards


def state_of(member: Member, row: SyncState | None) -> str:
    """As it was compared; where that was not done yet, what the last reading alone tells."""
    environment = member.environment
    if environment.inventory_at is None:
        return "unknown"
    if not member.is_there:
        return "absent"
    if row is None or row.state == "absent":
        return "unknown"
    return row.state


def _states(family: Family, reference: Member | None) -> dict[int, SyncState]:
    if reference is None:
        return {}
    rows = SyncState.objects.filter(
        source=reference.environment,
        target__in=[member.environment.pk for member in family.members],
        kind=family.kind.value,
        row=reference.uuid,
    )
    return {row.target_id: row for row in rows}


def last_runs(family: Family, user: Any) -> dict[int, Run]:
    """By environment: the last run that wrote this asset there and may be known of."""
    found: dict[int, Run] = {}
    wanted = {member.environment.pk: member.uuid for member in family.members if member.uuid}
    items = (
        PlanItem.objects.filter(target_uuid__in=set(wanted.values()), action__in=WRITING)
        .filter(plan__runs__in=Run.objects.visible_to(user).filter(state__in=FINISHED_RUNS))
        .values_list("target_uuid", "plan__runs__number", "plan__migration__target")
        .order_by("-plan__runs__number")
    )
    numbers: dict[int, int] = {}
    for uuid, number, target in items[:200]:
        if wanted.get(target) == uuid and target not in numbers:
            numbers[target] = number
    runs = Run.objects.filter(pk__in=numbers.values()).select_related("migration", "created_by").in_bulk()
    for target, number in numbers.items():
        if number in runs:
            found[target] = runs[number]
    return found


def may_promote(user: Any, target: Environment) -> bool:
    return policy.can(user, Permission.MIGRATION_PLAN, target)
