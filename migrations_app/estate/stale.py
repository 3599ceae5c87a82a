"""Which states between two environments may be out of date: so that a reading costs what it changed, not the estate."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet, Value
from django.db.models.functions import Coalesce

from environments.canonical.documents import Kind
from environments.models import Asset, Environment
from migrations_app.engine.mapping import AssetMapping
from migrations_app.engine.sync import Sync
from migrations_app.models import Baseline

from .comparing import Key
from .models import Pair, SyncState

#: More than this at once, and reading all rows is no dearer.
MOST = 2_000
#: Clocks of processes that write bases may differ by this much.
CLOCKS = timedelta(minutes=5)
COMPARED_KINDS = (Kind.DASHBOARD, Kind.CHART, Kind.DATASET)


@dataclass(frozen=True)
class Stale:
    """What is looked at again: keys of each of two environments, counterparts included."""

    keys: dict[Environment, frozenset[Key]]

    def __len__(self) -> int:
        return sum(map(len, self.keys.values()))

    def uuids(self, environment: Environment) -> list[str]:
        return sorted({uuid for _, uuid in self.keys[environment]})


def stale_between(
    pair: Pair,
    mappings: Mapping[tuple[Environment, Environment], AssetMapping],
    changed: Mapping[Environment, Iterable[Key]],
) -> Stale | None:
    """What was `changed`, what the rows do not agree with whoever changed it, and whose base is another since. None
    where that is so much that all may be looked at.

    The rows of one direction are asked: those of the other are written together with them.
    """
    source, target = next(iter(mappings))
    ours = set(changed.get(source, ())) | set(_disagreeing(source, target, mine=True))
    theirs = set(changed.get(target, ())) | set(_disagreeing(source, target, mine=False))
    rows = SyncState.objects.filter(source=source, target=target).order_by()
    ours |= set(_without_asset(rows, source, "source_uuid"))
    theirs |= set(_without_asset(rows, target, "target_uuid"))
    since = pair.compared_at - CLOCKS if pair.compared_at is not None else None
    for environment, keys in ((source, ours), (target, theirs)):
        bases = Baseline.objects.filter(target=environment, **({"updated_at__gt": since} if since else {}))
        keys |= {(kind, uuid) for uuid in bases.values_list("uuid", flat=True) for kind in COMPARED_KINDS}
    if len(ours) + len(theirs) > MOST:
        return None
    linked = {(uuid, other) for uuid, other in mappings[source, target].pairs.items()}
    if (target, source) in mappings:
        linked |= {(uuid, other) for other, uuid in mappings[target, source].pairs.items()}
    onward: defaultdict[str, set[str]] = defaultdict(set)
    back: defaultdict[str, set[str]] = defaultdict(set)
    for uuid, other in linked:
        onward[uuid].add(other)
        back[other].add(uuid)
    # Until no row has one side in it and the other not: what is in here and not found again is forgotten.
    while True:
        before = len(ours) + len(theirs)
        theirs |= {(kind, other) for kind, uuid in ours for other in (uuid, *onward[uuid])}
        ours |= {(kind, other) for kind, uuid in theirs for other in (uuid, *back[uuid])}
        if len(ours) + len(theirs) == before:
            return Stale({source: frozenset(ours), target: frozenset(theirs)})


def _disagreeing(source: Environment, target: Environment, *, mine: bool) -> QuerySet[Asset, Any]:
    """Keys of assets of one side of which no row says what they are now."""
    rows = SyncState.objects.filter(source=source, target=target, kind=OuterRef("kind")).order_by()
    if mine:
        fitting = rows.filter(
            source_uuid=OuterRef("uuid"),
            source_document=Coalesce(OuterRef("document_id"), Value("")),
            title=OuterRef("title"),
        )
    else:  # rows that were not compared have no fingerprint of it
        uncompared = Q(state=Sync.ONLY_HERE) | Q(source_document="")
        fitting = rows.filter(uncompared | Q(present=OuterRef("comparable")), target_uuid=OuterRef("uuid"))
    assets = Asset.objects.filter(environment=source if mine else target).exclude(kind=Kind.DATABASE)
    return assets.filter(~Exists(fitting)).order_by().values_list("kind", "uuid")


def _without_asset(rows: QuerySet[SyncState], environment: Environment, name: str) -> Iterator[Key]:
    """Keys of rows whose asset is gone from this side."""
    there = Asset.objects.filter(environment=environment, kind=OuterRef("kind"), uuid=OuterRef(name))
    gone = rows.exclude(**{name: ""}).filter(~Exists(there)).values_list("kind", name)
    return iter(gone)


def rows_of(stale: Stale, source: Environment, target: Environment) -> Iterable[QuerySet[SyncState]]:
    """The rows of one direction that stale keys stand in, some hundred keys at a time."""
    rows = SyncState.objects.filter(source=source, target=target).order_by()
    for name, environment in (("source_uuid", source), ("target_uuid", target)):
        uuids = stale.uuids(environment)
        for start in range(0, len(uuids), 400):
            yield rows.filter(**{f"{name}__in": uuids[start : start + 400]})
