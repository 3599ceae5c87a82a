"""One set of filters for the page, the exports and the API."""

from datetime import datetime, time, timedelta

import django_filters
from django import forms
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from .models import AuditEvent


class AuditFilter(django_filters.FilterSet):  # type: ignore[misc]
    """?actor=ann (or ss-tools) &action=run:applied (or run) &object=migration:4 &source=api &since=2026-01-31 &until=…

    since, until: days, both included, or moments; in the reader's time zone where none is given.
    """

    q = django_filters.CharFilter(
        method="by_words",
        label="Search",
        widget=forms.SearchInput(attrs={"placeholder": "Object, request, job, address"}),
    )
    actor = django_filters.CharFilter(
        method="by_actor",
        label="Who",
        widget=forms.TextInput(attrs={"placeholder": "name, or ss-tools", "size": 14}),
    )
    action = django_filters.CharFilter(
        method="by_action",
        label="Did",
        widget=forms.TextInput(attrs={"placeholder": "run:applied, or run", "size": 16}),
    )
    object = django_filters.CharFilter(field_name="object_name", label="Object", widget=forms.HiddenInput)
    source = django_filters.CharFilter(label="From where", widget=forms.TextInput(attrs={"size": 8}))
    since = django_filters.CharFilter(
        method="by_since", label="From", widget=forms.DateInput(attrs={"type": "date"})
    )
    until = django_filters.CharFilter(
        method="by_until", label="To", widget=forms.DateInput(attrs={"type": "date"})
    )

    class Meta:
        model = AuditEvent
        fields: list[str] = []

    def by_words(self, rows: QuerySet[AuditEvent], name: str, value: str) -> QuerySet[AuditEvent]:
        for word in value.split():
            rows = rows.filter(
                Q(object_label__icontains=word)
                | Q(object_name__icontains=word)
                | Q(actor_name__icontains=word)
                | Q(action__icontains=word)
                | Q(request_id=word)
                | Q(job=word)
                | Q(address=word)
            )
        return rows

    def by_actor(self, rows: QuerySet[AuditEvent], name: str, value: str) -> QuerySet[AuditEvent]:
        value = value.strip()
        return rows.filter(actor_name="") if value == "ss-tools" else rows.filter(actor_name__iexact=value)

    def by_action(self, rows: QuerySet[AuditEvent], name: str, value: str) -> QuerySet[AuditEvent]:
        value = value.strip()
        return rows.filter(action=value) if ":" in value else rows.filter(action__startswith=f"{value}:")

    def by_since(self, rows: QuerySet[AuditEvent], name: str, value: str) -> QuerySet[AuditEvent]:
        moment = _moment(value)
        return rows.filter(at__gte=moment[0]) if moment else rows.none()

    def by_until(self, rows: QuerySet[AuditEvent], name: str, value: str) -> QuerySet[AuditEvent]:
        moment = _moment(value)
        return rows.filter(at__lt=moment[1]) if moment else rows.none()


def _moment(text: str) -> tuple[datetime, datetime] | None:
    """(from when, before when) of a day or a moment; None for what is neither."""
    try:
        if day := parse_date(text.strip()):
            start = datetime.combine(day, time())
            return timezone.make_aware(start), timezone.make_aware(start + timedelta(days=1))
        moment = parse_datetime(text.strip())
    except (ValueError, OverflowError):  # the 31st of June, the year 10000
        return None
    if moment is None:
        return None
    if timezone.is_naive(moment):
        moment = timezone.make_aware(moment)
    return moment, moment + timedelta(microseconds=1)
