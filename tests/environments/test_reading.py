"""Reading an environment: how many requests, what is taken from the store, what is never missed."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from environments import reading as reading_module
from environments import services
from environments.canonical.documents import Kind
from environments.connections import connect
from environments.models import Environment, Snapshot
from environments.reading import EnvironmentReading, read_everything, read_for_store, read_selected
from environments.store import latest_complete, take_snapshot
from environments.superset.errors import SupersetError, SupersetRefused
from tests.fakes.superset import FakeSuperset

from .conftest import DB, fill

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]


def read(environment: Environment, **options: Any) -> EnvironmentReading:
    with connect(environment) as client:
        return read_everything(client, environment, **options)


def read_and_keep(environment: Environment, **options: Any) -> EnvironmentReading:
    found = read(environment, **options)
    take_snapshot(environment, found, "reading")
    return found


def select(environment: Environment, wanted: dict[Kind, list[int]]) -> EnvironmentReading:
    with connect(environment) as client:
        return read_selected(client, environment, wanted)


def asked(fake: FakeSuperset) -> list[str]:
    """Paths of the requests about assets, each with its first filter words; forgets them."""
    paths = [fake._path(request) for request in fake.requests]
    fake.requests.clear()
    return [path for path in paths if path.startswith("/api/v1/") and "/security/" not in path]


LISTS = ["/api/v1/dashboard/", "/api/v1/chart/", "/api/v1/dataset/", "/api/v1/database/"]


def touch(fake: FakeSuperset, kind: str, uuid: str) -> dict[str, Any]:
    """Somebody edits it now, by the server's clock."""
    record = fake.record(kind, uuid)
    record["changed_on"] = timezone.now()
    return dict(record)


def uuid_of(fake: FakeSuperset, kind: str, title: str) -> str:
    fields = {"dashboard": "dashboard_title", "chart": "slice_name", "dataset": "table_name"}
    return next(r["data"]["uuid"] for r in fake.assets[kind].values() if r["data"][fields[kind]] == title)


# --- the first reading ------------------------------------------------------------------------------


def test_a_small_estate_is_one_request(environment: Environment, superset: FakeSuperset) -> None:
    found = read(environment)
    assert asked(superset) == ["/api/v1/assets/export/"]
    assert (found.requests, found.complete, found.rows) == (1, True, {})
    assert found.counts() == {"database": 1, "dataset": 2, "chart": 6, "dashboard": 2}
    chart = uuid_of(superset, "chart", "Chart 1.2")
    assert found.ids.id_of(Kind.CHART, chart) == superset.id_of("chart", chart)
    assert found.exported_at is not None
    assert abs(found.exported_at - timezone.now()) < timedelta(seconds=10)


@pytest.mark.parametrize("version", ["4.1.4", "5.0.0"])
def test_before_6_0_it_is_listed_for_the_ids_of_datasets(
    registered: Callable[..., Environment], version: str
) -> None:
    fake = fill(FakeSuperset(version))
    found = read(registered(fake))
    paths = asked(fake)
    assert paths[:4] == LISTS
    assert "/api/v1/assets/export/" not in paths
    assert found.counts() == {"database": 1, "dataset": 2, "chart": 6, "dashboard": 2}
    dataset = uuid_of(fake, "dataset", "orders_2")
    assert found.ids.id_of(Kind.DATASET, dataset) == fake.id_of("dataset", dataset)


def test_datasets_of_one_name_in_two_schemas_are_both_read_before_6_0(
    registered: Callable[..., Environment],
) -> None:
    fake = fill(FakeSuperset("4.1.4"))
    other = fake.add_dataset("orders_1", database=DB, schema="hr")
    fake.add_chart("HR", dataset=other)
    found = read(registered(fake))
    assert found.documents[other].body["schema"] == "hr"
    assert len(found.of_kind(Kind.DATASET)) == 3


def test_databases_whose_names_give_one_file_name_are_both_read(
    environment: Environment, superset: FakeSuperset
) -> None:
    # superset-api.md 6.4: "Sales DB" and "Sales_DB" are one file in every export of every version
    twins = [superset.add_database(name, uri="sqlite://") for name in ("Sales DB", "Sales_DB")]
    for number, twin in enumerate(twins):
        superset.add_dataset(f"twin_{number}", database=twin)
    found = read(environment)
    assert {document.uuid for document in found.of_kind(Kind.DATABASE)} >= set(twins)


def test_a_large_estate_is_read_in_chunks_that_bring_each_asset_once(
    registered: Callable[..., Environment], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading_module, "SMALL_ESTATE", 50)
    fake = fill(FakeSuperset(), dashboards=60, charts=3)
    lonely = fake.add_dataset("lonely", database=DB)
    fake.add_chart("On no dashboard", dataset=lonely)
    environment = registered(fake)
    services.run_reading(environment)
    asked(fake)
    found = read(environment, fresh=True)
    paths = asked(fake)
    exports = [path for path in paths if path.endswith("/export/")]
    # 50 dashboards a request, with their charts, datasets and connections; then the one chart that is on none
    assert exports == ["/api/v1/dashboard/export/"] * 2 + ["/api/v1/chart/export/"]
    assert found.counts() == {"database": 1, "dataset": 61, "chart": 181, "dashboard": 60}
    assert found.documents.keys() == read(environment, fresh=True).documents.keys()


def test_chunks_and_a_full_export_give_equal_documents(
    registered: Callable[..., Environment], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = fill(FakeSuperset(), dashboards=4)
    environment = registered(fake)
    whole = read(environment)
    services.run_reading(environment)
    monkeypatch.setattr(reading_module, "SMALL_ESTATE", 1)
    chunked = read(environment, fresh=True)
    assert {uuid: d.fingerprint for uuid, d in whole.documents.items()} == {
        uuid: d.fingerprint for uuid, d in chunked.documents.items()
    }


# --- reading again ----------------------------------------------------------------------------------


def test_unchanged_costs_only_the_lists(environment: Environment, superset: FakeSuperset) -> None:
    first = read_and_keep(environment)
    asked(superset)
    for _ in range(2):
        again = read_and_keep(environment)
        assert asked(superset) == LISTS
        assert again.requests == 4
        assert {u: d.fingerprint for u, d in again.documents.items()} == {
            u: d.fingerprint for u, d in first.documents.items()
        }
        assert len(again.rows[Kind.CHART]) == 6
        assert again.complete
    assert Snapshot.objects.count() == 1  # the same content is kept once, and confirmed
    assert latest_complete(environment).confirmed_at is not None  # type: ignore[union-attr]


def test_one_changed_chart_is_the_one_thing_exported(
    environment: Environment, superset: FakeSuperset
) -> None:
    first = read_and_keep(environment)
    asked(superset)
    chart = uuid_of(superset, "chart", "Chart 2.1")
    touch(superset, "chart", chart)
    superset.record("chart", chart)["data"]["description"] = "now with words"
    again = read_and_keep(environment)
    assert asked(superset) == [*LISTS, "/api/v1/chart/export/"]
    assert [u for u, d in again.documents.items() if d.fingerprint != first.documents[u].fingerprint] == [
        chart
    ]


def test_a_change_within_the_second_of_the_export_is_not_taken_for_old(
    environment: Environment, superset: FakeSuperset
) -> None:
    chart = uuid_of(superset, "chart", "Chart 1.1")
    first = read_and_keep(environment)
    assert first.exported_at is not None
    # Saved by a transaction that began before the export and ended after it: its time is the older one.
    superset.record("chart", chart)["changed_on"] = first.exported_at - timedelta(seconds=1)
    superset.record("chart", chart)["data"]["description"] = "late"
    assert read(environment).documents[chart].body["description"] == "late"


def test_the_servers_clock_counts_and_not_ours(
    environment: Environment, superset: FakeSuperset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Superset whose clock is an hour behind ours: its changes look old to us, and are exported all the same."""
    from email.utils import format_datetime

    answer = superset.handle_request

    def with_old_clock(request: Any) -> Any:
        response = answer(request)
        moment = timezone.now() - timedelta(hours=1)
        response.headers["date"] = format_datetime(moment, usegmt=True)
        return response

    monkeypatch.setattr(superset, "handle_request", with_old_clock)
    first = read_and_keep(environment)
    assert first.exported_at is not None
    assert first.exported_at < timezone.now() - timedelta(minutes=59)
    chart = uuid_of(superset, "chart", "Chart 1.1")
    superset.record("chart", chart)["changed_on"] = timezone.now() - timedelta(minutes=30)
    superset.record("chart", chart)["data"]["description"] = "changed"
    assert read(environment).documents[chart].body["description"] == "changed"


def test_deleted_and_new_assets_are_noticed(environment: Environment, superset: FakeSuperset) -> None:
    first = read_and_keep(environment)
    gone = uuid_of(superset, "dashboard", "Dashboard 2")
    del superset.assets["dashboard"][superset.id_of("dashboard", gone)]
    dataset = uuid_of(superset, "dataset", "orders_1")
    new = superset.add_chart("Brand new", dataset=dataset)
    again = read_and_keep(environment)
    assert again.documents.keys() == (first.documents.keys() - {gone}) | {new}
    assert again.ids.id_of(Kind.DASHBOARD, gone) is None


def test_an_asset_made_anew_under_the_same_uuid_is_read_anew(
    environment: Environment, superset: FakeSuperset
) -> None:
    read_and_keep(environment)
    chart = uuid_of(superset, "chart", "Chart 1.3")
    old = superset.assets["chart"].pop(superset.id_of("chart", chart))
    dataset = old["data"]["dataset_uuid"]
    superset.add_chart("Chart 1.3", dataset=dataset, uuid=chart, description="another one")
    again = read(environment)
    assert again.documents[chart].body["description"] == "another one"
    assert again.ids.id_of(Kind.CHART, chart) == superset.id_of("chart", chart)


def test_a_chart_added_to_a_dashboard_from_the_charts_side_reads_the_dashboard_anew(
    environment: Environment, superset: FakeSuperset
) -> None:
    """Measured on 6.1.0 (superset-api.md 4.3): the dashboard's changed_on stays, the chart's moves."""
    read_and_keep(environment)
    read_and_keep(environment)  # the second one knows what lists say
    asked(superset)
    board = uuid_of(superset, "dashboard", "Dashboard 1")
    superset.record("dashboard", board)["charts"].add(uuid_of(superset, "chart", "Chart 2.1"))
    read_and_keep(environment)
    assert "/api/v1/dashboard/export/" in asked(superset)
    read_and_keep(environment)
    assert asked(superset) == LISTS


def test_a_changed_connection_is_read_through_one_of_its_datasets(
    environment: Environment, superset: FakeSuperset
) -> None:
    """Its own export would carry all of its datasets."""
    read_and_keep(environment)
    read_and_keep(environment)
    asked(superset)
    touch(superset, "database", DB)
    superset.record("database", DB)["data"]["sqlalchemy_uri"] = "postgresql://bi:other@db2.test/dwh"
    again = read_and_keep(environment)
    assert asked(superset) == [*LISTS, "/api/v1/dataset/export/"]
    assert "db2.test" in again.documents[DB].body["sqlalchemy_uri"]
    assert "other" not in again.documents[DB].body["sqlalchemy_uri"]


def test_what_no_list_tells_is_found_by_a_fresh_reading_only(
    environment: Environment, superset: FakeSuperset
) -> None:
    """A refreshed dataset gets columns and keeps its changed_on (superset-api.md 4.3): the known blind spot."""
    read_and_keep(environment)
    dataset = uuid_of(superset, "dataset", "orders_1")
    superset.record("dataset", dataset)["data"]["columns"] = [{"column_name": "added"}]
    assert read(environment).documents[dataset].body["columns"] == []
    fresh = read(environment, fresh=True)
    assert [column["column_name"] for column in fresh.documents[dataset].body["columns"]] == ["added"]


def test_after_many_changes_a_full_export_is_cheaper(
    environment: Environment, superset: FakeSuperset
) -> None:
    services.run_reading(environment)
    read_and_keep(environment)
    asked(superset)
    for kind in ("dashboard", "chart", "dataset"):  # as an import leaves it
        for record in superset.assets[kind].values():
            record["changed_on"] = timezone.now()
    read_and_keep(environment)
    assert asked(superset) == [*LISTS, "/api/v1/assets/export/"]


def test_an_unreadable_asset_hides_no_other_and_is_not_taken_for_deleted(
    environment: Environment, superset: FakeSuperset, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = uuid_of(superset, "dashboard", "Dashboard 1")
    from environments.canonical import reading as canonical

    read_one = canonical.read_dashboard

    def read_or_fail(data: Any, context: Any) -> Any:
        if context.uuid == board:
            raise ValueError("a layout that nobody understands")
        return read_one(data, context)

    monkeypatch.setattr(canonical, "read_dashboard", read_or_fail)
    found = read_and_keep(environment)
    assert found.unreadable == {board}
    assert len(found.documents) == 10
    asked(superset)
    again = read_and_keep(environment)
    assert again.unreadable == {board}
    assert asked(superset) == LISTS


def test_what_the_lists_said_goes_into_the_inventory(
    environment: Environment, superset: FakeSuperset
) -> None:
    read_and_keep(environment)
    assert not environment.assets.exists()
    read_and_keep(environment)
    assert environment.assets.count() == 11
    assert not environment.assets.filter(document=None).exists()
    superset.add_chart("Brand new", dataset=uuid_of(superset, "dataset", "orders_1"))
    read_and_keep(environment)
    assert environment.assets.get(title="Brand new").document is not None


# --- chosen assets ----------------------------------------------------------------------------------


def test_chosen_assets_come_with_what_they_stand_on(environment: Environment, superset: FakeSuperset) -> None:
    chart = uuid_of(superset, "chart", "Chart 2.2")
    found = select(environment, {Kind.CHART: [superset.id_of("chart", chart)]})
    assert asked(superset) == ["/api/v1/chart/export/"]
    assert sorted(document.kind for document in found.documents.values()) == ["chart", "database", "dataset"]
    assert not found.complete


def test_chosen_assets_that_are_gone_are_simply_absent(
    environment: Environment, superset: FakeSuperset
) -> None:
    chart = uuid_of(superset, "chart", "Chart 2.2")
    wanted = {Kind.CHART: [superset.id_of("chart", chart), 9999], Kind.DASHBOARD: [8888]}
    assert chart in select(environment, wanted).documents
    assert select(environment, {Kind.DASHBOARD: [8888]}).documents == {}


def test_nearly_everything_is_cheaper_as_everything(environment: Environment, superset: FakeSuperset) -> None:
    services.run_reading(environment)
    boards = list(superset.assets["dashboard"])
    asked(superset)
    found = select(environment, {Kind.DASHBOARD: boards})
    assert asked(superset) == ["/api/v1/assets/export/"]
    assert found.complete


def test_references_to_what_is_not_chosen_resolve_as_in_a_full_reading(
    environment: Environment, superset: FakeSuperset
) -> None:
    board, other = (uuid_of(superset, "dashboard", f"Dashboard {n}") for n in (1, 2))
    link = f"/superset/dashboard/{superset.id_of('dashboard', other)}/"
    markdown = {"id": "MARKDOWN-1", "type": "MARKDOWN", "children": [], "meta": {"code": f"[next]({link})"}}
    superset.record("dashboard", board)["data"]["position"]["MARKDOWN-1"] = markdown
    whole = read_and_keep(environment)
    chosen = select(environment, {Kind.DASHBOARD: [superset.id_of("dashboard", board)]})
    assert chosen.documents[board].fingerprint == whole.documents[board].fingerprint
    assert other in str(whole.documents[board].body["position"]["MARKDOWN-1"])


# --- what goes wrong --------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["html_200", "login"])
def test_a_page_instead_of_an_export_keeps_nothing(
    environment: Environment, superset: FakeSuperset, fault: str
) -> None:
    read_and_keep(environment)
    superset.misbehave("GET", "/api/v1/assets/export/", fault, times=None)
    with pytest.raises(SupersetRefused) as caught:
        read(environment, fresh=True)
    assert caught.value.code == "not_superset"
    assert Snapshot.objects.count() == 1


def test_a_hostile_bundle_keeps_nothing(environment: Environment, superset: FakeSuperset) -> None:
    import httpx

    superset.misbehave("GET", "/api/v1/assets/export/", httpx.Response(200, content=b"PK\x03\x04 half a zip"))
    with pytest.raises(SupersetRefused) as caught:
        read(environment)
    assert caught.value.code == "bundle_invalid"
    assert not Snapshot.objects.exists()


def test_a_reading_can_be_stopped_between_requests(environment: Environment, superset: FakeSuperset) -> None:
    read_and_keep(environment)
    asked(superset)

    class Stopped(Exception):
        pass

    def stop(what: str, done: int, total: int) -> None:
        if done == 2:
            raise Stopped

    with pytest.raises(Stopped), connect(environment) as client:
        read_everything(client, environment, progress=stop)
    assert asked(superset) == LISTS[:2]


def _damage_a_chart(superset: FakeSuperset) -> str:
    """A chart that Superset cannot export, alone or among others: one without a name, for one."""
    import httpx

    dataset = uuid_of(superset, "dataset", "orders_1")
    damaged = superset.add_chart("Damaged", dataset=dataset)
    number = next(id for id, record in superset.assets["chart"].items() if record["data"]["uuid"] == damaged)

    def fail(request: httpx.Request) -> httpx.Response | None:
        query = request.url.params.get("q", "")
        asked_for = {int(id) for id in re.findall(r"\d+", query)}
        of_it = "/assets/" in request.url.path or ("/chart/" in request.url.path and number in asked_for)
        return httpx.Response(500, json={"message": "Fatal error"}) if of_it else None

    for path in ("/api/v1/assets/export/", "/api/v1/chart/export/"):
        superset.misbehave("GET", path, fail, times=None)
    return damaged


def test_what_is_known_to_be_damaged_keeps_nothing_else_back(
    environment: Environment, superset: FakeSuperset
) -> None:
    """Not before a run, and not on the way back: both export everything afresh."""
    damaged = _damage_a_chart(superset)
    with pytest.raises(SupersetError):
        read(environment, fresh=True)  # it may be a bad moment of the server: nobody has looked yet
    with connect(environment) as client:
        take_snapshot(environment, read_for_store(client, environment, None), "reading")
    for options in ({"fresh": True}, {}):
        found = read(environment, **options)
        assert found.complete
        assert found.unreadable == {damaged}
        assert len(found.documents) == sum(len(records) for records in superset.assets.values()) - 1


def test_damage_that_is_new_is_an_error_of_a_run(environment: Environment, superset: FakeSuperset) -> None:
    with connect(environment) as client:
        take_snapshot(environment, read_for_store(client, environment, None), "reading")
    _damage_a_chart(superset)
    for options in ({"fresh": True}, {}):
        with pytest.raises(SupersetError):
            read(environment, **options)


def test_one_uuid_in_two_kinds_is_said_and_neither_is_taken_for_the_other(
    environment: Environment, superset: FakeSuperset
) -> None:
    dataset = superset.add_dataset("orders_3", database=DB)
    superset.add_chart("Twin", dataset=uuid_of(superset, "dataset", "orders_1"), uuid=dataset)
    with connect(environment) as client:
        take_snapshot(environment, read_for_store(client, environment, None), "reading")
    for options in ({"fresh": True}, {}):
        found = read(environment, **options)
        assert found.unreadable == {dataset}
        assert dataset not in found.documents
        assert "The dataset “orders_3” and the chart “Twin”" in found.notes[0].text
        assert len(found.documents) == sum(len(records) for records in superset.assets.values()) - 2
