"""Is a plan approved by whom it must be, and is it the time?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.contrib.auth import get_user_model
from django.urls import reverse
from django.utils import timezone

from environments.models import Environment
from migrations_app import gates
from migrations_app.gates import Obstacle
from migrations_app.models import Migration, MigrationState, Plan
from sstools.audit import services as audit
from sstools.notices import services as notices
from sstools.roles import policy
from sstools.roles.models import Membership
from sstools.roles.permissions import Permission

from . import notices as events
from .models import Approvers, Bypass, Decision, Protection, Route, Verdict


@dataclass
class Need:
    """So many approvals from these. `who`: in words."""

    number: int
    rule: Approvers
    of: str
    given: list[Decision] = field(default_factory=list)

    @property
    def is_met(self) -> bool:
        return len(self.given) >= self.number


@dataclass
class Approval:
    """Where a plan stands. `needs`: all must be met. `rejected`: one is enough."""

    needs: list[Need]
    rejected: list[Decision]
    expired: list[Decision]

    @property
    def is_needed(self) -> bool:
        return bool(self.needs)

    @property
    def is_given(self) -> bool:
        return not self.rejected and all(need.is_met for need in self.needs)


def protection_of(environment: Environment) -> Protection:
    """Its rules; without a row none."""
    return Protection.objects.filter(environment=environment).first() or Protection(environment=environment)


def routes_of(migration: Migration) -> list[Route]:
    """The route that it takes; without one every route that leads the same way, so that nobody walks beside it: of a
    file every route to its target, as anybody may have made it anywhere, of the target's own backup, as it may be
    older than what was approved since, and of texts that are replaced there, as nobody approved them anywhere.
    """
    chosen = list(Route.objects.filter(uses__migration=migration))
    anywhere = migration.is_of_file or migration.is_replacement
    if anywhere or (migration.is_of_backup and migration.terms in (None, migration.target)):
        return list(Route.objects.filter(target=migration.target_id, is_enabled=True))
    if chosen or (migration.source_id is None and not migration.is_of_backup):
        return chosen
    return list(Route.objects.filter(source=migration.terms, target=migration.target_id, is_enabled=True))


def approval_of(migration: Migration, plan: Plan, now: datetime | None = None) -> Approval:
    """What people said of this very plan, and whether that is enough.

    An approval counts from somebody who is active, may approve there at this moment, did not make the migration or the
    plan, and as long as it has not expired. It is bound to the plan's hash: a plan that says anything else starts
    without any.
    """
    now = now or timezone.now()
    needs = needs_of(migration)
    if needs is None:
        return Approval([], [], [])
    said = [decision for decision in decisions_on(plan) if may_decide(decision.user, migration, plan)]
    rejected = [decision for decision in said if decision.verdict == Verdict.REJECTED]
    approved = [decision for decision in said if decision.verdict == Verdict.APPROVED]
    expired = [decision for decision in approved if decision.expires_at and decision.expires_at <= now]
    for need in needs:
        need.given = [
            decision
            for decision in approved
            if decision not in expired and is_approver(decision.user, need.rule)
        ]
    return Approval(needs, rejected, expired)


def needs_of(migration: Migration) -> list[Need] | None:
    """Whose approvals its plans need, by the rules of its target and its route; None where nobody's word counts."""
    protection = protection_of(migration.target)
    if migration.is_rollback and not protection.rollbacks_too:
        return None
    rules: list[tuple[Approvers, str]] = [(protection, str(migration.target))]
    rules += [(route, f"the route {route}") for route in routes_of(migration)]
    return [Need(rule.approvals, rule, of) for rule, of in rules if rule.approvals and not rule._state.adding]


def carrying_between(source: Environment, target: Environment) -> dict[str, str]:
    """For `carrying`: what the route between two environments says; nothing where there are several of them."""
    routes = Route.objects.filter(source=source, target=target, is_enabled=True)[:2]
    return dict(routes[0].carrying) if len(routes) == 1 else {}


def standing(migration: Migration) -> gates.Approval:
    """For the step on the pages of a migration.

    Once it is applied the rules of that moment count: what was approved then stays so, whoever has left since.
    """
    url = reverse("release:approve", args=[migration.number])
    plan = migration.plan
    if plan is not None and not migration.is_open and migration.state != MigrationState.DISCARDED:
        approved = [row for row in decisions_on(plan) if row.verdict == Verdict.APPROVED]
        return gates.Approval("given" if approved else "skipped", "" if approved else "not needed", url)
    if plan is None:
        number = sum(need.number for need in needs_of(migration) or ())
        words = f"{number} approval{'s' if number > 1 else ''}"
        return (
            gates.Approval("todo", f"needs {words}", "")
            if number
            else gates.Approval("skipped", "not needed", "")
        )
    approval = approval_of(migration, plan)
    if approval.rejected:
        return gates.Approval("rejected", "rejected", url)
    if not approval.is_needed:
        return gates.Approval("skipped", "not needed", url)
    given = sum(min(len(need.given), need.number) for need in approval.needs)
    note = f"{given} of {sum(need.number for need in approval.needs)}"
    return gates.Approval("given" if approval.is_given else "waiting", note, url)


def decisions_on(plan: Plan) -> list[Decision]:
    """The last word of each, oldest first: of this plan, or of one that was made anew and came out the same."""
    rows = Decision.objects.filter(plan__migration_id=plan.migration_id, plan_hash=plan.hash)
    last = {decision.user_id: decision for decision in rows.select_related("user").order_by("at")}
    return sorted(last.values(), key=lambda decision: decision.at)


def is_own(user: Any, migration: Migration, plan: Plan) -> bool:
    """Whoever made it, planned it or is to be answered for it."""
    return user.pk in {migration.created_by_id, plan.created_by_id}


def may_decide(user: Any, migration: Migration, plan: Plan) -> bool:
    return (
        user.is_active
        and policy.can(user, Permission.MIGRATION_APPROVE, migration.target)
        and not is_own(user, migration, plan)
    )


def is_approver(user: Any, rule: Approvers) -> bool:
    """Named by the rule, or the rule names nobody."""
    users = set(rule.users.values_list("pk", flat=True))
    groups = set(rule.groups.values_list("pk", flat=True))
    if not users and not groups:
        return True
    return user.pk in users or Membership.objects.filter(user=user, group__in=groups).exists()


def approvers(migration: Migration, plan: Plan) -> list[Any]:
    """Who could approve it: to be asked."""
    approval = approval_of(migration, plan)
    said = {decision.user_id for decision in decisions_on(plan)}
    rules = [need.rule for need in approval.needs if not need.is_met]
    people = policy.people_with(Permission.MIGRATION_APPROVE, migration.target)
    named = get_user_model()._default_manager.filter(is_superuser=True, is_active=True)
    candidates = {user.pk: user for user in (*people, *named) if user.pk not in said}
    found = [
        user
        for user in candidates.values()
        if may_decide(user, migration, plan) and any(is_approver(user, rule) for rule in rules)
    ]
    # Superusers may approve, and are bothered only where nobody else can.
    return [user for user in found if not user.is_superuser] or found


def obstacles(migration: Migration, plan: Plan) -> Iterator[Obstacle]:
    """For `gates`."""
    url = reverse("release:approve", args=[migration.number])
    approval = approval_of(migration, plan)
    if approval.rejected:
        decision = approval.rejected[-1]
        yield Obstacle(
            "rejected",
            f"{policy.name_of(decision.user)} rejected this plan{f': {decision.comment}' if decision.comment else '.'}",
            remedy="Change what was found wrong and plan again.",
            url=url,
        )
    for need in approval.needs:
        if not need.is_met:
            missing = need.number - len(need.given)
            noun = "approval is" if missing == 1 else "approvals are"
            yield Obstacle(
                "approval_missing",
                f"{missing} {noun} missing by the rules of {need.of}.",
                remedy="Ask somebody who may approve it; nobody approves their own.",
                url=url,
            )
    protection = protection_of(migration.target)
    if migration.is_rollback and not protection.rollbacks_too:
        return
    state = protection.opening(timezone.now())
    if not state.is_open:
        opens = f" It opens {state.opens_at:%Y-%m-%d %H:%M %Z}." if state.opens_at else ""
        yield Obstacle(
            "window_closed",
            f"{migration.target} may not be written to now. {state.why}{opens}",
            remedy="Wait, or go on with a reason if you have the right migration:bypass.",
            can_bypass=True,
            url=url,
        )


def note_bypass(
    migration: Migration, plan: Plan, run: Any, actor: Any, reason: str, found: list[Obstacle]
) -> None:
    """For `gates`: written down, and told."""
    said = [{"code": one.code, "text": one.text} for one in found]
    Bypass.objects.create(run=run, user=actor, reason=reason[:500], obstacles=said)
    data = {"run": run.number, "plan": plan.hash, "reason": reason, "obstacles": said}
    audit.record("migration:bypass", migration, actor=actor, data=data)
    notices.publish(
        events.BYPASSED.key,
        title=f"{policy.name_of(actor)} writes to {migration.target} outside of its windows: {reason}",
        text=" ".join(one.text for one in found),
        path=migration.get_absolute_url(),
        about=migration.concerns,
        data={"run": run.number, "migration": migration.number, "reason": reason},
    )
