"""Deciding about plans; routes; the rules of environments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import time, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.contrib.auth import get_user_model
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.text import slugify

from environments.models import Environment
from migrations_app import promotions
from migrations_app import services as migrations
from migrations_app.carrying import clean_carrying
from migrations_app.errors import NotReady, PlanChanged
from migrations_app.models import Migration, Plan
from sstools.audit import services as audit
from sstools.errors import Conflict, Invalid, NotAllowed
from sstools.notices import services as notices
from sstools.notices.models import Webhook
from sstools.roles import policy
from sstools.roles.models import Group
from sstools.roles.permissions import Permission

from . import gate
from . import notices as events
from .models import MOST_APPROVALS, Approvers, Decision, FreezePeriod, Protection, Route, RouteUse, Verdict

MOST_WINDOWS = 21
MOST_HOURS = 24 * 90


class OwnPlan(NotAllowed):
    """Nobody approves what they made."""

    code = "own_plan"
    message = "You made this migration or its plan: somebody else has to approve it."
    remedy = "Ask somebody who may approve it."


# --- Deciding -------------------------------------------------------------------------------------------------------


@transaction.atomic
def decide(
    migration: Migration, *, verdict: str, plan_hash: str, actor: Any, comment: str = "", source: str = "page"
) -> Decision:
    """Approve or reject the plan that was looked at. Saying it again replaces what one said before.

    plan_hash: of that plan, its first 12 characters at least.
    Raises NotAllowed, OwnPlan, PlanChanged, NotReady; Invalid for a rejection without a comment.
    """
    policy.require(actor, Permission.MIGRATION_APPROVE, migration.target)
    migration = (
        Migration.objects.select_for_update(of=("self",))
        .select_related("target", "plan")
        .get(pk=migration.pk)
    )
    plan = migration.plan
    if plan is None or not migration.is_open:
        raise NotReady("There is no plan that waits for an approval.")
    if len(plan_hash) < 12 or not plan.hash.startswith(plan_hash):
        raise PlanChanged()
    if gate.is_own(actor, migration, plan):
        raise OwnPlan()
    if verdict not in Verdict.values:
        raise Invalid("Approve or reject.", errors={"verdict": [f"One of {', '.join(Verdict.values)}."]})
    comment = comment.strip()[:1000]
    if verdict == Verdict.REJECTED and not comment:
        raise Invalid("Say what is wrong with it.", errors={"comment": ["A rejection needs a comment."]})
    hours = gate.protection_of(migration.target).approval_hours
    expires = timezone.now() + timedelta(hours=hours) if hours and verdict == Verdict.APPROVED else None
    decision, _ = Decision.objects.update_or_create(
        plan=plan,
        user=actor,
        defaults={
            "plan_hash": plan.hash,
            "verdict": verdict,
            "comment": comment,
            "at": timezone.now(),
            "expires_at": expires,
        },
    )
    data = {"plan": plan.hash, "comment": comment, "expires_at": expires.isoformat() if expires else None}
    verb = "approve" if verdict == Verdict.APPROVED else "reject"
    audit.record(f"migration:{verb}", migration, actor=actor, data=data, source=source)
    notices.publish(
        events.DECIDED.key,
        title=f"{policy.name_of(actor)} {decision.get_verdict_display()} {migration.title or migration}",
        text=comment,
        path=migration.get_absolute_url(),
        about=migration.concerns,
        people=[migration.created_by],
        webhooks=_hooks(migration),
        data={"migration": migration.number, "verdict": verdict, "plan": plan.hash},
    )
    promotions.wake([migration])
    return decision


@transaction.atomic
def ask_for_approval(migration: Migration, *, actor: Any, source: str = "page") -> list[Any]:
    """Tell those who may approve the current plan. Returns them. Raises NotAllowed; NotReady."""
    policy.require(actor, Permission.MIGRATION_PLAN, migration.target)
    plan = migration.plan
    if plan is None or not migration.is_open:
        raise NotReady("There is no plan to approve.", remedy="Make one first.")
    if not gate.approval_of(migration, plan).is_needed:
        raise NotReady("This needs nobody's approval.")
    people = gate.approvers(migration, plan)
    audit.record(
        "migration:ask",
        migration,
        actor=actor,
        data={"plan": plan.hash, "people": [user.get_username() for user in people]},
        source=source,
    )
    notices.publish(
        events.ASKED.key,
        title=f"{policy.name_of(actor)} asks for your approval: {migration.title or migration}",
        text=_counts(plan),
        path=f"{migration.get_absolute_url()}approve/",
        about=migration.concerns,
        people=people,
        webhooks=_hooks(migration),
        data={"migration": migration.number, "plan": plan.hash, "target": migration.target.slug},
    )
    return people


def _counts(plan: Plan) -> str:
    return ", ".join(f"{number} {action}" for action, number in sorted(plan.counts.items()) if number)


def _hooks(migration: Migration) -> list[Webhook]:
    return list(
        Webhook.objects.filter(
            pk__in=[hook.pk for route in gate.routes_of(migration) for hook in route.webhooks.all()]
        )
    )


# --- Rules ----------------------------------------------------------------------------------------------------------


def save_protection(
    environment: Environment, values: dict[str, Any], *, actor: Any, source: str = "page"
) -> Protection:
    """Set the rules of an environment. values: approvals, users, groups, approval_hours, rollbacks_too, zone_name,
    windows; what is absent stays. Approvals already given go on counting by the new rules. Raises NotAllowed; Invalid.
    """
    policy.require(actor, Permission.ENVIRONMENT_EDIT, environment)
    errors: dict[str, list[str]] = {}
    with transaction.atomic():
        row, _ = Protection.objects.select_for_update().get_or_create(environment=environment)
        before = shown_protection(row)
        _set_approvers(row, values, errors)
        if "approval_hours" in values:
            hours = values["approval_hours"]
            if not 0 <= hours <= MOST_HOURS:
                errors["approval_hours"] = [f"0 (for ever) to {MOST_HOURS} hours."]
            row.approval_hours = hours
        if "rollbacks_too" in values:
            row.rollbacks_too = bool(values["rollbacks_too"])
        if "zone_name" in values:
            try:
                ZoneInfo(str(values["zone_name"]))
            except (ZoneInfoNotFoundError, ValueError, OSError):
                errors["zone_name"] = ["There is no such time zone."]
            row.zone_name = str(values["zone_name"])[:64]
        if "windows" in values:
            try:
                row.windows = clean_windows(values["windows"])
            except ValueError as error:
                errors["windows"] = [str(error)]
        if errors:
            raise Invalid("Some values are not right.", errors=errors)
        row.save()
        _set_people(row, values)
        after = shown_protection(row)
        if after != before:
            audit.record(
                "environment:protect",
                environment,
                actor=actor,
                data={"before": before, "after": after},
                source=source,
            )
            promotions.wake(Migration.objects.filter(target=environment))
    return row


def shown_protection(row: Protection) -> dict[str, Any]:
    return {
        **_shown_approvers(row),
        "approval_hours": row.approval_hours,
        "rollbacks_too": row.rollbacks_too,
        "zone_name": row.zone_name,
        "windows": row.windows,
    }


def clean_windows(given: Any) -> list[dict[str, Any]]:
    """[{"days", "start", "end"}], checked and in order. Raises ValueError with words for people."""
    if not isinstance(given, list) or len(given) > MOST_WINDOWS:
        raise ValueError(f"A list of at most {MOST_WINDOWS} windows.")
    out = []
    for row in given:
        try:
            days = sorted({int(day) for day in row["days"]})
            start, end = time.fromisoformat(str(row["start"])), time.fromisoformat(str(row["end"]))
        except (TypeError, KeyError, ValueError, AttributeError):
            raise ValueError("A window has days (0 is Monday), a start and an end as HH:MM.") from None
        if not days or days[0] < 0 or days[-1] > 6:
            raise ValueError("Days are 0 (Monday) to 6 (Sunday), at least one.")
        if start.tzinfo or end.tzinfo:
            raise ValueError("Times are without a zone: that of the environment counts.")
        out.append({"days": days, "start": f"{start:%H:%M}", "end": f"{end:%H:%M}"})
    return sorted(out, key=lambda window: (window["days"], window["start"]))


@transaction.atomic
def add_freeze(
    environment: Environment, *, since: Any, until: Any, reason: str, actor: Any, source: str = "page"
) -> FreezePeriod:
    """Raises NotAllowed; Invalid."""
    policy.require(actor, Permission.ENVIRONMENT_EDIT, environment)
    errors: dict[str, list[str]] = {}
    reason = reason.strip()[:300]
    if not reason:
        errors["reason"] = ["Say why: it is shown to whoever is stopped by it."]
    if until <= since:
        errors["until"] = ["It ends before it begins."]
    elif until <= timezone.now():
        errors["until"] = ["It is over already."]
    if errors:
        raise Invalid("Some values are not right.", errors=errors)
    row = FreezePeriod.objects.create(
        environment=environment, since=since, until=until, reason=reason, created_by=actor
    )
    Protection.objects.get_or_create(environment=environment)
    data = {"since": since.isoformat(), "until": until.isoformat(), "reason": reason}
    audit.record("environment:freeze", environment, actor=actor, data=data, source=source)
    return row


@transaction.atomic
def end_freeze(freeze: FreezePeriod, *, actor: Any, source: str = "page") -> None:
    """Take a freeze back. Raises NotAllowed."""
    policy.require(actor, Permission.ENVIRONMENT_EDIT, freeze.environment)
    data = {"since": freeze.since.isoformat(), "until": freeze.until.isoformat(), "reason": freeze.reason}
    audit.record("environment:unfreeze", freeze.environment, actor=actor, data=data, source=source)
    environment = freeze.environment
    freeze.delete()
    promotions.wake(Migration.objects.filter(target=environment))


# --- Routes ---------------------------------------------------------------------------------------------------------


def save_route(route: Route | None, values: dict[str, Any], *, actor: Any, source: str = "page") -> Route:
    """Make or change a route. values: name, description, source, target (Environments), approvals, users, groups,
    verify, roll_back_when_red, prune (needs `migration:prune`), carrying, webhooks, is_enabled; what is absent stays.
    Raises NotAllowed; Invalid.
    """
    row = route or Route(created_by=actor)
    if route is not None:
        policy.require(actor, Permission.ROUTE_EDIT, route.target)
    errors: dict[str, list[str]] = {}
    pruned_target = row.target_id if row.prune else None
    for name in ("description", "source", "target", "verify", "roll_back_when_red", "prune", "is_enabled"):
        if name in values:
            setattr(row, name, values[name])
    if "carrying" in values:
        row.carrying = clean_carrying(values["carrying"])
    if "name" in values:
        row.name = str(values["name"]).strip()
    if not row.name or len(row.name) > 100:
        errors["name"] = ["A name of at most 100 characters."]
    for name in ("source", "target"):
        if getattr(row, f"{name}_id") is None:
            errors[name] = ["Choose an environment."]
    if errors:
        raise Invalid("Some values are not right.", errors=errors)
    policy.require(actor, Permission.ROUTE_EDIT, row.target)
    policy.require(actor, Permission.ENVIRONMENT_VIEW, row.source)
    if row.prune and row.target_id != pruned_target:
        policy.require(actor, Permission.MIGRATION_PRUNE, row.target)
    if row.source_id == row.target_id:
        errors["target"] = ["Source and target are the same environment."]
    before = None if route is None else shown_route(Route.objects.get(pk=route.pk))
    _set_approvers(row, values, errors)
    hooks = list(values["webhooks"]) if "webhooks" in values else None
    if errors:
        raise Invalid("Some values are not right.", errors=errors)
    if route is None:
        row.slug = _free_slug(row.name)
    try:
        with transaction.atomic():
            row.save()
            _set_people(row, values)
            if hooks is not None:
                row.webhooks.set(hooks)
            data = {"after": shown_route(row)} | ({"before": before} if before else {})
            audit.record(
                "route:update" if before else "route:create", row, actor=actor, data=data, source=source
            )
    except IntegrityError:
        raise Invalid(
            "Some values are not right.", errors={"name": ["There is such a route already."]}
        ) from None
    return row


def _free_slug(name: str) -> str:
    base = slugify(name)[:50] or "route"
    taken = set(Route.objects.filter(slug__startswith=base).values_list("slug", flat=True))
    names = (base if number == 1 else f"{base}-{number}" for number in range(1, len(taken) + 2))
    return next(name for name in names if name not in taken)


def shown_route(row: Route) -> dict[str, Any]:
    return {
        "name": row.name,
        "description": row.description,
        "source": row.source.slug,
        "target": row.target.slug,
        **_shown_approvers(row),
        "verify": row.verify,
        "roll_back_when_red": row.roll_back_when_red,
        "carrying": row.carrying,
        "prune": row.prune,
        "webhooks": sorted(row.webhooks.values_list("name", flat=True)),
        "is_enabled": row.is_enabled,
    }


@transaction.atomic
def delete_route(route: Route, *, actor: Any, source: str = "page") -> None:
    """Raises NotAllowed; Conflict("route_in_use") while a migration that is not over takes it."""
    policy.require(actor, Permission.ROUTE_EDIT, route.target)
    if RouteUse.objects.filter(route=route).exists():
        raise Conflict(
            f"Migrations took {route}: it stays as part of their history.",
            code="route_in_use",
            remedy="Switch it off instead.",
        )
    audit.record("route:delete", route, actor=actor, data=shown_route(route), source=source)
    route.delete()


@transaction.atomic
def start_by_route(
    route: Route,
    *,
    selection: Iterable[str],
    actor: Any,
    title: str = "",
    with_dependencies: bool = True,
    carrying: Mapping[str, Any] | None = None,
) -> Migration:
    """A migration that takes this route, with its rules. Raises NotReady for one that is switched off; else as
    create_migration.
    """
    if not route.is_enabled:
        raise NotReady(f"The route {route} is switched off.")
    migration = migrations.create_migration(
        route.source,
        route.target,
        selection=selection,
        actor=actor,
        title=title,
        with_dependencies=with_dependencies,
        verify=route.verify,
        roll_back_when_red=route.roll_back_when_red,
        carrying={**route.carrying, **(carrying or {})},
    )
    if route.prune:  # said by who may, when the route was made; applying asks for the right again
        migration.prune = True
        migration.save(update_fields=["prune"])
    RouteUse.objects.create(migration=migration, route=route)
    return migration


# --- Approvers ------------------------------------------------------------------------------------------------------


def _set_approvers(row: Approvers, values: dict[str, Any], errors: dict[str, list[str]]) -> None:
    if "approvals" in values:
        number = values["approvals"]
        if not 0 <= number <= MOST_APPROVALS:
            errors["approvals"] = [f"0 to {MOST_APPROVALS}."]
        row.approvals = number


def _set_people(row: Approvers, values: dict[str, Any]) -> None:
    if "users" in values:
        row.users.set(values["users"])
    if "groups" in values:
        row.groups.set(values["groups"])


def _shown_approvers(row: Approvers) -> dict[str, Any]:
    return {
        "approvals": row.approvals,
        "users": sorted(row.users.values_list("username", flat=True)),
        "groups": sorted(row.groups.values_list("name", flat=True)),
    }


def find_people(users: Iterable[str], groups: Iterable[str]) -> tuple[list[Any], list[Group]]:
    """By user name and by group name. Raises Invalid for one that there is not."""
    wanted_users, wanted_groups = set(users), set(groups)
    found_users = list(get_user_model()._default_manager.filter(username__in=wanted_users))
    found_groups = list(Group.objects.filter(name__in=wanted_groups))
    errors: dict[str, list[str]] = {}
    if missing := wanted_users - {user.get_username() for user in found_users}:
        errors["users"] = [f"There is no user {sorted(missing)[0]}."]
    if missing := wanted_groups - {group.name for group in found_groups}:
        errors["groups"] = [f"There is no group {sorted(missing)[0]}."]
    if errors:
        raise Invalid("Some values are not right.", errors=errors)
    return found_users, found_groups
