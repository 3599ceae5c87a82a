"""What the pages of routes and environments show of drift."""

from __future__ import annotations

from typing import Any

from environments.models import Environment
from migrations_app.release.models import Route
from sstools.roles import policy
from sstools.roles.permissions import Permission

from . import services
from .models import Check, Finding, FindingState


def card_of_route(user: Any, route: Route) -> dict[str, Any]:
    """What the card on a route's page shows."""
    found = Finding.objects.open().of_route(route).order_by("-updated_at")
    return {
        "route": route,
        "findings": list(found[:5]),
        "count": found.count(),
        "checked_at": Check.objects.filter(target=route.target_id).values_list("at", flat=True).first(),
        "is_watched": services.is_watched(route, user),
        "can_check": policy.explain(user, Permission.ENVIRONMENT_TEST, route.target),
        "can_schedule": policy.can(user, Permission.SCHEDULE_EDIT, route.target)
        and policy.can(user, Permission.ENVIRONMENT_TEST, route.target),
    }


def card_of_environment(user: Any, environment: Environment) -> dict[str, Any]:
    """What the card on an environment's page shows; nothing for who may see no migrations there."""
    routes = Route.objects.filter(target=environment)
    if not policy.can(user, Permission.MIGRATION_VIEW, environment) or not routes.exists():
        return {"is_shown": False}
    found = Finding.objects.filter(target=environment)
    return {
        "is_shown": True,
        "environment": environment,
        "findings": list(found.open()[:5]),
        "count": found.open().count(),
        "accepted": found.filter(state=FindingState.ACCEPTED).count(),
        "checked_at": Check.objects.filter(target=environment).values_list("at", flat=True).first(),
    }
