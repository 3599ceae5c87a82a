"""Removing what the source no longer has: with a proof for each, restorable, and only for who may."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from environments.connections import connect
from environments.superset.connection import is_admin
from migrations_app import services
from migrations_app.models import Baseline, Migration, Pairing, Plan, PlanItem, Run
from migrations_app.planning import _errors
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
    first = Run.objects.get().number
    assert (_plan(kept).counts["remove"], _plan(kept).pruning) == (0, [])  # off unless asked for
    migration = world.plan()
    (one,) = _plan(migration).pruning
    assert (one["uuid"], one["run"], one["removes"]) == (REGIONS, first, True)
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


@pytest.mark.parametrize("status", [403, 404])
@pytest.mark.parametrize("side", ["dev", "prod"])
def test_an_account_that_is_not_shown_everything_proves_nothing(world: World, side: str, status: int) -> None:
    """403: below Admin. 404: the action log is switched off, and the release does not tell roles."""
    fake = getattr(world.pair, side)
    migration = world.plan()
    fake.misbehave("GET", "/api/v1/log/", httpx.Response(status, json={}), times=None)
    fake.misbehave("GET", "/api/v1/me/roles/", httpx.Response(404, json={}), times=None)
    run = world.product.apply(migration, "failed")
    assert "the right to see what removing “Regions” stands on" in run.error["message"]  # type: ignore[index]
    assert world.pair.prod.find("chart", REGIONS)
    known = "is no Admin" if status == 403 else "cannot be shown to be an Admin"
    assert f"The account on {side.title()} {known}" in _stays(world.plan())


def test_what_everybody_may_read_shows_nobody_everything(world: World) -> None:
    world.pair.dev.public_may_read = True
    candidates = _plan(world.plan()).pruning
    assert len(candidates) > 1  # of all that Public does not see
    assert not any(one["removes"] for one in candidates)
    assert all(
        "of Dev, so it shows any account only what the Public role sees" in one["reason"]
        for one in candidates
    )


def test_who_is_admin_is_found_out_with_one_request(world: World) -> None:
    dev = world.pair.dev
    with connect(world.pair.source) as client:
        assert is_admin(client) is True
        asked = len(dev.requests)
        for role in ("Alpha", "Gamma", "Reader", "Admin"):
            dev.role = role
            assert is_admin(client) is (role == "Admin")
        assert len(dev.requests) == asked + 4 + 4  # of an Admin, whether lists are open to everybody
        dev.misbehave("GET", "/api/v1/log/", httpx.Response(404, json={}), times=None)
        assert is_admin(client) is True  # 6.1 tells the roles
        dev.role = "Alpha"
        assert is_admin(client) is False
        dev.misbehave("GET", "/api/v1/me/roles/", httpx.Response(401, json={}), times=None)
        assert is_admin(client) is None  # before 6.1, and the log is switched off


def test_what_the_source_has_under_another_uuid_is_not_gone(world: World) -> None:
    again = world.pair.dev.add_chart("Regions anew", dataset=ORDERS)
    world.pair.read()
    Pairing.objects.create(
        source=world.pair.source,
        target=world.pair.target,
        source_uuid=again,
        target_uuid=REGIONS,
        kind="chart",
    )
    assert _plan(world.plan()).pruning == []


def test_what_another_way_brought_since_stays_also_after_its_roll_back(world: World) -> None:
    """As a file: no source, and the base that a roll back leaves names none either."""
    pair = world.pair
    other = world.product.migrate(pair.source, pair.target, [SALES])
    first = Run.objects.get()
    run = Run.objects.create(
        migration=other, plan=_copied(_plan(first.migration)), state="applied", created=[]
    )
    assert _plan(world.plan()).pruning[0]["removes"]
    Migration.objects.filter(pk=other.pk).update(source=None, source_place="file:0")
    assert _stays(world.plan()) == f"Another way brought it since (run {run.number})."
    Run.objects.filter(pk=run.pk).update(state="rolled_back")
    assert _plan(world.plan()).pruning[0]["removes"]
    Baseline.objects.filter(uuid=REGIONS).update(run=None)
    assert _stays(world.plan()) == "Which run brought it last is not known any more."


def _copied(plan: Plan) -> Plan:
    items = list(plan.items.all())
    plan.pk, plan.uuid = None, uuid4()
    plan._state.adding = True
    plan.save()
    for item in items:
        item.pk, item.plan = None, plan
        item._state.adding = True
        item.save()
    return plan


def test_an_edit_that_was_kept_is_not_pruned_later(world: World) -> None:
    plan = _plan(Run.objects.get().migration)
    plan.items.filter(target_uuid=REGIONS).update(action="keep")
    Run.objects.update(plan=plan)
    first = Run.objects.get()
    other = _copied(plan)
    PlanItem.objects.filter(plan=other, target_uuid=REGIONS).update(action="create")
    Run.objects.filter(pk=first.pk).update(plan=other)
    run = Run.objects.create(migration=first.migration, plan=_plan(first.migration), state="applied")
    Baseline.objects.filter(uuid=REGIONS).update(run=run)
    assert _stays(world.plan()) == f"Edited on Prod, and kept so by run {run.number}."


def test_an_annotation_layer_and_a_macro_are_uses(world: World) -> None:
    layer = {
        "name": "Days",
        "annotationType": "EVENT",
        "sourceType": "table",
        "value": world.pair.prod.id_of("chart", REGIONS),
        "show": True,
    }
    prod = world.pair.prod
    chart = prod.add_chart("Curve", dataset=ORDERS, params={"annotation_layers": [layer]})
    assert _stays(world.plan()) == "Used by chart “Curve”, which stays."
    prod.assets["chart"].pop(prod.id_of("chart", chart))
    prod.add_dashboard("Links", charts=[], description=f"/explore/?slice_id={layer['value']}")
    assert _plan(world.plan()).pruning[0]["removes"]


def test_on_a_large_estate_everything_is_read_before_something_is_removed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("environments.reading.SMALL_ESTATE", "migrations_app.applying.reading.SMALL_ESTATE"):
        monkeypatch.setattr(name, 0)
    dev, prod = world.pair.dev, world.pair.prod
    migration = world.plan()
    dev.add_chart("Regions", dataset=ORDERS, uuid=REGIONS)
    run = world.product.apply(migration, "failed")
    assert "“Regions” on the source" in run.error["message"]  # type: ignore[index]
    world.forget("chart", REGIONS)
    migration = world.plan()
    prod.add_chart("Deck", dataset=ORDERS, params={"deck_slices": [prod.id_of("chart", REGIONS)]})
    run = world.product.apply(migration, "failed")
    assert "the use of “Regions” on the target" in run.error["message"]  # type: ignore[index]
    world.pair.prod.assets["chart"].pop(max(prod.assets["chart"]))
    world.product.apply(world.plan())
    assert prod.find("chart", REGIONS) is None


def test_a_word_for_a_removal_is_not_one_for_a_larger_one() -> None:
    def plan(*uuids: str) -> Plan:
        problem = {"severity": "error", "code": "prune_too_much", "uuid": ""}
        return Plan(problems=[problem], pruning=[{"uuid": uuid, "removes": True} for uuid in uuids])

    assert _errors(plan("a", "b")) - _errors(plan("a", "b", "c")) == set()
    assert _errors(plan("a", "b", "c")) - _errors(plan("a", "b")) == {("prune_too_much", "c")}
    assert _errors(None) == set()
