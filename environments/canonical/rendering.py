"""From canonical documents to what the import of one target takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .charts import render_chart, without_lost_annotations
from .context import RenderContext
from .dashboards import render_dashboard
from .datasets import render_dataset
from .documents import Document, Kind
from .ids import IdTable

#: Value of `version` in every file (superset/commands/importers/v1/utils.py: IMPORT_VERSION).
FORMAT_VERSION = "1.0.0"


@dataclass(frozen=True)
class Dialect:
    """What the import of one Superset version takes. Unknown keys fail the whole import there (marshmallow RAISE)."""

    #: Fields to leave out, by kind; `columns.x` and `metrics.x` name fields of a dataset's columns and metrics.
    unknown_fields: Mapping[Kind, frozenset[str]] = field(default_factory=dict)
    #: Up to 5.0 a metric's currency is a text.
    currency_as_text: bool = False


@dataclass(frozen=True)
class Rendered:
    """One asset as an import takes it, and the references it could not write because the target has no id
    for them yet; also those of them that stand in a text, which no importer fills in.
    """

    kind: Kind
    uuid: str
    data: Mapping[str, Any]
    missing: frozenset[tuple[Kind, str]]
    missing_in_texts: frozenset[tuple[Kind, str]] = frozenset()


def render(
    documents: Iterable[Document], ids: IdTable, base_url: str = "", dialect: Dialect | None = None
) -> list[Rendered]:
    """Render documents for the environment whose ids and address are given, in dependency order. Databases
    are never rendered.
    """
    dialect = dialect or Dialect()
    rendered: list[Rendered] = []
    for document in sorted(documents, key=lambda item: (list(Kind).index(item.kind), item.uuid)):
        if document.kind == Kind.DATABASE:
            continue
        context = RenderContext(ids, base_url.rstrip("/"))
        data = _render(document, context, dialect)
        missing, in_texts = frozenset(context.missing), frozenset(context.missing_in_texts)
        rendered.append(Rendered(document.kind, document.uuid, data, missing, in_texts))
    return rendered


def importable(document: Document) -> Document:
    """The document as it can be after an import at best: annotation layers other than formulas are deleted
    by every import.
    """
    return (
        document.replace(**without_lost_annotations(document.body))
        if document.kind == Kind.CHART
        else document
    )


def _render(document: Document, context: RenderContext, dialect: Dialect) -> dict[str, Any]:
    if document.kind == Kind.DASHBOARD:
        data = render_dashboard(document.body, context)
    elif document.kind == Kind.CHART:
        data = render_chart(document.body, context)
    else:
        data = render_dataset(document.body, context)
    unknown = dialect.unknown_fields.get(document.kind, frozenset())
    data = {key: value for key, value in data.items() if key not in unknown}
    if document.kind == Kind.DATASET:
        for group in ("columns", "metrics"):
            data[group] = [
                {key: value for key, value in item.items() if f"{group}.{key}" not in unknown}
                for item in data[group]
            ]
        if dialect.currency_as_text:
            data["metrics"] = [_currency_as_text(metric) for metric in data["metrics"]]
    return {**data, "uuid": document.uuid, "version": FORMAT_VERSION}


def _currency_as_text(metric: dict[str, Any]) -> dict[str, Any]:
    import json

    currency = metric.get("currency")
    return {**metric, "currency": json.dumps(currency)} if isinstance(currency, dict) else metric


#: What a new column or metric has as NULL when its file does not say it (superset/connectors/sqla/models.py, columns
#: without a default; datasets/schemas.py, all optional; 6.0 and 6.1).
_NULL_IN_NEW_ROWS = frozenset(
    {
        "verbose_name",
        "description",
        "extra",
        "type",
        "advanced_data_type",
        "expression",
        "python_date_format",
        "datetime_format",
        "metric_type",
        "d3format",
        "currency",
        "warning_text",
    }
)


def of_new_dataset(data: Mapping[str, Any]) -> dict[str, Any]:
    """A dataset's file for a target that does not have it: what is empty is not said.

    Superset reads files with PyYAML's slow parser, and half of what it reads of a dataset says `null`. Only for new
    ones: an import leaves what is there as it is where the file says nothing.
    """
    return {
        key: [_without_empty(row) for row in value] if key in ("columns", "metrics") else value
        for key, value in data.items()
    }


def _without_empty(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if value is not None or key not in _NULL_IN_NEW_ROWS}
