"""From stored form data to the common part of a query, as the Explore page of Superset 6.1.0 does it.

Facts read in the released JavaScript (hydrateExplore, getAllControlsState, buildQueryObject, extractQueryFields,
processFilters, normalizeTimeColumn) and held against requests recorded from the page, see tests/data/chart_requests.
Explore is the reference and not a dashboard, because a dashboard adds its filters.
"""

from __future__ import annotations

import json
from typing import Any

from .controls import CONTROLS, MAIN_TIME
from .labels import as_list, column_label, is_adhoc_column, metric_label, without_duplicates
from .model import DTTM_ALIAS, NO_TIME_RANGE, CannotBuild, DatasetFacts, Form, Query

# Fields of form data that name columns or metrics of the query under another name.
_ALIASES = {
    "metric": "metrics",
    "metric_2": "metrics",
    "secondary_metric": "metrics",
    "x": "metrics",
    "y": "metrics",
    "size": "metrics",
    "all_columns": "columns",
    "series": "groupby",
    "order_by_cols": "orderby",
}
# Fields that the frontend takes out before it looks for columns, metrics and orders.
_NOT_FIELDS = frozenset(
    (
        "annotation_layers",
        "extra_form_data",
        "time_range",
        "since",
        "until",
        "row_limit",
        "row_offset",
        "order_desc",
        "limit",
        "timeseries_limit_metric",
        "granularity",
        "url_params",
        "custom_params",
        "series_columns",
        "series_limit",
        "series_limit_metric",
        "group_others_when_limit_reached",
        "query_mode",
    )
)
# Pseudo columns by which old dashboards' filter boxes sent time settings.
_TIME_EXTRAS = {
    "__time_range": "time_range",
    "__time_col": "granularity_sqla",
    "__time_grain": "time_grain_sqla",
}
# What a dashboard's native filters override in form data.
_EXTRA_OVERRIDES = {
    "granularity_sqla": "granularity",
    "time_range": "time_range",
    "time_grain_sqla": "time_grain_sqla",
}


def query_mode(form: Form) -> str:
    """Whether a table shows aggregates or raw records, where its form data doesn't say so itself."""
    mode = form.get("query_mode")
    if mode in ("aggregate", "raw"):
        return str(mode)
    return "raw" if form.get("all_columns") else "aggregate"


def explore_form(params: Form, dataset: DatasetFacts) -> Form:
    """The form data that Explore holds once a saved chart is open: known fields only, in order, defaults filled in.

    Raises CannotBuild for a chart type whose controls are not known.
    """
    viz_type = str(params.get("viz_type") or "")
    controls = CONTROLS.get(viz_type)
    if controls is None:
        raise CannotBuild(f"Chart type “{viz_type}” is not one whose query ss-tools can build")
    given = _modernised(params)
    given["time_range"] = given.get("time_range") or NO_TIME_RANGE
    if given.get("include_time") and given.get("granularity_sqla"):
        columns = as_list(given.get("groupby"))
        if given["granularity_sqla"] not in [column_label(column) for column in columns]:
            given["groupby"] = [given["granularity_sqla"], *columns]
            given["granularity_sqla"] = None

    form: Form = {"viz_type": viz_type}
    for name, default in controls.items():
        value = given.get(name)
        if name.startswith("adhoc_filters") and "time_range" not in controls:
            value = _with_time_filter(as_list(value), given, dataset)
        elif name == "x_axis" and not value and given.get("granularity_sqla"):
            value = given["granularity_sqla"]
        elif name == "temporal_columns_lookup":
            value = dict.fromkeys(dataset.temporal_columns, True)
        elif name == "query_mode":
            value = query_mode(given)
        elif name == "columns" and viz_type == "box_plot" and not value:
            value = [dataset.default_temporal_column] if dataset.default_temporal_column else None
        if value is None:
            value = dataset.default_temporal_column if default == MAIN_TIME else default
        if value is not None:
            form[name] = value
    return _without_hidden(form, dataset)


def _modernised(params: Form) -> Form:
    """What Superset's server changes in stored form data before Explore sees it.

    Old ways of writing filters and times become filters; filters that a dashboard left behind (extra_form_data,
    extra_filters) are appended; a stored time range overrules the time filter of a chart that has no time column.
    Read at 6.1.0: superset/legacy.py update_time_range; superset/utils/core.py convert_legacy_filters_into_adhoc,
    merge_extra_form_data, merge_extra_filters.
    """
    form = dict(params)
    if "since" in form or "until" in form:
        form["time_range"] = f"{form.pop('since', '') or ''} : {form.pop('until', '') or ''}"
    if not form.get("adhoc_filters"):
        form["adhoc_filters"] = [
            {"clause": clause.upper(), "expressionType": "SQL", "sqlExpression": form[clause]}
            for clause in ("having", "where")
            if form.get(clause)
        ] + [_simple(item) for item in as_list(form.get("filters")) if isinstance(item, dict)]
    for name in ("filters", "having", "where"):
        form.pop(name, None)

    extra = form.pop("extra_form_data", None) or {}
    for source, target in _EXTRA_OVERRIDES.items():
        if extra.get(source) is not None:
            form[target] = extra[source]
    appended = [_simple(item) for item in as_list(extra.get("filters")) if isinstance(item, dict)]
    for item in as_list(form.pop("extra_filters", None)):
        if not isinstance(item, dict):
            continue
        if target_name := _TIME_EXTRAS.get(str(item.get("col"))):
            if item.get("val") and item["val"] != NO_TIME_RANGE:
                form[target_name] = item["val"]
        elif item.get("val"):
            appended.append(_simple(item))
    for name in [name for name in form if name.startswith("adhoc_filters")]:
        form[name] = [*as_list(form[name]), *appended]
    form["adhoc_filters"] = [
        _overruled(item, extra.get("granularity_sqla"), form)
        for item in [*form["adhoc_filters"], *as_list(extra.get("adhoc_filters"))]
    ]
    return form


def _simple(item: dict[str, Any]) -> dict[str, Any]:
    return {
        "clause": "WHERE",
        "expressionType": "SIMPLE",
        "subject": item.get("col"),
        "operator": item.get("op"),
        "comparator": item.get("val"),
    }


def _overruled(item: Any, time_column: Any, form: Form) -> Any:
    if not isinstance(item, dict) or item.get("operator") != "TEMPORAL_RANGE":
        return item
    changed = dict(item)
    if time_column is not None and item.get("expressionType") == "SIMPLE":
        changed["subject"] = time_column
    if form.get("time_range") and not form.get("granularity_sqla"):
        changed["comparator"] = form["time_range"]
    return changed


# Where the time grain is asked for: only if one of these fields holds a temporal column.
_GRAIN_FIELDS = {
    "table": ("groupby",),
    "ag-grid-table": ("groupby",),
    "box_plot": ("columns",),
    "pivot_table_v2": ("groupbyColumns", "groupbyRows"),
}
# Chart types whose control "sort descending" shows always, or keeps its value when hidden.
_ORDER_ALWAYS = frozenset(("table", "ag-grid-table", "handlebars", "pivot_table_v2", "mixed_timeseries"))


def _without_hidden(form: Form, dataset: DatasetFacts) -> Form:
    """Explore takes the value of a control it hides out of the form data."""
    viz_type = form["viz_type"]
    hidden = set()
    fields = _GRAIN_FIELDS.get(viz_type, ("x_axis",) if "x_axis" in CONTROLS[viz_type] else ())
    columns = [column for name in fields for column in as_list(form.get(name))]
    if fields and not any(
        is_adhoc_column(column) or (isinstance(column, str) and column in dataset.temporal_columns)
        for column in columns
    ):
        hidden.add("time_grain_sqla")
    chooser = "orderby" if viz_type == "bubble_v2" else "timeseries_limit_metric"
    if viz_type not in _ORDER_ALWAYS and not form.get(chooser):
        hidden.add("order_desc")
    return {name: value for name, value in form.items() if name not in hidden}


def _with_time_filter(filters: list[Any], given: Form, dataset: DatasetFacts) -> list[Any]:
    """Where no filter is a time filter yet, Explore makes one of the time range; else of the dataset's time column."""
    if any(isinstance(item, dict) and item.get("operator") == "TEMPORAL_RANGE" for item in filters):
        return filters
    if given.get("granularity_sqla"):
        subject, comparator = given["granularity_sqla"], given["time_range"]
    elif dataset.default_temporal_column:
        subject, comparator = dataset.default_temporal_column, NO_TIME_RANGE
    else:
        return filters
    time_filter = {
        "clause": "WHERE",
        "subject": subject,
        "operator": "TEMPORAL_RANGE",
        "comparator": comparator,
        "expressionType": "SIMPLE",
    }
    return [*filters, time_filter]


def query_fields(
    form: Form, aliases: dict[str, str] | None = None
) -> tuple[list[Any], list[Any] | None, list[Any]]:
    """Columns, metrics (None in raw mode) and orders of a form; duplicates by label are dropped."""
    names = {**_ALIASES, **(aliases or {})}
    mode = form.get("query_mode")
    columns: list[Any] = []
    metrics: list[Any] = []
    orderby: list[Any] = []
    for key, value in form.items():
        if value is None or key in _NOT_FIELDS:
            continue
        name = names.get(key, key)
        if mode == "aggregate" and name == "columns":
            continue  # a table keeps the columns of its raw mode in its form data
        if mode == "raw" and name in ("groupby", "metrics"):
            continue
        if name in ("columns", "groupby"):
            columns += as_list(value)
        elif name == "metrics":
            metrics += as_list(value)
        elif name == "orderby":
            orderby += as_list(value)
    return (
        without_duplicates((column for column in columns if column != ""), column_label),
        None if mode == "raw" else without_duplicates(metrics, metric_label),
        [_order(item) for item in orderby],
    )


def _order(item: Any) -> Any:
    if not isinstance(item, str):
        return item
    try:
        return json.loads(item)
    except ValueError:
        return item  # a metric's name, which the chart type turns into an order itself


def base_query(form: Form, aliases: dict[str, str] | None = None) -> Query:
    """What all chart types share: filters, time, limits, and the columns, metrics and orders found by field name."""
    columns, metrics, orderby = query_fields(form, aliases)
    filters, having, where = split_filters(as_list(form.get("adhoc_filters")))
    extras: dict[str, Any] = {"having": having, "where": where}
    if form.get("time_grain_sqla"):
        extras["time_grain_sqla"] = form["time_grain_sqla"]
    limit = form.get("limit")
    series_limit = form.get("series_limit")
    query: Query = {
        "time_range": form.get("time_range"),
        "granularity": form.get("granularity") or form.get("granularity_sqla"),
        "filters": filters,
        "extras": extras,
        "columns": columns,
        "metrics": metrics,
        "orderby": orderby or None,
        "row_limit": whole_number(form.get("row_limit")),
        "row_offset": whole_number(form.get("row_offset")),
        "series_columns": form.get("series_columns"),
        "series_limit": series_limit if series_limit is not None else (whole_number(limit) or 0),
        "series_limit_metric": _metric_or_none(
            form.get("series_limit_metric"), form.get("timeseries_limit_metric")
        ),
        "group_others_when_limit_reached": bool(form.get("group_others_when_limit_reached")),
        "order_desc": form.get("order_desc", True),
    }
    return {key: value for key, value in query.items() if value is not None}


def _metric_or_none(*candidates: Any) -> Any:
    for candidate in candidates:
        if isinstance(candidate, str | list) or (
            isinstance(candidate, dict) and candidate.get("expressionType") in ("SIMPLE", "SQL")
        ):
            return candidate or None
    return None


def whole_number(value: Any) -> int | None:
    """A limit as form data holds it: a number, or text of one; None for anything else."""
    try:
        return None if value is None or value == "" or isinstance(value, bool) else int(float(value))
    except (TypeError, ValueError, OverflowError):
        return None


def split_filters(adhoc_filters: list[Any]) -> tuple[list[dict[str, Any]], str, str]:
    """Simple filters as clauses, then the free SQL for HAVING and for WHERE."""
    simple: list[dict[str, Any]] = []
    free: dict[str, list[str]] = {"WHERE": [], "HAVING": []}
    for item in adhoc_filters:
        if not isinstance(item, dict):
            continue
        is_where = item.get("clause") == "WHERE"
        if item.get("expressionType") == "SIMPLE":
            if is_where:
                clause = {"col": item.get("subject"), "op": item.get("operator")}
                if item.get("operator") not in ("IS NULL", "IS NOT NULL") and "comparator" in item:
                    clause["val"] = item["comparator"]
                simple.append(clause)
        elif item.get("sqlExpression"):
            free["WHERE" if is_where else "HAVING"].append(str(item["sqlExpression"]))
    return simple, _all_of(free["HAVING"]), _all_of(free["WHERE"])


def _all_of(clauses: list[str]) -> str:
    # the line end keeps a comment from swallowing the bracket
    return " AND ".join(f"({clause}\n)" if "--" in clause else f"({clause})" for clause in clauses)


def x_axis(form: Form) -> Any:
    """The chart's x axis column (a name or a column written as SQL), or None where its form data has none."""
    column = form.get("x_axis")
    return column if isinstance(column, str) or is_adhoc_column(column) else None


def x_axis_columns(form: Form) -> list[Any]:
    """The x axis as the first columns of a query; nothing where the chart still runs on the old time column."""
    column = x_axis(form)
    return [] if column is None else [column]


def x_axis_label(form: Form) -> str | None:
    if column := x_axis(form):
        return column_label(column)
    return DTTM_ALIAS if form.get("granularity_sqla") else None


def mark_x_axis(form: Form, query: Query) -> Query:
    """Turn the x axis among a query's columns into the column object that carries the time grain."""
    axis = x_axis(form)
    if axis is None:
        return query
    columns = list(query.get("columns") or ())
    for index, column in enumerate(columns):
        if isinstance(axis, str):
            if column != axis:
                continue
            marked: dict[str, Any] = {
                "columnType": "BASE_AXIS",
                "sqlExpression": axis,
                "label": axis,
                "expressionType": "SQL",
                "isColumnReference": True,
            }
        elif is_adhoc_column(column) and column["sqlExpression"] == axis["sqlExpression"]:
            marked = {"columnType": "BASE_AXIS", **column}
        else:
            continue
        if grain := query.get("extras", {}).get("time_grain_sqla"):
            marked = {"timeGrain": grain, **marked}
        columns[index] = marked
        return {**{key: value for key, value in query.items() if key != "is_timeseries"}, "columns": columns}
    return query
