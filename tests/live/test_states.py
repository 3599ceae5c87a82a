"""Edits on two real Supersets, on either side or both: state, direction, author and sentence, within one reading."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from environments.lab.instance import RunningSuperset
from environments.lab.rest import Rest
from environments.models import Asset, Environment
from migrations_app.estate.models import SyncState
from tests.live.nasty import native_filter
from tests.live.product import Product, product

pytestmark = [pytest.mark.live]
__all__ = ["product"]


class Editor:
    """Somebody at work in a Superset, who knows assets by title."""

    def __init__(self, superset: RunningSuperset, environment: Environment, name: str) -> None:
        Rest(superset).add_user(name, "a long password 1", "Admin")
        self.rest, self.environment = Rest(superset, name, "a long password 1"), environment

    def path(self, kind: str, title: str) -> str:
        number = Asset.objects.get(environment=self.environment, kind=kind, title=title).superset_id
        return f"/api/v1/{kind}/{number}"

    def get(self, kind: str, title: str) -> dict[str, Any]:
        result: dict[str, Any] = self.rest.call("GET", self.path(kind, title))["result"]
        return result

    def put(self, kind: str, title: str, **fields: Any) -> None:
        self.rest.call("PUT", self.path(kind, title), fields)

    def add_filter(self, dashboard: str, name: str, dataset: str) -> None:
        metadata = json.loads(self.get("dashboard", dashboard)["json_metadata"])
        number = int(self.path("dataset", dataset).rpartition("/")[2])
        metadata["native_filter_configuration"] = [native_filter(name, number, "genre", [], [])]
        self.put("dashboard", dashboard, json_metadata=json.dumps(metadata))

    def move(self, dashboard: str) -> None:
        position = json.loads(self.get("dashboard", dashboard)["position_json"])
        (row, *_) = [
            part for part in position.values() if isinstance(part, dict) and len(part.get("children", ())) > 1
        ]
        row["children"].reverse()
        self.put("dashboard", dashboard, position_json=json.dumps(position))

    def change_metric(self, dataset: str, expression: str) -> None:
        names = ("id", "metric_name", "expression", "verbose_name")
        metrics = [
            {name: metric[name] for name in names} for metric in self.get("dataset", dataset)["metrics"]
        ]
        metrics[0]["expression"] = expression
        self.put("dataset", dataset, metrics=metrics)


def test_an_edit_on_either_side_or_both_shows_with_state_author_and_sentence(
    product: Product,
    fresh_target: Callable[..., RunningSuperset],
) -> None:
    here, there = fresh_target(contents="examples"), fresh_target()
    dev, prod = product.register("dev", here), product.register("prod", there)
    names = ("Featured Charts", "Video Game Sales", "Slack Dashboard")
    chosen = [uuid for name in names for uuid in product.uuids(dev, "dashboard", title=name)]
    product.apply(product.migrate(dev, prod, chosen, verify=False))
    product.refresh(prod)
    product.refresh(dev)

    def found(title: str, kind: str = "chart") -> SyncState:
        state: SyncState = SyncState.objects.get(source=dev, target=prod, kind=kind, title=title)
        return state

    brought = SyncState.objects.filter(source=dev, target=prod, target_uuid__gt="")
    assert [(one.kind, one.title, one.sentences) for one in brought.exclude(state="in_sync")] == []
    charts = list(brought.filter(kind="chart").order_by("title").values_list("title", flat=True))
    moved, twice, gone = charts[:3]
    dataset = brought.filter(kind="dataset").order_by("title")[0].title

    ivan, grace = Editor(here, dev, "ivan"), Editor(there, prod, "grace")
    ivan.put("chart", moved, slice_name="Better")
    ivan.put("chart", twice, description="from dev")
    grace.put("chart", twice, description="from prod")
    grace.change_metric(dataset, "COUNT(1)")
    grace.add_filter("Video Game Sales", "Area", "video_game_sales")
    ivan.move("Slack Dashboard")
    grace.put("dashboard", "Featured Charts", dashboard_title="Featured on prod")
    ivan.put("dashboard", "Featured Charts", dashboard_title="Featured on dev")
    grace.rest.call("DELETE", grace.path("chart", gone))
    product.refresh(prod)
    product.refresh(dev)

    def told(title: str, kind: str = "chart") -> tuple[str, str]:
        state = found(title, kind)
        assert state.sentences, title
        return state.state, state.changed_by

    assert told("Better") == ("behind", "Ivan Lab")
    assert found("Better").sentences == [f"name: {moved} → Better"]
    assert told(twice) == ("diverged", "Grace Lab")
    assert told(dataset, "dataset") == ("drifted", "Grace Lab")
    assert "COUNT(1)" in found(dataset, "dataset").sentences[0]
    assert told("Video Game Sales", "dashboard") == ("drifted", "Grace Lab")
    assert "Area" in " ".join(found("Video Game Sales", "dashboard").sentences)
    assert told("Slack Dashboard", "dashboard") == ("behind", "Ivan Lab")
    assert told("Featured on dev", "dashboard") == ("diverged", "Grace Lab")
    deleted = found(gone)
    assert deleted.state == "absent"
    assert deleted.needs_attention
    assert deleted.sentences[0].startswith("Not on Prod any more: run ")
    # Nothing else moved but dashboards that the deleted chart stood on.
    edited = {"Better", twice, dataset, gone, "Video Game Sales", "Slack Dashboard", "Featured on dev"}
    others = SyncState.objects.filter(source=dev, target=prod, target_uuid__gt="").exclude(state="in_sync")
    assert {one.title for one in others} <= edited
    turned = SyncState.objects.get(source=prod, target=dev, kind="chart", title=moved)
    assert (turned.state, turned.changed_by) == ("drifted", "Ivan Lab")

    # The other side of each, one reading later: what only one had edited, both have.
    lost = charts[3]
    grace.put("chart", moved, slice_name="Best")
    ivan.change_metric(dataset, "COUNT(2)")
    ivan.add_filter("Video Game Sales", "Region", "video_game_sales")
    grace.put("dashboard", "Slack Dashboard", dashboard_title="Slack on prod")
    ivan.rest.call("DELETE", ivan.path("chart", lost))
    product.refresh(prod)
    product.refresh(dev)
    assert told("Better") == ("diverged", "Grace Lab")
    assert found("Better").sentences == ["name: Best → Better"]
    assert told(dataset, "dataset") == ("diverged", "Grace Lab")
    assert "COUNT(1) → COUNT(2)" in found(dataset, "dataset").sentences[0]
    assert told("Video Game Sales", "dashboard") == ("diverged", "Grace Lab")
    said = " ".join(found("Video Game Sales", "dashboard").sentences)
    assert "Area" in said
    assert "Region" in said
    assert told("Slack Dashboard", "dashboard") == ("diverged", "Grace Lab")
    left = found(lost)
    assert (left.state, left.source_uuid) == ("only_here", "")
    assert left.sentences[0].startswith("Not on Dev any more: run ")
