"""What the client and a Superset do together: run on the fake and on real ones, so that the fake cannot drift.

`check_contract(client, …)` needs an instance with exactly one connection, over a database with table `TABLE`, and no
assets. It creates some, changes them, and removes them again.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from environments.superset.auth import Auth, PasswordAuth, SessionAuth, TokenAuth
from environments.superset.bundle import Bundle, RawAsset, stub_database
from environments.superset.client import SupersetClient
from environments.superset.errors import SupersetRefused
from environments.superset.listing import read_by_id_windows

TABLE = "bart_lines"  # in Superset's example data

DATASET = "aaaaaaaa-0000-4000-8000-00000000000a"
CHARTS = ("cccccccc-0000-4000-8000-00000000000a", "cccccccc-0000-4000-8000-00000000000b")
DASHBOARD = "dddddddd-0000-4000-8000-00000000000a"

NewClient = Callable[[Auth], SupersetClient]


def assets_for(database: str, schema: str | None) -> dict[str, list[RawAsset]]:
    """A dataset, two charts on it, a dashboard with both and a native filter; awkward texts included."""
    dataset = {
        "table_name": TABLE, "schema": schema, "sql": None, "uuid": DATASET, "version": "1.0.0",
        "database_uuid": database,
        "columns": [{"column_name": "name", "type": "TEXT", "is_dttm": False, "groupby": True, "filterable": True}],
        "metrics": [{"metric_name": "count", "expression": "COUNT(*)", "description": "no"}],
    }  # fmt: skip
    charts = [
        {
            "slice_name": f"Contract {number}: ünïcode “no” 12:30:45", "viz_type": "table", "uuid": uuid,
            "params": {"viz_type": "table", "groupby": ["name"], "since": "2024-01-01", "0": "017"},
            "query_context": None, "cache_timeout": None, "dataset_uuid": DATASET, "version": "1.0.0",
            "description": "line one\n  line two\n",
        }
        for number, uuid in enumerate(CHARTS)
    ]  # fmt: skip
    nodes = {
        f"CHART-{number}": {
            "id": f"CHART-{number}", "type": "CHART", "children": [], "parents": ["ROOT_ID", "GRID_ID", "ROW-1"],
            "meta": {"chartId": 900_000 + number, "uuid": uuid, "width": 4, "height": 50, "sliceName": "x"},
        }
        for number, uuid in enumerate(CHARTS)
    }  # fmt: skip
    position: dict[str, Any] = {
        "DASHBOARD_VERSION_KEY": "v2",
        "ROOT_ID": {"id": "ROOT_ID", "type": "ROOT", "children": ["GRID_ID"]},
        "GRID_ID": {"id": "GRID_ID", "type": "GRID", "children": ["ROW-1"], "parents": ["ROOT_ID"]},
        "ROW-1": {
            "id": "ROW-1",
            "type": "ROW",
            "children": list(nodes),
            "meta": {},
            "parents": ["ROOT_ID", "GRID_ID"],
        },
        **nodes,
    }
    native_filter = {
        "id": "NATIVE_FILTER-1", "name": "Name", "filterType": "filter_select", "type": "NATIVE_FILTER",
        "targets": [{"datasetUuid": DATASET, "column": {"name": "name"}}],
        "scope": {"rootPath": ["ROOT_ID"], "excluded": []}, "controlValues": {}, "cascadeParentIds": [],
    }  # fmt: skip
    dashboard = {
        "dashboard_title": "Contract", "slug": "contract", "uuid": DASHBOARD, "version": "1.0.0", "css": "",
        "description": None, "published": True, "position": position,
        "metadata": {"native_filter_configuration": [native_filter], "label_colors": {"2004": "#fff"}},
    }  # fmt: skip
    return {
        "dataset": [RawAsset("dataset", DATASET, "", dataset)],
        "chart": [RawAsset("chart", chart["uuid"], "", chart) for chart in charts],  # type: ignore[arg-type]
        "dashboard": [RawAsset("dashboard", DASHBOARD, "", dashboard)],
    }


def check_contract(client: SupersetClient, new_client: NewClient, *, schema: str | None = "main") -> None:
    capabilities = client.detect()
    report = client.check()
    assert report.ok, report
    assert report.is_admin is True
    assert report.can_be_target
    assert report.version == capabilities.version
    (database,) = client.list_databases()
    connection = client.database_connection(database.id)
    _connection_calls(client, database.id, schema)

    assets = assets_for(database.uuid, schema)
    stub = stub_database(database.uuid, "a name that must not arrive")
    datasets, charts, dashboards = assets["dataset"], assets["chart"], assets["dashboard"]
    try:
        client.import_datasets(Bundle.from_assets("dataset", [*datasets, stub]), True)
        client.import_charts(Bundle.from_assets("chart", [*charts, *datasets, stub]), True)
        client.import_dashboards(
            Bundle.from_assets("dashboard", [*dashboards, *charts, *datasets, stub]), True
        )
        assert _without_times(client.database_connection(database.id)) == _without_times(connection)
        _lists(client, database.id, schema)
        _exports(client)
        _refused_imports(client, assets, stub)
        _edits(client)
        _sparse(client, assets)
        _lost_csrf(client)
        _chart_data(client)
        _other_ways_to_sign_in(new_client)
        assert _without_times(client.database_connection(database.id)) == _without_times(connection)
    finally:
        for row in client.list_dashboards():
            client.delete("dashboard", row.id)
        # One id that is gone makes Superset refuse all of them; the client then goes one by one.
        client.delete_many("chart", [999_999, *(chart.id for chart in client.list_charts())])
        client.delete_many("dataset", [dataset.id for dataset in client.list_datasets()])
    assert [client.count(kind) for kind in ("dashboard", "chart", "dataset", "database")] == [0, 0, 0, 1]


def _without_times(connection: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in connection.items() if "changed" not in key}


def _connection_calls(client: SupersetClient, id: int, schema: str | None) -> None:
    assert schema in client.list_schemas(id, force=True)
    assert client.list_catalogs(id) == []
    assert TABLE in [table.name for table in client.list_tables(id, schema)]
    columns = client.table_columns(id, TABLE, schema, None)
    assert columns is not None
    assert "name" in [column.name for column in columns]
    assert client.table_columns(id, "no_such_table", schema, None) is None


def _lists(client: SupersetClient, database_id: int, schema: str | None) -> None:
    (dashboard,), (dataset,), charts = client.list_dashboards(), client.list_datasets(), client.list_charts()
    assert (dashboard.uuid, dashboard.title, dashboard.slug) == (DASHBOARD, "Contract", "contract")
    assert dashboard.published
    assert dashboard.url.endswith("/superset/dashboard/contract/")
    assert (dataset.uuid, dataset.name, dataset.schema) == (DATASET, TABLE, schema)
    assert (dataset.database_id, dataset.is_virtual, dataset.sql) == (database_id, False, None)
    assert {chart.uuid for chart in charts} == set(CHARTS)
    for chart in charts:
        assert chart.dataset_id == dataset.id
        assert chart.dashboard_ids == (dashboard.id,)
        assert chart.viz_type == "table"
        assert "ünïcode “no” 12:30:45" in chart.name
    for changed_on in (dashboard.changed_on, dataset.changed_on, *(chart.changed_on for chart in charts)):
        assert changed_on is not None
        assert changed_on.tzinfo is UTC
    found, datasets = client.ids_of("chart", CHARTS)
    assert found == {chart.uuid: chart.id for chart in charts}
    assert set(datasets.values()) == {dataset.id}
    assert client.ids_of("dataset", [DATASET, DASHBOARD]) == ({DATASET: dataset.id}, {})
    assert client.ids_of("dashboard", [DASHBOARD]) == ({DASHBOARD: dashboard.id}, {})
    swept = read_by_id_windows(lambda query: client._page("chart", query), ["id"])
    assert [row["id"] for row in swept] == [chart.id for chart in charts]


def _exports(client: SupersetClient) -> None:
    (dashboard,), (dataset,), charts = client.list_dashboards(), client.list_datasets(), client.list_charts()
    bundle = client.export_dashboards([dashboard.id])
    assert bundle.counts() == {"dashboard": 1, "chart": 2, "dataset": 1, "database": 1}
    assert bundle.unresolved() == {}
    assert bundle.metadata["type"] == "Dashboard"
    assert bundle.exported_at is not None
    assert abs(datetime.now(UTC) - bundle.exported_at) < timedelta(minutes=2)
    ids = {chart.uuid: chart.id for chart in charts}
    exported = bundle.assets[DASHBOARD]
    nodes = [
        node
        for node in exported.data["position"].values()
        if isinstance(node, dict) and node["type"] == "CHART"
    ]
    assert {node["meta"]["uuid"]: node["meta"]["chartId"] for node in nodes} == ids
    (native_filter,) = exported.data["metadata"]["native_filter_configuration"]
    assert native_filter["targets"] == [{"datasetUuid": DATASET, "column": {"name": "name"}}]
    assert exported.data["metadata"]["label_colors"] == {"2004": "#fff"}
    chart = bundle.assets[CHARTS[0]]
    assert chart.source_id == ids[CHARTS[0]]
    assert exported.source_id == dashboard.id
    assert chart.data["slice_name"].startswith("Contract 0: ünïcode")
    assert chart.data["description"] == "line one\n  line two\n"
    assert chart.data["params"]["datasource"] == f"{dataset.id}__table"
    assert (chart.data["params"]["since"], chart.data["params"]["0"]) == ("2024-01-01", "017")
    has_ids = client.capabilities.dataset_ids_in_export
    assert bundle.assets[DATASET].source_id == (dataset.id if has_ids else None)
    assert client.export_charts(ids.values()).counts() == {"chart": 2, "dataset": 1, "database": 1}
    assert client.export_datasets([dataset.id]).metadata["type"] == "SqlaTable"
    assert client.export_databases([dataset.database_id]).counts()["database"] == 1
    assert client.export_assets().counts() == {"dashboard": 1, "chart": 2, "dataset": 1, "database": 1}
    some = client.export_charts([*ids.values(), 999_999])
    assert (some.vanished, some.counts()["chart"]) == ((999_999,), 2)


def _refused_imports(client: SupersetClient, assets: dict[str, list[RawAsset]], stub: RawAsset) -> None:
    before = [chart.changed_on for chart in client.list_charts()]
    charts, datasets = assets["chart"], assets["dataset"]
    with pytest.raises(SupersetRefused, match="already exists") as exists:
        client.import_charts(Bundle.from_assets("chart", [*charts, *datasets, stub]), False)
    assert (exists.value.code, exists.value.status, exists.value.written) == ("invalid", 422, False)
    broken = RawAsset(
        "chart", CHARTS[0], "", {k: v for k, v in charts[0].data.items() if k != "dataset_uuid"}
    )
    bundle = Bundle.from_assets("chart", [broken, *datasets, stub])
    with pytest.raises(SupersetRefused) as incomplete:
        client.import_charts(bundle, True)
    path = bundle.assets[CHARTS[0]].path
    assert incomplete.value.status == 422
    assert incomplete.value.detail[path] == {"dataset_uuid": ["Missing data for required field."]}
    assert path in incomplete.value.message
    broken_assets = Bundle.from_assets(
        "assets", [broken]
    )  # this endpoint gives no reason; the client finds it
    with pytest.raises(SupersetRefused) as unexplained:
        client.import_assets(broken_assets, sparse=client.capabilities.sparse_import)
    assert (unexplained.value.code, unexplained.value.status) == ("invalid", 500)
    assert unexplained.value.detail[path] == {"dataset_uuid": ["Missing data for required field."]}
    assert path in unexplained.value.message
    assert client.validate(Bundle.from_assets("assets", [*charts, *datasets])) == {}
    with pytest.raises(SupersetRefused) as orphan:  # the importer's KeyError: 500 without a reason
        client.import_assets(Bundle.from_assets("assets", datasets), sparse=False)
    assert (orphan.value.status, orphan.value.written) == (500, False)
    assert [chart.changed_on for chart in client.list_charts()] == before


def _edits(client: SupersetClient) -> None:
    chart = client.list_charts()[0]
    client.update("chart", chart.id, {"slice_name": "Edited"})
    assert client.get("chart", chart.id)["slice_name"] == "Edited"
    again = client.list_charts()[0]
    assert again.name == "Edited"
    assert again.changed_on is not None
    assert chart.changed_on is not None
    assert again.changed_on > chart.changed_on
    for call in (lambda: client.get("chart", 999_999), lambda: client.delete("chart", 999_999)):
        with pytest.raises(SupersetRefused) as gone:
            call()
        assert (gone.value.code, gone.value.status) == ("not_found", 404)
    with pytest.raises(SupersetRefused, match="not allowed to filter"):
        client._page("chart", {"filters": [{"col": "changed_on", "opr": "gt", "value": 1}]})


def _sparse(client: SupersetClient, assets: dict[str, list[RawAsset]]) -> None:
    chart = assets["chart"][0]
    renamed = Bundle.from_assets("assets", [("chart", chart.uuid, {**chart.data, "slice_name": "Sparse"})])
    if client.capabilities.sparse_import:
        client.import_assets(renamed, sparse=True)
        assert "Sparse" in [row.name for row in client.list_charts()]
        assert all(len(row.dashboard_ids) == 1 for row in client.list_charts())
    else:
        with pytest.raises(SupersetRefused) as old:
            client.import_assets(renamed, sparse=True)
        assert old.value.code == "unsupported_version"


def _lost_csrf(client: SupersetClient) -> None:
    """A multipart import without a good token is sent to the login page, a JSON edit gets 400: both are renewed."""
    bundle = client.export_dashboards([client.list_dashboards()[0].id])
    client._http.cookies.clear()
    client.import_dashboards(bundle, True)
    assert [line.status for line in client.log if line.path == "/api/v1/dashboard/import/"][-2:] == [302, 200]
    client._http.cookies.clear()
    id = client.list_charts()[0].id
    client.update("chart", id, {"slice_name": "After"})
    assert [line.status for line in client.log if line.method == "PUT"][-2:] == [400, 200]


def _chart_data(client: SupersetClient) -> None:
    dataset = client.list_datasets()[0]
    metric = {"expressionType": "SQL", "sqlExpression": "COUNT(*)", "label": "n"}
    query: dict[str, Any] = {"columns": [], "metrics": [metric], "row_limit": 10}
    payload = {
        "datasource": {"id": dataset.id, "type": "table"},
        "queries": [query],
        "result_format": "json",
        "result_type": "full",
    }
    (result,) = client.chart_data(payload, force=True)
    assert (result.status, result.error, result.columns, result.types) == ("success", None, ("n",), (0,))
    assert result.rowcount == len(result.rows) == 1
    assert isinstance(result.rows[0]["n"], int)
    assert result.sql is not None
    assert "SELECT" in result.sql.upper()
    (gone,) = client.chart_data({**payload, "datasource": {"id": 999_999, "type": "table"}})
    assert (gone.status, gone.error) == ("failed", "Not found")


def _other_ways_to_sign_in(new_client: NewClient) -> None:
    with new_client(SessionAuth("admin", "admin")) as session:
        assert session.count("chart") == 2
        session.update("chart", session.list_charts()[0].id, {"slice_name": "By session"})
    for auth, code in (
        (PasswordAuth("admin", "wrong-password"), "unauthorized"),
        (PasswordAuth("admin", "admin", provider="ldap"), "login_provider"),
        (SessionAuth("admin", "wrong-password"), "unauthorized"),
        (TokenAuth("garbage"), "unauthorized"),
    ):
        with new_client(auth) as client, pytest.raises(SupersetRefused) as refused:
            client.list_charts()
        assert refused.value.code == code
        assert "wrong-password" not in str(refused.value)
