"""A small Superset in this process, for everything that talks to one: give it to a client as `transport=`.

    fake = FakeSuperset(version="6.1.0")
    fake.add_database("Warehouse", uuid=DB)
    fake.add_dataset("orders", database=DB)
    fake.add_chart("Sales", dataset=...); fake.add_dashboard("Overview", charts=[...])
    client = SupersetClient(fake.url, PasswordAuth("admin", "admin"), transport=fake)

It behaves as 4.1.4 and 6.1.0 were seen to (superset-api.md): login, refresh, CSRF with its cookie, lists with rison
queries and the page cap, single GET, PUT, DELETE, exports in Superset's layout, imports that match by uuid, slug and
physical table and follow the table in superset-api.md 8.2, connections with schemas, tables and columns, chart/data
from `answers`. The same contract test runs on it and on real ones (tests/superset/contract.py).

It misbehaves on request:

    fake.misbehave("POST", "/api/v1/assets/import/", "reset_after")       # once; times=None: always
    fake.misbehave("GET", "/api/v1/chart/", httpx.Response(502, html="<h1>Bad Gateway</h1>"), times=2)
    fake.misbehave("GET", "/api/v1/chart/", lambda request: None)         # looked at, then answered as usual

Faults: "refused" (no connection), "cut" (the line broke while it was sent), "reset" (before anything happened),
"reset_after" (done, the answer is lost), "timeout", "timeout_after", "truncated" (done, half of the answer), "login"
(302 to the login page), "html_500", "html_200" (a page of something else), "429", an httpx.Response, or a
callable(request) -> Response | None.

Settings: `page_cap`, `databases_are_capped`, `public_may_read` (bearer tokens are ignored on lists), `role` ("Admin",
"Alpha", "Gamma", "Reader"), `token_seconds`, `auth_type`. Every request is kept in `requests`; `writes` are those that
may change an asset.
"""

from __future__ import annotations

import copy
import itertools
import json
import re
import uuid as uuids
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx

from .rison import parse_rison
from .superset_bundles import FOLDERS, TITLES, Bundles, Refusal
from .superset_companions import Companions
from .superset_sessions import Sessions, session_cookie

Fault = str | httpx.Response | Callable[[httpx.Request], httpx.Response | None]

VERBS = ("can_read", "can_write", "can_export")
RIGHTS = {
    "Admin": {
        *(
            (verb, view)
            for verb in ("can_read", "can_write", "can_export")
            for view in map(str.title, FOLDERS)
        ),
        ("can_export", "ImportExportRestApi"),
        ("can_import_", "ImportExportRestApi"),
        ("can_read", "Log"),
        ("can_read", "SecurityRestApi"),
    },
    "Alpha": {
        *(
            (verb, view)
            for verb in ("can_read", "can_write", "can_export")
            for view in ("Dashboard", "Chart", "Dataset")
        ),
        ("can_read", "Database"),
        ("can_import_", "ImportExportRestApi"),
        ("can_read", "SecurityRestApi"),
    },
    "Reader": {  # a role of somebody's own
        *((verb, view) for verb in ("can_read", "can_export") for view in ("Dashboard", "Chart", "Dataset")),
        ("can_read", "Database"),
    },
    "Gamma": {
        *(("can_read", view) for view in map(str.title, FOLDERS)),
        ("can_export", "Dashboard"),
        ("can_export", "Chart"),
        ("can_read", "SecurityRestApi"),
    },
}


class Broken(httpx.SyncByteStream):
    """Half of a body, then the connection ends."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def __iter__(self) -> Iterator[bytes]:
        yield self.content[: len(self.content) // 2]
        raise httpx.RemoteProtocolError("peer closed connection without sending complete message body")


class FakeSuperset(Companions, Bundles, Sessions, httpx.BaseTransport):
    def __init__(self, version: str = "6.1.0", *, first_id: int = 1, base_path: str = "") -> None:
        self.version = version
        self.url = f"http://superset.test{base_path}"
        self.base_path = base_path
        self.users = {"admin": "admin"}
        self.tokens: dict[str, float] = {}  # bearer -> until; API keys too
        self.token_seconds = 900
        self.role = "Admin"
        self.public_may_read = False
        self.page_cap = 100
        self.databases_are_capped = False
        self.auth_type = 1
        self.feature_flags: dict[str, bool] = {"TAGGING_SYSTEM": False}
        self.answers: dict[str, Any] = {}  # dataset uuid -> rows, an error text, or callable(payload) -> rows
        self.tables: dict[
            str, dict[str, dict[str, str]]
        ] = {}  # database uuid -> "schema.table" -> column -> type
        self.assets: dict[str, dict[int, dict[str, Any]]] = {kind: {} for kind in FOLDERS}
        self.requests: list[httpx.Request] = []
        self.rison_queries: list[Any] = []
        self.on_list: Callable[[str], None] | None = (
            None  # called before each page: change things while it is read
        )
        self._ids = itertools.count(first_id)
        self._serial = itertools.count(1)
        self._faults: list[list[Any]] = []
        self._csrf: dict[str, str] = {}  # session cookie -> token
        self._sessions: set[str] = set()  # cookies that are signed in
        self._clock = datetime(2026, 1, 1, tzinfo=UTC)
        self.start_companions(first_id)

    @property
    def writes(self) -> list[httpx.Request]:
        harmless = ("/api/v1/security/", "/api/v1/chart/data", "/login/")
        return [
            request
            for request in self.requests
            if request.method not in ("GET", "HEAD") and not self._path(request).startswith(harmless)
        ]

    # -- filling ------------------------------------------------------------------------------------

    def _new(self, kind: str, data: dict[str, Any], uuid: str | None) -> str:
        data["uuid"] = uuid or str(uuids.uuid4())
        data["version"] = "1.0.0"
        id = next(self._ids)
        record = {"id": id, "changed_on": self._now(), "owners": [], "roles": [], "tags": [], "data": data}
        self.assets[kind][id] = record
        return str(data["uuid"])

    def add_database(self, name: str, *, uuid: str | None = None, uri: str = "sqlite://", **data: Any) -> str:
        fields = {"database_name": name, "sqlalchemy_uri": uri, "expose_in_sqllab": True, "extra": {}, **data}
        return self._new("database", fields, uuid)

    def add_dataset(self, name: str, *, database: str, uuid: str | None = None, **data: Any) -> str:
        fields: dict[str, Any] = {
            "table_name": name,
            "schema": None,
            "catalog": None,
            "sql": None,
            "columns": [],
            "metrics": [],
        }
        return self._new("dataset", {**fields, **data, "database_uuid": database}, uuid)

    def add_chart(self, name: str, *, dataset: str, uuid: str | None = None, **data: Any) -> str:
        fields: dict[str, Any] = {"slice_name": name, "viz_type": "table", "query_context": None, **data}
        fields["params"] = {
            **fields.get("params", {}),
            "datasource": f"{self.id_of('dataset', dataset)}__table",
        }
        return self._new("chart", {**fields, "dataset_uuid": dataset}, uuid)

    def add_dashboard(self, name: str, *, charts: list[str], uuid: str | None = None, **data: Any) -> str:
        position: dict[str, Any] = {
            "DASHBOARD_VERSION_KEY": "v2",
            "ROOT_ID": {"id": "ROOT_ID", "type": "ROOT", "children": ["GRID_ID"]},
            "GRID_ID": {
                "id": "GRID_ID",
                "type": "GRID",
                "children": [f"CHART-{chart[:8]}" for chart in charts],
            },
        }
        for chart in charts:
            meta = {"chartId": self.id_of("chart", chart), "uuid": chart, "width": 4, "height": 50}
            id = f"CHART-{chart[:8]}"
            position[id] = {"id": id, "type": "CHART", "children": [], "meta": meta}
        fields: dict[str, Any] = {
            "dashboard_title": name,
            "slug": None,
            "published": True,
            "position": position,
            "metadata": {},
        }
        uuid = self._new("dashboard", {**fields, **data}, uuid)
        self.record("dashboard", uuid)["charts"] = set(charts)
        return uuid

    def state(self) -> Any:
        """Everything that a client could have changed, to compare before and after."""
        return copy.deepcopy(self.assets)

    def misbehave(self, method: str, path: str, fault: Fault, *, times: int | None = 1) -> None:
        """From now on, for the next `times` requests whose path starts so."""
        self._faults.append([method, path, fault, times])

    def expire_tokens(self) -> None:
        self.tokens.clear()

    def forget_csrf(self) -> None:
        """As after a restart with another SECRET_KEY."""
        self._csrf.clear()

    # -- one request --------------------------------------------------------------------------------

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.requests.append(request)
        fault = self._fault(request)
        if callable(fault):
            answer = fault(request)
            if answer is not None:
                return answer
        elif isinstance(fault, httpx.Response):
            return fault
        elif fault == "refused":
            raise httpx.ConnectError("refused", request=request) from ConnectionRefusedError(111, "refused")
        elif fault == "cut":
            for event in ("headers.started", "headers.complete", "body.started", "body.failed"):
                request.extensions["trace"](f"http11.send_request_{event}", {})  # as httpcore tells it
            raise httpx.ReadError("connection reset by peer", request=request)
        elif fault == "reset":
            raise httpx.ReadError("connection reset by peer", request=request)
        elif fault == "timeout":
            raise httpx.ReadTimeout("timed out", request=request)
        elif fault == "login":
            return httpx.Response(302, headers={"location": f"{self.base_path}/login/?next=%2F"})
        elif fault == "html_500":
            return httpx.Response(
                500, html="<html><title>500: Internal server error | Superset</title></html>"
            )
        elif fault == "html_200":
            return httpx.Response(
                200, html="<html><title>Welcome to nginx!</title><body>It works</body></html>"
            )
        elif fault == "429":
            return httpx.Response(429, json={"message": "too many"}, headers={"retry-after": "1"})
        try:
            response = self._answer(request)
        except Refusal as refusal:
            response = refusal.response
        response.headers.setdefault("date", format_datetime(datetime.now(UTC), usegmt=True))
        if fault == "reset_after":
            raise httpx.ReadError("connection reset by peer", request=request)
        if fault == "timeout_after":
            raise httpx.ReadTimeout("timed out", request=request)
        if fault == "truncated":
            return httpx.Response(
                response.status_code, headers=response.headers, stream=Broken(response.content)
            )
        return response

    def _fault(self, request: httpx.Request) -> Fault | None:
        for entry in self._faults:
            method, path, fault, times = entry
            if request.method == method and self._path(request).startswith(path) and times != 0:
                entry[3] = None if times is None else times - 1
                return fault  # type: ignore[no-any-return]
        return None

    def _path(self, request: httpx.Request) -> str:
        return request.url.path.removeprefix(self.base_path)

    def _now(self) -> datetime:
        self._clock += timedelta(seconds=1)
        return self._clock

    def _answer(self, request: httpx.Request) -> httpx.Response:
        path = self._path(request)
        if not request.url.path.startswith(self.base_path):
            return httpx.Response(404, html="<h1>404</h1>")
        if path in ("/health", "/ping", "/healthcheck"):
            return httpx.Response(200, text="OK")
        if path == "/static/version_info.json":
            return httpx.Response(200, json={"GIT_SHA": "", "version": self.version})
        if path == "/version" and self.number >= (6, 1):
            return httpx.Response(200, json={"version_string": self.version})
        if path == "/login/":
            return self._login_page(request)
        if path == "/api/v1/security/login":
            return self._login(json.loads(request.content))
        if path == "/api/v1/security/refresh":
            self._bearer(request, prefix="refresh-")
            return httpx.Response(200, json={"access_token": self._new_token()})
        if not path.startswith("/api/v1/"):
            return httpx.Response(404, html="<title>404: Not found | Superset</title>")
        return self._api(request, path.removeprefix("/api/v1/"))

    # -- the API ------------------------------------------------------------------------------------

    def _api(self, request: httpx.Request, path: str) -> httpx.Response:
        parts = [part for part in path.split("/") if part]
        kind = parts[0]
        view = {"assets": "ImportExportRestApi"}.get(kind, kind.title())
        is_open = (
            self.public_may_read and request.method == "GET" and kind in FOLDERS and "export" not in parts
        )
        signed_in = session_cookie(request) in self._sessions
        # The CSRF check runs before the view, so before anybody asks who is calling.
        if request.method != "GET" and path != "chart/data":
            self._check_csrf(request)
        if not is_open or signed_in:
            self._bearer(request)
        nobody = is_open and not signed_in
        if kind == "security" and parts[1:] == ["csrf_token"]:
            self._need("can_read", "SecurityRestApi")
            token, headers = self._csrf_for(session_cookie(request))
            return httpx.Response(200, json={"result": token}, headers=headers)
        if kind == "me":
            return self._me(request, parts)
        if kind == "_openapi":
            return httpx.Response(200, json=self._openapi())
        if kind == "log":
            self._need("can_read", "Log")
            return httpx.Response(200, json={"count": 0, "ids": [], "result": []})
        if parts == ["chart", "data"] and request.method == "POST":
            self._need("can_read", "Chart")
            return self._chart_data(json.loads(request.content))
        if kind == "assets" and parts[1:] == ["export"]:
            self._need("can_export", view)
            return self._export(None, None)
        if kind == "assets" and parts[1:] == ["import"]:
            self._need("can_import_", view)
            return self._import(None, request, "bundle")
        query = request.url.params.get("q")
        asked = parse_rison(query) if query else {}
        if (found := self.companion_answer(request, parts, asked)) is not None:
            return found
        if kind not in FOLDERS:
            raise Refusal(404, {"errors": [{"message": "404 Not Found: The requested URL was not found"}]})
        if parts[1:] == ["_info"]:
            return httpx.Response(
                200, json={"permissions": [verb for verb, of in RIGHTS[self.role] if of == view]}
            )
        if parts[1:] == ["import"]:
            self._need("can_write", view)
            return self._import(kind, request, "formData")
        if parts[1:] == ["export"]:
            self._need("can_export", view)
            return self._export(kind, list(asked))
        if len(parts) == 1 and request.method == "DELETE":
            self._need("can_write", view)
            return self._delete_many(kind, list(asked))
        if len(parts) == 1:
            self._need("can_read", view)
            return self._list(kind, asked, nobody)
        record = self._record(kind, parts[1])
        if nobody:
            raise Refusal(404, {"message": "Not found"})
        if len(parts) > 2:
            self._need("can_read", view)
            return self._part(kind, record, parts[2], asked, request)
        return self._single(kind, view, record, request)

    def _need(self, verb: str, view: str) -> None:
        if (verb, view) not in RIGHTS[self.role]:
            raise Refusal(403, {"message": "Forbidden"})

    def _record(self, kind: str, key: str) -> dict[str, Any]:
        record = self.assets[kind].get(int(key)) if key.isdigit() else None
        if record is None and kind == "dashboard":
            record = next(
                (
                    item
                    for item in self.assets[kind].values()
                    if key in (item["data"].get("slug"), item["data"]["uuid"])
                ),
                None,
            )
        if record is None:
            raise Refusal(404, {"message": "Not found"})
        return record

    def _me(self, request: httpx.Request, parts: list[str]) -> httpx.Response:
        if self.number < (6, 1) and session_cookie(request) not in self._sessions:
            raise Refusal(401, {"message": "Not authorized"})  # not JWT-protected before 6.1
        roles = {self.role: [list(right) for right in sorted(RIGHTS[self.role])]}
        person = {"username": "admin", "firstName": "Ada", "lastName": "Admin", "isAnonymous": False}
        return httpx.Response(200, json={"result": person | ({"roles": roles} if parts[1:] else {})})

    def _openapi(self) -> dict[str, Any]:
        fields: dict[str, Any] = {"bundle": {}} | ({"sparse": {}} if self.number >= (6, 0) else {})
        body = {"multipart/form-data": {"schema": {"properties": fields}}}
        paths: dict[str, Any] = {"/api/v1/assets/import/": {"post": {"requestBody": {"content": body}}}}
        return {"paths": paths | ({"/api/v1/theme/": {}} if self.number >= (6, 0) else {})}

    def _list(self, kind: str, asked: dict[str, Any], nobody: bool) -> httpx.Response:
        self.rison_queries.append((kind, asked))
        if self.on_list is not None:
            self.on_list(kind)
        records = [] if nobody else list(self.assets[kind].values())
        for rule in asked.get("filters", []):
            records = [record for record in records if self._matches(kind, record, rule)]
        records.sort(
            key=lambda record: record["changed_on"], reverse=True
        )  # base_order of all of Superset's lists
        size = asked.get("page_size", 20) or 20
        if kind != "database" or size != -1 or self.databases_are_capped:
            size = size if 1 <= size <= self.page_cap else self.page_cap
        else:
            size = max(1, len(records))
        start = asked.get("page", 0) * size
        page = records[start : start + size]
        rows = [self._row(kind, record, asked.get("columns")) for record in page]
        body = {"count": len(records), "ids": [record["id"] for record in page], "result": rows}
        if "none" not in asked.get("keys", []):
            body |= {"label_columns": {}, "order_columns": []}
        return httpx.Response(200, json=body)

    def _delete_many(self, kind: str, ids: list[int]) -> httpx.Response:
        """All or, if one of them is not there, none."""
        if any(id not in self.assets[kind] for id in ids):
            raise Refusal(404, {"message": "Not found"})
        for id in ids:
            del self.assets[kind][id]
        return httpx.Response(200, json={"message": f"Deleted {len(ids)} {kind}s"})

    def _matches(self, kind: str, record: dict[str, Any], rule: dict[str, Any]) -> bool:
        column, operator, value = rule["col"], rule["opr"], rule["value"]
        if column == "changed_on" or (column == "uuid" and kind != "database" and self.number < (6, 0)):
            raise Refusal(400, {"message": f"Filter column: {column} not allowed to filter"})
        held = record["id"] if column == "id" else record["data"].get(column)
        if operator in ("gt", "lt"):
            return bool(held > value if operator == "gt" else held < value)
        if operator in ("in", "not_in"):
            return bool((held in value) == (operator == "in"))
        return bool((held == value) == (operator == "eq"))

    def _row(self, kind: str, record: dict[str, Any], columns: list[str] | None) -> dict[str, Any]:
        data, changed = record["data"], record["changed_on"]
        full: dict[str, Any] = {
            "id": record["id"],
            "uuid": data["uuid"],
            TITLES[kind]: data[TITLES[kind]],
            "changed_by": record.get("changed_by", {"first_name": "Ada", "last_name": "Admin"}),
            "owners": self.people_of(record["owners"]),
            "tags": self.tags_of(record["tags"]),
        }
        if kind == "database":
            full |= {"backend": data["sqlalchemy_uri"].split(":")[0].split("+")[0], "extra": "{}"}
            full |= {"changed_on": changed.replace(tzinfo=None).isoformat(), "allow_multi_catalog": False}
            full |= {name: bool(data.get(name)) for name in ("expose_in_sqllab", "allow_run_async")}
        else:
            full["changed_on_utc"] = changed.strftime("%Y-%m-%dT%H:%M:%S.%f+0000")
        if kind == "dashboard":
            full |= {"slug": data.get("slug"), "published": data.get("published")}
            full["roles"] = self.roles_of(record["roles"])
            full |= {"url": f"/superset/dashboard/{data.get('slug') or record['id']}/", "certified_by": None}
            if self.number < (5, 0):
                full |= {"position_json": json.dumps(data["position"]), "json_metadata": "{}"}
        if kind == "chart":
            dataset = self.find("dataset", data["dataset_uuid"])
            on = [
                item["id"]
                for item in self.assets["dashboard"].values()
                if data["uuid"] in item.get("charts", ())
            ]
            full |= {"viz_type": data["viz_type"], "url": f"/explore/?slice_id={record['id']}"}
            full |= {"datasource_id": dataset["id"] if dataset else None, "datasource_type": "table"}
            full["dashboards"] = [{"id": id} for id in on]
            full["params"] = json.dumps(data.get("params") or {})
        if kind == "dataset":
            database = self.find("database", data["database_uuid"])
            full |= {"schema": data.get("schema"), "catalog": data.get("catalog"), "sql": data.get("sql")}
            full["kind"] = "virtual" if data.get("sql") else "physical"
            full["database"] = {"id": database["id"] if database else None, "database_name": "…"}
            if self.number >= (6, 0):
                full["database"]["uuid"] = data["database_uuid"]
        return full if columns is None else _narrowed(full, columns)

    def _single(self, kind: str, view: str, record: dict[str, Any], request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            self._need("can_read", view)
            found = self._row(kind, record, None)
            if kind == "chart":
                found["query_context"] = record["data"].get("query_context")
            if kind == "dashboard":
                data = record["data"]
                found |= {"theme": self.theme_of(record)} if self.number >= (6, 0) else {}
                found |= {"position_json": json.dumps(data["position"])}
                found |= {"json_metadata": json.dumps(data.get("metadata") or {})}
            return httpx.Response(200, json={"id": record["id"], "result": found})
        self._need("can_write", view)
        if request.method == "DELETE":
            del self.assets[kind][record["id"]]
            return httpx.Response(200, json={"message": "OK"})
        if request.method != "PUT":
            raise Refusal(405, {"errors": [{"message": "405 Method Not Allowed"}]})
        fields = json.loads(request.content)
        if "uuid" in fields and kind != "database" and self.number < (6, 0):
            raise Refusal(400, {"message": {"uuid": ["Unknown field."]}})
        if kind == "dashboard" and "json_metadata" in fields:
            self._lay_out(record, json.loads(fields.pop("json_metadata")))
        if kind == "dashboard" and "position_json" in fields:  # the charts that belong to it stay as they are
            record["data"]["position"] = json.loads(fields.pop("position_json"))
        if kind == "dataset" and "database_id" in fields:
            database = self.assets["database"][fields.pop("database_id")]
            record["data"]["database_uuid"] = database["data"]["uuid"]
        if kind == "chart" and "params" in fields:
            fields["params"] = json.loads(fields["params"])
        if kind == "dashboard" and "theme_id" in fields:
            theme = self.objects["theme"].get(fields.pop("theme_id") or 0)
            record["data"]["theme_uuid"] = theme["uuid"] if theme else None
        for name, value in fields.items():
            target = record if name in ("owners", "roles", "tags") else record["data"]
            target[name] = value
        record["changed_on"] = self._now()
        return httpx.Response(200, json={"id": record["id"], "result": fields})

    def _lay_out(self, record: dict[str, Any], metadata: dict[str, Any]) -> None:
        """An edit whose metadata hold `positions` sets the layout, and with it the charts that belong to the dashboard
        (DashboardDAO.set_dash_metadata).
        """
        position = metadata.pop("positions", None)
        record["data"]["metadata"] = metadata
        if position is not None:
            record["data"]["position"] = position
            shown = [node for node in position.values() if isinstance(node, dict) and node["type"] == "CHART"]
            ids = {node["meta"].get("chartId") for node in shown}
            record["charts"] = {
                chart["data"]["uuid"] for number, chart in self.assets["chart"].items() if number in ids
            }

    # -- connections and data -----------------------------------------------------------------------

    def _part(
        self, kind: str, record: dict[str, Any], part: str, asked: dict[str, Any], request: httpx.Request
    ) -> httpx.Response:
        data = record["data"]
        tables = self.tables.get(data["uuid"], {})
        if kind == "database" and part == "connection":
            self._need("can_write", "Database")
            masked = re.sub(r"(://[^:/@]+):[^@]*@", r"\1:XXXXXXXXXX@", data["sqlalchemy_uri"])
            fields = {**data, "sqlalchemy_uri": masked, "id": record["id"]}
            return httpx.Response(200, json={"id": record["id"], "result": fields})
        if kind == "database" and part == "catalogs":
            return httpx.Response(200, json={"result": []})
        if kind == "database" and part == "schemas":
            return httpx.Response(200, json={"result": sorted({name.split(".")[0] for name in tables})})
        if kind == "database" and part == "tables":
            names = [name.split(".")[1] for name in tables if name.split(".")[0] == asked.get("schema_name")]
            found = [{"value": name, "type": "table", "extra": None} for name in sorted(names)]
            return httpx.Response(200, json={"count": len(found), "result": found})
        if kind == "database" and part == "table_metadata":
            name, schema = request.url.params["name"], request.url.params.get("schema", "")
            columns = tables.get(f"{schema}.{name}")
            if columns is None:  # seen on 4.1.4 and 6.1.0: the whole message is the table's name
                raise Refusal(500, {"errors": [{"message": name, "error_type": "GENERIC_BACKEND_ERROR"}]})
            found = [{"name": column, "type": type, "longType": type} for column, type in columns.items()]
            return httpx.Response(200, json={"name": name, "columns": found, "indexes": []})
        raise Refusal(404, {"errors": [{"message": "404 Not Found"}]})

    def _chart_data(self, payload: dict[str, Any]) -> httpx.Response:
        dataset = self.assets["dataset"].get(payload["datasource"]["id"])
        if dataset is None:
            raise Refusal(404, {"message": "Not found"})
        canned = self.answers.get(dataset["data"]["uuid"], [{"n": 1}])
        rows = canned(payload) if callable(canned) else canned
        if isinstance(rows, str):
            raise Refusal(400, {"message": rows})
        results = []
        for _ in payload["queries"]:
            columns = list(rows[0]) if rows else []
            kinds = [0 if isinstance(rows[0][name], int | float) else 1 for name in columns] if rows else []
            results.append(
                {"status": "success", "error": None, "data": rows, "colnames": columns, "coltypes": kinds}
                | {"rowcount": len(rows), "query": "SELECT 1", "is_cached": None, "cached_dttm": None}
            )
        return httpx.Response(200, json={"result": results})


def _narrowed(full: dict[str, Any], columns: list[str]) -> dict[str, Any]:
    """Only these columns; "owners.id" narrows inside; unknown names are dropped without a word, as in Superset."""
    row: dict[str, Any] = {}
    for column in columns:
        name, _, inner = column.partition(".")
        if name not in full:
            continue
        if not inner:
            row[name] = full[name]
        elif isinstance(full[name], list):
            row.setdefault(name, [{} for _ in full[name]])
            for item, held in zip(row[name], full[name], strict=True):
                if inner in held:
                    item[inner] = held[inner]
        elif isinstance(full[name], dict) and inner in full[name]:
            row.setdefault(name, {})[inner] = full[name][inner]
    return row
