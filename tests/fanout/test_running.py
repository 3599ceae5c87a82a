"""All copies at once: planned, applied in order, stopped at a failure, updated in place, rolled back."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import httpx
import pytest
from django.core.management import call_command

from migrations_app import services as migrations
from migrations_app.engine.copies import copy_uuid
from migrations_app.errors import NotReady, PlanChanged, WrongConfirmation
from migrations_app.fanout import advancing, running, services
from migrations_app.fanout.models import FanOutCopy
from migrations_app.fanout.states import entries_of, seen_of
from migrations_app.fanout.table import parse
from migrations_app.models import Migration, Pairing, Run
from sstools.audit.models import AuditEvent
from sstools.errors import Invalid, NotAllowed
from tests.factories import uuid_for

from .conftest import TABLE, TENANTS, Scene

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]


def test_every_copy_is_planned_applied_and_updated_in_place(scene: Scene) -> None:
    run = scene.plan()
    assert run.state == "planned"
    assert scene.names(run) == dict.fromkeys(TENANTS, "planned")
    assert scene.pair.prod.writes == []
    found = scene.standings(run)
    with pytest.raises(WrongConfirmation):
        running.apply(run, actor=scene.actor)
    with pytest.raises(PlanChanged):
        running.apply(run, actor=scene.actor, seen="other", confirmed=["prod"])

    run = scene.apply(run, seen=seen_of(found))
    assert run.state == "done"
    assert scene.names(run) == dict.fromkeys(TENANTS, "applied")
    ends = [(one.entry.apply_run.started_at, one.entry.apply_run.finished_at) for one in scene.standings(run)]  # type: ignore[union-attr]
    assert ends == sorted(ends)
    assert all(before[1] <= after[0] for before, after in pairwise(ends))
    for name in TENANTS:
        dashboard = scene.copied("dashboard", "Sales", name)
        dataset = scene.copied("dataset", "orders", name)
        assert dashboard["data"]["dashboard_title"] == f"Sales of {name.title()} & Söhne"
        assert dashboard["data"]["slug"] == f"sales-{name}"
        assert dataset["data"]["schema"] == f"t_{name}"
    assert not Pairing.objects.exists()  # what stands for what is the copy's own
    assert len(scene.pair.prod.assets["chart"]) == 6
    actions = set(AuditEvent.objects.filter(action__startswith="fan_out:").values_list("action", flat=True))
    assert actions == {"fan_out:create", "fan_out:copies", "fan_out:plan", "fan_out:apply"}

    scene.edit(scene.pair.dev.record("chart", uuid_for("Revenue")), description="Net of tax")
    scene.edit(scene.copied("chart", "Revenue", "globex"), description="By hand")
    again = scene.plan()
    assert scene.names(again) == {"acme": "planned", "globex": "blocked", "initech": "planned"}
    blocked = next(one for one in scene.standings(again) if one.name == "blocked")
    assert blocked.counts["blocked"] == 2  # the chart, and the dashboard that shows it
    again = scene.apply(again)
    assert again.state == "held"
    assert scene.names(again) == {"acme": "applied", "globex": "blocked", "initech": "applied"}
    assert scene.copied("chart", "Revenue", "acme")["data"]["description"] == "Net of tax"
    assert scene.copied("chart", "Revenue", "globex")["data"]["description"] == "By hand"
    assert len(scene.pair.prod.assets["chart"]) == 6  # in place

    migration = again.entries.get(copy__key="globex").migration
    assert migration is not None
    migrations.answer_conflicts(migration, {uuid_for("Revenue"): "take"}, actor=scene.actor)
    running.plan_again(again, actor=scene.actor)
    scene.run_jobs()
    assert scene.names(again)["globex"] == "planned"
    assert scene.names(scene.apply(again))["globex"] == "applied"
    assert scene.copied("chart", "Revenue", "globex")["data"]["description"] == "Net of tax"
    assert scene.names(scene.plan()) == dict.fromkeys(TENANTS, "same")


def test_one_is_rolled_back_then_all_and_the_last_goes_first(scene: Scene) -> None:
    run = scene.apply(scene.plan())
    with pytest.raises(WrongConfirmation):
        running.roll_back(run, actor=scene.actor, keys=["globex"])
    running.roll_back(run, actor=scene.actor, keys=["globex"], confirmed=["prod"])
    scene.run_jobs()
    assert scene.names(run) == {"acme": "applied", "globex": "rolled_back", "initech": "applied"}
    assert scene.copied("dashboard", "Sales", "globex") is None
    assert scene.copied("dashboard", "Sales", "acme") is not None
    running.roll_back(running.find_run(run.number, scene.actor), actor=scene.actor, confirmed=["prod"])
    scene.run_jobs()
    assert scene.names(run) == dict.fromkeys(TENANTS, "rolled_back")
    assert scene.pair.prod.assets["chart"] == {}
    backs = Migration.objects.exclude(rolls_back=None).order_by("number")
    assert [one.rolls_back.migration.copy_terms["key"] for one in backs] == ["globex", "initech", "acme"]  # type: ignore[union-attr,index]
    with pytest.raises(NotReady):
        running.roll_back(running.find_run(run.number, scene.actor), actor=scene.actor, confirmed=["prod"])


@pytest.mark.parametrize("stops", [True, False])
def test_a_failure_stops_what_comes_after_it_or_not(scene: Scene, stops: bool) -> None:
    run = scene.plan()
    scene.pair.prod.misbehave("POST", "/api/v1/assets/import/", httpx.Response(422, json={"message": "no"}))
    run = scene.apply(run, stops_at_failure=stops)
    names = scene.names(run)
    assert run.state == "held"
    assert names["acme"] in ("stopped", "rolled_back")
    rest = "planned" if stops else "applied"
    assert (names["globex"], names["initech"]) == (rest, rest)
    if names["acme"] == "stopped":  # nothing of it was written: apply again goes on with all that is left
        run = scene.apply(run)
        assert (run.state, scene.names(run)) == ("done", dict.fromkeys(TENANTS, "applied"))


def test_what_is_not_green_is_left_alone_and_the_reason_is_told(scene: Scene) -> None:
    table = TABLE + "umbrella,prod,t_umbrella,Umbrella\n"
    services.save_copies(scene.fan_out, parse(table), actor=scene.actor)
    services.save_copies(
        scene.fan_out,
        parse("key,target,schema,label,database\nhooli,prod,main,H,Nobody's\n"),
        actor=scene.actor,
        only_add=True,
    )
    run = scene.plan("acme", "umbrella", "hooli")
    assert scene.names(run) == {"acme": "planned", "umbrella": "blocked", "hooli": "failed"}
    texts = {one.entry.copy.key: one.text for one in scene.standings(run)}
    assert "checks failed" in texts["umbrella"]
    assert "no connection “Nobody's”" in texts["hooli"]
    run = scene.apply(run)
    assert scene.names(run) == {"acme": "applied", "umbrella": "blocked", "hooli": "failed"}
    assert Run.objects.count() == 1
    with pytest.raises(NotReady):
        running.apply(run, actor=scene.actor, confirmed=["prod"])


def test_a_right_that_was_lost_meanwhile_stops_the_next_copy(scene: Scene) -> None:
    run = scene.plan()
    running.apply(run, actor=scene.actor, confirmed=["prod"])
    scene.actor.is_active = False
    scene.actor.save()
    scene.run_jobs()
    advancing.advance_all()
    names = scene.names(run)
    assert (names["globex"], names["initech"]) == ("failed", "planned")


def test_nobody_does_to_a_target_what_they_may_not(
    scene: Scene, author: Any, viewer: Any, stranger: Any
) -> None:
    for user in (viewer, stranger):
        with pytest.raises(NotAllowed):
            running.plan(scene.fan_out, actor=user)
        with pytest.raises(NotAllowed):
            services.save_copies(scene.fan_out, parse(TABLE), actor=user)
    run = running.plan(scene.fan_out, actor=author)
    scene.run_jobs()
    for what in (running.apply, running.roll_back):
        with pytest.raises((NotAllowed, NotReady)):
            what(running.find_run(run.number, author), actor=author, confirmed=["prod"])
    assert scene.pair.prod.writes == []


def test_a_copy_that_was_applied_and_is_taken_out_is_no_longer_wanted(scene: Scene) -> None:
    scene.apply(scene.plan("acme"))
    counts = services.save_copies(
        scene.fan_out, parse("key,target,schema,label\nglobex,prod,t_globex,G\n"), actor=scene.actor
    )
    assert counts == {"added": 0, "changed": 1, "removed": 2}
    assert [copy.key for copy in services.no_longer_wanted(scene.fan_out, scene.actor)] == ["acme"]
    assert not FanOutCopy.objects.filter(key="initech").exists()
    assert scene.copied("dashboard", "Sales", "acme") is not None
    assert set(scene.names(scene.plan())) == {"globex"}
    with pytest.raises(Invalid):
        running.plan(scene.fan_out, actor=scene.actor, keys=["acme"])
    with pytest.raises(NotReady):
        services.delete(scene.fan_out, actor=scene.actor)
    # Back in the table it is the same copy, and its assets are updated in place.
    services.save_copies(scene.fan_out, parse(TABLE), actor=scene.actor)
    assert scene.names(scene.plan("acme")) == {"acme": "same"}


def test_copies_beside_their_source_share_its_datasets_or_have_their_own(scene: Scene) -> None:
    """Languages: other words, the same rows. Source and target are one environment."""
    fan_out = services.create(
        scene.pair.source,
        name="Languages",
        selection=[uuid_for("Sales")],
        actor=scene.actor,
        shares_datasets=True,
        title="{title} [{key}]",
        changes=[{"find": "Sales", "replace": "{sales}", "where": "text"}],
    )
    table = "key,target,sales\nde,dev,Umsatz\nfr,dev,Ventes\n"
    services.save_copies(fan_out, parse(table), actor=scene.actor)
    scene.fan_out = fan_out
    run = scene.plan()
    assert scene.names(run) == {"de": "planned", "fr": "planned"}
    run = scene.apply(run, confirmed=[])
    assert scene.names(run) == {"de": "applied", "fr": "applied"}
    dev = scene.pair.dev
    titles = {row["data"]["dashboard_title"] for row in dev.assets["dashboard"].values()}
    assert titles == {"Sales", "Umsatz [de]", "Ventes [fr]"}
    assert len(dev.assets["dataset"]) == 1
    assert len(dev.assets["chart"]) == 6
    assert scene.names(scene.plan()) == {"de": "same", "fr": "same"}


def test_what_was_kept_or_adopted_beside_the_source_is_never_written(scene: Scene) -> None:
    scene.fan_out = services.create(
        scene.pair.source,
        name="Beside",
        selection=[uuid_for("Sales")],
        actor=scene.actor,
        title="{title} [{key}]",
        changes=[{"find": "Money", "replace": "{money}", "where": "text"}],
    )
    services.save_copies(
        scene.fan_out, parse("key,target,money\nde,dev,Geld\nfr,dev,Argent\n"), actor=scene.actor
    )
    dev = scene.pair.dev
    scene.edit(dev.record("dataset", uuid_for("orders")), description="Money")
    run = scene.plan()
    assert set(scene.names(run).values()) == {"blocked"}
    for entry, answer in zip(entries_of(run), ("keep", "adopt"), strict=True):
        assert entry.migration is not None
        migrations.answer_conflicts(entry.migration, {uuid_for("orders"): answer}, actor=scene.actor)
    running.plan_again(run, actor=scene.actor)
    scene.run_jobs()
    assert scene.names(scene.apply(run, confirmed=[])) == {"de": "applied", "fr": "applied"}
    for description in ("Net of tax", "Gross"):
        again = scene.plan()
        for entry in entries_of(again):
            assert entry.migration is not None
            assert entry.migration.plan is not None
            assert entry.migration.copy_terms["kept"] == [uuid_for("orders")]  # type: ignore[index]
            item = entry.migration.plan.items.get(target_uuid=uuid_for("orders"))
            assert item.action == "leave_out"
        scene.edit(dev.record("chart", uuid_for("Revenue")), description=description)
        assert scene.apply(scene.plan(), confirmed=[]).state == "done"
        assert dev.record("dataset", uuid_for("orders"))["data"]["description"] == "Money"
    assert len(dev.assets["dataset"]) == 1


def test_the_source_that_is_registered_twice_is_no_other_place(scene: Scene) -> None:
    scene.pair.target.url = "http://DEV.test/"
    scene.pair.target.save()
    with pytest.raises(Invalid) as refused:
        services.save_copies(
            scene.fan_out, parse("key,target,uuids,label\nx,prod,source,x\n"), actor=scene.actor
        )
    assert "beside its source" in str(refused.value.errors)
    scene.fan_out = services.create(
        scene.pair.source,
        name="Languages",
        selection=[uuid_for("Sales")],
        actor=scene.actor,
        shares_datasets=True,
        title="{title} [{key}]",
    )
    services.save_copies(scene.fan_out, parse("key,target\nde,prod\n"), actor=scene.actor)
    migration = scene.plan().entries.get().migration
    assert migration is not None
    assert migration.plan is not None
    assert migration.plan.items.get(uuid=uuid_for("orders")).action == "leave_out"


def test_a_dataset_of_another_copy_that_was_kept_is_never_written(scene: Scene) -> None:
    both = "key,target,schema,label\nacme,prod,t_acme,Acme\nglobex,prod,t_acme,Globex\n"
    services.save_copies(scene.fan_out, parse(both), actor=scene.actor)
    services.update(
        scene.fan_out, actor=scene.actor, changes=[{"find": "Money", "replace": "{label}", "where": "text"}]
    )
    scene.edit(scene.pair.dev.record("dataset", uuid_for("orders")), description="Money")
    scene.apply(scene.plan("acme"))
    run = scene.plan("globex")
    entry = run.entries.get()
    assert entry.migration is not None
    migrations.answer_conflicts(entry.migration, {uuid_for("orders"): "keep"}, actor=scene.actor)
    running.plan_again(run, actor=scene.actor)
    scene.run_jobs()
    assert scene.names(scene.apply(run)) == {"globex": "applied"}
    assert scene.names(scene.plan()) == {"acme": "same", "globex": "same"}
    scene.edit(scene.pair.dev.record("dataset", uuid_for("orders")), description="More Money")
    assert scene.names(scene.plan("globex")) == {"globex": "same"}
    assert scene.copied("dataset", "orders", "acme")["data"]["description"] == "Acme"


def test_pairings_of_the_two_environments_do_not_become_the_copys(scene: Scene) -> None:
    dev, prod = scene.pair.dev, scene.pair.prod
    ops = dev.add_dashboard("Ops", charts=[], uuid=uuid_for("Ops"), slug="ops")
    promoted = prod.add_dashboard("Ops", charts=[], uuid=uuid_for("Ops of prod"), slug="ops-prod")
    scene.pair.read()
    Pairing.objects.create(
        source=scene.pair.source,
        target=scene.pair.target,
        source_uuid=ops,
        target_uuid=promoted,
        kind="dashboard",
        created_by=scene.actor,
    )
    scene.apply(scene.plan("acme"))
    services.update(scene.fan_out, actor=scene.actor, selection=[uuid_for("Sales"), ops])
    run = scene.plan("acme")
    migration = run.entries.get().migration
    assert migration is not None
    assert migration.plan is not None
    item = migration.plan.items.get(uuid=ops)
    assert (item.action, item.target_uuid) == ("create", copy_uuid(str(scene.fan_out.uuid), "acme", ops))


def test_a_promotion_keeps_the_uuids_of_the_source(scene: Scene) -> None:
    services.save_copies(
        scene.fan_out, parse("key,target,uuids,label\nprod,prod,source,x\n"), actor=scene.actor
    )
    run = scene.apply(scene.plan())
    assert scene.names(run) == {"prod": "applied"}
    data = scene.pair.prod.record("dashboard", uuid_for("Sales"))["data"]
    assert (data["dashboard_title"], data["slug"]) == ("Sales", "sales")


def test_the_command_plans_applies_and_ends_with_a_code(scene: Scene, capsys: Any) -> None:
    def call(*args: str) -> tuple[int, dict[str, Any]]:
        with pytest.raises(SystemExit) if "--plan" in args or "nobody" in args else _nothing() as stop:
            call_command("fan_out", *args, "--json", "--as", scene.actor.get_username())
        return (int(stop.value.code) if stop else 0), json.loads(capsys.readouterr().out)

    code, body = call("Tenants", "--plan")
    assert (code, body["result"]) == (2, "changes")
    assert [one["state"] for one in body["fan_out_run"]["entries"]] == ["planned"] * 3
    code, body = call("Tenants", "--apply", "--confirm", "prod")
    assert (code, body["result"]) == (0, "applied")
    assert body["fan_out_run"]["counts"] == {"applied": 3}
    code, body = call("Tenants", "--apply", "--copy", "acme", "--confirm", "prod")
    assert (code, body["result"]) == (0, "nothing_to_do")
    code, body = call("nobody", "--plan")
    assert (code, body["error"]["code"]) == (1, "not_found")


class _nothing:
    def __enter__(self) -> None:
        return None

    def __exit__(self, *args: object) -> None:
        return None
