"""The inventory says what the lists said, at any size."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from environments import services
from environments.models import Asset, Environment, Reading
from tests.fakes.superset import FakeSuperset

from .conftest import DB, fill

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]


def test_rows_say_what_the_lists_say(environment: Environment, superset: FakeSuperset) -> None:
    found = services.run_reading(environment)
    assert (found.added, found.changed, found.gone) == (11, 0, 0)
    chart = Asset.objects.get(title="Chart 1.2")
    dataset = Asset.objects.get(title="orders_1")
    board = Asset.objects.get(title="Dashboard 1")
    database = Asset.objects.get(kind="database")
    assert (chart.dataset_uuid, chart.database_uuid, chart.dashboard_uuids) == (
        dataset.uuid,
        DB,
        [board.uuid],
    )
    assert (dataset.database_uuid, dataset.schema, dataset.is_virtual) == (DB, "sales", False)
    assert (board.slug, board.published) == ("board-1", True)
    assert (database.backend, database.changed_on) == ("postgresql", None)
    assert chart.superset_id == superset.id_of("chart", chart.uuid)
    assert chart.changed_by == "Ada Admin"
    fresh = Environment.objects.get(pk=environment.pk)
    assert fresh.asset_counts == {"database": 1, "dataset": 2, "chart": 6, "dashboard": 2}
    assert fresh.inventory_at is not None
    assert fresh.last_reached_at is not None
    assert fresh.version == "6.1.0"  # learned on the way, without a test


def test_reading_again_writes_only_what_changed(environment: Environment, superset: FakeSuperset) -> None:
    services.run_reading(environment)
    ids = dict(Asset.objects.values_list("uuid", "pk"))
    first_seen = dict(Asset.objects.values_list("uuid", "first_seen_at"))
    chart = Asset.objects.get(title="Chart 1.1")
    superset.record("chart", chart.uuid)["data"]["slice_name"] = "Renamed"
    superset.record("chart", chart.uuid)["tags"] = [
        {"id": 1, "name": "Executive", "type": 1},
        {"id": 2, "name": "Ёлки", "type": 1},
        {"id": 3, "name": "owner:1", "type": 3},
    ]
    board = Asset.objects.get(title="Dashboard 2")
    del superset.assets["dashboard"][board.superset_id]
    superset.add_chart("New", dataset=chart.dataset_uuid)
    found = services.run_reading(environment)
    # The charts of the dashboard that is gone are members of one less, which is no content of theirs.
    assert (found.added, found.changed, found.gone) == (1, 1, 1)
    assert not Asset.objects.filter(dashboard_uuids__icontains=board.uuid).exists()
    chart.refresh_from_db()
    assert chart.title == "Renamed"
    assert "renamed" in chart.search_text
    assert (chart.tags, chart.tag_text) == (["Executive", "Ёлки"], "\nexecutive\n\nелки\n")
    environment.refresh_from_db()
    assert environment.asset_tags == ["Executive", "Ёлки"]
    assert not Asset.objects.filter(pk=board.pk).exists()
    kept = dict(Asset.objects.values_list("uuid", "pk"))
    assert all(ids[uuid] == kept[uuid] for uuid in ids.keys() & kept.keys())
    assert Asset.objects.get(pk=chart.pk).first_seen_at == first_seen[chart.uuid]
    assert Asset.objects.values("last_seen_at").distinct().count() == 1


def test_thousands_are_complete_and_take_few_queries(registered: Callable[..., Environment]) -> None:
    fake = fill(FakeSuperset(), dashboards=0)
    dataset = fake.add_dataset("wide", database=DB)
    for number in range(1_234):
        fake.add_chart(f"Chart {number}", dataset=dataset)
    environment = registered(fake)
    assert services.run_reading(environment).counts["chart"] == 1_234
    assert Asset.objects.filter(kind="chart").count() == 1_234
    with CaptureQueriesContext(connection) as queries:
        services.run_reading(environment)
    assert len(queries) < 60  # however many there are; with all who want to know of readings


def test_two_instances_of_one_uuid_are_two_rows(registered: Callable[..., Environment]) -> None:
    for name, first_id in (("Dev", 1), ("Prod", 1000)):
        fake = FakeSuperset(first_id=first_id)
        fake.users = {"admin": "correct-horse-battery"}
        fake.add_database("Warehouse", uuid=DB)
        services.run_reading(registered(fake, name))
    assert sorted(Asset.objects.values_list("superset_id", flat=True)) == [1, 1000]


def test_hostile_titles_are_kept_as_text(environment: Environment, superset: FakeSuperset) -> None:
    dataset = next(iter(superset.assets["dataset"].values()))["data"]["uuid"]
    for title in ("<script>alert(1)</script>", "x" * 900, "nul\x00inside", "ЁЛКА"):
        superset.add_chart(title, dataset=dataset)
    services.run_reading(environment)
    titles = set(Asset.objects.values_list("title", flat=True))
    assert {"<script>alert(1)</script>", "x" * 500, "nulinside", "ЁЛКА"} <= titles
    # What a Superset exports in a form that nobody may read hides nothing else, and is told.
    assert Asset.objects.get(document=None).title == "nulinside"
    (note,) = Reading.objects.get().snapshot.notes  # type: ignore[union-attr]
    assert (note["code"], "contains NUL characters" in note["text"]) == ("unreadable", True)
    assert Asset.objects.filter(search_text__contains="елка").count() == 1
