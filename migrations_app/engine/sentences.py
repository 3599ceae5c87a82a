"""One sentence for each change, as an analyst would say it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from environments.canonical.documents import Documents, Kind

from .diff import FieldChange

_LABELS = {
    "slice_name": "name",
    "dashboard_title": "title",
    "table_name": "name",
    "viz_type": "chart type",
    "sql": "SQL",
    "css": "CSS",
    "main_dttm_col": "time column",
    "cache_timeout": "cache timeout (s)",
    "certified_by": "certified by",
    "certification_details": "certification details",
    "dataset_uuid": "dataset",
    "database_uuid": "database",
    "fetch_values_predicate": "filter value predicate",
    "refresh_frequency": "refresh every (s)",
    "color_scheme": "colour scheme",
    "label_colors": "label colours",
    "adhoc_filters": "filters",
    "groupby": "dimensions",
    "row_limit": "row limit",
    "time_range": "time range",
    "time_grain_sqla": "time grain",
    "granularity_sqla": "time column",
    "d3format": "number format",
    "verbose_name": "label",
    "is_dttm": "is a time column",
    "cross_filters_enabled": "cross-filters",
    "theme_uuid": "theme",
}


def sentence(kind: Kind, change: FieldChange, documents: Documents) -> str:
    """A change in words. `documents` give names to the uuids that a change speaks of; an unknown uuid is
    shown as it is.
    """
    path = change.path
    name = Names(documents)
    if kind == Kind.DASHBOARD and path[0] == "position":
        return _layout(change, name)
    if kind == Kind.DASHBOARD and path[0] == "metadata" and len(path) > 1:
        return _metadata(change, name)
    if kind == Kind.DATASET and path[0] in ("columns", "metrics") and len(path) > 1:
        return _column(change)
    if kind == Kind.CHART and path[0] == "params" and len(path) > 1:
        return _simple(_label(path[1]) + _rest(path[2:]), change, name)
    return _simple(_label(path[0]) + _rest(path[1:]), change, name)


class Names:
    """Names for uuids."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    def __call__(self, value: Any) -> str:
        if isinstance(value, str) and value in self._documents:
            return f"“{self._documents[value].title}”"
        return shown(value)


def shown(value: Any, limit: int = 80) -> str:
    """A value as people read it: texts in quotes, metrics and filters by their label, long ones cut."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, str):
        text = value
    elif isinstance(value, Mapping):
        text = _object(value)
    elif isinstance(value, list):
        text = ", ".join(shown(item, 40) for item in value) or "none"
    else:
        text = json.dumps(value, ensure_ascii=False)
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _object(value: Mapping[str, Any]) -> str:
    if "expressionType" in value and "aggregate" in value:  # an ad-hoc metric
        if value.get("expressionType") == "SQL":
            return str(value.get("label") or value.get("sqlExpression"))
        column = value.get("column")
        return str(
            value.get("label")
            or f"{value.get('aggregate')}({column.get('column_name') if isinstance(column, Mapping) else ''})"
        )
    if "clause" in value and "expressionType" in value:  # an ad-hoc filter
        if value.get("expressionType") == "SQL":
            return str(value.get("sqlExpression"))
        return " ".join(
            shown(value[key], 40)
            for key in ("subject", "operator", "comparator")
            if value.get(key) is not None
        )
    for key in ("label", "name", "column_name", "metric_name"):
        if isinstance(value.get(key), str):
            return str(value[key])
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _label(key: str) -> str:
    return _LABELS.get(key, key.replace("_", " "))


def _rest(path: tuple[str, ...]) -> str:
    return "".join(f" › {part}" for part in path)


def _simple(label: str, change: FieldChange, name: Callable[[Any], str]) -> str:
    if change.operator == "+":
        return f"{label}: set to {name(change.after)}"
    if change.operator == "-":
        return f"{label}: {name(change.before)} removed"
    if (
        isinstance(change.before, str)
        and isinstance(change.after, str)
        and max(len(change.before), len(change.after)) > 160
    ):
        before, after = change.before.count("\n") + 1, change.after.count("\n") + 1
        return f"{label}: text changed ({before} → {after} lines)"
    return f"{label}: {name(change.before)} → {name(change.after)}"


def _column(change: FieldChange) -> str:
    noun, item = ("column" if change.path[0] == "columns" else "metric"), change.path[1]
    if item == "(order)":
        return f"{noun}s: order changed"
    if len(change.path) == 2:
        if change.operator == "~":
            return f"{noun} “{item}” changed"
        if change.operator == "-":
            return f"{noun} “{item}” removed"
        expression = change.after.get("expression") if isinstance(change.after, Mapping) else None
        return f"{noun} “{item}” added" + (f": {shown(expression)}" if expression else "")
    return f"{noun} “{item}”, " + _simple(_label(change.path[2]) + _rest(change.path[3:]), change, shown)


_NODES = {
    "CHART": "chart",
    "MARKDOWN": "text",
    "ROW": "row",
    "COLUMN": "column",
    "TAB": "tab",
    "TABS": "tabs",
    "HEADER": "header",
    "DIVIDER": "divider",
}


def _layout(change: FieldChange, name: Names) -> str:
    path = change.path
    if len(path) == 1:
        return "layout changed"
    node = path[1]
    if len(path) == 2:
        value = change.after if change.after is not None else change.before
        meta = value.get("meta") if isinstance(value, Mapping) else None
        what = _NODES.get(str(value.get("type")), "part") if isinstance(value, Mapping) else "part"
        title = (
            (meta or {}).get("sliceNameOverride")
            or (meta or {}).get("sliceName")
            or (meta or {}).get("text")
            or ""
        )
        verb = {"+": "added", "-": "removed", "~": "changed"}[change.operator]
        return f"layout: {what}{f' “{title}”' if title else ''} {verb}"
    field = path[2] if path[2] != "meta" or len(path) == 3 else path[3]
    if field in ("children", "parents"):
        return f"layout: {node} moved or rearranged"
    if field in ("width", "height"):
        return f"layout: {node} {field} {shown(change.before)} → {shown(change.after)}"
    if field == "uuid":
        return f"layout: {node} shows {name(change.after)} instead of {name(change.before)}"
    if field == "code":
        return f"layout: text of {node} changed"
    if field in ("sliceName", "sliceNameOverride"):
        return f"layout: heading {name(change.before)} → {name(change.after)}"
    return "layout: " + _simple(f"{node} {field}", change, name)


def _metadata(change: FieldChange, name: Names) -> str:
    path = change.path
    group = path[1]
    if group == "native_filter_configuration" and len(path) > 2:
        value = change.after if change.after is not None else change.before
        if path[2] == "(order)":
            return "filters: order changed"
        if len(path) == 3:
            title = value.get("name") if isinstance(value, Mapping) else path[2]
            return f"filter “{title}” {({'+': 'added', '-': 'removed', '~': 'changed'})[change.operator]}"
        if path[-1] == "excluded":
            return f"filter {path[2]}: which charts it applies to changed"
        return _simple(f"filter {path[2]}{_rest(path[3:])}", change, name)
    if group == "label_colors" and len(path) > 2:
        return _simple(f"colour of “{path[2]}”", change, name)
    if group == "chart_configuration" and len(path) > 2:
        return f"cross-filter scope of {name(path[2])} changed"
    if group == "global_chart_configuration":
        return "cross-filter scope of the dashboard changed"
    return _simple(_label(group) + _rest(path[2:]), change, name)
