"""Environments on real Supersets: how many requests a reading takes, and what it notices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model

from environments import reading as reading_module
from environments import services
from environments.canonical.documents import Kind
from environments.connections import connect
from environments.lab.instance import RunningSuperset
from environments.models import CheckState, Environment, Snapshot
from environments.reading import EnvironmentReading, read_everything, read_selected
from environments.store import take_snapshot
from environments.superset.auth import SessionAuth
from environments.superset.client import SupersetClient

pytestmark = [pytest.mark.live, pytest.mark.django_db]
EXAMPLES = {"database": 1, "dataset": 21, "chart": 103, "dashboard": 9}
LISTS = ["dashboard", "chart", "chart", "dataset", "database"]  # 103 charts are two pages


def register(superset: RunningSuperset, name: str = "Dev") -> Environment:
    owner = get_user_model().objects.create_superuser("owner", password="a long password 1")
    values = {"name": name, "url": superset.url, "username": superset.username, "secret": superset.password}
    return services.register_environment(values, actor=owner)


def read(environment: Environment, **options: Any) -> tuple[EnvironmentReading, list[str]]:
    """The reading, and the paths below /api/v1/ that it asked for."""
    with connect(environment) as client:
        found = read_everything(client, environment, **options)
        take_snapshot(environment, found, "reading")
        return found, _paths(client)


def _paths(client: SupersetClient) -> list[str]:
    paths = [record.path.split("?")[0] for record in client.log]
    asked = [path.removeprefix("/api/v1/").strip("/") for path in paths if path.startswith("/api/v1/")]
    return [path for path in asked if not path.startswith("security/")]


def fingerprints(found: EnvironmentReading) -> dict[str, str]:
    return {uuid: document.fingerprint for uuid, document in found.documents.items()}


def test_all_examples_are_read_with_one_request(dev: RunningSuperset) -> None:
    found, asked = read(register(dev))
    assert (found.counts(), asked, found.requests) == (EXAMPLES, ["assets/export"], 1)
    assert found.complete
    assert not found.unreadable


def test_reading_again_unchanged_asks_for_lists_only(dev: RunningSuperset) -> None:
    environment = register(dev)
    first, _ = read(environment)
    for _ in range(2):
        again, asked = read(environment)
        assert asked == LISTS
        assert fingerprints(again) == fingerprints(first)
    assert Snapshot.objects.count() == 1


def test_chunks_and_a_full_export_are_the_same(dev: RunningSuperset, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = register(dev)
    whole, _ = read(environment)
    services.run_reading(environment)
    monkeypatch.setattr(reading_module, "SMALL_ESTATE", 10)
    chunked, asked = read(environment, fresh=True)
    assert fingerprints(chunked) == fingerprints(whole)
    assert "assets/export" not in asked
    assert len(asked) <= len(LISTS) + 3


def test_chosen_dashboards_read_alone_are_as_in_the_whole(dev: RunningSuperset) -> None:
    environment = register(dev)
    whole, _ = read(environment)
    for uuid in [document.uuid for document in whole.of_kind(Kind.DASHBOARD)]:
        number = whole.ids.id_of(Kind.DASHBOARD, uuid)
        assert number is not None
        with connect(environment) as client:
            chosen = read_selected(client, environment, {Kind.DASHBOARD: [number]})
        assert uuid in chosen.documents
        different = [
            d.title for u, d in chosen.documents.items() if d.fingerprint != whole.documents[u].fingerprint
        ]
        assert not different


def test_the_test_and_the_inventory(dev: RunningSuperset) -> None:
    environment = register(dev)
    report = services.run_check(environment)
    assert [stage.name for stage in report.stages if stage.ok is False] == []
    fresh = Environment.objects.get(pk=environment.pk)
    assert (fresh.check_state, fresh.version) == (CheckState.OK, "6.1.0")
    found = services.run_reading(fresh)
    assert found.counts == EXAMPLES
    assert services.run_reading(fresh).changed == 0


def test_links_lead_to_pages_of_superset(dev: RunningSuperset) -> None:
    environment = register(dev)
    services.run_reading(environment)
    with SupersetClient(dev.url, SessionAuth(dev.username, dev.password)) as browser:
        for kind in Kind:
            asset = environment.assets.filter(kind=kind).first()
            assert asset is not None
            answer = browser._request("GET", asset.url_path, checked=False)
            assert (kind, answer.status) == (kind, 200)


def test_what_happens_on_a_real_instance_is_noticed(fresh_target: Callable[..., RunningSuperset]) -> None:
    """The marks and clocks of reading.py against Superset's own changed_on."""
    superset = fresh_target(contents="examples")
    environment = register(superset)
    first, _ = read(environment)
    read(environment)
    charts = {d.title: d.uuid for d in first.of_kind(Kind.CHART)}
    names = sorted(charts)
    with connect(environment) as client:
        edited, moved, deleted = (first.ids.id_of(Kind.CHART, charts[name]) for name in names[:3])
        board = first.of_kind(Kind.DASHBOARD)[0]
        board_id = first.ids.id_of(Kind.DASHBOARD, board.uuid)
        assert edited
        assert moved
        assert deleted
        assert board_id
        client.update("chart", edited, {"description": "edited"})
        boards = next(row.dashboard_ids for row in client.list_charts() if row.id == moved)
        client.update("chart", moved, {"dashboards": sorted({*boards, board_id})})
        client.delete("chart", deleted)
    again, asked = read(environment)
    assert again.documents.keys() == first.documents.keys() - {charts[names[2]]}
    assert again.documents[charts[names[0]]].body["description"] == "edited"
    assert charts[names[1]] in str(again.documents[board.uuid].body["position"])
    assert "dashboard/export" in asked
    fresh, _ = read(environment, fresh=True)
    assert fingerprints(fresh) == fingerprints(again)


def test_4_1_4_is_tested_and_read(old_target: RunningSuperset) -> None:
    environment = register(old_target)
    report = services.run_check(environment)
    assert report.ok
    assert report.version == "4.1.4"
    found, asked = read(environment)
    assert found.counts()["database"] == 1
    assert "assets/export" not in asked
