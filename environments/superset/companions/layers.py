"""Annotation layers with their annotations, and their use in charts, which every import drops (superset-api.md 7.8)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from environments.canonical.charts import is_chart_annotation
from environments.canonical.companions import Companion, CompanionKind
from environments.canonical.documents import Kind
from environments.canonical.ids import as_id
from environments.superset.client import SupersetClient

from .reading import Adapter, CompanionId, Lookup, Reader, parsed, refuse

_FIELDS = {
    "name": "short_descr",
    "description": "long_descr",
    "start": "start_dttm",
    "end": "end_dttm",
    "metadata": "json_metadata",
}


def _is_native(layer: Any) -> bool:
    """Takes its rows from an annotation layer; `value` is that layer's id."""
    return isinstance(layer, Mapping) and layer.get("sourceType") == "NATIVE"


def _layers_of(row: Mapping[str, Any]) -> list[Any]:
    layers = parsed(row.get("params"))
    found = layers.get("annotation_layers") if isinstance(layers, dict) else None
    return found if isinstance(found, list) else []


# -- layers ----------------------------------------------------------------------------------------


def _read_layers(reader: Reader) -> None:
    """With a selection only the layers that its charts use. One request per layer and per annotation: their list leaves
    out the metadata (L4.1 L6.1).
    """
    used: set[int | None] | None = None
    if reader.assets is not None:
        layers = [layer for row in reader.rows(Kind.CHART) for layer in _layers_of(row) if _is_native(layer)]
        used = {as_id(layer.get("value")) for layer in layers}
    for row in reader.layers if used is None or used else ():
        if used is not None and row["id"] not in used:
            continue
        body = {
            "name": str(row["name"]),
            "description": row.get("descr") or None,
            "annotations": [_annotation(item) for item in _annotations(reader.client, row["id"])],
        }
        reader.add(Companion.of(CompanionKind.ANNOTATION_LAYER, body), row["id"])


def _annotations(client: SupersetClient, layer: int) -> list[dict[str, Any]]:
    path = f"annotation_layer/{layer}/annotation"
    found = client.get_each((path, row["id"]) for row in client.list_rows(path, ("id",)))
    there = [item for item in found if item is not None]
    return sorted(there, key=lambda item: (str(item.get("start_dttm")), str(item.get("short_descr"))))


def _annotation(item: Mapping[str, Any]) -> dict[str, Any]:
    said = {name: item.get(field) or None for name, field in _FIELDS.items()}
    return {**said, "metadata": parsed(said["metadata"]) or None}


def _write_layer(
    client: SupersetClient, companion: Companion, existing: CompanionId | None, lookup: Lookup
) -> CompanionId:
    """Makes the layer what the body says, one request per annotation that differs; begun anew, it goes on where it
    stopped. Annotations are told apart by their names, which are unique in a layer (AnnotationDAO.validate_update_…).
    """
    body = companion.body
    fields = {"name": body["name"], "descr": body["description"] or ""}
    if existing is None:
        existing = client.create("annotation_layer", fields)
        present: list[dict[str, Any]] = []
    else:
        client.update("annotation_layer", existing, fields)
        present = _annotations(client, int(existing))
    path = f"annotation_layer/{existing}/annotation"
    known = {str(item.get("short_descr")): item for item in present}
    for wanted in body["annotations"]:
        item = known.pop(str(wanted["name"]), None)
        if item is not None and _annotation(item) == wanted:
            continue
        metadata = json.dumps(wanted["metadata"], ensure_ascii=False) if wanted["metadata"] else ""
        sent = {field: wanted[name] for name, field in _FIELDS.items()} | {"json_metadata": metadata}
        if item is None:
            client.create(path, sent)
        else:
            client.update(path, item["id"], sent)
    for item in known.values():
        client.delete(path, item["id"])
    return existing


def _delete_layer(client: SupersetClient, companion: Companion, existing: CompanionId) -> None:
    """Superset refuses to delete a layer that has annotations (AnnotationLayerDeleteIntegrityError)."""
    path = f"annotation_layer/{existing}/annotation"
    for row in client.list_rows(path, ("id",)):
        client.delete(path, row["id"])
    client.delete("annotation_layer", existing)


# -- use in charts ---------------------------------------------------------------------------------


def _read_use(reader: Reader) -> None:
    """Charts with formulas alone have none: an import keeps those."""
    for row in reader.rows(Kind.CHART):
        layers = _layers_of(row)
        if not any(_is_native(layer) or is_chart_annotation(layer) for layer in layers):
            continue
        said = [_read_layer(reader, str(row["uuid"]), layer) for layer in layers]
        kept = [layer for layer in said if layer is not None]
        facet = Companion.facet(CompanionKind.ANNOTATION_USE, Kind.CHART, row["uuid"], layers=kept)
        reader.add(facet, row["id"])


def _read_layer(reader: Reader, chart: str, layer: Any) -> dict[str, Any] | None:
    if not isinstance(layer, Mapping):
        return None
    if _is_native(layer):
        number = as_id(layer.get("value"))
        name = next((row["name"] for row in reader.layers if row["id"] == number), None)
        value = None if name is None else {"annotation_layer": str(name)}
    elif is_chart_annotation(layer):
        uuid = reader.uuid_of(Kind.CHART, as_id(layer.get("value")))
        value = None if uuid is None else {"chart": uuid}
    else:
        return dict(layer)
    if value is None:
        text = f"The annotation layer “{layer.get('name')}” shows something that does not exist any more; left out."
        reader.note("stale_reference", chart, text)
        return None
    return {**layer, "value": value}


def _write_use(
    client: SupersetClient, companion: Companion, existing: CompanionId | None, lookup: Lookup
) -> CompanionId:
    whose = companion.asset
    assert whose is not None
    number = lookup.asset(*whose)
    _put_layers(client, number, [_rendered(layer, lookup) for layer in companion.body["layers"]])
    return number


def _rendered(layer: Mapping[str, Any], lookup: Lookup) -> dict[str, Any]:
    value = layer.get("value")
    if not isinstance(value, Mapping):
        return dict(layer)
    if "chart" in value:
        return {**layer, "value": lookup.asset(Kind.CHART, value["chart"])}
    name = str(value["annotation_layer"])
    number = lookup.row(CompanionKind.ANNOTATION_LAYER, name)
    if number is None:
        refuse(f"This Superset has no annotation layer “{name}”. Nothing was written.", "unknown_layer")
    return {**layer, "value": number}


def _delete_use(client: SupersetClient, companion: Companion, existing: CompanionId) -> None:
    """Formulas stay: they belong to the chart itself."""
    layers = [layer for layer in companion.body["layers"] if not isinstance(layer.get("value"), Mapping)]
    _put_layers(client, int(existing), layers)


def _put_layers(client: SupersetClient, chart: int, layers: Iterable[Mapping[str, Any]]) -> None:
    """Into the form data and, where there is one, into the stored query context, which holds copies of them."""
    layers = list(layers)
    held = client.get("chart", chart)
    if held.get("params") and not parsed(held["params"]):
        refuse("The chart's settings are not JSON, so nothing can be put into them. Nothing was written.")
    fields = {
        "params": json.dumps({**parsed(held.get("params")), "annotation_layers": layers}, ensure_ascii=False)
    }
    context = parsed(held.get("query_context"))
    if context:
        if isinstance(context.get("form_data"), dict):
            context["form_data"]["annotation_layers"] = layers
        for query in context.get("queries") or ():
            if isinstance(query, dict):
                query["annotation_layers"] = layers
        fields["query_context"] = json.dumps(context, ensure_ascii=False)
    client.update("chart", chart, fields)


ANNOTATION_LAYER = Adapter(_read_layers, _write_layer, _delete_layer)
ANNOTATION_USE = Adapter(_read_use, _write_use, _delete_use)
