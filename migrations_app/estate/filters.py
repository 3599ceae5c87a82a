"""One set of filters for the matrix and the API."""

from __future__ import annotations

from typing import Any

import django_filters
from django import forms
from django.db.models import F, Max, OrderBy, Q, QuerySet

from environments.canonical.documents import Kind
from environments.models import Asset, tag_key
from environments.words import fold
from migrations_app.engine.sync import Sync

from .models import NEEDS_ATTENTION, SyncState

#: Databases are mapped, never compared.
KINDS = [(kind.value, kind.plural) for kind in (Kind.DASHBOARD, Kind.CHART, Kind.DATASET)]
ATTENTION, DIFFERENT = "attention", "different"
STATES = [
    (ATTENTION, "needs attention"),
    (DIFFERENT, "all but in sync"),
    *((state.value, state.value.replace("_", " ")) for state in Sync),
]
SORTS = {"attention": "attention", "title": "sort_key", "changed": "changed_at"}
SORT_CHOICES = [(f"{sign}{name}", f"{sign}{name}") for name in SORTS for sign in ("", "-")]
DEFAULT_SORT = "-attention"


class SyncStateFilter(django_filters.FilterSet):  # type: ignore[misc]
    """?ref=dev&env=prod&type=dashboard&state=drifted&q=words of the asset&owner=words&tag=sales&sort=-attention

    `state`: one of the eight, `attention` (diverged, drifted, deleted there, or not read), or `different`. `q`,
    `owner` and `tag` are looked for in the asset of the source, or of the target where the source has none.
    """

    q = django_filters.CharFilter(
        method="by_words",
        label="Search",
        widget=forms.TextInput(attrs={"type": "search", "placeholder": "Title, slug, uuid, owner"}),
    )
    type = django_filters.ChoiceFilter(
        choices=[*KINDS, ("all", "all types")], method="by_type", label="Type", empty_label=None
    )
    ref = django_filters.CharFilter(field_name="source__slug", label="Reference")
    env = django_filters.CharFilter(field_name="target__slug", label="On")
    state = django_filters.ChoiceFilter(choices=STATES, method="by_state", label="State", empty_label="any")
    owner = django_filters.CharFilter(method="by_owner", label="Owner")
    tag = django_filters.CharFilter(method="by_tag", label="Tag")
    sort = django_filters.ChoiceFilter(
        choices=SORT_CHOICES, method="by_sort", label="Sort", widget=forms.HiddenInput
    )

    class Meta:
        model = SyncState
        fields: list[str] = []

    def by_type(self, rows: QuerySet[SyncState], name: str, value: str) -> QuerySet[SyncState]:
        return rows if value == "all" else rows.filter(kind=value)

    def by_state(self, rows: QuerySet[SyncState], name: str, value: str) -> QuerySet[SyncState]:
        if value == ATTENTION:
            return rows.filter(attention__gte=NEEDS_ATTENTION)
        if value == DIFFERENT:
            return rows.exclude(state=Sync.IN_SYNC)
        return rows.filter(state=value)

    def by_words(self, rows: QuerySet[SyncState], name: str, value: str) -> QuerySet[SyncState]:
        words = fold(value[:200]).split()
        return rows.filter(_of_assets(rows, *(Q(search_text__contains=word) for word in words)))

    def by_owner(self, rows: QuerySet[SyncState], name: str, value: str) -> QuerySet[SyncState]:
        return rows.filter(_of_assets(rows, Q(owner_text__contains=fold(value[:200]))))

    def by_tag(self, rows: QuerySet[SyncState], name: str, value: str) -> QuerySet[SyncState]:
        return rows.filter(_of_assets(rows, Q(tag_text__contains=tag_key(value[:250]))))

    def by_sort(self, rows: QuerySet[SyncState], name: str, value: str) -> QuerySet[SyncState]:
        return rows.order_by(*ordering(value))


def _of_assets(rows: QuerySet[SyncState], *conditions: Q) -> Q:
    """States of assets that meet all conditions: looked up once, not joined to each state."""
    found = Asset.objects.filter(*conditions)
    here = found.filter(environment__in=rows.order_by().values("source").distinct()).values("uuid")
    there = found.filter(environment__in=rows.order_by().values("target").distinct()).values("uuid")
    return Q(source_uuid__in=here) | Q(source_uuid="", target_uuid__in=there)


def ordering(sort: str) -> list[OrderBy]:
    """The order of single states; by attention where `sort` names none. Always total, so that pages do not overlap."""
    return [*_directed(F(SORTS[_name(sort)]), sort), F("sort_key").asc(), F("pk").asc()]


def row_ordering(sort: str) -> list[OrderBy]:
    """The same of rows of the matrix: they stand where the most urgent, or newest, of their cells would."""
    first = F("name") if _name(sort) == "title" else F("newest" if _name(sort) == "changed" else "top")
    return [*_directed(first, sort), F("name").asc(), F("row").asc()]


def rows_of(states: QuerySet[SyncState], sort: str = "") -> QuerySet[SyncState, Any]:
    """Rows of the matrix that have at least one of these cells: kind, row, top (attention), name; newest where it is
    sorted by that. All but the last is in one index.
    """
    grouped = states.order_by().values("kind", "row").annotate(top=Max("attention"), name=Max("sort_key"))
    return grouped.annotate(newest=Max("changed_at")) if _name(sort) == "changed" else grouped


def _name(sort: str) -> str:
    name = sort.removeprefix("-")
    return name if name in SORTS else "attention"


def _directed(field: F, sort: str) -> list[OrderBy]:
    is_descending = sort.startswith("-") or sort.removeprefix("-") not in SORTS
    return [field.desc(nulls_last=True) if is_descending else field.asc(nulls_last=True)]
