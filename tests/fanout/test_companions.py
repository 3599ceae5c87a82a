"""What goes with the assets of a template goes with each of its copies."""

from __future__ import annotations

from typing import Any

import pytest

from environments.models import Environment
from migrations_app.fanout import running, services
from migrations_app.fanout.table import parse
from migrations_app.release.models import Route
from tests.factories import uuid_for
from tests.fakes.superset import FakeSuperset
from tests.migrations_app.test_carrying import ALL, beside, named, side_of
from tests.superset.companion_scene import FLAGS, furnish

from .conftest import TENANTS, Scene

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def furnished(scene: Scene) -> Scene:
    """One of everything on the source, and both targets' routes carry all of it."""
    pair = scene.pair
    for fake in (pair.dev, pair.prod):
        fake.add_role("North")
        fake.add_user("nora")
        fake.feature_flags = dict(FLAGS)
    furnish(side_of(pair.dev))
    Environment.objects.update(capabilities={})
    for target in (pair.source, pair.target):
        name = f"to-{target.slug}"
        Route.objects.create(slug=name, name=name, source=pair.source, target=target, carrying=ALL)
    pair.read()
    return scene


def rule_of(fake: FakeSuperset) -> dict[str, Any]:
    (rule,) = fake.objects["rowlevelsecurity"].values()
    return rule


def test_each_copy_has_owners_roles_tags_and_its_rows_stay_protected(furnished: Scene) -> None:
    prod = furnished.pair.prod
    before = beside(prod)
    run = furnished.plan()
    plan = furnished.standings(run)[0].entry.migration.plan  # type: ignore[union-attr]
    assert plan is not None
    assert "Saved queries." in {loss["text"] for loss in plan.losses}
    warned = {problem["code"]: problem["text"] for problem in plan.problems}
    assert "“Own lines”" in warned["shared_by_copies"]
    for number, _ in enumerate(
        TENANTS, 1
    ):  # each adds its own to what is there, and so has to know what is there
        run = furnished.apply(run)
        assert list(furnished.names(run).values()).count("applied") == number, furnished.names(run)
        if number < len(TENANTS):
            running.plan_again(run, actor=furnished.actor)
            furnished.run_jobs()
    assert furnished.names(run) == dict.fromkeys(TENANTS, "applied")
    datasets = [furnished.copied("dataset", "orders", name) for name in TENANTS]
    assert sorted(rule_of(prod)["tables"]) == sorted(one["id"] for one in datasets)
    assert rule_of(prod)["roles"] == [prod.role_ids["North"]]
    (nora,) = [number for number, one in prod.accounts.items() if one["username"] == "nora"]
    for name in TENANTS:
        dashboard = furnished.copied("dashboard", "Sales", name)
        assert dashboard["owners"] == [nora]
        assert dashboard["roles"] == [prod.role_ids["North"]]
        assert len(dashboard["tags"]) == 1
        assert dashboard["embedded"]["allowed_domains"] == ["https://portal.example"]
    # Reports have one name: the first copy has it, the others say that they have none.
    assert [row["dashboard"] for row in prod.objects["report"].values() if row["name"] == "Weekly"] == [
        furnished.copied("dashboard", "Sales", "acme")["id"]
    ]
    assert set(furnished.names(furnished.plan()).values()) == {"same"}

    running.roll_back(run, actor=furnished.actor, keys=["acme"], confirmed=["prod"])
    furnished.run_jobs()
    assert furnished.names(run)["acme"] == "rolled_back"
    # The first copy made the rule; it stays for the datasets of the others.
    left = [furnished.copied("dataset", "orders", name)["id"] for name in TENANTS[1:]]
    assert sorted(set(rule_of(prod)["tables"]) & prod.assets["dataset"].keys()) == sorted(left)
    running.roll_back(
        running.find_run(run.number, furnished.actor), actor=furnished.actor, confirmed=["prod"]
    )
    furnished.run_jobs()
    assert beside(prod)["grants"] == before["grants"]


def test_beside_its_source_a_copy_changes_nothing_of_the_sources(furnished: Scene) -> None:
    dev = furnished.pair.dev
    before = named(dev)
    table = "key,target,schema,label\nown,dev,t_own,Own\n"
    dev.tables[uuid_for("Warehouse DEV")]["t_own.orders"] = dev.tables[uuid_for("Warehouse DEV")][
        "main.orders"
    ]
    services.save_copies(furnished.fan_out, parse(table), actor=furnished.actor)
    run = furnished.plan("own")
    running.apply(run, actor=furnished.actor, confirmed=["dev"])
    furnished.run_jobs()
    assert furnished.names(run) == {"own": "applied"}
    assert named(dev) == before  # nothing is there twice, nothing new
    assert len(rule_of(dev)["tables"]) == 2
    (query,) = dev.objects["saved_query"].values()
    assert query["schema"] == "main"
