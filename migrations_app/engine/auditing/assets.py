"""What the assets of a tree say about each other: dangling, unlinked, lost, and ids that mean nothing elsewhere."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from environments.canonical.charts import is_chart_annotation, lost_annotations
from environments.canonical.documents import Kind
from environments.canonical.ids import IdTable, as_id
from environments.canonical.rules import CONVERTED_VIZ_TYPES
from environments.canonical.texts import text_to_canonical
from environments.canonical.trees import as_list, as_mapping, texts

from .model import AssetFile, AuditInput, Finding, Keys, Severity, finding

#: Keys of metadata that list charts by id, whose unknown ones make the importer raise KeyError (superset-api.md 8.3).
CRASHING = ("expanded_slices", "timed_refresh_immune_slices")
#: The first release whose import puts new ids into cross-filters, and drops what it does not know (7.8).
_CROSS_FILTERS_REMAPPED = (6, 0)
_UUID = re.compile(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
_NO_REMAP = "The id is stored as it is: there it is some unrelated asset, or none."
_OUR_REMAP = (
    "Puts the target's own id in its place where the tree says which asset it is, else id 0, and says so."
)


def of_assets(given: AuditInput) -> Iterator[Finding]:
    for asset in given.assets:
        if asset.kind == Kind.DASHBOARD:
            yield from _layout(asset, given)
            yield from _metadata(asset, given)
        elif asset.kind == Kind.CHART:
            yield from _chart(asset, given)
        elif asset.kind == Kind.DATASET:
            yield from _dataset(asset, given)
        if asset.kind in (Kind.DASHBOARD, Kind.CHART, Kind.DATASET):
            yield from _ids_in_texts(asset)


# --- Dashboards -----------------------------------------------------------------------------------------------------
def _nodes(asset: AssetFile) -> Iterator[tuple[str, dict[str, Any]]]:
    """(key of the node, its meta) of the charts of a layout."""
    for key, node in as_mapping(asset.data.get("position")).items():
        node = as_mapping(node)
        if node.get("type") == "CHART":
            yield key, as_mapping(node.get("meta"))


def _layout(asset: AssetFile, given: AuditInput) -> Iterator[Finding]:
    linked = 0
    for key, meta in _nodes(asset):
        uuid, name = str(meta.get("uuid") or "").lower(), meta.get("sliceName") or key
        keys = ("position", key, "meta", "uuid")
        if not _UUID.match(uuid):
            yield finding(
                asset,
                "chart_unlinked",
                Severity.ERROR,
                ("position", key, "meta"),
                f"The layout has a place for the chart “{name}” that does not say which chart it is: no uuid, "
                "only the id "
                f"{meta.get('chartId')}.",
                "The place keeps that id, which is another chart on the target or none; the chart is not "
                "linked, and the next "
                "export shows all charts twice.",
                "Goes by the id where the file names tell whose it is; else leaves the place out and says so.",
            )
        elif given.has(Kind.CHART, uuid):
            linked += 1
        elif given.there(Kind.CHART, uuid) is not None:
            linked += 1
            yield finding(
                asset,
                "chart_unlinked",
                Severity.ERROR,
                keys,
                f"The chart “{name}” ({uuid}) of the layout is not in these files; {given.target_name} has it.",
                "The import links charts up to the first one that is not in the bundle, in no order: any "
                "number of the others "
                "loses its dashboard (R4), and the place shows the chart of another id.",
                "Links all of them, with the ids of the target, and reads them back.",
            )
        else:
            yield finding(
                asset,
                "dangling_chart",
                Severity.ERROR,
                keys,
                f"The chart “{name}” ({uuid}) of the layout is neither in these files nor on {given.target_name}.",
                "The place stays empty, and other charts of the dashboard are not linked any more (R4).",
                "Takes the place out of the layout, names it in the plan, and links the others.",
            )
    if not linked:
        yield finding(
            asset,
            "no_charts",
            Severity.INFO,
            ("position",),
            "This dashboard shows no chart.",
            "The import puts a row of nulls into the table of links (R4); harmless so far.",
            "Writes it the same way, and says so nowhere else.",
        )


def _metadata(asset: AssetFile, given: AuditInput) -> Iterator[Finding]:
    metadata = as_mapping(asset.data.get("metadata"))
    # The import's own table of ids: places with a uuid, whose chart is among these files (8.3).
    known = {
        as_id(meta.get("chartId"))
        for _, meta in _nodes(asset)
        if given.has(Kind.CHART, str(meta.get("uuid") or "").lower())
    }
    for name in CRASHING:
        listed = metadata.get(name)
        for index, reference in enumerate(list(listed) if isinstance(listed, (list, dict)) else []):
            if as_id(reference) not in known:
                key: str | int = str(reference) if isinstance(listed, dict) else index
                yield finding(
                    asset,
                    "metadata_crash",
                    Severity.ERROR,
                    ("metadata", name, key),
                    f"“{name}” names the chart {reference}, which the layout does not show with a uuid of these files.",
                    "The whole import fails with an error 500 that says nothing (I#19222).",
                    "Puts the target's own id in its place where the tree says which chart it is, else leaves "
                    "the entry out, and notes it.",
                )
    for name in ("native_filter_configuration", "chart_customization_config"):
        for index, entry in enumerate(as_list(metadata.get(name))):
            entry = as_mapping(entry)
            for number, target in enumerate(as_list(entry.get("targets"))):
                keys: Keys = ("metadata", name, index, "targets", number)
                yield from _filter_target(asset, entry, as_mapping(target), keys, given)
            if (
                name == "chart_customization_config"
            ):  # the other's are remapped, and stale ones dropped, everywhere
                yield from _scopes(asset, entry, ("metadata", name, index))
    if not given.version or given.version >= _CROSS_FILTERS_REMAPPED:
        return
    for chart, entry in as_mapping(metadata.get("chart_configuration")).items():
        keys = ("metadata", "chart_configuration", chart)
        if not _UUID.match(str(chart)):
            yield _not_remapped(asset, keys, chart)
        yield from _scopes(asset, as_mapping(as_mapping(entry).get("crossFilters")), (*keys, "crossFilters"))
    whole = as_mapping(metadata.get("global_chart_configuration"))
    yield from _scopes(asset, whole, ("metadata", "global_chart_configuration"))


def _filter_target(
    asset: AssetFile, entry: Mapping[str, Any], target: Mapping[str, Any], keys: Keys, given: AuditInput
) -> Iterator[Finding]:
    uuid, number = target.get("datasetUuid"), target.get("datasetId")
    name = entry.get("name") or entry.get("id") or "without a name"
    if isinstance(uuid, str):
        if keys[1] != "native_filter_configuration" or given.has(Kind.DATASET, uuid):
            return  # the import looks at no other
        there = given.there(Kind.DATASET, uuid)
        yield finding(
            asset,
            "filter_outside",
            Severity.ERROR,
            (*keys, "datasetUuid"),
            f"The filter “{name}” takes its values from a dataset that is not in these files ({uuid})"
            + (
                f"; {given.target_name} has it, “{there.title}”."
                if there
                else f", nor on {given.target_name}."
            ),
            "The whole import fails with an error 500 that says nothing (R12).",
            "Uses the target's own." if there else "Blocks the dashboard, and says why.",
        )
    elif number is not None:
        yield finding(
            asset,
            "foreign_id",
            Severity.WARNING,
            (*keys, "datasetId"),
            f"The filter “{name}” names its dataset by the id {number} of another instance.",
            _NO_REMAP,
            "Puts the target's own id in its place where the tree says which dataset it is, else drops it, and "
            "says so.",
        )


def _scopes(asset: AssetFile, entry: Mapping[str, Any], keys: Keys) -> Iterator[Finding]:
    """Of a place that the target's import does not look into: ids of charts that are shown are as wrong as others."""
    for index, reference in enumerate(as_list(as_mapping(entry.get("scope")).get("excluded"))):
        if not _UUID.match(str(reference)):
            yield _not_remapped(asset, (*keys, "scope", "excluded", index), reference)


def _not_remapped(asset: AssetFile, keys: Keys, reference: object) -> Finding:
    return finding(
        asset,
        "foreign_id",
        Severity.WARNING,
        keys,
        f"{'.'.join(map(str, keys))} names the chart {reference} by an id of the instance that these files are of; the "
        "target's version gives it no new one.",
        _NO_REMAP,
        "Puts the target's own id in its place where the tree says which chart it is, else leaves the entry out, and "
        "notes it.",
    )


# --- Charts ---------------------------------------------------------------------------------------------------------
def _chart(asset: AssetFile, given: AuditInput) -> Iterator[Finding]:
    uuid, params = asset.data.get("dataset_uuid"), as_mapping(asset.data.get("params"))
    if not uuid:
        yield finding(
            asset,
            "dangling_dataset",
            Severity.ERROR,
            ("dataset_uuid",),
            "This chart has no dataset.",
            "The whole import is refused: 422 (I#44309).",
            "Blocks this chart until it is left out, and brings the rest.",
        )
    elif not given.has(Kind.DATASET, uuid):
        yield _outside(asset, Kind.DATASET, "dataset_uuid", str(uuid), "dangling_dataset", given)
    for layer in lost_annotations(params):
        what = "of another chart" if is_chart_annotation(layer) else "that is no formula"
        index = as_list(params.get("annotation_layers")).index(layer)
        yield finding(
            asset,
            "annotation_lost",
            Severity.WARNING,
            ("params", "annotation_layers", index),
            f"The annotation layer “{as_mapping(layer).get('name')}” is one {what}.",
            "The import deletes it without a word; only formulas stay (R5, I#32722).",
            "Names it in the plan as lost.",
        )
    viz_type = str(asset.data.get("viz_type") or "")
    if reason := given.undrawable.get(viz_type):
        yield finding(
            asset,
            "viz_type_unknown",
            Severity.ERROR,
            ("viz_type",),
            f"{given.target_name} cannot draw charts of the type {viz_type}.",
            f"It is imported, and shows an error instead of a chart. {reason}",
            "Blocks this chart with the reason.",
        )
    elif successor := CONVERTED_VIZ_TYPES.get(viz_type):
        yield finding(
            asset,
            "viz_type_converted",
            Severity.WARNING,
            ("viz_type",),
            f"The chart type {viz_type} is obsolete.",
            f"The import turns it into {successor}; it may look different.",
            "The same, as the import does it; the plan says so.",
        )
    elif viz_type == "filter_box":
        yield finding(
            asset,
            "viz_type_unknown",
            Severity.WARNING,
            ("viz_type",),
            "Filter boxes are gone from every tested version.",
            "The import drops the chart, and makes filters of the dashboard of it.",
            "Says so in the plan.",
        )
    for index, reference in enumerate(as_list(params.get("deck_slices"))):
        if as_id(reference) is not None:
            yield finding(
                asset,
                "foreign_id",
                Severity.WARNING,
                ("params", "deck_slices", index),
                f"Shows the chart {reference} of another instance as a layer.",
                _NO_REMAP,
                _OUR_REMAP,
            )
    yield from _query_context(asset)


def _query_context(asset: AssetFile) -> Iterator[Finding]:
    stored = asset.data.get("query_context")
    if isinstance(stored, str) and stored.strip():
        try:
            json.loads(stored)
        except ValueError:
            yield finding(
                asset,
                "broken_query_context",
                Severity.WARNING,
                ("query_context",),
                "The stored query context is not JSON.",
                "The import drops it: the chart cannot be asked for by its id (R6).",
                "Drops it too, and asks the chart by its form data.",
            )


# --- Datasets -------------------------------------------------------------------------------------------------------
def _dataset(asset: AssetFile, given: AuditInput) -> Iterator[Finding]:
    database = asset.data.get("database_uuid")
    if not database:
        yield finding(
            asset,
            "dangling_database",
            Severity.ERROR,
            ("database_uuid",),
            "This dataset has no database.",
            "The whole import is refused: 422.",
            "Blocks this dataset, and says why.",
        )
    elif not given.has(Kind.DATABASE, database):
        yield _outside(asset, Kind.DATABASE, "database_uuid", str(database), "dangling_database", given)
    for name in ("data", "data_file"):
        if asset.data.get(name):
            yield finding(
                asset,
                "loads_data",
                Severity.WARNING,
                (name,),
                f"“{name}” tells the import to load a table into the warehouse.",
                "Where the table is missing, the target's Superset fetches the file and writes it there.",
                "Leaves it out: nothing is ever written to a warehouse.",
            )
    if asset.data.get("folders"):
        yield finding(
            asset,
            "folders",
            Severity.WARNING,
            ("folders",),
            "Folders name columns and metrics by uuids that no file has.",
            "They point nowhere after the import, and the dataset cannot be saved on its page any more: 422.",
            "Leaves them out, and says so.",
        )


def _outside(
    asset: AssetFile, kind: Kind, field_name: str, uuid: str, code: str, given: AuditInput
) -> Finding:
    """What an asset stands on is not in the files."""
    there = given.there(kind, uuid)
    if there is None:
        text = f"Its {kind.value} ({uuid}) is neither in these files nor on {given.target_name}."
    else:
        text = (
            f"Its {kind.value} ({uuid}) is not in these files; {given.target_name} has it, “{there.title}”."
        )
    if kind == Kind.DATABASE:
        plain = (
            "Skipped without a word, or an error 500: the bundle needs the connection, also where it exists."
        )
        ours = "Asks which connection of the target stands for it, and sends a stub that changes none."
    else:
        plain = "The chart is skipped without a word by dashboard imports, and an error 500 elsewhere."
        ours = "Uses the target's own." if there is not None else "Blocks the chart, and says why."
    severity = Severity.ERROR if there is None else Severity.WARNING
    return finding(asset, code, severity, (field_name,), text, plain, ours)


# --- Ids in texts ---------------------------------------------------------------------------------------------------
def _ids_in_texts(asset: AssetFile) -> Iterator[Finding]:
    """Jinja that names datasets by id, and links with ids in them."""
    told: set[str] = set()
    for name, value in asset.data.items():
        if name == "query_context":
            continue
        for text in texts(value):
            for found in text_to_canonical(text, _NONE, "")[1]:
                if found.found in told:
                    continue
                told.add(found.found)
                yield finding(
                    asset,
                    "foreign_id",
                    Severity.WARNING,
                    _keys_to(value, text, (name,)),
                    f"“{found.found}” names a {found.kind.value} by an id of the instance that these files are of.",
                    _NO_REMAP,
                    _OUR_REMAP,
                )


_NONE = IdTable()


def _keys_to(value: Any, text: str, keys: Keys) -> Keys:
    """Where in a value a text stands."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if text in texts(item):
                return _keys_to(item, text, (*keys, str(key)))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            if text in texts(item):
                return _keys_to(item, text, (*keys, index))
    return keys
