"""What an instance itself says of each capability, beside what its release number lets expect. Nothing is written.

GET requests only. `probe` never raises for an answer of the instance; where it cannot be asked, or the answer tells
nothing, the capability is not in the result.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from .client import SupersetClient
from .errors import SupersetError
from .versions import CAPABILITIES

#: Answer of a probe; None: it tells nothing.
Probe = Callable[["_Asked"], bool | None]


def probe(client: SupersetClient) -> dict[str, bool]:
    """By name of `CAPABILITIES`, of those that could be asked. Some ten requests, one of them large (`_openapi`).

    Raises SupersetUnreachable.
    """
    asked = _Asked(client)
    found = {line.name: PROBES[line.probe](asked) for line in CAPABILITIES if line.probe in PROBES}
    return {name: answer for name, answer in found.items() if answer is not None}


class _Asked:
    """Answers that several probes need, asked for once."""

    def __init__(self, client: SupersetClient) -> None:
        self.client = client
        self._spec: Mapping[str, Any] | None = None
        self._dataset: tuple[int, str] | None = None

    def get(self, path: str, **query: Any) -> tuple[int | None, Any]:
        """(status, parsed body), whatever it answers."""
        answer = self.client._request("GET", path, q=query or None, checked=False)
        return answer.status, answer.json

    @property
    def spec(self) -> Mapping[str, Any]:
        if self._spec is None:
            status, body = self.get("/api/v1/_openapi")
            self._spec = body if status == 200 and isinstance(body, dict) else {}
        return self._spec

    def describes(self, path: str, word: str = "") -> bool | None:
        """Whether the instance declares a path, and in it or in what it refers to that word."""
        paths = self.spec.get("paths")
        if not isinstance(paths, Mapping):
            return None
        found = paths.get(path)
        return found is not None and (not word or word in json.dumps(found))

    @property
    def dataset(self) -> tuple[int, str] | None:
        """(id, uuid) of the first dataset that the account sees."""
        if self._dataset is None:
            rows = self.client._page("dataset", {"page": 0, "page_size": 1, "columns": ["id", "uuid"]}).rows
            self._dataset = (int(rows[0]["id"]), str(rows[0]["uuid"])) if rows else None
        return self._dataset


def _uuid_in_schema(asked: _Asked) -> bool | None:
    schemas = (asked.spec.get("components") or {}).get("schemas")
    if not isinstance(schemas, Mapping) or "ChartRestApi.put" not in schemas:
        return None
    return "uuid" in (schemas["ChartRestApi.put"].get("properties") or {})


def _has_themes(asked: _Asked) -> bool | None:
    paths = asked.spec.get("paths")
    return (
        any(str(path).startswith("/api/v1/theme/") for path in paths) if isinstance(paths, Mapping) else None
    )


def _filters_by_uuid(asked: _Asked) -> bool | None:
    uuid = "00000000-0000-4000-8000-000000000000"
    query = {"filters": [{"col": "uuid", "opr": "eq", "value": uuid}], "columns": ["id"], "page_size": 1}
    status, _ = asked.get("/api/v1/chart/", **query)
    return {200: True, 400: False}.get(status or 0)


def _dataset_files(asked: _Asked) -> bool | None:
    if asked.dataset is None:
        return None
    number, uuid = asked.dataset
    try:
        bundle = asked.client.export_datasets([number])
    except SupersetError:
        return None
    asset = bundle.assets.get(uuid)
    return None if asset is None else asset.source_id == number


def _knows_me(asked: _Asked) -> bool | None:
    if not asked.client.auth.is_bearer:
        return None  # a session is known everywhere
    status, _ = asked.get("/api/v1/me/")
    return {200: True, 401: False}.get(status or 0)


def _dataset_by_uuid(asked: _Asked) -> bool | None:
    if asked.dataset is None:
        return None
    status, _ = asked.get(f"/api/v1/dataset/{asked.dataset[1]}")
    return {200: True, 400: False, 404: False, 405: False}.get(status or 0)


def _tells_version(asked: _Asked) -> bool | None:
    answer = asked.client.send_plain("GET", "/version", anonymous=True)
    return answer.status == 200 and isinstance(answer.json, dict) and "version_string" in answer.json


def _lists_users(asked: _Asked) -> bool | None:
    status, _ = asked.get("/api/v1/security/users/", page=0, page_size=1)
    return {200: True, 404: False}.get(status or 0)  # 403: it is there for others


def _tags(asked: _Asked) -> bool | None:
    capabilities = asked.client.capabilities
    known = capabilities.feature_flags
    if not known or asked.describes("/api/v1/theme/") is None:
        return None
    return bool(known.get("TAGGING_SYSTEM", False) and _has_themes(asked))  # both came with 6.0


PROBES: Mapping[str, Probe] = {
    "openapi_sparse": lambda asked: asked.describes("/api/v1/assets/import/", '"sparse"'),
    "openapi_uuid": _uuid_in_schema,
    "openapi_themes": _has_themes,
    "openapi_partial_put": lambda asked: asked.describes("/api/v1/dashboard/{pk}/filters"),
    "uuid_filter": _filters_by_uuid,
    "tagging_flag": _tags,
    "dataset_files": _dataset_files,
    "me": _knows_me,
    "dataset_by_uuid": _dataset_by_uuid,
    "version": _tells_version,
    "security_api": _lists_users,
}
