"""Estates as readings and comparisons leave them, written straight into the tables: small, or large to measure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.utils import timezone

from environments.models import Asset, AssetReference, Environment
from environments.words import fold
from migrations_app.engine.sync import Sync
from migrations_app.estate.models import ATTENTION, Pair, SyncState
from tests.factories import make_environment, uuid_for

#: Of each hundred assets: mostly in sync, as estates are.
MIX = (
    (Sync.DIVERGED, 2),
    (Sync.DRIFTED, 3),
    (Sync.DIFFERS, 2),
    (Sync.BEHIND, 10),
    (Sync.ABSENT, 5),
    (Sync.ONLY_HERE, 3),
    (Sync.UNKNOWN, 1),
    (Sync.IN_SYNC, 74),
)
SPREAD = tuple(state for state, share in MIX for _ in range(share))
WORDS = ("Sales", "Finance", "Ops", "Churn", "Stock", "Traffic", "Margin", "Orders", "Support", "Risk")
PEOPLE = ("Irina Petrova", "J. Doe", "Ada Admin", "Пётр Сидоров")


def make_way(*slugs: str) -> list[Environment]:
    """Environments that were read, along the way to production."""
    return [
        make_environment(
            slug, inventory_at=timezone.now() - timedelta(minutes=4), asset_counts={"dashboard": 1}
        )
        for slug in slugs or ("dev", "stage", "prod")
    ]


def fill(
    environments: Sequence[Environment], *, dashboards: int = 30, charts: int = 0, datasets: int = 0
) -> None:
    """Assets of the first environment, and how all pairs stand to one another. Deterministic."""
    numbers = {"dashboard": dashboards, "chart": charts, "dataset": datasets}
    names = [
        (kind, f"{WORDS[n % len(WORDS)]} {kind} {n:05}", n)
        for kind, many in numbers.items()
        for n in range(many)
    ]
    now = timezone.now()
    for environment in environments:
        Asset.objects.bulk_create(
            (_asset(environment, kind, title, n, now, dashboards, datasets) for kind, title, n in names),
            batch_size=1000,
        )
    for i, source in enumerate(environments):
        for j, target in enumerate(environments):
            if source != target:
                SyncState.objects.bulk_create(
                    (_state(source, target, kind, title, n, i, j, now) for kind, title, n in names),
                    batch_size=1000,
                )
            if i < j:
                first, second = sorted((source, target), key=lambda item: item.pk)
                Pair.objects.create(first=first, second=second, compared_at=now)
    # What is absent from an environment is not in its inventory.
    for environment in environments:
        absent = SyncState.objects.filter(target=environment, state=Sync.ABSENT).values("source_uuid")
        Asset.objects.filter(environment=environment, uuid__in=absent).delete()
    AssetReference.objects.bulk_create(
        (
            AssetReference(
                environment=environment,
                from_kind="dashboard",
                from_uuid=_uuid("dashboard", n % dashboards),
                to_kind="chart",
                to_uuid=uuid_for(title),
                how="needs",
            )
            for environment in environments
            for kind, title, n in names
            if kind == "chart" and dashboards
        ),
        batch_size=1000,
    )


def _uuid(kind: str, n: int) -> str:
    return uuid_for(f"{WORDS[n % len(WORDS)]} {kind} {n:05}")


def _asset(
    environment: Environment, kind: str, title: str, n: int, now: Any, dashboards: int, datasets: int
) -> Asset:
    asset = Asset(
        environment=environment,
        kind=kind,
        uuid=uuid_for(title),
        superset_id=n + 1,
        title=title,
        slug=f"{kind}-{n}" if kind == "dashboard" else "",
        changed_on=now - timedelta(hours=n % 2000),
        changed_by=PEOPLE[n % len(PEOPLE)],
        owners=[{"name": PEOPLE[n % len(PEOPLE)], "email": ""}],
        last_seen_at=now,
    )
    if kind == "chart":
        asset.dataset_uuid = _uuid("dataset", n % datasets) if datasets else ""
        asset.dashboard_uuids = [_uuid("dashboard", n % dashboards)] if dashboards else []
    asset.fill_derived()
    return asset


def _state(
    source: Environment, target: Environment, kind: str, title: str, n: int, i: int, j: int, now: Any
) -> SyncState:
    state = SPREAD[(n * 7 + min(i, j) * 13 + max(i, j) * 29) % len(SPREAD)]
    if state == Sync.ONLY_HERE and min(i, j) == 0:
        state = Sync.BEHIND  # the first one has everything: rows of the matrix are then known by their number
    if i > j:
        state = state.mirrored
    changes = 0 if state in (Sync.IN_SYNC, Sync.ABSENT, Sync.ONLY_HERE, Sync.UNKNOWN) else n % 5 + 1
    uuid = uuid_for(title)
    return SyncState(
        source=source,
        target=target,
        kind=kind,
        source_uuid="" if state == Sync.ONLY_HERE else uuid,
        target_uuid="" if state == Sync.ABSENT else uuid,
        row=f"~{uuid}" if state == Sync.ONLY_HERE else uuid,
        state=state.value,
        attention=ATTENTION[state],
        changes=changes,
        sentences=["name: Revenue → Net revenue"][:changes],
        title=title,
        sort_key=fold(title),
        changed_by=PEOPLE[n % len(PEOPLE)] if changes else "",
        changed_at=now - timedelta(hours=n % 2000),
    )
