"""Rows of Superset's lists and single ones of them, of any kind: what all resources of its REST API have in common."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

from .errors import SupersetRefused
from .explain import unconfirmed
from .listing import Page, read_all
from .questions import Questions

LIST_CHUNK = 100  # ids or rows in one request for rows: Superset's own cap of a page
DELETE_CHUNK = 100  # ids in one request: far below any limit of URLs


class Resources(Questions):
    """Part of SupersetClient. `kind` is a resource's name in its address: "chart", "annotation_layer/3/annotation"."""

    # -- lists -------------------------------------------------------------------------------------

    def list_rows(
        self, kind: str, columns: Iterable[str], ids: Collection[int] | None = None
    ) -> list[dict[str, Any]]:
        """Rows of any list as Superset gives them ("tag", "annotation_layer/3/annotation"), `id` among the columns; all
        of them, or those of `ids` that are there: one request per hundred.
        """
        columns = list(columns)
        if ids is None:
            return read_all(lambda query: self._page(kind, query), columns, max_parallel=self._max_parallel)
        wanted, found = sorted(set(ids)), dict[int, dict[str, Any]]()
        for start in range(0, len(wanted), LIST_CHUNK):
            some = [{"col": "id", "opr": "in", "value": wanted[start : start + LIST_CHUNK]}]
            query = {"page": 0, "page_size": LIST_CHUNK, "columns": columns, "filters": some}
            page = self._page(kind, query)
            if len(page.rows) < page.count:  # a smaller cap than Superset's own
                return [row for row in self.list_rows(kind, columns) if row["id"] in set(wanted)]
            found |= {row["id"]: row for row in page.rows}
        return [found[number] for number in sorted(found)]

    def related(self, kind: str, field: str) -> list[dict[str, Any]]:
        """What a field of an asset may be set to (`dashboard/related/owners`): {"value": id, "text", "extra"}."""
        found: dict[int, dict[str, Any]] = {}
        number, size = 0, LIST_CHUNK
        while True:
            query = {"filter": "", "page": number, "page_size": size}
            body = self._mapping(self._request("GET", f"/api/v1/{kind}/related/{field}", q=query))
            result, count = body.get("result"), body.get("count")
            items = [
                item for item in result or () if isinstance(item, dict) and type(item.get("value")) is int
            ]
            found |= {item["value"]: item for item in items}
            size = len(items) if number == 0 else size
            number += 1
            if not items or type(count) is not int or number * size >= count:
                return list(found.values())

    def rows_where(
        self, kind: str, columns: Iterable[str], filters: Sequence[Mapping[str, Any]]
    ) -> list[dict[str, Any]]:
        """The first hundred rows that fit."""
        query = {"page": 0, "page_size": LIST_CHUNK, "columns": list(columns), "filters": list(filters)}
        return self._page(kind, query).rows

    def results(self, path: str) -> list[dict[str, Any]]:
        """The `result` of an address below /api/v1/ that answers a list of its own."""
        answer = self._request("GET", f"/api/v1/{path}")
        result = self._mapping(answer).get("result")
        if not isinstance(result, list) or not all(isinstance(item, dict) for item in result):
            raise self._not_superset(answer)  # what is taken for none would be written as all that there is
        return result

    def _page(self, kind: str, query: Mapping[str, Any]) -> Page:
        answer = self._request("GET", f"/api/v1/{kind}/", q={**query, "keys": ["none"]})
        body = self._mapping(answer)
        result, count = body.get("result"), body.get("count")
        rows_are_rows = isinstance(result, list) and all(
            isinstance(row, dict) and type(row.get("id")) is int and 0 <= row["id"] < 2**63 for row in result
        )
        if not rows_are_rows or type(count) is not int or count < 0:
            raise self._not_superset(answer)
        assert isinstance(result, list)
        return Page(count, result)

    # -- single assets -----------------------------------------------------------------------------

    def get(self, kind: str, id: int | str) -> dict[str, Any]:
        """The `result` of a single GET. Raises SupersetRefused(not_found)."""
        return self._result(self._request("GET", f"/api/v1/{kind}/{quote(str(id), safe='')}"))

    def create(self, kind: str, fields: Mapping[str, Any]) -> int:
        """POST these fields; the id of the new row."""
        path = f"/api/v1/{kind}/"
        answer = self._request("POST", path, json=dict(fields))
        number = answer.json.get("id") if isinstance(answer.json, dict) else None
        if type(number) is not int:
            raise self._cleaned(unconfirmed("POST", path, self.url, answer))
        return number

    def get_each(self, kinds_and_ids: Iterable[tuple[str, int | str]]) -> list[dict[str, Any] | None]:
        """Single ones in the order asked for, as many at a time as this client may send; None for what is gone."""

        def one(wanted: tuple[str, int | str]) -> dict[str, Any] | None:
            try:
                return self.get(*wanted)
            except SupersetRefused as exc:
                if exc.code != "not_found":
                    raise
                return None

        wanted = list(kinds_and_ids)
        if self._max_parallel < 2 or len(wanted) < 2:
            return [one(item) for item in wanted]
        with ThreadPoolExecutor(self._max_parallel, thread_name_prefix="superset-get") as pool:
            return list(pool.map(one, wanted))

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """POST to an address below /api/v1/ that is no list; the whole answer."""
        answer = self._request("POST", f"/api/v1/{path}", json=dict(body))
        if not isinstance(answer.json, dict):
            raise self._cleaned(unconfirmed("POST", path, self.url, answer))
        return answer.json

    def update(self, kind: str, id: int | str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """PUT these fields; what Superset answers as `result` (the fields it took)."""
        path = f"/api/v1/{kind}/{id}"
        answer = self._request("PUT", path, json=dict(fields))
        if not isinstance(answer.json, dict):
            raise self._cleaned(unconfirmed("PUT", path, self.url, answer))
        result = answer.json.get("result")
        return result if isinstance(result, dict) else {}

    def delete(self, kind: str, id: int | str) -> None:
        """Raises SupersetRefused: not_found, or invalid where something (a report) still uses it."""
        path = f"/api/v1/{kind}/{id}"
        answer = self._request("DELETE", path)
        if not isinstance(answer.json, dict):
            raise self._cleaned(unconfirmed("DELETE", path, self.url, answer))

    def delete_many(self, kind: str, ids: Iterable[int]) -> None:
        """Delete assets of one kind, in one transaction per hundred. One id that is gone already makes Superset refuse
        all of its hundred (not_found); then they go one by one, and what is gone counts as deleted.
        """
        wanted = sorted(set(ids))
        for start in range(0, len(wanted), DELETE_CHUNK):
            chunk = wanted[start : start + DELETE_CHUNK]
            path = f"/api/v1/{kind}/"
            try:
                answer = self._request("DELETE", path, q=chunk)
                if not isinstance(answer.json, dict):
                    raise self._cleaned(unconfirmed("DELETE", path, self.url, answer))
            except SupersetRefused as exc:
                if exc.code != "not_found":
                    raise
                for number in chunk:
                    self._delete_if_there(kind, number)

    def _delete_if_there(self, kind: str, number: int) -> None:
        try:
            self.delete(kind, number)
        except SupersetRefused as exc:
            if exc.code != "not_found":
                raise
