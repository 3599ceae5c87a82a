"""Moving real assets between real Supersets 6.1.0: what the product promises, seen on the target afterwards."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from environments.canonical.comparison import comparison_fingerprint
from environments.canonical.documents import Kind
from environments.connections import connect
from environments.lab.instance import RunningSuperset
from environments.lab.rest import Rest
from environments.models import Environment
from migrations_app import services
from migrations_app.engine.mapping import AssetMapping, DatabaseTarget, in_target_terms
from migrations_app.errors import NotReady
from tests.live.product import Product, actions, by_title, fingerprints, product

pytestmark = [pytest.mark.live]
__all__ = ["product"]

Lease = Callable[..., RunningSuperset]
Pair = tuple[Environment, Environment, Rest, Rest]


def test_all_example_assets_are_on_the_target_and_equal(
    product: Product, dev: RunningSuperset, fresh_target: Lease
) -> None:
    source, target = product.register("dev", dev), product.register("prod", fresh_target())
    before = product.read(target)
    everything = product.uuids(source, "dashboard", "chart", "dataset")
    migration = product.migrate(source, target, everything)
    assert migration.plan is not None
    assert migration.plan.counts["create"] == 133

    run = product.apply(migration)

    assert run.state == "applied", run.error
    there, here = product.read(target), product.read(source)
    connection = next(item for item in before.documents.values() if item.kind == Kind.DATABASE)
    example = next(item for item in here.documents.values() if item.kind == Kind.DATABASE)
    mapping = AssetMapping({example.uuid: DatabaseTarget(connection.uuid)})
    for uuid, document in here.documents.items():
        if document.kind != Kind.DATABASE:
            wanted = in_target_terms(document, mapping)
            assert comparison_fingerprint(there.documents[uuid]) == comparison_fingerprint(wanted), (
                document.title
            )
    assert there.documents[connection.uuid].fingerprint == connection.fingerprint
    assert run.requests["read"] + run.requests["write"] + migration.plan.request_count <= 45, run.requests
    # Exports before and after, the ids of new charts, two imports; what a plan exports comes on top (make bench).
    assert run.requests["read"] + run.requests["write"] <= 7, run.requests

    # Every chart that answers on the source answers with the same data on the target.
    verdicts = {verdict.title: verdict for verdict in run.verdicts.all()}
    assert len(verdicts) == 103
    wrong = {
        title: verdict.reason
        for title, verdict in verdicts.items()
        if verdict.status in ("differs", "failed")
    }
    assert wrong == {}
    checkable = [verdict for verdict in verdicts.values() if verdict.status == "ok"]
    assert len(checkable) >= 90, {
        v.title: (v.viz_type, v.reason) for v in verdicts.values() if v.status != "ok"
    }

    # No id of the source survives: ids of the two do not overlap.
    source_ids = {number for _, number, _ in here.ids}
    assert source_ids.isdisjoint(number for _, number, _ in there.ids)
    assert not source_ids & _reference_ids(target)

    # A second run has nothing to do, and says so without a single write.
    again = product.migrate(source, target, everything)
    assert again.plan is not None
    assert again.plan.counts["unchanged"] == 133
    assert services.why_not_applicable(again).startswith("There is nothing to do")
    with pytest.raises(NotReady):
        product.apply(again)

    # And back: created assets are gone, everything else is as before the run.
    rollback = product.roll_back(run)
    product.apply(rollback)
    assert fingerprints(product.read(target)) == fingerprints(before)
    run.refresh_from_db()
    assert run.state == "rolled_back"


def _reference_ids(environment: Environment) -> set[int]:
    """Every integer that stands in the place of a reference in the target's own rows."""
    found: set[int] = set()
    keys = {
        "chartId",
        "chartsInScope",
        "excluded",
        "datasetId",
        "immune",
        "slice_id",
        "datasource",
        "deck_slices",
        "id",
    }

    def walk(value: Any, key: str = "") -> None:
        if isinstance(value, dict):
            for name, item in value.items():
                if key in ("chart_configuration", "expanded_slices") and name.isdigit():
                    found.add(int(name))
                walk(item, name)
        elif isinstance(value, list):
            for item in value:
                walk(item, key)
        elif key in keys or key == "timed_refresh_immune_slices":
            if isinstance(value, int) and not isinstance(value, bool):
                found.add(value)
            elif isinstance(value, str) and value.partition("__")[0].isdigit():
                found.add(int(value.partition("__")[0]))

    with connect(environment) as client:
        for asset in client.export_assets().assets.values():
            walk(asset.data)
    return found


@pytest.fixture
def pair(product: Product, fresh_target: Lease) -> Pair:
    """A source of its own with the examples, a target that holds one migrated dashboard (Video Game
    Sales), and REST to both.
    """
    one, other = fresh_target(contents="examples"), fresh_target()
    source, target = product.register("dev", one), product.register("prod", other)
    return source, target, Rest(one), Rest(other)


def _video_games(product: Product, source: Environment) -> list[str]:
    return product.uuids(source, "dashboard", title="Video Game Sales")


def test_one_changed_chart_is_one_update_and_an_edit_on_the_target_is_a_conflict(
    product: Product, pair: Pair
) -> None:
    source, target, here, there = pair
    run = product.apply(product.migrate(source, target, _video_games(product, source), verify=False))
    assert run.state == "applied"
    reading = product.read(source)
    games = by_title(reading, Kind.CHART, "Games")
    chart_here = reading.ids.id_of(Kind.CHART, games.uuid)
    after = product.read(target)
    chart_there = after.ids.id_of(Kind.CHART, games.uuid)

    # One chart changes on the source: exactly that chart is an update, and only it is written.
    here.call("PUT", f"/api/v1/chart/{chart_here}", {"slice_name": "Games (all)", "description": "every one"})
    migration = product.migrate(source, target, _video_games(product, source), verify=False)
    assert migration.plan is not None
    assert actions(migration.plan) == {"Games (all)": "update"}
    item = migration.plan.items.get(uuid=games.uuid)
    assert [change["path"] for change in item.changes] == [["description"], ["slice_name"]]
    run = product.apply(migration)
    assert run.written == [games.uuid]
    assert run.requests["write"] == 1

    # Somebody edits it on the target.
    there.call("PUT", f"/api/v1/chart/{chart_there}", {"description": "edited on prod"})
    for answer, expected in (("keep", "keep"), ("leave_out", "leave_out"), ("take", "update")):
        migration = product.migrate(source, target, _video_games(product, source), verify=False)
        assert migration.plan is not None
        item = migration.plan.items.get(uuid=games.uuid)
        if answer == "leave_out" or item.action == "blocked":
            assert item.action == "blocked"
            assert item.conflict["code"] == "drifted"
            assert item.conflict["who"]
            assert item.conflict["when"]
            assert services.why_not_applicable(migration)
        plan = product.answer(migration, {games.uuid: answer})
        assert plan.items.get(uuid=games.uuid).action == expected
        if answer == "take":
            product.apply(migration)
            assert (
                by_title(product.read(target), Kind.CHART, "Games (all)").body["description"] == "every one"
            )
        else:
            assert (
                by_title(product.read(target), Kind.CHART, "Games (all)").body["description"]
                == "edited on prod"
            )


def test_a_plan_that_went_stale_writes_nothing(product: Product, pair: Pair) -> None:
    source, target, here, _ = pair
    migration = product.migrate(source, target, _video_games(product, source), verify=False)
    reading = product.read(source)
    dataset = by_title(reading, Kind.DATASET, "video_game_sales")
    number = reading.ids.id_of(Kind.DATASET, dataset.uuid)
    before = fingerprints(product.read(target))
    metrics = here.call("GET", f"/api/v1/dataset/{number}")["result"]["metrics"]
    keep = [{"id": m["id"], "metric_name": m["metric_name"], "expression": m["expression"]} for m in metrics]
    keep.append({"metric_name": "games", "expression": "COUNT(DISTINCT name)"})
    here.call("PUT", f"/api/v1/dataset/{number}", {"metrics": keep})

    run = product.apply(migration, "failed")

    assert run.error["code"] == "stale_plan"
    assert run.state == "stopped"
    assert run.requests.get("write", 0) == 0
    assert fingerprints(product.read(target)) == before
    migration.refresh_from_db()
    assert migration.state == "planned"
    assert "stale" in services.why_not_applicable(migration)


def test_leaving_one_chart_out_keeps_the_other_links(product: Product, pair: Pair) -> None:
    source, target, here, there = pair
    reading = product.read(source)
    left_out = by_title(reading, Kind.CHART, "Games")
    migration = product.migrate(
        source, target, _video_games(product, source), left_out=[left_out.uuid], verify=False
    )
    assert migration.plan is not None
    assert migration.plan.items.get(uuid=left_out.uuid).action == "leave_out"
    assert [problem["code"] for problem in migration.plan.problems] == ["charts_left_out"]
    product.apply(migration)
    after = product.read(target)
    dashboard = by_title(after, Kind.DASHBOARD, "Video Game Sales")
    number = after.ids.id_of(Kind.DASHBOARD, dashboard.uuid)
    members = there.call("GET", f"/api/v1/dashboard/{number}/charts")["result"]
    shown = [
        node
        for node in dashboard.body["position"].values()
        if isinstance(node, dict) and node.get("type") == "CHART"
    ]
    assert len(members) == len(shown) >= 5
    assert left_out.uuid not in after.documents

    # Once it is on the target it stays linked although it is left out of a later migration.
    product.apply(product.migrate(source, target, _video_games(product, source), verify=False))
    number_here = reading.ids.id_of(Kind.DASHBOARD, dashboard.uuid)
    here.call("PUT", f"/api/v1/dashboard/{number_here}", {"css": ".header {color: teal}"})
    product.apply(
        product.migrate(source, target, _video_games(product, source), left_out=[left_out.uuid], verify=False)
    )
    members = there.call("GET", f"/api/v1/dashboard/{number}/charts")["result"]
    assert len(members) == len(shown) + 1


def test_connections_with_the_name_or_uuid_of_the_source_are_not_touched(
    product: Product, dev: RunningSuperset, fresh_target: Lease
) -> None:
    other = fresh_target()
    rest = Rest(other)
    source, target = product.register("dev", dev), product.register("prod", other)
    reading = product.read(source)
    examples = next(item for item in reading.documents.values() if item.kind == Kind.DATABASE)
    warehouse = next(item for item in product.read(target).documents.values() if item.kind == Kind.DATABASE)
    number = rest.find("database", "database_name", warehouse.title)
    uri = rest.call("GET", f"/api/v1/database/{number}/connection")["result"]["sqlalchemy_uri"]
    # The same name under another uuid, and the same uuid under another name and URI.
    rest.add_connection("examples", uri + "&name=same")
    rest.add_connection("Somebody else's", uri + "&uuid=same", uuid=examples.uuid)
    product.refresh(target)
    before = {
        uuid: item for uuid, item in product.read(target).documents.items() if item.kind == Kind.DATABASE
    }
    assert len(before) == 3
    migration = services.create_migration(
        source, target, selection=_video_games(product, source), actor=product.admin
    )
    services.save_mapping(source, target, actor=product.admin, databases={examples.uuid: warehouse.uuid})
    product.plan(migration)
    run = product.apply(migration)
    assert run.state == "applied"
    after = product.read(target)
    assert {uuid: item.fingerprint for uuid, item in before.items()} == {
        uuid: item.fingerprint for uuid, item in after.documents.items() if item.kind == Kind.DATABASE
    }
    dataset = by_title(after, Kind.DATASET, "video_game_sales")
    assert dataset.body["database_uuid"] == warehouse.uuid
    assert set(run.verdict_counts) <= {"ok", "not_checkable"}


def _add_dashboard_with_slug(rest: Rest, title: str, slug: str) -> None:
    rest.call("POST", "/api/v1/dashboard/", {"dashboard_title": title, "slug": slug})


@pytest.mark.parametrize("answer", ["adopt", "rename", "leave_out"])
def test_an_unrelated_dashboard_that_owns_the_slug(
    product: Product, dev: RunningSuperset, fresh_target: Lease, answer: str
) -> None:
    other = fresh_target()
    _add_dashboard_with_slug(Rest(other), "Somebody's births", "births")
    source, target = product.register("dev", dev), product.register("prod", other)
    before = by_title(product.read(target), Kind.DASHBOARD, "Somebody's births")
    births = product.uuids(source, "dashboard", title="USA Births Names")
    migration = product.migrate(source, target, births, verify=False)
    assert migration.plan is not None
    item = migration.plan.items.get(uuid=births[0])
    assert item.action == "blocked"
    assert item.conflict["code"] == "slug_taken"
    assert set(item.conflict["options"]) == {"adopt", "rename", "leave_out"}
    product.answer(
        migration, {births[0]: {"answer": answer, "value": "births-ours" if answer == "rename" else ""}}
    )
    run = product.apply(migration)
    assert run.state == "applied"
    after = product.read(target)
    if answer == "adopt":
        adopted = after.documents[before.uuid]
        assert adopted.title == "USA Births Names"
        assert adopted.body["slug"] == "births"
        assert births[0] not in after.documents
    else:
        assert after.documents[before.uuid].fingerprint == before.fingerprint
        assert (births[0] in after.documents) == (answer == "rename")
    if answer == "rename":
        assert after.documents[births[0]].body["slug"] == "births-ours"
    # The answer is remembered: the next plan asks nothing.
    again = product.migrate(source, target, births, verify=False)
    assert again.plan is not None
    if answer != "leave_out":
        assert again.plan.counts["blocked"] == 0
        assert again.plan.write_count == 0


@pytest.mark.parametrize("answer", ["adopt", "keep", "rename", "leave_out"])
def test_an_unrelated_dataset_on_the_same_table(
    product: Product, dev: RunningSuperset, fresh_target: Lease, answer: str
) -> None:
    other = fresh_target()
    rest = Rest(other)
    warehouse = rest.find("database", "database_name", "Warehouse PROD")
    assert warehouse is not None
    number, theirs = rest.add_dataset(warehouse, "birth_names", "main")
    source, target = product.register("dev", dev), product.register("prod", other)
    before = product.read(target).documents[theirs]
    chart = product.uuids(source, "chart", title="Girls")
    migration = product.migrate(source, target, chart, verify=False)
    assert migration.plan is not None
    item = migration.plan.items.get(title="birth_names")
    assert item.conflict["code"] == "table_taken"
    plan = product.answer(migration, {item.uuid: answer})
    if answer == "leave_out":
        assert actions(plan)["Girls"] == "blocked"
        product.answer(migration, {chart[0]: "leave_out"})
        assert "nothing to do" in services.why_not_applicable(migration)
        return
    run = product.apply(migration)
    assert run.state == "applied", run.error
    after = product.read(target)
    girls = after.documents[chart[0]]
    if answer == "adopt":
        assert girls.body["dataset_uuid"] == theirs
        assert len(after.documents[theirs].body["metrics"]) == len(
            product.read(source).documents[item.uuid].body["metrics"]
        )
        assert item.uuid not in after.documents
    elif answer == "keep":
        assert girls.body["dataset_uuid"] == theirs
        assert after.documents[theirs].fingerprint == before.fingerprint
    else:
        assert girls.body["dataset_uuid"] == item.uuid
        assert after.documents[theirs].fingerprint == before.fingerprint
        assert after.documents[item.uuid].body["sql"] == "SELECT * FROM main.birth_names"
    data = rest.call("GET", f"/api/v1/dataset/{number}")["result"]
    assert data["table_name"] == "birth_names"


def test_datasets_of_another_catalog_read_the_targets_own_rows(
    product: Product, postgres_estate: Any
) -> None:
    source, target = (
        product.register("dev", postgres_estate.source),
        product.register("prod", postgres_estate.target),
    )
    migration = product.migrate(source, target, [postgres_estate.dashboard_uuid])
    run = product.apply(migration)
    assert run.state == "applied", run.error
    after = product.read(target)
    catalogs = {item.body["catalog"] for item in after.documents.values() if item.kind == Kind.DATASET}
    assert catalogs == {"prod"}
    orders = run.verdicts.get(title="Orders")
    assert orders.status == "differs"  # 500 rows on dev, 10 on prod: prod's own rows
    with connect(target) as client:
        number = after.ids.id_of(Kind.DATASET, postgres_estate.dataset_uuids["sales.orders"])
        count = {"expressionType": "SQL", "sqlExpression": "COUNT(*)", "label": "n"}
        payload = {
            "datasource": {"id": number, "type": "table"},
            "queries": [{"metrics": [count], "columns": []}],
        }
        assert client.chart_data(payload)[0].rows == [{"n": 10}]


def _warehouse_file(rest: Rest) -> str:
    number = rest.call("GET", "/api/v1/database/")["result"][0]["id"]
    uri = rest.call("GET", f"/api/v1/database/{number}/connection")["result"]["sqlalchemy_uri"]
    return str(uri).removeprefix("sqlite:///").partition("?")[0]


def test_a_missing_column_is_found_before_and_else_the_run_rolls_itself_back(
    product: Product, pair: Pair
) -> None:
    """The source's table has a column that the target's has not."""
    source, target, here, there = pair
    for rest, columns in ((here, "id integer, net_amount real"), (there, "id integer")):
        with closing(sqlite3.connect(_warehouse_file(rest), timeout=30)) as warehouse, warehouse:
            warehouse.execute("drop table if exists net_orders")
            warehouse.execute(f"create table net_orders ({columns})")
            warehouse.execute("insert into net_orders (id) values (1)")
    connection = here.call("GET", "/api/v1/database/")["result"][0]["id"]
    dataset, _ = here.add_dataset(connection, "net_orders", "main")
    net = {"query_mode": "raw", "all_columns": ["id", "net_amount"], "row_limit": 10}
    _, chart = here.add_chart("Net amounts", dataset, "table", net)
    product.refresh(source)
    before = fingerprints(product.read(target))
    migration = product.migrate(source, target, [chart], roll_back_when_red=True)
    assert migration.plan is not None
    assert [problem["code"] for problem in migration.plan.errors] == ["column_missing"]
    assert "net_amount" in migration.plan.errors[0]["text"]
    assert services.why_not_applicable(migration) == "1 checks failed."
    services.update_migration(migration, actor=product.admin, override_reason="we want to see it fail")

    run = product.apply(migration, "failed")

    assert run.state == "rolled_back"
    verdict = run.verdicts.get(title="Net amounts")
    assert verdict.status == "failed"
    assert "net_amount" in verdict.reason
    assert run.error["code"] == "verification_red"
    assert fingerprints(product.read(target)) == before
