"""Bringing a source's documents into the target's terms."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from environments.canonical.documents import Document, Documents, Kind
from environments.canonical.references import with_uuids
from environments.canonical.rendering import importable
from environments.canonical.texts import hide_tokens, show_tokens
from environments.canonical.trees import map_texts


@dataclass(frozen=True)
class DatabaseTarget:
    """Where the datasets of one source database go.

    `catalogs` and `schemas` map names of the source (None stands for "not set") to names of the target. A name
    that is not mapped: a schema stays as it is; a catalog becomes `default_catalog` when the target's engine
    has catalogs, because a source's catalog on another connection silently reads the source's data (PostgreSQL,
    BigQuery, Snowflake, Trino …).
    """

    uuid: str
    has_catalogs: bool = False
    default_catalog: str | None = None
    catalogs: Mapping[str | None, str | None] = field(default_factory=dict)
    schemas: Mapping[str | None, str | None] = field(default_factory=dict)

    def catalog(self, name: str | None) -> str | None:
        if name in self.catalogs:
            return self.catalogs[name]
        return self.default_catalog if self.has_catalogs else name

    def schema(self, name: str | None) -> str | None:
        return self.schemas.get(name, name)


@dataclass(frozen=True)
class Substitution:
    """A replacement in SQL: of datasets, their columns and metrics, and of free SQL in charts.

    Plain text is replaced where it stands as a whole word (`dev` is not replaced in `device`); a pattern
    is a regular expression.
    """

    find: str
    replace: str
    is_pattern: bool = False

    def apply(self, sql: str) -> str:
        if self.is_pattern:
            return re.sub(self.find, self.replace, sql)
        # Word borders only where the text itself begins or ends with a word's character.
        before = r"(?<!\w)" if re.match(r"\w", self.find) else ""
        after = r"(?!\w)" if re.search(r"\w$", self.find) else ""
        return re.sub(before + re.escape(self.find) + after, lambda _: self.replace, sql)


@dataclass(frozen=True)
class AssetMapping:
    """How one source's terms become one target's.

    `databases` by source uuid; `substitutions` in SQL, in order; `pairs` of assets that are the same under
    different uuids (source's uuid -> target's); `renames`: fields that are another on this target (source's
    uuid -> field -> value). `before`: what becomes of a source's document before all that (`copies`).
    """

    databases: Mapping[str, DatabaseTarget] = field(default_factory=dict)
    substitutions: tuple[Substitution, ...] = ()
    pairs: Mapping[str, str] = field(default_factory=dict)
    renames: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    before: Callable[[Document], Document] | None = None

    def unmapped(self, documents: Iterable[Document]) -> tuple[str, ...]:
        """The source databases that datasets among the documents need and that have no target."""
        needed = {
            str(item.body["database_uuid"])
            for item in documents
            if item.kind == Kind.DATASET and item.body.get("database_uuid")
        }
        return tuple(sorted(needed - set(self.databases)))


def in_target_terms(document: Document, mapping: AssetMapping) -> Document:
    """What the target should hold for a source's document: its own connection, catalog, schema and uuids;
    what no import keeps is gone.
    """
    if mapping.before is not None:
        document = mapping.before(document)
    if document.kind == Kind.DATASET:
        document = _placed(document, mapping)
    document = with_substitutions(document, mapping.substitutions)
    if document.uuid in mapping.renames:
        document = document.replace(**mapping.renames[document.uuid])
    uuids = {**{uuid: target.uuid for uuid, target in mapping.databases.items()}, **mapping.pairs}
    return importable(with_uuids(document, uuids))


def all_in_target_terms(documents: Documents, mapping: AssetMapping) -> dict[str, Document]:
    """Wanted documents by the *source's* uuid. Databases are left out: they are mapped, never written."""
    return {
        uuid: in_target_terms(document, mapping)
        for uuid, document in documents.items()
        if document.kind != Kind.DATABASE
    }


def with_substitutions(document: Document, substitutions: tuple[Substitution, ...]) -> Document:
    """The document with replacements made in its SQL, and nowhere else."""
    if not substitutions:
        return document
    body = document.body
    if document.kind == Kind.DATASET:
        changes: dict[str, Any] = {
            key: _substituted(body.get(key), substitutions) for key in ("sql", "fetch_values_predicate")
        }
        for group in ("columns", "metrics"):
            changes[group] = [
                {**item, "expression": _substituted(item.get("expression"), substitutions)}
                for item in body[group]
            ]
        return document.replace(**changes)
    if document.kind == Kind.CHART:
        return document.replace(
            params=_free_sql(body["params"], substitutions),
            query_context=_free_sql(body.get("query_context"), substitutions),
        )
    if document.kind == Kind.DASHBOARD:  # filters of filters hold SQL as well
        return document.replace(metadata=_free_sql(body["metadata"], substitutions))
    return document


def _placed(document: Document, mapping: AssetMapping) -> Document:
    body = document.body
    target = mapping.databases.get(str(body.get("database_uuid")))
    if target is None:
        return document
    return document.replace(
        catalog=target.catalog(body.get("catalog")), schema=target.schema(body.get("schema"))
    )


def _substituted(sql: Any, substitutions: tuple[Substitution, ...]) -> Any:
    if not isinstance(sql, str):
        return sql
    hidden, tokens = hide_tokens(sql)
    for substitution in substitutions:
        hidden = substitution.apply(hidden)
    return show_tokens(hidden, tokens)


#: Keys under which form data and query contexts hold free SQL (superset-ui: AdhocMetric, AdhocFilter, SQL
#: where and having).
_SQL_KEYS = ("sqlExpression", "where", "having")


def _free_sql(value: Any, substitutions: tuple[Substitution, ...]) -> Any:
    if isinstance(value, Mapping):
        return {
            key: map_texts(item, lambda text: str(_substituted(text, substitutions)))
            if key in _SQL_KEYS and isinstance(item, str)
            else _free_sql(item, substitutions)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_free_sql(item, substitutions) for item in value]
    return value
