"""A Superset in a few lines: what its importer makes of a bundle and its exporter of the result, ids included.

After superset/commands (importers and export.py of each kind) of 6.1.0: `append_charts` with its random
names, `update_id_refs`, `filter_chart_annotations`, `update_chart_config_dataset`. Live tests hold the same
against real ones.
"""

from __future__ import annotations

import copy
import json
import random
import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from environments.canonical.documents import Document, Documents, Kind
from environments.canonical.ids import IdTable
from environments.canonical.reading import Reading, read_assets
from environments.canonical.rendering import Rendered

ORDER = (Kind.DATABASE, Kind.DATASET, Kind.CHART, Kind.DASHBOARD)


@dataclass(frozen=True)
class Raw:
    """One file of an export."""

    kind: str
    uuid: str
    data: dict[str, Any]
    source_id: int | None = None


class ModelSuperset:
    def __init__(self, first_id: int, url: str = "https://bi.example.org", seed: int = 0) -> None:
        self.url = url
        self.ids = IdTable()
        self.rows: dict[str, tuple[Kind, dict[str, Any]]] = {}
        self.members: dict[str, set[str]] = {}
        self._next = first_id
        self._random = random.Random(seed)

    def id_of(self, kind: Kind, uuid: str) -> int:
        number = self.ids.id_of(kind, uuid)
        if number is None:
            number, self._next = self._next, self._next + 1
            self.ids.add(kind, number, uuid)
        return number

    # -- in

    def add(self, kind: Kind, uuid: str, data: dict[str, Any]) -> None:
        """Put something there as a person's work, in the instance's own ids."""
        self.id_of(kind, uuid)
        self.rows[uuid] = kind, copy.deepcopy(data)

    def take_in(self, rendered: Iterable[Rendered]) -> None:
        """A sparse assets import: everything is overwritten, members become what the layout shows."""
        items = sorted(rendered, key=lambda item: ORDER.index(item.kind))
        for item in items:
            data = json.loads(json.dumps(dict(item.data)))
            assert data.pop("version") == "1.0.0"
            assert data.pop("uuid") == item.uuid
            self.id_of(item.kind, item.uuid)
            if item.kind == Kind.CHART:
                self._chart(data)
            elif item.kind == Kind.DASHBOARD:
                self._dashboard(item.uuid, data)
            else:
                assert data["database_uuid"] in self.rows, "KeyError: a database that is not there"
            self.rows[item.uuid] = item.kind, data

    def remove(self, uuid: str) -> None:
        kind, _ = self.rows.pop(uuid)
        number = self.ids.id_of(kind, uuid)
        self.ids = IdTable(entry for entry in self.ids if entry != (kind, number, uuid))
        for members in self.members.values():
            members.discard(uuid)

    def _chart(self, data: dict[str, Any]) -> None:
        dataset = data["dataset_uuid"]
        assert dataset in self.rows, "422: the chart's dataset is nowhere"
        number = self.ids.id_of(Kind.DATASET, dataset)
        params = data["params"]
        params["annotation_layers"] = [
            layer for layer in params.get("annotation_layers", []) if layer.get("annotationType") == "FORMULA"
        ]
        params["datasource"] = f"{number}__table"
        if data.get("query_context"):
            context = json.loads(data["query_context"])
            context["datasource"] = {"id": number, "type": "table"}
            if isinstance(context.get("form_data"), dict):
                context["form_data"]["datasource"] = f"{number}__table"
            for query in context.get("queries", []):
                if isinstance(query, dict) and "datasource" in query:
                    query["datasource"] = {"id": number, "type": "table"}
            data["query_context"] = json.dumps(context)

    def _dashboard(self, uuid: str, data: dict[str, Any]) -> None:
        nodes = [
            node
            for node in data["position"].values()
            if isinstance(node, dict) and node.get("type") == "CHART"
        ]
        known = {
            node["meta"]["chartId"]: self.ids.id_of(Kind.CHART, node["meta"]["uuid"])
            for node in nodes
            if "uuid" in node["meta"] and node["meta"]["uuid"] in self.rows
        }
        for node in nodes:
            assert node["meta"]["uuid"] in self.rows, "a ghost: the import stops linking here"
            node["meta"]["chartId"] = known[node["meta"]["chartId"]]
        metadata = data["metadata"]
        metadata.pop("show_native_filters", None)
        for name in ("timed_refresh_immune_slices",):
            if name in metadata:
                metadata[name] = [
                    known[number] for number in metadata[name]
                ]  # a stale id is a KeyError, as there
        if "expanded_slices" in metadata:
            metadata["expanded_slices"] = {
                str(known[int(number)]): value for number, value in metadata["expanded_slices"].items()
            }
        for entry in metadata.get("native_filter_configuration", []):
            for target in entry.get("targets", []):
                if dataset := target.pop("datasetUuid", None):
                    target["datasetId"] = self.ids.id_of(Kind.DATASET, dataset)
            if excluded := entry.get("scope", {}).get("excluded"):
                entry["scope"]["excluded"] = [known[number] for number in excluded if number in known]
        if "chart_configuration" in metadata:
            metadata["chart_configuration"] = {
                str(known[int(number)]): {**settings, "id": known[int(number)]}
                for number, settings in metadata["chart_configuration"].items()
                if int(number) in known
            }
        self.members[uuid] = {node["meta"]["uuid"] for node in nodes}

    # -- out

    def export(self) -> list[Raw]:
        files = [Raw(kind.value, uuid, self._file(kind, uuid, data), self._number(kind, uuid))
                 for uuid, (kind, data) in self.rows.items()]  # fmt: skip
        self._random.shuffle(files)
        return files

    def read(self) -> Reading:
        return read_assets(self.export(), self.ids, self.url)

    def documents(self) -> Documents:
        return self.read().documents

    def _number(self, kind: Kind, uuid: str) -> int | None:
        return None if kind == Kind.DATABASE else self.ids.id_of(kind, uuid)

    def _file(self, kind: Kind, uuid: str, stored: dict[str, Any]) -> dict[str, Any]:
        data = {**copy.deepcopy(stored), "uuid": uuid, "version": "1.0.0"}
        if kind == Kind.DATASET:
            for group in ("columns", "metrics"):
                self._random.shuffle(data.get(group) or [])
        if kind == Kind.DASHBOARD:
            for entry in data["metadata"].get("native_filter_configuration", []):
                for target in entry.get("targets", []):
                    if dataset := self.ids.uuid_of(Kind.DATASET, target.pop("datasetId", None)):
                        target["datasetUuid"] = dataset
            self._append_charts(uuid, data["position"])
            data["theme_uuid"] = None
        return data

    def _append_charts(self, uuid: str, position: dict[str, Any]) -> None:
        shown = {
            node["meta"].get("uuid")
            for node in position.values()
            if isinstance(node, dict) and node.get("type") == "CHART"
        }
        orphans = sorted(self.members.get(uuid, set()) - shown, key=lambda _: self._random.random())
        if not orphans:
            return
        names = [f"CHART-{self._suffix()}" for _ in orphans]
        row = None
        if "GRID_ID" in position["ROOT_ID"]["children"]:
            row = f"ROW-N-{self._suffix()}"
            position["GRID_ID"]["children"].append(row)
            position[row] = {
                "children": names,
                "id": row,
                "meta": {"0": "ROOT_ID", "background": "BACKGROUND_TRANSPARENT"},
                "type": "ROW",
                "parents": ["ROOT_ID", "GRID_ID"],
            }
        for name, chart in zip(names, orphans, strict=True):
            position[name] = {
                "children": [],
                "id": name,
                "type": "CHART",
                "meta": {
                    "chartId": self.ids.id_of(Kind.CHART, chart),
                    "height": 50,
                    "sliceName": self.rows[chart][1]["slice_name"],
                    "uuid": chart,
                    "width": 4,
                },
            }
            if row:
                position[name]["parents"] = ["ROOT_ID", "GRID_ID", row]

    def _suffix(self) -> str:
        return "".join(self._random.choice(string.ascii_uppercase + string.digits) for _ in range(8))


def without_databases(documents: Mapping[str, Document]) -> dict[str, Document]:
    return {uuid: item for uuid, item in documents.items() if item.kind != Kind.DATABASE}
