"""Readings: what they cost, what they keep, what ends them, and what is forgotten."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from environments import events, readings, services
from environments import reading as reading_module
from environments.canonical.comparison import comparison_fingerprint
from environments.models import (
    Asset,
    AssetReference,
    Document,
    Environment,
    GoneAsset,
    Reading,
    Reason,
    Snapshot,
)
from environments.store import get_documents, latest_complete, load_snapshot
from environments.superset.errors import SupersetRefused, SupersetUnreachable
from tests.fakes.superset import FakeSuperset

from .conftest import fill
from .test_reading import LISTS, asked, touch, uuid_of

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]

Told = list[tuple[str, frozenset[tuple[str, str]] | None]]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    """What those were told who want to know of readings; the first of them always fails."""
    heard: Told = []

    def broken(environment: Environment, changed: events.Changed) -> None:
        Environment.objects.create(slug=environment.slug, name="the same slug again")  # fails in the database

    monkeypatch.setattr(
        events, "_receivers", [broken, lambda env, changed: heard.append((env.slug, changed))]
    )
    return heard


def test_a_reading_keeps_contents_references_and_what_it_cost(
    environment: Environment, superset: FakeSuperset, told: Told
) -> None:
    row = services.run_reading(environment)
    ids = [
        superset.id_of("dashboard", uuid_of(superset, "dashboard", f"Dashboard {number}"))
        for number in (1, 2)
    ]
    looks = [f"/api/v1/dashboard/{number}" for number in ids]  # for damage, which exports hide
    assert sorted(asked(superset)) == sorted([*LISTS, "/api/v1/assets/export/", *looks])
    assert (row.state, row.mode, row.swept) == ("done", "first", 0)
    assert row.requests["list"] == 4
    assert (row.requests["export"], row.requests["sweep"]) == (1, 0)
    assert row.requests["other"] > 0  # signing in, and which version it is
    assert row.found["chart"] == {"added": 6, "changed": 0, "gone": 0, "same": 0}
    assert row.snapshot == latest_complete(environment)
    assert (row.snapshot.reason, row.snapshot.entries.count()) == (Reason.READING, 11)
    assert not Asset.objects.filter(document=None).exists()
    documents = get_documents(Asset.objects.values_list("document_id", flat=True))
    for asset in Asset.objects.all():
        assert asset.comparable == comparison_fingerprint(documents[str(asset.document_id)])
    board = uuid_of(superset, "dashboard", "Dashboard 1")
    named = AssetReference.objects.filter(environment=environment, from_uuid=board)
    assert sorted(named.values_list("to_kind", "how")) == [("chart", "needs")] * 3
    assert (
        AssetReference.objects.count() == 6 + 6 + 2
    )  # dashboards to charts, charts to datasets, datasets to database
    assert [(slug, len(changed or ())) for slug, changed in told] == [("dev", 11)]


def test_nothing_changed_costs_the_lists_and_no_export(
    environment: Environment, superset: FakeSuperset, told: Told
) -> None:
    first = services.run_reading(environment)
    asked(superset)
    again = services.run_reading(environment)
    assert asked(superset) == LISTS
    assert again.requests == {"list": 4, "export": 0, "sweep": 0, "other": 0}
    assert (again.mode, again.added, again.changed, again.gone) == ("changes", 0, 0, 0)
    assert again.snapshot == first.snapshot
    assert told[-1] == ("dev", frozenset())


def test_what_changed_is_exported_and_who_did_it_is_kept(
    environment: Environment, superset: FakeSuperset, told: Told
) -> None:
    services.run_reading(environment)
    asked(superset)
    chart, dataset = uuid_of(superset, "chart", "Chart 2.1"), uuid_of(superset, "dataset", "orders_1")
    before = Asset.objects.get(uuid=chart)
    touch(superset, "chart", chart)
    superset.record("chart", chart)["data"]["dataset_uuid"] = dataset
    superset.record("chart", chart)["changed_by"] = {"first_name": "Grace", "last_name": "Hopper"}
    board = uuid_of(superset, "dashboard", "Dashboard 2")
    content = Asset.objects.get(uuid=board).document_id
    del superset.assets["dashboard"][superset.id_of("dashboard", board)]
    new = superset.add_chart("New", dataset=dataset)
    row = services.run_reading(environment)
    assert asked(superset) == [*LISTS, "/api/v1/chart/export/"]
    assert row.requests["export"] == 1
    assert (row.added, row.changed, row.gone) == (1, 1, 1)
    after = Asset.objects.get(uuid=chart)
    assert after.comparable != before.comparable
    assert after.changed_by == "Grace Hopper"
    assert list(AssetReference.objects.filter(from_uuid=chart).values_list("to_uuid", flat=True)) == [dataset]
    assert not AssetReference.objects.filter(from_uuid=board).exists()
    gone = GoneAsset.objects.get()
    assert (gone.kind, gone.uuid, gone.title, gone.document_id) == (
        "dashboard",
        board,
        "Dashboard 2",
        content,
    )
    changed = told[-1][1]
    assert changed is not None
    assert {("chart", chart), ("chart", new), ("dashboard", board)} <= changed
    assert ("dashboard", uuid_of(superset, "dashboard", "Dashboard 1")) not in changed
    superset.add_dashboard("Dashboard 2", charts=[], uuid=board)
    services.run_reading(environment)
    assert not GoneAsset.objects.exists()


def test_a_reading_that_breaks_off_leaves_the_last_good_one(
    environment: Environment, superset: FakeSuperset
) -> None:
    """Half of the exports came; then the server goes away."""
    services.run_reading(environment)
    good = latest_complete(environment)
    rows = list(Asset.objects.order_by("pk").values("uuid", "title", "document_id", "last_seen_at"))
    assert good is not None
    for kind, title in (("chart", "Chart 1.1"), ("dataset", "orders_2")):
        record = superset.record(kind, uuid_of(superset, kind, title))
        record["changed_on"] = timezone.now()
        record["data"]["description"] = "changed"
    superset.misbehave("GET", "/api/v1/dataset/export/", "refused", times=None)
    with pytest.raises(SupersetUnreachable):
        services.run_reading(environment)
    row = environment.readings.first()
    assert row is not None
    assert (row.state, row.snapshot, row.error["code"]) == ("failed", None, "connection_refused")
    assert row.requests["other"] > 0
    environment.refresh_from_db()
    assert environment.inventory_error["code"] == "connection_refused"
    assert latest_complete(environment) == good
    assert list(Asset.objects.order_by("pk").values("uuid", "title", "document_id", "last_seen_at")) == rows
    superset._faults.clear()
    assert services.run_reading(environment).changed == 2
    environment.refresh_from_db()
    assert environment.inventory_error is None


def test_whose_worker_died_is_told_so(environment: Environment) -> None:
    lost = Reading.objects.create(environment=environment)
    services.run_reading(environment)
    lost.refresh_from_db()
    assert (lost.state, lost.error["code"]) == ("failed", "worker_lost")  # type: ignore[index]


def test_what_lists_do_not_tell_is_found_by_the_sweep(
    environment: Environment, superset: FakeSuperset
) -> None:
    """Columns that came with a refresh leave changed_on as it is (superset-api.md 4.3)."""
    services.run_reading(environment)
    dataset = uuid_of(superset, "dataset", "orders_1")
    superset.record("dataset", dataset)["data"]["columns"] = [{"column_name": "added"}]
    asked(superset)
    assert services.run_reading(environment).changed == 0
    assert asked(superset) == LISTS
    Reading.objects.update(started_at=timezone.now() - timedelta(days=1))
    row = services.run_reading(environment)
    assert asked(superset) == [*LISTS, "/api/v1/dataset/export/"]
    assert row.requests == {"list": 4, "export": 0, "sweep": 1, "other": 0}
    assert row.swept == 3  # two datasets, with their connection
    assert row.found["dataset"]["changed"] == 1
    assert services.run_reading(environment).swept == 0


@pytest.mark.parametrize(
    ("total", "hours", "due"),
    [
        (10_000, 0.01, 0),
        (10_000, 1, 416),
        (10_000, 24, 500),
        (300, 1, 0),
        (300, 2, 25),
        (300, 48, 50),
        (5, 24, 5),
    ],
)
def test_the_sweep_is_spread_over_a_day(environment: Environment, total: int, hours: float, due: int) -> None:
    environment.asset_counts = {"chart": total}
    now = timezone.now()
    Reading.objects.create(
        environment=environment, state="done", mode="first", started_at=now - timedelta(hours=hours)
    )
    assert readings.sweep_due(environment, now) == due


def test_a_large_estate_is_read_in_parallel_with_few_documents_in_memory(
    registered: Callable[..., Environment], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading_module, "SMALL_ESTATE", 50)
    monkeypatch.setattr(reading_module, "IN_MEMORY", 40)
    monkeypatch.setitem(reading_module.EXPORT_CHUNK, "dashboard", 5)
    fake = fill(FakeSuperset(), dashboards=30, charts=2)
    environment = registered(fake, max_parallel=2)
    both = threading.Barrier(2, timeout=20)  # passed by two requests that are under way at the same time

    def together(request: Any) -> None:
        both.wait()

    fake.misbehave("GET", "/api/v1/dashboard/export/", together, times=None)
    most: list[int] = []
    put_away = reading_module.EnvironmentReading.put_away

    def spied(self: Any) -> None:
        most.append(len(self.documents))
        put_away(self)

    monkeypatch.setattr(reading_module.EnvironmentReading, "put_away", spied)
    row = services.run_reading(environment)
    assert row.counts == {"database": 1, "dataset": 30, "chart": 60, "dashboard": 30}
    assert row.requests["export"] == 6
    assert max(most) < 40 + 5 * 4 + 1
    assert row.snapshot is not None
    assert len(load_snapshot(row.snapshot).documents) == 121
    assert not both.broken


def test_snapshots_and_documents_do_not_grow_without_bound(
    environment: Environment, superset: FakeSuperset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readings, "KEPT_SNAPSHOTS", 3)
    monkeypatch.setattr(readings, "KEPT_READINGS", 4)
    chart = uuid_of(superset, "chart", "Chart 1.1")
    kept = []
    for number in range(7):
        touch(superset, "chart", chart)
        superset.record("chart", chart)["data"]["description"] = f"edit {number}"
        kept.append(services.run_reading(environment).snapshot)
        if number == 1:  # what somebody refers to stays
            from tests.factories import make_environment, make_migration, make_plan

            plan = make_plan(make_migration(environment, make_environment("prod")))
            type(plan).objects.update(source_snapshot=kept[1])
    assert set(environment.snapshots.all()) == {kept[1], *kept[-3:]}
    Document.objects.update(kept_at=timezone.now() - timedelta(days=2))
    before = Document.objects.count()
    assert readings.forget_documents() == 3  # the edits 0, 2 and 3
    assert Document.objects.count() == before - 3
    assert len(load_snapshot(kept[1]).documents) == 11  # type: ignore[arg-type]
    readings.forget_readings()
    assert environment.readings.count() == 4
    assert Snapshot.objects.filter(pk__in=[one.pk for one in kept if one]).count() == 4


def test_the_page_and_rest_show_what_readings_cost(
    environment: Environment,
    superset: FakeSuperset,
    owner: Any,
    signed_in: Callable[[Any], Client],
    api: Callable[[Any], APIClient],
    run_jobs: Callable[[], int],
) -> None:
    job = services.request_reading(environment, actor=owner)
    run_jobs()
    environment.refresh_from_db()
    services.run_reading(environment)
    superset.users = {}
    superset.expire_tokens()
    with pytest.raises(SupersetRefused):
        services.run_reading(environment)
    text = signed_in(owner).get(f"/environments/{environment.slug}/").content.decode()
    card = text[text.index('id="readings-title"') :]
    assert card.count("<tr>") == 4
    assert "first reading" in card
    assert f"/jobs/{job.uuid}/" in card
    assert "4 lists, 1 export" in card
    assert "4 lists, no exports" in card
    assert "nothing changed" in card
    assert "Nothing was changed here." in card
    rows = api(owner).get(f"/api/v1/environments/{environment.uuid}/readings/").json()["results"]
    assert [row["state"] for row in rows] == ["failed", "done", "done"]
    assert rows[0]["error"]["code"] == "unauthorized"
    assert rows[1]["requests"] == {"list": 4, "export": 0, "sweep": 0, "other": 0}
    assert rows[2]["job"] == str(job.uuid)
    assert rows[2]["found"]["chart"] == {"added": 6, "changed": 0, "gone": 0, "same": 0}
