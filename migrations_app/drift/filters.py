"""One set of filters for the page and the API."""

from __future__ import annotations

from typing import Any

import django_filters
from django import forms
from django.db.models import Q, QuerySet

from environments.canonical.documents import Kind
from environments.models import Environment
from migrations_app.release.models import Route

from .models import BESIDE_KINDS, HOW_CHOICES, Finding, FindingState

ANY = "any"
STATES = [(ANY, "any"), *FindingState.choices]
BESIDE = "beside"
KINDS = [(kind.value, kind.plural) for kind in reversed(Kind) if kind != Kind.DATABASE]
KINDS += [(BESIDE, "what goes with them")]


def _targets(request: Any) -> list[tuple[str, str]]:
    rows = Environment.objects.visible_to(request.user).filter(routes_to__isnull=False).distinct()
    return list(rows.order_by("name").values_list("slug", "name"))


class FindingFilter(django_filters.FilterSet):  # type: ignore[misc]
    """?state=any &route=dev-to-prod &target=prod &how=deleted &kind=chart &q=words in title, uuid or editor

    Without `state`: those that are open.
    """

    q = django_filters.CharFilter(
        method="by_words",
        label="Search",
        widget=forms.TextInput(attrs={"type": "search", "placeholder": "Title, uuid, who edited"}),
    )
    state = django_filters.ChoiceFilter(choices=STATES, method="by_state", label="State", empty_label="open")
    route = django_filters.ChoiceFilter(method="by_route", label="Route", empty_label="any", choices=[])
    target = django_filters.ChoiceFilter(field_name="target__slug", label="On", empty_label="any", choices=[])
    how = django_filters.ChoiceFilter(choices=HOW_CHOICES, label="What", empty_label="any")
    kind = django_filters.ChoiceFilter(choices=KINDS, method="by_kind", label="Type", empty_label="all")

    class Meta:
        model = Finding
        fields: list[str] = []

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.request is not None:
            routes = Route.objects.visible_to(self.request.user).values_list("slug", "name")
            self._offer("route", list(routes))
            self._offer("target", _targets(self.request))

    def _offer(self, name: str, choices: Any) -> None:
        found = self.filters[name]
        found.extra["choices"] = choices
        # A filter keeps its form field once somebody looked at it, as whoever writes the schema does.
        found.__dict__.pop("_field", None)

    def filter_queryset(self, queryset: QuerySet[Finding]) -> QuerySet[Finding]:
        found: QuerySet[Finding] = super().filter_queryset(queryset)
        return found if self.form.cleaned_data.get("state") else found.filter(state=FindingState.OPEN)

    def by_state(self, rows: QuerySet[Finding], name: str, value: str) -> QuerySet[Finding]:
        return rows if value == ANY else rows.filter(state=value)

    def by_kind(self, rows: QuerySet[Finding], name: str, value: str) -> QuerySet[Finding]:
        return rows.filter(kind__in=BESIDE_KINDS) if value == BESIDE else rows.filter(kind=value)

    def by_route(self, rows: Any, name: str, value: str) -> QuerySet[Finding]:
        route = Route.objects.visible_to(self.request.user).filter(slug=value).first()
        found: QuerySet[Finding] = rows.of_route(route) if route is not None else rows.none()
        return found

    def by_words(self, rows: QuerySet[Finding], name: str, value: str) -> QuerySet[Finding]:
        for word in value.split():
            rows = rows.filter(
                Q(title__icontains=word) | Q(asset_uuid__istartswith=word) | Q(changed_by__icontains=word)
            )
        return rows
