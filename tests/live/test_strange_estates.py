"""Estates that nobody means to build and everybody has after some years, moved whole and back."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from environments.canonical.comparison import comparison_fingerprint
from environments.canonical.documents import Kind
from environments.lab.instance import RunningSuperset
from environments.lab.rest import Rest
from environments.models import Environment
from migrations_app.engine.diff import field_changes
from migrations_app.engine.mapping import AssetMapping, DatabaseTarget, in_target_terms
from migrations_app.models import Run
from tests.live.plant import Plant, grid, uuid_of
from tests.live.product import Product, actions, fingerprints, product

pytestmark = [pytest.mark.live]
__all__ = ["product"]

Lease = Callable[..., RunningSuperset]
TITLES = [
    "../../etc/passwd",
    "a/b\\c: d?* <e> | \"f\" 'g'",
    "CON",
    "null",
    "true",
    "no",
    "~",
    "123",
    "0123",
    "1e5",
    "2024-01-01",
    "- x: y",
    "#hash & *star !bang %percent @at `tick`",
    "{{ jinja }} {% raw %} ${dollar} %(percent)s ⟦chart:x⟧",
    "Ünïcödé 漢字 العربية 🧑‍🚀🏳️‍🌈 e\u0301",
    " leading and trailing ",
    "Sales_2024",
    "line\nbreak\ttab",
]
LONG = "Lang " * 42 + "lang"  # 214 of 250 characters; the permission on a dataset is longer by its connection
TEXT = (
    "one\r\ntwo\ttab \u2028 sep \x85 nel \xa0 nbsp \ufeff bom 🧑‍🚀\n\n  indented: yes\n# none\n... \n--- end "
)


def sql(superset: RunningSuperset, *statements: tuple[str, dict[str, Any]]) -> None:
    """Changes metadata behind Superset's back: what older releases, scripts and restores leave there."""
    address = re.sub(r"^postgresql\+\w+", "postgresql", superset.metadata_url)
    with psycopg.connect(address) as connection:
        for statement, values in statements:
            assert connection.execute(statement, values).rowcount == 1, statement


def moved_whole(
    product: Product, source: Environment, target: Environment, selection: list[str], here: Rest, there: Rest
) -> Run:
    """Apply a migration of the selection and hold the target against the source: everything arrived, and a second plan
    has nothing to do.
    """
    migration = product.migrate(source, target, selection, verify=False)
    plan = migration.plan
    assert plan is not None
    blocked = [(item.title, item.blocked_by) for item in plan.items.filter(action="blocked")]
    assert blocked == []
    assert plan.errors == []
    run = product.apply(migration)
    assert run.state == "applied", run.error
    wanted_side, found_side = product.read(source), product.read(target)
    mapping = AssetMapping(
        {uuid: DatabaseTarget(str(entry["target"])) for uuid, entry in plan.mapping["databases"].items()}
    )
    different = {}
    for item in plan.items.all():
        wanted = in_target_terms(wanted_side.documents[item.uuid], mapping)
        present = found_side.documents[item.uuid]
        if comparison_fingerprint(wanted) != comparison_fingerprint(present):
            different[item.title] = [str(change.to_json())[:400] for change in field_changes(present, wanted)]
    assert different == {}
    for uuid in (item.uuid for item in plan.items.filter(kind="dashboard")):
        shown = members(here, wanted_side, uuid)
        assert members(there, found_side, uuid) == shown, wanted_side.documents[uuid].title
    again = product.migrate(source, target, selection, verify=False)
    assert again.plan is not None
    assert actions(again.plan) == {}
    return run


def members(rest: Rest, reading: Any, uuid: str) -> set[str]:
    number = reading.ids.id_of(Kind.DASHBOARD, uuid)
    found = rest.call("GET", f"/api/v1/dashboard/{number}/charts")["result"]
    return {str(reading.ids.uuid_of(Kind.CHART, entry["id"])) for entry in found}


def build_strange_estate(superset: RunningSuperset, address: str) -> Plant:
    rest = Rest(superset)
    _, connection = rest.add_connection("Wärehouse / .. 🏭", address)
    plant = Plant(superset, connection)
    births = plant.dataset("birth_names", schema="main", columns=["name", "gender", "num"], description=TEXT)
    # datasets
    for title in TITLES:
        plant.dataset(f"virtual {title}", table=title, sql=f"select 1 as id -- {title!r}")
    plant.dataset(LONG, sql="select 1 as id")
    jinja = "select {{ '{{' }} , ':a{% raw %}' b, {{ filter_values('x')|where_in }} where {% if 1 %} 1=1 {% endif %}"
    plant.dataset(
        "jinja",
        sql=jinja,
        template_params={"a": "{{ b }}", "n": 1, "x": None, "l": [1, "2", {"c": 1.50}]},
        fetch_values_predicate="{{ predicate }} like '%:x%'",
        extra={"warning_markdown": TEXT, "certification": {"certified_by": "Ä"}},
        description=TEXT,
        cache_timeout=0,
        offset=-3,
        columns=[],
    )
    plant.dataset(
        "two schemas",
        sql="select * from main.birth_names b join other.birth_names o on o.name = b.name",
    )
    plant.files[f"datasets/db/{uuid_of('two schemas')}.yaml"]["columns"] = [
        {"column_name": "Name", "type": "TEXT", "expression": "", "verbose_name": "N"},
        {"column_name": "name", "type": None, "expression": "upper(name)", "description": TEXT},
        {"column_name": "1", "type": "TEXT", "is_active": False},
        {"column_name": "null", "type": "DATETIME", "is_dttm": True, "python_date_format": "epoch_ms"},
        {"column_name": "ä ö/ü: %", "type": "T" * 200, "extra": {"a": 1}},
    ]
    plant.files[f"datasets/db/{uuid_of('two schemas')}.yaml"]["metrics"] = [
        {"metric_name": "Count", "expression": "COUNT(*)", "warning_text": TEXT, "d3format": ",.2f"},
        {"metric_name": "count", "expression": "COUNT(1)", "extra": {"x": 1}},
        {"metric_name": "123", "expression": "SUM({{ x }})", "verbose_name": "🧮"},
    ]
    # charts
    charts = [plant.chart(f"chart {title}", births, slice_name=title) for title in TITLES]
    charts.append(plant.chart("long chart", births, slice_name=LONG))
    odd = [
        plant.chart(
            "unknown type", births, "no_such_viz", params={"a": {"b": [None, 1.5, "1.5", 1e300, -0.0]}}
        ),
        plant.chart("nothing in it", births, params={}),
        plant.chart(
            "texts", births, description=TEXT, params={"metric": "count", "markdown": TEXT, "n": "007"}
        ),
        plant.chart("timeouts", births, cache_timeout=0, certified_by="", certification_details="Ä"),
        plant.chart("minus", births, cache_timeout=-1),
        plant.chart(
            "dates", births, params={"since": "2024-01-01", "no": "no", "0": "zero", "time": "12:30:45"}
        ),
    ]
    many = [plant.chart(f"many {number}", births) for number in range(200)]
    # dashboards
    plant.dashboard("two hundred", many, slug="two-hundred")
    plant.dashboard("titles", charts, slug="123", css=TEXT, description=TEXT)
    plant.dashboard("odd", [*odd, charts[0]], published=False, certified_by="x", certification_details=TEXT)
    plant.dashboard("twice", [charts[0], charts[1], charts[0], charts[0]], slug="..")
    plant.dashboard("nested", charts[:4], position=nested_tabs(charts[:4]))
    plant.dashboard("same title 1", charts[:1], dashboard_title="Same title")
    plant.dashboard("same title 2", charts[1:2], dashboard_title="Same title")
    plant.dashboard("empty", [], position={})
    plant.dashboard("grid only", [])
    plant.dashboard("markdown only", [], position=grid([], text_node("a", TEXT), text_node("b", "")))
    plant.dashboard("long", [], dashboard_title="Sehr " * 99, position=grid([], text_node("a", "x")))
    plant.dashboard(
        "large",
        [charts[2]],
        position=grid([charts[2]], *(text_node(f"t{n}", f"{n} äé🧑‍🚀 " * 6_000) for n in range(20))),
    )
    plant.dashboard("no json", charts[:1])
    plant.grow()
    return plant


def text_node(name: str, code: str) -> dict[str, Any]:
    meta = {"code": code, "width": 4, "height": 50}
    return {"type": "MARKDOWN", "id": f"MARKDOWN-{name}", "children": [], "meta": meta}


def nested_tabs(charts: list[str]) -> dict[str, Any]:
    """Tabs within tabs within tabs, four deep, a chart at each depth; an empty tab beside each."""
    layout: dict[str, Any] = {
        "DASHBOARD_VERSION_KEY": "v2",
        "ROOT_ID": {"type": "ROOT", "id": "ROOT_ID", "children": ["TABS-0"]},
        "GRID_ID": {"type": "GRID", "id": "GRID_ID", "children": [], "parents": ["ROOT_ID"]},
    }
    parents = ["ROOT_ID"]
    for depth, chart in enumerate(charts):
        tabs, tab, empty, row, node = (
            f"{kind}-{depth}" for kind in ("TABS", "TAB", "TAB-empty", "ROW", "CHART")
        )
        inner = [f"TABS-{depth + 1}"] if depth + 1 < len(charts) else []
        layout[tabs] = {"type": "TABS", "id": tabs, "children": [tab, empty], "parents": parents, "meta": {}}
        for name, children in ((tab, [row, *inner]), (empty, [])):
            meta = {"text": f"{name} 🗂️", "defaultText": "Tab title", "placeholder": "Tab title"}
            layout[name] = {
                "type": "TAB",
                "id": name,
                "children": children,
                "parents": [*parents, tabs],
                "meta": meta,
            }
        parents = [*parents, tabs, tab]
        layout[row] = {
            "type": "ROW",
            "id": row,
            "children": [node],
            "parents": parents,
            "meta": {"background": "BACKGROUND_TRANSPARENT"},
        }
        node_meta: dict[str, Any] = {"uuid": chart, "chartId": depth + 1, "width": 12, "height": 50}
        layout[node] = {
            "type": "CHART",
            "id": node,
            "children": [],
            "parents": [*parents, row],
            "meta": node_meta,
        }
    return layout


@pytest.mark.parametrize("version", ["6.1.0", "4.1.4"])
def test_a_strange_estate_arrives_whole_and_goes_back(
    product: Product, fresh_target: Lease, lab: Any, version: str
) -> None:
    one, other = fresh_target("6.1.0", "empty"), fresh_target(version)
    plant = build_strange_estate(one, f"sqlite:///{lab.sqlite_warehouse('prod')}?timeout=9")
    sql(
        one,
        (
            "update dashboards set json_metadata = null, position_json = null, css = null where uuid = %(u)s",
            {"u": uuid_of("empty")},
        ),
        ("update dashboards set json_metadata = null where uuid = %(u)s", {"u": uuid_of("no json")}),
        ("update slices set params = null where uuid = %(u)s", {"u": uuid_of("minus")}),
    )
    source, target = product.register("dev", one), product.register("prod", other)
    before = product.read(target)
    selection = product.uuids(source, "dashboard", "chart", "dataset")
    assert len(selection) == len(plant.files)
    run = moved_whole(product, source, target, selection, Rest(one), Rest(other))
    product.apply(product.roll_back(run))
    assert fingerprints(product.read(target)) == fingerprints(before)


def test_damaged_assets_are_named_and_keep_back_nothing_but_themselves(
    product: Product, fresh_target: Lease, lab: Any
) -> None:
    """What Superset itself cannot export, or no import takes: left by old releases, scripts and half a restore."""
    one, other = fresh_target("6.1.0", "empty"), fresh_target()
    rest = Rest(one)
    _, connection = rest.add_connection("Warehouse", f"sqlite:///{lab.sqlite_warehouse('prod')}?timeout=9")
    plant = Plant(one, connection)
    births, gone = plant.dataset("birth_names", schema="main"), plant.dataset("gone", sql="select 1 as id")
    good = plant.chart("good", births)
    no_dataset = plant.chart("its dataset is gone", gone)
    no_name, no_type = plant.chart("no name", births), plant.chart("no type", births)
    no_json, box = plant.chart("no json", births), plant.chart("filter box", births)
    twin, other_twin = plant.chart("twin", births), plant.dataset("other twin", sql="select 2 as id")
    plant.dashboard("whole", [good])
    boards = {
        title: plant.dashboard(title, [good])
        for title in (
            "metadata is a list",
            "metadata is null",
            "metadata is no json",
            "layout is no json",
            "layout is a list",
            "no title",
        )
    }
    with_orphan = plant.dashboard("with an orphan", [good, no_dataset])
    plant.dashboard("with a ghost", [good, plant.chart("ghost", births)])
    with_box = plant.dashboard("with a box", [good, box])
    plant.grow()
    rest.call("DELETE", f"/api/v1/dataset/{plant.id_of('dataset', gone)}")
    sql(
        one,
        ("update slices set slice_name = null where uuid = %(u)s", {"u": no_name}),
        ("update slices set viz_type = null where uuid = %(u)s", {"u": no_type}),
        ("update slices set params = '{no json' where uuid = %(u)s", {"u": no_json}),
        ("update slices set viz_type = 'filter_box' where uuid = %(u)s", {"u": box}),
        ("update slices set uuid = %(b)s where uuid = %(u)s", {"u": twin, "b": other_twin}),
        (
            "update dashboards set json_metadata = 'null' where uuid = %(u)s",
            {"u": boards["metadata is null"]},
        ),
        (
            "update dashboards set json_metadata = '[]' where uuid = %(u)s",
            {"u": boards["metadata is a list"]},
        ),
        (
            "update dashboards set json_metadata = '{no' where uuid = %(u)s",
            {"u": boards["metadata is no json"]},
        ),
        (
            "update dashboards set position_json = '{no' where uuid = %(u)s",
            {"u": boards["layout is no json"]},
        ),
        ("update dashboards set position_json = '[]' where uuid = %(u)s", {"u": boards["layout is a list"]}),
        ("update dashboards set dashboard_title = null where uuid = %(u)s", {"u": boards["no title"]}),
    )
    ghost = plant.id_of("chart", uuid_of("ghost"))
    sql(
        one,
        ("delete from dashboard_slices where slice_id = %(n)s", {"n": ghost}),
        ("delete from slices where id = %(n)s", {"n": ghost}),
    )
    source, target = product.register("dev", one), product.register("prod", other)
    before = product.read(target)
    selection = product.uuids(source, "dashboard", "chart", "dataset")
    migration = product.migrate(source, target, selection, verify=False)
    plan = migration.plan
    assert plan is not None
    # What Superset cannot export is named by its uuid, and the rest is there.
    unreadable = {problem["uuid"] for problem in plan.errors}
    no_boards = {boards[title] for title in ("metadata is a list", "metadata is null", "no title")}
    assert unreadable == {no_name, other_twin, *no_boards}
    assert unreadable | {item.uuid for item in plan.items.all()} == set(selection)
    assert {problem["code"] for problem in plan.errors} == {"selection_gone"}
    blocked = {item.title for item in plan.items.filter(action="blocked")}
    assert blocked == {"filter box", "its dataset is gone", "no type", "with a box", "with an orphan"}
    assert "ghost_chart" in {problem["code"] for problem in plan.problems}
    assert "the chart “twin”" in next(one["text"] for one in plan.errors if one["uuid"] == other_twin)
    rest_of_it = sorted(set(selection) - unreadable - {box, no_dataset, no_type, with_box, with_orphan})
    run = moved_whole(product, source, target, rest_of_it, rest, Rest(other))
    product.apply(product.roll_back(run))
    assert fingerprints(product.read(target)) == fingerprints(before)
