"""The queries that Superset's pages send for a chart, by chart type.

One function per way of asking; each takes the form data that Explore holds (`forms.explore_form`) and gives the
`queries` of the request. Facts read in the JavaScript released with Superset 6.1.0, checked against recorded requests.
Operations on results (`post_processing`) are only built where they condense rows (histogram, box plot); those that
reshape or derive (pivot, rename, flatten, contribution, rank, rolling, cumulative, resample, compare, sort, forecast)
are left out on purpose: all are functions of the rows that are compared here, forecasts need a package of their own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final

from .forms import base_query, explore_form, mark_x_axis, query_mode, whole_number, x_axis, x_axis_columns
from .labels import as_list, column_label, metric_label, orderby_of, without_duplicates
from .model import CannotBuild, DatasetFacts, Form, Query

Builder = Callable[[Form], list[Query]]

_COMPARISONS = ("values", "difference", "percentage", "ratio")
_PERCENTILES = re.compile(r"(\d+)/(\d+) percentiles")


def _asks_time_comparison(form: Form, query: Query) -> bool:
    shifts = as_list(form.get("time_compare"))
    return form.get("comparison_type") in _COMPARISONS and bool(shifts) and bool(query.get("metrics"))


def _temporal_column(form: Form, column: Any, grain: Any) -> Any:
    """A plain temporal column of a table takes the chart's time grain; others stay as they are."""
    if isinstance(column, str) and grain and (form.get("temporal_columns_lookup") or {}).get(column):
        return {
            "timeGrain": grain,
            "columnType": "BASE_AXIS",
            "sqlExpression": column,
            "label": column,
            "expressionType": "SQL",
        }
    return column


def _ordered(columns: list[Any]) -> list[Any]:
    return [[column, True] for column in columns if isinstance(column, str) and column]


def _order_if_limited(form: Form, orders: list[Any]) -> Query:
    """Orders that the frontend adds only to limited queries (chosen columns, so that a limit means something)."""
    limit = form.get("row_limit")
    return {"orderby": orders} if orders and limit is not None and whole_number(limit) != 0 else {}


def plain(form: Form) -> list[Query]:
    return [base_query(form)]


def by_metric(form: Form) -> list[Query]:
    """Pie, funnel, gauge, sunburst: the largest first where the chart sorts by its metric."""
    query = base_query(form)
    if form.get("sort_by_metric"):
        query["orderby"] = [[form.get("metric"), False]]
    return [query]


def timeseries(form: Form) -> list[Query]:
    query = base_query(form)
    compares = _asks_time_comparison(form, query)
    order = orderby_of(query)
    query["metrics"] = [*(query.get("metrics") or []), *_sort_metric(form)]
    query["columns"] = [*x_axis_columns(form), *as_list(form.get("groupby"))]
    query["series_columns"] = as_list(form.get("groupby"))
    if x_axis(form) is None:
        query["is_timeseries"] = True
    query.pop("orderby", None)
    if order:
        query["orderby"] = order
    query["time_offsets"] = as_list(form.get("time_compare")) if compares else []
    return [query]


def _sort_metric(form: Form) -> list[Any]:
    """The metric by which the x axis is sorted, where the chart doesn't show it anyway."""
    metric = next(iter(as_list(form.get("timeseries_limit_metric"))), None)
    if as_list(form.get("groupby")) or not metric or metric_label(metric) != form.get("x_axis_sort"):
        return []
    shown = [metric_label(item) for item in as_list(form.get("metrics"))]
    return [] if metric_label(metric) in shown else [metric]


def mixed_timeseries(form: Form) -> list[Query]:
    second = {key.removesuffix("_b"): value for key, value in form.items() if key.endswith("_b")}
    second.update({key: value for key, value in form.items() if not key.endswith("_b") and key not in second})
    # a field of the second query that has no value is one without a value, not the first query's
    for key in ("groupby", "metrics", "limit", "timeseries_limit_metric", "time_compare", "adhoc_filters"):
        if f"{key}_b" not in form:
            second.pop(key, None)
    first = {key: value for key, value in form.items() if not key.endswith("_b")}
    queries = []
    for part in (first, second):
        query = base_query(part)
        query["columns"] = [*x_axis_columns(form), *as_list(part.get("groupby"))]
        query["series_columns"] = as_list(part.get("groupby"))
        if x_axis(form) is None:
            query["is_timeseries"] = True
        query["time_offsets"] = (
            as_list(part.get("time_compare")) if _asks_time_comparison(part, query) else []
        )
        if order := orderby_of(query):
            if not query.get("orderby"):
                query.pop("series_limit_metric", None)
                query.pop("order_desc", None)
            query["orderby"] = order
        queries.append(query)
    return queries


def big_number(form: Form) -> list[Query]:
    query = base_query(form)
    axis = x_axis_columns(form)
    trend: Query = {**query, "columns": axis} if axis else {**query, "columns": [], "is_timeseries": True}
    if form.get("aggregation") != "raw":
        return [trend]
    return [trend, {**query, "columns": [], "is_timeseries": False}]


def box_plot(form: Form) -> list[Query]:
    query = base_query(form)
    across = as_list(form.get("columns"))
    if not across and form.get("granularity_sqla"):
        across = [form["granularity_sqla"]]
    grain = form.get("time_grain_sqla")
    groupby = as_list(form.get("groupby"))
    query["columns"] = [*(_temporal_column(form, column, grain) for column in across), *groupby]
    query["series_columns"] = groupby
    whiskers = form.get("whiskerOptions")
    if whiskers:
        options: dict[str, Any] = {"whisker_type": "tukey"}
        if whiskers == "Min/max (no outliers)":
            options = {"whisker_type": "min/max"}
        elif matched := _PERCENTILES.search(str(whiskers)):
            options = {
                "whisker_type": "percentile",
                "percentiles": [int(matched[1]), int(matched[2])],
            }
        elif whiskers != "Tukey":
            raise CannotBuild(f"The box plot's whiskers are of an unknown kind: {whiskers}")
        options["groupby"] = [column_label(column) for column in groupby]
        options["metrics"] = [metric_label(metric) for metric in query.get("metrics") or []]
        query["post_processing"] = [{"operation": "boxplot", "options": options}]
    return [query]


def sankey(form: Form) -> list[Query]:
    query = base_query(form)
    ends = [form.get("source"), form.get("target")]
    orders: list[Any] = (
        [[form.get("metric"), False]] if form.get("sort_by_metric") and form.get("metric") else []
    )
    orders += [[end, True] for end in ends if end]
    query["groupby"] = ends
    return [{**query, **_order_if_limited(form, orders)}]


def treemap(form: Form) -> list[Query]:
    orders: list[Any] = (
        [[form.get("metric"), False]] if form.get("sort_by_metric") and form.get("metric") else []
    )
    orders += _ordered(as_list(form.get("groupby")))
    return [{**base_query(form), **_order_if_limited(form, orders)}]


def gantt(form: Form) -> list[Query]:
    query = base_query(form)
    series = as_list(form.get("series"))
    orders = [
        json.loads(order) if isinstance(order, str) else order for order in as_list(form.get("order_by_cols"))
    ]
    columns = [
        form.get("start_time"),
        form.get("end_time"),
        form.get("y_axis"),
        *series,
        *as_list(form.get("tooltip_columns")),
        *(order[0] for order in orders),
    ]
    query["columns"] = without_duplicates((column for column in columns if column), _identity)
    query["metrics"] = as_list(form.get("tooltip_metrics"))
    query["orderby"] = orders
    query["series_columns"] = series
    return [query]


def _identity(column: Any) -> str:
    return column if isinstance(column, str) else json.dumps(column, sort_keys=True)


def graph(form: Form) -> list[Query]:
    names = ("source", "target", "source_category", "target_category")
    query = base_query(form, dict.fromkeys(names, "columns"))
    return [{**query, **_order_if_limited(form, _ordered([form.get(name) for name in names]))}]


def tree(form: Form) -> list[Query]:
    query = base_query(form, dict.fromkeys(("id", "parent", "name"), "columns"))
    columns = [form.get("parent"), form.get("id"), form.get("name")]
    return [{**query, **_order_if_limited(form, _ordered(columns))}]


def radar(form: Form) -> list[Query]:
    query = base_query(form)
    chosen = next(iter(as_list(form.get("series_limit_metric"))), None)
    metrics = query.get("metrics") or []
    if chosen or metrics:
        query["orderby"] = [[chosen or metrics[0], False]]
    return [query]


def waterfall(form: Form) -> list[Query]:
    columns = [*as_list(form.get("x_axis") or form.get("granularity_sqla")), *as_list(form.get("groupby"))]
    return [{**base_query(form), "columns": columns, "orderby": [[column, True] for column in columns]}]


def heatmap(form: Form) -> list[Query]:
    columns = [*x_axis_columns(form), *as_list(form.get("groupby"))]
    label = metric_label(form.get("metric"))
    orders = []
    for name, position in (("sort_x_axis", 0), ("sort_y_axis", 1)):
        wanted = form.get(name)
        if wanted and ("value" in wanted or position < len(columns)):
            orders.append([label if "value" in wanted else columns[position], "asc" in wanted])
    return [{**base_query(form), "columns": columns, "orderby": orders}]


def histogram(form: Form) -> list[Query]:
    query = base_query(form)
    column = next(iter(as_list(form.get("column"))), None)
    if not column:
        raise CannotBuild("The histogram has no column")
    groupby = as_list(form.get("groupby"))
    query["columns"] = [*groupby, column]
    query.pop("metrics", None)
    bins = whole_number(form.get("bins"))
    query["post_processing"] = [
        {
            "operation": "histogram",
            "options": {
                "column": column_label(column),
                "groupby": [column_label(item) for item in groupby],
                "bins": 5 if bins is None else bins,
                "cumulative": bool(form.get("cumulative")),
                "normalize": bool(form.get("normalize")),
            },
        }
    ]
    return [query]


def bubble(form: Form) -> list[Query]:
    query = base_query(form)
    query["columns"] = [*as_list(form.get("entity")), *as_list(form.get("series"))]
    chosen = query.pop("orderby", None)
    if chosen:
        query["orderby"] = [[chosen[0], not query.get("order_desc")]]
    return [query]


def pivot_table(form: Form) -> list[Query]:
    query = base_query(form)
    grain = form.get("time_grain_sqla")
    columns = without_duplicates(
        [*as_list(form.get("groupbyColumns")), *as_list(form.get("groupbyRows"))], _identity
    )
    query["columns"] = [_temporal_column(form, column, grain) for column in columns]
    chosen = query.get("series_limit_metric") or next(iter(query.get("metrics") or ()), None)
    if chosen:
        query["orderby"] = [[chosen, not query.get("order_desc")]]
    return [query]


def handlebars(form: Form) -> list[Query]:
    query = base_query(form)
    if order := orderby_of(query):
        query["orderby"] = order
    return [query]


def word_cloud(form: Form) -> list[Query]:
    orders: list[Any] = (
        [[form.get("metric"), False]] if form.get("sort_by_metric") and form.get("metric") else []
    )
    if form.get("series"):
        orders.append([form["series"], True])
    return [{**base_query(form), **_order_if_limited(form, orders)}]


def table(form: Form) -> list[Query]:
    mode = query_mode(form)
    query = base_query(form)
    metrics = query.get("metrics")
    columns = query.get("columns") or []
    orders = query.get("orderby") or []
    offsets: list[Any] = []
    percent = as_list(form.get("percent_metrics"))
    if _asks_time_comparison(form, query):
        shifts = as_list(form.get("time_compare"))
        offsets = [shift for shift in shifts if shift not in ("custom", "inherit")]
        offsets += [form.get("start_date_offset")] if "custom" in shifts else []
        offsets += ["inherit"] if "inherit" in shifts else []
    if mode == "aggregate":
        metrics = metrics or []
        chosen = next(iter(as_list(form.get("timeseries_limit_metric"))), None)
        if chosen:
            orders = [[chosen, not form.get("order_desc", False)]]
        elif metrics:
            orders = [[metrics[0], False]]
        metrics = without_duplicates([*metrics, *percent], metric_label)
        grain = form.get("time_grain_sqla")
        marked = [_temporal_column(form, column, grain) for column in columns]
        first = next((index for index, column in enumerate(marked) if column is not columns[index]), None)
        if first is not None:  # only the first temporal column takes the grain, and comes first
            columns = [marked[first], *columns[:first], *columns[first + 1 :]]
    main: Query = {**query, "columns": columns, "orderby": orders, "time_offsets": offsets}
    if metrics is not None:
        main["metrics"] = metrics
    paged = bool(form.get("server_pagination"))
    if paged:
        main |= {"row_limit": form.get("server_page_length"), "row_offset": 0}
    queries = [main]
    if paged:
        limit = whole_number(form.get("row_limit")) or 0
        queries.append({**main, "time_offsets": [], "row_limit": limit, "row_offset": 0, "is_rowcount": True})
    if mode == "aggregate" and percent and form.get("percent_metric_calculation") == "all_records":
        queries.append(
            {**main, "columns": [], "metrics": percent, "row_limit": 0, "row_offset": 0, "orderby": []}
            | {"is_timeseries": False}
        )
    if mode == "aggregate" and metrics and form.get("show_totals"):
        total = {**main, "columns": [], "row_limit": 0, "row_offset": 0}
        queries.append({key: value for key, value in total.items() if key not in ("order_desc", "orderby")})
    return queries


# deck.gl


def _place_columns(place: Any) -> list[str]:
    """The columns that hold a place: two of numbers, or one of text."""
    kinds = {"latlong": ("lonCol", "latCol"), "delimited": ("lonlatCol",), "geohash": ("geohashCol",)}
    if isinstance(place, dict) and place.get("type") in kinds:
        columns = [place.get(name) for name in kinds[place["type"]]]
        if all(columns):
            return [str(column) for column in columns]
    raise CannotBuild(
        "The map has no columns for longitude and latitude: Superset's own page can't draw it either"
    )


def _not_null(columns: list[str], filters: list[Any], **value: Any) -> list[Any]:
    return [*filters, *({"col": column, "op": "IS NOT NULL", **value} for column in columns)]


def _add(columns: list[Any], names: list[Any]) -> list[Any]:
    known = {column_label(column) for column in columns}
    return [*columns, *(name for name in dict.fromkeys(names) if name not in known)]


def _tooltip_columns(form: Form) -> list[str]:
    names = []
    for item in as_list(form.get("tooltip_contents")):
        if isinstance(item, str):
            names.append(item)
        elif isinstance(item, dict) and item.get("item_type") == "column" and item.get("column_name"):
            names.append(str(item["column_name"]))
    return names


def deck_spatial(form: Form) -> list[Query]:
    """Grid, hexagons, heat map, screen grid, contour: places, weighted by a metric or not."""
    query = base_query(form)
    place = _place_columns(form.get("spatial"))
    size = form.get("size")
    columns = _add([*query.get("columns", []), *place], as_list(form.get("js_columns")))
    query["columns"] = _add(columns, _tooltip_columns(form))
    query["metrics"] = [size] if size else []
    query["filters"] = _not_null(place, query["filters"], val=None)
    if size:
        query["orderby"] = [[size, False]]
    query["is_timeseries"] = False
    return [query]


def deck_scatter(form: Form) -> list[Query]:
    query = base_query(form)
    place = _place_columns(form.get("spatial"))
    columns = [*query.get("columns", []), *place, *as_list(form.get("dimension"))]
    query["columns"] = _add(
        _add([column_label(column) for column in columns], as_list(form.get("js_columns"))),
        _tooltip_columns(form),
    )
    radius = form.get("point_radius_fixed")
    by_metric = isinstance(radius, str) or (isinstance(radius, dict) and radius.get("type") == "metric")
    metric = radius.get("value") if isinstance(radius, dict) else radius
    metrics = query.get("metrics") or []
    if by_metric and metric and not isinstance(metric, int | float):
        metrics = without_duplicates([*metrics, metric], metric_label)
        query["orderby"] = [[metric_label(metric), False]]
    query["metrics"] = metrics
    query["filters"] = _not_null(place, query["filters"], val=None)
    query["is_timeseries"] = False
    return [query]


def deck_arc(form: Form) -> list[Query]:
    query = base_query(form)
    start, end = _place_columns(form.get("start_spatial")), _place_columns(form.get("end_spatial"))
    columns = [*query.get("columns", []), *start, *end, *as_list(form.get("dimension"))]
    query["columns"] = _add(_add(columns, as_list(form.get("js_columns"))), _tooltip_columns(form))
    query["filters"] = _not_null(end, _not_null(start, query["filters"], val=None), val=None)
    query["is_timeseries"] = bool(form.get("time_grain_sqla"))
    return [query]


def deck_path(form: Form) -> list[Query]:
    query = base_query(form)
    line = form.get("line_column")
    if not line:
        raise CannotBuild("The map has no column for its lines: Superset's own page can't draw it either")
    columns, groupby = query.get("columns", []), []
    metrics = query.get("metrics") or []
    if metrics or form.get("metric"):
        groupby = [line]
    else:
        columns = _add(columns, [line])
    extra = [name for name in as_list(form.get("js_columns")) if name not in groupby]
    query["columns"] = _add(_add(columns, extra), _tooltip_columns(form))
    query["groupby"] = _add(groupby, _tooltip_columns(form))
    query["metrics"] = metrics
    known = {item.get("col") for item in query["filters"] if item.get("op") == "IS NOT NULL"}
    query["filters"] = _not_null([line] if line not in known else [], query["filters"])
    query["is_timeseries"] = bool(form.get("time_grain_sqla"))
    return [query]


def deck_polygon(form: Form) -> list[Query]:
    query = base_query(form)
    line = form.get("line_column")
    if not line:
        raise CannotBuild("The map has no column for its polygons: Superset's own page can't draw it either")
    metric, height = form.get("metric"), form.get("point_radius_fixed")
    columns = [*query.get("columns", []), line]
    query["columns"] = _add(_add(columns, as_list(form.get("js_columns"))), _tooltip_columns(form))
    query["metrics"] = [metric] if metric else []
    if isinstance(height, dict) and height.get("type") == "metric" and height.get("value") is not None:
        query["metrics"].append(height["value"])
    if form.get("filter_nulls", True):
        query["filters"] = _not_null([line, *([metric_label(metric)] if metric else [])], query["filters"])
    query["is_timeseries"] = False
    return [query]


BUILDERS: Final[dict[str, Builder]] = {
    "ag-grid-table": table,
    "big_number": big_number,
    "big_number_total": plain,
    "box_plot": box_plot,
    "bubble_v2": bubble,
    "deck_arc": deck_arc,
    "deck_contour": deck_spatial,
    "deck_grid": deck_spatial,
    "deck_heatmap": deck_spatial,
    "deck_hex": deck_spatial,
    "deck_path": deck_path,
    "deck_polygon": deck_polygon,
    "deck_scatter": deck_scatter,
    "deck_screengrid": deck_spatial,
    "echarts_area": timeseries,
    "echarts_timeseries": timeseries,
    "echarts_timeseries_bar": timeseries,
    "echarts_timeseries_line": timeseries,
    "echarts_timeseries_scatter": timeseries,
    "echarts_timeseries_smooth": timeseries,
    "echarts_timeseries_step": timeseries,
    "funnel": by_metric,
    "gantt_chart": gantt,
    "gauge_chart": by_metric,
    "graph_chart": graph,
    "handlebars": handlebars,
    "heatmap_v2": heatmap,
    "histogram_v2": histogram,
    "mixed_timeseries": mixed_timeseries,
    "pie": by_metric,
    "pivot_table_v2": pivot_table,
    "radar": radar,
    "sankey_v2": sankey,
    "sunburst_v2": by_metric,
    "table": table,
    "tree_chart": tree,
    "treemap_v2": treemap,
    "waterfall": waterfall,
    "word_cloud": word_cloud,
}


def page_queries(params: Form, dataset: DatasetFacts) -> tuple[Form, list[Query]]:
    """The form data that Explore holds, and the queries it sends, for a chart with these `params`.

    Raises CannotBuild with the reason.
    """
    if params.get("viz_type") == "cartodiagram":
        return _cartodiagram(params, dataset)
    form = explore_form(params, dataset)
    build = BUILDERS[form["viz_type"]]
    return form, [mark_x_axis(form, query) for query in build(form)]


def _cartodiagram(params: Form, dataset: DatasetFacts) -> tuple[Form, list[Query]]:
    """A map of small charts: the query of the chosen chart, by place first."""
    try:
        chosen = json.loads(params.get("selected_chart") or "")
        inner = dict(json.loads(chosen["params"]))
    except (TypeError, ValueError, KeyError) as exc:
        raise CannotBuild("The map's inner chart can't be read from its form data") from exc
    inner["viz_type"] = chosen.get("viz_type") or inner.get("viz_type")
    if inner["viz_type"] not in BUILDERS:
        raise CannotBuild(
            f"The map's inner chart is of a type whose query ss-tools can't build: {inner['viz_type']}"
        )
    inner["groupby"] = [params.get("geom_column"), *as_list(inner.get("groupby"))]
    return page_queries(inner, dataset)
