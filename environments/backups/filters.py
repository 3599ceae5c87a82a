"""One set of filters for the page and the API."""

from __future__ import annotations

from datetime import date
from typing import Any

import django_filters
from django import forms
from django.db.models import Q, QuerySet

from environments.models import Environment

from .models import Backup, BackupReason, BackupState


def _environments(request: Any) -> list[tuple[str, str]]:
    if request is None:
        return []
    rows = Environment.objects.visible_to(request.user).filter(backups__isnull=False).distinct().in_order()
    return [(row.slug, row.name) for row in rows]


class BackupFilter(django_filters.FilterSet):  # type: ignore[misc]
    """?env=prod &reason=schedule &state=good &since=2026-11-01 &until=2026-11-23 &pinned=true &q=words

    `since` and `until` are days, both included.
    """

    q = django_filters.CharFilter(
        method="by_words",
        label="Search",
        widget=forms.TextInput(attrs={"type": "search", "placeholder": "Number, title, notes"}),
    )
    env = django_filters.CharFilter(field_name="environment__slug", label="Environment")
    reason = django_filters.ChoiceFilter(choices=BackupReason.choices, label="Kind", empty_label="all")
    state = django_filters.ChoiceFilter(choices=BackupState.choices, label="State", empty_label="all")
    pinned = django_filters.BooleanFilter(
        label="Pinned",
        widget=forms.Select(choices=[("", "all"), ("true", "pinned"), ("false", "not pinned")]),
    )
    since = django_filters.DateFilter(
        method="by_since", label="From", widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
    )
    until = django_filters.DateFilter(
        method="by_until", label="To", widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
    )

    class Meta:
        model = Backup
        fields: list[str] = []

    def offer_environments(self) -> None:
        """For the page: a choice in place of a slug to be typed."""
        choices = [("", "all"), *_environments(self.request)]
        self.form.fields["env"].widget = forms.Select(choices=choices)

    def by_words(self, rows: QuerySet[Backup], name: str, value: str) -> QuerySet[Backup]:
        for word in value.split():
            fits = Q(title__icontains=word) | Q(notes__icontains=word) | Q(environment__name__icontains=word)
            number = word.removeprefix("backup:").lstrip("#")
            if number.isascii() and number.isdecimal() and len(number) < 18:
                fits |= Q(pk=int(number))
            rows = rows.filter(fits)
        return rows

    def by_since(self, rows: QuerySet[Backup], name: str, value: date) -> QuerySet[Backup]:
        return rows.filter(started_at__date__gte=value)

    def by_until(self, rows: QuerySet[Backup], name: str, value: date) -> QuerySet[Backup]:
        return rows.filter(started_at__date__lte=value)
