"""Lists are complete at any size, whatever happens while they are read."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from environments.superset.errors import SupersetUnreachable
from environments.superset.listing import Page, read_all, read_by_id_windows
from environments.superset.rison import rison
from environments.superset.rows import chart_row, dashboard_row, database_row, dataset_row, moment
from tests.fakes.rison import parse_rison
from tests.fakes.superset import FakeSuperset
from tests.superset.helpers import DB, client_of


def many(
    count: int, *, cap: int = 100, version: str = "6.1.0", first_id: int = 1
) -> tuple[FakeSuperset, str]:
    fake = FakeSuperset(version, first_id=first_id)
    fake.page_cap = cap
    fake.add_database("Warehouse", uuid=DB)
    dataset = fake.add_dataset("orders", database=DB)
    for number in range(count):
        fake.add_chart(f"Chart {number}", dataset=dataset)
    return fake, dataset


@pytest.mark.parametrize("version", ["4.1.4", "6.1.0"])
@pytest.mark.parametrize(
    ("count", "cap"), [(0, 100), (1, 100), (100, 100), (101, 100), (260, 25), (130, 1000)]
)
def test_every_row_comes_once_at_the_least_requests(version: str, count: int, cap: int) -> None:
    fake, _ = many(count, cap=cap, version=version)
    client = client_of(fake)
    rows = client.list_charts()
    assert [row.name for row in rows] == [f"Chart {number}" for number in range(count)]
    asked = [query for kind, query in fake.rison_queries if kind == "chart"]
    assert len(asked) == max(1, -(-count // cap))


def test_only_what_is_needed_is_asked_for() -> None:
    fake, _ = many(1)
    client = client_of(fake)
    client.list_charts(), client.list_datasets(), client.list_dashboards(), client.list_databases()
    for kind, query in fake.rison_queries:
        assert query["keys"] == ["none"]
        assert not {"params", "form_data", "position_json", "json_metadata"} & set(query["columns"]), kind


def test_a_row_that_changes_while_the_list_is_read_is_neither_lost_nor_doubled() -> None:
    fake, _ = many(250)
    reads = 0

    def touch(kind: str) -> None:
        nonlocal reads
        reads += 1
        if reads == 2:  # after the first page: the last row moves to the front, so everything shifts by one
            oldest = min(fake.assets["chart"].values(), key=lambda record: record["changed_on"])
            oldest["changed_on"] = fake._now()

    fake.on_list = touch
    rows = client_of(fake, max_parallel=1).list_charts()
    assert sorted(row.name for row in rows) == sorted(f"Chart {number}" for number in range(250))


def test_a_row_deleted_while_the_list_is_read_takes_no_other_with_it() -> None:
    fake, _ = many(250)
    ids = sorted(fake.assets["chart"])
    reads = 0

    def delete(kind: str) -> None:
        nonlocal reads
        reads += 1
        if reads == 2:
            del fake.assets["chart"][ids[-1]]  # on the first page, which is the newest

    fake.on_list = delete
    rows = client_of(fake, max_parallel=1).list_charts()
    assert [row.id for row in rows] == ids[:-1]


def uuids_of(fake: FakeSuperset, *names: str) -> dict[str, int]:
    return {row.uuid: row.id for row in client_of(fake).list_charts() if row.name in names}


def test_what_was_just_written_is_found_in_the_pages_that_it_fills() -> None:
    fake, _ = many(950)
    wanted = uuids_of(fake, *(f"Chart {number}" for number in range(800, 950)))
    fake.rison_queries.clear()
    found, datasets = client_of(fake).ids_of("chart", wanted)
    assert found == wanted
    assert set(datasets) == set(wanted)
    asked = [query for kind, query in fake.rison_queries if kind == "chart"]
    assert len(asked) == 2
    assert all(query["columns"] == ["id", "uuid", "datasource_id"] for query in asked)


def test_what_moves_to_a_page_before_is_found_all_the_same() -> None:
    fake, _ = many(250)
    wanted = uuids_of(fake, "Chart 0", "Chart 200")
    pages = 0

    def touch(kind: str) -> None:
        nonlocal pages
        pages += 1
        if pages == 3:  # right before the last page, where Chart 0 was until now
            oldest = min(fake.assets["chart"].values(), key=lambda record: record["changed_on"])
            oldest["changed_on"] = fake._now()

    fake.on_list = touch
    assert client_of(fake).ids_of("chart", wanted)[0] == wanted


def test_what_is_not_there_is_not_found() -> None:
    fake, _ = many(3)
    known = uuids_of(fake, "Chart 1")
    assert client_of(fake).ids_of("chart", [*known, "c0000000-0000-4000-8000-00000000dead"])[0] == known
    assert client_of(FakeSuperset()).ids_of("dashboard", ["x"]) == ({}, {})


def test_windows_find_sparse_ids_without_a_request_for_every_hundred() -> None:
    wanted = [3, 4, 90, 91, 5_000, 5_001, 900_000, *range(2_000_000, 2_000_250)]
    queries = 0

    def fetch(query: Mapping[str, Any]) -> Page:
        nonlocal queries
        queries += 1
        low = next(rule["value"] for rule in query["filters"] if rule["opr"] == "gt")
        high = next((rule["value"] for rule in query["filters"] if rule["opr"] == "lt"), 10**12)
        found = [id for id in wanted if low < id < high]
        return Page(len(found), [{"id": id} for id in found[: min(100, query["page_size"])]])

    assert [row["id"] for row in read_by_id_windows(fetch, ["id"])] == wanted
    assert queries < 120


def test_a_server_that_never_makes_sense_is_given_up() -> None:
    def fetch(query: Mapping[str, Any]) -> Page:
        return Page(7, [{"id": 1}, {"id": 1}])

    with pytest.raises(SupersetUnreachable, match="makes no sense"):
        read_all(fetch, ["id"], max_parallel=1)


@pytest.mark.parametrize(("capped", "requests"), [(False, 1), (True, 3)])
def test_databases_come_in_one_request_and_also_from_a_fork_with_a_cap(capped: bool, requests: int) -> None:
    fake = FakeSuperset()
    fake.databases_are_capped = capped
    for number in range(130):
        fake.add_database(f"db {number}")
    assert len(client_of(fake).list_databases()) == 130
    assert len(fake.rison_queries) == requests


def test_counting_costs_one_small_request() -> None:
    fake, _ = many(130)
    assert client_of(fake).count("chart") == 130
    assert fake.rison_queries[-1] == (
        "chart",
        {"page": 0, "page_size": 1, "columns": ["id"], "keys": ["none"]},
    )


# -- rows --------------------------------------------------------------------------------------------


def test_rows_have_aware_times_and_people() -> None:
    row = dashboard_row(
        {
            "id": 9, "uuid": "u", "dashboard_title": "D", "slug": "", "published": True,
            "changed_on_utc": "2026-11-23T04:27:35.574629+0000",
            "changed_by": {"first_name": "Ada", "last_name": "Admin"},
            "owners": [{"id": 1, "first_name": "Bo", "last_name": "Li", "email": "bo@x.test"}],
            "roles": [{"name": "Sales"}], "tags": [{"name": "owner:1", "type": 3}, {"name": "gold", "type": 1}],
        }
    )  # fmt: skip
    assert row.changed_on == datetime(2026, 11, 23, 4, 27, 35, 574629, tzinfo=UTC)
    assert (row.changed_by, row.slug, row.roles, row.tags) == ("Ada Admin", None, ("Sales",), ("gold",))
    assert (row.owners[0].name, row.owners[0].email) == ("Bo Li", "bo@x.test")


def test_rows_of_old_and_half_empty_answers() -> None:
    assert dataset_row({"id": 1, "table_name": "t", "database": {"id": 2}, "sql": "SELECT 1"}).is_virtual
    assert dataset_row({"id": 1, "database": None}).database_id == 0
    assert chart_row({"id": 1, "datasource_id": None}).dataset_id is None
    assert chart_row({"id": 1, "datasource_id": 5, "datasource_type": "query"}).dataset_id is None
    assert chart_row({"id": 1, "dashboards": [{"id": 4}, {"id": 2}], "changed_by": None}).dashboard_ids == (
        2,
        4,
    )
    assert database_row({"id": 1, "database_name": "d"}).backend == ""


def test_times() -> None:
    assert moment("2026-01-02T03:04:05+02:00") == datetime(2026, 1, 2, 1, 4, 5, tzinfo=UTC)
    assert moment("2026-01-02T03:04:05") == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert moment("yesterday") is moment(None) is moment("") is None


# -- rison -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"page": 0, "columns": ["id", "owners.id"]}, "(page:0,columns:!(id,owners.id))"),
        ([1, -2, 1.5, None, True, False], "!(1,-2,1.5,!n,!t,!f)"),
        ("it's a !", "'it!'s a !!'"),
        ("12", "'12'"),
        ("-a", "'-a'"),
        ("", "''"),
        ("Straße", "'Straße'"),
        ({"a b": {"c": []}}, "('a b':(c:!()))"),
        ("2026-01-01T00:00:00", "'2026-01-01T00:00:00'"),
    ],
)
def test_rison(value: object, text: str) -> None:
    assert rison(value) == text
    assert parse_rison(text) == value


def test_what_is_not_rison() -> None:
    with pytest.raises(TypeError):
        rison(object())
