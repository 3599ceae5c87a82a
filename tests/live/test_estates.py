"""Estates with everything in them that went wrong somewhere, moved to other Supersets of 6.1.0 and 4.1.4."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from environments.canonical.comparison import comparison_fingerprint
from environments.canonical.documents import Document, Kind
from environments.connections import connect
from environments.lab.instance import RunningSuperset
from environments.lab.rest import Rest
from environments.models import Environment
from environments.store import EnvironmentReading
from migrations_app import services
from migrations_app.engine.diff import field_changes
from migrations_app.engine.mapping import AssetMapping, DatabaseTarget, in_target_terms
from tests.live.nasty import COUNT, build_nasty_estate
from tests.live.product import Product, actions, by_title, fingerprints, product

pytestmark = [pytest.mark.live]
__all__ = ["product"]

Lease = Callable[..., RunningSuperset]


def _members(rest: Rest, reading: EnvironmentReading, uuid: str) -> set[str]:
    """The charts that Superset itself says are on a dashboard."""
    number = reading.ids.id_of(Kind.DASHBOARD, uuid)
    found = rest.call("GET", f"/api/v1/dashboard/{number}/charts")["result"]
    return {str(reading.ids.uuid_of(Kind.CHART, entry["id"])) for entry in found}


def _surviving_ids(environment: Environment, numbers: set[int]) -> dict[str, list[str]]:
    """Where one of the numbers stands, as a number of its own, in anything the environment exports: kind and title."""
    found: dict[str, list[str]] = {}
    with connect(environment) as client:
        for asset in client.export_assets().assets.values():
            text = json.dumps(asset.data, ensure_ascii=False)
            there = {token for token in re.findall(r"(?<![\w.#-])\d+(?![\w.-]|%\d)|\d+(?=__table)", text)}
            if hits := sorted(there & {str(number) for number in numbers}):
                found[f"{asset.kind} {asset.title}"] = hits
    return found


def _mapping(reading: EnvironmentReading, connection: Document, catalog: str) -> AssetMapping:
    databases = [item for item in reading.documents.values() if item.kind == Kind.DATABASE]
    return AssetMapping({item.uuid: DatabaseTarget(connection.uuid, True, catalog) for item in databases})


@pytest.mark.parametrize(("left", "version"), [("6.1.0", "6.1.0"), ("6.1.0", "4.1.4"), ("4.1.4", "6.1.0")])
def test_a_nasty_estate_arrives_whole_and_goes_back(
    product: Product, fresh_target: Lease, lab: Any, left: str, version: str
) -> None:
    one = fresh_target(left, "empty", feature_flags={"ENABLE_TEMPLATE_PROCESSING": True})
    estate = build_nasty_estate(one, lab.postgres_warehouses()["dev"])
    other = fresh_target(version, "empty")
    there = Rest(other)
    _, connection = there.add_connection("Prod warehouse", lab.postgres_warehouses()["prod"])
    source, target = product.register("dev", one), product.register("prod", other)
    before = product.read(target)
    selection = product.uuids(source, "dashboard")
    assert len(selection) == 3

    migration = product.migrate(source, target, selection, verify=False)
    plan = migration.plan
    assert plan is not None
    assert plan.counts["blocked"] == 0, [
        (item.title, item.blocked_by) for item in plan.items.filter(action="blocked")
    ]
    told = {problem["code"] for problem in plan.problems}
    assert {"ghost_chart", "stale_reference", "unresolved_id"} <= told
    run = product.apply(migration)
    assert run.state == "applied", run.error

    both_have_themes = left == version == "6.1.0"
    told = {loss["code"] for loss in plan.losses}
    assert ("theme" in told) == (left == "6.1.0" and not both_have_themes)
    carried = sorted(item.kind for item in plan.companions.all())
    assert carried == ["annotation_use"] * 2 + ["theme", "theme_use"] * both_have_themes
    assert ("unknown_field" in told) == (version == "4.1.4")

    # Everything is as on the source, but for what was said to be lost and links to what is not there.
    here, after = product.read(source), product.read(target)
    mapping = _mapping(here, after.documents[connection], "prod")
    for item in plan.items.all():
        wanted = in_target_terms(here.documents[item.uuid], mapping)
        if wanted.kind == Kind.DASHBOARD and not both_have_themes:
            wanted = wanted.replace(theme_uuid=None)
        if version == "4.1.4" and wanted.kind == Kind.DATASET:
            wanted = wanted.replace(currency_code_column=None)
        there_now = after.documents[item.uuid]
        if item.title == "annotated":  # no import takes a layer that shows a chart: it came along beside
            (change,) = field_changes(wanted, there_now)
            assert change.path == ("params", "annotation_layers", "Requests")
            continue
        assert comparison_fingerprint(there_now) == comparison_fingerprint(wanted), item.title
    assert after.documents[connection].fingerprint == before.documents[connection].fingerprint
    numbers = {number for _, number, _ in here.ids} | estate.ids()
    assert numbers.isdisjoint(number for _, number, _ in after.ids)
    assert _surviving_ids(target, numbers) == {}

    # Two datasets on tables of one name in two schemas; each chart reads its own.
    names = {item.body["schema"] for item in after.documents.values() if item.title == "orders"}
    assert names == {"sales", "hr"}
    assert (
        after.documents[estate.datasets["jinja"][1]].body["sql"]
        == here.documents[estate.datasets["jinja"][1]].body["sql"]
    )
    with connect(target) as client:
        exported = client.export_assets().assets
    odd = after.ids.id_of(Kind.DATASET, estate.datasets["odd"][1])
    assert f"dataset({odd})" in exported[estate.datasets["jinja"][1]].data["sql"]
    multi = exported[estate.charts["layers"][1]].data["params"]["deck_slices"]
    wanted_layers = [after.ids.id_of(Kind.CHART, estate.charts[name][1]) for name in ("total", "by region")]
    assert multi == wanted_layers

    # Members are what people see: the ghost is gone, the member that no layout showed is shown.
    for name in ("main", "second", "copy"):
        uuid = estate.dashboards[name][1]
        shown = _members(Rest(one), here, uuid)
        assert _members(there, after, uuid) == shown, name
    assert estate.charts["unshown member"][1] in _members(there, after, estate.dashboards["main"][1])
    copied = _members(there, after, estate.dashboards["copy"][1])
    assert len(copied) >= 7
    assert copied.isdisjoint(_members(there, after, estate.dashboards["main"][1]))

    # Links of the text lead to the target's own assets, others are as they were.
    position = json.dumps(exported[estate.dashboards["main"][1]].data["position"])
    second = after.ids.id_of(Kind.DASHBOARD, estate.dashboards["second"][1])
    assert f"(/superset/dashboard/{second}/)" in position
    assert f"({other.url}/superset/dashboard/{second}/?standalone=1)" in position
    assert "(https://bi.example.com/superset/dashboard/12/)" in position
    assert "(/superset/dashboard/0/)" in position

    again = product.migrate(source, target, selection, verify=False)
    assert again.plan is not None
    assert actions(again.plan) == {}
    assert services.why_not_applicable(again).startswith("There is nothing to do")

    product.apply(product.roll_back(run))
    assert fingerprints(product.read(target)) == fingerprints(before)


def _without_chart(rest: Rest, number: int, chart: int) -> None:
    """Save a dashboard without one of its charts, as its page does."""
    result = rest.call("GET", f"/api/v1/dashboard/{number}")["result"]
    position = json.loads(result["position_json"])
    gone = {
        node_id
        for node_id, node in position.items()
        if isinstance(node, dict) and node.get("meta", {}).get("chartId") == chart
    }
    kept = {
        node_id: {**node, "children": [child for child in node["children"] if child not in gone]}
        if isinstance(node, dict) and "children" in node
        else node
        for node_id, node in position.items()
        if node_id not in gone
    }
    metadata = {**json.loads(result["json_metadata"] or "{}"), "positions": kept}
    rest.call("PUT", f"/api/v1/dashboard/{number}", {"json_metadata": json.dumps(metadata)})


@pytest.mark.parametrize("version", ["4.1.4", "6.1.0"])
def test_an_update_takes_a_chart_off_a_dashboard_and_goes_back(
    product: Product, fresh_target: Lease, version: str
) -> None:
    """On 4.1.4 by three imports beside a stub of the connection; its imports only ever add members."""
    one, other = fresh_target(contents="examples"), fresh_target(version)
    here, there = Rest(one), Rest(other)
    source, target = product.register("dev", one), product.register("prod", other)
    before = product.read(target)
    selection = [
        *product.uuids(source, "dashboard", title="USA Births Names"),
        *product.uuids(source, "dashboard", title="Video Game Sales"),
    ]
    migration = product.migrate(source, target, selection, verify=False)
    first = product.apply(migration)
    assert first.state == "applied", first.error
    arrived = product.read(target)
    again = product.migrate(source, target, selection, verify=False)
    assert again.plan is not None
    assert actions(again.plan) == {}
    ways = [step.intent["way"] for step in first.steps.filter(name="write")]
    assert ways == (
        ["datasets", "charts", "dashboards"]
        if version == "4.1.4"
        else ["sparse"] * first.steps.filter(name="write").count()
    )

    reading = product.read(source)
    births = by_title(reading, Kind.DASHBOARD, "USA Births Names")
    girls = by_title(reading, Kind.CHART, "Girls")
    dataset = by_title(reading, Kind.DATASET, "birth_names")
    number, chart = reading.ids.id_of(Kind.DASHBOARD, births.uuid), reading.ids.id_of(Kind.CHART, girls.uuid)
    assert number is not None
    assert chart is not None
    _without_chart(here, number, chart)
    here.call(
        "PUT", f"/api/v1/dataset/{reading.ids.id_of(Kind.DATASET, dataset.uuid)}", {"description": "Namen 👶"}
    )
    boys = reading.ids.id_of(Kind.CHART, by_title(reading, Kind.CHART, "Boys").uuid)
    here.call("PUT", f"/api/v1/chart/{boys}", {"slice_name": "Boys: 100% {x}", "cache_timeout": 60})
    members = _members(there, arrived, births.uuid)
    assert girls.uuid in members

    migration = product.migrate(source, target, selection, verify=False)
    assert migration.plan is not None
    assert actions(migration.plan) == {
        "USA Births Names": "update",
        "birth_names": "update",
        "Boys: 100% {x}": "update",
    }
    second = product.apply(migration)
    assert second.state == "applied", second.error
    assert _members(there, arrived, births.uuid) == members - {girls.uuid}
    again = product.migrate(source, target, selection, verify=False)
    assert again.plan is not None
    assert actions(again.plan) == {}

    product.apply(product.roll_back(second))
    assert fingerprints(product.read(target)) == fingerprints(arrived)
    assert _members(there, arrived, births.uuid) == members
    product.apply(product.roll_back(first))
    assert fingerprints(product.read(target)) == fingerprints(before)


@pytest.mark.parametrize("version", ["4.1.4", "6.1.0"])
def test_datasets_follow_their_mapping_to_another_connection(
    product: Product, dev: RunningSuperset, fresh_target: Lease, version: str
) -> None:
    """No import moves a dataset to another connection (500, unique uuid)."""
    other = fresh_target(version)
    there = Rest(other)
    source, target = product.register("dev", dev), product.register("prod", other)
    selection = product.uuids(source, "dashboard", title="Video Game Sales")
    first = product.apply(product.migrate(source, target, selection, verify=False))
    assert first.state == "applied", first.error
    arrived = product.read(target)
    games = by_title(arrived, Kind.DATASET, "video_game_sales")
    number = there.find("database", "database_name", "Warehouse PROD")
    uri = there.call("GET", f"/api/v1/database/{number}/connection")["result"]["sqlalchemy_uri"]
    _, second_connection = there.add_connection(
        "Warehouse TWO", f"{uri}{'&' if '?' in uri else '?'}timeout=7"
    )
    product.refresh(target)
    before = product.read(target)
    examples = by_title(product.read(source), Kind.DATABASE, "examples")
    services.save_mapping(source, target, actor=product.admin, databases={examples.uuid: second_connection})

    migration = product.migrate(source, target, selection, verify=False)
    assert migration.plan is not None
    assert migration.plan.errors == []
    assert actions(migration.plan) == {"video_game_sales": "update"}
    run = product.apply(migration)
    assert run.state == "applied", run.error
    after = product.read(target)
    assert after.documents[games.uuid].body["database_uuid"] == second_connection
    assert after.ids.id_of(Kind.DATASET, games.uuid) == arrived.ids.id_of(Kind.DATASET, games.uuid)
    with connect(target) as client:
        payload = {
            "datasource": {"id": after.ids.id_of(Kind.DATASET, games.uuid), "type": "table"},
            "queries": [{"metrics": [COUNT], "columns": []}],
        }
        assert client.chart_data(payload)[0].rows[0]["n"] > 10_000

    product.apply(product.roll_back(run))
    assert fingerprints(product.read(target)) == fingerprints(before)
