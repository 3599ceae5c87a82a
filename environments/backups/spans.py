"""What whole backups hold, as life spans: one row for each content, however many backups have it."""

from django.db.models import Q, QuerySet

from environments.models import Environment, Snapshot

from .models import Span


def spans_of(snapshot: Snapshot) -> QuerySet[Span]:
    """Assets and companions in a whole backup."""
    return within(snapshot.environment_id, snapshot.pk)


def within(environment: Environment | int, number: int) -> QuerySet[Span]:
    """The spans of an environment that its backup of this number has."""
    return Span.objects.filter(
        Q(last=None) | Q(last__gte=number), environment=environment, first__lte=number
    ).order_by()
