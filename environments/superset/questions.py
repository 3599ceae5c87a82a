"""What a Superset is asked about the databases behind it: connections, tables, columns, and the data of charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from . import rows
from .answer import Answer
from .errors import message_of
from .rows import ColumnRow, QueryResult, TableRow
from .transport import Door


class Questions(Door):
    """Reads only; part of SupersetClient."""

    # -- databases ---------------------------------------------------------------------------------

    def database_connection(self, id: int) -> dict[str, Any]:
        """All fields of a connection, secrets masked by Superset. Needs can_write on Database."""
        return self._result(self._request("GET", f"/api/v1/database/{id}/connection"))

    def list_catalogs(self, db_id: int, *, force: bool = False) -> list[str]:
        """Catalogs of a connection; none where its engine has no such thing. The default one is not marked."""
        answer = self._request("GET", f"/api/v1/database/{db_id}/catalogs/", q={"force": force})
        return _texts(self._mapping(answer).get("result"))

    def list_schemas(self, db_id: int, catalog: str | None = None, force: bool = False) -> list[str]:
        """Asks the database itself with `force`, so it also proves that the connection works."""
        query: dict[str, Any] = {"force": force}
        if catalog is not None:
            query["catalog"] = catalog
        answer = self._request("GET", f"/api/v1/database/{db_id}/schemas/", q=query)
        return _texts(self._mapping(answer).get("result"))

    def list_tables(
        self, db_id: int, schema: str | None, catalog: str | None = None, *, force: bool = False
    ) -> list[TableRow]:
        """Tables and views of one schema, in one request."""
        query: dict[str, Any] = {"force": force, "schema_name": schema or ""}
        if catalog is not None:
            query["catalog_name"] = catalog
        answer = self._request("GET", f"/api/v1/database/{db_id}/tables/", q=query)
        result = self._mapping(answer).get("result")
        return [
            TableRow(str(item["value"]), str(item.get("type") or "table"))
            for item in result or ()
            if isinstance(item, Mapping) and item.get("value") is not None
        ]

    def table_columns(
        self, db_id: int, table: str, schema: str | None = None, catalog: str | None = None
    ) -> list[ColumnRow] | None:
        """Columns of a table as the database has them now, None if there is no such table."""
        params = {"name": table}
        if schema:
            params["schema"] = schema
        if catalog:
            params["catalog"] = catalog
        path = f"/api/v1/database/{db_id}/table_metadata/"
        answer = self._request("GET", path, params=params, retries=1, checked=False)
        if answer.status == 200:
            columns = self._mapping(answer).get("columns")
            found = [
                ColumnRow(str(item["name"]), str(item.get("longType") or item.get("type") or ""))
                for item in columns or ()
                if isinstance(item, Mapping) and item.get("name") is not None
            ]
            return found or None
        message, _ = message_of(answer)
        # A missing table is a 500 whose whole text is its name, with or without the schema (L4.1 L6.1).
        said = message.strip().strip("`\"'")
        if answer.status in (404, 422, 500) and (
            said in (table, f"{schema}.{table}", f"{catalog}.{schema}.{table}") or "NoSuchTable" in said
        ):
            return None
        raise self._error("GET", path, answer, writes=False)

    def time_range(self, expression: str) -> str:
        """What a relative time range ("Last quarter") means now, as "since : until" in ISO 8601; an open end is empty.

        Raises SupersetRefused(invalid) for what Superset cannot read either.
        """
        answer = self._request("GET", "/api/v1/time_range/", q=expression)
        result = self._mapping(answer).get("result")
        found = result[0] if isinstance(result, list) and result else result  # a mapping before 4.0
        if not isinstance(found, Mapping):
            raise self._not_superset(answer)
        return f"{found.get('since') or ''} : {found.get('until') or ''}"

    # -- charts' data ------------------------------------------------------------------------------

    def chart_data(
        self, payload: Mapping[str, Any], *, force: bool | None = None, timeout: float | None = None
    ) -> list[QueryResult]:
        """Run a query context (POST chart/data): one result per query; a failed query is a result, not an error.

        `force` asks past Superset's cache. Sent once: a query may be expensive. Raises only where nothing can be said
        about the chart: no connection, no rights to ask at all, not a Superset, a timeout.
        """
        body = dict(payload) if force is None else {**payload, "force": force}
        answer = self._request(
            "POST", "/api/v1/chart/data", json=body, writes=False, retries=0, checked=False, timeout=timeout
        )
        document = answer.json
        if (
            200 <= answer.status < 300
            and isinstance(document, dict)
            and isinstance(document.get("result"), list)
        ):
            return [self._query_result(item, answer.seconds) for item in document["result"]]
        queries = payload.get("queries")
        count = max(1, len(queries)) if isinstance(queries, Sequence) else 1
        if answer.status == 202:
            problem = "This Superset runs chart queries in the background (GLOBAL_ASYNC_QUERIES); ss-tools cannot wait."
            return [QueryResult("failed", problem, seconds=answer.seconds, error_type="async")] * count
        message, _ = message_of(answer)
        said_by_superset = isinstance(document, dict) and bool(message)
        if (
            said_by_superset
            and answer.status in (400, 403, 404, 408, 422, 500, 504)
            and "CSRF" not in message
        ):
            failed = QueryResult(
                "failed", self._clean(message), seconds=answer.seconds, error_type=_error_type(document)
            )
            return [failed] * count
        if 200 <= answer.status < 300:
            raise self._not_superset(answer)
        raise self._error("POST", "/api/v1/chart/data", answer, writes=False)

    def _query_result(self, item: Any, seconds: float) -> QueryResult:
        if not isinstance(item, dict):
            return QueryResult("failed", "Superset's answer to this query is not a result.", seconds=seconds)
        data = item.get("data")
        records = [row for row in data if isinstance(row, dict)] if isinstance(data, list) else []
        error = item.get("error") or None
        status = "failed" if error or item.get("status") in ("failed", "stopped", "timed_out") else "success"
        columns = tuple(str(name) for name in item.get("colnames") or (records[0] if records else ()))
        return QueryResult(
            status=status,
            error=self._clean(str(error)) if error else None,
            columns=columns,
            types=tuple(int(kind) for kind in item.get("coltypes") or ()),
            rows=records,
            rowcount=int(item.get("rowcount") or len(records)),
            seconds=seconds,
            sql=item.get("query") or None,
            is_cached=bool(item.get("is_cached")),
            cached_at=rows.moment(item.get("cached_dttm")),
            rejected_filters=tuple(
                str(rejected["column"])
                for rejected in item.get("rejected_filters") or ()
                if isinstance(rejected, dict) and rejected.get("column")
            ),
        )

    # -- shapes ------------------------------------------------------------------------------------

    def _mapping(self, answer: Answer) -> dict[str, Any]:
        if not isinstance(answer.json, dict):
            raise self._not_superset(answer)
        return answer.json

    def _result(self, answer: Answer) -> dict[str, Any]:
        result = self._mapping(answer).get("result")
        if not isinstance(result, dict):
            raise self._not_superset(answer)
        return result


def _texts(value: Any) -> list[str]:
    return [str(item) for item in value if item is not None] if isinstance(value, list) else []


def _error_type(document: Any) -> str | None:
    errors = document.get("errors") if isinstance(document, dict) else None
    first = errors[0] if isinstance(errors, list) and errors else None
    return str(first["error_type"]) if isinstance(first, dict) and first.get("error_type") else None
