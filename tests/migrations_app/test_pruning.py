"""Removing what the source no longer has: with a proof for each, restorable, and only for who may."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from migrations_app import services
from migrations_app.models import Migration, Plan
from sstools.errors import NotAllowed
from sstools.roles.models import Grant
from tests.factories import uuid_for
from tests.fakes.pair import FakePair, fake_pair
from tests.live.product import Product

pytestmark = [pytest.mark.django_db]
SALES, REVENUE, REGIONS, ORDERS = (uuid_for(name) for name in ("Sales", "Revenue", "Regions", "orders"))


class World:
    """Sales was brought to prod by a run; then dev took Regions off it and deleted it."""

    def __init__(self, pair: FakePair) -> None:
        self.pair, self.product = pair, Product()
        self.product.apply(self.product.migrate(pair.source, pair.target, [SALES]))
        self.forget("chart", REGIONS)
        sales = pair.dev.record("dashboard", SALES)
        position = sales["data"]["position"]
        node = next(
            key
            for key, one in position.items()
            if isinstance(one, dict) and one.get("meta", {}).get("uuid") == REGIONS
        )
        position.pop(node)
        position["GRID_ID"]["children"].remove(node)
        sales["charts"] = {REVENUE}
        sales["changed_on"] = pair.dev._now()
        pair.read()

    def forget(self, kind: str, uuid: str) -> None:
        self.pair.dev.assets[kind].pop(self.pair.dev.id_of(kind, uuid))

    def plan(self, *selection: str, **fields: Any) -> Migration:
        return self.product.migrate(
            self.pair.source, self.pair.target, list(selection or [SALES]), prune=True, **fields
        )


@pytest.fixture
def world(transactional_db: None) -> Iterator[World]:
    with fake_pair() as pair:
        pair.prod.feature_flags["ALERT_REPORTS"] = True
        yield World(pair)


def _plan(migration: Migration) -> Plan:
    assert migration.plan is not None
    return migration.plan


def _stays(migration: Migration) -> str:
    (one,) = _plan(migration).pruning
    assert not one["removes"]
    assert _plan(migration).counts["remove"] == 0
    return str(one["reason"])


def test_what_a_run_brought_and_the_source_lost_is_removed_and_comes_back_with_its_uuid(world: World) -> None:
    manual = world.pair.prod.add_chart("By hand", dataset=ORDERS)
    kept = world.product.migrate(world.pair.source, world.pair.target, [SALES])
    assert (_plan(kept).counts["remove"], _plan(kept).pruning) == (0, [])  # off unless asked for
    migration = world.plan()
    (one,) = _plan(migration).pruning
    assert (one["uuid"], one["run"], one["removes"]) == (REGIONS, 1, True)
    assert "read completely and no longer has it" in one["reason"]
    assert world.pair.prod.find("chart", REGIONS)
    run = world.product.apply(migration)
    assert run.state == "applied"
    assert world.pair.prod.find("chart", REGIONS) is None
    assert world.pair.prod.find("chart", manual)
    world.product.apply(world.product.roll_back(run))
    assert world.pair.prod.find("chart", REGIONS)
    assert world.pair.prod.record("dashboard", SALES)["charts"] == {REVENUE, REGIONS}


def test_what_others_on_the_target_use_stays_with_the_reason(world: World) -> None:
    prod = world.pair.prod
    local = prod.add_dashboard("Local", charts=[REGIONS])
    assert _stays(world.plan()) == "Used by dashboard “Local”, which stays."
    prod.assets["dashboard"].pop(prod.id_of("dashboard", local))
    report = {
        "type": "Report",
        "name": "Monday",
        "crontab": "0 9 * * 1",
        "chart": prod.id_of("chart", REGIONS),
    }
    prod.add_companion("report", **report) if hasattr(prod, "add_companion") else _add_report(prod, report)
    assert _stays(world.plan()) == "The report “Monday” shows it."


def _add_report(prod: Any, report: dict[str, Any]) -> None:
    from environments.superset.auth import PasswordAuth
    from environments.superset.client import SupersetClient

    with SupersetClient(prod.url, PasswordAuth("admin", "admin"), transport=prod) as client:
        client.create("report", {**report, "recipients": [], "report_format": "PNG"})


def test_an_edit_on_the_target_is_a_question_and_a_new_use_makes_the_plan_stale(world: World) -> None:
    prod = world.pair.prod
    migration = world.plan()
    prod.add_dashboard("Local", charts=[REGIONS])
    assert world.product.apply(migration, "failed").error["code"] == "stale_plan"  # type: ignore[index]
    assert prod.find("chart", REGIONS)
    prod.assets["dashboard"].pop(max(prod.assets["dashboard"]))
    chart = prod.record("chart", REGIONS)
    chart["data"]["description"], chart["changed_on"] = "Ours by now", prod._now()
    migration = world.plan()
    item = _plan(migration).items.get(target_uuid=REGIONS)
    assert (item.action, item.conflict["code"]) == ("blocked", "drifted")  # type: ignore[index]
    world.product.answer(migration, {REGIONS: "keep"})
    world.product.apply(migration)
    assert prod.find("chart", REGIONS)


def test_a_source_that_is_suddenly_all_but_empty_has_to_be_confirmed(world: World) -> None:
    dev = world.pair.dev
    other = dev.add_dashboard("Other", charts=[])
    for kind, uuid in (("dashboard", SALES), ("chart", REVENUE), ("dataset", ORDERS)):
        world.forget(kind, uuid)
    world.pair.read()
    migration = world.plan(other)
    assert [one["title"] for one in _plan(migration).pruning] == ["Sales", "Regions", "Revenue", "orders"]
    (problem,) = _plan(migration).errors
    assert problem["code"] == "prune_too_much"
    assert "4 of the 4" in problem["text"]
    assert "checks failed" in services.why_not_applicable(migration)
    services.update_migration(
        migration, actor=world.product.admin, override_reason="Sales moved to another product"
    )
    world.product.apply(migration)
    prod = world.pair.prod
    assert not prod.assets["chart"]
    assert [one["data"]["dashboard_title"] for one in prod.assets["dashboard"].values()] == ["Other"]


def test_only_who_may_prune_asks_for_it_and_applies_it(world: World, client: Client) -> None:
    lead = get_user_model().objects.create_user("lead")
    for environment in (world.pair.source, world.pair.target):
        Grant.objects.create(user=lead, role="release_lead", scope=f"environment:{environment.uuid}")
    with pytest.raises(NotAllowed):
        services.create_migration(
            world.pair.source, world.pair.target, selection=[SALES], actor=lead, prune=True
        )
    migration = world.plan()
    with pytest.raises(NotAllowed):
        services.request_apply(migration, plan_hash=_plan(migration).hash, actor=lead)
    client.force_login(lead)
    page = client.get(f"/migrations/{migration.number}/plan/").content.decode()
    assert "read completely and no longer has it" in page
    assert "migration:prune" in page
    assert client.post(f"/migrations/{migration.number}/plan/prune/", {"do": "off"}).status_code == 403
    client.force_login(world.product.admin)
    client.post(f"/migrations/{migration.number}/plan/prune/", {"do": "off"})
    migration.refresh_from_db()
    assert (migration.prune, migration.plan) == (False, None)
    body = client.get(f"/api/v1/migrations/{migration.uuid}/").json()
    assert body["prune"] is False
