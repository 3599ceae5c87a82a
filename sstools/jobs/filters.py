"""One set of filters for the page and the API."""

import django_filters
from django import forms
from django.db.models import Q, QuerySet

from .models import UNFINISHED, Job, Source, State

STATES = [("unfinished", "unfinished"), *State.choices]


class JobFilter(django_filters.FilterSet):  # type: ignore[misc]
    """?state=running (or unfinished) &kind=…&source=…&mine=true&q=words in title, step or kind"""

    q = django_filters.CharFilter(
        method="by_words", label="Search", widget=forms.SearchInput(attrs={"placeholder": "Search"})
    )
    state = django_filters.ChoiceFilter(choices=STATES, method="by_state", label="State", empty_label="any")
    source = django_filters.ChoiceFilter(choices=Source.choices, label="From", empty_label="anywhere")
    mine = django_filters.BooleanFilter(
        method="by_mine", label="Asked by", widget=forms.Select(choices=[("", "anyone"), ("true", "me")])
    )
    kind = django_filters.CharFilter(label="Kind", widget=forms.HiddenInput)

    class Meta:
        model = Job
        fields: list[str] = []

    def by_state(self, rows: QuerySet[Job], name: str, value: str) -> QuerySet[Job]:
        return rows.filter(state__in=UNFINISHED) if value == "unfinished" else rows.filter(state=value)

    def by_mine(self, rows: QuerySet[Job], name: str, value: bool) -> QuerySet[Job]:
        return rows.filter(actor=self.request.user) if value else rows

    def by_words(self, rows: QuerySet[Job], name: str, value: str) -> QuerySet[Job]:
        for word in value.split():
            rows = rows.filter(
                Q(title__icontains=word) | Q(current_step__icontains=word) | Q(kind__icontains=word)
            )
        return rows
