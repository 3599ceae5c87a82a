"""Requests for charts that the recorded ones don't cover, and what is done to make results comparable."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migrations_app.engine.queries import NO_QUERY, Built, DatasetFacts, NotCheckable, build_queries
from migrations_app.engine.queries.controls import CONTROLS
from migrations_app.engine.queries.legacy import BUILDERS as LEGACY
from migrations_app.engine.queries.viz import BUILDERS

NOW = datetime(2026, 11, 23, 4, 30)
SHOP = DatasetFacts.from_mapping(
    {
        "main_dttm_col": "ordered_at",
        "columns": [
            {"column_name": "ordered_at", "type": "TIMESTAMP", "is_dttm": True},
            {"column_name": "shipped_at", "type": "TIMESTAMP", "is_dttm": True},
            {"column_name": "city", "type": "VARCHAR(20)", "is_dttm": False},
            {"column_name": "amount", "type": "DOUBLE PRECISION", "is_dttm": False},
            {"column_name": "place", "type": "JSON", "is_dttm": False},
            {
                "column_name": "recent",
                "type": "BOOLEAN",
                "is_dttm": False,
                "expression": "ordered_at > now()",
            },
        ],
        "metrics": [{"metric_name": "count", "expression": "COUNT(*)"}],
    }
)
TURNOVER = {
    "expressionType": "SIMPLE",
    "aggregate": "SUM",
    "column": {"column_name": "amount"},
    "label": "turnover",
}
NO_FILTER = {"col": "ordered_at", "op": "TEMPORAL_RANGE", "val": "No filter"}


def build(viz_type: str, dataset: DatasetFacts = SHOP, cap: int = 1000, **params: Any) -> Built:
    built = build_queries({"viz_type": viz_type, **params}, dataset, now=NOW, row_limit_cap=cap)
    assert isinstance(built, Built), built
    return built


def query(viz_type: str, **params: Any) -> dict[str, Any]:
    queries: list[dict[str, Any]] = build(viz_type, **params).payload["queries"]
    return queries[0]


def test_every_known_type_has_controls_and_a_way_to_ask() -> None:
    assert set(BUILDERS) | set(LEGACY) | {"deck_multi", "cartodiagram"} == set(CONTROLS)
    assert not set(BUILDERS) & set(LEGACY)


# Types of query


def test_a_table_of_raw_records_is_ordered_by_every_column() -> None:
    made = query(
        "table", query_mode="raw", all_columns=["city", "amount"], order_by_cols=['["amount", false]']
    )
    assert made["orderby"] == [["amount", False], ["city", True]]
    assert "metrics" not in made


def test_a_table_asks_for_totals_and_percentages_in_queries_of_their_own() -> None:
    built = build(
        "table",
        groupby=["city"],
        metrics=["count"],
        percent_metrics=[TURNOVER],
        percent_metric_calculation="all_records",
        show_totals=True,
    )
    main, percent, total = built.payload["queries"]
    assert main["metrics"] == ["count", TURNOVER]
    assert (percent["metrics"], percent["columns"]) == ([TURNOVER], [])
    assert (total["metrics"], total["columns"], total.get("orderby")) == (["count", TURNOVER], [], None)
    assert [shape.row_limit for shape in built.shapes] == [1000, None, None]


def test_only_the_first_temporal_column_of_a_table_takes_the_grain() -> None:
    made = query(
        "table", groupby=["city", "shipped_at", "ordered_at"], metrics=["count"], time_grain_sqla="P1M"
    )
    assert made["columns"][0]["label"] == "shipped_at"
    assert made["columns"][0]["timeGrain"] == "P1M"
    assert made["columns"][1:] == ["city", "ordered_at"]


def test_a_paged_table_is_asked_for_its_first_rows_and_its_row_count() -> None:
    built = build(
        "table", groupby=["city"], metrics=["count"], server_pagination=True, row_limit=5000, cap=200
    )
    first, count = built.payload["queries"]
    assert first["row_limit"] == 200
    assert (count["is_rowcount"], count["row_limit"]) == (True, 5000)
    assert built.shapes[1].is_rowcount


def test_time_comparison_keeps_its_offsets() -> None:
    made = query(
        "echarts_timeseries_line",
        x_axis="ordered_at",
        metrics=["count"],
        time_compare=["1 year ago"],
        comparison_type="difference",
        time_grain_sqla="P1M",
    )
    assert made["time_offsets"] == ["1 year ago"]
    assert "post_processing" not in made


def test_the_metric_a_bar_chart_is_sorted_by_is_asked_for() -> None:
    made = query(
        "echarts_timeseries_bar",
        x_axis="city",
        metrics=["count"],
        timeseries_limit_metric=TURNOVER,
        x_axis_sort="turnover",
    )
    assert made["metrics"] == ["count", TURNOVER]


def test_a_chart_without_x_axis_runs_on_the_old_time_column() -> None:
    made = query("big_number", metric="count", granularity_sqla="shipped_at", time_range="Last year")
    assert made["columns"][0]["sqlExpression"] == "shipped_at"
    assert made["filters"] == [
        {"col": "shipped_at", "op": "TEMPORAL_RANGE", "val": "2025-11-23T00:00:00 : 2026-11-23T00:00:00"}
    ]


def test_the_second_query_of_a_mixed_chart_does_not_inherit_the_first_ones_dimensions() -> None:
    built = build(
        "mixed_timeseries",
        x_axis="ordered_at",
        metrics=["count"],
        groupby=["city"],
        metrics_b=[TURNOVER],
        row_limit_b=50,
    )
    first, second = built.payload["queries"]
    assert (first["series_columns"], second["series_columns"]) == (["city"], [])
    assert (first["metrics"], second["metrics"]) == (["count"], [TURNOVER])
    assert (first["row_limit"], second["row_limit"]) == (1000, 50)


def test_box_plot_whiskers() -> None:
    options = query("box_plot", metrics=["count"], groupby=["city"], whiskerOptions="10/90 percentiles")[
        "post_processing"
    ][0]["options"]
    assert options == {
        "whisker_type": "percentile",
        "percentiles": [10, 90],
        "groupby": ["city"],
        "metrics": ["count"],
    }
    refused = build_queries(
        {"viz_type": "box_plot", "whiskerOptions": "long"}, SHOP, now=NOW, row_limit_cap=10
    )
    assert isinstance(refused, NotCheckable)


@pytest.mark.parametrize(
    "viz_type", ["deck_grid", "deck_hex", "deck_heatmap", "deck_contour", "deck_screengrid"]
)
def test_maps_of_places(viz_type: str) -> None:
    spatial = {"type": "latlong", "lonCol": "amount", "latCol": "city"}
    made = query(
        viz_type, spatial=spatial, size=TURNOVER, js_columns=["shipped_at"], tooltip_contents=["recent"]
    )
    assert made["columns"] == ["amount", "city", "shipped_at", "recent"]
    assert made["orderby"][0] == [TURNOVER, False]
    assert {"col": "city", "op": "IS NOT NULL", "val": None} in made["filters"]


def test_a_map_without_places_says_what_it_lacks() -> None:
    refused = build_queries({"viz_type": "deck_scatter"}, SHOP, now=NOW, row_limit_cap=10)
    assert refused == NotCheckable(
        "The map has no columns for longitude and latitude: Superset's own page can't draw it either",
        "deck_scatter",
    )


def test_scatter_radius_and_arc_dimension_and_path_metric() -> None:
    place = {"type": "delimited", "lonlatCol": "place"}
    scatter = query("deck_scatter", spatial=place, point_radius_fixed={"type": "metric", "value": TURNOVER})
    assert scatter["metrics"] == [TURNOVER]
    arc = query(
        "deck_arc",
        start_spatial=place,
        end_spatial={"type": "geohash", "geohashCol": "city"},
        dimension="recent",
    )
    assert arc["columns"] == ["place", "city", "recent"]
    polygon = query("deck_polygon", line_column="place", metric=TURNOVER)
    assert {"col": "turnover", "op": "IS NOT NULL"} in polygon["filters"]


def test_a_map_of_small_charts_asks_what_its_inner_chart_asks() -> None:
    inner = {"viz_type": "pie", "params": json.dumps({"groupby": ["city"], "metric": "count"})}
    made = query("cartodiagram", selected_chart=json.dumps(inner), geom_column="place")
    assert made["columns"] == ["place", "city"]


@pytest.mark.parametrize("viz_type", sorted(NO_QUERY))
def test_charts_without_a_query_say_so(viz_type: str) -> None:
    assert build_queries({"viz_type": viz_type}, SHOP, now=NOW, row_limit_cap=10) == NotCheckable(
        NO_QUERY[viz_type], viz_type
    )


def test_a_chart_type_of_a_plugin_is_named() -> None:
    refused = build_queries({"viz_type": "acme_map"}, SHOP, now=NOW, row_limit_cap=10)
    assert isinstance(refused, NotCheckable)
    assert refused.reason == "Chart type “acme_map” is not one whose query ss-tools can build"


def test_a_chart_that_asks_for_nothing_is_not_checkable() -> None:
    refused = build_queries({"viz_type": "pie"}, SHOP, now=NOW, row_limit_cap=10)
    assert isinstance(refused, NotCheckable)
    assert "Empty query" in refused.reason


# What Superset's server makes of old form data


def test_old_filters_become_new_ones() -> None:
    made = query(
        "pie",
        groupby=["city"],
        metric="count",
        where="a > 1 -- why",
        having="SUM(b) > 2",
        filters=[{"col": "c", "op": "in", "val": ["d"]}],
    )
    assert made["extras"] == {"where": "(a > 1 -- why\n)", "having": "(SUM(b) > 2)"}
    assert made["filters"] == [{"col": "c", "op": "in", "val": ["d"]}, NO_FILTER]


def test_what_a_dashboard_left_in_the_form_data_counts_as_in_explore() -> None:
    made = query(
        "pie",
        groupby=["city"],
        metric="count",
        extra_form_data={
            "filters": [{"col": "city", "op": "IN", "val": ["Bern"]}],
            "time_range": "2020-01-01 : 2021-01-01",
        },
        extra_filters=[{"col": "__time_range", "op": "==", "val": "No filter"}],
    )
    assert made["filters"] == [{"col": "city", "op": "IN", "val": ["Bern"]}, {**NO_FILTER}]
    overruled = query(
        "pie",
        groupby=["city"],
        metric="count",
        time_range="2020-01-01 : 2021-01-01",
        adhoc_filters=[
            {
                "clause": "WHERE",
                "expressionType": "SIMPLE",
                "subject": "ordered_at",
                "operator": "TEMPORAL_RANGE",
                "comparator": "Last week",
            }
        ],
    )
    assert overruled["filters"] == [{**NO_FILTER, "val": "2020-01-01 : 2021-01-01"}]


def test_leftovers_of_another_chart_type_are_not_asked_for() -> None:
    assert query("pie", groupby=["city"], metric="count", all_columns=["amount"], metrics=[TURNOVER])[
        "metrics"
    ] == ["count"]


# Comparability


def test_every_column_is_ordered_by_and_the_limit_lowered() -> None:
    built = build(
        "pivot_table_v2", groupbyRows=["city"], groupbyColumns=["recent"], metrics=[TURNOVER], row_limit=50000
    )
    made = built.payload["queries"][0]
    assert made["orderby"] == [[TURNOVER, False], ["recent", True], ["city", True]]
    assert (made["row_limit"], built.shapes[0].chart_row_limit) == (1000, 50000)


def test_a_column_written_as_sql_is_ordered_by_its_expression() -> None:
    upper = {"expressionType": "SQL", "sqlExpression": "UPPER(city)", "label": "town"}
    made = query("pie", groupby=[upper], metric="count")
    assert made["orderby"][-1] == [
        {"expressionType": "SQL", "sqlExpression": "UPPER(city)", "label": "town"},
        True,
    ]


def test_columns_that_databases_cannot_sort_by_are_left_out_of_the_order() -> None:
    built = build("table", query_mode="raw", all_columns=["city", "place"])
    assert built.payload["queries"][0]["orderby"] == [["city", True]]
    assert not built.shapes[0].totally_ordered


def test_totals_count_rows_and_aggregate_over_everything() -> None:
    built = build("table", query_mode="raw", all_columns=["city", "amount", "place"], row_limit=5000, cap=10)
    assert built.totals is not None
    count, everything = built.totals["queries"]
    assert (count["is_rowcount"], count["row_limit"]) == (True, 5000)
    assert [metric["label"] for metric in everything["metrics"]] == ["rows", "different(city)", "sum(amount)"]
    assert everything["columns"] == []
    assert built.totals_shapes[0].is_rowcount

    grouped = build("pie", groupby=["city"], metric=TURNOVER)
    assert grouped.totals is not None
    assert grouped.totals["queries"][1]["metrics"] == [TURNOVER]


def test_a_single_number_needs_no_totals() -> None:
    assert build("big_number_total", metric="count").totals is None


def test_whether_a_limit_was_reached() -> None:
    class Result:
        def __init__(self, rowcount: int) -> None:
            self.rowcount = rowcount

    built = build("pie", groupby=["city"], metric="count", row_limit=10)
    assert not built.limit_reached([Result(9)], [Result(9)])
    assert built.limit_reached([Result(9)], [Result(10)])


def test_the_same_request_goes_to_both_sides_but_for_the_dataset() -> None:
    built = build("pie", groupby=["city"], metric="count", slice_id=4, dashboards=[1], datasource="3__table")
    one, other = built.with_datasource(3), built.with_datasource(1003)
    assert (one["datasource"]["id"], other["form_data"]["datasource"]) == (3, "1003__table")
    assert one["queries"] == other["queries"]
    assert not {"slice_id", "dashboards"} & one["form_data"].keys()
    one["queries"][0]["row_limit"] = 0
    assert built.with_datasource(3)["queries"] == other["queries"]
    assert built.payload["force"] is True


def test_notes_on_what_may_differ_from_run_to_run() -> None:
    calculated = build("pie", groupby=["recent"], metric="count")
    assert calculated.notes == (
        "its SQL asks for the current time or for random values, so two runs may differ",
    )
    quoted = build(
        "pie",
        groupby=["city"],
        metric="count",
        adhoc_filters=[{"clause": "WHERE", "expressionType": "SQL", "sqlExpression": "city <> 'now()'"}],
    )
    assert quoted.notes == ()
    jinja = DatasetFacts(columns=SHOP.columns, sql="select * from o where d > '{{ now().isoformat() }}'")
    assert build("pie", jinja, groupby=["city"], metric="count").notes
    layers = [{"annotationType": "EVENT"}, {"annotationType": "FORMULA"}]
    assert build(
        "echarts_area", x_axis="ordered_at", metrics=["count"], annotation_layers=layers, limit=5
    ).notes == (
        "annotation layers that have a query of their own are not part of this check",
        "the chart limits its series: which of equally large ones are kept is up to the database",
    )
    assert build("echarts_area", x_axis="ordered_at", metrics=["count"], forecastEnabled=True).notes == (
        "the forecast is left out; the series it is made of is compared",
    )


def test_times_that_only_superset_can_read_are_named_and_can_be_given() -> None:
    params = {
        "viz_type": "pie",
        "groupby": ["city"],
        "metric": "count",
        "granularity_sqla": "ordered_at",
        "time_range": "Easter : now",
    }
    open_end = build_queries(params, SHOP, now=NOW, row_limit_cap=10)
    assert isinstance(open_end, Built)
    assert open_end.unresolved_times == ("Easter : now",)
    given_range = "2026-04-05T00:00:00 : 2026-11-23T00:00:00"
    closed = build_queries(params, SHOP, now=NOW, row_limit_cap=10, time_ranges={"Easter : now": given_range})
    assert isinstance(closed, Built)
    assert closed.unresolved_times == ()
    assert closed.payload["queries"][0]["filters"] == [{**NO_FILTER, "val": given_range}]


# The stored query context

STORED = {
    "datasource": {"id": 3, "type": "table"},
    "queries": [
        {
            "columns": ["city"],
            "metrics": ["count"],
            "filters": [{"col": "ordered_at", "op": "TEMPORAL_RANGE", "val": "Last month"}],
            "post_processing": [{"operation": "contribution"}],
            "row_limit": 10,
            "url_params": {"slice_id": "3"},
        }
    ],
}


@pytest.mark.parametrize("stored", [STORED, json.dumps(STORED)])
def test_a_stored_query_context_is_used(stored: Any) -> None:
    built = build_queries({"viz_type": "acme_map"}, SHOP, now=NOW, row_limit_cap=1000, query_context=stored)
    assert isinstance(built, Built)
    assert built.origin == "stored query context"
    assert built.payload["queries"] == [
        {
            "columns": ["city"],
            "metrics": ["count"],
            "filters": [
                {
                    "col": "ordered_at",
                    "op": "TEMPORAL_RANGE",
                    "val": "2026-10-23T00:00:00 : 2026-11-23T00:00:00",
                }
            ],
            "row_limit": 10,
            "orderby": [["city", True]],
        }
    ]
    assert STORED["queries"][0]["url_params"] == {"slice_id": "3"}  # type: ignore[index]


@pytest.mark.parametrize("stored", [None, "", "{", "null", "[]", '{"queries": []}', {"queries": [1]}])
def test_an_unusable_query_context_is_passed_over(stored: Any) -> None:
    built = build_queries(
        {"viz_type": "pie", "groupby": ["city"], "metric": "count"},
        SHOP,
        now=NOW,
        row_limit_cap=10,
        query_context=stored,
    )
    assert isinstance(built, Built)
    assert built.origin == "form data"


def test_the_stored_context_of_a_legacy_chart_is_not_what_its_page_asks() -> None:
    built = build_queries(
        {"viz_type": "world_map", "entity": "city", "metric": "count"},
        SHOP,
        now=NOW,
        row_limit_cap=10,
        query_context=STORED,
    )
    assert isinstance(built, Built)
    assert built.origin == "form data of a legacy chart type"
    assert built.payload["queries"][0]["columns"] == ["city"]


# Legacy types: each line was seen to give explore_json's own SQL on 6.1.0, but for the types it refuses

BY_TIME = {"granularity_sqla": "ordered_at", "time_range": "2020-01-01 : 2021-01-01"}


@pytest.mark.parametrize(
    ("viz_type", "params", "expected"),
    [
        ("bullet", {"metric": "count"}, {"columns": [], "metrics": ["count"]}),
        (
            "cal_heatmap",
            {"metrics": ["count"], **BY_TIME},
            {"extras": {"having": "", "where": "", "time_grain_sqla": "P1D"}},
        ),
        (
            "compare",
            {"metrics": ["count"], "timeseries_limit_metric": TURNOVER, **BY_TIME},
            {"metrics": ["count", TURNOVER]},
        ),
        (
            "rose",
            {"metrics": ["count"], "groupby": ["city"], **BY_TIME},
            {"is_timeseries": True, "columns": ["city"]},
        ),
        ("partition", {"metrics": ["count"], "groupby": ["city"]}, {"is_timeseries": False}),
        (
            "paired_ttest",
            {"metrics": ["count"], "timeseries_limit_metric": TURNOVER},
            {"metrics": ["count", TURNOVER]},
        ),
        ("time_pivot", {"metric": "count", **BY_TIME}, {"metrics": ["count"], "is_timeseries": True}),
        ("time_table", {"metrics": ["count"], **BY_TIME}, {"granularity": "ordered_at"}),
        (
            "bubble",
            {"entity": "city", "x": "count", "y": TURNOVER, "size": "n", "limit": 5},
            {"metrics": ["n", "count", TURNOVER], "row_limit": 5},
        ),
        (
            "chord",
            {"groupby": "city", "columns": "recent", "metric": "count"},
            {"columns": ["city", "recent"]},
        ),
        ("country_map", {"select_country": "ch", "entity": "city", "metric": "count"}, {"columns": ["city"]}),
        (
            "world_map",
            {"entity": "city", "metric": "count", "sort_by_metric": True},
            {"orderby": [["count", False], ["city", True]]},
        ),
        ("para", {"series": "city", "metrics": ["count"]}, {"columns": ["city"]}),
        ("horizon", {"metrics": ["count"], **BY_TIME}, {"orderby": [["count", True]]}),
        (
            "mapbox",
            {"all_columns_x": "city", "all_columns_y": "amount"},
            {"columns": ["amount", "city"], "metrics": []},
        ),
        ("deck_geojson", {"geojson": "city"}, {"columns": ["city"], "metrics": []}),
    ],
)
def test_legacy_types(viz_type: str, params: dict[str, Any], expected: dict[str, Any]) -> None:
    made = query(viz_type, **params)
    assert {name: made.get(name) for name in expected} == expected


@pytest.mark.parametrize(
    "viz_type", ["bullet", "chord", "country_map", "world_map", "cal_heatmap", "bubble", "mapbox"]
)
def test_a_legacy_chart_that_lacks_what_it_needs_says_what(viz_type: str) -> None:
    refused = build_queries({"viz_type": viz_type}, SHOP, now=NOW, row_limit_cap=10)
    assert isinstance(refused, NotCheckable)
    assert "without which Superset can't draw it either" in refused.reason


# Whatever a chart holds

plain = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 60000), st.text(max_size=6), st.floats(allow_nan=False)
)
values = st.recursive(
    plain,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)
field_names = sorted(
    {name for controls in CONTROLS.values() for name in controls} | {"extra_form_data", "filters", "since"}
)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(sorted(CONTROLS)), st.dictionaries(st.sampled_from(field_names), values, max_size=8))
def test_no_form_data_raises_and_the_same_gives_the_same(viz_type: str, params: dict[str, Any]) -> None:
    form_data = {**params, "viz_type": viz_type}
    before = json.dumps(form_data, sort_keys=True)
    one = build_queries(form_data, SHOP, now=NOW, row_limit_cap=100)
    assert one == build_queries(form_data, SHOP, now=NOW, row_limit_cap=100)
    assert json.dumps(form_data, sort_keys=True) == before
    if isinstance(one, Built):
        json.dumps(one.with_datasource(1))
    else:
        assert one.reason


def test_the_documentation_names_every_chart_type_and_every_reason() -> None:
    text = (Path(__file__).parents[2] / "docs" / "verification.md").read_text()
    named = set(re.findall(r"[a-z][a-z0-9_-]+", text))
    assert set(CONTROLS) | set(NO_QUERY) <= named
    assert all(reason in text for reason in NO_QUERY.values())
