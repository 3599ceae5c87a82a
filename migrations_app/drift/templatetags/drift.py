"""{% load drift %}: the cards about drift on the pages of routes and environments."""

from __future__ import annotations

from typing import Any

from django import template

from migrations_app.drift import cards

register = template.Library()


@register.inclusion_tag("drift/_route_card.html", takes_context=True)
def drift_of_route(context: Any, route: Any) -> dict[str, Any]:
    request = context["request"]
    return {
        **cards.card_of_route(request.user, route),
        "request": request,
        "csrf_token": context.get("csrf_token"),
    }


@register.inclusion_tag("drift/_environment_card.html", takes_context=True)
def drift_of_environment(context: Any, environment: Any) -> dict[str, Any]:
    return cards.card_of_environment(context["request"].user, environment)
