"""What is replaced in an asset and what never is, and patterns that would take for ever."""

from __future__ import annotations

import time
from typing import Any

import pytest

from environments.canonical.documents import Document, Kind
from migrations_app.replacing.planning import replaced
from migrations_app.replacing.terms import Replacer, checked
from sstools.errors import Invalid
from tests.factories import uuid_for

ORDERS, WAREHOUSE, OTHER = uuid_for("orders"), uuid_for("warehouse"), uuid_for("other")
DATASET = Document(
    Kind.DATASET,
    ORDERS,
    {
        "table_name": "old",
        "schema": "old",
        "database_uuid": WAREHOUSE,
        "sql": "select '{{ old }}' from old where old.dataset = ⟦dataset:" + OTHER + "⟧",
        "description": "old",
        "columns": [{"column_name": "old", "expression": "old + 1", "verbose_name": "Old"}],
        "metrics": [{"metric_name": "old", "expression": "sum(old)", "description": "old"}],
        "template_params": {"from": "old"},
    },
)
CHART = Document(
    Kind.CHART,
    uuid_for("chart"),
    {
        "slice_name": "Sales of old",
        "dataset_uuid": ORDERS,
        "params": {
            "metrics": ["old", {"expressionType": "SQL", "sqlExpression": "max(old)", "label": "old"}],
            "groupby": [{"expressionType": "SQL", "sqlExpression": "lower(old)", "label": "old"}],
            "adhoc_filters": [{"clause": "WHERE", "expressionType": "SQL", "sqlExpression": "old > 0"}],
            "x_axis_title": "old",
        },
        "query_context": {
            "queries": [{"metrics": [{"sqlExpression": "max(old)"}], "extras": {"where": "old"}}]
        },
    },
)
BOARD = Document(
    Kind.DASHBOARD,
    uuid_for("board"),
    {
        "dashboard_title": "old",
        "slug": "old",
        "css": ".old {}",
        "position": {
            "TAB-1": {"type": "TAB", "meta": {"text": "old"}},
            "MARKDOWN-1": {"type": "MARKDOWN", "meta": {"code": "# old"}},
            "CHART-1": {"type": "CHART", "meta": {"uuid": CHART.uuid, "sliceName": "Sales of old"}},
        },
        "metadata": {
            "native_filter_configuration": [
                {"id": "F", "name": "old", "targets": [{"column": {"name": "old"}}]}
            ]
        },
    },
)
ALL = {one.uuid: one for one in (DATASET, CHART, BOARD)}


def _after(**asked: Any) -> tuple[dict[str, Any], dict[str, int]]:
    found, counts = replaced(checked(**{"find": "old", "replace": "new", **asked}), ALL)
    return {uuid: found[uuid].body if uuid in found else None for uuid in ALL}, counts


def test_texts_are_replaced_field_by_field_and_names_of_things_never() -> None:
    bodies, counts = _after()
    dataset, chart, board = (bodies[one.uuid] for one in (DATASET, CHART, BOARD))
    assert dataset["sql"] == f"select '{{{{ new }}}}' from new where new.dataset = ⟦dataset:{OTHER}⟧"
    assert (dataset["table_name"], dataset["schema"], dataset["database_uuid"]) == ("old", "old", WAREHOUSE)
    assert dataset["columns"] == [{"column_name": "old", "expression": "new + 1", "verbose_name": "Old"}]
    assert dataset["metrics"] == [{"metric_name": "old", "expression": "sum(new)", "description": "new"}]
    assert dataset["template_params"] == {"from": "new"}
    assert chart["params"]["metrics"] == [
        "old",
        {"expressionType": "SQL", "sqlExpression": "max(new)", "label": "old"},
    ]
    assert chart["params"]["groupby"][0]["sqlExpression"] == "lower(new)"
    assert chart["query_context"]["queries"][0] == {
        "metrics": [{"sqlExpression": "max(new)"}],
        "extras": {"where": "new"},
    }
    assert (chart["slice_name"], chart["params"]["x_axis_title"]) == ("Sales of new", "new")
    assert (board["dashboard_title"], board["slug"], board["css"]) == ("new", "old", ".new {}")
    assert board["position"]["TAB-1"]["meta"]["text"] == "new"
    assert board["position"]["MARKDOWN-1"]["meta"]["code"] == "# new"
    assert board["position"]["CHART-1"] == BOARD.body["position"]["CHART-1"]
    assert board["metadata"]["native_filter_configuration"][0] == {
        "id": "F",
        "name": "new",
        "targets": [{"column": {"name": "old"}}],
    }
    assert counts == {"sql": 7, "metrics": 3, "texts": 3, "titles": 5, "css": 1, "jinja": 1}


@pytest.mark.parametrize(
    ("asked", "changed"),
    [
        ({"fields": ["css"]}, [BOARD]),
        ({"fields": ["metrics"], "kinds": ["chart"]}, [CHART]),
        ({"title": "SALES"}, [CHART]),
        ({"database": WAREHOUSE}, [DATASET, CHART]),
        ({"database": OTHER}, []),
        ({"selection": [CHART.uuid]}, [DATASET, CHART]),
        ({"how": "words", "find": "ol"}, []),
        ({"find": "OLD", "ignore_case": True, "fields": ["titles"], "kinds": ["dataset"]}, [DATASET]),
    ],
)
def test_only_what_is_meant_is_changed(asked: dict[str, Any], changed: list[Document]) -> None:
    bodies, _ = _after(**asked)
    assert {uuid for uuid, body in bodies.items() if body} == {one.uuid for one in changed}


def test_jinja_alone_leaves_the_sql_around_it() -> None:
    bodies, counts = _after(fields=["jinja"])
    assert bodies[ORDERS]["sql"] == f"select '{{{{ new }}}}' from old where old.dataset = ⟦dataset:{OTHER}⟧"
    assert counts == {"jinja": 2}


def test_groups_of_a_pattern_stand_in_what_is_put_in() -> None:
    terms = checked(find=r"(?P<a>\w+)@(\w+)", replace=r"\2 of \g<a>\\", how="pattern")
    assert Replacer(terms).apply("ann@corp, bob@home") == "corp of ann\\, home of bob\\"


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"find": "("}, "find"),
        ({"find": "(?=look)around"}, "find"),
        ({"find": "((a{0,99}){0,99}){0,99}"}, "find"),
        ({"find": "x*"}, "find"),
        ({"find": "(x)", "replace": r"\2"}, "replace"),
        ({"find": "(x)", "replace": r"\q"}, "replace"),
        ({"find": "x", "fields": ["colour"]}, "fields"),
        ({"find": "x", "kinds": ["database"]}, "kinds"),
        ({"find": "x" * 2001}, "find"),
        ({"find": "\ud800"}, "find"),
    ],
)
def test_what_is_wrong_is_told_at_its_field(asked: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as caught:
        checked(how="pattern", **asked)
    assert set(caught.value.errors or {}) == {field}


def test_a_pattern_that_backtracks_for_ever_elsewhere_is_done_at_once() -> None:
    began = time.thread_time()
    assert (
        Replacer(checked(find="(a+)+$", replace="b", how="pattern")).apply("a" * 50_000 + "!")
        == "a" * 50_000 + "!"
    )
    assert time.thread_time() - began < 2


def test_a_text_that_would_explode_is_refused() -> None:
    with pytest.raises(Invalid, match="million"):
        Replacer(checked(find="a", replace="b" * 2000)).apply("a" * 10_000)
