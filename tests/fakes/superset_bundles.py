"""The fake Superset's exports and imports, by the tables in superset-api.md 6, 8 and 9."""

from __future__ import annotations

import copy
import io
import json
import re
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import yaml

from environments.canonical.rules import CONVERTED_VIZ_TYPES

FOLDERS = {"dashboard": "dashboards", "chart": "charts", "dataset": "datasets", "database": "databases"}
TITLES = {
    "dashboard": "dashboard_title",
    "chart": "slice_name",
    "dataset": "table_name",
    "database": "database_name",
}
TYPES = {"dashboard": "Dashboard", "chart": "Slice", "dataset": "SqlaTable", "database": "Database"}


class Refusal(Exception):
    def __init__(self, status: int, body: Any) -> None:
        self.response = httpx.Response(status, json=body)


class Bundles:
    """What FakeSuperset has of bundles; the attributes are FakeSuperset's."""

    assets: dict[str, dict[int, dict[str, Any]]]

    version: str

    @property
    def number(self) -> tuple[int, ...]:
        """(6, 1, 0)"""
        return tuple(int(part) for part in self.version.split("."))

    def _now(self) -> datetime:
        raise NotImplementedError

    def _new(self, kind: str, data: dict[str, Any], uuid: str | None) -> str:
        raise NotImplementedError

    def id_of(self, kind: str, uuid: str) -> int:
        return next(id for id, record in self.assets[kind].items() if record["data"]["uuid"] == uuid)

    def record(self, kind: str, uuid: str) -> dict[str, Any]:
        return self.assets[kind][self.id_of(kind, uuid)]

    def find(self, kind: str, uuid: str) -> dict[str, Any] | None:
        return next((item for item in self.assets[kind].values() if item["data"]["uuid"] == uuid), None)

    def _export(self, kind: str | None, ids: list[int] | None) -> httpx.Response:
        files: dict[str, dict[str, Any]] = {}
        wanted: list[tuple[str, dict[str, Any]]] = []
        if kind is None:
            wanted = [(of, record) for of in FOLDERS for record in self.assets[of].values()]
        else:
            assert ids is not None
            if len(set(ids)) != len(ids) or any(id not in self.assets[kind] for id in ids):
                raise Refusal(404, {"message": "Not found"})
            wanted = [(kind, self.assets[kind][id]) for id in ids]
        for of, record in wanted:
            for name, data in self._files_of(of, record):
                files.setdefault(name, data)  # Superset keeps the first of one name, and says nothing
        metadata = {"version": "1.0.0", "type": TYPES.get(kind or "", "assets")}
        metadata["timestamp"] = datetime.now(UTC).isoformat()
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, data in {"metadata.yaml": metadata, **files}.items():
                archive.writestr(f"{kind or 'assets'}_export_20260101T000000/{name}", _dump(data))
        return httpx.Response(200, content=buffer.getvalue(), headers={"content-type": "application/zip"})

    def _files_of(self, kind: str, record: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        data = copy.deepcopy(record["data"])
        name = f"{_slug(data[TITLES[kind]])}_{record['id']}".lstrip("_")
        if kind == "dashboard":
            for native_filter in data["metadata"].get("native_filter_configuration", []):
                for target in native_filter.get("targets", []):
                    dataset = self.assets["dataset"].get(target.pop("datasetId", None))
                    if dataset is not None:
                        target["datasetUuid"] = dataset["data"]["uuid"]
                        yield from self._files_of("dataset", dataset)
            self._append_orphans(data["position"], record)
            yield f"dashboards/{name}.yaml", data
            for chart in record.get("charts", ()):
                if (found := self.find("chart", chart)) is not None:
                    yield from self._files_of("chart", found)
        elif kind == "chart":
            yield f"charts/{name}.yaml", data
            if (dataset := self.find("dataset", data["dataset_uuid"])) is not None:
                yield from self._files_of("dataset", dataset)
        elif kind == "dataset":
            database = self.find("database", data["database_uuid"])
            folder = _slug(database["data"]["database_name"]) if database else "gone"
            name = name if self.number >= (6, 0) else _slug(data["table_name"])
            yield f"datasets/{folder}/{name}.yaml", data
            if database is not None:
                yield from self._files_of("database", database)
        else:
            data["sqlalchemy_uri"] = re.sub(r"(://[^:/@]+):[^@]*@", r"\1:XXXXXXXXXX@", data["sqlalchemy_uri"])
            yield f"databases/{_slug(data['database_name'])}.yaml", data

    def _append_orphans(self, position: dict[str, Any], record: dict[str, Any]) -> None:
        """Charts that belong to a dashboard and are not in its layout are appended to it (ExportDashboardsCommand)."""
        nodes = [node for node in position.values() if isinstance(node, dict) and node["type"] == "CHART"]
        shown = {node["meta"].get("uuid") for node in nodes}
        for uuid in sorted(set(record.get("charts", ())) - shown):
            chart = self.find("chart", uuid)
            if chart is None:
                continue
            row, id = f"ROW-N-{uuid[:8]}", f"CHART-{uuid[:8]}"
            meta = {"chartId": chart["id"], "uuid": uuid, "width": 4, "height": 50}
            position[id] = {"id": id, "type": "CHART", "children": [], "meta": meta}
            position[row] = {"id": row, "type": "ROW", "children": [id], "meta": {}}
            position["GRID_ID"]["children"].append(row)

    def _import(self, kind: str | None, request: httpx.Request, field: str) -> httpx.Response:
        form = _multipart(request)
        if field not in form:
            raise Refusal(400, {"message": "Arguments are not correct"})
        try:
            with zipfile.ZipFile(io.BytesIO(form[field])) as archive:
                files = {
                    name.split("/", 1)[1]: yaml.safe_load(archive.read(name)) for name in archive.namelist()
                }
        except zipfile.BadZipFile:
            raise Refusal(422, {"errors": [{"message": "Not a ZIP file", "extra": {}}]}) from None
        sparse = form.get("sparse") == b"true" and kind is None and self.number >= (6, 0)
        problems = self._invalid(kind, files)
        if problems and kind is None:  # seen on 4.1.4 and 6.1.0: assets/import gives no reason for anything
            reason = "Import failed for an unknown reason"
            raise Refusal(500, {"errors": [{"message": reason, "error_type": "GENERIC_COMMAND_ERROR"}]})
        if problems:
            what = f"Error importing {kind or 'assets'}"
            message = what if self.number < (6, 0) else f"{what}: {json.dumps(problems)}"
            raise Refusal(422, {"errors": [{"message": message, "extra": {**problems, "issue_codes": []}}]})
        before = copy.deepcopy(self.assets)
        try:
            self._take(kind, files, overwrite=form.get("overwrite") == b"true", sparse=sparse)
        except KeyError as missing:
            self.assets = before  # one transaction
            reason = f"Import {kind or ''} failed for an unknown reason"
            raise Refusal(500, {"errors": [{"message": reason, "detail": str(missing)}]}) from None
        except Refusal:
            self.assets = before
            raise
        return httpx.Response(200, json={"message": "OK"})

    def _invalid(self, kind: str | None, files: dict[str, Any]) -> dict[str, Any]:
        problems: dict[str, Any] = {}
        if files.get("metadata.yaml", {}).get("type") not in (None, TYPES.get(kind or "", "assets")):
            problems["metadata.yaml"] = {"type": [f"Must be equal to {TYPES.get(kind or '', 'assets')}."]}
        needs = {
            "charts": ("dataset_uuid", "viz_type"),
            "datasets": ("database_uuid",),
            "dashboards": ("position",),
        }
        for name, data in files.items():
            folder = name.split("/")[0]
            missing = [
                field
                for field in (*needs.get(folder, ()), "uuid")
                if folder + "/" in name and not data.get(field)
            ]
            if missing:
                problems[name] = {field: ["Missing data for required field."] for field in missing}
        return problems

    def _take(self, main: str | None, files: dict[str, Any], *, overwrite: bool, sparse: bool) -> None:
        by_kind = {
            kind: {n: d for n, d in files.items() if n.startswith(f"{folder}/")}
            for kind, folder in FOLDERS.items()
        }
        if main is not None and not overwrite:
            for data in by_kind[main].values():
                if self.find(main, data["uuid"]) is not None:
                    text = f"{TYPES[main]} already exists and `overwrite=true` was not passed"
                    raise Refusal(422, {"errors": [{"message": text, "extra": {}}]})
        sent = {data["uuid"] for group in by_kind.values() for data in group.values()}
        for kind in ("database", "dataset", "chart", "dashboard"):
            for data in by_kind[kind].values():
                # What must be in the bundle, or with `sparse` on the target; else the importer's KeyError.
                need = {"dataset": "database_uuid", "chart": "dataset_uuid"}.get(kind)
                if need and data[need] not in sent and not (sparse and self._known(data[need])):
                    raise KeyError(data[need])
                self._put(kind, copy.deepcopy(data), overwrite=main is None or (overwrite and kind == main))

    def _known(self, uuid: str) -> bool:
        return any(self.find(kind, uuid) is not None for kind in FOLDERS)

    def _put(self, kind: str, data: dict[str, Any], *, overwrite: bool) -> None:
        record = self.find(kind, data["uuid"])
        natural = {"database": "database_name", "dashboard": "slug", "dataset": "table_name"}.get(kind)
        if record is not None and not overwrite:
            return
        if record is None and natural and data.get(natural):  # hijacked: superset-api.md 9.2
            same = ("database_uuid", "schema", "table_name") if kind == "dataset" else (natural,)
            record = next(
                (
                    item
                    for item in self.assets[kind].values()
                    if all(item["data"].get(key) == data.get(key) for key in same)
                ),
                None,
            )
        if record is None:
            self._new(kind, data, data["uuid"])
            record = self.record(kind, data["uuid"])
        if kind == "chart" and (dataset := self.find("dataset", data["dataset_uuid"])) is not None:
            data["params"] = {**(data.get("params") or {}), "datasource": f"{dataset['id']}__table"}
        if kind == "chart" and (layers := data["params"].get("annotation_layers")):  # I#32722
            data["params"]["annotation_layers"] = [
                layer for layer in layers if layer.get("annotationType") == "FORMULA"
            ]
        if kind == "chart" and (successor := CONVERTED_VIZ_TYPES.get(str(data.get("viz_type")))):
            data["viz_type"] = data["params"]["viz_type"] = successor
            data["params"]["x_axis"] = data["params"].pop("granularity_sqla", None)
        if kind == "dashboard":
            nodes = [
                node
                for node in data["position"].values()
                if isinstance(node, dict) and node["type"] == "CHART"
            ]
            on = set() if self.number >= (6, 1) else set(record.get("charts", ()))
            for node in nodes:
                chart = self.find("chart", node["meta"].get("uuid", ""))
                if chart is not None:
                    node["meta"]["chartId"] = chart["id"]
                    on.add(node["meta"]["uuid"])
            record["charts"] = on
            for native_filter in data["metadata"].get("native_filter_configuration", []):
                for target in native_filter.get("targets", []):
                    if "datasetUuid" in target:
                        target["datasetId"] = self.id_of("dataset", target.pop("datasetUuid"))
        record["data"] = data
        record["changed_on"] = self._now()


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "", "_".join(name.replace("/", " ").split())).strip("._")


def _dump(data: dict[str, Any]) -> str:
    return str(yaml.safe_dump(data, sort_keys=False))


def _multipart(request: httpx.Request) -> dict[str, bytes]:
    boundary = request.headers.get("content-type", "").partition("boundary=")[2].encode()
    if not boundary:
        return {}
    form: dict[str, bytes] = {}
    for part in request.content.split(b"--" + boundary)[1:-1]:
        head, _, body = part.strip(b"\r\n").partition(b"\r\n\r\n")
        name = re.search(rb'name="([^"]+)"', head)
        if name is not None:
            form[name.group(1).decode()] = body
    return form
