"""One set of filters for the pages and the API."""

from typing import Any

import django_filters
from django.db.models import Q, QuerySet

from environments.models import KIND_CHOICES, Environment

from .engine.plan import Action
from .models import (
    BUSY_STATES,
    FINISHED_RUNS,
    OPEN_STATES,
    Migration,
    MigrationState,
    PlanItem,
    Run,
    RunState,
)

STATES = [("open", "open"), ("busy", "at work"), *MigrationState.choices]
RUN_STATES = [("unfinished", "unfinished"), *RunState.choices]
ACTIONS = [
    ("writes", "written"),
    ("conflict", "with a conflict"),
    *((action.value, action.value.replace("_", " ")) for action in Action),
]
WRITTEN = tuple(action.value for action in Action if action.writes)


class EnvironmentFilter(django_filters.CharFilter):  # type: ignore[misc]
    """The slug or the uuid of an environment, compared in each of `paths`."""

    def __init__(self, *paths: str, **kwargs: Any) -> None:
        self.paths = paths
        super().__init__(**kwargs)

    def filter(self, qs: Any, value: str | None) -> Any:
        if not value:
            return qs
        wanted = find_environments(value).values("pk")
        condition = Q()
        for path in self.paths:
            condition |= Q(**{f"{path}__in": wanted})
        return qs.filter(condition)


def find_environments(key: str) -> QuerySet[Environment]:
    """The environment that `key` names, by slug or uuid: a queryset of one row or none."""
    rows: QuerySet[Environment] = Environment.objects.filter(
        **{"uuid" if looks_like_uuid(key) else "slug": key}
    )
    return rows


def looks_like_uuid(text: str) -> bool:
    parts = text.split("-")
    return [len(part) for part in parts] == [8, 4, 4, 4, 12] and all(
        char in "0123456789abcdefABCDEF" for part in parts for char in part
    )


class MigrationFilter(django_filters.FilterSet):  # type: ignore[misc]
    """?state=planned (or open, busy)
    &source=dev&target=prod&env=prod&mine=true&rollback=false&asset=<uuid>&q=words or a number
    """

    state = django_filters.ChoiceFilter(choices=STATES, method="by_state", label="State")
    source = EnvironmentFilter("source", label="From (slug or uuid)")
    target = EnvironmentFilter("target", label="To (slug or uuid)")
    env = EnvironmentFilter("source", "target", label="From or to (slug or uuid)")
    mine = django_filters.BooleanFilter(method="by_mine", label="Mine")
    rollback = django_filters.BooleanFilter(
        field_name="rolls_back", lookup_expr="isnull", exclude=True, label="Roll backs"
    )
    asset = django_filters.CharFilter(method="by_asset", label="With this asset in its plan (uuid)")
    q = django_filters.CharFilter(method="by_words", label="Search")

    class Meta:
        model = Migration
        fields: list[str] = []

    def by_state(self, rows: QuerySet[Migration], name: str, value: str) -> QuerySet[Migration]:
        groups: dict[str, tuple[Any, ...]] = {"open": OPEN_STATES, "busy": BUSY_STATES}
        return rows.filter(state__in=groups.get(value, (value,)))

    def by_mine(self, rows: QuerySet[Migration], name: str, value: bool) -> QuerySet[Migration]:
        return rows.filter(created_by=self.request.user) if value else rows

    def by_asset(self, rows: QuerySet[Migration], name: str, value: str) -> QuerySet[Migration]:
        items = PlanItem.objects.filter(Q(uuid=value.lower()) | Q(target_uuid=value.lower()))
        return rows.filter(plan__in=items.values("plan"))

    def by_words(self, rows: QuerySet[Migration], name: str, value: str) -> QuerySet[Migration]:
        for word in value.split():
            matches = (
                Q(title__icontains=word) | Q(source__name__icontains=word) | Q(target__name__icontains=word)
            )
            number = word.lstrip("#")
            if number.isascii() and number.isdigit() and len(number) < 19:
                matches |= Q(number=int(number))
            rows = rows.filter(matches)
        return rows


class RunFilter(django_filters.FilterSet):  # type: ignore[misc]
    """?state=needs_attention (or unfinished) &migration=<number or uuid>&target=prod&mine=true"""

    state = django_filters.ChoiceFilter(choices=RUN_STATES, method="by_state", label="State")
    migration = django_filters.CharFilter(method="by_migration", label="Migration (number or uuid)")
    target = EnvironmentFilter("migration__target", label="Target (slug or uuid)")
    mine = django_filters.BooleanFilter(method="by_mine", label="Mine")

    class Meta:
        model = Run
        fields: list[str] = []

    def by_state(self, rows: QuerySet[Run], name: str, value: str) -> QuerySet[Run]:
        return rows.exclude(state__in=FINISHED_RUNS) if value == "unfinished" else rows.filter(state=value)

    def by_migration(self, rows: QuerySet[Run], name: str, value: str) -> QuerySet[Run]:
        if looks_like_uuid(value):
            return rows.filter(migration__uuid=value)
        is_number = value.isascii() and value.isdigit() and len(value) < 19
        return rows.filter(migration_id=int(value)) if is_number else rows.none()

    def by_mine(self, rows: QuerySet[Run], name: str, value: bool) -> QuerySet[Run]:
        return rows.filter(created_by=self.request.user) if value else rows


class PlanItemFilter(django_filters.FilterSet):  # type: ignore[misc]
    """?action=update (or writes, conflict) &kind=chart&q=words of the title, or a uuid"""

    action = django_filters.ChoiceFilter(choices=ACTIONS, method="by_action", label="Action")
    kind = django_filters.ChoiceFilter(choices=KIND_CHOICES, label="Kind")
    q = django_filters.CharFilter(method="by_words", label="Search")

    class Meta:
        model = PlanItem
        fields: list[str] = []

    def by_action(self, rows: QuerySet[PlanItem], name: str, value: str) -> QuerySet[PlanItem]:
        if value == "conflict":
            return rows.filter(conflict__isnull=False)
        return rows.filter(action__in=WRITTEN if value == "writes" else (value,))

    def by_words(self, rows: QuerySet[PlanItem], name: str, value: str) -> QuerySet[PlanItem]:
        if looks_like_uuid(value.strip()):
            key = value.strip().lower()
            return rows.filter(Q(uuid=key) | Q(target_uuid=key))
        for word in value.split():
            rows = rows.filter(title__icontains=word)
        return rows
