"""Between the oldest and the newest release, beside what test_estates.py moves: named, blocked and converted."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command

from environments.canonical.documents import Kind
from environments.lab.install import Installer
from environments.lab.instance import RunningSuperset
from environments.lab.places import Places
from environments.lab.progress import Progress
from environments.lab.rest import Rest
from migrations_app import run_page, services
from tests.compat.released import differences
from tests.live.product import Product, actions, by_title, fingerprints, product

pytestmark = [pytest.mark.live]
__all__ = ["product"]

COUNT = {"expressionType": "SQL", "sqlExpression": "COUNT(*)", "label": "n"}
Lease = Callable[..., RunningSuperset]


@pytest.mark.parametrize("version", ["4.1.4", "6.0.0", "6.1.0"])
def test_the_tables_say_what_the_release_itself_says(lab: Any, version: str) -> None:
    """Of 5.0.0, which no other live test needs, `make compat` asks the same."""
    assert differences(Installer(Places.default(), Progress()), version) == []


def test_an_estate_goes_up_and_down_between_the_oldest_and_the_newest(
    product: Product, fresh_target: Lease
) -> None:
    old, new = fresh_target("4.1.4"), fresh_target("6.1.0")
    one, other = Rest(old), Rest(new)
    lines = _dataset(one), _dataset(other)
    line = one.add_chart("Lines", lines[0], "line", _line())
    one.add_dashboard("Old", [line], slug="old")
    gantt = other.add_chart("Tasks", lines[1], "gantt_chart", {"metric": COUNT})
    plain = other.add_chart("Total", lines[1], "big_number_total", {"metric": COUNT})
    number, uuid = other.add_dashboard("New", [gantt, plain], slug="new")
    layout = json.loads(other.call("GET", f"/api/v1/dashboard/{number}")["result"]["position_json"])
    clocks = {"show_chart_timestamps": True, "positions": layout}
    other.call("PUT", f"/api/v1/dashboard/{number}", {"json_metadata": json.dumps(clocks)})
    low, high = product.register("dev", old), product.register("prod", new)

    # Up: Superset turns the chart into another type, which is shown, and is no edit.
    before = product.read(high)
    migration = product.migrate(low, high, product.uuids(low, "dashboard"))
    plan = migration.plan
    assert plan is not None
    conflicts = {
        item.uuid: {"answer": "adopt"} for item in plan.items.filter(action="blocked", kind="dataset")
    }
    if conflicts:  # both have a dataset on that table
        product.answer(migration, conflicts)
    run = product.apply(migration)
    assert run.state == "applied", run.error
    assert (
        "failed" not in run.verdict_counts
    )  # a query of an obsolete type is built by Superset's old pages alone
    (told,) = run_page.converted(run)
    assert (told["title"], told["from"]) == ("Lines", "line")
    assert told["to"] == "echarts_timeseries_smooth"
    now = by_title(product.read(high), Kind.CHART, "Lines")
    assert now.body["viz_type"] == "echarts_timeseries_smooth"
    again = product.migrate(low, high, product.uuids(low, "dashboard"), verify=False)
    assert again.plan is not None
    assert actions(again.plan) == {}
    assert services.why_not_applicable(again).startswith("There is nothing to do")
    product.apply(product.roll_back(run))
    assert fingerprints(product.read(high)) == fingerprints(before)

    # Down: a type that the old one cannot draw blocks; what it does not know is named, and its pages can save the rest.
    migration = product.migrate(high, low, [uuid], verify=False)
    assert migration.plan is not None
    blocked = dict(migration.plan.items.filter(action="blocked").values_list("title", "blocked_by"))
    assert "Superset 4.1.4 has no charts of the type gantt_chart." in blocked["Tasks"]
    assert "“Tasks” is blocked" in blocked["New"]
    answers = {
        item.uuid: {"answer": "adopt"}
        for item in migration.plan.items.filter(kind="dataset")
        if item.conflict
    }
    plan = product.answer(migration, {**answers, gantt[1]: {"answer": "leave_out"}})
    (lost,) = [loss["text"] for loss in plan.losses if loss["code"] == "unknown_field"]
    assert "“show_chart_timestamps” of its metadata is unknown to Superset 4.1.4" in lost
    started = product.read(low)
    run = product.apply(migration)
    assert run.state == "applied", run.error
    arrived = product.read(low)
    brought = one.call("GET", f"/api/v1/dashboard/{arrived.ids.id_of(Kind.DASHBOARD, uuid)}")["result"]
    one.call(
        "PUT", f"/api/v1/dashboard/{brought['id']}", {"json_metadata": brought["json_metadata"]}
    )  # as its page saves
    product.apply(product.roll_back(run))
    assert fingerprints(product.read(low)) == fingerprints(started)


@pytest.mark.parametrize("version", ["4.1.4", "6.1.0"])
def test_the_suite_finds_a_tested_release_to_be_as_it_is_known(
    version: str, fresh_target: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    superset = fresh_target(version)
    _dataset(Rest(superset))
    monkeypatch.setenv("SSTOOLS_COMPAT_PASSWORD", superset.password)
    out = io.StringIO()
    call_command("compat", "--url", superset.url, "--write", "--json", stdout=out)  # ends with 0, or raises
    body = json.loads(out.getvalue())
    states = {(line["group"], line["name"]): line["state"] for line in body["lines"]}
    assert body["result"] == "compatible"
    assert states["capabilities", "dataset_by_uuid"] == states["round trip", "read back"] == "ok"
    assert states["round trip", "removed"] == "ok"
    left = [
        Rest(superset).call("GET", f"/api/v1/{kind}/?q=(columns:!(id))")["count"]
        for kind in ("chart", "dashboard")
    ]
    assert left == [0, 0]


def _dataset(rest: Rest) -> int:
    database = rest.find("database", "database_name", "Warehouse PROD")
    assert database is not None
    return rest.add_dataset(database, "birth_names", "main")[0]


def _line() -> dict[str, Any]:
    return {
        "metrics": [COUNT],
        "granularity_sqla": "ds",
        "time_grain_sqla": "P1Y",
        "time_range": "No filter",
        "groupby": ["gender"],
        "line_interpolation": "cardinal",
        "row_limit": 1000,
    }
