"""The lab itself, on real Supersets."""

from __future__ import annotations

import json
import sqlite3
import time
import urllib.parse
from collections.abc import Callable
from contextlib import closing

import pytest

from environments.lab.client import LabClient
from environments.lab.errors import LabError
from environments.lab.estate import PostgresEstate
from environments.lab.instance import RunningSuperset
from environments.lab.rest import Rest

pytestmark = pytest.mark.live

Lease = Callable[..., RunningSuperset]


def count(rest: Rest, resource: str) -> int:
    return int(rest.call("GET", f"/api/v1/{resource}/")["count"])


def chart_rows(rest: Rest, uuid: str) -> int:
    """Rows behind a chart's dataset, counted through the instance."""
    query = urllib.parse.quote(f"(filters:!((col:uuid,opr:eq,value:'{uuid}')),columns:!(id,datasource_id))")
    chart = rest.call("GET", f"/api/v1/chart/?q={query}")["result"][0]
    payload = {
        "datasource": {"id": chart["datasource_id"], "type": "table"},
        "queries": [{"metrics": [{"expressionType": "SQL", "sqlExpression": "COUNT(*)", "label": "n"}]}],
    }
    return int(rest.call("POST", "/api/v1/chart/data", payload)["result"][0]["data"][0]["n"])


def test_dev_has_the_examples_with_their_data(dev: RunningSuperset) -> None:
    rest = Rest(dev)
    assert {name: count(rest, name) for name in ("dashboard", "chart", "dataset", "database")} == {
        "dashboard": 9,
        "chart": 103,
        "dataset": 21,
        "database": 1,
    }
    table = rest.find("dataset", "table_name", "birth_names")
    payload = {
        "datasource": {"id": table, "type": "table"},
        "queries": [{"metrics": [{"expressionType": "SQL", "sqlExpression": "COUNT(*)", "label": "n"}]}],
    }
    answer = rest.call("POST", "/api/v1/chart/data", payload)["result"][0]
    assert answer["data"] == [{"n": 75691}]


def test_a_target_has_one_connection_and_ids_of_its_own(fresh_target: Lease, dev: RunningSuperset) -> None:
    target = fresh_target()
    rest = Rest(target)
    databases = rest.call("GET", "/api/v1/database/")["result"]
    assert [(database["database_name"], database["uuid"]) for database in databases] == [
        ("Warehouse PROD", "11111111-aaaa-4bbb-8ccc-000000000001")
    ]
    assert count(rest, "dashboard") == count(rest, "chart") == count(rest, "dataset") == 0
    dataset, _ = rest.add_dataset(databases[0]["id"], "birth_names", "main")
    assert dataset > 100_000
    other = fresh_target()
    other_rest = Rest(other)
    other_database = other_rest.find("database", "database_name", "Warehouse PROD")
    assert other_database
    other_dataset, _ = other_rest.add_dataset(other_database, "birth_names", "main")
    assert abs(other_dataset - dataset) >= 10_000


def test_a_warehouse_of_ones_own_may_be_changed(fresh_target: Lease, dev: RunningSuperset) -> None:
    changed, other = fresh_target(own_warehouse=True), fresh_target()
    assert len({changed.warehouse, other.warehouse, dev.warehouse}) == 3
    with closing(sqlite3.connect(changed.warehouse)) as warehouse:
        warehouse.execute("alter table birth_names rename column gender to sex")
    for target, columns in ((changed, {"sex"}), (other, {"gender"})):
        rest = Rest(target)
        database = rest.find("database", "database_name", "Warehouse PROD")
        assert database
        dataset, _ = rest.add_dataset(database, "birth_names", "main")
        found = rest.call("GET", f"/api/v1/dataset/{dataset}")["result"]["columns"]
        assert {column["column_name"] for column in found} & {"sex", "gender"} == columns


def test_a_reset_instance_forgets_everything_without_a_restart(lab: LabClient, fresh_target: Lease) -> None:
    target = fresh_target()
    Rest(target).add_user("gina", "secret-gina", "Gamma")
    assert count(Rest(target, "gina", "secret-gina"), "dashboard") == 0
    began = time.monotonic()
    again = lab.reset(target)
    assert time.monotonic() - began < 10
    assert again.pid == target.pid
    with pytest.raises(LabError, match="401"):
        Rest(again, "gina", "secret-gina")
    assert count(Rest(again), "database") == 1


def test_flags_settings_and_password_are_the_ones_asked_for(fresh_target: Lease) -> None:
    target = fresh_target(
        contents="empty",
        username="ada",
        password="pass'word",
        feature_flags={"TAGGING_SYSTEM": True},
        settings={"JWT_ACCESS_TOKEN_EXPIRES": 2},
    )
    rest = Rest(target)
    assert rest.call("GET", "/api/v1/tag/")["count"] == 0  # 404 when the flag is off
    time.sleep(3)
    with pytest.raises(LabError, match="401"):
        rest.call("GET", "/api/v1/dashboard/")


def test_a_role_may_do_what_it_was_given(fresh_target: Lease) -> None:
    target = fresh_target()
    admin = Rest(target)
    admin.add_role("Reader", [("can_read", "Dashboard"), ("can_read", "SecurityRestApi")])
    admin.add_user("rita", "secret-rita", "Reader")
    reader = Rest(target, "rita", "secret-rita")
    assert reader.call("GET", "/api/v1/dashboard/")["count"] == 0
    with pytest.raises(LabError, match="403"):
        reader.call("GET", "/api/v1/chart/")


def test_old_target_is_4_1_4(old_target: RunningSuperset) -> None:
    rest = Rest(old_target)
    assert rest.call("GET", "/static/version_info.json")["version"] == "4.1.4"
    assert count(rest, "database") == 1


def test_postgres_warehouses_of_ones_own(lab: LabClient) -> None:
    shared, own = lab.postgres_warehouses(), lab.postgres_warehouses("_own")
    assert set(shared) == {"dev", "prod"}
    assert set(own) == {"dev_own", "prod_own"}
    with pytest.raises(LabError, match="letters, digits"):
        lab.postgres_warehouses('"; drop')


def test_postgres_warehouses_differ_and_datasets_name_their_catalog(postgres_estate: PostgresEstate) -> None:
    estate = postgres_estate
    source = Rest(estate.source)
    assert chart_rows(source, estate.chart_uuids["Orders"]) == 500
    dataset = source.find("dataset", "uuid", estate.dataset_uuids["sales.orders"])
    stored = source.call("GET", f"/api/v1/dataset/{dataset}")["result"]
    assert (stored["catalog"], stored["schema"]) == ("dev", "sales")
    dashboards = source.call("GET", "/api/v1/dashboard/orders")["result"]
    assert len(dashboards["charts"]) == 4
    assert set(json.loads(dashboards["position_json"])) >= {"GRID_ID", "ROW-lab"}
    # Prod's connection reads prod's rows.
    target = Rest(estate.target)
    orders, _ = target.add_dataset(estate.target_connection_id, "orders", "sales")
    payload = {
        "datasource": {"id": orders, "type": "table"},
        "queries": [{"metrics": [{"expressionType": "SQL", "sqlExpression": "COUNT(*)", "label": "n"}]}],
    }
    assert target.call("POST", "/api/v1/chart/data", payload)["result"][0]["data"] == [{"n": 10}]
