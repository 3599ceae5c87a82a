"""Dashboards: layout and metadata, read from one instance and rendered for another."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from .context import ReadContext, RenderContext
from .documents import Document, Kind
from .rules import DROPPED, DROPPED_METADATA
from .trees import as_list, as_mapping, plain

# An export puts member charts that the layout does not show into a new row with random ids (append_charts in
# superset/commands/dashboard/export.py, read at 6.1.0: "ROW-N-" and "CHART-" with eight of A-Z0-9).
_APPENDED_ROW = re.compile(r"^ROW-N-[A-Z0-9]{8}$")
_APPENDED_CHART = re.compile(r"^CHART-[A-Z0-9]{8}$")
_KEEP_WHEN_EMPTY = {"ROOT", "GRID", "TABS", "TAB", "HEADER"}
#: Parts of the metadata that hold a filter or a customization each, with datasets as targets and charts in scope.
_FILTER_LISTS = ("native_filter_configuration", "chart_customization_config")
# One layer of a deck.gl chart, in the scope of a filter (superset-frontend, selectedLayers, read at 6.1.0). Canonical
# form has the chart as a token of texts in it.
_LAYER = re.compile(r"^chart-(?:⟦chart:)?([0-9a-f-]+)⟧?-layer-(\d+)$")


def read_dashboard(data: Mapping[str, Any], context: ReadContext) -> dict[str, Any]:
    """The canonical body of a dashboard as exported (superset-api: dashboards/*.yaml, parsed)."""
    raw = plain(data)
    body = {
        key: value
        for key, value in raw.items()
        if key not in DROPPED[Kind.DASHBOARD] and key not in ("position", "metadata")
    }
    body["position"] = context.texts(_read_position(as_mapping(raw.get("position")), context), "position")
    layout = chart_uuids(body["position"])
    metadata = context.texts(as_mapping(raw.get("metadata")), "metadata")
    body["metadata"] = read_metadata(metadata, layout, context)
    for key in ("description", "css", "slug", "certified_by", "certification_details"):
        body.setdefault(key, None)
    # An import looks for the dashboard that has the slug, and takes one without any for it where ours is "" as well.
    body["slug"] = body["slug"] or None
    return body


def render_dashboard(body: Mapping[str, Any], context: RenderContext) -> dict[str, Any]:
    """A dashboard as the import of one instance takes it: every id is that instance's own, so the
    importer's map is the identity.
    """
    data = {key: value for key, value in body.items() if key not in ("position", "metadata", "damage")}
    data["position"] = context.texts(_render_position(body["position"], context))
    data["metadata"] = context.texts(_render_metadata(body["metadata"], context))
    return data


def chart_uuids(position: Mapping[str, Any]) -> frozenset[str]:
    """The charts that a canonical layout shows."""
    return frozenset(node["meta"]["uuid"] for node in _chart_nodes(position))


def filter_datasets(metadata: Mapping[str, Any]) -> frozenset[str]:
    """The datasets that filters and customizations of canonical metadata take their values from."""
    return frozenset(
        target["datasetUuid"] for target in _targets(metadata) if isinstance(target.get("datasetUuid"), str)
    )


def settled(document: Document) -> Document:
    """The dashboard after uuids of charts were exchanged in it: what is ordered or named by them is so again."""
    return document.replace(
        position=_settle_appended_rows(dict(document.body["position"])),
        metadata=map_chart_references(document.body["metadata"], lambda uuid: uuid),
    )


def without_charts(document: Document, gone: Collection[str]) -> Document:
    """The dashboard without some charts: their places in the layout and every mention in the metadata."""
    position = without_nodes(
        document.body["position"],
        {node["id"] for node in _chart_nodes(document.body["position"]) if node["meta"]["uuid"] in gone},
    )
    layout = chart_uuids(position)
    metadata = map_chart_references(document.body["metadata"], lambda uuid: uuid if uuid in layout else None)
    return document.replace(position=position, metadata=metadata)


# --- layout
# ---------------------------------------------------------------------------------------------------------------


def _chart_nodes(position: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for node in position.values():
        if (
            isinstance(node, Mapping)
            and node.get("type") == "CHART"
            and isinstance(node.get("meta"), Mapping)
        ):
            yield dict(node)


def _read_position(raw: dict[str, Any], context: ReadContext) -> dict[str, Any]:
    nodes: dict[str, Any] = {}
    ghosts: set[str] = set()
    for node_id, node in raw.items():
        if isinstance(node, dict) and node.get("type") == "CHART":
            node = _read_chart_node(node_id, node, context)
            if node is None:
                ghosts.add(node_id)
                continue
        if isinstance(node, dict):
            node["id"] = node_id  # the page goes by the key
        nodes[node_id] = node
    return _settle_appended_rows(without_nodes(nodes, ghosts))


def _read_chart_node(node_id: str, node: dict[str, Any], context: ReadContext) -> dict[str, Any] | None:
    meta = as_mapping(node.get("meta"))
    number, stored = meta.pop("chartId", None), meta.get("uuid")
    by_id = context.ids.uuid_of(Kind.CHART, number)
    name = meta.get("sliceName") or node_id
    if by_id is not None:
        # The page shows the chart of the id; the stored uuid goes stale, for one when a dashboard is copied
        # with its charts (copy_dashboard in superset/daos/dashboard.py changes chartId and leaves uuid, read at
        # 6.1.0).
        if stored and stored != by_id:
            context.note(
                "stale_chart_uuid",
                f"The layout shows the chart “{name}” under the uuid of another chart ({stored}); "
                f"read as the chart that people see.",
                f"position.{node_id}",
            )
        meta["uuid"] = by_id
    elif isinstance(stored, str) and context.knows_chart(stored):
        meta["uuid"] = stored
    else:
        context.note(
            "ghost_chart",
            f"The layout has a place for the chart “{name}”, which does not exist any more.",
            f"position.{node_id}",
        )
        return None
    return {**node, "meta": meta}


def without_nodes(position: Mapping[str, Any], gone: Collection[str]) -> dict[str, Any]:
    """The layout without some nodes, and without the rows and columns that were emptied by it."""
    nodes = dict(position)
    gone = {node_id for node_id in gone}
    while True:
        for node_id in gone:
            nodes.pop(node_id, None)
        emptied: set[str] = set()
        for node_id, node in nodes.items():
            if not isinstance(node, Mapping):
                continue
            children = as_list(node.get("children"))
            kept = [child for child in children if not isinstance(child, str) or child not in gone]
            if len(kept) != len(children):
                nodes[node_id] = {**node, "children": kept}
                if not kept and node.get("type") not in _KEEP_WHEN_EMPTY:
                    emptied.add(node_id)
        if not emptied:
            return nodes
        gone = emptied


def _settle_appended_rows(position: dict[str, Any]) -> dict[str, Any]:
    """Give what an export appended ids that depend on its charts alone, and drop charts the layout shows anyway.

    Where the layout begins with tabs there is no row: the export leaves the charts loose, without a parent.
    """
    rows = [node_id for node_id in position if _APPENDED_ROW.match(node_id) and _children(position, node_id)]
    held = {child for node_id in position for child in _children(position, node_id)}
    loose = {
        node_id
        for node_id, node in position.items()
        if _APPENDED_CHART.match(node_id)
        and node_id not in held
        and isinstance(node, Mapping)
        and "parents" not in node
    }
    if not rows and not loose:
        return position
    charts = {node["id"]: node["meta"]["uuid"] for node in _chart_nodes(position)}
    appended = loose | {child for row in rows for child in _children(position, row)}
    shown = {uuid for node_id, uuid in charts.items() if node_id not in appended}
    position = without_nodes(
        position, {node_id for node_id, uuid in charts.items() if node_id in appended and uuid in shown}
    )
    names: dict[str, str] = {}
    used: dict[str, int] = {}
    for row in [*rows, None]:
        members = sorted((loose & set(position)) if row is None else _children(position, row))
        members.sort(key=lambda node_id: charts.get(node_id, node_id))
        for node_id in members:
            if node_id in charts:
                used[charts[node_id]] = used.get(charts[node_id], 0) + 1
                times = used[charts[node_id]]
                names[node_id] = "CHART-" + _short(charts[node_id] + (f"#{times}" if times > 1 else ""))
        if row in position:
            names[row] = "ROW-N-" + _short("".join(names.get(node_id, node_id) for node_id in members))
            position[row] = {**position[row], "children": members}
    return _rename_nodes(position, names)


def _children(position: Mapping[str, Any], node_id: str) -> list[str]:
    return [
        child
        for child in as_list(as_mapping(position.get(node_id)).get("children"))
        if isinstance(child, str)
    ]


def _short(text: str) -> str:
    """Eight of A-Z and 0-9, as the exporter makes them, so that the next export's rows are recognised again."""
    return hashlib.sha256(text.encode()).hexdigest()[:8].upper()


def _rename_nodes(position: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    renamed: dict[str, Any] = {}
    for node_id, node in position.items():
        if isinstance(node, Mapping):
            node = dict(node)
            node["id"] = names.get(node_id, node.get("id", node_id))
            for key in ("children", "parents"):
                if isinstance(node.get(key), list):
                    node[key] = [
                        names.get(item, item) if isinstance(item, str) else item for item in node[key]
                    ]
        renamed[names.get(node_id, node_id)] = node
    return renamed


def _render_position(position: Mapping[str, Any], context: RenderContext) -> dict[str, Any]:
    rendered: dict[str, Any] = {}
    for node_id, node in position.items():
        if (
            isinstance(node, Mapping)
            and node.get("type") == "CHART"
            and isinstance(node.get("meta"), Mapping)
        ):
            number = context.id_of(Kind.CHART, node["meta"]["uuid"])
            node = {**node, "meta": {**node["meta"], "chartId": number}}
        rendered[node_id] = node
    return rendered


# --- metadata
# -------------------------------------------------------------------------------------------------------------


def _targets(metadata: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name in _FILTER_LISTS:
        for item in as_list(metadata.get(name)):
            for target in as_list(as_mapping(item).get("targets")):
                yield as_mapping(target)
            if isinstance(
                dataset := as_mapping(as_mapping(item).get("customization")).get("datasetUuid"), str
            ):
                yield {"datasetUuid": dataset}


def filter_targets(metadata: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any], str, str]]:
    """The targets of filters and customizations: (name, target, its key for the dataset's id, where)."""
    for name in _FILTER_LISTS:
        for item in map(as_mapping, as_list(metadata.get(name))):
            title, where = (
                str(item.get("name") or item.get("id") or ""),
                f"metadata.{name}.{item.get('id', '')}",
            )
            for target in as_list(item.get("targets")):
                yield title, as_mapping(target), "datasetId", where
            if isinstance(item.get("customization"), Mapping):
                yield title, as_mapping(item["customization"]), "dataset", where


def read_metadata(raw: dict[str, Any], layout: frozenset[str], context: ReadContext) -> dict[str, Any]:
    """Canonical metadata out of an instance's own; `layout`: the charts that its canonical layout shows."""
    metadata = {key: value for key, value in raw.items() if key not in DROPPED_METADATA}
    for key in ("default_filters", "filter_scopes"):
        if raw.get(key) not in (None, "", "{}", {}):
            context.note(
                "legacy_filters", f"“{key}” belongs to filter boxes; no import keeps it.", f"metadata.{key}"
            )
    for name in _FILTER_LISTS:
        if isinstance(metadata.get(name), list):
            metadata[name] = [_read_filter(item, name, context) for item in metadata[name]]
    stale: dict[str, list[object]] = {}

    def to_uuid(reference: object, where: str) -> str | None:
        # Some tools, and Superset's own examples, have uuids where ids belong.
        uuid = context.ids.uuid_of(Kind.CHART, reference) or (
            reference if isinstance(reference, str) else None
        )
        if uuid in layout:
            return uuid
        if not where.endswith("chartsInScope"):
            stale.setdefault(where, []).append(reference)
        return None

    metadata = map_chart_references(metadata, to_uuid, with_paths=True)
    for where, references in stale.items():
        names = ", ".join(str(reference) for reference in references[:5])
        context.note(
            "stale_reference", f"Names charts that the layout does not show ({names}); left out.", where
        )
    return metadata


def _read_filter(item: Any, name: str, context: ReadContext) -> Any:
    if not isinstance(item, dict):
        return item
    where = f"metadata.{name}.{item.get('id', '')}"

    def settle(target: dict[str, Any], key: str) -> dict[str, Any]:
        number = target.pop(key, None)
        if isinstance(target.get("datasetUuid"), str):
            return target
        uuid = context.ids.uuid_of(Kind.DATASET, number)
        if uuid is not None:
            target["datasetUuid"] = uuid
        elif number is not None:
            context.note("lost_filter_target", "The dataset of this filter does not exist any more.", where)
        return target

    item = dict(item)
    if isinstance(item.get("targets"), list):
        item["targets"] = [
            settle(dict(target), "datasetId") if isinstance(target, dict) else target
            for target in item["targets"]
        ]
    if isinstance(item.get("customization"), dict) and "dataset" in item["customization"]:
        item["customization"] = settle(dict(item["customization"]), "dataset")
    return item


def map_chart_references(
    metadata: Mapping[str, Any], change: Callable[..., Any], with_paths: bool = False
) -> dict[str, Any]:
    """The metadata with every reference to a chart changed, or dropped where `change` gives None; lists
    come out sorted.
    """

    def one(reference: object, where: str) -> Any:
        return change(reference, where) if with_paths else change(reference)

    def many(references: object, where: str) -> list[Any]:
        changed = (one(reference, where) for reference in as_list(references))
        return sorted({reference for reference in changed if reference is not None})

    def scoped(item: Any, where: str) -> Any:
        if not isinstance(item, Mapping):
            return item
        item = dict(item)
        if "chartsInScope" in item:
            item["chartsInScope"] = many(item["chartsInScope"], f"{where}.chartsInScope")
        if isinstance(scope := item.get("scope"), Mapping):
            item["scope"] = scope = dict(scope)
            if "excluded" in scope:
                scope["excluded"] = many(scope["excluded"], f"{where}.scope.excluded")
            if isinstance(layers := scope.get("selectedLayers"), list):
                scope["selectedLayers"] = [
                    found for layer in layers if (found := layer_of(layer, f"{where}.scope.selectedLayers"))
                ]
        return item

    def layer_of(layer: Any, where: str) -> Any:
        match = _LAYER.match(layer) if isinstance(layer, str) else None
        if match is None:
            return layer
        chart = one(match[1], where)
        if chart is None:
            return None
        return f"chart-{f'⟦chart:{chart}⟧' if isinstance(chart, str) else chart}-layer-{match[2]}"

    result = dict(metadata)
    for name in _FILTER_LISTS:
        if isinstance(result.get(name), list):
            result[name] = [
                scoped(item, f"metadata.{name}.{as_mapping(item).get('id', '')}") for item in result[name]
            ]
    if isinstance(result.get("global_chart_configuration"), Mapping):
        result["global_chart_configuration"] = scoped(
            result["global_chart_configuration"], "metadata.global_chart_configuration"
        )
    if isinstance(configuration := result.get("chart_configuration"), Mapping):
        charts: dict[str, Any] = {}
        for reference, settings in configuration.items():
            chart = one(reference, "metadata.chart_configuration")
            if chart is None:
                continue
            if isinstance(settings, Mapping):
                settings = {key: value for key, value in settings.items() if key != "id"}
                if "crossFilters" in settings:
                    settings["crossFilters"] = scoped(
                        settings["crossFilters"], f"metadata.chart_configuration.{reference}"
                    )
            charts[str(chart)] = settings
        result["chart_configuration"] = charts
    if isinstance(expanded := result.get("expanded_slices"), Mapping):
        pairs = ((one(reference, "metadata.expanded_slices"), value) for reference, value in expanded.items())
        result["expanded_slices"] = {str(chart): value for chart, value in pairs if chart is not None}
    if isinstance(result.get("timed_refresh_immune_slices"), list):
        result["timed_refresh_immune_slices"] = many(
            result["timed_refresh_immune_slices"], "metadata.timed_refresh_immune_slices"
        )
    return result


def _render_metadata(metadata: Mapping[str, Any], context: RenderContext) -> dict[str, Any]:
    rendered = map_chart_references(metadata, lambda uuid: context.id_of(Kind.CHART, uuid))
    if isinstance(configuration := rendered.get("chart_configuration"), dict):
        rendered["chart_configuration"] = {
            number: {**settings, "id": int(number)} if isinstance(settings, Mapping) else settings
            for number, settings in configuration.items()
        }
    for name in _FILTER_LISTS:
        if isinstance(rendered.get(name), list):
            rendered[name] = [_render_filter(item, context) for item in rendered[name]]
    return rendered


def _render_filter(item: Any, context: RenderContext) -> Any:
    if not isinstance(item, Mapping):
        return item

    def settle(target: Mapping[str, Any], key: str) -> dict[str, Any]:
        # The target's own id instead of datasetUuid: an importer looks a uuid up among the files of the bundle
        # only (before sparse imports) and answers 500 when it is not there; an id passes through as it is.
        number = context.id_of(Kind.DATASET, target["datasetUuid"])
        return {**{name: value for name, value in target.items() if name != "datasetUuid"}, key: number}

    item = dict(item)
    if isinstance(item.get("targets"), list):
        item["targets"] = [
            settle(target, "datasetId")
            if isinstance(target, Mapping) and isinstance(target.get("datasetUuid"), str)
            else target
            for target in item["targets"]
        ]
    customization = item.get("customization")
    if isinstance(customization, Mapping) and isinstance(customization.get("datasetUuid"), str):
        item["customization"] = settle(customization, "dataset")
    return item
