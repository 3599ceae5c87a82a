"""Taking into the source, reverting, accepting: what each leaves on both sides, and what is drift afterwards."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from migrations_app import services as migrations
from migrations_app.drift import answers
from migrations_app.drift.models import FindingState
from migrations_app.models import Mapping
from migrations_app.release import services as release
from migrations_app.release.gate import approval_of
from sstools.audit.models import AuditEvent
from sstools.errors import Conflict, Invalid, NotAllowed
from tests.factories import uuid_for
from tests.live.product import actions

from .conftest import Scene

pytestmark = pytest.mark.django_db(transaction=True)


def test_taking_brings_exactly_that_asset_into_the_source(scene: Scene) -> None:
    admin = scene.product.admin
    scene.edit("chart", "Revenue", slice_name="Better")
    scene.edit("chart", "Regions", slice_name="Not this one")
    scene.check()
    finding = scene.found()["Better"]
    migration = answers.take([finding], actor=admin)
    assert (migration.source, migration.target) == (scene.pair.target, scene.pair.source)
    assert migration.selection == [uuid_for("Revenue")]
    assert answers.take([finding], actor=admin).pk == migration.pk  # asked twice
    with pytest.raises(Conflict) as refused:
        answers.revert([finding], actor=admin)
    assert refused.value.code == "is_answered"
    scene.go(migration)
    assert actions(migration.plan) == {"Better": "update"}  # type: ignore[arg-type]
    assert scene.pair.dev.record("chart", uuid_for("Revenue"))["data"]["slice_name"] == "Better"
    finding.refresh_from_db()
    assert finding.state == FindingState.TAKEN
    scene.check()
    assert set(scene.found()) == {"Not this one"}
    scene.product.refresh(scene.pair.source)
    plan = scene.promote().plan
    assert "Better" not in actions(plan)  # type: ignore[arg-type]  # both sides have it now
    assert actions(plan)["Not this one" if "Not this one" in actions(plan) else "Regions"] == "blocked"  # type: ignore[arg-type]


def test_the_way_back_begins_with_the_mapping_turned_round(scene: Scene) -> None:
    pair = Mapping.objects.get(source=scene.pair.source, target=scene.pair.target)
    pair.substitutions = [
        {"find": "raw_dev", "replace": "raw", "is_pattern": False},
        {"find": "x+", "replace": "y", "is_pattern": True},
    ]
    pair.save()
    scene.edit("dataset", "orders", description="by hand")
    scene.check()
    migration = answers.take([scene.only()], actor=scene.product.admin)
    back = Mapping.objects.get(source=scene.pair.target, target=scene.pair.source)
    assert back.databases[uuid_for("Warehouse PROD")]["target"] == uuid_for("Warehouse DEV")
    assert back.substitutions == [{"find": "raw", "replace": "raw_dev", "is_pattern": False}]
    scene.go(migration)
    taken = scene.pair.dev.record("dataset", uuid_for("orders"))["data"]
    assert (taken["description"], taken["database_uuid"]) == ("by hand", uuid_for("Warehouse DEV"))


def test_reverting_brings_back_what_was_applied_and_removes_what_was_made_by_hand(scene: Scene) -> None:
    admin = scene.product.admin
    before = dict(scene.written("chart", "Revenue"))
    dev = scene.pair.dev.record("chart", uuid_for("Revenue"))
    dev["data"]["slice_name"] = "Newer on dev"  # not what was applied: a revert brings none of it
    scene.edit("chart", "Revenue", slice_name="Worse")
    scene.pair.prod.add_chart("Mine", dataset=uuid_for("orders"), uuid=uuid_for("Mine"))
    scene.check()
    found = scene.found()
    migration = answers.revert(list(found.values()), actor=admin)
    assert (migration.source, migration.source_place) == (None, "applied:prod")
    scene.go(migration)
    assert actions(migration.plan) == {"Revenue": "update", "Mine": "remove"}  # type: ignore[arg-type]
    item = migration.plan.items.get(title="Revenue")  # type: ignore[union-attr]
    assert "Grace Hopper" in (item.conflict or {})["text"]
    assert scene.written("chart", "Revenue")["slice_name"] == before["slice_name"]
    assert scene.pair.prod.find("chart", uuid_for("Mine")) is None
    for finding in found.values():
        finding.refresh_from_db()
        assert finding.state == FindingState.REVERTED, finding
    assert scene.check()["open"] == 0


def test_what_was_deleted_comes_back_with_what_it_stands_on(scene: Scene) -> None:
    for kind, name in (("dashboard", "Sales"), ("chart", "Regions")):
        scene.delete(kind, name)
    scene.check()
    found = scene.found()
    migration = answers.revert([found["Sales"]], actor=scene.product.admin)
    assert set(migration.selection) == {uuid_for("Sales"), uuid_for("Regions")}
    scene.go(migration)
    assert scene.written("chart", "Regions")["slice_name"] == "Regions"
    assert scene.check()["open"] == 0
    found["Regions"].refresh_from_db()
    assert found["Regions"].state == FindingState.REVERTED


def without(position: dict[str, Any], uuid: str) -> dict[str, Any]:
    """A layout without one chart."""
    (node,) = [
        key
        for key, one in position.items()
        if isinstance(one, dict) and one.get("meta", {}).get("uuid") == uuid
    ]
    left = {key: one for key, one in position.items() if key != node}
    return {
        key: {**one, "children": [child for child in one["children"] if child != node]}
        if isinstance(one, dict) and "children" in one
        else one
        for key, one in left.items()
    }


def test_a_deletion_is_taken_into_the_source_with_the_edit_that_freed_it(
    scene: Scene, make_user: Any
) -> None:
    lead, admin = make_user("lea", "release_lead"), scene.product.admin
    scene.delete("chart", "Regions")
    scene.check()
    finding = scene.found()["Regions"]
    with pytest.raises(NotAllowed):
        answers.take([finding], actor=lead)
    alone = answers.take([finding], actor=admin)
    scene.product.do(alone.job)
    alone.refresh_from_db()
    (item,) = alone.plan.items.all()  # type: ignore[union-attr]
    assert (item.action, item.conflict["code"]) == ("blocked", "in_use")  # type: ignore[index]
    migrations.discard_migration(alone, actor=admin)

    # Grace takes it off the dashboard, too; on dev somebody has edited it meanwhile.
    sales = scene.pair.prod.record("dashboard", uuid_for("Sales"))
    scene.edit("dashboard", "Sales", position=without(sales["data"]["position"], uuid_for("Regions")))
    sales["charts"] = {uuid_for("Revenue")}
    mine = scene.pair.dev.record("chart", uuid_for("Regions"))
    mine["data"]["description"], mine["changed_on"] = "newer", timezone.now()
    scene.product.refresh(scene.pair.source)
    scene.check()
    findings = list(scene.found().values())
    assert {one.title for one in findings} == {"Regions", "Sales"}
    migration = answers.take(findings, actor=admin)
    scene.product.do(migration.job)
    migration.refresh_from_db()
    assert actions(migration.plan) == {"Sales": "update", "Regions": "blocked"}  # type: ignore[arg-type]
    item = migration.plan.items.get(title="Regions")  # type: ignore[union-attr]
    assert item.conflict["code"] == "drifted"  # type: ignore[index]
    (shown,) = migration.plan.pruning  # type: ignore[union-attr]
    assert (shown["removes"], shown["run"]) == (True, scene.run.number)
    page = Client()
    page.force_login(admin)
    text = page.get(f"/migrations/{migration.number}/plan/").content.decode()
    assert "Deleted on Prod by hand, and that is taken over" in text
    scene.product.answer(migration, {uuid_for("Regions"): {"answer": "take"}})
    scene.go(migration)
    assert scene.pair.dev.find("chart", uuid_for("Regions")) is None
    assert uuid_for("Regions") not in str(scene.pair.dev.record("dashboard", uuid_for("Sales")))
    for one in findings:
        one.refresh_from_db()
        assert one.state == FindingState.TAKEN, one
    assert scene.check()["open"] == 0
    scene.product.apply(scene.product.roll_back(migration.runs.get()))
    assert scene.pair.dev.record("chart", uuid_for("Regions"))["data"]["description"] == "newer"


def test_a_deletion_that_is_none_any_more_removes_nothing(scene: Scene) -> None:
    admin = scene.product.admin
    kept = scene.pair.prod.record("dashboard", uuid_for("Sales"))
    scene.delete("dashboard", "Sales")
    scene.check()
    migration = answers.take([scene.only()], actor=admin)
    assert (migration.selection, migration.source, migration.target) == (
        [],
        scene.pair.target,
        scene.pair.source,
    )
    scene.product.do(migration.job)
    migration.refresh_from_db()
    assert actions(migration.plan) == {"Sales": "remove"}  # type: ignore[arg-type]
    scene.pair.prod.assets["dashboard"][kept["id"]] = kept  # somebody brought it back
    run = scene.product.apply(migration, state="failed")
    assert (run.state, scene.pair.dev.find("dashboard", uuid_for("Sales")) is None) == ("stopped", False)
    plan = scene.product.plan(migration)
    assert actions(plan) == {}
    assert "again" in plan.pruning[0]["reason"]


def test_accepting_needs_a_reason_and_makes_it_the_base(scene: Scene, make_user: Any) -> None:
    lead = make_user("lea", "release_lead")
    scene.edit("chart", "Revenue", description="only here")
    scene.delete("chart", "Regions")
    scene.check()
    found = scene.found()
    finding = found["Revenue"]
    with pytest.raises(NotAllowed):
        answers.accept([finding], reason="because", actor=make_user("ann", "author"))
    with pytest.raises(Invalid):
        answers.accept([finding], reason="  ", actor=lead)
    with pytest.raises(answers.EditedAgain):
        answers.accept([finding], reason="because", actor=lead, seen={str(finding.uuid): "0" * 64})
    answers.accept([finding, found["Regions"]], reason="Local rules", actor=lead)
    event = AuditEvent.objects.filter(action="drift:accept").latest("number")
    assert (event.actor_name, event.data["reason"]) == ("lea", "Local rules")
    scene.check()
    assert not {"Revenue", "Regions"} & set(scene.found())
    # A later promote keeps it and says why; its deletion is named before it is made again.
    migration = scene.promote()
    items = {item.title: item for item in migration.plan.items.all()}  # type: ignore[union-attr]
    assert items["Revenue"].action == "keep"
    assert "accepted by lea on" in (items["Revenue"].conflict or {})["text"]
    assert "Local rules" in (items["Revenue"].conflict or {})["text"]
    said = {problem["code"]: problem["text"] for problem in migration.plan.problems}  # type: ignore[union-attr]
    assert "Local rules" in said["deletion_accepted"]
    # Once the source moved it is asked; what is taken from there ends the acceptance.
    dev = scene.pair.dev.record("chart", uuid_for("Revenue"))
    dev["data"]["description"], dev["changed_on"] = "new on dev", dev["changed_on"].replace(year=2027)
    plan = scene.product.plan(migration)
    item = plan.items.get(title="Revenue")
    assert (item.action, (item.conflict or {})["code"]) == ("blocked", "diverged")
    scene.product.answer(migration, {uuid_for("Revenue"): "take"})
    scene.product.answer(migration, {uuid_for("Sales"): "take"})  # it lost the chart that was deleted
    scene.product.apply(migration)
    scene.product.refresh(scene.pair.target)
    assert scene.written("chart", "Revenue")["description"] == "new on dev"
    assert scene.check()["open"] == 0
    # A further edit is drift again.
    scene.edit("chart", "Revenue", description="once more")
    assert scene.check()["new"] == 1


def test_an_accepted_state_stays_accepted_when_a_run_keeps_it(scene: Scene) -> None:
    scene.edit("chart", "Revenue", description="only here")
    scene.check()
    answers.accept([scene.only()], reason="Local rules", actor=scene.product.admin)
    dev = scene.pair.dev.record("dashboard", uuid_for("Sales"))
    dev["data"]["dashboard_title"], dev["changed_on"] = "Sales 2", dev["changed_on"].replace(year=2027)
    migration = scene.promote()
    assert actions(migration.plan) == {"Revenue": "keep", "Sales 2": "update"}  # type: ignore[arg-type]
    scene.product.apply(migration)
    scene.product.refresh(scene.pair.target)
    assert scene.check()["open"] == 0
    assert actions(scene.promote().plan) == {"Revenue": "keep"}  # type: ignore[arg-type]


def test_what_a_plan_kept_stays_until_a_side_moves(scene: Scene) -> None:
    scene.edit("chart", "Revenue", description="only here")
    dev = scene.pair.dev.record("dashboard", uuid_for("Sales"))
    dev["data"]["dashboard_title"], dev["changed_on"] = "Sales 2", dev["changed_on"].replace(year=2027)
    migration = scene.promote()
    assert actions(migration.plan)["Revenue"] == "blocked"  # type: ignore[arg-type]
    scene.product.answer(migration, {uuid_for("Revenue"): "keep"})
    scene.product.apply(migration)
    scene.product.refresh(scene.pair.target)
    assert scene.check()["open"] == 0
    again = scene.promote()
    assert actions(again.plan) == {"Revenue": "keep"}  # type: ignore[arg-type]
    text = again.plan.items.get(title="Revenue").conflict["text"]  # type: ignore[union-attr, index]
    assert f"kept by run {migration.runs.get().number}" in text
    # Edited there once more: it is asked once more.
    scene.edit("chart", "Revenue", description="only here, and longer")
    assert actions(scene.promote().plan)["Revenue"] == "blocked"  # type: ignore[arg-type]


def test_each_answer_has_the_rights_and_approvals_of_its_direction(scene: Scene, make_user: Any) -> None:
    dev, prod = (f"environment:{one.uuid}" for one in (scene.pair.source, scene.pair.target))
    release.save_protection(scene.pair.target, {"approvals": 1}, actor=scene.product.admin)
    scene.edit("chart", "Revenue", description="by hand")
    scene.check()
    finding = scene.only()
    on_prod, on_dev = make_user("pia", "author", on=prod), make_user("dan", "author", on=dev)
    with pytest.raises(NotAllowed):
        answers.take([finding], actor=on_prod)
    with pytest.raises(NotAllowed):
        answers.revert([finding], actor=on_dev)
    migration = answers.revert([finding], actor=on_prod)
    scene.product.do(migration.job)  # type: ignore[arg-type]
    migration.refresh_from_db()
    assert migration.plan is not None
    assert approval_of(migration, migration.plan).is_needed
    migrations.discard_migration(migration, actor=on_prod)
    with pytest.raises(NotAllowed):
        answers.accept([finding], reason="because", actor=on_prod)
    taken = answers.take([finding], actor=scene.product.admin)
    assert taken.target == scene.pair.source
