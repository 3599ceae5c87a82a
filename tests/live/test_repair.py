"""A real Superset whose dashboards were damaged as `preset-cli --no-cascade` and the assets endpoint do it: found,
mended by a migration of the environment onto itself, every chart asked, and as it was before.

`SSTOOLS_TEST_REPAIR=full` damages all nine example dashboards, else it is those with filters and one more.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import pytest

from environments import damage
from environments.canonical.dashboards import map_chart_references
from environments.canonical.documents import Kind
from environments.canonical.ids import as_id
from environments.connections import connect
from environments.lab.instance import RunningSuperset
from environments.lab.rest import Rest
from environments.models import Asset, Environment
from environments.superset.bundle import Bundle
from migrations_app import repairs
from tests.live.product import Product, fingerprints, product

pytestmark = [pytest.mark.live]
__all__ = ["product"]

Lease = Callable[..., RunningSuperset]
DAMAGED = ("Sales Dashboard", "World Bank's Data", "FCC New Coder Survey 2018")
UNLINKED = "USA Births Names"


def _places(position: dict[str, Any]) -> list[dict[str, Any]]:
    nodes = [node for node in position.values() if isinstance(node, dict)]
    return [node["meta"] for node in nodes if node.get("type") == "CHART"]


def _put_as_exported(
    product: Product, environment: Environment, rest: Rest, titles: set[str]
) -> tuple[int, int]:
    """PUT layout and settings as an instance with other ids exported them. Returns (places, wrong ones of them)."""
    with connect(environment) as client:
        numbers = sorted(row.id for row in client.list_charts())
        rows = [row for row in client.list_dashboards() if row.title in titles]
        bundle = client.export_dashboards([row.id for row in rows])
        ids = {row.uuid: row.id for row in rows}
    # Ids that are charts here as well, but others; of some there is none here.
    foreign = {number: numbers[(index + 3) % len(numbers)] for index, number in enumerate(numbers)}
    foreign |= {number: number + 50_000 for number in numbers[::9]}
    places = wrong = 0
    for asset in bundle.of_kind("dashboard"):
        position, metadata = dict(asset.data["position"]), dict(asset.data["metadata"])
        for meta in _places(position):
            places += 1
            wrong += foreign[meta["chartId"]] != meta["chartId"]
            meta["chartId"] = foreign[meta["chartId"]]
        moved = map_chart_references(metadata, lambda one: foreign.get(as_id(one) or 0))
        fields = {"position_json": json.dumps(position), "json_metadata": json.dumps(moved)}
        rest.call("PUT", f"/api/v1/dashboard/{ids[asset.uuid]}", fields)
    return places, wrong


def _unlink(environment: Environment, title: str) -> None:
    """An import by the assets endpoint without one of the charts: it stops linking at the first one that it misses."""
    with connect(environment) as client:
        (row,) = [row for row in client.list_dashboards() if row.title == title]
        bundle = client.export_dashboards([row.id])
        charts = sorted(asset.uuid for asset in bundle.of_kind("chart"))
        kept = [
            (asset.kind, asset.uuid, dict(asset.data))
            for asset in bundle.assets.values()
            if asset.uuid not in charts[:2]
        ]
        client.import_assets(Bundle.from_assets("assets", kept), sparse=False)


def _shown(environment: Environment, rest: Rest) -> dict[str, list[tuple[int, str]]]:
    """(id, uuid) of every place of every dashboard, as stored."""
    found = {}
    for asset in Asset.objects.filter(environment=environment, kind="dashboard"):
        raw = rest.call("GET", f"/api/v1/dashboard/{asset.superset_id}")["result"]
        metas = _places(json.loads(raw["position_json"] or "{}"))
        found[asset.title] = sorted((meta["chartId"], meta["uuid"]) for meta in metas)
        for item in json.loads(raw["json_metadata"] or "{}").get("native_filter_configuration", []):
            for target in item.get("targets", []):
                if target.get("column"):
                    found[asset.title].append((target.get("datasetId") or 0, "filter"))
    return found


def test_dashboards_that_other_tools_damaged_are_found_and_mended(
    product: Product, fresh_target: Lease
) -> None:
    prod = fresh_target(contents="examples")
    target, rest = product.register("prod", prod), Rest(prod)
    before, sound = product.read(target), _shown(target, rest)
    assert damage.counts_of(target)["broken"] == 0, list(
        target.assets.exclude(damage_codes="").values_list("title", "damage")
    )
    titles = set(sound) - {UNLINKED} if os.environ.get("SSTOOLS_TEST_REPAIR") == "full" else set(DAMAGED)
    places, wrong = _put_as_exported(product, target, rest, titles)
    assert places == wrong > 20
    _unlink(target, UNLINKED)

    product.refresh(target)
    rows = {row.title: row.damage_codes for row in target.assets.exclude(damage_codes="")}
    assert titles | {UNLINKED} <= rows.keys()
    assert all("wrong_chart" in rows[title] for title in titles)
    assert "unlinked_chart" in rows[UNLINKED]
    assert any("filter_without_dataset" in codes for codes in rows.values())

    chosen = list(target.assets.filter(title__in=titles | {UNLINKED}).values_list("uuid", flat=True))
    migration = repairs.create_repair(target, chosen, actor=product.admin)
    assert migration.job is not None
    product.do(migration.job)
    migration.refresh_from_db()
    assert migration.plan is not None
    asked = migration.plan.items.filter(conflict__code="two_truths")
    if answers := {item.uuid: "by_uuid" for item in asked}:
        product.answer(migration, answers)
    run = product.apply(migration)
    assert run.state == "applied"
    assert set(run.bystanders.values_list("status", flat=True)) <= {"ok", "not_checkable"}
    assert run.bystanders.filter(status="ok").count() > 15

    assert _shown(target, rest) == sound
    after = product.read(target)
    assert fingerprints(after) == fingerprints(before)
    with connect(target) as client:
        members = damage.members_of(client.list_charts(), after.ids)
    for uuid in chosen:
        document = after.documents[uuid]
        assert document.kind == Kind.DASHBOARD
        assert len(members[uuid]) >= len({meta["uuid"] for meta in _places(document.body["position"])})
    product.refresh(target)
    assert damage.counts_of(target)["broken"] == 0
