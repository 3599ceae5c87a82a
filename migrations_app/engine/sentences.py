"""One sentence for each change, as an analyst would say it."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from environments.canonical.damage import MARK, MEANINGS
from environments.canonical.documents import Document, Documents, Kind
from environments.canonical.texts import named_text
from environments.canonical.trees import as_list, as_mapping

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
    "groupbyColumns": "columns",
    "groupbyRows": "rows",
    "all_columns": "columns",
    "all_columns_x": "column for x",
    "order_by_cols": "ordering",
    "order_desc": "descending",
    "percent_metrics": "percentage metrics",
    "timeseries_limit_metric": "sort by",
    "series_limit": "series limit",
    "limit": "series limit",
    "row_limit": "row limit",
    "x_axis": "x axis",
    "y_axis_format": "number format",
    "number_format": "number format",
    "time_range": "time range",
    "time_grain_sqla": "time grain",
    "granularity_sqla": "time column",
    "include_search": "search box",
    "show_cell_bars": "cell bars",
    "color_pn": "colours for + and −",
    "table_timestamp_format": "time format",
    "url_params": "address parameters",
    "annotation_layers": "annotations",
    "deck_slices": "layers",
    "d3format": "number format",
    "verbose_name": "label",
    "is_dttm": "is a time column",
    "is_active": "active",
    "cross_filters_enabled": "cross-filters",
    "theme_uuid": "theme",
    "expanded_slices": "charts with their description open",
    "timed_refresh_immune_slices": "charts left out of the timed refresh",
    "native_filter_configuration": "filters",
    "chart_customization_config": "display controls",
    "targets": "takes its values from",
    "multiSelect": "several values",
    "enableEmptyFilter": "a value is required",
    "defaultDataMask": "default value",
    "cascadeParentIds": "depends on",
    "filterType": "kind",
}

#: An analyst does not know these by their names in the code.
_WORDS = {"BACKGROUND_TRANSPARENT": "transparent", "BACKGROUND_WHITE": "white", "GRID_ID": "grid"}


def sentence(
    kind: Kind, change: FieldChange, documents: Documents, sides: Sequence[Document | None] = ()
) -> str:
    """A change in words. `documents` give names to the uuids that a change speaks of, `sides` (the asset
    after and before) to parts of a layout and to filters; what has no name is shown as it is.
    """
    path = change.path
    name = Names(documents)
    parts = Parts(sides, name)
    if kind == Kind.DASHBOARD and path[0] == MARK:
        return _mends(change)
    if kind == Kind.DASHBOARD and path[0] == "position":
        return _layout(change, name, parts)
    if kind == Kind.DASHBOARD and path[0] == "metadata" and len(path) > 1:
        return _metadata(change, name, parts)
    if kind == Kind.DATASET and path[0] in ("columns", "metrics") and len(path) > 1:
        return _column(change, name)
    if kind == Kind.CHART and path[0] == "params" and len(path) > 1:
        if len(path) > 2 and path[1] in ("adhoc_filters", "annotation_layers"):
            return _entry(change, parts)
        return _simple(field_label(path[1]) + _rest(path[2:]), change, name)
    return _simple(field_label(path[0]) + _rest(path[1:]), change, name)


def _mends(change: FieldChange) -> str:
    """Damage that goes: how often which."""
    left = set(as_list(change.after))
    gone = Counter(str(mark).split(" ")[0] for mark in as_list(change.before) if mark not in left)
    said = "; ".join(
        MEANINGS.get(code, code) + (f" ({number} times)" if number > 1 else "")
        for code, number in sorted(gone.items())
    )
    return f"Mends damage: {said}"


class Names:
    """Names for uuids, wherever they stand in a value."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    def __call__(self, value: Any) -> str:
        return shown(self._named(value))

    def title(self, uuid: object) -> str:
        return self._documents[uuid].title if isinstance(uuid, str) and uuid in self._documents else ""

    def _named(self, value: Any) -> Any:
        if isinstance(value, str):
            if title := self.title(value):
                return f"“{title}”"
            return named_text(value, lambda uuid: f"“{self.title(uuid) or uuid}”")
        if isinstance(value, Mapping):
            if (
                value
                and all(self.title(key) for key in value)
                and all(item is True for item in value.values())
            ):
                return [self._named(key) for key in value]
            return {str(self._named(key)): self._named(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._named(item) for item in value]
        return value


class Parts:
    """Names for parts of an asset that have only ids: nodes of a layout, filters, entries of lists."""

    def __init__(self, sides: Sequence[Document | None], name: Names) -> None:
        self._bodies = [side.body for side in sides if side is not None]
        self._name = name

    def node(self, node_id: str) -> str:
        for body in self._bodies:
            if isinstance(node := as_mapping(body.get("position")).get(node_id), Mapping):
                return _node(node, self._name)
        return node_id

    def filter(self, group: str, key: str) -> str:
        for body in self._bodies:
            for item in as_list(as_mapping(body.get("metadata")).get(group)):
                if isinstance(item, Mapping) and item.get("id") == key and item.get("name"):
                    return f"“{item['name']}”"
        return key

    def entries(self, group: str) -> list[list[Any]]:
        """A list of the form data on both sides: after, before."""
        return [as_list(as_mapping(body.get("params")).get(group)) for body in self._bodies]


def _node(node: Mapping[str, Any], name: Names) -> str:
    meta = as_mapping(node.get("meta"))
    noun = _NODES.get(str(node.get("type")), "part")
    title = (
        meta.get("sliceNameOverride")
        or meta.get("sliceName")
        or name.title(meta.get("uuid"))
        or meta.get("text")
    )
    if not title and node.get("type") == "MARKDOWN":
        title = shown(re.sub(r"<[^>]*>", " ", str(meta.get("code") or "")).strip("# \n"), 30)
        title = "" if title == "empty" else title
    return f"{noun} “{title}”" if title else f"a {noun}"


def _entry(change: FieldChange, parts: Parts) -> str:
    """One of several filters or annotations, whole: who reads “comparator” wants to know of which."""
    group, key = change.path[1], change.path[2]
    noun = {"adhoc_filters": "filter", "annotation_layers": "annotation"}[group]
    found = [_entry_of(entries, key) for entries in parts.entries(group)]
    if len(found) == 2 and None not in found and shown(found[0]) != shown(found[1]):
        return f"{noun}: {shown(found[1])} → {shown(found[0])}"
    label = shown(found[0]) if found and found[0] is not None else key
    return _simple(f"{noun} “{label}”" + _rest(change.path[3:]), change, shown)


def _entry_of(entries: list[Any], key: str) -> Any:
    for index, entry in enumerate(entries, start=1):
        names = [entry.get(name) for name in ("optionName", "name")] if isinstance(entry, Mapping) else []
        if key in names or key == str(index):
            return entry
    return None


def shown(value: Any, limit: int = 80) -> str:
    """A value as people read it: texts in quotes, metrics and filters by their label, long ones cut."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "on" if value else "off"
    if value == "":
        return "empty"
    if isinstance(value, str):
        text = _WORDS.get(value, value)
    elif isinstance(value, Mapping):
        text = _object(value) if value else "none"
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
    if "datasetUuid" in value:  # what a filter takes its values from
        column = as_mapping(value.get("column")).get("name")
        return f"{column} of {value['datasetUuid']}" if column else str(value["datasetUuid"])
    for key in ("label", "name", "column_name", "metric_name"):
        if isinstance(value.get(key), str):
            return str(value[key])
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def field_label(key: str) -> str:
    """The name of a field of an asset in words: "adhoc_filters" is "filters"."""
    if key in _LABELS:
        return _LABELS[key]
    if not key[:1].islower():
        return key
    return re.sub(r"(?<=[a-z])([A-Z])(?=[a-z])", lambda match: f" {match[1].lower()}", key).replace("_", " ")


def _rest(path: tuple[str, ...]) -> str:
    return "".join(f" › {'order' if part == '(order)' else field_label(part)}" for part in path)


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


def _column(change: FieldChange, name: Names) -> str:
    noun, item = ("column" if change.path[0] == "columns" else "metric"), change.path[1]
    if item == "(order)":
        return f"{noun}s: order changed"
    if len(change.path) == 2:
        if change.operator == "~":
            return f"{noun} “{item}” changed"
        if change.operator == "-":
            return f"{noun} “{item}” removed"
        expression = change.after.get("expression") if isinstance(change.after, Mapping) else None
        return f"{noun} “{item}” added" + (f": {name(expression)}" if expression else "")
    return f"{noun} “{item}”, " + _simple(field_label(change.path[2]) + _rest(change.path[3:]), change, name)


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


def _layout(change: FieldChange, name: Names, parts: Parts) -> str:
    path = change.path
    if len(path) == 1:
        return "layout changed"
    if len(path) == 2:
        value = change.after if change.after is not None else change.before
        what = _node(value, name) if isinstance(value, Mapping) else f"part {path[1]}"
        return f"layout: {what.removeprefix('a ')} {_verb(change)}"
    node = parts.node(path[1])
    field = path[2] if path[2] != "meta" or len(path) == 3 else path[3]
    if field in ("children", "parents"):
        return f"layout: {node} moved or rearranged"
    if field == "uuid":
        return f"layout: {node} shows {name(change.after)} instead of {name(change.before)}"
    if field == "code":
        return f"layout: {node} changed"
    if field in ("sliceName", "sliceNameOverride", "text"):
        if change.before is None:
            return f"layout: heading set to {name(change.after)}"
        return f"layout: heading {name(change.before)} → {name(change.after)}"
    return "layout: " + _simple(f"{node}, {field_label(field)}", change, name)


def _verb(change: FieldChange) -> str:
    return {"+": "added", "-": "removed", "~": "changed"}[change.operator]


def _metadata(change: FieldChange, name: Names, parts: Parts) -> str:
    path = change.path
    group = path[1]
    if group in ("native_filter_configuration", "chart_customization_config"):
        return _filter(change, name, parts)
    if group == "label_colors" and len(path) > 2:
        return _simple(f"colour of “{path[2]}”", change, name)
    if group == "chart_configuration" and len(path) > 2:
        return f"cross-filter scope of {name(path[2])} changed"
    if group in ("global_chart_configuration", "chart_configuration"):
        return "cross-filter scope of the dashboard changed"
    if group == "expanded_slices" and len(path) > 2:
        state = "open" if change.after is True else "closed"
        return f"description of {name(path[2])}: {state}"
    return _simple(field_label(group) + _rest(path[2:]), change, name)


def _filter(change: FieldChange, name: Names, parts: Parts) -> str:
    group, path = change.path[1], change.path
    noun = "filter" if group == "native_filter_configuration" else "display control"
    if len(path) == 2:
        items = [item for value in (change.before, change.after) for item in as_list(value)]
        names = ", ".join(f"“{as_mapping(item).get('name') or as_mapping(item).get('id')}”" for item in items)
        return f"{noun}s {_verb(change)}: {shown(names)}"
    if path[2] == "(order)":
        return f"{noun}s: order changed"
    if len(path) == 3:
        value = change.after if change.after is not None else change.before
        return f"{noun} “{as_mapping(value).get('name') or path[2]}” {_verb(change)}"
    title = f"{noun} {parts.filter(group, path[2])}"
    if path[3] == "scope":
        return f"{title}: which charts it applies to changed"
    if path[3] == "defaultDataMask":
        return f"{title}: default value changed"
    if path[3] == "controlValues" and len(path) > 4:
        return _simple(f"{title}, {field_label(path[4])}{_rest(path[5:])}", change, name)
    return _simple(f"{title}, {field_label(path[3])}{_rest(path[4:])}", change, name)
