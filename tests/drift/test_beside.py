"""Who owns it, which rows it shows and who is mailed is edited by hand as well: found by a check, told and accepted."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from migrations_app import services as migrations
from migrations_app.drift import answers, services
from migrations_app.drift.models import Finding, FindingState
from migrations_app.errors import NotReady
from migrations_app.models import CompanionBaseline, Migration
from sstools.notices.models import Notice
from tests.factories import uuid_for
from tests.migrations_app.test_carrying import side_of
from tests.superset.companion_scene import FLAGS, furnish

from .conftest import Scene

pytestmark = pytest.mark.django_db(transaction=True)
CARRYING = {"owners": "on", "rls": "carry", "tags": "on", "reports": "on"}


@pytest.fixture
def carried(scene: Scene) -> Scene:
    """Owners, a rule, tags and an alert of the dashboard were brought as well."""
    dev, prod = scene.pair.dev, scene.pair.prod
    for fake in (dev, prod):
        fake.add_role("North")
        fake.add_user("nora")
        fake.feature_flags = dict(FLAGS)
    for environment in (scene.pair.source, scene.pair.target):
        environment.capabilities = {}
        environment.save()
    furnish(side_of(dev))
    scene.pair.read()
    scene.product.apply(again(scene))
    scene.product.refresh(scene.pair.target)
    return scene


def again(scene: Scene) -> Migration:
    return scene.product.migrate(
        scene.pair.source, scene.pair.target, [uuid_for("Sales")], carrying=CARRYING, verify=False
    )


def rule(scene: Scene) -> dict[str, Any]:
    (found,) = scene.pair.prod.objects["rowlevelsecurity"].values()
    row: dict[str, Any] = found
    return row


def test_what_goes_with_assets_is_found_told_and_accepted(
    carried: Scene, client: Client, make_user: Any, settings: Any
) -> None:
    settings.MAIL_ENABLED = True
    client.force_login(carried.product.admin)
    services.set_watch(carried.route, True, actor=make_user("ann", "viewer", email="ann@x.test"))
    assert carried.check()["open"] == 0
    prod = carried.pair.prod
    rule(carried)["clause"] = "1 = 1"
    prod.record("dashboard", uuid_for("Sales"))["owners"] = []
    alert = next(iter(prod.objects["report"].values()))
    alert["active"] = True  # it arrived switched off for somebody to do this
    checked = carried.check()
    assert (checked["open"], checked["new"], checked["closed"]) == (2, 2, 0)
    found = {one.kind: one for one in Finding.objects.open()}
    assert found["rls"].sentences == ["clause: name like '%r%' → 1 = 1"]
    assert (found["owners"].how, found["owners"].words) == ("changed", "owners of “Sales”")
    assert carried.check()["edited"] == 0  # found once, told once
    (told,) = Notice.objects.filter(event="drift.found")
    assert "row-level security rule “Own lines” was changed" in told.text
    assert told.title == "Drift: 2 things of Prod are not as the last run left them"

    listed = client.get("/drift/?kind=beside").content.decode()
    assert "owners of “Sales”" in listed
    assert "Own lines" not in client.get("/drift/?kind=chart").content.decode()
    page = client.get(found["rls"].get_absolute_url()).content.decode()
    assert "the plan asks whether the target’s own is kept" in page
    for answer in (answers.take, answers.revert):
        with pytest.raises(NotReady, match="Plan the migration"):
            answer([found["rls"]], actor=carried.product.admin)
    address = f"/api/v1/drift-findings/{found['rls'].uuid}/"
    assert client.get(address).json()["kind"] == "rls"
    accepted = client.post(f"{address}accept/", {"reason": "a test"}, content_type="application/json")
    assert accepted.json()["state"] == "accepted"
    base = CompanionBaseline.objects.get(uuid=found["rls"].asset_uuid)
    assert (base.present_id, (base.accepted or {})["reason"]) == (found["rls"].content, "a test")

    # What was accepted is kept by the next plan, what was not is asked about.
    migration = again(carried)
    assert migration.plan is not None
    shown = {one.kind: one for one in migration.plan.companions.exclude(action="unchanged")}
    assert {kind: one.action for kind, one in shown.items()} == {"rls": "keep", "owners": "blocked"}
    assert "accepted by" in shown["rls"].conflict["text"]
    migrations.answer_conflicts(migration, {shown["owners"].uuid: "take"}, actor=carried.product.admin)
    carried.product.plan(migration)
    carried.product.apply(migration)
    carried.product.refresh(carried.pair.target)  # a reading says nothing of these, in either direction
    assert Finding.objects.open().count() == 1
    assert carried.check()["open"] == 0
    found["owners"].refresh_from_db()
    assert found["owners"].state == FindingState.SETTLED


def test_what_was_deleted_or_undone_by_hand_and_what_cannot_be_read(carried: Scene) -> None:
    prod = carried.pair.prod
    clause = rule(carried)["clause"]
    rule(carried)["clause"] = "1 = 1"
    held = dict(prod.objects["report"])
    prod.objects["report"].clear()
    carried.check()
    assert set(Finding.objects.open().values_list("kind", "how")) == {
        ("rls", "changed"),
        ("report", "deleted"),
    }
    rule(carried)["clause"] = clause
    prod.misbehave("GET", "/api/v1/report/", "html_500", times=1)
    carried.check()
    kinds = set(Finding.objects.open().values_list("kind", flat=True))
    assert kinds == {"report"}  # of which nothing is known now
    prod.objects["report"].update(held)
    assert carried.check()["open"] == 0
    assert {one.state for one in Finding.objects.all()} == {FindingState.GONE}

    carried.delete("dashboard", "Sales")  # with its owners and tags, which are no findings of their own
    carried.check()
    found = set(Finding.objects.open().values_list("kind", flat=True))
    assert "dashboard" in found
    assert not found & {"owners", "tags"}
