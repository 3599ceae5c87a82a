"""Raw assets as exports hold them, in as few words as a test needs; uuids and ids are told apart at a glance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from environments.canonical.documents import Document, Kind
from environments.canonical.ids import IdTable
from environments.canonical.reading import Reading, read_assets

from .model import Raw

URL = "https://dev.example.org"
EXAMPLES = Path(__file__).parents[1] / "data" / "bundles" / "examples"


def uid(kind: str, number: int) -> str:
    """A uuid that says what it is of: "c" charts, "d" dashboards, "e" datasets, "b" databases."""
    return f"{kind * 8}-0000-4000-8000-{number:012d}"


def chart_node(number: int, uuid: str | None = None, **meta: Any) -> dict[str, Any]:
    stored = {"uuid": uuid} if uuid else {}
    return {
        "type": "CHART",
        "children": [],
        "meta": {"chartId": number, **stored, "width": 4, "height": 50, **meta},
    }


def layout(*rows: list[dict[str, Any]]) -> dict[str, Any]:
    position: dict[str, Any] = {
        "DASHBOARD_VERSION_KEY": "v2",
        "ROOT_ID": {"type": "ROOT", "id": "ROOT_ID", "children": ["GRID_ID"]},
        "GRID_ID": {"type": "GRID", "id": "GRID_ID", "parents": ["ROOT_ID"], "children": []},
    }
    for index, nodes in enumerate(rows):
        row = f"ROW-{index}"
        position["GRID_ID"]["children"].append(row)
        position[row] = {
            "type": "ROW",
            "id": row,
            "parents": ["ROOT_ID", "GRID_ID"],
            "meta": {},
            "children": [],
        }
        for place, node in enumerate(nodes):
            name = f"{node['type']}-{index}-{place}"
            position[row]["children"].append(name)
            position[name] = {"id": name, "parents": ["ROOT_ID", "GRID_ID", row], **node}
    return position


def raw_dashboard(number: int, position: Any = None, metadata: Any = None, **fields: Any) -> Raw:
    data = {
        "dashboard_title": f"Dashboard {number}",
        "slug": None,
        "css": "",
        "published": True,
        "position": layout() if position is None else position,
        "metadata": {} if metadata is None else metadata,
        "version": "1.0.0",
        **fields,
    }
    return Raw("dashboard", uid("d", number), {**data, "uuid": uid("d", number)}, number)


def raw_chart(number: int, dataset: int | None = 1, params: Any = None, **fields: Any) -> Raw:
    data = {
        "slice_name": f"Chart {number}",
        "viz_type": "table",
        "params": {"viz_type": "table", "datasource": f"{dataset}__table"} if params is None else params,
        "query_context": None,
        "cache_timeout": None,
        "version": "1.0.0",
        **({"dataset_uuid": uid("e", dataset)} if dataset is not None else {}),
        **fields,
    }
    return Raw("chart", uid("c", number), {**data, "uuid": uid("c", number)}, number)


def raw_dataset(number: int, database: int = 1, **fields: Any) -> Raw:
    data = {
        "table_name": f"table_{number}",
        "schema": "public",
        "catalog": None,
        "sql": None,
        "columns": [{"column_name": "a", "type": "TEXT"}],
        "metrics": [{"metric_name": "count", "expression": "COUNT(*)"}],
        "version": "1.0.0",
        "database_uuid": uid("b", database),
        **fields,
    }
    return Raw("dataset", uid("e", number), {**data, "uuid": uid("e", number)}, number)


def raw_database(
    number: int, uri: str = "postgresql://reader:XXXXXXXXXX@warehouse/dev", **fields: Any
) -> Raw:
    data = {
        "database_name": f"Warehouse {number}",
        "sqlalchemy_uri": uri,
        "extra": {},
        "version": "1.0.0",
        **fields,
    }
    return Raw("database", uid("b", number), {**data, "uuid": uid("b", number)})


def read(*assets: Raw, ids: IdTable | None = None, url: str = URL) -> Reading:
    """A reading of an environment that holds just these."""
    return read_assets(assets, ids, url)


def one(asset: Raw, *others: Raw, ids: IdTable | None = None) -> Document:
    """The canonical document of the first."""
    return read(asset, *others, ids=ids).documents[asset.uuid]


def codes(reading: Reading) -> set[str]:
    return {note.code for note in reading.notes}


def example_files() -> list[Raw]:
    """Two of Superset's example dashboards with all they stand on, as 6.1.0 exported them."""
    files = []
    for path in sorted(EXAMPLES.rglob("*.yaml")):
        if path.name != "metadata.yaml":
            data = yaml.safe_load(path.read_text())
            kind = path.relative_to(EXAMPLES).parts[0].removesuffix("s")
            number = path.stem.rpartition("_")[2]
            files.append(Raw(kind, data["uuid"], data, None if kind == Kind.DATABASE else int(number)))
    return files
