"""Charts: form data and stored query context, read from one instance and rendered for another."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .context import ReadContext, RenderContext
from .documents import Kind
from .ids import as_id
from .rules import DROPPED, DROPPED_PARAMS, DROPPED_URL_PARAMS
from .trees import as_list, as_mapping, plain

#: Keys of form data that list other charts by id (deck.gl multiple layers).
_CHART_LISTS = ("deck_slices",)


def read_chart(data: Mapping[str, Any], context: ReadContext) -> dict[str, Any]:
    """The canonical body of a chart as exported (charts/*.yaml, parsed).

    `dataset_uuid` is None when the chart's dataset was deleted; no import takes such a chart (422 for the
    whole bundle, I#44309).
    """
    raw = plain(data)
    body = {
        key: value
        for key, value in raw.items()
        if key not in DROPPED[Kind.CHART] and key not in ("params", "query_context")
    }
    body.setdefault("dataset_uuid", None)
    for key in ("description", "certified_by", "certification_details", "cache_timeout"):
        body.setdefault(key, None)
    if body["dataset_uuid"] is None:
        context.note("lost_dataset", "The dataset of this chart does not exist any more.", "dataset_uuid")
    body["params"] = _read_form_data(as_mapping(raw.get("params")), context, "params")
    body["query_context"] = _read_query_context(raw.get("query_context"), context)
    return body


def render_chart(body: Mapping[str, Any], context: RenderContext) -> dict[str, Any]:
    """A chart as imports take it. The importer itself writes the dataset's id into params and query context."""
    data = dict(body)
    data["params"] = _render_form_data(body["params"], context)
    stored = body.get("query_context")
    data["query_context"] = (
        None
        if stored is None
        else json.dumps(_render_query_context(stored, body, context), ensure_ascii=False)
    )
    return data


def _read_form_data(raw: dict[str, Any], context: ReadContext, where: str) -> dict[str, Any]:
    params = {key: value for key, value in raw.items() if key not in DROPPED_PARAMS}
    for key in _CHART_LISTS:
        if isinstance(params.get(key), list):
            params[key] = _read_chart_list(params[key], context, f"{where}.{key}")
    if not params.get("annotation_layers"):
        params.pop("annotation_layers", None)  # every import sets an empty list where there is none
    params = _read_annotations(_without_address(params), context, where)
    texts: dict[str, Any] = context.texts(params, where)
    return texts


def _read_chart_list(references: list[Any], context: ReadContext, where: str) -> list[Any]:
    charts: list[Any] = []
    for reference in references:
        uuid = context.ids.uuid_of(Kind.CHART, reference)
        if uuid is None and isinstance(reference, str) and context.knows_chart(reference):
            uuid = reference
        if uuid is not None:
            charts.append(uuid)
        else:
            context.note(
                "stale_reference",
                f"Names the chart {reference}, which does not exist any more; left out.",
                where,
            )
    return charts


def is_chart_annotation(layer: Any) -> bool:
    """An annotation layer that takes its rows from another chart: its value is that chart's id."""
    return (
        isinstance(layer, Mapping)
        and layer.get("annotationType") != "FORMULA"
        and layer.get("sourceType") not in (None, "", "NATIVE")
    )


def lost_annotations(params: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The annotation layers that an import deletes: all but formulas (filter_chart_annotations, 4.1.4 to
    6.1.0; I#32722).
    """
    return [
        layer
        for layer in as_list(params.get("annotation_layers"))
        if as_mapping(layer).get("annotationType") != "FORMULA"
    ]


def with_lost_annotations_of(body: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """The form data of a chart with the layers of another one's that an import deletes: what is not compared because
    it is written apart from the import.
    """
    params, others = dict(body["params"]), as_list(other["params"].get("annotation_layers"))
    lost = lost_annotations(params)
    own = [layer for layer in as_list(params.get("annotation_layers")) if layer not in lost]
    theirs = lost_annotations(other["params"])
    layers = others if own == [layer for layer in others if layer not in theirs] else [*own, *theirs]
    params.pop("annotation_layers", None)
    return {**params, "annotation_layers": list(layers)} if layers else params


def without_lost_annotations(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body without the annotation layers that an import deletes. It leaves their copies in the query context, with
    ids of the source in them: those go as well.
    """

    def strip(value: Mapping[str, Any]) -> dict[str, Any]:
        lost = lost_annotations(value)
        if not lost:
            return dict(value)
        return {
            **value,
            "annotation_layers": [
                layer for layer in as_list(value["annotation_layers"]) if layer not in lost
            ],
        }

    def form_data(value: Mapping[str, Any]) -> dict[str, Any]:
        kept = strip(value)
        if not kept.get("annotation_layers"):
            kept.pop("annotation_layers", None)
        return kept

    params = form_data(body["params"])
    query_context = body.get("query_context")
    if isinstance(query_context, Mapping):
        query_context = dict(query_context)
        if isinstance(query_context.get("form_data"), Mapping):
            query_context["form_data"] = form_data(query_context["form_data"])
        if isinstance(query_context.get("queries"), list):
            query_context["queries"] = [
                strip(query) if isinstance(query, Mapping) else query for query in query_context["queries"]
            ]
    return {**body, "params": params, "query_context": query_context}


def _without_address(params: dict[str, Any]) -> dict[str, Any]:
    address = params.get("url_params")
    if not isinstance(address, Mapping):
        return params
    return {**params, "url_params": {k: v for k, v in address.items() if k not in DROPPED_URL_PARAMS}}


def _read_annotations(params: dict[str, Any], context: ReadContext, where: str) -> dict[str, Any]:
    if not isinstance(params.get("annotation_layers"), list):
        return params
    layers = [_read_annotation(layer, context, where) for layer in params["annotation_layers"]]
    return {**params, "annotation_layers": layers}


def _render_annotations(params: dict[str, Any], context: RenderContext) -> dict[str, Any]:
    if not isinstance(params.get("annotation_layers"), list):
        return params
    layers = [
        {**layer, "value": context.id_of(Kind.CHART, layer["value"])}
        if is_chart_annotation(layer) and isinstance(layer.get("value"), str)
        else layer
        for layer in params["annotation_layers"]
    ]
    return {**params, "annotation_layers": layers}


def _read_annotation(layer: Any, context: ReadContext, where: str) -> Any:
    if not is_chart_annotation(layer):
        return layer
    uuid = context.ids.uuid_of(Kind.CHART, layer.get("value"))
    if uuid is None:
        if as_id(layer.get("value")) is not None:
            context.note(
                "stale_reference",
                f"The annotation layer “{layer.get('name')}” reads the chart {layer['value']}, "
                f"which does not exist any more.",
                f"{where}.annotation_layers",
            )
        return layer
    return {**layer, "value": uuid}


def _render_form_data(params: Mapping[str, Any], context: RenderContext) -> dict[str, Any]:
    rendered = dict(params)
    for key in _CHART_LISTS:
        if isinstance(rendered.get(key), list):
            rendered[key] = [
                number for uuid in rendered[key] if (number := context.id_of(Kind.CHART, uuid)) is not None
            ]
    texts: dict[str, Any] = context.texts(_render_annotations(rendered, context))
    return texts


def _read_query_context(stored: Any, context: ReadContext) -> dict[str, Any] | None:
    if stored in (None, ""):
        return None
    if isinstance(stored, str):
        try:
            stored = plain(json.loads(stored))
        except ValueError:
            context.note(
                "broken_query_context",
                "The stored query context is not JSON; every import drops it.",
                "query_context",
            )
            return None
    if not isinstance(stored, dict):
        return None
    # The dataset's id, and force: an order to the cache, not a property of the chart.
    result = {key: value for key, value in stored.items() if key not in ("datasource", "force")}
    if isinstance(result.get("queries"), list):
        result["queries"] = [
            context.texts(_read_query(query, context), "query_context.queries")
            if isinstance(query, dict)
            else query
            for query in result["queries"]
        ]
    if isinstance(result.get("form_data"), dict):
        result["form_data"] = _read_form_data(result["form_data"], context, "query_context.form_data")
    return result


def _read_query(query: dict[str, Any], context: ReadContext) -> dict[str, Any]:
    kept = {key: value for key, value in query.items() if key != "datasource"}
    return _read_annotations(_without_address(kept), context, "query_context.queries")


def _render_query_context(
    stored: Mapping[str, Any], body: Mapping[str, Any], context: RenderContext
) -> dict[str, Any]:
    dataset = context.id_of(Kind.DATASET, body["dataset_uuid"]) if body.get("dataset_uuid") else None
    rendered = {**stored, "datasource": {"id": dataset, "type": "table"}, "force": False}
    if isinstance(rendered.get("form_data"), Mapping):
        rendered["form_data"] = {
            **_render_form_data(rendered["form_data"], context),
            "datasource": f"{dataset}__table",
        }
    if isinstance(rendered.get("queries"), list):
        rendered["queries"] = context.texts(
            [
                _render_annotations(dict(query), context) if isinstance(query, Mapping) else query
                for query in rendered["queries"]
            ]
        )
    return rendered
