"""Where the texts of an asset are, field by field, and the asset with these changed. Pure.

What names something else is never touched: names of columns and metrics, labels of metrics in charts (settings go by
them), tables and schemas, slugs, uuids, connections.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from environments.canonical.documents import Document, Documents, Kind
from environments.canonical.references import closure
from environments.canonical.trees import as_list, as_mapping, map_texts

from .terms import Field, Terms

Change = Callable[[Field, str], str]

_JINJA_BLOCK = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
#: Under which free SQL of form data and query contexts is no metric (superset-ui: AdhocColumn, AdhocFilter, extras).
_NO_METRIC = frozenset(
    {
        "columns",
        "all_columns",
        "groupby",
        "groupbyColumns",
        "groupbyRows",
        "x_axis",
        "series",
        "series_columns",
        "entity",
        "adhoc_filters",
        "adhoc_filters_b",
        "filters",
        "where",
        "having",
    }
)
#: Titles in a chart's form data (superset-ui: axes, Big Number).
_CHART_TITLES = ("x_axis_title", "y_axis_title", "yAxisTitle", "subheader", "subtitle", "metric_name_label")
_CERTIFIED = ("certified_by", "certification_details")


def in_scope(terms: Terms, documents: Documents) -> dict[str, Document]:
    """Those in which something may be replaced."""
    chosen: Collection[str] = closure(terms.selection, documents) if terms.selection else documents
    title = terms.title.casefold()

    def is_meant(document: Document) -> bool:
        if document.kind not in terms.kinds or title not in document.title.casefold():
            return False
        if not terms.database:
            return True
        if document.kind == Kind.CHART:
            dataset = documents.get(str(document.body.get("dataset_uuid")))
        else:
            dataset = document if document.kind == Kind.DATASET else None
        return dataset is not None and dataset.body.get("database_uuid") == terms.database

    return {uuid: documents[uuid] for uuid in chosen if is_meant(documents[uuid])}


def changed(document: Document, fields: Collection[Field], change: Change) -> Document:
    """The document with the texts of these fields changed; the same object where nothing is."""
    walker = _Walker(frozenset(fields), change)
    body = dict(document.body)
    if document.kind == Kind.DATASET:
        walker.dataset(body)
    elif document.kind == Kind.CHART:
        walker.chart(body)
    elif document.kind == Kind.DASHBOARD:
        walker.dashboard(body)
    return Document(document.kind, document.uuid, body) if body != document.body else document


class _Walker:
    def __init__(self, fields: frozenset[Field], change: Change) -> None:
        self.fields, self.change = fields, change

    # -- one text ----------------------------------------------------------------------------------------------

    def text(self, field: Field, value: Any) -> Any:
        return self.change(field, value) if field in self.fields and isinstance(value, str) else value

    def sql(self, field: Field, value: Any) -> Any:
        """SQL of that field; of Jinja alone, what stands in its blocks."""
        if not isinstance(value, str):
            return value
        if field in self.fields:
            return self.change(field, value)
        if Field.JINJA in self.fields:
            return _JINJA_BLOCK.sub(lambda match: self.change(Field.JINJA, match[0]), value)
        return value

    def put(self, body: dict[str, Any], field: Field, keys: Iterable[str]) -> None:
        for key in keys:
            if isinstance(body.get(key), str):
                body[key] = self.text(field, body[key])

    # -- assets --------------------------------------------------------------------------------------------------

    def dataset(self, body: dict[str, Any]) -> None:
        for key in ("sql", "fetch_values_predicate"):
            if key in body:
                body[key] = self.sql(Field.SQL, body[key])
        for group, field in (("columns", Field.SQL), ("metrics", Field.METRICS)):
            entries = []
            for entry in as_list(body.get(group)):
                one = dict(entry)
                if "expression" in one:
                    one["expression"] = self.sql(field, one["expression"])
                self.put(one, Field.TITLES, ("verbose_name",))
                self.put(one, Field.TEXTS, ("description", "warning_text"))
                entries.append(one)
            if group in body:
                body[group] = entries
        self.put(body, Field.TEXTS, ("description",))
        if Field.JINJA in self.fields and body.get("template_params"):
            body["template_params"] = map_texts(
                body["template_params"], lambda text: self.change(Field.JINJA, text)
            )

    def chart(self, body: dict[str, Any]) -> None:
        self.put(body, Field.TITLES, ("slice_name",))
        self.put(body, Field.TEXTS, ("description", *_CERTIFIED))
        body["params"] = self.form_data(body["params"])
        stored = body.get("query_context")
        if isinstance(stored, Mapping):
            stored = dict(stored)
            if isinstance(stored.get("form_data"), Mapping):
                stored["form_data"] = self.form_data(stored["form_data"])
            if isinstance(stored.get("queries"), list):
                stored["queries"] = [self.free(query) for query in stored["queries"]]
            body["query_context"] = stored

    def form_data(self, params: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = self.free(params)
        self.put(found, Field.TITLES, _CHART_TITLES)
        self.put(found, Field.TEXTS, ("handlebarsTemplate",))
        self.put(found, Field.CSS, ("styleTemplate",))
        return found

    def free(self, value: Any, key: str = "") -> Any:
        """Form data or a query with the free SQL in it changed. `key`: the setting that it stands under."""
        if isinstance(value, Mapping):
            is_filter = "clause" in value
            field = Field.SQL if is_filter or key in _NO_METRIC else Field.METRICS
            found = {}
            for name, item in value.items():
                if name == "sqlExpression":
                    found[name] = self.sql(field, item)
                elif name in ("where", "having") and isinstance(item, str):
                    found[name] = self.sql(Field.SQL, item)
                else:
                    found[name] = self.free(item, key if key in _NO_METRIC else name)
            return found
        if isinstance(value, list):
            return [self.free(item, key) for item in value]
        return value

    def dashboard(self, body: dict[str, Any]) -> None:
        self.put(body, Field.TITLES, ("dashboard_title",))
        self.put(body, Field.TEXTS, ("description", *_CERTIFIED))
        self.put(body, Field.CSS, ("css",))
        body["position"] = {key: self.node(node) for key, node in as_mapping(body.get("position")).items()}
        metadata = self.free(body["metadata"])
        if isinstance(metadata.get("native_filter_configuration"), list):
            metadata["native_filter_configuration"] = [
                self.filter(one) for one in metadata["native_filter_configuration"]
            ]
        body["metadata"] = metadata

    def node(self, node: Any) -> Any:
        if not isinstance(node, Mapping) or not isinstance(node.get("meta"), Mapping):
            return node
        meta = dict(node["meta"])
        self.put(meta, Field.TITLES, ("sliceNameOverride", "text"))
        if node.get("type") == "MARKDOWN":
            self.put(meta, Field.TEXTS, ("code",))
        return {**node, "meta": meta}

    def filter(self, one: Any) -> Any:
        if not isinstance(one, Mapping):
            return one
        found = dict(one)
        self.put(found, Field.TITLES, ("name",))
        self.put(found, Field.TEXTS, ("description",))
        return found
