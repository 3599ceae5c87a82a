"""A large estate on a real Superset: what readings, comparisons and plans are measured on.

Deterministic: the same sizes give the same uuids and contents, so two instances filled alike hold the same assets.
Goes in through imports (20 ms an asset), with ten columns and three metrics to a dataset, ten charts to a dashboard,
stored queries, native filters and markdown: files as large as those of the examples.
"""

from __future__ import annotations

import io
import json
import uuid
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from environments.lab.errors import LabError
from environments.lab.instance import RunningSuperset
from environments.lab.rest import Rest

_NAMESPACE = uuid.UUID("5f0f4bfb-55a2-4c5e-9d2c-6f1c1f0a7d11")
_CHUNK = 50  # dashboards of one import, with their charts and datasets
_AREAS = ("Sales", "Finance", "Logistics", "Marketing", "Support", "People", "Risk", "Product")
_REGIONS = ("North", "South", "East", "West", "Emea", "Apac", "Latam")
_VIZ_TYPES = ("table", "big_number_total", "pie", "echarts_timeseries_line", "echarts_timeseries_bar")


@dataclass(frozen=True)
class Sizes:
    charts: int = 2_000
    dashboards: int = 200
    datasets: int = 1_000

    @property
    def total(self) -> int:
        return self.charts + self.dashboards + self.datasets


def uuid_of(kind: str, number: int) -> str:
    """The uuid of the n-th dashboard, chart or dataset, counted from 0."""
    return str(uuid.uuid5(_NAMESPACE, f"{kind} {number}"))


def build_large_estate(
    superset: RunningSuperset, sizes: Sizes | None = None, progress: Callable[[int, int], None] | None = None
) -> None:
    """Fill an instance that has at least one connection (contents "prod"): the datasets stand on its first.

    `progress(done, total)` in assets. Needs Superset 6.0 or later. A second time it writes the same again.
    """
    sizes = sizes or Sizes()
    rest = Rest(superset)
    found = rest.call("GET", "/api/v1/database/?q=(columns:!(id,uuid))")["result"]
    if not found:
        raise LabError("This Superset has no connection.", 'Start it with contents "prod".')
    database = str(found[0]["uuid"])
    done = 0
    for files in _chunks(sizes, database):
        rest.import_assets(_zipped(files))
        done += len(files)
        if progress is not None:
            progress(done, sizes.total)


def _chunks(sizes: Sizes, database: str) -> Iterator[dict[str, Any]]:
    """Path -> content of the files of one import: dashboards with what they stand on, then what is on none."""
    chunks = max(1, -(-sizes.dashboards // _CHUNK))
    for part in range(chunks):
        files: dict[str, Any] = {}
        for number in _share(sizes.datasets, part, chunks):
            files[f"datasets/large/{number}.yaml"] = _dataset(number, database)
        for number in _share(sizes.charts, part, chunks):
            files[f"charts/{number}.yaml"] = _chart(number, _within(number, sizes.charts, sizes.datasets))
        for number in _share(sizes.dashboards, part, chunks):
            files[f"dashboards/{number}.yaml"] = _dashboard(number, sizes)
        yield files


def _share(count: int, part: int, parts: int) -> range:
    return range(count * part // parts, count * (part + 1) // parts)


def _within(number: int, count: int, others: int) -> int:
    """Which of `others` the n-th of `count` goes with, in the same part of an import."""
    return number * others // count


def _dataset(number: int, database: str) -> dict[str, Any]:
    columns = [
        {
            "column_name": name,
            "type": kind,
            "is_dttm": kind == "TIMESTAMP",
            "groupby": True,
            "filterable": True,
        }
        for name, kind in [
            ("happened_at", "TIMESTAMP"),
            ("region", "VARCHAR"),
            ("amount", "NUMERIC"),
            *((f"attribute_{place}", "VARCHAR") for place in range(7)),
        ]
    ]
    metrics = [
        {"metric_name": "count", "expression": "COUNT(*)", "verbose_name": "Rows"},
        {"metric_name": "amount", "expression": "SUM(amount)", "verbose_name": "Amount"},
        {"metric_name": "mean", "expression": f"SUM(amount) / NULLIF(COUNT(*), {number % 3})"},
    ]
    is_virtual = number % 5 == 0
    return {
        "table_name": f"{_AREAS[number % len(_AREAS)].lower()}_{'view' if is_virtual else 'fact'}_{number:04d}",
        "schema": None,
        "sql": f"SELECT *\nFROM facts_{number:04d}\nWHERE region <> 'none'\n  AND amount > {number}"
        if is_virtual
        else None,
        "main_dttm_col": "happened_at",
        "description": f"Facts of {_AREAS[number % len(_AREAS)]}, number {number}.",
        "columns": columns,
        "metrics": metrics,
        "uuid": uuid_of("dataset", number),
        "database_uuid": database,
        "version": "1.0.0",
    }


def _chart(number: int, dataset: int) -> dict[str, Any]:
    viz_type = _VIZ_TYPES[number % len(_VIZ_TYPES)]
    where = {"clause": "WHERE", "expressionType": "SIMPLE", "subject": "region", "operator": "=="}
    params = {
        "viz_type": viz_type,
        "granularity_sqla": "happened_at",
        "time_range": "Last quarter",
        "groupby": ["region", f"attribute_{number % 7}"],
        "metrics": ["count", "amount"],
        "metric": "amount",
        "adhoc_filters": [{**where, "comparator": _REGIONS[number % len(_REGIONS)]}],
        "row_limit": 100 + number,
        "color_scheme": "supersetColors",
        "show_legend": number % 2 == 0,
    }
    query = {
        "columns": ["region", f"attribute_{number % 7}"],
        "metrics": ["count", "amount"],
        "filters": [{"col": "region", "op": "==", "val": _REGIONS[number % len(_REGIONS)]}],
        "time_range": "Last quarter",
        "granularity": "happened_at",
        "row_limit": 100 + number,
        "orderby": [["count", False]],
    }
    context = {
        "datasource": {"id": 1, "type": "table"},
        "force": False,
        "queries": [query],
        "form_data": params,
        "result_format": "json",
        "result_type": "full",
    }
    return {
        "slice_name": f"{_AREAS[number % len(_AREAS)]} by {_REGIONS[number % len(_REGIONS)]} {number:04d}",
        "viz_type": viz_type,
        "description": f"What {_AREAS[number % len(_AREAS)]} did, chart {number}.",
        "params": params,
        "query_context": json.dumps(context),
        "cache_timeout": None,
        "uuid": uuid_of("chart", number),
        "dataset_uuid": uuid_of("dataset", dataset),
        "version": "1.0.0",
    }


def _dashboard(number: int, sizes: Sizes) -> dict[str, Any]:
    charts = _share(sizes.charts, number, sizes.dashboards)
    position: dict[str, Any] = {
        "DASHBOARD_VERSION_KEY": "v2",
        "ROOT_ID": {"type": "ROOT", "id": "ROOT_ID", "children": ["GRID_ID"]},
        "GRID_ID": {"type": "GRID", "id": "GRID_ID", "parents": ["ROOT_ID"], "children": []},
    }
    parents = ["ROOT_ID", "GRID_ID"]
    for place, chart in enumerate(charts):
        row = f"ROW-{place // 3}"
        if row not in position:
            meta: dict[str, Any] = {"background": "BACKGROUND_TRANSPARENT"}
            position["GRID_ID"]["children"].append(row)
            position[row] = {"type": "ROW", "id": row, "parents": parents, "meta": meta, "children": []}
        name = f"CHART-{place}"
        position[row]["children"].append(name)
        meta = {"chartId": chart + 1, "uuid": uuid_of("chart", chart), "width": 4, "height": 50}
        position[name] = {
            "type": "CHART",
            "id": name,
            "parents": [*parents, row],
            "children": [],
            "meta": meta,
        }
    dataset = _within(charts.start, sizes.charts, sizes.datasets)
    native_filter = {
        "id": f"NATIVE_FILTER-{number}",
        "name": "Region",
        "filterType": "filter_select",
        "type": "NATIVE_FILTER",
        "targets": [{"column": {"name": "region"}, "datasetUuid": uuid_of("dataset", dataset)}],
        "scope": {"rootPath": ["ROOT_ID"], "excluded": []},
        "defaultDataMask": {"filterState": {}, "extraFormData": {}},
        "controlValues": {"multiSelect": True, "enableEmptyFilter": False},
        "cascadeParentIds": [],
    }
    return {
        "dashboard_title": f"{_AREAS[number % len(_AREAS)]} {_REGIONS[number % len(_REGIONS)]} {number:03d}",
        "description": f"The numbers of {_AREAS[number % len(_AREAS)]}.",
        "css": "",
        "slug": f"large-{number:03d}",
        "published": number % 4 != 0,
        "position": position,
        "metadata": {
            "color_scheme": "supersetColors",
            "refresh_frequency": 0,
            "native_filter_configuration": [native_filter],
        },
        "uuid": uuid_of("dashboard", number),
        "version": "1.0.0",
    }


def _zipped(files: dict[str, Any]) -> bytes:
    """As Superset exports it. JSON is YAML, and quicker to write and to read."""
    metadata = {"version": "1.0.0", "type": "assets", "timestamp": "2026-01-01T00:00:00+00:00"}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path, data in {"metadata.yaml": metadata, **files}.items():
            archive.writestr(f"large/{path}", json.dumps(data))
    return buffer.getvalue()
