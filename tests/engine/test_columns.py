"""Who uses a column: certain where Superset names it, maybe where only a text does."""

from __future__ import annotations

import pytest

from environments.canonical.documents import Document, Kind
from migrations_app.engine.columns import (
    ColumnUse,
    column_names,
    uses_in_chart,
    uses_in_dashboard,
    uses_in_dataset,
    uses_in_sql_of,
)
from tests.canonical.builders import one, raw_chart, raw_dataset, uid

DATASET = one(
    raw_dataset(
        1,
        main_dttm_col="day",
        columns=[
            {"column_name": "amount", "type": "INT"},
            {"column_name": "day", "type": "DATE"},
            {"column_name": "net", "expression": "amount * 0.8"},
        ],
        metrics=[
            {"metric_name": "revenue", "expression": "SUM(amount)"},
            {"metric_name": "count", "expression": "COUNT(*)"},
        ],
    )
)
METRIC = {
    "expressionType": "SIMPLE",
    "column": {"column_name": "amount"},
    "aggregate": "SUM",
    "label": "SUM(amount)",
}


def chart(**params: object) -> Document:
    return one(raw_chart(1, params={"viz_type": "table", "datasource": "1__table", **params}), raw_dataset(1))


@pytest.mark.parametrize(
    ("params", "uses"),
    [
        ({"groupby": ["amount"]}, [ColumnUse("dimensions", True)]),
        ({"metrics": [METRIC]}, [ColumnUse("metrics", True)]),
        ({"metrics": ["revenue"]}, [ColumnUse("metrics, through “revenue”", False)]),
        ({"groupby": ["net"]}, [ColumnUse("dimensions, through “net”", False)]),
        (
            {"adhoc_filters": [{"clause": "WHERE", "expressionType": "SIMPLE", "subject": "amount"}]},
            [ColumnUse("filters", True)],
        ),
        (
            {"adhoc_filters": [{"expressionType": "SQL", "sqlExpression": "AMOUNT > 3"}]},
            [ColumnUse("SQL in filters", False)],
        ),
        (
            {"where": "{{ filter_values('amount') }} IS NOT NULL", "groupby": ["amount"]},
            [ColumnUse("dimensions", True), ColumnUse("SQL in where", False)],
        ),
        ({"groupby": ["amount_eur"], "where": "amounts > 1"}, []),
        ({"metrics": ["count"], "color_scheme": "amount"}, []),
    ],
)
def test_uses_in_a_chart(params: dict[str, object], uses: list[ColumnUse]) -> None:
    assert list(uses_in_chart(chart(**params), "amount", DATASET)) == uses


def test_a_chart_saved_by_a_program_is_known_by_its_query() -> None:
    asked = one(
        raw_chart(1, params={}, query_context='{"queries": [{"columns": ["amount"]}]}'), raw_dataset(1)
    )
    assert uses_in_chart(asked, "amount", DATASET) == (ColumnUse("query", True),)


def test_uses_within_the_dataset_and_its_names() -> None:
    assert column_names(DATASET) == ["amount", "day", "net", "count", "revenue"]
    assert {use.where for use in uses_in_dataset(DATASET, "amount")} == {"metric “revenue”", "column “net”"}
    assert uses_in_dataset(DATASET, "day") == (ColumnUse("time column", True),)


def test_filters_of_dashboards_are_uses_of_that_dataset_alone() -> None:
    target = {"datasetUuid": uid("e", 1), "column": {"name": "amount"}}
    dashboard = Document(
        Kind.DASHBOARD,
        uid("d", 1),
        {"metadata": {"native_filter_configuration": [{"id": "F", "name": "Amount", "targets": [target]}]}},
    )
    assert uses_in_dashboard(dashboard, "amount", uid("e", 1)) == (ColumnUse("filter “Amount”", True),)
    assert uses_in_dashboard(dashboard, "amount", uid("e", 2)) == ()
    assert uses_in_dashboard(dashboard, "day", uid("e", 1)) == ()


def test_a_virtual_dataset_names_both_the_table_and_the_column() -> None:
    virtual = one(raw_dataset(2, sql="SELECT amount FROM public.table_1"))
    assert uses_in_sql_of(virtual, "amount", "table_1") == (ColumnUse("its SQL", False),)
    assert uses_in_sql_of(virtual, "amount", "table_10") == ()
    assert uses_in_sql_of(DATASET, "amount", "table_1") == ()
