"""Who uses a column or metric of a dataset: what would break if it went.

Superset keeps columns by their names. A name that stands alone where a column or metric goes is *certain*; a name
within SQL or Jinja is a *maybe*, because the text is not parsed: it may be a word in a comment, or another table's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from environments.canonical.documents import Document, Kind
from environments.canonical.trees import as_list, as_mapping

from .sentences import field_label

#: Parts of a chart's form whose texts are never names of columns (superset-ui: QueryFormData and controls of the
#: charts that Superset brings, read at 6.1.0). What is not known is looked at: better a use too many than one missed.
_NO_COLUMNS = frozenset(
    {
        "viz_type",
        "datasource",
        "color_scheme",
        "linear_color_scheme",
        "label_colors",
        "color_picker",
        "time_range",
        "time_grain_sqla",
        "row_limit",
        "limit",
        "url_params",
        "queryFields",
        "extra_form_data",
        "dashboards",
        "label",
        "optionName",
        "clause",
        "operator",
        "operatorId",
        "aggregate",
        "comparator",
        "expressionType",
        "filterOptionName",
        "type",
        "type_generic",
        "verbose_name",
        "description",
        "annotation_layers",
    }
)


@dataclass(frozen=True, order=True)
class ColumnUse:
    """One place where a column is used. `where`: for people ("dimensions", "filter “Region”"). `certain`: see above."""

    where: str
    certain: bool

    def to_json(self) -> dict[str, Any]:
        return {"where": self.where, "certain": self.certain}


def column_names(dataset: Document) -> list[str]:
    """Names of its columns and metrics, columns first, without doubles."""
    body = dataset.body
    names = [entry.get("column_name") for entry in as_list(body.get("columns")) if isinstance(entry, Mapping)]
    names += [
        entry.get("metric_name") for entry in as_list(body.get("metrics")) if isinstance(entry, Mapping)
    ]
    return list(dict.fromkeys(str(name) for name in names if name))


def uses_in_chart(chart: Document, column: str, dataset: Document | None) -> tuple[ColumnUse, ...]:
    """Where a chart of `dataset` uses `column`: itself, or through a metric or calculated column of the dataset."""
    found: set[ColumnUse] = set()
    derived = set(_derived_names(dataset, column)) if dataset is not None else set()
    params = as_mapping(chart.body.get("params"))
    parts = list(_named_texts(params))
    if not parts:  # saved by a program: the query alone says what is asked
        parts = list(_named_texts({"query": as_mapping(chart.body.get("query_context")).get("queries")}))
    for where, text in parts:
        if text == column:
            found.add(ColumnUse(where, True))
        elif text in derived:
            found.add(ColumnUse(f"{where}, through “{text}”", False))
        elif _is_sql(text) and has_word(text, column):
            found.add(ColumnUse(f"SQL in {where}", False))
    return tuple(sorted(found, key=lambda use: (not use.certain, use.where)))


def uses_in_dataset(dataset: Document, column: str) -> tuple[ColumnUse, ...]:
    """Where the dataset itself uses one of its columns: metrics, calculated columns, its time column, its SQL."""
    body = dataset.body
    found = [
        ColumnUse(f"{noun} “{name}”", False)
        for noun, name, expression in _expressions(dataset)
        if name != column and has_word(expression, column)
    ]
    if body.get("main_dttm_col") == column:
        found.append(ColumnUse("time column", True))
    if has_word(str(body.get("fetch_values_predicate") or ""), column):
        found.append(ColumnUse("filter value predicate", False))
    if has_word(str(body.get("sql") or ""), column):
        found.append(ColumnUse("its SQL", False))
    return tuple(found)


def uses_in_dashboard(dashboard: Document, column: str, dataset_uuid: str) -> tuple[ColumnUse, ...]:
    """Filters and display controls of a dashboard that take their values from this column."""
    metadata = as_mapping(dashboard.body.get("metadata"))
    found = []
    for part in ("native_filter_configuration", "chart_customization_config"):
        for item in as_list(metadata.get(part)):
            for target in as_list(as_mapping(item).get("targets")):
                target = as_mapping(target)
                if target.get("datasetUuid") == dataset_uuid and _target_column(target) == column:
                    name = as_mapping(item).get("name") or as_mapping(item).get("id") or ""
                    found.append(ColumnUse(f"filter “{name}”", True))
    return tuple(dict.fromkeys(found))


def uses_in_sql_of(other: Document, column: str, table: str) -> tuple[ColumnUse, ...]:
    """A virtual dataset whose SQL names both the table and the column. Always a maybe."""
    sql = str(other.body.get("sql") or "") if other.kind == Kind.DATASET else ""
    if sql and table and has_word(sql, table) and has_word(sql, column):
        return (ColumnUse("its SQL", False),)
    return ()


def has_word(text: str, word: str) -> bool:
    """Whether `word` stands in a text by itself, in any case: SQL folds the case of names that are not quoted."""
    if not word or word.lower() not in text.lower():
        return False
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE) is not None


def _target_column(target: Mapping[str, Any]) -> Any:
    column = target.get("column")
    return column.get("name") if isinstance(column, Mapping) else column


def _expressions(dataset: Document) -> Iterator[tuple[str, str, str]]:
    """(noun, name, SQL) of metrics and calculated columns."""
    for noun, part, key in (("metric", "metrics", "metric_name"), ("column", "columns", "column_name")):
        for entry in as_list(dataset.body.get(part)):
            entry = as_mapping(entry)
            if entry.get("expression"):
                yield noun, str(entry.get(key) or ""), str(entry["expression"])


def _derived_names(dataset: Document, column: str) -> Iterator[str]:
    for _, name, expression in _expressions(dataset):
        if name != column and has_word(expression, column):
            yield name


def _named_texts(form: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(label of the part of the form, text) of all texts that may name a column."""
    for key, value in form.items():
        if key in _NO_COLUMNS:
            continue
        where = "filters" if key == "adhoc_filters" else field_label(key)
        for text in _texts(value):
            yield where, text


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if key not in _NO_COLUMNS:
                yield from _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)


def _is_sql(text: str) -> bool:
    return any(mark in text for mark in (" ", "(", "{{", "{%", "=", "."))
