"""What whole backups hold, as life spans: one row for each content, however many backups have it."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

from django.db.models import BigIntegerField, Exists, OuterRef, Q, QuerySet, Value
from django.db.models.functions import Coalesce

from environments.models import Environment, Snapshot

from .models import Backup, Span

#: Kind and uuid of an asset or companion.
Key = tuple[str, str]
#: Its id in Superset (None: not known, or not a number), and the fingerprint of its document (None: not readable).
Content = tuple[int | None, str | None]

CHUNK = 500
ENDLESS = 2**62


def spans_of(snapshot: Snapshot) -> QuerySet[Span]:
    """Assets and companions in a whole backup."""
    return within(snapshot.environment_id, snapshot.pk)


def within(environment: Environment | int, number: int) -> QuerySet[Span]:
    """The spans of an environment that its backup of this number has."""
    return Span.objects.filter(
        Q(last=None) | Q(last__gte=number), environment=environment, first__lte=number
    ).order_by()


def write(environment: Environment, number: int, held: Mapping[Key, Content]) -> list[str]:
    """Let backup `number`, newer than all others of the environment, hold exactly this. Returns the fingerprints that
    no open span had: what changed. In the caller's transaction; one at a time for an environment.
    """
    columns = ("pk", "kind", "uuid", "superset_id", "document_id")
    rows = Span.objects.filter(environment=environment, last=None).values_list(*columns)
    ended: list[int] = []
    same: set[Key] = set()
    for pk, kind, uuid, superset_id, sha in rows.iterator(chunk_size=2000):
        now = held.get((kind, uuid))
        if now is not None and now[1] == sha and now[0] in (None, superset_id):
            same.add((kind, uuid))
        else:
            ended.append(pk)
    for chunk in _chunks(ended):
        mine = Span.objects.filter(pk__in=chunk)
        mine.filter(first__lt=number).update(last=number - 1)
        mine.filter(first__gte=number, last=None).delete()
    begun = [(key, content) for key, content in held.items() if key not in same]
    Span.objects.bulk_create(
        (
            Span(
                environment=environment,
                kind=kind,
                uuid=uuid,
                superset_id=superset_id,
                document_id=sha,
                first=number,
            )
            for (kind, uuid), (superset_id, sha) in begun
        ),
        batch_size=1000,
    )
    return [sha for _, (_, sha) in begun if sha is not None]


def forget(environment: Environment | int) -> int:
    """Remove the spans in whose range no backup is left. Returns how many. In the transaction that removed one."""
    last = Coalesce(OuterRef("last"), Value(ENDLESS), output_field=BigIntegerField())
    left = Backup.objects.filter(
        environment=OuterRef("environment"),
        snapshot__in_spans=True,
        snapshot_id__gte=OuterRef("first"),
        snapshot_id__lte=last,
    )
    gone = Span.objects.filter(~Exists(left), environment=environment)
    return gone._raw_delete(gone.db)


def has_any(numbers: Sequence[int], first: int, last: int | None) -> bool:
    """Whether one of these, sorted, is in the range of a span."""
    place = bisect_left(numbers, first)
    return place < len(numbers) and (last is None or numbers[place] <= last)


def _chunks(items: Iterable[int]) -> Iterable[list[int]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk
