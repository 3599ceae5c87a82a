"""What a reviewer is told before anything is written."""

from __future__ import annotations

from typing import Any

import pytest

from environments.canonical.documents import Kind
from migrations_app.engine.checks import (
    DatabaseFacts,
    Severity,
    asset_losses,
    needed_tables,
    warehouse_problems,
)
from migrations_app.engine.mapping import AssetMapping, DatabaseTarget
from migrations_app.engine.plan import Plan, PlanInput, make_plan
from tests.canonical.builders import one, raw_chart, raw_dashboard, raw_database, raw_dataset, read, uid

DB = "77777777-0000-4000-8000-000000000001"
COLUMNS = [{"column_name": "a"}, {"column_name": "b"}, {"column_name": "double_b", "expression": "b * 2"}]
METRICS = [{"metric_name": "sum_b", "expression": "SUM(b)"}]


def _plan(params: Any = None, **dataset: Any) -> Plan:
    fields = {"schema": "s", "table_name": "t", "columns": COLUMNS, "metrics": METRICS, **dataset}
    source = read(raw_chart(1, params=params or {}), raw_dataset(1, **fields), raw_database(1)).documents
    connection = one(raw_database(9))
    return make_plan(
        PlanInput(
            source,
            {connection.uuid: connection},
            [uid("c", 1)],
            AssetMapping({uid("b", 1): DatabaseTarget(DB)}),
        )
    )


def _problems(
    plan: Plan, error: str = "", tables: Any = frozenset({"t"}), columns: Any = frozenset({"a", "b"})
) -> Any:
    facts = DatabaseFacts(DB, "PROD", error, {"s": tables}, {("s", "t"): columns})
    return list(warehouse_problems(plan.items, {DB: facts}))


def test_a_table_with_its_columns_is_no_problem() -> None:
    assert _problems(_plan({"groupby": ["a", "b", "double_b"]})) == []
    assert needed_tables(_plan().items) == {DB: {"s": {"t"}}}


def test_an_empty_schema_as_rest_makes_it_is_the_default_one() -> None:
    plan = _plan(schema="")
    assert needed_tables(plan.items) == {DB: {None: {"t"}}}
    facts = DatabaseFacts(DB, "PROD", "", {None: frozenset({"t"})}, {(None, "t"): frozenset({"a", "b"})})
    assert list(warehouse_problems(plan.items, {DB: facts})) == []


def test_a_query_asks_for_no_table() -> None:
    plan = _plan(sql="select 1 as a")
    assert needed_tables(plan.items) == {}
    assert _problems(plan, columns=None) == []


def test_a_connection_that_does_not_answer_is_told_once() -> None:
    (problem,) = _problems(_plan(), error="timeout")
    assert (problem.code, problem.severity, problem.uuid) == (
        "connection_failed",
        Severity.ERROR,
        uid("e", 1),
    )
    assert "“PROD” does not answer: timeout" in problem.text


@pytest.mark.parametrize(
    ("tables", "columns"), [(frozenset(), None), (None, None), (frozenset({"u"}), frozenset())]
)
def test_a_missing_table(tables: Any, columns: Any) -> None:
    (problem,) = _problems(_plan(), tables=tables, columns=columns)
    assert (problem.code, problem.severity) == ("table_missing", Severity.ERROR)
    assert "The table s.t does not exist on “PROD”." in problem.text


@pytest.mark.parametrize(
    "params",
    [
        {"groupby": ["b"]},
        {"metrics": ["sum_b"]},
        {"groupby": ["double_b"]},
        {"metric": {"expressionType": "SIMPLE", "column": {"column_name": "b"}, "aggregate": "SUM"}},
        {"metric": {"expressionType": "SQL", "sqlExpression": "max(b) + 1"}},
        {"adhoc_filters": [{"expressionType": "SIMPLE", "subject": "b", "operator": "==", "comparator": 1}]},
    ],
)
def test_a_missing_column_that_a_chart_needs(params: Any) -> None:
    (problem,) = _problems(_plan(params), columns=frozenset({"a"}))
    assert (problem.code, problem.severity, problem.uuid) == ("column_missing", Severity.ERROR, uid("c", 1))
    assert "The column b does not exist in s.t on “PROD”; needed by “Chart 1”." in problem.text


@pytest.mark.parametrize(
    "params",
    [
        {"groupby": ["a"]},
        {"metric": {"sqlExpression": "max(bb) + sub"}},
        {"header": "a b"},
        {"color_scheme": "lab"},
    ],
)
def test_a_missing_column_that_no_chart_needs_is_a_warning(params: Any) -> None:
    found = _problems(_plan(params), columns=frozenset({"a"}))
    expected = "column_missing" if params == {"header": "a b"} else "column_missing_unused"
    assert [problem.code for problem in found] == [
        expected
    ]  # a word of free text counts: better a look too many


def test_unknown_columns_are_not_missing() -> None:
    assert _problems(_plan({"groupby": ["b"]}), columns=frozenset()) == []


def test_what_no_import_carries_is_named() -> None:
    layers = [
        {"name": "f", "annotationType": "FORMULA", "value": "x"},
        {"name": "from chart", "annotationType": "EVENT", "sourceType": "line", "value": 2},
        {"name": "from layer", "annotationType": "EVENT", "sourceType": "NATIVE", "value": 2},
    ]
    chart = one(raw_chart(1, params={"annotation_layers": layers}))
    assert [loss.code for loss in asset_losses(chart, None, {})] == ["annotation_layer", "annotation_layer"]
    assert [loss.code for loss in asset_losses(one(raw_chart(1)), chart, {})] == [
        "annotation_layer_target"
    ] * 2
    themed = one(raw_dashboard(1, theme_uuid=uid("b", 1)))
    assert [loss.code for loss in asset_losses(themed, None, {})] == ["theme"]
    dataset = one(
        raw_dataset(1, currency_code_column="c", columns=[{"column_name": "a", "datetime_format": "%Y"}])
    )
    unknown = {
        Kind.DATASET: {
            "currency_code_column": "no currency",
            "columns.datetime_format": "dates are guessed",
            "columns.other": "nothing",
        },
        Kind.DASHBOARD: {"theme_uuid": "no theme", "metadata.show_chart_timestamps": "no times"},
    }
    assert [loss.text for loss in asset_losses(dataset, None, unknown, "5.0.0")] == [
        "“table_1”: “datetime_format” of its columns is unknown to Superset 5.0.0: dates are guessed.",
        "“table_1”: “currency_code_column” is unknown to Superset 5.0.0: no currency.",
    ]
    clocked = one(raw_dashboard(1, metadata={"show_chart_timestamps": True}, theme_uuid=uid("b", 1)))
    theme, clock = asset_losses(clocked, None, unknown)
    assert theme.code == "theme"  # said once
    assert "“show_chart_timestamps” of its metadata is unknown to the target: no times." in clock.text
    assert not list(asset_losses(one(raw_dataset(1)), None, unknown))


def test_an_obsolete_chart_type_is_told() -> None:
    source = read(raw_chart(1, viz_type="dist_bar"), raw_dataset(1), raw_database(1)).documents
    mapping = AssetMapping({uid("b", 1): DatabaseTarget(DB)})
    plan = make_plan(PlanInput(source, {}, [uid("c", 1)], mapping))
    (problem,) = plan.problems
    assert (problem.code, problem.uuid) == ("viz_type_converted", uid("c", 1))
    assert "echarts_timeseries_bar" in problem.text
    # What a rollback would put back is not what is there now.
    there = {**source, DB: source[uid("b", 1)]}
    edited = {**source, uid("c", 1): source[uid("c", 1)].replace(slice_name="New")}
    (loss,) = make_plan(PlanInput(edited, there, [uid("c", 1)], mapping)).losses
    assert (loss.code, "back as echarts_timeseries_bar" in loss.text) == ("viz_type_target", True)
