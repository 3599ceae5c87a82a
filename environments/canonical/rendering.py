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
    for them yet.
    """

    kind: Kind
    uuid: str
    data: Mapping[str, Any]
    missing: frozenset[tuple[Kind, str]]


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
        rendered.append(Rendered(document.kind, document.uuid, data, frozenset(context.missing)))
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
