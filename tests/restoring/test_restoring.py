"""Restoring over two small Supersets: what is damaged comes back, what came later stays, a copy stands beside."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone

from environments.backups.models import Backup, BackupState
from environments.canonical.companions import comparable
from environments.models import Environment
from migrations_app import leftovers, services
from migrations_app.errors import NotReady
from migrations_app.models import Migration, Pairing, Run
from migrations_app.release.gate import routes_of
from migrations_app.release.models import Route
from migrations_app.restoring.services import create_restore
from sstools.errors import Invalid, NotAllowed
from tests.factories import uuid_for
from tests.live.product import actions, fingerprints
from tests.migrations_app.scenes import Scene
from tests.migrations_app.test_carrying import side_of

from .taking import take_backup

pytestmark = pytest.mark.django_db(transaction=True)

SALES, REVENUE, REGIONS, ORDERS = (uuid_for(name) for name in ("Sales", "Revenue", "Regions", "orders"))


def companions(scene: Scene) -> dict[str, Any]:
    return {one.uuid: dict(comparable(one)) for one in side_of(scene.pair.dev).read().documents.values()}


def state(scene: Scene, environment: Environment) -> dict[str, str]:
    return fingerprints(scene.product.read(environment))


def restored(scene: Scene, migration: Migration) -> Run:
    plan = scene.product.plan(migration)
    assert not plan.blocked_count, [item.blocked_by for item in plan.items.filter(action="blocked")]
    run: Run = scene.product.apply(migration)
    assert run.state == "applied", run.error
    return run


def test_whatever_was_damaged_comes_back_and_what_came_later_goes_only_if_asked(furnished: Scene) -> None:
    scene, dev, here = furnished, furnished.pair.dev, furnished.pair.source
    before, beside = state(scene, here), companions(scene)
    backup = take_backup(here, scene.product)
    assert backup.companions_read["rls"] == ""
    side = side_of(dev)
    dev.add_chart("Later", dataset=ORDERS, uuid=uuid_for("Later"))
    warehouse = uuid_for("Warehouse DEV")
    dev.tables[warehouse] = {**dev.tables[warehouse], "main.lone": {"id": "INTEGER"}}
    lone = dev.add_dataset("lone", database=warehouse, uuid=uuid_for("lone"), schema="main")
    side.call("PUT", f"/api/v1/dashboard/{side.numbers['dashboard']}", {"owners": [], "dashboard_title": "?"})
    for name in ("rowlevelsecurity", "css_template", "saved_query"):
        for number in list(dev.objects[name]):
            side.call("DELETE", f"/api/v1/{name}/{number}")
    side.call("DELETE", f"/api/v1/chart/{side.numbers['Colors']}")

    run = restored(scene, create_restore(backup, here, actor=scene.product.admin, roll_back_when_red=True))

    now = state(scene, here)
    assert {uuid: now.get(uuid) for uuid in before} == before
    assert now.keys() - before.keys() == {uuid_for("Later"), uuid_for("lone")}
    kept = companions(scene)
    assert {uuid: kept.get(uuid) for uuid in beside} == beside
    verdict = run.verdicts.first()
    assert verdict is not None
    assert f"came from backup {backup.number}" in verdict.reason
    # An own backup says nothing of which asset of another environment is which.
    assert not Pairing.objects.exists()

    strict = create_restore(backup, here, actor=scene.product.admin, remove_later=True)
    plan = scene.product.plan(strict)
    assert plan.errors == []
    assert actions(plan) == {"Later": "remove", "lone": "remove"}
    assert all(one["removes"] and f"backup {backup.number}" in one["reason"] for one in plan.pruning)
    # Somebody uses one of them by now: nothing is written.
    dev.add_chart("Newer", dataset=lone, uuid=uuid_for("Newer"))
    stale = scene.product.apply(strict, state="failed")
    assert stale.state == "stopped"
    services.request_plan(strict, actor=scene.product.admin)
    again = scene.product.plan(strict)
    assert again.errors  # three of seven: that asks for a word
    services.update_migration(strict, actor=scene.product.admin, override_reason="It was a playground.")
    removed = scene.product.apply(strict)
    assert state(scene, here) == before
    back = scene.product.roll_back(removed)
    assert back.plan is not None
    assert back.plan.errors == []
    scene.product.apply(back)
    assert state(scene, here).keys() - before.keys() == {
        uuid_for(name) for name in ("Later", "lone", "Newer")
    }


def test_a_copy_beside_touches_nothing_that_is_there(furnished: Scene) -> None:
    scene, here = furnished, furnished.pair.source
    before = state(scene, here)
    backup = take_backup(here, scene.product)
    options: dict[str, Any] = {"actor": scene.product.admin, "selection": [SALES], "beside": True}

    run = restored(scene, create_restore(backup, here, **options))

    now = scene.product.read(here).documents
    assert {uuid: fingerprints(scene.product.read(here)).get(uuid) for uuid in before} == before
    new = {now[uuid].title: now[uuid] for uuid in now.keys() - before.keys()}
    assert new.keys() == {f"Sales (backup {backup.number})", "Revenue", "Regions"}
    assert new["Revenue"].body["dataset_uuid"] == ORDERS
    assert new[f"Sales (backup {backup.number})"].body["slug"] == f"sales-backup-{backup.number}"
    assert run.migration.source_name == f"backup {backup.number}"
    # The same once more is the same copy, under another name.
    other = restored(scene, create_restore(backup, here, copy_title="{title}, then", **options))
    assert actions(other.plan) == {"Sales": "update", "orders": "leave_out"}
    with pytest.raises(Invalid, match="knows no other name"):
        create_restore(backup, here, copy_title="Sales {key}", **options)
    with pytest.raises(Invalid, match="came later"):
        create_restore(backup, here, remove_later=True, **options)


def test_it_goes_elsewhere_by_mapping_and_what_is_damaged_in_it_is_named(furnished: Scene) -> None:
    scene, (here, there) = furnished, (furnished.pair.source, furnished.pair.target)
    admin = scene.product.admin
    backup = take_backup(here, scene.product)
    migration = create_restore(backup, there, actor=admin)
    assert not migration.is_put_back
    plan = scene.product.plan(migration)
    assert {item.blocked_by for item in plan.items.filter(kind="dataset")} == {
        "The database “Warehouse DEV” is not mapped to one of the target."
    }
    assert [(row["name"], row["suggestions"][0]["name"]) for row in plan.databases] == [
        ("Warehouse DEV", "Warehouse PROD")
    ]
    services.save_mapping(
        here, there, actor=admin, databases={plan.databases[0]["uuid"]: uuid_for("Warehouse PROD")}
    )
    migration.refresh_from_db()
    assert migration.plan is None  # a plan that was made with another mapping counts no more
    run = restored(scene, migration)
    assert {SALES, REVENUE, REGIONS, ORDERS} <= scene.product.read(there).documents.keys()

    # What a run of it did not write is a restore of the same backup.
    Run.objects.filter(pk=run.pk).update(
        state="needs_attention", unwritten=[REGIONS], looked_at=timezone.now()
    )
    rest = leftovers.retry_rest(run, actor=admin)
    assert (rest.source_place, rest.selection, rest.continues) == (backup.place, [REGIONS], run)
    assert scene.product.plan(rest).counts["unchanged"] == 1

    # Approvals: of the way from the backup's environment; of its own one of every way that leads there.
    way = Route.objects.create(slug="there", name="There", source=here, target=there)
    assert routes_of(migration) == [way]
    back = Route.objects.create(slug="back", name="Back", source=there, target=here)
    assert routes_of(create_restore(backup, here, actor=admin)) == [back]

    # One document of it is damaged: that one is named and stays away, the rest can be restored.
    problems = [{"code": "object_damaged", "uuid": REGIONS, "title": "Regions", "text": "Damaged."}]
    verification = {"state": "damaged", "checked": 9, "problems": problems}
    Backup.objects.filter(pk=backup.pk).update(state=BackupState.CORRUPT, verification=verification)
    backup.refresh_from_db()
    left = scene.product.plan(create_restore(backup, here, actor=admin))
    assert [(one["code"], "damaged in backup" in one["text"]) for one in left.errors] == [
        ("selection_gone", True)
    ]
    assert REGIONS not in left.items.values_list("uuid", flat=True)
    Backup.objects.filter(pk=backup.pk).update(state=BackupState.FAILED)
    backup.refresh_from_db()
    with pytest.raises(NotReady, match="nothing to restore"):
        create_restore(backup, here, actor=admin)


def test_by_rest_by_command_and_only_by_who_may(
    furnished: Scene, make_user: Any, api: Any, viewer: Any, author: Any, stranger: Any
) -> None:
    scene, here = furnished, furnished.pair.source
    backup = take_backup(here, scene.product)
    body = {"source": f"backup:{backup.number}", "target": here.slug, "all": True, "plan": True}
    refused = {
        who.username: api(who).post("/api/v1/migrations/", body, format="json") for who in (viewer, stranger)
    }
    assert refused["viewer"].status_code == 403
    assert refused["stranger"].status_code == 400
    assert "no such backup" in json.dumps(refused["stranger"].json())
    made = api(author).post("/api/v1/migrations/", body, format="json", HTTP_IDEMPOTENCY_KEY="once")
    again = api(author).post("/api/v1/migrations/", body, format="json", HTTP_IDEMPOTENCY_KEY="once")
    assert (made.status_code, again.json()["uuid"]) == (201, made.json()["uuid"])
    assert made.json()["source_place"] == backup.place
    assert {name: made.json()["carrying"][name] for name in ("rls", "owners", "reports", "css")} == {
        "rls": "carry",
        "owners": "on",
        "reports": "active",
        "css": "on",
    }
    later = api(author).post("/api/v1/migrations/", {**body, "prune": True}, format="json")
    assert (later.status_code, later.json()["code"]) == (403, "not_allowed")
    one = {**body, "beside": True, "selection": [SALES], "plan": False}
    one.pop("all")
    copied = Migration.objects.get(
        uuid=api(author).post("/api/v1/migrations/", one, format="json").json()["uuid"]
    )
    assert copied.copy_terms is not None
    assert copied.carrying["roles"] == "on"  # a copy is open to nobody but whom the original is open to

    only_here = make_user("only_here", "author", on=f"environment:{scene.pair.target.uuid}")
    with pytest.raises(NotAllowed):
        create_restore(backup, scene.pair.target, actor=only_here)

    out = io.StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command(
            "plan",
            *("--from", backup.place, "--to", here.slug, "--dashboard", "Sales", "--beside", "{title} again"),
            *("--json", "--as", author.username),
            stdout=out,
        )
    assert ended.value.code == 2
    counts = json.loads(out.getvalue())["plan"]["counts"]
    assert (counts["create"], counts["leave_out"]) == (3, 1)
