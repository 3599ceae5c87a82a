"""One set of filters for the pages and the API."""

from collections.abc import Iterable
from typing import Any

import django_filters
from django import forms
from django.db.models import F, OrderBy, QuerySet

from . import damage, extras
from .canonical.documents import Kind
from .models import Asset, CheckState, Environment, Position, tag_key
from .usage import USE_CHOICES, narrow_to_unused
from .words import fold

KINDS = [(kind.value, f"{kind.plural}") for kind in reversed(Kind)]
SORTS = {
    "title": "sort_key",
    "type": "kind",
    "env": "environment__name",
    "owner": "owner_text",
    "changed": "changed_on",
    "seen": "first_seen_at",
}
SORT_CHOICES = [(f"{sign}{name}", f"{sign}{name}") for name in SORTS for sign in ("", "-")]


class AssetFilter(django_filters.FilterSet):  # type: ignore[misc]
    """?type=dashboard&env=prod&owner=words&tag=sales&q=words in title, slug, uuid, owner, tags&sort=-changed

    `use=orphan`: nothing uses it; `use=unused`: no dashboard shows it (usage.py). `state=differing`, if states are
    known (extras.py). `damage=broken`: what other tools left in dashboards (damage.py). `dataset`, `database`: uuid of
    what it stands on; `dashboard`: of one that the chart is on.
    """

    q = django_filters.CharFilter(
        method="by_words",
        label="Search",
        widget=forms.TextInput(attrs={"type": "search", "placeholder": "Title, slug, uuid, owner"}),
    )
    type = django_filters.ChoiceFilter(field_name="kind", choices=KINDS, label="Type", empty_label="all")
    env = django_filters.CharFilter(field_name="environment__slug", label="Environment")
    owner = django_filters.CharFilter(method="by_owner", label="Owner")
    tag = django_filters.CharFilter(method="by_tag", label="Tag")
    use = django_filters.ChoiceFilter(choices=USE_CHOICES, method="by_use", label="Use", empty_label="all")
    state = django_filters.ChoiceFilter(
        choices=lambda: states.STATE_CHOICES if (states := extras.states()) else [],
        method="by_state",
        label="State",
        empty_label="all",
    )
    damage = django_filters.ChoiceFilter(
        choices=damage.CHOICES, method="by_damage", label="Damage", empty_label="all"
    )
    dataset = django_filters.CharFilter(field_name="dataset_uuid", label="Dataset", widget=forms.HiddenInput)
    database = django_filters.CharFilter(
        field_name="database_uuid", label="Database", widget=forms.HiddenInput
    )
    dashboard = django_filters.UUIDFilter(method="by_dashboard", label="Dashboard", widget=forms.HiddenInput)
    sort = django_filters.ChoiceFilter(
        choices=SORT_CHOICES, method="by_sort", label="Sort", widget=forms.HiddenInput
    )

    class Meta:
        model = Asset
        fields: list[str] = []

    def by_words(self, rows: QuerySet[Asset], name: str, value: str) -> QuerySet[Asset]:
        for word in fold(value).split():
            rows = rows.filter(search_text__contains=word)
        return rows

    def by_owner(self, rows: QuerySet[Asset], name: str, value: str) -> QuerySet[Asset]:
        return rows.filter(owner_text__contains=fold(value))

    def by_tag(self, rows: QuerySet[Asset], name: str, value: str) -> QuerySet[Asset]:
        return rows.filter(tag_text__contains=tag_key(value))

    def by_use(self, rows: QuerySet[Asset], name: str, value: str) -> QuerySet[Asset]:
        return narrow_to_unused(rows, value)

    def by_state(self, rows: QuerySet[Asset], name: str, value: str) -> QuerySet[Asset]:
        states = extras.states()
        return states.narrow(rows, value, getattr(self.request, "user", None)) if states else rows

    def by_damage(self, rows: QuerySet[Asset], name: str, value: str) -> QuerySet[Asset]:
        return damage.narrow(rows, value)

    def by_dashboard(self, rows: QuerySet[Asset], name: str, value: Any) -> QuerySet[Asset]:
        return rows.filter(dashboard_uuids__icontains=str(value))

    def by_sort(self, rows: QuerySet[Asset], name: str, value: str) -> QuerySet[Asset]:
        return rows.order_by(*ordering(value))


def tag_widget(environments: Iterable[Environment], asked: str) -> forms.Widget:
    """The tags that there are on these environments, to choose from; hidden where there are none."""
    names = {fold(tag): tag for environment in environments for tag in environment.asset_tags}
    if asked:  # also one that nobody has any more: what is filtered by has to show
        names.setdefault(fold(asked), asked)
    if not names:
        return forms.HiddenInput()
    chosen = [(asked if key == fold(asked) else names[key], names[key]) for key in sorted(names)]
    return forms.Select(choices=[("", "all"), *chosen])


def ordering(sort: str) -> list[OrderBy]:
    """The order that `sort` names; by title where it names none. Always total, so that pages do not overlap."""
    field = F(SORTS.get(sort.removeprefix("-"), SORTS["title"]))
    first = field.desc(nulls_last=True) if sort.startswith("-") else field.asc(nulls_last=True)
    return [first, F("sort_key").asc(), F("pk").asc()]


class EnvironmentFilter(django_filters.FilterSet):  # type: ignore[misc]
    """?slug=prod&position=3&state=failed"""

    slug = django_filters.CharFilter(label="Slug")
    position = django_filters.ChoiceFilter(choices=Position.choices, label="Position")
    state = django_filters.ChoiceFilter(field_name="check_state", choices=CheckState.choices, label="State")

    class Meta:
        model = Environment
        fields: list[str] = []
