"""One set of filters for the page and the API."""

import django_filters
from django import forms
from django.db.models import Q, QuerySet

from . import services
from .models import Schedule, State


def _kinds() -> list[tuple[str, str]]:
    return [(kind.name, kind.title) for kind in services.kinds()]


class ScheduleFilter(django_filters.FilterSet):  # type: ignore[misc]
    """?state=late &kind=environments.check &mine=true &q=words in name, expression or owner"""

    q = django_filters.CharFilter(
        method="by_words", label="Search", widget=forms.SearchInput(attrs={"placeholder": "Search"})
    )
    state = django_filters.ChoiceFilter(choices=State.choices, label="State", empty_label="any")
    kind = django_filters.ChoiceFilter(choices=_kinds, label="Kind", empty_label="any")
    mine = django_filters.BooleanFilter(
        method="by_mine", label="Owner", widget=forms.Select(choices=[("", "anyone"), ("true", "me")])
    )

    class Meta:
        model = Schedule
        fields: list[str] = []

    def by_mine(self, rows: QuerySet[Schedule], name: str, value: bool) -> QuerySet[Schedule]:
        return rows.filter(owner=self.request.user) if value else rows

    def by_words(self, rows: QuerySet[Schedule], name: str, value: str) -> QuerySet[Schedule]:
        for word in value.split():
            rows = rows.filter(
                Q(name__icontains=word)
                | Q(kind__icontains=word)
                | Q(cron__icontains=word)
                | Q(owner__username__icontains=word)
            )
        return rows
