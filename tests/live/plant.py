"""Estates for a purpose, put into a real Superset by its own import: one request, whatever is in them."""

from __future__ import annotations

import io
import json
import re
import urllib.parse
import uuid
import zipfile
from typing import Any

from environments.lab.instance import RunningSuperset
from environments.lab.rest import Rest
from tests.live.nasty import COUNT

_NOT_YAML = re.compile("[\x7f-\xa0\u2028\u2029\ufeff]")
_NAMESPACE = uuid.UUID("0d9a1f5e-6a1b-4f0e-9a3a-3c6d5a0b7e42")


def uuid_of(name: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, name))


def zipped(files: dict[str, Any]) -> bytes:
    """A bundle for assets/import from path -> content. JSON is YAML but for halves of emoji, and for what YAML takes
    for line breaks or leaves out.
    """
    files = {"metadata.yaml": {"version": "1.0.0", "type": "assets"}, **files}
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for path, content in files.items():
            text = json.dumps(content, ensure_ascii=False)
            text = _NOT_YAML.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
            archive.writestr(f"plant/{path}", text)
    return data.getvalue()


def grid(charts: list[str], *extra: dict[str, Any]) -> dict[str, Any]:
    """A layout of rows with four charts (uuids) each, then one row of other nodes."""
    layout: dict[str, Any] = {
        "DASHBOARD_VERSION_KEY": "v2",
        "ROOT_ID": {"type": "ROOT", "id": "ROOT_ID", "children": ["GRID_ID"]},
        "GRID_ID": {"type": "GRID", "id": "GRID_ID", "children": [], "parents": ["ROOT_ID"]},
    }
    nodes = [
        {
            "type": "CHART",
            "id": f"CHART-{number}-{chart[:8]}",
            "children": [],
            "meta": {"uuid": chart, "chartId": number + 1, "width": 3, "height": 30, "sliceName": chart[:4]},
        }
        for number, chart in enumerate(charts)
    ]
    rows = [nodes[start : start + 4] for start in range(0, len(nodes), 4)] + ([[*extra]] if extra else [])
    for number, row in enumerate(rows):
        name = f"ROW-{number}"
        layout["GRID_ID"]["children"].append(name)
        parents = ["ROOT_ID", "GRID_ID"]
        layout[name] = {
            "type": "ROW",
            "id": name,
            "children": [node["id"] for node in row],
            "parents": parents,
            "meta": {"background": "BACKGROUND_TRANSPARENT"},
        }
        layout |= {node["id"]: {**node, "parents": [*parents, name]} for node in row}
    return layout


class Plant:
    """Collects assets by name, and imports them. Names are titles too; uuids follow from them (`uuid_of`)."""

    def __init__(self, superset: RunningSuperset, database: str) -> None:
        self.superset, self.rest, self.database = superset, Rest(superset), database
        self.files: dict[str, Any] = {}

    def dataset(self, name: str, table: str = "", **fields: Any) -> str:
        columns = fields.pop("columns", ["id"])
        body = {
            "table_name": table or name,
            "schema": None,
            "sql": None,
            "columns": [{"column_name": column, "type": "TEXT", "groupby": True} for column in columns],
            "metrics": [{"metric_name": "count", "expression": "COUNT(*)"}],
            "database_uuid": self.database,
            "version": "1.0.0",
            **fields,
        }
        return self._put("datasets/db", name, body)

    def chart(self, name: str, dataset: str, viz_type: str = "big_number_total", **fields: Any) -> str:
        params = fields.pop("params", {"metric": COUNT})
        body = {
            "slice_name": name,
            "viz_type": viz_type,
            "params": {"viz_type": viz_type, "datasource": "1__table", **params},
            "query_context": None,
            "dataset_uuid": dataset,
            "version": "1.0.0",
            **fields,
        }
        return self._put("charts", name, body)

    def dashboard(self, name: str, charts: list[str], **fields: Any) -> str:
        body = {
            "dashboard_title": name,
            "slug": None,
            "position": grid(charts),
            "metadata": {},
            "version": "1.0.0",
            **fields,
        }
        return self._put("dashboards", name, body)

    def _put(self, folder: str, name: str, body: dict[str, Any]) -> str:
        body.setdefault("uuid", uuid_of(name))
        self.files[f"{folder}/{body['uuid']}.yaml"] = body
        return str(body["uuid"])

    def grow(self) -> Plant:
        """Import what was collected; a second time it writes the same again."""
        self.rest.import_assets(zipped(self.files))
        return self

    def id_of(self, kind: str, uuid: str) -> int:
        query = urllib.parse.quote(f"(filters:!((col:uuid,opr:eq,value:'{uuid}')),columns:!(id))")
        return int(self.rest.call("GET", f"/api/v1/{kind}/?q={query}")["result"][0]["id"])
