"""The calls: detection, exports that are complete, imports, connections, chart data."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from environments.superset.bundle import Bundle, stub_database
from environments.superset.errors import AmbiguousWrite, SupersetRefused, SupersetUnreachable
from environments.superset.versions import Capabilities, read_bootstrap, version_tuple
from tests.fakes.rison import parse_rison
from tests.fakes.superset import FakeSuperset
from tests.superset.helpers import DB, client_of, estate

# -- versions ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "sparse", "themes", "currency"),
    [("4.1.4", False, False, False), ("5.0.0", False, False, False), ("6.0.0", True, True, True),
     ("6.1.0", True, True, True)],
)  # fmt: skip
def test_tested_versions_are_recognised_in_one_request(
    version: str, sparse: bool, themes: bool, currency: bool
) -> None:
    fake = FakeSuperset(version)
    found = client_of(fake).detect()
    assert (found.version, found.tested, found.supported) == (version, True, True)
    assert (found.sparse_import, found.themes, found.currency_as_map) == (sparse, themes, currency)
    assert found.sql_max_row == 100_000
    assert len(fake.requests) == 1


def test_capabilities_survive_json_and_other_releases_of_ours() -> None:
    found = client_of(FakeSuperset()).detect()
    stored = json.loads(json.dumps(found.to_dict()))
    assert Capabilities.from_dict(stored) == found
    assert Capabilities.from_dict({**stored, "from_the_future": 1}) == found
    assert Capabilities.from_dict({"version": "4.1.4"}).sparse_import is False


def test_given_capabilities_save_the_detection() -> None:
    fake = estate()
    client = client_of(fake, capabilities=Capabilities.of_version("4.1.4"))
    with pytest.raises(SupersetRefused, match=r"4\.1\.4 has no sparse import"):
        client.import_assets(Bundle.from_assets("assets", []), sparse=True)
    assert fake.requests == []


@pytest.mark.parametrize(("version", "sparse"), [("7.2.0", True), ("0.0.0", False)])
def test_unknown_versions_are_asked_what_they_have(version: str, sparse: bool) -> None:
    fake = FakeSuperset(version)
    found = client_of(fake).detect()
    assert not found.tested
    assert found.sparse_import is sparse  # the fake's 0.0.0 declares no `sparse`
    assert any(request.url.path == "/api/v1/_openapi" for request in fake.requests)


def test_the_version_is_found_where_the_sign_in_page_does_not_tell() -> None:
    fake = FakeSuperset()
    fake.misbehave("GET", "/login/", httpx.Response(302, headers={"location": "/login/oauth"}))
    assert client_of(fake).detect().version == "6.1.0"
    fake.misbehave("GET", "/login/", httpx.Response(302, headers={"location": "/login/oauth"}))
    fake.misbehave("GET", "/static/version_info.json", httpx.Response(404, html="gone"))
    assert client_of(fake).detect().version == "6.1.0"


def test_version_numbers() -> None:
    assert version_tuple("6.1.0rc2") == (6, 1, 0)
    assert version_tuple("v5.0") == (5, 0, 0)
    assert version_tuple("master") == (0, 0, 0)
    assert read_bootstrap("<div data-bootstrap='{bad'>") is None
    assert read_bootstrap("<p>nothing</p>") is None


# -- export ------------------------------------------------------------------------------------------


def test_a_dashboard_comes_with_all_it_stands_on_and_no_password() -> None:
    fake = estate()
    client = client_of(fake)
    bundle = client.export_dashboards(row.id for row in client.list_dashboards())
    assert bundle.counts() == {"dashboard": 1, "chart": 2, "dataset": 1, "database": 1}
    assert bundle.unresolved() == {}
    assert "topsecret" not in str([asset.data for asset in bundle.assets.values()])
    assert bundle.exported_at is not None
    assert abs(datetime.now(UTC) - bundle.exported_at) < timedelta(seconds=5)


def test_an_export_is_dated_when_it_began_because_later_changes_may_be_missing() -> None:
    """Superset writes its clock into the metadata first, and dates the answer when the ZIP is ready."""
    assets = [
        ("chart", "c0000000-0000-4000-8000-000000000001", {"uuid": "c0000000-0000-4000-8000-000000000001"})
    ]
    began = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)
    for timestamp, date, expected in (
        (began, "Fri, 01 May 2026 12:00:39 GMT", began),
        (None, "Fri, 01 May 2026 12:00:39 GMT", datetime(2026, 5, 1, 12, 0, 39, tzinfo=UTC)),
        (began, "nonsense", began),
        (None, "", None),
    ):
        content = Bundle.from_assets("chart", assets, timestamp=timestamp).to_zip()
        fake = estate()
        answer = httpx.Response(200, content=content, headers={"date": date})
        fake.misbehave("GET", "/api/v1/chart/export/", answer)
        assert client_of(fake).export_charts([3]).exported_at == expected


def test_many_ids_go_in_chunks_that_web_servers_accept() -> None:
    fake = estate(charts=250)
    client = client_of(fake)
    ids = [row.id for row in client.list_charts()]
    bundle = client.export_charts([*ids, ids[0]])
    assert bundle.counts()["chart"] == 250
    exports = [request for request in fake.requests if request.url.path == "/api/v1/chart/export/"]
    assert len(exports) == 3
    assert all(len(str(request.url)) < 4_000 for request in exports)


def test_a_vanished_id_does_not_keep_the_others_back() -> None:
    fake = estate(charts=40)
    client = client_of(fake)
    ids = [row.id for row in client.list_charts()]
    del fake.assets["chart"][ids[7]], fake.assets["chart"][ids[23]]
    bundle = client.export_charts(ids)
    assert bundle.vanished == (ids[7], ids[23])
    assert bundle.counts()["chart"] == 38


@pytest.mark.parametrize("fault", ["reset", httpx.Response(504, html="<h1>Gateway Time-out</h1>")])
def test_a_chunk_too_large_for_the_proxys_time_limit_comes_in_smaller_ones(fault: Any) -> None:
    fake = estate(charts=40)
    client = client_of(fake)
    ids = [row.id for row in client.list_charts()]

    def too_slow(request: httpx.Request) -> httpx.Response | None:
        if len(parse_rison(request.url.params["q"])) <= 10:
            return None
        if isinstance(fault, httpx.Response):
            return fault
        raise httpx.ReadError("the worker was killed", request=request)

    fake.misbehave("GET", "/api/v1/chart/export/", too_slow, times=None)
    assert client.export_charts(ids).counts()["chart"] == 40


def test_a_superset_that_is_down_is_not_asked_for_each_asset_alone() -> None:
    fake = estate(charts=40)
    client = client_of(fake)
    ids = [row.id for row in client.list_charts()]
    for fault in ("refused", "timeout", httpx.Response(503)):
        fake.requests.clear()
        fake.misbehave("GET", "/api/v1/chart/export/", fault, times=20)
        with pytest.raises(SupersetUnreachable):
            client.export_charts(ids)
        assert len(fake.requests) <= 2
        fake._faults.clear()


def test_a_deleted_chart_still_in_a_layout_is_named_and_costs_no_further_request() -> None:
    fake = estate()
    client = client_of(fake)
    del fake.assets["chart"][3]
    bundle = client.export_dashboards([5])
    assert len(bundle.unresolved()) == 1
    assert [request.url.path for request in fake.requests] == [
        "/api/v1/security/login",
        "/api/v1/dashboard/export/",
    ]


def test_only_vanished_ids_are_an_error() -> None:
    with pytest.raises(SupersetRefused, match="None of the 2 charts") as caught:
        client_of(estate()).export_charts([777, 778])
    assert caught.value.code == "not_found"
    assert client_of(estate()).export_charts([]).assets == {}


@pytest.mark.parametrize("version", ["4.1.4", "6.1.0"])
def test_datasets_of_one_name_in_two_schemas_both_come(version: str) -> None:
    """Before 6.0 Superset writes both into one file name and silently leaves one out (superset-api.md 6.4)."""
    fake = estate(version)
    sales = fake.assets["dataset"][2]["data"]["uuid"]
    hr = fake.add_dataset("orders", database=DB, schema="hr")
    fake.add_dashboard(
        "Both", charts=[fake.add_chart(name, dataset=of) for name, of in (("S", sales), ("H", hr))]
    )
    client = client_of(fake)
    assert client.export_datasets([row.id for row in client.list_datasets()]).counts()["dataset"] == 2
    bundle = client.export_dashboards([row.id for row in client.list_dashboards()])
    assert bundle.counts()["dataset"] == 2
    assert bundle.unresolved() == {}
    assert Bundle.from_zip(bundle.to_zip()).unresolved() == {}


def test_connections_whose_names_give_one_file_name_both_come() -> None:
    fake = FakeSuperset()
    one, two = fake.add_database("Sales DB"), fake.add_database("Sales_DB")
    charts = [
        fake.add_chart("c", dataset=fake.add_dataset(f"t{n}", database=db)) for n, db in enumerate((one, two))
    ]
    fake.add_dashboard("D", charts=charts)
    client = client_of(fake)
    bundle = client.export_dashboards([row.id for row in client.list_dashboards()])
    assert {one, two} <= set(bundle.assets)
    assert bundle.unresolved() == {}
    assert set(Bundle.from_zip(bundle.to_zip()).assets) == set(bundle.assets)


def test_a_page_instead_of_a_zip_is_no_bundle() -> None:
    fake = estate()
    fake.misbehave("GET", "/api/v1/assets/export/", "html_200")
    with pytest.raises(SupersetRefused) as caught:
        client_of(fake).export_assets()
    assert caught.value.code == "not_superset"


def test_half_of_a_zip_is_asked_for_again_and_never_read() -> None:
    fake = estate()
    fake.misbehave("GET", "/api/v1/dashboard/export/", "truncated")
    client = client_of(fake)
    assert client.export_dashboards([row.id for row in client.list_dashboards()]).unresolved() == {}
    fake.misbehave("GET", "/api/v1/dashboard/export/", "truncated", times=None)
    with pytest.raises(SupersetUnreachable) as caught:
        client.export_dashboards([row.id for row in client.list_dashboards()])
    assert caught.value.code == "connection_lost"


def test_a_zip_cut_short_that_looks_complete_to_http_is_refused() -> None:
    fake = estate()
    whole = client_of(fake).export_assets().to_zip()
    fake.misbehave("GET", "/api/v1/assets/export/", httpx.Response(200, content=whole[:-100]))
    with pytest.raises(SupersetRefused) as caught:
        client_of(fake).export_assets()
    assert caught.value.code == "bundle_invalid"


# -- import ------------------------------------------------------------------------------------------


def test_a_sparse_import_with_a_connection_in_it_is_not_even_sent() -> None:
    fake = estate()
    with pytest.raises(SupersetRefused, match="overwrite the connection"):
        client_of(fake).import_assets(Bundle.from_assets("assets", [stub_database(DB, "W")]), sparse=True)
    assert fake.requests == []


@pytest.mark.parametrize("version", ["4.1.4", "6.1.0"])
def test_three_imports_with_a_stub_leave_the_connection_as_it_was(version: str) -> None:
    source, target = estate(version), FakeSuperset(version, first_id=1_000)
    mine = target.add_database("Prod", uri="postgresql://prod:pw@prod/x")
    before = target.state()["database"]
    bundle = client_of(source).export_assets()
    assets = [asset for asset in bundle.assets.values() if asset.kind != "database"]
    for asset in assets:
        if asset.kind == "dataset":
            asset.data["database_uuid"] = mine
    client, stub = client_of(target), stub_database(mine, "Prod")
    datasets = [asset for asset in assets if asset.kind == "dataset"]
    charts = [asset for asset in assets if asset.kind == "chart"]
    client.import_datasets(Bundle.from_assets("dataset", [*datasets, stub]), True)
    client.import_charts(Bundle.from_assets("chart", [*charts, *datasets, stub]), True)
    client.import_dashboards(Bundle.from_assets("dashboard", [*assets, stub]), True)
    assert target.state()["database"] == before
    assert [len(target.assets[kind]) for kind in ("dashboard", "chart", "dataset")] == [1, 2, 1]
    assert min(target.assets["chart"]) > 1_000


def test_importing_what_exists_without_overwrite_is_refused() -> None:
    fake = estate()
    bundle = client_of(fake).export_dashboards([5])
    with pytest.raises(SupersetRefused, match="overwrite=true"):
        client_of(fake).import_dashboards(bundle, False)
    client_of(fake).import_dashboards(bundle, True)


# -- connections -------------------------------------------------------------------------------------


def test_connections_schemas_tables_and_columns() -> None:
    fake = estate()
    fake.tables[DB] = {"sales.orders": {"id": "INTEGER", "at": "TIMESTAMP"}, "hr.staff": {"name": "TEXT"}}
    client = client_of(fake)
    assert client.database_connection(1)["sqlalchemy_uri"] == "postgresql://bi:XXXXXXXXXX@db.test/dwh"
    assert client.list_catalogs(1) == []
    assert client.list_schemas(1, force=True) == ["hr", "sales"]
    assert [row.name for row in client.list_tables(1, "sales")] == ["orders"]
    columns = client.table_columns(1, "orders", "sales", None)
    assert columns is not None
    assert [(column.name, column.type) for column in columns] == [("id", "INTEGER"), ("at", "TIMESTAMP")]


def test_a_missing_table_is_none_and_a_failing_connection_is_an_error() -> None:
    fake = estate()
    client = client_of(fake)
    assert client.table_columns(1, "nope", "sales", None) is None
    down = httpx.Response(
        500, json={"errors": [{"message": "(psycopg2.OperationalError) connection refused"}]}
    )
    fake.misbehave("GET", "/api/v1/database/1/table_metadata/", down, times=None)
    with pytest.raises(SupersetUnreachable, match="OperationalError"):
        client.table_columns(1, "orders", "sales", None)


# -- chart data --------------------------------------------------------------------------------------

PAYLOAD = {
    "datasource": {"id": 2, "type": "table"},
    "queries": [{"metrics": ["count"]}],
    "result_type": "full",
}


def test_chart_data_gives_rows_columns_and_time() -> None:
    fake = estate()
    dataset = fake.assets["dataset"][2]["data"]["uuid"]
    fake.answers[dataset] = [{"country": "DE", "n": 3}, {"country": "FR", "n": 1}]
    (result,) = client_of(fake).chart_data(PAYLOAD)
    assert (result.status, result.error, result.rowcount) == ("success", None, 2)
    assert (result.columns, result.types) == (("country", "n"), (1, 0))
    assert result.rows[0] == {"country": "DE", "n": 3}
    assert result.sql == "SELECT 1"
    assert result.seconds > 0
    assert not result.is_cached


def test_chart_data_can_ask_past_the_cache() -> None:
    fake = estate()
    client_of(fake).chart_data(PAYLOAD, force=True)
    assert json.loads(fake.requests[-1].content)["force"] is True
    assert "force" not in PAYLOAD


def test_a_query_that_fails_is_a_result_and_is_asked_once() -> None:
    fake = estate()
    dataset = fake.assets["dataset"][2]["data"]["uuid"]
    fake.answers[dataset] = "column 'nope' does not exist at postgresql://bi:topsecret@db/x"
    two = {**PAYLOAD, "queries": [{}, {}]}
    results = client_of(fake).chart_data(two)
    assert [result.status for result in results] == ["failed", "failed"]
    assert results[0].error == "column 'nope' does not exist at postgresql://…@db/x"
    assert sum(request.url.path == "/api/v1/chart/data" for request in fake.requests) == 1
    gone = client_of(fake).chart_data({**PAYLOAD, "datasource": {"id": 999, "type": "table"}})
    assert (gone[0].status, gone[0].error) == ("failed", "Not found")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"status": "failed", "error": "boom", "colnames": [], "data": None}, "boom"),
        ({"status": "success", "error": "half", "data": []}, "half"),
        ("nonsense", "Superset's answer to this query is not a result."),
    ],
)
def test_one_failed_query_among_good_ones(answer: object, error: str) -> None:
    fake = estate()
    good = {"status": "success", "data": [{"n": 1}], "colnames": ["n"], "coltypes": [0], "rowcount": 1}
    fake.misbehave("POST", "/api/v1/chart/data", httpx.Response(200, json={"result": [good, answer]}))
    first, second = client_of(fake).chart_data(PAYLOAD)
    assert (first.status, first.rowcount) == ("success", 1)
    assert (second.status, second.error) == ("failed", error)


def test_a_cached_answer_says_so() -> None:
    cached = {"data": [], "is_cached": True, "cached_dttm": "2026-01-01T00:00:00", "status": "success"}
    fake = estate()
    fake.misbehave("POST", "/api/v1/chart/data", httpx.Response(200, json={"result": [cached]}))
    (result,) = client_of(fake).chart_data(PAYLOAD)
    assert result.is_cached
    assert result.cached_at == datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("fault", "code"),
    [("timeout", "timeout"), ("reset", "connection_lost"), ("html_500", "server_error"), ("html_200", "not_superset"),
     (httpx.Response(504, html="<h1>Gateway Time-out</h1>"), "server_error")],
)  # fmt: skip
def test_what_says_nothing_about_the_chart_is_an_error_and_not_a_verdict(fault: object, code: str) -> None:
    fake = estate()
    fake.misbehave("POST", "/api/v1/chart/data", fault)  # type: ignore[arg-type]
    with pytest.raises((SupersetUnreachable, SupersetRefused)) as caught:
        client_of(fake).chart_data(PAYLOAD)
    assert caught.value.code == code
    assert caught.value.written is False


def test_a_superset_that_answers_later_is_said_to() -> None:
    fake = estate()
    fake.misbehave(
        "POST", "/api/v1/chart/data", httpx.Response(202, json={"job_id": "x", "status": "pending"})
    )
    (result,) = client_of(fake).chart_data(PAYLOAD)
    assert (result.status, result.error_type) == ("failed", "async")


def test_single_assets_are_read_changed_and_deleted() -> None:
    fake = estate()
    client = client_of(fake)
    assert client.get("chart", 3)["slice_name"] == "Chart 0"
    assert client.update("chart", 3, {"slice_name": "New"}) == {"slice_name": "New"}
    client.delete("chart", 3)
    with pytest.raises(SupersetRefused) as caught:
        client.get("chart", 3)
    assert caught.value.code == "not_found"


def test_many_are_deleted_in_one_request_and_a_gone_one_counts_as_deleted() -> None:
    fake = estate(charts=5)
    client = client_of(fake)
    ids = [row.id for row in client.list_charts()]
    client.delete_many("chart", ids[:3])
    assert len([request for request in fake.requests if request.method == "DELETE"]) == 1
    client.delete_many("chart", ids)
    assert client.count("chart") == 0
    fake.misbehave("DELETE", "/api/v1/dashboard/", "html_200")
    with pytest.raises(AmbiguousWrite):
        client.delete_many("dashboard", [7])
