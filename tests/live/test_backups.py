"""Restoring on real Supersets: an instance that was damaged in every way its API allows is put back, in part, whole, or
into another one of another version.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from environments.canonical.companions import comparable
from environments.canonical.documents import Document, Kind
from environments.lab.instance import RunningSuperset
from environments.lab.rest import Rest
from environments.superset.auth import SessionAuth
from environments.superset.client import SupersetClient
from environments.superset.companions import CompanionsRead
from migrations_app.engine.companions import WRITTEN_APART, beside
from migrations_app.models import Migration, Run
from migrations_app.planning import same_for_comparison
from migrations_app.restoring.services import create_restore
from tests.live.product import Product, actions, product
from tests.live.test_companions import make_side
from tests.restoring.taking import take_backup
from tests.superset.companion_scene import FLAGS, Side, furnish, furnish_theme

pytestmark = [pytest.mark.live]
__all__ = ["product"]

COUNT = {"expressionType": "SIMPLE", "column": None, "aggregate": "COUNT", "label": "COUNT(*)"}


@dataclass
class Estate:
    """A Superset with two dashboards and everything that goes with assets."""

    superset: RunningSuperset
    side: Side
    rest: Rest
    numbers: dict[str, int]
    uuids: dict[str, str]

    def put(self, path: str, **body: Any) -> None:
        self.rest.call("PUT", f"/api/v1/{path}", body)

    def delete(self, path: str) -> None:
        self.rest.call("DELETE", f"/api/v1/{path}")

    def companions(self) -> dict[str, Any]:
        """All of them, as the product itself does not read them: from anew, without a selection."""
        found: CompanionsRead = self.side.read()
        assert found.unreadable == {}
        named = {one.uuid: one for one in found.documents.values()}
        return {
            f"{one.kind} {one.title}": [dict(comparable(one)), one.body.get("active")]
            for one in named.values()
        }


def make_estate(superset: RunningSuperset) -> Estate:
    side = make_side(superset, "North", "nora")
    furnish(side)
    furnish_theme(side)
    rest = Rest(superset)
    sql = "select name, color from bart_lines"
    virtual, virtual_uuid = rest.add_dataset(side.numbers["database"], "line_colors", sql=sql)
    metrics = [{"metric_name": "twice", "expression": "2 * COUNT(*)"}]
    rest.call("PUT", f"/api/v1/dataset/{virtual}", {"metrics": metrics})
    chart = rest.add_chart("How many", virtual, "big_number_total", {"metric": "twice"})
    board = rest.add_dashboard("Numbers", [chart], slug="numbers")
    native = {
        "id": "NATIVE_FILTER-1",
        "type": "NATIVE_FILTER",
        "filterType": "filter_select",
        "name": "Line",
        "targets": [{"datasetId": virtual, "column": {"name": "name"}}],
        "defaultDataMask": {"filterState": {"value": None}},
        "cascadeParentIds": [],
        "scope": {"rootPath": ["ROOT_ID"], "excluded": []},
        "controlValues": {},
    }
    metadata = {"native_filter_configuration": [native], "color_scheme": "supersetColors"}
    rest.call("PUT", f"/api/v1/dashboard/{board[0]}", {"json_metadata": json.dumps(metadata), "css": ".a {}"})
    numbers = {**side.numbers, "virtual": virtual, "How many": chart[0], "Numbers": board[0]}
    uuids = {**side.uuids, "virtual": virtual_uuid, "How many": chart[1], "Numbers": board[1]}
    return Estate(superset, side, rest, numbers, uuids)


def damage(estate: Estate) -> None:
    """Every way that the API has: delete, edit, unlink, another layout, columns dropped, rows shown to everybody."""
    rest, number, call = estate.rest, estate.numbers, estate.rest.call
    # Deleted: a dashboard with what makes it one, a chart of another one, a dataset under a chart.
    estate.delete(f"dashboard/{number['Numbers']}")
    estate.delete(f"chart/{number['Colors']}")
    estate.delete(f"dataset/{number['virtual']}")
    # Edited and unlinked.
    form = json.dumps(
        {"viz_type": "big_number_total", "metric": COUNT, "datasource": f"{number['dataset']}__table"}
    )
    estate.put(
        f"chart/{number['Lines']}", params=form, query_context=None, slice_name="?", owners=[], dashboards=[]
    )
    estate.put(f"chart/{number['Lines']}", viz_type="big_number_total", description="mine now")
    layout: dict[str, Any] = {
        "DASHBOARD_VERSION_KEY": "v2",
        "ROOT_ID": {"type": "ROOT", "id": "ROOT_ID", "children": ["GRID_ID"]},
        "GRID_ID": {"type": "GRID", "id": "GRID_ID", "children": [], "parents": ["ROOT_ID"]},
    }
    estate.put(
        f"dashboard/{number['dashboard']}",
        position_json=json.dumps(layout),
        json_metadata=json.dumps({"positions": layout, "color_scheme": "lyftColors"}),
        css="* { display: none }",
        dashboard_title="Gone",
        published=False,
        owners=[],
        roles=[],
        theme_id=None,
    )
    # A dataset loses its columns and metrics, and its owners.
    columns = rest.call("GET", f"/api/v1/dataset/{number['dataset']}")["result"]["columns"]
    kept = [{"id": one["id"], "column_name": one["column_name"]} for one in columns[:1]]
    query = f"/api/v1/dataset/{number['dataset']}?override_columns=true"
    call("PUT", query, {"columns": kept, "metrics": [], "owners": [], "description": "less"})
    # What goes with assets: everybody sees all rows, nobody gets mail, nothing is tagged.
    for layer in call("GET", "/api/v1/annotation_layer/")["result"]:
        for day in call("GET", f"/api/v1/annotation_layer/{layer['id']}/annotation/")["result"]:
            estate.delete(f"annotation_layer/{layer['id']}/annotation/{day['id']}")
    for name in ("rowlevelsecurity", "report", "css_template", "annotation_layer", "saved_query"):
        for row in call("GET", f"/api/v1/{name}/")["result"]:
            estate.delete(f"{name}/{row['id']}")
    estate.delete(f"dashboard/{number['dashboard']}/embedded")
    for tag in call("GET", "/api/v1/tag/")["result"]:
        if tag["type"] in (1, "TagType.custom", "custom"):
            estate.delete(f"tag/{tag['id']}")


def put_back(was: Document, now: Mapping[str, Document]) -> bool:
    """Whether an asset is as it was. What a chart shows of layers names their ids, and one that was deleted has another
    one: that is compared as what goes with the chart, by the layer's name.
    """
    there = now.get(was.uuid)
    if was.kind == Kind.DATABASE:
        return there is not None and there.fingerprint == was.fingerprint
    return same_for_comparison(beside(was, there, WRITTEN_APART), there)


def apply(product: Product, migration: Migration) -> Run:
    plan = product.plan(migration)
    assert not plan.blocked_count, [
        (one.title, one.blocked_by) for one in plan.items.filter(action="blocked")
    ]
    assert plan.errors == []
    run = product.apply(migration)
    assert run.state == "applied", run.error
    return run


@pytest.fixture(scope="module")
def estate(module_target: Callable[..., RunningSuperset]) -> Estate:
    return make_estate(module_target(feature_flags=FLAGS))


def test_a_damaged_instance_is_put_back(product: Product, estate: Estate) -> None:
    here = product.register("prod", estate.superset)
    before, apart = product.read(here).documents, estate.companions()
    backup = take_backup(here, product)
    damage(estate)
    later = estate.rest.add_chart("Later", estate.numbers["dataset"], "table", {"all_columns": ["name"]})
    damaged = product.read(here).documents
    assert len(before.keys() - damaged.keys()) == 3
    assert not any(put_back(was, damaged) for was in before.values() if was.kind != Kind.DATABASE)

    migration = create_restore(backup, here, actor=product.admin)
    run = apply(product, migration)

    after = product.read(here).documents
    assert [was.title for was in before.values() if not put_back(was, after)] == []
    assert after.keys() - before.keys() == {later[1]}
    assert run.verdict_counts == {"ok": 3}
    now = estate.companions()
    assert now.pop(f"owners {later[1]}")
    # The address of a webhook is a secret: no backup has it, and the plan says so.
    losses = {loss["code"] for loss in run.plan.losses}
    assert "recipient_withheld" in losses
    (alert, _), (was, _) = now.pop("report Too many"), apart.pop("report Too many")
    assert alert == {**was, "recipients": [one for one in was["recipients"] if not one.get("withheld")]}
    assert now == apart

    # Put back once more there is nothing to do, and what came later goes only if somebody says so.
    again = create_restore(backup, here, actor=product.admin)
    assert actions(product.plan(again)) == {}
    assert again.plan is not None
    assert [one.words for one in again.plan.companions.exclude(action__in=("unchanged", "leave_out"))] == []
    strict = create_restore(backup, here, actor=product.admin, remove_later=True)
    plan = product.plan(strict)
    assert actions(plan) == {"Later": "remove"}
    product.apply(strict)
    assert product.read(here).documents.keys() == before.keys()


def test_one_dashboard_comes_back_under_its_address_and_all_of_it_goes_elsewhere(
    product: Product, estate: Estate, fresh_target: Callable[..., RunningSuperset]
) -> None:
    here = product.register("prod", estate.superset)
    backup = take_backup(here, product)
    before = product.read(here).documents
    uuid = estate.uuids["Numbers"]
    number = estate.rest.find("dashboard", "slug", "numbers")
    estate.delete(f"dashboard/{number}")

    run = apply(product, create_restore(backup, here, actor=product.admin, selection=[uuid]))

    assert actions(run.plan) == {"Numbers": "create"}
    assert [was.title for was in before.values() if not put_back(was, product.read(here).documents)] == []
    shown = estate.rest.call("GET", f"/api/v1/dashboard/{uuid}")["result"]
    assert (shown["dashboard_title"], shown["slug"]) == ("Numbers", "numbers")
    superset = estate.superset
    with SupersetClient(superset.url, SessionAuth(superset.username, superset.password)) as browser:
        page = browser._request("GET", f"/superset/dashboard/{uuid}/", checked=False)
    assert (page.status, "Numbers" in page.text) == (200, True)
    assert len(estate.rest.call("GET", f"/api/v1/dashboard/{uuid}/charts")["result"]) == 1

    # As a copy beside: under uuids of its own, over the datasets that are there; the original stays as it is.
    copied = apply(product, create_restore(backup, here, actor=product.admin, selection=[uuid], beside=True))
    title = f"Numbers (backup {backup.number})"
    assert actions(copied.plan) == {"Numbers": "create", "How many": "create", "line_colors": "leave_out"}
    there = product.read(here).documents
    assert [was.title for was in before.values() if not put_back(was, there)] == []
    assert {there[one].title for one in there.keys() - before.keys()} == {title, "How many"}
    assert copied.verdict_counts == {"ok": 1}

    # Into an instance of another version that has nothing but a connection.
    other = product.register("other", fresh_target("4.1.4", feature_flags=FLAGS))
    connections = product.read(other).documents
    elsewhere = create_restore(
        backup, other, actor=product.admin, databases={"Warehouse PROD": "Warehouse PROD"}
    )
    moved = apply(product, elsewhere)
    found = product.read(other).documents
    wanted = {one: was for one, was in before.items() if was.kind != Kind.DATABASE}
    assert found.keys() - connections.keys() == wanted.keys()
    assert all(found[one].fingerprint == connections[one].fingerprint for one in connections)
    assert moved.verdict_counts == {"ok": 3}
