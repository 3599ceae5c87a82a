"""From a chart to a request whose answers from two Supersets may be compared.

What is changed of the queries that the pages send, and why the evidence stays the same or gets better:

* relative times become explicit, so that both sides are asked for the same span;
* operations that only reshape or derive (pivot, rename, flatten, contribution, rank, rolling, cumulative, resample,
  compare, sort, forecast) are left out: they are functions of the rows, and rows are what is compared. Histogram and
  box plot stay: they condense many raw rows to a few numbers;
* every column is added to the order, after the chart's own: a reached row limit then keeps the same rows on both sides;
* the row limit is lowered to the caller's cap; where a limit is reached, `Built.totals` compares counts and
  aggregates over everything;
* a page of a paged table becomes its first rows up to the cap;
* annotation layers are left out (formulas ask for no data; events and intervals are queries of other charts).
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from . import legacy, viz
from .labels import as_list, column_label, is_adhoc_column, metric_label
from .model import DTTM_ALIAS, Built, CannotBuild, DatasetFacts, Form, NotCheckable, Query, QueryShape
from .times import freeze, is_absolute

# Chart types without a query of their own, and what people are told.
NO_QUERY: Final[dict[str, str]] = {
    "deck_multi": "This chart shows other charts as layers; each layer is checked as a chart of its own",
    "markup": "This chart shows fixed text and asks for no data",
    "separator": "This chart shows fixed text and asks for no data",
    "iframe": "This chart shows another web page and asks for no data",
    "filter_box": "Filter boxes were replaced by native filters; Superset can't show them any more",
}
_KEPT_OPERATIONS: Final = frozenset(("histogram", "boxplot"))
# Not part of the question: what a page adds for logging, templates and drawing.
_LEFT_OUT: Final = (
    "annotation_layers",
    "applied_time_extras",
    "url_params",
    "custom_params",
    "custom_form_data",
)
_UNSTABLE_SQL: Final = re.compile(
    r"\b(now|random|rand|getdate|sysdate|sysdatetime|newid|uuid|gen_random_uuid|current_date|current_time|"
    r"current_timestamp|localtime|localtimestamp|today|statement_timestamp|clock_timestamp)\b\s*(\(|\b)",
    re.IGNORECASE,
)
_JINJA_CLOCK: Final = re.compile(
    r"\{[{%].*?\b(now|utcnow|today|random)\b.*?[%}]\}", re.IGNORECASE | re.DOTALL
)
# Types that databases can't sort by (PostgreSQL json and xml, Oracle and SQL Server large objects, shapes).
_UNSORTABLE: Final = re.compile(
    r"^\s*(json\b|xml|[cb]lob|nclob|ntext|image|geo|point|polygon|array|map|struct|super)", re.I
)
_NUMERIC: Final = re.compile(r"(int|float|double|real|dec|num|money|serial|long|byte)", re.IGNORECASE)
_TOTALS_COLUMNS: Final = 12  # columns of a raw table that totals are taken of: each costs the database a hash


def build_queries(
    form_data: Form,
    dataset: DatasetFacts,
    *,
    now: datetime,
    row_limit_cap: int,
    query_context: Mapping[str, Any] | str | None = None,
    time_ranges: Mapping[str, str] | None = None,
) -> Built | NotCheckable:
    """The request that asks for a chart's data, made comparable; or why none can be made.

    `form_data` is the chart's `params` with its `viz_type`; ids in it don't matter. `query_context` is the stored one
    (text or object): it is used where the chart has one, except for legacy chart types, whose stored context isn't
    what their pages send. `now` is the moment that relative time ranges count from, the same for both sides.
    `time_ranges` gives explicit ranges for expressions that only Superset can read (see `Built.unresolved_times`).
    Never raises for a chart's content.
    """
    viz_type = str(form_data.get("viz_type") or "")
    if viz_type in NO_QUERY:
        return NotCheckable(NO_QUERY[viz_type], viz_type)
    try:
        return _build(form_data, dataset, now, row_limit_cap, query_context, dict(time_ranges or {}))
    except CannotBuild as exc:
        return NotCheckable(str(exc), viz_type)
    except (TypeError, ValueError, KeyError, AttributeError, IndexError) as exc:
        # form data is free JSON: anything may stand where a column or a metric should
        return NotCheckable(f"The chart's form data isn't of the shape its type expects ({exc})", viz_type)


def _build(
    form_data: Form,
    dataset: DatasetFacts,
    now: datetime,
    row_limit_cap: int,
    query_context: Mapping[str, Any] | str | None,
    time_ranges: dict[str, str],
) -> Built:
    form, queries, origin = _queries_of(form_data, dataset, query_context)
    queries = [
        query for query in queries if query.get("columns") or query.get("groupby") or query.get("metrics")
    ]
    if not queries:
        raise CannotBuild("The chart asks for no columns and no metrics: Superset answers “Empty query?”")
    notes: list[str] = []
    times = _Times(now, time_ranges)
    form = times.freeze_form(form)
    shapes, made = [], []
    for index, query in enumerate(queries):
        query, shape = _comparable(query, index, form, dataset, row_limit_cap)
        made.append(times.freeze_query(query))
        shapes.append(shape)
    if form_data.get("forecastEnabled"):
        notes.append("the forecast is left out; the series it is made of is compared")
    layers = [layer for layer in as_list(form_data.get("annotation_layers")) if isinstance(layer, dict)]
    if any(layer.get("annotationType") != "FORMULA" for layer in layers):
        notes.append("annotation layers that have a query of their own are not part of this check")
    if any(query.get("series_limit") for query in made):
        notes.append(
            "the chart limits its series: which of equally large ones are kept is up to the database"
        )
    if _is_unstable(form_data, made, dataset):
        notes.append("its SQL asks for the current time or for random values, so two runs may differ")
    totals, totals_shapes = _totals(queries, shapes, dataset, times)
    notes += [f"the time range “{text}” could not be made explicit" for text in times.unresolved]
    return Built(
        payload=_payload(form, made),
        shapes=tuple(shapes),
        viz_type=str(form_data.get("viz_type") or ""),
        origin=origin,
        notes=tuple(dict.fromkeys(notes)),
        totals=_payload(form, totals) if totals else None,
        totals_shapes=tuple(totals_shapes),
        unresolved_times=tuple(times.unresolved),
    )


def _payload(form: Form, queries: list[Query]) -> dict[str, Any]:
    return {
        "datasource": {"id": None, "type": "table"},
        "force": True,  # past the cache: after an import it may hold the answers of before
        "queries": queries,
        "form_data": {**form, "datasource": None},  # templates in SQL read filters from it
        "result_format": "json",
        "result_type": "full",
    }


def _queries_of(
    form_data: Form, dataset: DatasetFacts, query_context: Mapping[str, Any] | str | None
) -> tuple[Form, list[Query], str]:
    viz_type = str(form_data.get("viz_type") or "")
    if viz_type in legacy.BUILDERS:
        form, queries = legacy.legacy_queries(form_data, dataset)
        return form, queries, "form data of a legacy chart type"
    stored = _stored_queries(query_context)
    if stored is not None:
        return _without_ids({**form_data}), stored, "stored query context"
    form, queries = viz.page_queries(form_data, dataset)
    return form, queries, "form data"


def _stored_queries(query_context: Mapping[str, Any] | str | None) -> list[Query] | None:
    if isinstance(query_context, str):
        try:
            query_context = json.loads(query_context)
        except ValueError:
            return None
    if not isinstance(query_context, Mapping):
        return None
    queries = query_context.get("queries")
    if not isinstance(queries, list) or not queries or not all(isinstance(query, dict) for query in queries):
        return None
    return copy.deepcopy(queries)


def _without_ids(form: Form) -> Form:
    """Form data without what belongs to one Superset: asking must not count as a view of a chart by its id."""
    return {
        key: value
        for key, value in form.items()
        if key not in ("slice_id", "dashboards", "dashboardId", "datasource")
    }


def _comparable(
    query: Query, index: int, form: Form, dataset: DatasetFacts, cap: int
) -> tuple[Query, QueryShape]:
    made = copy.deepcopy(
        {key: value for key, value in query.items() if key not in _LEFT_OUT and value is not None}
    )
    operations = [item for item in as_list(made.pop("post_processing", None)) if isinstance(item, dict)]
    kept = [item for item in operations if item.get("operation") in _KEPT_OPERATIONS]
    if kept:
        made["post_processing"] = kept
    made.pop("result_type", None)
    is_count = bool(made.get("is_rowcount"))
    if is_count:
        made["orderby"] = []
        return made, QueryShape(index, None, made.get("row_limit"), (), (), is_rowcount=True)
    if form.get("server_pagination") and made.get("row_offset") == 0 and made.get("columns"):
        made["row_limit"] = form.get("row_limit")
        made.pop("row_offset", None)
    columns = as_list(made.get("groupby")) or as_list(made.get("columns"))
    ordered = _order_totally(made, columns, dataset)
    chart_limit = made.get("row_limit") or None
    limited = bool(columns or _has_time_column(made)) and not kept
    if limited:
        # the frontend leaves the limit to the server where it sends none or 0 (ROW_LIMIT, 50,000 by default)
        made["row_limit"] = min(chart_limit or cap, cap)
    shape = QueryShape(
        index=index,
        row_limit=made.get("row_limit") if limited else None,
        chart_row_limit=chart_limit,
        columns=tuple(column_label(column) for column in columns),
        metrics=tuple(metric_label(metric) for metric in as_list(made.get("metrics"))),
        totally_ordered=ordered,
    )
    return made, shape


def _order_totally(query: Query, columns: list[Any], dataset: DatasetFacts) -> bool:
    """Append every column to the query's order. False where one can't be sorted by.

    Columns go by label: Superset finds dataset columns and SQL columns of the query by it, and orders by the selected
    expression (superset/models/helpers.py get_sqla_query, read at 6.1.0). In a query of raw records an SQL column
    can't be named so before 6.1, and a dict would turn the query into an aggregation: those are left alone.
    """
    is_raw = query.get("metrics") is None
    orders = list(query.get("orderby") or [])
    named = {
        order[0]
        for order in orders
        if isinstance(order, list | tuple) and order and isinstance(order[0], str)
    }
    complete = True
    for column in columns:
        label = column_label(column)
        if label in named or label == DTTM_ALIAS:
            continue
        facts = dataset.columns.get(label)
        if facts is not None and _UNSORTABLE.match(str(facts.get("type") or "")):
            complete = False
        elif isinstance(column, str) and facts is None:
            complete = False  # unknown to the dataset: the query itself will say so
        elif is_adhoc_column(column) and facts is None:
            if is_raw:
                complete = False
            else:
                sql = {"expressionType": "SQL", "sqlExpression": column["sqlExpression"], "label": label}
                orders.append([sql, True])
        else:
            orders.append([label, True])
        named.add(label)
    if orders:
        query["orderby"] = orders
    return complete and not _has_time_column(query)  # the old time column has no name to order by


def _has_time_column(query: Query) -> bool:
    return bool(query.get("is_timeseries") and query.get("granularity"))


class _Times:
    """Freezes time ranges and remembers those it could not."""

    def __init__(self, now: datetime, known: dict[str, str]) -> None:
        self._now = now
        self._known = known
        self.unresolved: list[str] = []

    def range(self, text: Any, extras: Mapping[str, Any] | None = None) -> Any:
        if not isinstance(text, str) or is_absolute(text):
            return text
        if text in self._known:
            return self._known[text]
        frozen = freeze(
            text,
            self._now,
            relative_start=(extras or {}).get("relative_start") or "today",
            relative_end=(extras or {}).get("relative_end") or "today",
        )
        if frozen is None:
            if text not in self.unresolved:
                self.unresolved.append(text)
            return text
        return frozen

    def freeze_query(self, query: Query) -> Query:
        extras = query.get("extras") or {}
        frozen = {**query, "filters": [self._filter(item, extras) for item in as_list(query.get("filters"))]}
        if "time_range" in query:
            frozen["time_range"] = self.range(query["time_range"], extras)
        if extras and not self.unresolved:
            frozen["extras"] = {
                k: v for k, v in extras.items() if k not in ("relative_start", "relative_end")
            }
        return frozen

    def _filter(self, item: Any, extras: Mapping[str, Any]) -> Any:
        if isinstance(item, dict) and str(item.get("op")).upper() == "TEMPORAL_RANGE":
            return {**item, "val": self.range(item.get("val"), extras)}
        return item

    def freeze_form(self, form: Form) -> Form:
        frozen = _without_ids(form)
        if "time_range" in frozen:
            frozen["time_range"] = self.range(frozen["time_range"])
        for name in [name for name in frozen if name.startswith("adhoc_filters")]:
            frozen[name] = [
                {**item, "comparator": self.range(item.get("comparator"))}
                if isinstance(item, dict) and item.get("operator") == "TEMPORAL_RANGE"
                else item
                for item in as_list(frozen[name])
            ]
        return frozen


def _totals(
    queries: list[Query], shapes: list[QueryShape], dataset: DatasetFacts, times: _Times
) -> tuple[list[Query], list[QueryShape]]:
    """Two small queries for each that returns rows: how many rows the chart would get, and aggregates over all."""
    made: list[Query] = []
    totals_shapes: list[QueryShape] = []

    def add(query: Query, shape: Callable[[int], QueryShape]) -> None:
        totals_shapes.append(shape(len(made)))
        made.append(times.freeze_query(query))

    for query, shape in zip(queries, shapes, strict=True):
        if shape.is_rowcount or shape.row_limit is None:
            continue
        base = copy.deepcopy({k: v for k, v in query.items() if k not in _LEFT_OUT and v is not None})
        for name in ("post_processing", "orderby", "row_offset", "time_offsets", "result_type"):
            base.pop(name, None)
        count = {**base, "is_rowcount": True, "orderby": []}
        if shape.chart_row_limit:
            count["row_limit"] = shape.chart_row_limit
        add(count, lambda index: QueryShape(index, None, None, (), (), is_rowcount=True))
        metrics = as_list(base.get("metrics")) or _raw_totals(query, dataset)
        everything = {
            key: value
            for key, value in base.items()
            if key
            not in (
                "columns",
                "groupby",
                "series_columns",
                "series_limit",
                "series_limit_metric",
                "row_limit",
            )
        }
        everything |= {"columns": [], "metrics": metrics, "is_timeseries": False, "orderby": []}
        labels = tuple(metric_label(metric) for metric in metrics)
        add(everything, lambda index, labels=labels: QueryShape(index, None, None, (), labels))  # type: ignore[misc]
    return made, totals_shapes


def _raw_totals(query: Query, dataset: DatasetFacts) -> list[dict[str, Any]]:
    """Aggregates for records without metrics: how many, and per column a sum or how many different values."""
    metrics: list[dict[str, Any]] = [
        {"expressionType": "SQL", "sqlExpression": "COUNT(*)", "label": "rows", "hasCustomLabel": True}
    ]
    for column in as_list(query.get("columns"))[:_TOTALS_COLUMNS]:
        if not isinstance(column, str) or column not in dataset.columns:
            continue
        kind = str(dataset.columns[column].get("type") or "")
        if _UNSORTABLE.match(kind):
            continue
        aggregate = (
            "SUM"
            if _NUMERIC.search(kind) and not dataset.columns[column].get("is_dttm")
            else "COUNT_DISTINCT"
        )
        name = {"SUM": "sum", "COUNT_DISTINCT": "different"}[aggregate]
        metrics.append(
            {
                "expressionType": "SIMPLE",
                "aggregate": aggregate,
                "column": {"column_name": column},
                "label": f"{name}({column})",
                "hasCustomLabel": True,
            }
        )
    return metrics


def _is_unstable(form_data: Form, queries: list[Query], dataset: DatasetFacts) -> bool:
    texts: list[str] = []
    if dataset.sql:
        texts.append(dataset.sql)
    for query in queries:
        extras = query.get("extras") or {}
        texts += [str(extras.get("where") or ""), str(extras.get("having") or "")]
        for item in [*as_list(query.get("columns")), *as_list(query.get("metrics"))]:
            if isinstance(item, dict):
                texts.append(str(item.get("sqlExpression") or ""))
            elif item in dataset.columns or item in dataset.metrics:
                facts = dataset.columns.get(item) or dataset.metrics.get(item) or {}
                texts.append(str(facts.get("expression") or ""))
    return any(
        _JINJA_CLOCK.search(text) or _UNSTABLE_SQL.search(_without_strings(text)) for text in texts if text
    )


def _without_strings(sql: str) -> str:
    return re.sub(r"'[^']*'|\"[^\"]*\"|--[^\n]*", " ", sql)
