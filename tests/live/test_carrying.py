"""What goes with a dashboard and is in no export arrives with it on another Superset 6.1.0 by mapping, and leaves with
it; on 4.1.4 too, and what somebody edits there is found and asked about.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from environments.canonical.companions import CompanionKind, comparable
from environments.canonical.ids import IdTable
from environments.lab.instance import RunningSuperset
from environments.lab.rest import Rest
from environments.superset.auth import PasswordAuth
from environments.superset.client import SupersetClient
from environments.superset.companions import CompanionsRead, read_companions
from migrations_app import services
from migrations_app.drift import beside as drift_beside
from migrations_app.drift.models import Finding
from migrations_app.models import Migration
from tests.live.product import Product, product
from tests.live.test_companions import PASSWORD, make_side
from tests.superset.companion_scene import FLAGS, Side, furnish, furnish_theme

pytestmark = [pytest.mark.live]
__all__ = ["product"]

CARRYING = {
    "owners": "on",
    "roles": "on",
    "rls": "carry",
    "tags": "on",
    "reports": "on",
    "recipients": "release@example.org",
    "embedded": "on",
}
KINDS = frozenset(CompanionKind) - {
    CompanionKind.SAVED_QUERY,
    CompanionKind.CSS_TEMPLATE,
    CompanionKind.ACCESS,
}


def everything(side: Side | Target) -> dict[str, Any]:
    """All companions of a Superset, as the product itself does not read them: without a selection, from anew."""
    read = side.read(KINDS)
    assert read.unreadable == {}
    return {f"{one.kind} {one.title}": dict(comparable(one)) for one in read.documents.values()}


@dataclass
class Target:
    """A Superset without the dashboard, where the role and the person have other names."""

    superset: RunningSuperset
    rest: Rest
    client: SupersetClient

    def read(self, kinds: Any) -> CompanionsRead:
        return read_companions(self.client, kinds, IdTable())

    def rows_seen_by(self, username: str) -> int:
        """How many lines a user gets."""
        dataset = self.rest.find("dataset", "table_name", "bart_lines")
        query = {"columns": ["name"], "metrics": [], "row_limit": 1000}
        body = {"datasource": {"id": dataset, "type": "table"}, "force": True, "queries": [query]}
        answer = Rest(self.superset, username, PASSWORD).call("POST", "/api/v1/chart/data", body)
        return int(answer["result"][0]["rowcount"])


def make_target(superset: RunningSuperset) -> Target:
    rest = Rest(superset)
    rest.add_role("Prod analysts", [("all_datasource_access", "all_datasource_access")])
    rest.add_user("ada.prod", PASSWORD, "Gamma", "Prod analysts")
    rest.add_user("bob.prod", PASSWORD, "Gamma", "Alpha")
    client = SupersetClient(superset.url, PasswordAuth(superset.username, superset.password))
    return Target(superset, rest, client)


def test_owners_roles_rules_tags_layers_alerts_embedding_and_theme_arrive_and_leave(
    product: Product, fresh_target: Callable[..., RunningSuperset]
) -> None:
    one, other = fresh_target(feature_flags=FLAGS), fresh_target(feature_flags=FLAGS)
    source, target = make_side(one, "Analysts", "ada"), make_target(other)
    furnish(source)
    furnish_theme(source)
    here, there = product.register("dev", one), product.register("prod", other)
    before = everything(target)
    migration = product.migrate(here, there, [source.uuids["dashboard"]], carrying=CARRYING, verify=False)
    # Who is who is not known yet: a rule that cannot be brought whole stops the plan.
    assert migration.plan is not None
    assert {"roles_blocked", "rls_blocked"} <= {problem["code"] for problem in migration.plan.errors}
    services.save_mapping(
        here,
        there,
        actor=product.admin,
        people={"ada@example.com": "ada.prod"},
        roles={"Analysts": "Prod analysts"},
    )
    plan = product.plan(migration)
    assert plan.errors == []
    assert plan.companion_counts == {"create": plan.companions.count()}
    left = {loss["code"] for loss in plan.losses}
    assert not left & {"annotation_layer", "theme", "owners", "roles", "rls", "tags", "reports", "embedded"}

    run = product.apply(migration)

    assert run.state == "applied", run.error
    arrived = everything(target)
    wanted = everything(source)
    uuid = source.uuids["dashboard"]
    assert arrived[f"owners {uuid}"]["users"] == ["ada.prod@example.com"]
    assert arrived[f"roles {uuid}"]["roles"] == ["Prod analysts"]
    assert arrived["rls Own lines"] == {**wanted["rls Own lines"], "roles": ["Prod analysts"]}
    for name in (
        f"tags {uuid}",
        "tag Finance: 2024",
        "annotation_layer Holidays",
        f"annotation_use {source.uuids['Lines']}",
        "theme Night",
        f"theme_use {uuid}",
        f"embedded {uuid}",
    ):
        assert arrived[name] == wanted[name], name
    mail = [{"type": "Email", "target": "release@example.org", "cc": "", "bcc": ""}]
    for name in ("report Weekly", "report Too many"):
        assert arrived[name]["recipients"] == mail
        assert arrived[name]["owners"] == ["ada.prod@example.com"]
    assert not any(row["active"] for row in _reports(target))
    assert (target.rows_seen_by("ada.prod"), target.rows_seen_by("bob.prod")) == (4, 5)
    embedded = [step.result["embedded"] for step in run.steps.all() if "embedded" in step.result]
    assert [row["title"] for row in embedded] == ["Companions"]
    assert embedded[0]["source"] != embedded[0]["target"] != ""

    # The same once more has nothing to do, and an edit of the chart loses no annotation.
    again = product.migrate(here, there, [uuid], carrying=CARRYING, verify=False)
    assert again.plan is not None
    assert again.plan.write_count == 0, _written(again)
    source.call("PUT", f"/api/v1/chart/{source.numbers['Lines']}", {"description": "edited"})
    services.request_plan(again, actor=product.admin)
    product.plan(again)
    product.apply(again)
    assert everything(target) == arrived

    product.apply(product.roll_back(again.runs.get()))
    assert everything(target) == arrived
    product.apply(product.roll_back(run))
    assert everything(target) == before
    run.refresh_from_db()
    assert run.state == "rolled_back"


@pytest.mark.parametrize("version", ["4.1.4"])  # 5.0.0 was tried by hand
def test_it_arrives_on_the_oldest_release_where_an_edit_is_found_asked_about_and_kept(
    product: Product, fresh_target: Callable[..., RunningSuperset], version: str
) -> None:
    one, other = fresh_target(feature_flags=FLAGS), fresh_target(version, feature_flags=FLAGS)
    source, target = make_side(one, "Analysts", "ada"), make_target(other)
    furnish(source)
    here, there = product.register("dev", one), product.register("prod", other)
    carrying = {**CARRYING, "saved_queries": "on", "css": "on"}
    people = {"people": {"ada@example.com": "ada.prod"}, "roles": {"Analysts": "Prod analysts"}}
    services.save_mapping(here, there, actor=product.admin, **people)
    uuid = source.uuids["dashboard"]
    migration = product.migrate(here, there, [uuid], carrying=carrying, verify=False)
    assert migration.plan is not None
    assert migration.plan.errors == []
    run = product.apply(migration)
    assert run.state == "applied", run.error
    assert target.rows_seen_by("ada.prod") == 4
    again = product.migrate(here, there, [uuid], carrying=carrying, verify=False)
    assert again.plan is not None
    assert again.plan.write_count == 0, _written(again)

    # Somebody widens the rule and takes an owner away; on the source the rule's clause changes as well.
    (rule,) = target.rest.call("GET", "/api/v1/rowlevelsecurity/")["result"]
    target.rest.call("PUT", f"/api/v1/rowlevelsecurity/{rule['id']}", {**_rule(target), "clause": "1 = 1"})
    dashboard = target.rest.find("dashboard", "dashboard_title", "Companions")
    target.rest.call("PUT", f"/api/v1/dashboard/{dashboard}", {"owners": []})
    (theirs,) = source.call("GET", "/api/v1/rowlevelsecurity/")["result"]
    changed = {**_of_one(theirs), "clause": "name like 'R%'"}
    source.call("PUT", f"/api/v1/rowlevelsecurity/{theirs['id']}", changed)
    product.refresh(there)
    assert drift_beside.check(there) == ()
    found = {one.kind: one.sentences for one in Finding.objects.open()}
    assert found == {
        "rls": ["clause: name like '%r%' → 1 = 1"],
        "owners": ["owners: Ada.Prod Lab (ada.prod@example.com) removed"],
    }
    product.plan(again)
    asked = {one.kind: one for one in again.plan.companions.filter(action="blocked")}
    codes = {kind: (one.conflict or {})["code"] for kind, one in asked.items()}
    assert codes == {"rls": "beside_diverged", "owners": "beside_drifted"}
    product.answer(again, {asked["rls"].uuid: "take", asked["owners"].uuid: "keep"})
    run = product.apply(again)
    assert run.state == "applied", run.error
    assert _rule(target)["clause"] == "name like 'R%'"
    assert target.rest.call("GET", f"/api/v1/dashboard/{dashboard}")["result"]["owners"] == []
    drift_beside.check(there)
    assert not Finding.objects.open().exists()
    product.apply(product.roll_back(run))
    assert _rule(target)["clause"] == "1 = 1"


def _rule(side: Target) -> dict[str, Any]:
    (rule,) = side.rest.call("GET", "/api/v1/rowlevelsecurity/")["result"]
    return _of_one(rule)


def _of_one(rule: dict[str, Any]) -> dict[str, Any]:
    """As a PUT takes it."""
    kept = {name: rule[name] for name in ("name", "filter_type", "clause", "group_key")}
    numbers = {name: [one["id"] for one in rule[name]] for name in ("tables", "roles")}
    return {**kept, **numbers, "description": rule.get("description") or ""}


def _reports(side: Target) -> list[dict[str, Any]]:
    return list(side.rest.call("GET", "/api/v1/report/")["result"])


def _written(migration: Migration) -> list[str]:
    assert migration.plan is not None
    writes = ("create", "update", "remove")
    items = migration.plan.items.filter(action__in=writes)
    return [
        *(f"{item.action} {item.title}: {[change['sentence'] for change in item.changes]}" for item in items),
        *(
            f"{one.action} {one.words}: {one.changes}"
            for one in migration.plan.companions.filter(action__in=writes)
        ),
    ]
