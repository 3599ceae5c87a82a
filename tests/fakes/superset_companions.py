"""What goes with assets, in the fake Superset: users and roles, rules for rows, tags, layers, themes, reports, queries.

As 4.1.4 and 6.1.0 were seen to behave (tests/live/test_companions.py does the same on real ones): lists replace lists;
POST and PUT of a tag take it from all that is not named along; an embedded dashboard gets a uuid of the server's own;
before 6.0 there are no themes and, unless `security_api` is set, no lists of users and permissions.

    fake.feature_flags = {"TAGGING_SYSTEM": True, "ALERT_REPORTS": True, "EMBEDDED_SUPERSET": True}
    fake.add_user("ada", email="ada@example.org"); fake.add_role("Sales")
    fake.objects["rowlevelsecurity"]      # {id: fields} of everything that is no asset; `companion_state()` to compare
"""

from __future__ import annotations

import copy
import io
import itertools
import json
import re
import uuid as uuids
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import yaml

from .superset_bundles import FOLDERS, Bundles, Refusal, _dump, _multipart

VIEWS = {
    "rowlevelsecurity": "Row Level Security",
    "tag": "Tag",
    "annotation_layer": "Annotation",
    "css_template": "CssTemplate",
    "theme": "Theme",
    "report": "ReportSchedule",
    "saved_query": "SavedQuery",
}
UNIQUE = {"rowlevelsecurity": ("name",), "annotation_layer": ("name",), "report": ("type", "name")}
REPORT_DEFAULTS = {
    "active": True,
    "crontab": "0 0 * * *",
    "timezone": "UTC",
    "grace_period": 14400,
    "working_timeout": 3600,
    "log_retention": 90,
    "report_format": "PNG",
    "force_screenshot": False,
    "extra": {},
    "recipients": [],
    "validator_config_json": {},
}


class Companions(Bundles):
    """Part of FakeSuperset, which calls `start_companions` first."""

    role: str
    _record: Callable[[str, str], dict[str, Any]]
    feature_flags: dict[str, bool]

    def start_companions(self, first_id: int) -> None:
        self._numbers = itertools.count(first_id)
        self.accounts: dict[int, dict[str, Any]] = {}
        self.role_ids = {"Admin": 1, "Public": 2, "Alpha": 3, "Gamma": 4, "sql_lab": 5}
        self.grants: dict[str, set[str]] = {}  # role -> names of the resources that it may use
        self.security_api = self.number >= (6, 0)
        self.hidden_datasets: dict[int, dict[str, Any]] = {}  # that are there and the account does not see
        self.objects: dict[str, dict[int, dict[str, Any]]] = {name: {} for name in (*VIEWS, "annotation")}
        self.add_user("admin", email="admin@example.com", first_name="Ada", last_name="Admin")
        if self.number >= (6, 0):
            for name in ("THEME_DEFAULT", "THEME_DARK"):
                self.make("theme", {"theme_name": name, "json_data": "{}", "is_system": True})

    def add_user(
        self, username: str, *, email: str = "", first_name: str = "", last_name: str = "Fake"
    ) -> int:
        number = len(self.accounts) + 1
        self.accounts[number] = {
            "id": number,
            "username": username,
            "email": email or f"{username}@example.com",
            "first_name": first_name or username.title(),
            "last_name": last_name,
            "active": True,
        }
        return number

    def add_role(self, name: str) -> int:
        self.role_ids[name] = max(self.role_ids.values()) + 1
        return self.role_ids[name]

    def make(self, resource: str, fields: dict[str, Any]) -> int:
        """One more row, as a POST makes it; its id."""
        number = next(self._numbers)
        row = {"id": number, **fields}
        if resource in ("theme", "saved_query"):
            row.setdefault("uuid", str(uuids.uuid4()))
        self.objects[resource][number] = row
        return number

    def companion_state(self) -> Any:
        """Everything beside the assets that a client could have changed, to compare before and after."""
        facets = {
            kind: {
                number: {key: record.get(key) for key in ("owners", "roles", "tags", "embedded")}
                for number, record in records.items()
            }
            for kind, records in self.assets.items()
        }
        return copy.deepcopy({"objects": self.objects, "grants": self.grants, "facets": facets})

    # -- requests ------------------------------------------------------------------------------------

    def companion_answer(self, request: httpx.Request, parts: list[str], asked: Any) -> httpx.Response | None:
        """The answer where the address is one of these; None where it is not."""
        kind = parts[0]
        if kind in FOLDERS and parts[1:2] == ["related"]:
            return self._related(parts[2], asked)
        if kind == "dashboard" and parts[2:] == ["embedded"]:
            return self._embedded(request, self._record(kind, parts[1]))
        if (
            kind == "security"
            and len(parts) > 1
            and parts[1] in ("users", "roles", "resources", "permissions-resources")
        ):
            return self._security(request, parts, asked)
        if kind not in VIEWS:
            return None
        if (kind == "report" and not self.feature_flags.get("ALERT_REPORTS")) or (
            kind == "theme" and self.number < (6, 0)
        ):
            raise Refusal(404, {"message": "Not found"})
        if self.role != "Admin":
            raise Refusal(403, {"message": "Forbidden"})
        return self._object(request, parts, asked)

    def _object(self, request: httpx.Request, parts: list[str], asked: Any) -> httpx.Response:
        resource, rest = parts[0], parts[1:]
        if resource == "annotation_layer" and len(rest) > 1 and rest[1] == "annotation":
            return self._crud(request, "annotation", rest[2:], asked, layer=int(rest[0]))
        if rest == ["export"]:
            return self._export_query(asked[0])
        if rest == ["import"]:
            return self._import_objects(resource, request)
        if resource == "tag" and rest == ["bulk_create"]:
            for tag in json.loads(request.content)["tags"]:
                self._tag(tag, keep=True)
            return httpx.Response(200, json={"result": {"objects_tagged": [], "objects_skipped": []}})
        if resource == "tag" and request.method in ("POST", "PUT"):
            self._tag(json.loads(request.content), keep=False, number=int(rest[0]) if rest else None)
            return httpx.Response(201 if request.method == "POST" else 200, json={})
        return self._crud(request, resource, rest, asked)

    def _crud(
        self, request: httpx.Request, resource: str, rest: list[str], asked: Any, layer: int | None = None
    ) -> httpx.Response:
        rows = {
            number: row for number, row in self.objects[resource].items() if layer in (None, row.get("layer"))
        }
        if not rest and request.method == "GET":
            return self._page_of([self._shown(resource, row, alone=False) for row in rows.values()], asked)
        if not rest:
            fields = self._valid(resource, json.loads(request.content), None)
            number = self.make(resource, fields | ({"layer": layer} if layer is not None else {}))
            return httpx.Response(201, json={"id": number, "result": fields})
        number = int(rest[0])
        if number not in rows:
            raise Refusal(404, {"message": "Not found"})
        if request.method == "GET":
            return httpx.Response(
                200, json={"id": number, "result": self._shown(resource, rows[number], alone=True)}
            )
        if request.method == "DELETE":
            held = any(item["layer"] == number for item in self.objects["annotation"].values())
            if resource == "annotation_layer" and held:
                raise Refusal(422, {"message": "Annotation layer has associated annotations."})
            del self.objects[resource][number]
            if resource == "tag":
                self._untag(number)
            return httpx.Response(200, json={"message": "OK"})
        fields = self._valid(resource, json.loads(request.content), number)
        if fields.get("recipients") == [] and self.number < (6, 1):
            del fields["recipients"]
        self.objects[resource][number] |= fields
        return httpx.Response(200, json={"id": number, "result": fields})

    def _valid(self, resource: str, fields: dict[str, Any], number: int | None) -> dict[str, Any]:
        held = self.objects[resource].get(number or 0, {})
        names = UNIQUE.get(resource, ())
        wanted = [fields.get(name, held.get(name)) for name in names]
        for other in self.objects[resource].values():
            if names and other["id"] != number and [other.get(name) for name in names] == wanted:
                raise Refusal(
                    422, {"message": "()" if resource == "rowlevelsecurity" else "Name must be unique"}
                )
        if resource == "rowlevelsecurity":
            unknown = set(fields.get("tables", ())) - {*self.assets["dataset"], *self.hidden_datasets}
            if unknown or set(fields.get("roles", ())) - set(self.role_ids.values()):
                raise Refusal(
                    422, {"message": "Datasets do not exist" if unknown else "Some roles do not exist"}
                )
        if resource == "report":
            if number is None:
                fields = {**REPORT_DEFAULTS, **fields, "owners": fields.get("owners") or [1]}
            else:  # an Admin may take all of them away
                fields = {**fields, "owners": fields.get("owners", held.get("owners"))}
            for name in ("chart", "dashboard", "database"):
                if fields.get(name) is not None and fields[name] not in self.assets[name]:
                    raise Refusal(422, {"message": {name: [f"{name.title()} does not exist"]}})
        return fields

    def _shown(self, resource: str, row: dict[str, Any], *, alone: bool) -> dict[str, Any]:
        row = dict(row)
        if resource == "rowlevelsecurity":
            row["tables"] = [
                {"id": number, "schema": data.get("schema"), "table_name": data["table_name"]}
                for number in row["tables"]
                if (data := (self.assets["dataset"] | self.hidden_datasets).get(number, {}).get("data"))
            ]
            row["roles"] = self.roles_of(row["roles"])
        elif resource == "report":
            row["owners"] = self.people_of(row["owners"])
            for name in ("chart", "dashboard", "database"):
                row[f"{name}_id"] = number = row.get(name)
                row[name] = {"id": number} if number in self.assets[name] else None
            row["validator_config_json"] = json.dumps(row["validator_config_json"])
            configs = [json.dumps(item["recipient_config_json"]) for item in row["recipients"]]
            row["recipients"] = [
                {"type": item["type"]} | ({"recipient_config_json": config} if alone else {})
                for item, config in zip(row["recipients"], configs, strict=True)
            ]
        elif resource == "saved_query":
            row.pop("uuid")  # in no list, nor alone
        elif resource == "annotation" and not alone:
            row.pop("json_metadata", None)
        return row

    @staticmethod
    def _page_of(rows: list[dict[str, Any]], asked: Any) -> httpx.Response:
        asked = asked if isinstance(asked, dict) else {}
        for rule in asked.get("filters", []):
            if rule["opr"] == "in":
                rows = [row for row in rows if row.get(rule["col"]) in rule["value"]]
            elif rule["opr"] == "ew":
                rows = [row for row in rows if str(row.get(rule["col"])).endswith(rule["value"])]
            elif rule["opr"] == "rel_o_m":
                rows = [row for row in rows if row[rule["col"]]["id"] == rule["value"]]
        size = min(asked.get("page_size", 20) or 20, 100)
        page = rows[asked.get("page", 0) * size :][:size]
        if columns := asked.get("columns"):
            heads = {column.partition(".")[0] for column in columns}
            page = [{key: value for key, value in row.items() if key in heads} for row in page]
        body = {"count": len(rows), "ids": [row["id"] for row in page], "result": page}
        return httpx.Response(200, json=body)

    # -- people --------------------------------------------------------------------------------------

    def people_of(self, owners: list[Any]) -> list[dict[str, Any]]:
        """Owners as lists show them: with addresses from 6.1 on. A test may have put such rows there itself."""
        fields = ["id", "first_name", "last_name", *(["email"] if self.number >= (6, 1) else [])]
        return [
            {name: self.accounts[owner][name] for name in fields} if isinstance(owner, int) else owner
            for owner in owners
        ]

    def roles_of(self, roles: list[Any]) -> list[dict[str, Any]]:
        names = {number: name for name, number in self.role_ids.items()}
        return [{"id": role, "name": names[role]} if isinstance(role, int) else role for role in roles]

    def tags_of(self, tags: list[Any]) -> list[dict[str, Any]]:
        return [
            {name: self.objects["tag"][tag].get(name) for name in ("id", "name", "type")}
            if isinstance(tag, int)
            else tag
            for tag in tags
        ]

    def _related(self, field: str, asked: Any) -> httpx.Response:
        if field == "owners":
            rows = [
                {
                    "value": user["id"],
                    "text": f"{user['first_name']} {user['last_name']}",
                    "extra": {"active": user["active"], "email": user["email"]},
                }
                for user in self.accounts.values()
            ]
        else:
            rows = [{"value": number, "text": name, "extra": {}} for name, number in self.role_ids.items()]
        size = min(asked.get("page_size", 20), 100)
        start = asked.get("page", 0) * size
        return httpx.Response(200, json={"count": len(rows), "result": rows[start : start + size]})

    def _security(self, request: httpx.Request, parts: list[str], asked: Any) -> httpx.Response:
        if not self.security_api:
            raise Refusal(404, {"errors": [{"message": "404 Not Found"}]})
        if self.role != "Admin":
            raise Refusal(403, {"message": "Forbidden"})
        if parts[1] == "users":
            return self._page_of(list(self.accounts.values()), asked)
        resources = sorted(self._resources())
        if parts[1] == "roles":
            name = next(name for name, number in self.role_ids.items() if number == int(parts[2]))
            if request.method == "POST":
                ids = json.loads(request.content)["permission_view_menu_ids"]
                self.grants[name] = {resources[number - 1][0] for number in ids}
                return httpx.Response(200, json={"result": {"permission_view_menu_ids": ids}})
            held = self.grants.get(name, set())
            rows = [
                {"id": number, "permission_name": permission, "view_menu_name": resource}
                for number, (resource, permission) in enumerate(resources, 1)
                if resource in held
            ]
            everything = [{"id": 9999, "permission_name": "all_datasource_access", "view_menu_name": "all"}]
            return httpx.Response(200, json={"result": everything if name in ("Admin", "Alpha") else rows})
        rows = [
            {"id": number, "name": resource}
            if parts[1] == "resources"
            else {
                "id": number,
                "permission": {"name": permission},
                "view_menu": {"id": number, "name": resource},
            }
            for number, (resource, permission) in enumerate(resources, 1)
        ]
        return self._page_of(rows, asked)

    def _resources(self) -> Iterator[tuple[str, str]]:
        for number, record in self.assets["database"].items():
            yield f"[{record['data']['database_name']}].(id:{number})", "database_access"
        for number, record in self.assets["dataset"].items():
            yield f"[fake].[{record['data']['table_name']}](id:{number})", "datasource_access"

    # -- tags, embedding, themes, queries ------------------------------------------------------------

    def _tag(self, fields: dict[str, Any], *, keep: bool, number: int | None = None) -> None:
        name = fields["name"].strip()
        known = next((key for key, tag in self.objects["tag"].items() if tag["name"] == name), None)
        number = number or known or self.make("tag", {"name": name, "type": 1})
        self.objects["tag"][number] |= {"name": name, "description": fields.get("description")}
        if not keep:
            self._untag(number)
        for kind, asset in fields["objects_to_tag"]:
            tags = self.assets[kind][asset]["tags"]
            tags.extend([] if number in tags else [number])

    def _untag(self, number: int) -> None:
        for records in self.assets.values():
            for record in records.values():
                record["tags"] = [tag for tag in record["tags"] if tag != number]

    def _embedded(self, request: httpx.Request, record: dict[str, Any]) -> httpx.Response:
        if request.method == "DELETE":
            record.pop("embedded", None)
            return httpx.Response(200, json={"message": "OK"})
        if request.method in ("POST", "PUT"):
            held = record.setdefault("embedded", {"uuid": str(uuids.uuid4())})
            held["allowed_domains"] = json.loads(request.content)["allowed_domains"]
        if "embedded" not in record:
            raise Refusal(404, {})
        return httpx.Response(200, json={"result": {**record["embedded"], "dashboard_id": str(record["id"])}})

    def theme_of(self, record: dict[str, Any]) -> dict[str, Any] | None:
        uuid = record["data"].get("theme_uuid")
        themes = self.objects["theme"].values()
        return next(
            ({"id": row["id"], "theme_name": row["theme_name"]} for row in themes if row["uuid"] == uuid),
            None,
        )

    def _export_query(self, number: int) -> httpx.Response:
        row = self.objects["saved_query"].get(number)
        if row is None:
            raise Refusal(404, {"message": "Not found"})
        database = self.assets["database"][row["db_id"]]["data"]
        fields = ("label", "description", "sql", "catalog", "schema", "uuid")
        data = {name: row.get(name) for name in fields}
        data |= {"version": "1.0.0", "database_uuid": database["uuid"]}
        slug = re.sub(r"\W+", "_", row["label"]).strip("_")
        files: dict[str, dict[str, Any]] = {
            "metadata.yaml": {"version": "1.0.0", "type": "SavedQuery"},
            f"queries/db/{slug}.yaml": data,
        }
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, content in files.items():
                archive.writestr(f"saved_query_export_20260101T000000/{name}", _dump(content))
        return httpx.Response(200, content=buffer.getvalue(), headers={"content-type": "application/zip"})

    def _import_objects(self, resource: str, request: httpx.Request) -> httpx.Response:
        folder = {"theme": "themes/", "saved_query": "queries/"}[resource]
        form = _multipart(request)
        with zipfile.ZipFile(io.BytesIO(form["formData"])) as archive:
            files = {name.split("/", 1)[1]: yaml.safe_load(archive.read(name)) for name in archive.namelist()}
        for name, data in files.items():
            if not name.startswith(folder):
                continue
            if resource == "saved_query":
                if self.number < (5, 0) and "catalog" in data:
                    raise Refusal(
                        422, {"errors": [{"message": "x", "extra": {name: {"catalog": ["Unknown field."]}}}]}
                    )
                database = self.record("database", data.pop("database_uuid"))
                data["db_id"] = database["id"]
            else:
                data["json_data"] = json.dumps(data["json_data"])
            data.pop("version")
            rows = self.objects[resource]
            known = next((number for number, row in rows.items() if row["uuid"] == data["uuid"]), None)
            if known is None:
                self.make(resource, data)
            elif form.get("overwrite") != b"true":
                said = f"{folder}x already exists and `overwrite=true` was not passed"
                raise Refusal(422, {"errors": [{"message": "x", "extra": {name: said}}]})
            else:
                rows[known] |= data
        said = "Theme imported successfully" if resource == "theme" else "OK"
        return httpx.Response(200, json={"message": said})
