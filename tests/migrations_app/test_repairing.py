"""Dashboards that other tools damaged: found by a reading, mended by a migration, verified, and undone."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from django.core.management import call_command
from django.test import Client

from environments import damage
from migrations_app import repairs
from migrations_app.models import Baseline, Run
from sstools.errors import Invalid
from tests.factories import uuid_for
from tests.fakes.pair import FakePair, fake_pair
from tests.live.product import Product

pytestmark = [pytest.mark.django_db]
SALES, REVENUE, REGIONS = uuid_for("Sales"), uuid_for("Revenue"), uuid_for("Regions")


@pytest.fixture
def pair(transactional_db: None) -> Iterator[FakePair]:
    """Sales and its filter are on prod as on dev, and sound."""
    with fake_pair() as made:
        number = made.dev.id_of("dataset", uuid_for("orders"))
        made.dev.record("dashboard", SALES)["data"]["metadata"] = {
            "native_filter_configuration": [
                {
                    "id": "NATIVE_FILTER-1",
                    "name": "Region",
                    "targets": [{"datasetId": number, "column": {"name": "region"}}],
                }
            ]
        }
        made.dev.record("dashboard", SALES)["changed_on"] = made.dev._now()
        made.read()
        product = Product()
        product.apply(product.migrate(made.source, made.target, [SALES]))
        made.read()
        yield made


def _sales(pair: FakePair) -> dict[str, Any]:
    data: dict[str, Any] = pair.prod.record("dashboard", SALES)["data"]
    return data


def _put_as_exported(pair: FakePair, numbers: dict[str, int]) -> None:
    """What `preset-cli --no-cascade` does: layout and settings as another instance exported them, with its ids."""
    data = _sales(pair)
    for node in data["position"].values():
        if isinstance(node, dict) and node.get("type") == "CHART":
            node["meta"]["chartId"] = numbers[node["meta"]["uuid"]]
    for target in data["metadata"]["native_filter_configuration"][0]["targets"]:
        target.pop("datasetId")
        target["datasetUuid"] = uuid_for("orders")
    record = pair.prod.record("dashboard", SALES)
    record["changed_on"] = pair.prod._now()


def _shown(pair: FakePair) -> dict[str, str]:
    """uuid of each place -> uuid of the chart that people see there."""
    charts = {number: item["data"]["uuid"] for number, item in pair.prod.assets["chart"].items()}
    nodes = [
        node
        for node in _sales(pair)["position"].values()
        if isinstance(node, dict) and node["type"] == "CHART"
    ]
    return {node["meta"]["uuid"]: charts.get(node["meta"]["chartId"], "") for node in nodes}


def test_a_dashboard_with_the_ids_of_another_instance_is_found_mended_verified_and_put_back(
    pair: FakePair,
) -> None:
    product = _product(pair)
    assert damage.counts_of(pair.target) == {"any": 0, "broken": 0, "unseen": 0}
    other = pair.prod.add_chart("Something else", dataset=uuid_for("orders"))
    _put_as_exported(pair, {REVENUE: pair.prod.id_of("chart", other), REGIONS: 99_999})
    assert _shown(pair) == {REVENUE: other, REGIONS: ""}
    pair.read(pair.target)
    asset = pair.target.assets.get(uuid=SALES)
    assert asset.damage_codes == ",filter_without_dataset,missing_chart,wrong_chart,"
    assert damage.counts_of(pair.target)["broken"] == 1
    damaged = copy.deepcopy(_sales(pair))

    migration = repairs.create_repair(pair.target, actor=product.admin)
    assert repairs.create_repair(pair.target, [SALES], actor=product.admin) == migration  # asked twice
    assert migration.job is not None
    product.do(migration.job)
    migration.refresh_from_db()
    assert migration.plan is not None
    item = migration.plan.items.get()
    assert (item.action, item.conflict) == ("update", None)
    assert migration.plan.counts["blocked"] == 0
    pair.prod.requests.clear()
    run = product.apply(migration)
    assert run.state == "applied"
    assert len(pair.prod.writes) == 1
    assert _shown(pair) == {REVENUE: REVENUE, REGIONS: REGIONS}
    (native_filter,) = _sales(pair)["metadata"]["native_filter_configuration"]
    assert native_filter["targets"][0]["datasetId"] == pair.prod.id_of("dataset", uuid_for("orders"))
    assert {row.title: row.status for row in run.bystanders.all()} == {"Revenue": "ok", "Regions": "ok"}
    base = Baseline.objects.get(target=pair.target, uuid=SALES)
    assert base.run == run
    assert "damage" not in str(base.document and base.document.sha256)
    pair.read(pair.target)
    assert damage.counts_of(pair.target) == {"any": 0, "broken": 0, "unseen": 0}
    with pytest.raises(Invalid, match="damaged"):
        repairs.create_repair(pair.target, actor=product.admin)

    product.apply(product.roll_back(run))
    assert damaged["position"] != _sales(pair)["position"]  # what people saw is back, in sound terms
    assert set(_shown(pair).values()) == {other, REGIONS}


def test_what_shows_in_no_document_is_mended_all_the_same(pair: FakePair) -> None:
    """A filter without the id of its dataset, and charts that are no members: an export shows neither."""
    product = _product(pair)
    ids = {uuid: pair.prod.id_of("chart", uuid) for uuid in (REVENUE, REGIONS)}
    _put_as_exported(pair, ids)
    pair.prod.record("dashboard", SALES)["charts"] = {REVENUE}
    pair.read(pair.target)
    assert pair.target.assets.get(uuid=SALES).damage_codes == ",filter_without_dataset,unlinked_chart,"
    migration = repairs.create_repair(pair.target, actor=product.admin)
    product.plan(migration)
    run = product.apply(migration)
    assert run.state == "applied"
    assert pair.prod.record("dashboard", SALES)["charts"] == {REVENUE, REGIONS}
    pair.read(pair.target)
    assert damage.counts_of(pair.target)["any"] == 0


def test_a_person_says_which_of_two_truths_counts(pair: FakePair) -> None:
    product = _product(pair)
    ids = {uuid: pair.prod.id_of("chart", uuid) for uuid in (REVENUE, REGIONS)}
    _put_as_exported(pair, {REVENUE: ids[REGIONS], REGIONS: ids[REVENUE]})
    pair.read(pair.target)
    migration = repairs.create_repair(pair.target, actor=product.admin)
    plan = product.plan(migration)
    item = plan.items.get()
    assert (item.action, item.conflict["code"]) == ("blocked", "two_truths")  # type: ignore[index]
    assert item.conflict["options"] == ["by_uuid", "by_id", "leave_out"]  # type: ignore[index]
    product.answer(migration, {SALES: "by_uuid"})
    run = product.apply(migration)
    assert run.state == "applied"
    assert _shown(pair) == {REVENUE: REVENUE, REGIONS: REGIONS}


def test_damage_that_grew_after_the_plan_makes_it_stale(pair: FakePair) -> None:
    product = _product(pair)
    _put_as_exported(pair, {uuid: pair.prod.id_of("chart", uuid) for uuid in (REVENUE, REGIONS)})
    pair.read(pair.target)
    migration = repairs.create_repair(pair.target, actor=product.admin)
    product.plan(migration)
    pair.prod.record("dashboard", SALES)["charts"] = {REVENUE}
    pair.prod.requests.clear()
    run = product.apply(migration, "failed")
    assert (run.state, run.error["code"]) == ("stopped", "stale_plan")  # type: ignore[index]
    assert pair.prod.writes == []


def test_a_repair_that_superset_does_not_carry_out_is_no_success(pair: FakePair) -> None:
    """It answers OK and leaves the damage: read back, it shows, and the run is no success."""
    product = _product(pair)
    _put_as_exported(pair, {uuid: pair.prod.id_of("chart", uuid) for uuid in (REVENUE, REGIONS)})
    pair.read(pair.target)
    migration = repairs.create_repair(pair.target, actor=product.admin)
    product.plan(migration)

    def only_says_so(request: Any) -> Any:
        import httpx

        return httpx.Response(200, json={"message": "OK"})

    pair.prod.misbehave("POST", "/api/v1/assets/import/", only_says_so)
    run = product.apply(migration, "failed")
    assert run.state == "rolled_back"
    assert (run.error or {})["cause"]["code"] == "not_as_planned"
    assert Run.objects.filter(state="needs_attention").count() == 0


def test_an_edit_besides_the_damage_stays_a_question(pair: FakePair) -> None:
    product = _product(pair)
    _put_as_exported(pair, {uuid: pair.prod.id_of("chart", uuid) for uuid in (REVENUE, REGIONS)})
    _sales(pair)["description"] = "Ours by now"
    base = Baseline.objects.get(target=pair.target, uuid=SALES)
    pair.read(pair.target)
    migration = repairs.create_repair(pair.target, actor=product.admin)
    product.plan(migration)
    assert product.apply(migration).state == "applied"
    assert Baseline.objects.get(target=pair.target, uuid=SALES).present == base.present
    pair.dev.record("dashboard", SALES)["data"]["description"] = "Theirs"
    pair.dev.record("dashboard", SALES)["changed_on"] = pair.dev._now()
    pair.read()
    later = product.migrate(pair.source, pair.target, [SALES])
    assert later.plan is not None
    item = later.plan.items.get(uuid=SALES)
    assert (item.action, item.conflict["code"]) == ("blocked", "diverged")  # type: ignore[index]


@pytest.mark.parametrize("status", [403, 404])
def test_an_account_that_is_not_shown_every_chart_mends_no_place_away(pair: FakePair, status: int) -> None:
    product = _product(pair)
    _put_as_exported(pair, {REVENUE: 9999, REGIONS: pair.prod.id_of("chart", REGIONS)})
    pair.prod.assets["chart"].pop(pair.prod.id_of("chart", REVENUE))  # as if it were hidden
    pair.read(pair.target)
    assert "ghost_chart" in pair.target.assets.get(uuid=SALES).damage_codes
    migration = repairs.create_repair(pair.target, actor=product.admin)
    pair.prod.misbehave("GET", "/api/v1/log/", httpx.Response(status, json={}), times=None)
    pair.prod.misbehave("GET", "/api/v1/me/roles/", httpx.Response(404, json={}), times=None)
    assert migration.job is not None
    job = product.do(migration.job, "failed")
    assert "is not known to be an Admin" in job.error["message"]  # type: ignore[index]
    migration.refresh_from_db()
    assert migration.plan is None


def _product(pair: FakePair) -> Product:
    from django.contrib.auth import get_user_model

    product = Product.__new__(Product)
    product.admin = get_user_model().objects.get(username="root")
    return product


def test_pages_api_and_command_show_damage_and_plan_its_repair(
    pair: FakePair, client: Client, capsys: Any
) -> None:
    product = _product(pair)
    client.force_login(product.admin)
    assert "Nothing is damaged" in client.get("/environments/prod/damage/").content.decode()
    _put_as_exported(pair, {REVENUE: 99_998, REGIONS: 99_999})
    pair.read(pair.target)
    page = client.get("/environments/prod/damage/").content.decode()
    assert "The place for “Regions” stays empty" in page
    assert "1 dashboard is damaged" in client.get("/environments/prod/").content.decode()
    assert "stays empty" in client.get(f"/dashboards/{SALES}/").content.decode()
    listed = client.get("/api/v1/assets/", {"damage": "broken"}).json()["results"]
    assert [row["uuid"] for row in listed] == [SALES]
    assert {one["code"] for one in listed[0]["damage"]} == {"missing_chart", "filter_without_dataset"}
    assert client.get("/api/v1/assets/", {"damage": "ghost_chart"}).json()["count"] == 0
    assert "Sales" in client.get("/assets/", {"damage": "missing_chart"}).content.decode()
    made = client.post("/api/v1/repairs/", {"environment": "prod"}, content_type="application/json")
    assert (made.status_code, made.json()["source_place"]) == (201, "repair:prod")
    again = client.post("/environments/prod/damage/", {"uuid": [SALES]})
    assert again["Location"].endswith(f"/migrations/{made.json()['number']}/plan/")
    with pytest.raises(SystemExit) as ended:
        call_command("repair", "env:prod", "--json", "--no-read")
    assert ended.value.code == 2
    told = json.loads(capsys.readouterr().out)
    assert (told["result"], told["plan"]["counts"]["update"]) == ("changes", 1)
    plan = client.get(f"/migrations/{made.json()['number']}/plan/").content.decode()
    assert "Sales" in plan
    item = client.get(f"/migrations/{made.json()['number']}/items/{SALES}/").content.decode()
    assert "Mends damage: a filter knows" in item
