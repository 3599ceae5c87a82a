"""What an asset of one environment needs, and what needs or mentions it, as far as the last reading knows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from django.db.models import Q

from environments.canonical.documents import Kind
from environments.models import Asset, AssetReference, Environment
from environments.store import READ_CHUNK

T = TypeVar("T")

Key = tuple[str, str]  # kind, uuid
#: Dashboard, chart, dataset, dataset of its SQL, database: nothing stands on anything over more steps than these.
MOST_STEPS = 6


@dataclass(frozen=True)
class Edge:
    """`above` names `below`; `how`: "needs" (cannot work without it) or "mentions" (a link, a macro in a text)."""

    above: Key
    below: Key
    how: str


@dataclass
class Reach:
    """An asset of one environment with all that it stands on and all that stands on it.

    `steps`: how far away each is: below zero for what it needs, above for what needs it, 0 for itself. `assets`: rows
    of those that are there; what is named and not there is in `steps` alone.
    """

    environment: Environment
    centre: Key
    steps: dict[Key, int] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)
    assets: dict[Key, Asset] = field(default_factory=dict)
    maybe: frozenset[Key] = frozenset()  # users that only mention it, or what does

    @property
    def users(self) -> list[Key]:
        """What would feel it if the asset went, nearest first."""
        return sorted((key for key, step in self.steps.items() if step > 0), key=self._place)

    @property
    def needs(self) -> list[Key]:
        return sorted((key for key, step in self.steps.items() if step < 0), key=self._place)

    def title(self, key: Key) -> str:
        return self.assets[key].title if key in self.assets else f"{key[0]} {key[1][:8]} (not there)"

    def direct_users(self, key: Key) -> list[Key]:
        return [edge.above for edge in self.edges if edge.below == key]

    def _place(self, key: Key) -> tuple[int, str, str, str]:
        asset = self.assets.get(key)
        return (abs(self.steps[key]), key[0], asset.sort_key if asset else "", key[1])


def reach_of(environment: Environment, kind: str, uuid: str, *, assets: bool = True) -> Reach:
    """Both ways from one asset. Without contents read, what the lists told: charts' datasets, databases, dashboards."""
    reach = Reach(environment, (kind, uuid), {(kind, uuid): 0})
    edges: dict[tuple[Key, Key], Edge] = {}
    for up in (True, False):
        _walk(reach, edges, up)
    reach.edges = list(edges.values())
    reach.maybe = _maybes(reach)
    if assets:
        reach.assets = rows_of(environment, reach.steps)
    return reach


def _walk(reach: Reach, edges: dict[tuple[Key, Key], Edge], up: bool) -> None:
    front: set[Key] = {reach.centre}
    step = 0
    while front and abs(step) < MOST_STEPS:
        step += 1 if up else -1
        found = list(_edges(reach.environment, front, up))
        front = set()
        for edge in found:
            edges.setdefault((edge.above, edge.below), edge)
            key = edge.above if up else edge.below
            if key not in reach.steps:
                reach.steps[key] = step
                front.add(key)


def _edges(environment: Environment, keys: Collection[Key], up: bool) -> Iterator[Edge]:
    """What names (up) or is named by (down) any of these."""
    side = "to" if up else "from"
    by_kind: dict[str, list[str]] = {}
    for kind, uuid in keys:
        by_kind.setdefault(kind, []).append(uuid)
    seen: set[tuple[Key, Key]] = set()
    for kind, uuids in by_kind.items():
        for chunk in chunks(uuids):
            rows = AssetReference.objects.filter(
                environment=environment, **{f"{side}_kind": kind, f"{side}_uuid__in": chunk}
            ).values_list("from_kind", "from_uuid", "to_kind", "to_uuid", "how")
            for from_kind, from_uuid, to_kind, to_uuid, how in rows:
                edge = Edge((from_kind, from_uuid), (to_kind, to_uuid), how)
                seen.add((edge.above, edge.below))
                yield edge
    for edge in _listed_edges(environment, by_kind, up):
        if (edge.above, edge.below) not in seen:
            yield edge


def _listed_edges(environment: Environment, by_kind: dict[str, list[str]], up: bool) -> Iterator[Edge]:
    """What the lists say: it covers assets whose contents could not be read. A dashboard's charts are listed, too."""
    rows = environment.assets.values_list("kind", "uuid", "dataset_uuid", "database_uuid", "dashboard_uuids")
    if up:
        for uuids in chunks(by_kind.get(Kind.DATASET, ())):
            for _, uuid, dataset, _, _ in rows.filter(kind=Kind.CHART, dataset_uuid__in=uuids):
                yield Edge((Kind.CHART.value, uuid), (Kind.DATASET.value, dataset), "needs")
        for uuids in chunks(by_kind.get(Kind.DATABASE, ())):
            for _, uuid, _, database, _ in rows.filter(kind=Kind.DATASET, database_uuid__in=uuids):
                yield Edge((Kind.DATASET.value, uuid), (Kind.DATABASE.value, database), "needs")
    for uuids in chunks(by_kind.get(Kind.CHART, ())):
        for _, uuid, dataset, _, dashboards in rows.filter(kind=Kind.CHART, uuid__in=uuids):
            if up:
                for dashboard in dashboards:
                    yield Edge((Kind.DASHBOARD.value, dashboard), (Kind.CHART.value, uuid), "needs")
            elif dataset:
                yield Edge((Kind.CHART.value, uuid), (Kind.DATASET.value, dataset), "needs")
    if up:
        return
    for uuids in chunks(by_kind.get(Kind.DATASET, ())):
        for _, uuid, _, database, _ in rows.filter(kind=Kind.DATASET, uuid__in=uuids).exclude(
            database_uuid=""
        ):
            yield Edge((Kind.DATASET.value, uuid), (Kind.DATABASE.value, database), "needs")
    for dashboard in by_kind.get(Kind.DASHBOARD, ()):
        for uuid in rows.filter(kind=Kind.CHART, dashboard_uuids__icontains=dashboard).values_list(
            "uuid", flat=True
        ):
            yield Edge((Kind.DASHBOARD.value, dashboard), (Kind.CHART.value, uuid), "needs")


def _maybes(reach: Reach) -> frozenset[Key]:
    """Users that no chain of needs leads to: they mention it, and may work without."""
    needing: set[Key] = {reach.centre}
    above: dict[Key, list[Key]] = {}
    for edge in reach.edges:
        if edge.how == "needs":
            above.setdefault(edge.below, []).append(edge.above)
    front = [reach.centre]
    while front:
        front = [key for below in front for key in above.get(below, ()) if key not in needing]
        needing.update(front)
    return frozenset(key for key, step in reach.steps.items() if step > 0 and key not in needing)


def rows_of(environment: Environment, keys: Iterable[Key]) -> dict[Key, Asset]:
    """Asset rows by key, of those that are there."""
    found: dict[Key, Asset] = {}
    by_kind: dict[str, list[str]] = {}
    for kind, uuid in keys:
        by_kind.setdefault(kind, []).append(uuid)
    for kind, uuids in by_kind.items():
        for chunk in chunks(uuids):
            rows = Asset.objects.filter(Q(environment=environment, kind=kind, uuid__in=chunk))
            for row in rows.defer("search_text", "owners", "dashboard_uuids"):
                row.environment = environment
                found[kind, row.uuid] = row
    return found


def chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), READ_CHUNK):
        yield items[start : start + READ_CHUNK]
