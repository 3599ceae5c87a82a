"""REST of assets over all environments and of pairings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from migrations_app.models import Pairing
from sstools.audit.models import AuditEvent
from sstools.resources import resource_name
from tests.factories import uuid_for

from .conftest import World, chart_document

pytestmark = pytest.mark.django_db
SALES, FACT = uuid_for("Sales overview"), uuid_for("sales_fact")


@pytest.fixture
def program(world: World, author: Any, api: Callable[[Any], APIClient]) -> APIClient:
    return api(author)


def test_an_asset_over_all_environments(program: APIClient) -> None:
    found = program.get(f"/api/v1/assets/dashboards/{SALES}/").json()
    assert (found["key"], found["reference"]) == (SALES, "dev")
    places = {place["environment"]: place for place in found["environments"]}
    assert [(slug, places[slug]["state"], places[slug]["changes"]) for slug in places] == [
        ("dev", "source", 0),
        ("stage", "behind", 3),
        ("prod", "drifted", 1),
    ]
    assert places["prod"]["url"] == f"/go/prod/dashboard/{SALES}/"
    assert places["prod"]["changed_by"] == "Irina Petrova"
    refund = program.get(f"/api/v1/assets/charts/{uuid_for('Refund rate')}/").json()
    gone = refund["environments"][2]
    assert (gone["is_there"], gone["uuid"], gone["superset_id"], gone["state"]) == (False, "", None, "absent")
    assert program.get(f"/api/v1/assets/charts/{SALES}/").status_code == 404


def test_graph_and_impact(program: APIClient) -> None:
    graph = program.get(f"/api/v1/assets/datasets/{FACT}/graph/?environment=prod").json()
    steps = {node["title"]: node["steps"] for node in graph["nodes"]}
    assert steps == {"DWH": -1, "sales_fact": 0, "Revenue by month": 1, "Sales overview": 2}
    assert {
        "from_kind": "dataset",
        "from_uuid": FACT,
        "to_kind": "database",
        "to_uuid": uuid_for("DWH"),
    }.items() <= (next(edge for edge in graph["edges"] if edge["to_kind"] == "database").items())
    impact = program.get(f"/api/v1/assets/datasets/{FACT}/impact/?column=region").json()
    by_environment = {
        one["environment"]: [(user["title"], user["is_maybe"]) for user in one["users"]] for one in impact
    }
    hit = [("Revenue by month", False), ("Sales overview", False)]
    assert by_environment == {"dev": hit, "stage": hit, "prod": hit}
    only = program.get(f"/api/v1/assets/datasets/{FACT}/impact/?environment=dev").json()
    assert [one["environment"] for one in only] == ["dev"]
    assert only[0]["users"][0]["uses"] == []
    history = program.get(f"/api/v1/assets/datasets/{FACT}/history/").json()
    assert {event["what"] for event in history} == {"edited"}


def test_pairings_are_made_listed_and_removed(program: APIClient, world: World) -> None:
    one = uuid_for("Refund rate")
    other = chart_document("Refund rate", FACT, uuid_for("other"))
    world.add(world.prod, other)
    query = f"source=dev&target=prod&kind=chart&uuid={one}"
    suggested = program.get(f"/api/v1/pairings/suggestions/?{query}").json()
    assert suggested[0]["uuid"] == other.uuid
    assert "same title" in suggested[0]["reasons"]
    body = {"source": "dev", "target": "prod", "kind": "chart", "source_uuid": one, "target_uuid": other.uuid}
    made = program.post("/api/v1/pairings/", body, format="json").json()
    listed = program.get(f"/api/v1/pairings/?uuid={other.uuid}").json()["results"]
    assert listed == [made]
    assert made["created_by"] == "author"
    assert AuditEvent.objects.get(action="pairing:set").source == "api"
    assert program.get(f"/api/v1/assets/charts/{other.uuid}/").json()["uuids"] == sorted([one, other.uuid])
    assert program.delete(f"/api/v1/pairings/{made['id']}/").status_code == 204
    assert not Pairing.objects.exists()
    same = {**body, "target_uuid": one}
    refused = program.post("/api/v1/pairings/", same, format="json")
    assert refused.status_code == 422
    assert "target_uuid" in str(refused.json())


def test_what_may_not_be_seen_is_not_there(
    world: World, make_user: Any, api: Callable[[Any], APIClient], author: Any
) -> None:
    row = Pairing.objects.create(
        source=world.dev,
        target=world.prod,
        kind="chart",
        source_uuid=FACT,
        target_uuid=SALES,
        created_by=author,
    )
    only_dev = api(make_user("dev only", "author", resource_name(world.dev)))
    assert only_dev.get("/api/v1/pairings/").json()["results"] == []
    assert only_dev.delete(f"/api/v1/pairings/{row.pk}/").status_code == 404
    answer = only_dev.get(f"/api/v1/assets/datasets/{FACT}/impact/").json()
    assert [one["environment"] for one in answer] == ["dev"]
    assert (
        only_dev.get(f"/api/v1/assets/datasets/{FACT}/graph/?environment=prod").json()["environment"] == "dev"
    )
    body = {"source": "dev", "target": "prod", "kind": "chart", "source_uuid": FACT, "target_uuid": FACT}
    assert only_dev.post("/api/v1/pairings/", body, format="json").status_code == 404
    viewer = api(make_user("viewer two", "viewer"))
    assert viewer.delete(f"/api/v1/pairings/{row.pk}/").status_code == 403
