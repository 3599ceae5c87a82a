"""The query under a chart whose type still uses Superset's legacy endpoint (explore_json), as a chart/data query.

Eighteen types of 6.1.0 do (`useLegacyApi` in the released frontend; their classes are in superset/viz.py, read at
6.1.0). Each makes one query object and shapes the rows afterwards in Python. The rows are what is compared here: the
same query object goes to chart/data, which takes a bearer token, where explore_json wants a browser's session.
Held against the SQL that explore_json answers with for the example charts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from .forms import explore_form, split_filters, whole_number
from .labels import as_list, column_label, metric_label, without_duplicates
from .model import DTTM_ALIAS, CannotBuild, DatasetFacts, Form, Query

Builder = Callable[[Form], Query]

# superset/viz.py METRIC_KEYS, in its order
_METRIC_FIELDS = ("metric", "metrics", "percent_metrics", "metric_2", "secondary_metric", "x", "y", "size")
# cal_heatmap: the size of a cell
_GRAINS = {"min": "PT1M", "hour": "PT1H", "day": "P1D", "week": "P1W", "month": "P1M", "year": "P1Y"}


def _base(form: Form, *, is_timeseries: bool = False) -> Query:
    metrics: dict[str, Any] = {}
    for name in _METRIC_FIELDS:
        for metric in as_list(form.get(name) or None):
            metrics[metric_label(metric)] = metric
    columns = without_duplicates([*as_list(form.get("groupby")), *as_list(form.get("columns"))], column_label)
    if DTTM_ALIAS in [column_label(column) for column in columns]:
        columns = [column for column in columns if column_label(column) != DTTM_ALIAS]
        is_timeseries = True
    filters, having, where = split_filters(as_list(form.get("adhoc_filters")))
    query: Query = {
        "granularity": form.get("granularity_sqla"),
        "time_range": form.get("time_range"),
        "is_timeseries": is_timeseries,
        "columns": columns,
        "metrics": list(metrics.values()),
        "row_limit": whole_number(form.get("row_limit")),
        "filters": filters,
        "series_limit": whole_number(form.get("limit")) or 0,
        "series_limit_metric": form.get("timeseries_limit_metric") or None,
        "extras": {"having": having, "where": where, "time_grain_sqla": form.get("time_grain_sqla")},
        "order_desc": form.get("order_desc", True),
    }
    query["extras"] = {key: value for key, value in query["extras"].items() if value is not None}
    return {key: value for key, value in query.items() if value is not None}


def _need(form: Form, *names: str) -> None:
    for name in names:
        if not form.get(name):
            raise CannotBuild(f"The chart has no “{name}”, without which Superset can't draw it either")


def _with_sort_metric(form: Form, query: Query, *, always: bool) -> Query:
    """The metric a chart limits or sorts its series by is queried too, even where it isn't shown."""
    chosen = form.get("timeseries_limit_metric")
    if always and not chosen and query["metrics"]:
        chosen = query["metrics"][0]
    if not chosen:
        return query
    labels = [metric_label(metric) for metric in query["metrics"]]
    metrics = query["metrics"] if metric_label(chosen) in labels else [*query["metrics"], chosen]
    query = {**query, "metrics": metrics}
    if always or form.get("order_desc"):
        query["orderby"] = [[chosen, not form.get("order_desc")]]
    return query


def timeseries(form: Form) -> Query:
    return _with_sort_metric(form, _base(form, is_timeseries=True), always=True)


def time_pivot(form: Form) -> Query:
    _need(form, "metric")
    return {**timeseries(form), "metrics": [form["metric"]]}


def time_table(form: Form) -> Query:
    _need(form, "metrics")
    query = _base(form, is_timeseries=True)
    return {**query, "orderby": [[query["metrics"][0], not query["order_desc"]]]}


def partition(form: Form) -> Query:
    return {**timeseries(form), "is_timeseries": form.get("time_series_option", "not_time") != "not_time"}


def paired_ttest(form: Form) -> Query:
    return _with_sort_metric(form, _base(form, is_timeseries=True), always=False)


def cal_heatmap(form: Form) -> Query:
    _need(form, "metrics")
    query = _base(form, is_timeseries=True)
    grain = _GRAINS.get(str(form.get("subdomain_granularity", "min")))
    if grain is None:
        raise CannotBuild("The calendar's cells are of a size that Superset doesn't know")
    query["extras"]["time_grain_sqla"] = grain
    return {**query, "metrics": as_list(form["metrics"])}


def bubble(form: Form) -> Query:
    _need(form, "entity", "x", "y", "size")
    query = _base(form)
    query["columns"] = without_duplicates([form["entity"], *as_list(form.get("series"))], column_label)
    query["metrics"] = [form["size"], form["x"], form["y"]]
    query.pop("row_limit", None)
    if limit := whole_number(form.get("limit")):
        query["row_limit"] = limit
    return query


def bullet(form: Form) -> Query:
    _need(form, "metric")
    return {**_base(form), "metrics": [form["metric"]]}


def chord(form: Form) -> Query:
    _need(form, "groupby", "columns", "metric")
    query = _base(form)
    query["columns"] = [next(iter(as_list(form[name]))) for name in ("groupby", "columns")]
    query["metrics"] = [form["metric"]]
    if form.get("sort_by_metric"):
        query["orderby"] = [[form["metric"], False]]
    return query


def country_map(form: Form) -> Query:
    _need(form, "select_country", "metric", "entity")
    return {**_base(form), "metrics": [form["metric"]], "columns": [form["entity"]]}


def world_map(form: Form) -> Query:
    _need(form, "entity", "metric")
    query = {**_base(form), "columns": [form["entity"]]}
    if form.get("sort_by_metric"):
        query["orderby"] = [[query["metrics"][0], False]]
    return query


def parallel_coordinates(form: Form) -> Query:
    _need(form, "series")
    return _with_sort_metric(form, {**_base(form), "columns": [form["series"]]}, always=False)


def mapbox(form: Form) -> Query:
    query = _base(form)
    if form.get("groupby"):
        return query
    _need(form, "all_columns_x", "all_columns_y")
    names = [form["all_columns_x"], form["all_columns_y"], *as_list(form.get("mapbox_label"))[:1]]
    if form.get("point_radius") not in (None, "Auto"):
        names.append(form["point_radius"])
    return {**query, "columns": sorted(set(map(str, names)))}


def deck_geojson(form: Form) -> Query:
    _need(form, "geojson")
    names = sorted({str(name) for name in as_list(form.get("js_columns"))})
    return {**_base(form), "columns": [*names, form["geojson"]], "metrics": []}


BUILDERS: Final[dict[str, Builder]] = {
    "bubble": bubble,
    "bullet": bullet,
    "cal_heatmap": cal_heatmap,
    "chord": chord,
    "compare": timeseries,
    "country_map": country_map,
    "deck_geojson": deck_geojson,
    "horizon": timeseries,
    "mapbox": mapbox,
    "paired_ttest": paired_ttest,
    "para": parallel_coordinates,
    "partition": partition,
    "rose": timeseries,
    "time_pivot": time_pivot,
    "time_table": time_table,
    "world_map": world_map,
}


def legacy_queries(params: Form, dataset: DatasetFacts) -> tuple[Form, list[Query]]:
    """As `viz.page_queries`, for a chart of a legacy type. Raises CannotBuild with the reason."""
    form = explore_form(params, dataset)
    return form, [BUILDERS[form["viz_type"]](form)]
