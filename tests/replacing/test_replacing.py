"""Texts of an environment replaced by a migration of it onto itself: planned, verified, undone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from migrations_app import gates
from migrations_app.errors import NotReady
from migrations_app.models import Baseline, Migration
from migrations_app.release import services as release
from migrations_app.replacing import services
from sstools.errors import Invalid
from tests.factories import uuid_for
from tests.fakes.pair import FakePair, fake_pair
from tests.live.product import Product, fingerprints
from tests.migrations_app.test_carrying import side_of
from tests.superset.companion_scene import FLAGS, furnish

pytestmark = [pytest.mark.django_db]
SALES, REVENUE, REGIONS = uuid_for("Sales"), uuid_for("Revenue"), uuid_for("Regions")


@pytest.fixture
def product(transactional_db: None) -> Product:
    return Product()


@pytest.fixture
def pair(product: Product) -> Iterator[FakePair]:
    """Sales is on prod as on dev; the chart Revenue filters by SQL."""
    with fake_pair() as made:
        made.dev.record("chart", REVENUE)["data"]["params"]["adhoc_filters"] = [
            {"clause": "WHERE", "expressionType": "SQL", "sqlExpression": "region <> 'old_region'"}
        ]
        made.dev.record("dashboard", SALES)["data"]["css"] = ".header { color: old_region }"
        for kind, uuid in (("chart", REVENUE), ("dashboard", SALES)):
            made.dev.record(kind, uuid)["changed_on"] = made.dev._now()
        made.read()
        product.apply(product.migrate(made.source, made.target, [SALES]))
        made.read()
        yield made


def _ask(pair: FakePair, product: Product, **asked: Any) -> Migration:
    migration = services.create_replacement(pair.target, actor=product.admin, **asked)
    assert migration.job is not None
    product.do(migration.job)
    migration.refresh_from_db()
    assert migration.plan is not None
    return migration


def test_a_replacement_is_planned_applied_verified_and_rolled_back(pair: FakePair, product: Product) -> None:
    before = fingerprints(product.read(pair.target))
    bases = dict(Baseline.objects.filter(target=pair.target).values_list("uuid", "present"))
    migration = _ask(pair, product, find="old_region", replace="new_region")
    assert (
        services.create_replacement(pair.target, actor=product.admin, find="old_region", replace="new_region")
        == migration
    )
    assert migration.plan is not None
    planned = {item.uuid: item.action for item in migration.plan.items.all()}
    assert planned == {REVENUE: "update", SALES: "update"}
    assert migration.replacement.found == {"sql": 1, "css": 1}
    run = product.apply(migration)
    assert run.state == "applied"
    data = pair.prod.record("chart", REVENUE)["data"]
    assert data["params"]["adhoc_filters"][0]["sqlExpression"] == "region <> 'new_region'"
    assert pair.prod.record("dashboard", SALES)["data"]["css"] == ".header { color: new_region }"
    assert {row.uuid: row.status for row in run.bystanders.all()} == {REVENUE: "ok"}
    # It is in no source: to the next migration from dev it is an edit, and asked about.
    assert dict(Baseline.objects.filter(target=pair.target).values_list("uuid", "present")) == bases
    later = product.migrate(pair.source, pair.target, [SALES])
    assert later.plan is not None
    assert (later.plan.items.get(uuid=REVENUE).conflict or {})["code"] == "drifted"

    # Who edited one after the replacement is asked before it is put back.
    css = pair.prod.record("dashboard", SALES)["data"]
    css["css"], kept = "by hand", css["css"]
    back = product.roll_back(run)
    assert back.plan is not None
    assert {item.uuid for item in back.plan.items.filter(action="blocked")} == {SALES}
    css["css"] = kept
    product.plan(back)
    product.apply(back)
    assert fingerprints(product.read(pair.target)) == before


def test_an_edit_after_the_plan_makes_it_stale(pair: FakePair, product: Product) -> None:
    migration = _ask(pair, product, find="old_region", replace="new_region", fields=["sql"])
    pair.prod.record("chart", REVENUE)["data"]["description"] = "Edited meanwhile"
    pair.prod.record("chart", REVENUE)["changed_on"] = pair.prod._now()
    pair.prod.requests.clear()
    run = product.apply(migration, "failed")
    assert (run.error or {})["code"] == "stale_plan"
    assert pair.prod.writes == []


def test_a_chart_that_the_replacement_breaks_takes_the_run_back(pair: FakePair, product: Product) -> None:
    migration = _ask(
        pair, product, find="region <>", replace="nowhere <>", kinds=["chart"], roll_back_when_red=True
    )
    pair.prod.answers[uuid_for("orders")] = lambda asked: (
        "no such column: nowhere" if "nowhere" in str(asked) else [{"region": "north", "amount": 1}]
    )
    run = product.apply(migration, "failed")
    assert run.state == "rolled_back"
    assert "1 chart fails now that ran on Prod before" in (run.error or {})["message"]
    data = pair.prod.record("chart", REVENUE)["data"]
    assert data["params"]["adhoc_filters"][0]["sqlExpression"] == "region <> 'old_region'"


def test_what_is_not_there_is_refused(pair: FakePair, product: Product) -> None:
    for asked, field in (
        ({"find": ""}, "find"),
        ({"find": "x", "database": uuid_for("elsewhere")}, "database"),
        ({"find": "x", "selection": [uuid_for("elsewhere")]}, "selection"),
    ):
        with pytest.raises(Invalid) as caught:
            services.create_replacement(pair.target, actor=product.admin, **asked)  # type: ignore[arg-type]
        assert field in (caught.value.errors or {})
    nothing = _ask(pair, product, find="stands nowhere", replace="")
    assert nothing.plan is not None
    assert (nothing.plan.items.count(), nothing.replacement.place_count) == (0, 0)


def test_annotation_layers_that_imports_take_off_charts_are_put_back(
    pair: FakePair, product: Product
) -> None:
    pair.dev.add_role("North")
    pair.dev.add_user("nora")
    pair.dev.feature_flags = dict(FLAGS)
    furnish(side_of(pair.dev))
    pair.source.capabilities = {}
    pair.source.save()
    pair.read(pair.source)
    layers = pair.dev.record("chart", REVENUE)["data"]["params"]["annotation_layers"]
    assert len(layers) > 0
    before = fingerprints(product.read(pair.source))
    migration = services.create_replacement(
        pair.source, actor=product.admin, find="old_region", replace="new_region", kinds=["chart"]
    )
    product.plan(migration)
    run = product.apply(migration)
    assert run.state == "applied"
    data = pair.dev.record("chart", REVENUE)["data"]
    assert "new_region" in str(data["params"]["adhoc_filters"])
    assert data["params"]["annotation_layers"] == layers
    product.apply(product.roll_back(run))
    assert pair.dev.record("chart", REVENUE)["data"]["params"]["annotation_layers"] == layers
    assert fingerprints(product.read(pair.source)) == before


def test_what_routes_to_the_environment_ask_for_is_asked_of_a_replacement(
    pair: FakePair, product: Product
) -> None:
    values = {"name": "Dev to prod", "source": pair.source, "target": pair.target, "approvals": 1}
    release.save_route(None, values, actor=product.admin)
    migration = _ask(pair, product, find="old_region", replace="new_region")
    assert migration.plan is not None
    with pytest.raises(NotReady, match="approv"):
        product.apply(migration)
    assert [found.code for found in gates.obstacles(migration, migration.plan)] == ["approval_missing"]
