"""What goes with assets is planned, applied, disturbed and rolled back, over two small Supersets."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from environments.backups import services as backups
from environments.canonical.companions import CompanionKind
from environments.models import SnapshotCompanion
from migrations_app import services
from migrations_app.applying import beside as applying_beside
from migrations_app.errors import NotReady
from migrations_app.management.texts import plan_text
from migrations_app.models import CompanionBaseline, Migration, PlanCompanion, Run, RunState
from tests.factories import uuid_for
from tests.fakes.superset import FakeSuperset
from tests.superset.companion_scene import FLAGS, Side, furnish, furnish_theme
from tests.superset.helpers import client_of

from .scenes import Scene, told

pytestmark = pytest.mark.django_db(transaction=True)

ALL = {
    "owners": "on",
    "roles": "on",
    "rls": "carry",
    "tags": "on",
    "reports": "on",
    "embedded": "on",
    "css": "on",
    "saved_queries": "on",
    "access": "on",
}
NAMES: dict[str, Any] = {"people": {"nora@example.com": "otto"}, "roles": {"North": "Nord"}}


def side_of(fake: FakeSuperset) -> Side:
    uuids = {
        "database": uuid_for("Warehouse DEV"),
        "dataset": uuid_for("orders"),
        "dashboard": uuid_for("Sales"),
        "Lines": uuid_for("Revenue"),
        "Colors": uuid_for("Regions"),
    }
    kinds = {"Lines": "chart", "Colors": "chart"}
    numbers = {name: fake.id_of(kinds.get(name, name), uuid) for name, uuid in uuids.items()}
    client = client_of(fake)

    def call(method: str, path: str, body: Any = None) -> dict[str, Any]:
        found: dict[str, Any] = client._request(method, path, json=body).json
        return found

    return Side(client, call, "North", "nora", uuids, numbers)


@pytest.fixture
def furnished(scene: Scene) -> Scene:
    """The source has one of everything; the target has the role and the person under other names."""
    dev, prod = scene.pair.dev, scene.pair.prod
    dev.add_role("North")
    dev.add_user("nora")
    prod.add_role("Nord")
    prod.add_user("otto")
    for fake in (dev, prod):
        fake.feature_flags = dict(FLAGS)
    side = side_of(dev)
    furnish(side)
    furnish_theme(side)
    for environment in (scene.pair.source, scene.pair.target):
        environment.capabilities = {}
        environment.save()
    scene.pair.read()
    return scene


def migration_of(scene: Scene, **carrying: str) -> Migration:
    services.save_mapping(scene.pair.source, scene.pair.target, actor=scene.product.admin, **NAMES)
    return scene.product.migrate(
        scene.pair.source, scene.pair.target, [uuid_for("Sales")], carrying=carrying or ALL, verify=False
    )


def beside(fake: FakeSuperset) -> Any:
    """What the target holds beside its assets, whatever the numbers of rows."""
    state = fake.companion_state()
    objects = {
        name: sorted(str({**row, "id": 0, "uuid": ""}) for row in rows.values())
        for name, rows in state["objects"].items()
    }
    return {"objects": objects, "grants": state["grants"]}


def named(fake: FakeSuperset) -> dict[str, list[str]]:
    """What there is of each kind, by name: twice where it is there twice."""
    fields = ("name", "template_name", "theme_name", "label", "short_descr")
    return {
        resource: sorted(next(str(row[field]) for field in fields if row.get(field)) for row in rows.values())
        for resource, rows in fake.objects.items()
    }


def actions(migration: Migration) -> dict[str, str]:
    assert migration.plan is not None
    return {one.words: one.action for one in migration.plan.companions.all()}


def test_everything_comes_along_under_the_names_of_the_target_and_leaves_again(furnished: Scene) -> None:
    prod = furnished.pair.prod
    before = beside(prod)
    migration = migration_of(furnished)
    assert migration.plan is not None
    assert set(actions(migration).values()) == {"create"}
    kinds = {one.kind for one in migration.plan.companions.all()}
    assert kinds == {kind.value for kind in CompanionKind} - {"access"}  # no role has a grant on it
    run = furnished.product.apply(migration)
    assert run.state == RunState.APPLIED, run.error
    assert set(run.written) >= set(migration.plan.companions.values_list("target_uuid", flat=True))
    (rule,) = prod.objects["rowlevelsecurity"].values()
    assert rule["roles"] == [prod.role_ids["Nord"]]
    assert not any(report["active"] for report in prod.objects["report"].values())
    owner = next(number for number, user in prod.accounts.items() if user["username"] == "otto")
    assert prod.record("dashboard", uuid_for("Sales"))["owners"] == [owner]

    again = migration_of(furnished)
    assert (set(actions(again).values()), again.plan and again.plan.write_count) == ({"unchanged"}, 0)
    with pytest.raises(NotReady, match="nothing to do"):
        furnished.product.apply(again)

    assert SnapshotCompanion.objects.filter(snapshot=run.restore_point).count() == 0  # there was nothing
    furnished.product.apply(furnished.product.roll_back(run))
    assert beside(prod) == before
    run.refresh_from_db()
    assert (run.state, run.written) == (RunState.ROLLED_BACK, [])


def test_what_was_there_is_kept_by_the_restore_point_and_put_back(furnished: Scene) -> None:
    furnished.product.apply(migration_of(furnished))
    (rule,) = furnished.pair.dev.objects["rowlevelsecurity"].values()
    rule["clause"] = "name = 'Blue'"
    chart = furnished.pair.dev.record("chart", uuid_for("Revenue"))
    chart["data"]["description"], chart["changed_on"] = "edited", timezone.now()
    arrived = beside(furnished.pair.prod)
    owners = copy.deepcopy(furnished.pair.prod.record("chart", uuid_for("Revenue"))["owners"])
    migration = migration_of(furnished)
    written = {name for name, action in actions(migration).items() if action != "unchanged"}
    assert written == {"row-level security rule “Own lines”"}
    assert migration.plan is not None
    assert [one.changes for one in migration.plan.companions.filter(action="update")] == [
        ["clause: name like '%r%' → name = 'Blue'"]
    ]
    run = furnished.product.apply(migration)
    # The import took layers from the chart, and made the account its owner: both are as the plan wants them.
    assert furnished.pair.prod.record("chart", uuid_for("Revenue"))["owners"] == owners
    (theirs,) = furnished.pair.prod.objects["rowlevelsecurity"].values()
    assert theirs["clause"] == "name = 'Blue'"
    furnished.product.apply(furnished.product.roll_back(run))
    assert beside(furnished.pair.prod) == arrived


def test_what_moved_since_the_plan_stops_the_run_before_it_writes(furnished: Scene) -> None:
    migration = migration_of(furnished)
    (rule,) = furnished.pair.dev.objects["rowlevelsecurity"].values()
    rule["clause"] = "1 = 1"
    state = furnished.pair.prod.state()
    run = furnished.product.apply(migration, state="failed")
    assert run.state == RunState.STOPPED
    assert (
        "the row-level security rule “Own lines” on the source (differs in clause)"
        in (run.error or {})["message"]
    )
    assert furnished.pair.prod.state() == state


def test_a_rule_that_is_edited_right_before_it_is_written_is_left_to_who_edited_it(furnished: Scene) -> None:
    pair, product = furnished.pair, furnished.product
    product.apply(migration_of(furnished))
    (source,) = pair.dev.objects["rowlevelsecurity"].values()
    source["clause"] = "name = 'Blue'"
    ((number, theirs),) = pair.prod.objects["rowlevelsecurity"].items()

    def edits(request: Any) -> None:
        theirs["clause"] = "1 = 0"

    migration = migration_of(furnished)
    pair.prod.misbehave("GET", f"/api/v1/rowlevelsecurity/{number}", edits)
    run = product.apply(migration, state="failed")
    assert (run.state, (run.error or {})["code"]) == (RunState.STOPPED, "edited_meanwhile"), run.error
    assert theirs["clause"] == "1 = 0"


def test_by_default_a_missing_rule_is_a_warning_and_nothing_of_people_is_asked(furnished: Scene) -> None:
    migration = furnished.product.migrate(furnished.pair.source, furnished.pair.target, [uuid_for("Sales")])
    assert migration.plan is not None
    assert "rls_missing" in {problem["code"] for problem in migration.plan.problems}
    assert {one.kind for one in migration.plan.companions.all()} == {
        "annotation_layer",
        "annotation_use",
        "theme",
        "theme_use",
    }
    asked = {path for path in furnished.gate.seen if "security/users" in path or "related" in path}
    assert asked == set()
    assert furnished.product.apply(migration).state == RunState.APPLIED


def test_a_superset_that_cannot_list_its_rules_is_one_more_thing_to_warn_of(furnished: Scene) -> None:
    furnished.pair.prod.misbehave("GET", "/api/v1/rowlevelsecurity/", "html_500", times=None)
    migration = furnished.product.migrate(furnished.pair.source, furnished.pair.target, [uuid_for("Sales")])
    assert migration.plan is not None
    assert ("rls_unreadable", "warning") in {
        (one["code"], one["severity"]) for one in migration.plan.problems
    }


def test_a_person_who_may_not_be_mapped_or_a_role_that_is_missing_is_told(furnished: Scene) -> None:
    furnished.pair.prod.role_ids.pop("Nord")
    migration = migration_of(furnished)
    assert migration.plan is not None
    assert {"roles_blocked", "rls_blocked"} <= {problem["code"] for problem in migration.plan.errors}
    with pytest.raises(NotReady, match="checks failed"):
        furnished.product.apply(migration)


@pytest.mark.parametrize(("at", "state"), [(1, RunState.STOPPED), (3, RunState.APPLIED)])
def test_a_kind_that_turns_unreadable_ends_a_run_that_wrote_nothing_and_is_waited_for_by_others(
    furnished: Scene, monkeypatch: pytest.MonkeyPatch, at: int, state: str
) -> None:
    """The readings of a run: of the target, of the source, and of the target after its assets are written."""
    read, calls = applying_beside.read_side, list[int]()

    def closed(*given: Any, **more: Any) -> Any:
        found = read(*given, **more)
        calls.append(1)
        why = {CompanionKind.RLS: "closed"} if len(calls) == at else found.side.unreadable
        return replace(found, side=replace(found.side, unreadable=why))

    migration = migration_of(furnished)
    monkeypatch.setattr(applying_beside, "read_side", closed)
    run = furnished.product.apply(migration, state="failed" if state == RunState.STOPPED else "succeeded")
    assert (run.state, len(calls) > at) == (state, state == RunState.APPLIED), run.error


FAULTS = ("dies_after", "reset_after", "reset", "500", "500_after")


@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_goes_wrong_while_they_are_written_the_run_ends_as_the_target_shows(
    furnished: Scene, fault: str
) -> None:
    prod = furnished.pair.prod
    begin = copy.deepcopy((prod.objects, prod.grants, prod.assets))
    fresh = named(prod)
    furnished.prepare = lambda scene: migration_of(scene)

    def reset() -> None:
        prod.objects, prod.grants, prod.assets = copy.deepcopy(begin)
        CompanionBaseline.objects.all().delete()  # nobody took away what a run had brought

    furnished.plan()
    reset()
    job = furnished.apply(Migration.objects.get())
    assert Run.objects.get().state == RunState.APPLIED, told(job)
    arrived = named(prod)
    seen = list(furnished.gate.seen)
    first = next(n for n, path in enumerate(seen) if path.startswith("POST /api/v1/tag"))
    points = [n for n, path in enumerate(seen) if n >= first and not path.startswith("GET")]
    for number in points[FAULTS.index(fault) :: len(FAULTS)]:
        reset()
        migration = furnished.plan()
        reset()
        job = furnished.apply(migration, number, fault)
        run = Run.objects.get(migration=migration)
        where = f"{fault} at {number}: {furnished.gate.seen[number]}\n{told(job)}"
        assert run.state in (RunState.APPLIED, RunState.ROLLED_BACK), where
        assert named(prod) == (arrived if run.state == RunState.APPLIED else fresh), where
        assert not PlanCompanion.objects.filter(plan=run.plan, target_uuid__in=run.unwritten).exists() or (
            run.state == RunState.ROLLED_BACK
        ), where


@pytest.mark.parametrize("fault", ["dies_after", "reset_after", "500_after"])
def test_access_by_role_is_a_write_like_any_other(furnished: Scene, fault: str) -> None:
    dev, prod = furnished.pair.dev, furnished.pair.prod
    dev.grants = {"North": {f"[fake].[orders](id:{dev.id_of('dataset', uuid_for('orders'))})"}}
    begin = copy.deepcopy((prod.objects, prod.grants, prod.assets))
    furnished.prepare = lambda scene: migration_of(scene, access="on")
    furnished.apply(furnished.plan())
    run = Run.objects.get()
    assert run.state == RunState.APPLIED, run.error
    assert len(prod.grants["Nord"]) == 1
    step = next(step for step in run.steps.all() if "security/roles" in step.intent.get("request", ""))
    assert (step.intent["sent_at"] is not None, step.intent["requests"]) == (True, 1)
    point = next(
        n for n, path in enumerate(furnished.gate.seen) if path.startswith("POST /api/v1/security/roles")
    )
    prod.objects, prod.grants, prod.assets = copy.deepcopy(begin)
    CompanionBaseline.objects.all().delete()
    migration = furnished.plan()
    prod.objects, prod.grants, prod.assets = copy.deepcopy(begin)
    job = furnished.apply(migration, point, fault)
    run = Run.objects.get(migration=migration)
    assert run.state == RunState.APPLIED, told(job)
    assert prod.grants["Nord"] == {f"[fake].[orders](id:{prod.id_of('dataset', uuid_for('orders'))})"}


def test_an_edit_of_the_target_is_asked_about_kept_and_taken(furnished: Scene, client: Client) -> None:
    client.force_login(furnished.product.admin)
    pair, product = furnished.pair, furnished.product
    product.apply(migration_of(furnished))
    (rule,) = pair.prod.objects["rowlevelsecurity"].values()
    rule["clause"] = "1 = 0"
    dashboard = pair.prod.record("dashboard", uuid_for("Sales"))
    dashboard["owners"] = [1]
    migration = migration_of(furnished)
    plan = migration.plan
    assert plan is not None
    asked = {one.words: one for one in plan.companions.filter(action="blocked")}
    assert set(asked) == {"row-level security rule “Own lines”", "owners of “Sales”"}
    assert plan.blocked_words == "2 of what comes along are blocked"
    with pytest.raises(NotReady, match="2 of what comes along are blocked"):
        product.apply(migration)
    page = client.get(f"/migrations/{migration.number}/plan/").content.decode()
    assert "2 conflicts to answer" in page
    assert "Row-level security rule “Own lines”: edited on the target after the last run" in page
    rls, owners = asked["row-level security rule “Own lines”"], asked["owners of “Sales”"]
    assert "answers: keep, take" in plan_text(migration, plan)
    wrong = client.post(
        f"/api/v1/migrations/{migration.uuid}/answers/",
        {"answers": {rls.uuid: "leave_out"}},
        content_type="application/json",
    )
    assert wrong.status_code == 422
    answers = {f"answer:{rls.uuid}": "keep", f"answer:{owners.uuid}": "take"}
    sent = client.post(f"/migrations/{migration.number}/plan/answer/", {"plan": plan.hash, **answers})
    assert sent.status_code == 302
    product.plan(migration)
    assert actions(migration)["row-level security rule “Own lines”"] == "keep"
    run = product.apply(migration)
    assert run.state == RunState.APPLIED, run.error
    assert rule["clause"] == "1 = 0"
    assert dashboard["owners"] != [1]
    base = CompanionBaseline.objects.get(target=pair.target, uuid=rls.target_uuid)
    assert base.wanted_id != base.present_id
    assert base.run == run

    # What an import does by itself while nobody carries owners is nobody's edit.
    chart = pair.dev.record("chart", uuid_for("Revenue"))
    chart["data"]["description"], chart["changed_on"] = "edited", timezone.now()
    product.apply(migration_of(furnished, rls="off", owners="off"))
    again = migration_of(furnished)
    assert not again.plan or not again.plan.companions.filter(kind="owners", action="blocked").exists()


def test_a_kept_edit_survives_the_import_that_would_undo_it(furnished: Scene) -> None:
    """Owners go with an import: what is kept is written again after it, and a roll back leaves it."""
    pair, product = furnished.pair, furnished.product
    nora = next(number for number, user in pair.dev.accounts.items() if user["username"] == "nora")
    pair.dev.record("chart", uuid_for("Revenue"))["owners"] = [nora]
    product.apply(migration_of(furnished))
    theirs = pair.prod.record("chart", uuid_for("Revenue"))
    theirs["owners"] = [1, *theirs["owners"]]
    kept = list(theirs["owners"])
    chart = pair.dev.record("chart", uuid_for("Revenue"))
    chart["data"]["description"], chart["changed_on"] = "edited", timezone.now()
    migration = migration_of(furnished)
    assert migration.plan is not None
    (asked,) = migration.plan.companions.filter(action="blocked")
    services.answer_conflicts(migration, {asked.uuid: "keep"}, actor=product.admin)
    product.plan(migration)
    run = product.apply(migration)
    assert run.state == RunState.APPLIED, run.error
    assert sorted(pair.prod.record("chart", uuid_for("Revenue"))["owners"]) == sorted(kept)
    product.apply(product.roll_back(run))
    assert sorted(pair.prod.record("chart", uuid_for("Revenue"))["owners"]) == sorted(kept)


def test_pages_and_the_api_choose_show_and_prove_what_comes_along(furnished: Scene, client: Client) -> None:
    client.force_login(furnished.product.admin)
    pair, product = furnished.pair, furnished.product
    plain = product.migrate(pair.source, pair.target, [uuid_for("Sales")], verify=False)
    address = f"/migrations/{plain.number}/map/"
    assert 'name="carrying_rls"' in client.get(address).content.decode()
    wrong = client.post(address, {"carrying_recipients": "no address", "carrying_owners": "on"})
    assert (wrong.status_code, "e-mail addresses" in wrong.content.decode()) == (422, True)
    assert client.post(address, {"carrying_owners": "on", "carrying_rls": "carry"}).status_code == 302
    plan = product.plan(plain)
    assert {problem["code"] for problem in plan.errors} == {"rls_blocked"}
    page = client.get(address).content.decode()
    assert 'name="person:nora@example.com"' in page
    client.post(address, {"person:nora@example.com": "otto", "role:North": "Nord"})
    product.plan(plain)
    assert plain.carrying == {"owners": "on", "rls": "carry"}  # fields that were not sent change nothing
    shown = client.get(f"/migrations/{plain.number}/plan/").content.decode()
    assert "owners of “Sales”" in shown
    assert "row-level security rule “Own lines”" in shown
    answer = client.get(f"/api/v1/migrations/{plain.uuid}/").json()
    assert (answer["carrying"]["owners"], answer["carrying"]["tags"]) == ("on", "off")
    companions = client.get(f"/api/v1/migrations/{plain.uuid}/plan/").json()["companions"]
    assert ("rls", "Own lines", "create") in {
        (one["kind"], one["title"], one["action"]) for one in companions
    }
    refused = client.patch(
        f"/api/v1/migrations/{plain.uuid}/", {"carrying": {"tags": "maybe"}}, content_type="application/json"
    )
    assert refused.status_code == 400
    run = product.apply(plain)
    page = client.get(f"/migrations/{plain.number}/verify/?run={run.number}").content.decode()
    assert "What came along" in page
    assert "Alerts and reports." in page  # what stayed behind is said afterwards too


def test_two_places_are_compared_in_what_goes_with_their_assets(furnished: Scene, client: Client) -> None:
    client.force_login(furnished.product.admin)
    pair, product = furnished.pair, furnished.product
    product.apply(migration_of(furnished))
    (rule,) = pair.dev.objects["rowlevelsecurity"].values()
    rule["clause"] = "name = 'Blue'"
    run = product.apply(migration_of(furnished))
    sides = {"left": f"run:{run.number}:after", "right": f"run:{run.number}:before"}
    page = client.get("/compare/beside/", sides).content.decode()
    assert "clause: name like &#x27;%r%&#x27; → name = &#x27;Blue&#x27;" in page
    found = client.get("/api/v1/comparisons/companions/", sides).json()
    assert found["counts"] == {"changed": 1, "added": 0, "removed": 0, "same": found["counts"]["same"]}
    assert found["counts"]["same"] > 5

    # Environments as their last backups have them, by the mapping of the two; nothing where there is none.
    sides = {"left": "env:dev", "right": "env:prod"}
    assert "it is known once" in client.get("/compare/beside/", sides).content.decode()
    for environment in (pair.source, pair.target):
        product.do(backups.request_backup(environment, actor=product.admin))
    found = client.get("/api/v1/comparisons/companions/", sides).json()
    assert found["right"]["label"].startswith("backup ")
    different = {(one["kind"], one["state"]) for one in found["rows"] if one["state"] != "same"}
    assert different == {("report", "changed")}  # they arrived switched off
    same = {one["kind"] for one in found["rows"] if one["state"] == "same"}
    assert {"owners", "roles", "rls", "tags", "annotation_use", "embedded"} <= same
    assert "/compare/beside/?left=env" in client.get("/compare/", sides).content.decode()


def test_a_route_says_what_comes_along_between_its_environments(furnished: Scene, client: Client) -> None:
    client.force_login(furnished.product.admin)
    pair, admin = furnished.pair, furnished.product.admin
    fields = {
        "name": "Up",
        "source": pair.source.pk,
        "target": pair.target.pk,
        "approvals": 0,
        "is_enabled": "on",
    }
    assert client.post("/routes/new/", {**fields, "carrying_tags": "on"}).status_code == 302
    assert "Tags: come along" in client.get("/routes/up/").content.decode()
    made = services.create_migration(pair.source, pair.target, selection=[uuid_for("Sales")], actor=admin)
    assert made.carrying == {"tags": "on"}
    other = services.create_migration(
        pair.source,
        pair.target,
        selection=[uuid_for("Sales")],
        actor=admin,
        carrying={"tags": "off", "rls": "off"},
    )
    assert other.carrying == {"rls": "off"}
