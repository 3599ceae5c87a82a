"""The few REST calls that prepare an instance for a test: accounts, connections, datasets, charts, dashboards.

Not the product's client (environments/superset): that one is on trial here, and must not prepare its own trial.
CSRF token with its session cookie beside the bearer token for every write.
"""

from __future__ import annotations

import http.cookiejar
import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from environments.lab.errors import LabError
from environments.lab.instance import RunningSuperset

_TIMEOUT_SECONDS = 60
_IMPORT_SECONDS = 900


class Rest:
    """Signed in at one instance. Raises LabError with Superset's answer when a call is refused."""

    def __init__(self, superset: RunningSuperset, username: str = "", password: str = "") -> None:
        self.url = superset.url
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        )
        self._headers = {"Accept": "application/json", "Referer": f"{self.url}/"}
        credentials = {
            "username": username or superset.username,
            "password": password or superset.password,
            "provider": "db",
            "refresh": False,
        }
        token = self.call("POST", "/api/v1/security/login", credentials)["access_token"]
        self._headers["Authorization"] = f"Bearer {token}"
        self._headers["X-CSRFToken"] = self.call("GET", "/api/v1/security/csrf_token/")["result"]

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        headers = dict(self._headers)
        if data is not None:
            headers["Content-Type"] = "application/json"
        request = urllib.request.Request(self.url + path, data=data, headers=headers, method=method)
        return self._send(request, _TIMEOUT_SECONDS)

    def import_assets(self, bundle: bytes) -> None:
        """Import a ZIP without its connections, over what is there already (6.0 and later)."""
        self.import_file("/api/v1/assets/import/", "bundle", bundle, sparse="true")

    def import_file(self, path: str, field: str, bundle: bytes, **form: str) -> None:
        """Import a ZIP as somebody does who chose it in Superset's own pages."""
        boundary = "lab-of-ss-tools"
        head = f"--{boundary}\r\nContent-Disposition: form-data; name="
        parts = [
            *(f'{head}"{name}"\r\n\r\n{value}\r\n'.encode() for name, value in form.items()),
            f'{head}"{field}"; filename="bundle.zip"\r\n'.encode(),
            b"Content-Type: application/zip\r\n\r\n" + bundle + f"\r\n--{boundary}--\r\n".encode(),
        ]
        headers = {**self._headers, "Content-Type": f"multipart/form-data; boundary={boundary}"}
        request = urllib.request.Request(
            self.url + path, data=b"".join(parts), headers=headers, method="POST"
        )
        self._send(request, _IMPORT_SECONDS)

    def _send(self, request: urllib.request.Request, timeout: float) -> dict[str, Any]:
        method, path = request.get_method(), request.full_url.removeprefix(self.url)
        try:
            with self._opener.open(request, timeout=timeout) as answer:
                result: dict[str, Any] = json.loads(answer.read())
                return result
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace")[:500]
            raise LabError(f"{method} {path} answered {error.code}: {text}") from None
        except (urllib.error.URLError, json.JSONDecodeError) as error:
            raise LabError(f"{method} {path}: {error}") from None

    def find(self, resource: str, column: str, value: str) -> int | None:
        """id of the first one whose `column` equals `value`; None if there is none."""
        query = f"(filters:!((col:{column},opr:eq,value:'{value}')),columns:!(id))"
        found = self.call("GET", f"/api/v1/{resource}/?q={urllib.parse.quote(query)}")["result"]
        return int(found[0]["id"]) if found else None

    def add_role(self, name: str, permissions: list[tuple[str, str]]) -> int:
        """A role with these (permission, resource) pairs, like ("can_read", "Dashboard"); returns its id."""
        role = int(self.call("POST", "/api/v1/security/roles/", {"name": name})["id"])
        ids: dict[tuple[str, str], int] = {}
        page = 0
        while True:  # FAB gives 100 at most, whatever is asked for
            query = urllib.parse.quote(f"(page_size:100,page:{page})")
            known = self.call("GET", f"/api/v1/security/permissions-resources/?q={query}")["result"]
            ids |= {(entry["permission"]["name"], entry["view_menu"]["name"]): entry["id"] for entry in known}
            page += 1
            if len(known) < 100:
                break
        unknown = [pair for pair in permissions if pair not in ids]
        if unknown:
            raise LabError(f"This Superset has no permissions {unknown}.")
        wanted = {"permission_view_menu_ids": [ids[pair] for pair in permissions]}
        self.call("POST", f"/api/v1/security/roles/{role}/permissions", wanted)
        return role

    def add_user(self, username: str, password: str, *roles: str) -> int:
        """An active account with these roles ("Gamma", "Alpha", "Admin", own ones); returns its id."""
        ids = []
        for role in roles:
            found = self.find("security/roles", "name", role)
            if found is None:
                raise LabError(f"This Superset has no role {role}.")
            ids.append(found)
        account = {
            "username": username,
            "first_name": username.title(),
            "last_name": "Lab",
            "email": f"{username}@example.com",
            "password": password,
            "active": True,
            "roles": ids,
        }
        return int(self.call("POST", "/api/v1/security/users/", account)["id"])

    def add_connection(self, name: str, uri: str, *, uuid: str = "", **fields: Any) -> tuple[int, str]:
        """A database connection, as its page makes it (and tests it); returns its id and uuid."""
        body = {"database_name": name, "sqlalchemy_uri": uri, "expose_in_sqllab": True, **fields}
        if uuid:
            body["uuid"] = uuid
        made = int(self.call("POST", "/api/v1/database/", body)["id"])
        connection = self.call("GET", f"/api/v1/database/{made}/connection")["result"]
        return made, str(connection["uuid"])

    def add_dataset(
        self, database_id: int, table: str, schema: str | None = None, **fields: Any
    ) -> tuple[int, str]:
        """A dataset over a table (or, with sql=…, over a query); returns its id and uuid."""
        body = {"database": database_id, "table_name": table, **fields}
        if schema:
            body["schema"] = schema
        made = int(self.call("POST", "/api/v1/dataset/", body)["id"])
        return made, self._uuid(
            "dataset", made
        )  # before 5.0 the dataset itself does not say it, the list does

    def add_chart(self, name: str, dataset_id: int, viz_type: str, params: dict[str, Any]) -> tuple[int, str]:
        """A chart; returns its id and uuid."""
        form_data = {"datasource": f"{dataset_id}__table", "viz_type": viz_type, **params}
        body = {
            "slice_name": name,
            "viz_type": viz_type,
            "datasource_id": dataset_id,
            "datasource_type": "table",
            "params": json.dumps(form_data),
        }
        made = int(self.call("POST", "/api/v1/chart/", body)["id"])
        return made, self._uuid("chart", made)

    def add_dashboard(self, title: str, charts: list[tuple[int, str]], slug: str = "") -> tuple[int, str]:
        """A published dashboard with these charts ((id, uuid) pairs) in one row; returns its id and uuid."""
        layout: dict[str, Any] = {
            "DASHBOARD_VERSION_KEY": "v2",
            "ROOT_ID": {"type": "ROOT", "id": "ROOT_ID", "children": ["GRID_ID"]},
            "HEADER_ID": {"type": "HEADER", "id": "HEADER_ID", "meta": {"text": title}},
            "GRID_ID": {"type": "GRID", "id": "GRID_ID", "children": ["ROW-lab"], "parents": ["ROOT_ID"]},
            "ROW-lab": {
                "type": "ROW",
                "id": "ROW-lab",
                "children": [f"CHART-{chart}" for chart, _ in charts],
                "parents": ["ROOT_ID", "GRID_ID"],
                "meta": {"background": "BACKGROUND_TRANSPARENT"},
            },
        }
        for chart, uuid in charts:
            layout[f"CHART-{chart}"] = {
                "type": "CHART",
                "id": f"CHART-{chart}",
                "children": [],
                "parents": ["ROOT_ID", "GRID_ID", "ROW-lab"],
                "meta": {"chartId": chart, "uuid": uuid, "width": max(1, 12 // len(charts)), "height": 50},
            }
        body: dict[str, Any] = {
            "dashboard_title": title,
            "published": True,
            "position_json": json.dumps(layout),
        }
        if slug:
            body["slug"] = slug
        made = int(self.call("POST", "/api/v1/dashboard/", body)["id"])
        for chart, _ in charts:
            # Membership is a list of the chart; the layout alone links nothing.
            self.call("PUT", f"/api/v1/chart/{chart}", {"dashboards": [made]})
        return made, self._uuid("dashboard", made)

    def _uuid(self, resource: str, number: int) -> str:
        query = urllib.parse.quote(f"(filters:!((col:id,opr:eq,value:{number})),columns:!(id,uuid))")
        return str(self.call("GET", f"/api/v1/{resource}/?q={query}")["result"][0]["uuid"])
