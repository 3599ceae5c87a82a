"""The names under which columns and metrics appear in results, and the small list helpers around them.

Facts from the frontend released with Superset 6.1.0 (getColumnLabel, getMetricLabel, ensureIsArray, removeDuplicates,
normalizeOrderBy), read in the package's JavaScript and checked against recorded requests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from .model import Query


def as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def is_adhoc_column(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.get("sqlExpression") is not None
        and value.get("label") is not None
        and value.get("expressionType") in (None, "SQL")
    )


def column_label(column: Any) -> str:
    if isinstance(column, str):
        return column
    if not isinstance(column, dict):
        return str(column)
    return str(column.get("label") or column.get("sqlExpression") or "")


def metric_label(metric: Any) -> str:
    if isinstance(metric, str):
        return metric
    if not isinstance(metric, dict):
        return str(metric)
    if metric.get("label"):
        return str(metric["label"])
    if metric.get("expressionType") == "SIMPLE":
        column = metric.get("column") or {}
        return f"{metric.get('aggregate')}({column.get('columnName') or column.get('column_name')})"
    return str(metric.get("sqlExpression") or "")


def without_duplicates(values: Iterable[Any], label: Callable[[Any], str]) -> list[Any]:
    seen: set[str] = set()
    kept = []
    for value in values:
        name = label(value)
        if name not in seen:
            seen.add(name)
            kept.append(value)
    return kept


def orderby_of(query: Query) -> list[Any] | None:
    """The order the frontend gives a query: its own if valid, else by the limit's metric, else by the first metric."""
    own = query.get("orderby")
    if own:
        first = own[0]
        if isinstance(first, list | tuple) and len(first) == 2 and first[0] and isinstance(first[1], bool):
            return list(own)
    ascending = not query.get("order_desc")
    for metric in (query.get("series_limit_metric"), query.get("legacy_order_by")):
        if metric:
            return [[metric, ascending]]
    metrics = query.get("metrics")
    return [[metrics[0], ascending]] if metrics else None
