"""What a reviewer must see before anything is written: problems, and what an import does not carry."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from environments.canonical.charts import is_chart_annotation, lost_annotations
from environments.canonical.documents import Document, Documents, Kind
from environments.canonical.references import references
from environments.canonical.rules import CONVERTED_VIZ_TYPES
from environments.canonical.trees import texts

if TYPE_CHECKING:
    from .plan import PlanItem


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True)
class Problem:
    """`uuid` is of the asset it is about (as in the plan's items), `remedy` what to do. An error stops an
    apply unless overridden.
    """

    severity: Severity
    code: str
    uuid: str
    text: str
    remedy: str = ""


@dataclass(frozen=True)
class Loss:
    """Something of an asset that no import carries."""

    uuid: str
    code: str
    text: str


@dataclass(frozen=True)
class DatabaseFacts:
    """What the target's warehouse says: `error` if it could not be asked. `tables` by schema (None: the default
    one): names of tables and views, or None where the schema could not be read. `columns` by (schema, table):
    names, or None if the table is missing."""

    uuid: str
    name: str
    error: str = ""
    tables: Mapping[str | None, frozenset[str] | None] = None  # type: ignore[assignment]
    columns: Mapping[tuple[str | None, str], frozenset[str] | None] = None  # type: ignore[assignment]


def document_problems(items: Iterable[PlanItem], target: Documents) -> Iterator[Problem]:
    """Problems that the documents alone show."""
    for item in items:
        wanted = item.wanted
        if wanted is None:
            continue
        if wanted.kind == Kind.CHART and (
            successor := CONVERTED_VIZ_TYPES.get(str(wanted.body.get("viz_type")))
        ):
            yield Problem(
                Severity.WARNING,
                "viz_type_converted",
                item.uuid,
                f"“{item.title}” has the obsolete chart type {wanted.body['viz_type']}; Superset "
                f"turns it into {successor} when it is imported.",
                "Expect it to differ from the source afterwards, or save it with the new type on the source first.",
            )


def warehouse_problems(items: Iterable[PlanItem], facts: Mapping[str, DatabaseFacts]) -> Iterator[Problem]:
    """What the target's warehouses say about the datasets of a plan. `facts` by the target's database uuid."""
    items = list(items)
    told: set[str] = set()
    users: dict[str, list[PlanItem]] = {}
    for item in items:
        if item.kind == Kind.CHART and item.wanted is not None:
            users.setdefault(str(item.wanted.body.get("dataset_uuid")), []).append(item)
    for item in items:
        if item.kind != Kind.DATASET or item.wanted is None or not item.action.writes:
            continue
        body = item.wanted.body
        fact = facts.get(str(body.get("database_uuid")))
        if fact is None:
            continue
        if fact.error:
            if fact.uuid not in told:
                told.add(fact.uuid)
                yield Problem(
                    Severity.ERROR,
                    "connection_failed",
                    item.uuid,
                    f"The target's connection “{fact.name}” does not answer: {fact.error}",
                    "Repair the connection in Superset, or the schema that is mapped, then plan again.",
                )
            continue
        if body.get("sql"):
            continue
        yield from _table_problems(item, body, fact, users.get(item.target_uuid, []))


def _table_problems(
    item: PlanItem, body: Mapping[str, Any], fact: DatabaseFacts, users: list[PlanItem]
) -> Iterator[Problem]:
    schema, table = body.get("schema") or None, str(body["table_name"])
    columns = (fact.columns or {}).get((schema, table), frozenset())
    name = ".".join(part for part in (schema, table) if part)
    tables = (fact.tables or {}).get(schema)
    if columns is None or (tables is not None and table not in tables and not columns):
        yield Problem(
            Severity.ERROR,
            "table_missing",
            item.uuid,
            f"The table {name} does not exist on “{fact.name}”.",
            "Create it on the target, or map the schema or database to where it is.",
        )
        return
    if not columns:
        return
    missing = sorted(
        str(column["column_name"])
        for column in body["columns"]
        if not column.get("expression") and str(column["column_name"]) not in columns
    )
    for column in missing:
        needing = [user for user in users if _uses(user, column, body)]
        if needing:
            charts = ", ".join(f"“{user.title}”" for user in needing[:3]) + (
                " and others" if len(needing) > 3 else ""
            )
            yield Problem(
                Severity.ERROR,
                "column_missing",
                needing[0].uuid,
                f"The column {column} does not exist in {name} on “{fact.name}”; needed by {charts}.",
                "Add the column on the target, or leave the chart out.",
            )
        else:
            yield Problem(
                Severity.WARNING,
                "column_missing_unused",
                item.uuid,
                f"The column {column} does not exist in {name} on “{fact.name}”; no chart of this plan uses it.",
                "",
            )


def _uses(chart: PlanItem, column: str, dataset: Mapping[str, Any]) -> bool:
    """Whether a chart names a column, itself or through a metric or a calculated column of the dataset. Names
    are compared whole; an expression counts when the name stands in it as a word."""
    assert chart.wanted is not None
    words = set(texts(chart.wanted.body["params"]))
    if column in words:
        return True
    used_expressions = [
        str(entry.get("expression") or "")
        for entry in [*dataset["metrics"], *dataset["columns"]]
        if entry.get("expression")
        and (entry.get("metric_name") in words or entry.get("column_name") in words)
    ]
    free_sql = [text for text in words if " " in text or "(" in text]
    return any(_has_word(expression, column) for expression in [*used_expressions, *free_sql])


def _has_word(sql: str, word: str) -> bool:
    import re

    return re.search(rf"(?<![\w]){re.escape(word)}(?![\w])", sql) is not None


def asset_losses(
    source: Document,
    present: Document | None,
    unknown_fields: Mapping[Kind, Mapping[str, str]],
    version: str = "",
) -> Iterator[Loss]:
    """What an import of this asset will not bring over."""
    if source.kind == Kind.CHART:
        for layer in lost_annotations(source.body["params"]):
            what = "chart" if is_chart_annotation(layer) else "annotation layer"
            yield Loss(
                source.uuid,
                "annotation_layer",
                f"“{source.title}”: the annotation “{layer.get('name')}” reads a {what}; imports keep formulas only.",
            )
        if present is not None:
            for layer in lost_annotations(present.body["params"]):
                yield Loss(
                    source.uuid,
                    "annotation_layer_target",
                    f"“{source.title}”: the target's annotation “{layer.get('name')}” will be deleted by the import.",
                )
    if source.kind == Kind.DASHBOARD and source.body.get("theme_uuid"):
        yield Loss(
            source.uuid,
            "theme",
            f"“{source.title}”: its theme is not carried; the target's assignment stays.",
        )
    if present is not None and present.kind == Kind.CHART:
        old = str(present.body.get("viz_type"))
        if successor := CONVERTED_VIZ_TYPES.get(old):
            yield Loss(
                source.uuid,
                "viz_type_target",
                f"“{present.title}”: the target's own has the obsolete chart type {old}; rolling back would bring it "
                f"back as {successor}.",
            )
    for name, meaning in sorted(unknown_fields.get(source.kind, {}).items()):
        if name != "theme_uuid" and _says(source, name):
            group, _, column = name.partition(".")
            field = f"“{column}” of its {group}" if column else f"“{group}”"
            yield Loss(
                source.uuid,
                "unknown_field",
                f"“{source.title}”: {field} is unknown to {f'Superset {version}' if version else 'the target'}: "
                f"{meaning}.",
            )


def _says(document: Document, name: str) -> bool:
    """Whether a field has something in it: `columns.x` in any of the columns, `metadata.x` in that mapping."""
    group, _, inner = name.partition(".")
    value = document.body.get(group)
    if not inner:
        return value not in (None, "", [], {})
    entries = [value] if isinstance(value, Mapping) else value or ()
    return any(entry.get(inner) not in (None, "", [], {}) for entry in entries)


def needed_tables(items: Iterable[PlanItem]) -> dict[str, dict[str | None, set[str]]]:
    """The physical tables that datasets to be written read: target's database uuid -> schema -> table names."""
    needed: dict[str, dict[str | None, set[str]]] = {}
    for item in items:
        if (
            item.kind == Kind.DATASET
            and item.wanted is not None
            and item.action.writes
            and not item.wanted.body.get("sql")
        ):
            body = item.wanted.body
            needed.setdefault(str(body["database_uuid"]), {}).setdefault(
                body.get("schema") or None, set()
            ).add(str(body["table_name"]))
    return needed


def reference_names(document: Document) -> set[str]:
    return {reference.uuid for reference in references(document)}
