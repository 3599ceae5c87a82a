"""SupersetClient: the calls that ss-tools makes, typed. How they travel is in `transport.py`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from . import rows
from .answer import RequestRecord
from .auth import Auth
from .bundle import Bundle, RawAsset, references
from .connection import ConnectionReport, check_connection
from .errors import SupersetRefused, SupersetUnreachable
from .explain import unconfirmed
from .listing import read_newest
from .resources import DELETE_CHUNK as DELETE_CHUNK
from .resources import Resources
from .rows import ChartRow, DashboardRow, DatabaseRow, DatasetRow
from .transport import READ_RETRIES, Pace
from .versions import Capabilities, bootstrap_version, read_bootstrap

# Ids per export request: 50 dashboards take 5 s and 2 MB, 100 charts under a second (superset-api.md 15), and the
# query stays below the 4 KB that gunicorn and proxies accept.
EXPORT_CHUNK = {"dashboard": 50, "chart": 100, "dataset": 100, "database": 100, "theme": 100}

Row = TypeVar("Row")
DRY_RUN = "00000000-0000-4000-8000-00000000d417"  # of the file that must not be valid


class SupersetClient(Resources):
    """One Superset. A context manager; may be used from several threads; `log` holds a RequestRecord per request.

    Every call may raise SupersetUnreachable (later may help) or SupersetRefused (it will not); writes also
    AmbiguousWrite: the target may have changed, read it. Ids are those of this instance.

    `capabilities` saves the detection when the caller kept them from an earlier `detect()`.
    """

    def __init__(
        self,
        url: str,
        auth: Auth,
        *,
        ca_file: str | None = None,
        proxy: str | None = None,
        connect_timeout: float = 5,
        read_timeout: float = 60,
        import_timeout: float = 600,
        max_parallel: int = 2,
        pace: Pace | None = None,
        transport: httpx.BaseTransport | None = None,
        on_request: Callable[[RequestRecord], None] | None = None,
        before_request: Callable[[str, str], None] | None = None,
        capabilities: Capabilities | None = None,
    ) -> None:
        super().__init__(
            url,
            auth,
            ca_file=ca_file,
            proxy=proxy,
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            import_timeout=import_timeout,
            max_parallel=max_parallel,
            pace=pace,
            transport=transport,
            on_request=on_request,
            before_request=before_request,
        )
        self._capabilities = capabilities
        self._more_columns: Mapping[str, Sequence[str]] | None = None
        self.lists: dict[str, list[dict[str, Any]]] = {}  # see keep_lists

    def __repr__(self) -> str:
        return f"SupersetClient({self.url!r}, {self.auth!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # -- what it is --------------------------------------------------------------------------------

    @property
    def capabilities(self) -> Capabilities:
        """Those given or found; the first use may detect (one to three requests)."""
        if self._capabilities is None:
            self._capabilities = self.detect()
        return self._capabilities

    def detect(self) -> Capabilities:
        """Version and capabilities from pages that are open to all: usually one request, at most four.

        Raises SupersetRefused(not_superset) when the address is something else.
        """
        page = self.send_plain("GET", "/login/", headers={"Accept": "text/html"}, anonymous=True)
        common = read_bootstrap(page.text) or {}
        version = bootstrap_version(common) or self._version_from_files()
        if version is None and not common:
            raise self._not_superset(page)
        configuration = common.get("conf") if isinstance(common.get("conf"), Mapping) else {}
        assert isinstance(configuration, Mapping)
        found = Capabilities.of_version(
            version or "unknown",
            feature_flags=common.get("feature_flags"),
            auth_type=_int_or_none(configuration.get("AUTH_TYPE")),
            sql_max_row=_int_or_none(configuration.get("SQL_MAX_ROW")),
        )
        if not found.tested and found.supported:
            try:  # a fork, a build from a branch or a newer release: ask what it has instead of guessing
                spec = self._request("GET", "/api/v1/_openapi").json
            except SupersetRefused:
                spec = None
            found = found.with_openapi(spec) if isinstance(spec, Mapping) else found
        self._capabilities = found
        return found

    def _version_from_files(self) -> str | None:
        # The first is there on 4.1 to 6.1 unless static files live elsewhere, the second from 6.1 on.
        for path, key in (("/static/version_info.json", "version"), ("/version", "version_string")):
            body = self.send_plain("GET", path, anonymous=True).json
            value = body.get(key) if isinstance(body, dict) else None
            if isinstance(value, str) and value:
                return value
        return None

    def check(self) -> ConnectionReport:
        """Try everything a migration needs and tell each failure apart, with its remedy. Raises nothing."""
        return check_connection(self)

    # -- lists -------------------------------------------------------------------------------------

    def list_dashboards(self) -> list[DashboardRow]:
        """All dashboards that the account sees, by id: one request per hundred."""
        return self._read_rows(rows.dashboard_row, self._list("dashboard"))

    def list_charts(self) -> list[ChartRow]:
        return self._read_rows(rows.chart_row, self._list("chart"))

    def list_datasets(self) -> list[DatasetRow]:
        return self._read_rows(rows.dataset_row, self._list("dataset"))

    def list_databases(self) -> list[DatabaseRow]:
        """All connections, in one request: their list has no page cap."""
        page = self._page("database", {"page_size": -1, "columns": rows.COLUMNS["database"]})
        if len(page.rows) < page.count:  # a cap after all, as in forks
            return self._read_rows(rows.database_row, self._list("database"))
        return sorted(self._read_rows(rows.database_row, page.rows), key=lambda row: row.id)

    def ids_of(self, kind: str, uuids: Collection[str]) -> tuple[dict[str, int], dict[str, int]]:
        """The ids of assets that were just written: one request per hundred of them. What is not there is left out.

        The second mapping is of charts alone: the id of each one's dataset, by the chart's uuid.
        """
        columns = ["id", "uuid", *(["datasource_id"] if kind == "chart" else [])]
        found = read_newest(lambda query: self._page(kind, query), columns, uuids)
        datasets = {row["uuid"]: number for row in found if type(number := row.get("datasource_id")) is int}
        return {row["uuid"]: row["id"] for row in found}, datasets

    def _read_rows(
        self, read: Callable[[Mapping[str, Any]], Row], found: Iterable[dict[str, Any]]
    ) -> list[Row]:
        try:
            return [read(row) for row in found]
        except (ValueError, TypeError, AttributeError, KeyError, OverflowError) as exc:
            raise SupersetRefused(
                f"{self.url} answers a list in a form that Superset does not use ({type(exc).__name__}).",
                code="not_superset",
            ) from None

    def count(self, kind: str) -> int:
        return self._page(kind, {"page": 0, "page_size": 1, "columns": ["id"]}).count

    def keep_lists(self, more_columns: Mapping[str, Sequence[str]]) -> None:
        """From now on keep the rows of whole lists of dashboards, charts and datasets in `lists`, as they were
        answered, with these columns as well: who reads other things of the same rows asks for nothing again.
        """
        self._more_columns = more_columns

    def _list(self, kind: str) -> list[dict[str, Any]]:
        if self._more_columns is None:
            return self.list_rows(kind, rows.COLUMNS[kind])
        columns = dict.fromkeys((*rows.COLUMNS[kind], *self._more_columns.get(kind, ())))
        self.lists[kind] = self.list_rows(kind, columns)
        return self.lists[kind]

    # -- export ------------------------------------------------------------------------------------

    def export_assets(self) -> Bundle:
        """Everything the account sees, in one request: 39 s for 11,345 files, and a one-worker Superset stalls."""
        return self._export_request("/api/v1/assets/export/", None)

    def export_dashboards(self, ids: Iterable[int]) -> Bundle:
        """Dashboards with all they stand on. Never passwords. Ids that no longer exist are in `bundle.vanished`.

        Raises SupersetRefused(not_found) if none of them exists.
        """
        return self._export("dashboard", ids)

    def export_charts(self, ids: Iterable[int]) -> Bundle:
        return self._export("chart", ids)

    def export_datasets(self, ids: Iterable[int]) -> Bundle:
        return self._export("dataset", ids)

    def export_databases(self, ids: Iterable[int]) -> Bundle:
        """Connections with all their datasets. From 6.1 on it may hold secure extras in clear text: treat as secret."""
        return self._export("database", ids)

    def export_saved_query(self, id: int) -> Bundle:
        """One saved query of the account's own, with its connection; it is in `other`, under queries/."""
        return self._export_request("/api/v1/saved_query/export/", [id])

    def iter_exports(self, kind: str, ids: Iterable[int]) -> Iterator[Bundle]:
        """The same chunk by chunk, for readers of large instances: memory for one chunk at a time."""
        wanted = sorted(set(ids))
        size = EXPORT_CHUNK[kind]
        for start in range(0, len(wanted), size):
            yield self._completed(self._export_some(kind, wanted[start : start + size]))

    def _export(self, kind: str, ids: Iterable[int]) -> Bundle:
        wanted = sorted(set(ids))
        if not wanted:
            return Bundle()
        chunks = list(self.iter_exports(kind, wanted))
        bundle = chunks[0] if len(chunks) == 1 else Bundle.merge(*chunks)
        if len(bundle.vanished) == len(wanted):
            raise SupersetRefused(
                f"None of the {len(wanted)} {kind}s exists any more, or the account does not see them.",
                code="not_found",
                status=404,
            )
        return bundle

    def _export_some(self, kind: str, ids: Sequence[int]) -> Bundle:
        """One chunk, in halves where it does not come whole.

        One vanished id is a 404 for all of them; two files of one name are one file; and a chunk that takes longer than
        the proxy's or gunicorn's limit (60 s in Superset's own start script) ends as 502, 504 or a broken line.
        """
        try:
            bundle = self._export_request(
                f"/api/v1/{kind}/export/", ids, retries=READ_RETRIES if len(ids) == 1 else 1
            )
        except SupersetRefused as exc:
            if exc.code != "not_found":
                raise
            if len(ids) == 1:
                return Bundle(vanished=(ids[0],))
        except SupersetUnreachable as exc:
            if len(ids) == 1 or not (exc.code == "connection_lost" or exc.status in (502, 504)):
                raise
        else:
            if len(ids) == 1 or self._holds_all(kind, ids, bundle):
                return bundle
        middle = len(ids) // 2
        return Bundle.merge(self._export_some(kind, ids[:middle]), self._export_some(kind, ids[middle:]))

    @staticmethod
    def _holds_all(kind: str, ids: Sequence[int], bundle: Bundle) -> bool:
        """Whether what was asked for came. Before 6.0 datasets of one name in two schemas are one file, silently; the
        same for databases whose names give one file name, on all versions (superset-api.md 6.4)."""
        return bundle.counts().get(kind, 0) >= len(ids)

    def _export_request(self, path: str, ids: Sequence[int] | None, *, retries: int = READ_RETRIES) -> Bundle:
        query = list(ids) if ids is not None else None
        answer = self._request("GET", path, q=query, timeout=self._import_timeout, retries=retries)
        if not answer.content.startswith(b"PK"):
            raise self._not_superset(answer)
        bundle = Bundle.from_zip(answer.content)
        # Superset writes the moment it begins into the metadata and dates the answer when the ZIP is ready; what
        # changes in between may be missing, so only the earlier one is safe to compare `changed_on` with.
        moments = [
            moment for moment in (rows.moment(bundle.metadata.get("timestamp")), answer.date) if moment
        ]
        bundle.exported_at = min(moments, default=None)
        return bundle

    def _completed(self, bundle: Bundle) -> Bundle:
        """With what Superset left out because two files had one name: fetched alone, where every name is free."""
        lost = set()
        for asset in bundle.assets.values():
            for kind, uuid in references(asset):
                if uuid not in bundle.assets:
                    if kind == "dataset":
                        lost.add(uuid)
                    elif kind == "database":
                        lost.add(asset.uuid)  # exported alone, a dataset brings its own connection
        if not lost:
            return bundle
        ids = [row.id for row in self.list_datasets() if row.uuid in lost]
        return Bundle.merge(bundle, *(self._export_some("dataset", [id]) for id in ids))

    # -- import ------------------------------------------------------------------------------------

    def import_assets(self, bundle: Bundle, *, sparse: bool) -> None:
        """Overwrite everything in the bundle, in one transaction. `sparse` (6.0+) takes bundles without databases.

        A database file in such a bundle would overwrite the target's connection, so with `sparse` it is refused here.
        Raises SupersetRefused(unsupported_version) where the target would ignore `sparse`.
        """
        if sparse:
            if next(bundle.of_kind("database"), None) is not None:
                raise SupersetRefused(
                    "A sparse import must not carry a database: it would overwrite the connection.",
                    code="bundle_invalid",
                )
            if not self.capabilities.sparse_import:
                raise SupersetRefused(
                    f"Superset {self.capabilities.version} has no sparse import; that came with 6.0.",
                    code="unsupported_version",
                )
        try:
            self._import("/api/v1/assets/import/", "bundle", bundle, {"sparse": "true"} if sparse else {})
        except SupersetRefused as exc:
            # This endpoint alone wraps every error, also those of its own schemas, into a 500 without a reason
            # (ImportAssetsCommand.run, on_error with catches=Exception; seen on 4.1.4 and 6.1.0).
            if exc.status != 500 or "unknown reason" not in exc.message:
                raise
            raise self._with_reasons(exc, bundle) from None

    def import_dashboards(self, bundle: Bundle, overwrite: bool) -> None:
        """Dashboards of the bundle; charts, datasets and databases in it only where their uuid is new to the target."""
        self._import("/api/v1/dashboard/import/", "formData", bundle, _overwrite(overwrite))

    def import_charts(self, bundle: Bundle, overwrite: bool) -> None:
        self._import("/api/v1/chart/import/", "formData", bundle, _overwrite(overwrite))

    def import_datasets(self, bundle: Bundle, overwrite: bool) -> None:
        self._import("/api/v1/dataset/import/", "formData", bundle, _overwrite(overwrite))

    def import_themes(self, bundle: Bundle, overwrite: bool) -> None:
        """This endpoint alone says its success in words of its own (superset/themes/api.py, 6.0.0 and 6.1.0)."""
        form = _overwrite(overwrite)
        self._import("/api/v1/theme/import/", "formData", bundle, form, "Theme imported successfully")

    def import_saved_queries(self, bundle: Bundle, overwrite: bool) -> None:
        """Saved queries of the bundle (in `other`); they become the account's own."""
        self._import("/api/v1/saved_query/import/", "formData", bundle, _overwrite(overwrite))

    def validate(self, bundle: Bundle) -> dict[str, Any]:
        """What this Superset's import schemas object to: {file: {field: [messages]}}. Nothing is written.

        One file that cannot be valid goes with the others: Superset checks all of them before it takes any, so its 422
        lists every problem and the import never begins (superset-api.md 8.6). Covers fields and their values; not what
        the importer stumbles over later: unknown uuids, names that are taken, missing rights.
        """
        assets = [asset for asset in bundle.assets.values() if asset.kind != "database"]
        forged = Bundle.from_assets(
            "dashboard", [*assets, RawAsset("dashboard", DRY_RUN, "", {"uuid": DRY_RUN})]
        )
        try:
            self.import_dashboards(forged, True)
        except SupersetRefused as exc:
            if exc.status != 422:
                raise
            return {name: said for name, said in exc.detail.items() if DRY_RUN not in name}
        raise AssertionError("Superset took a dashboard without a title")

    def _with_reasons(self, error: SupersetRefused, bundle: Bundle) -> SupersetRefused:
        try:
            reasons = self.validate(bundle)
        except (SupersetRefused, SupersetUnreachable):
            return error
        if not reasons:
            return error
        said = "; ".join(f"{name}: {reason}" for name, reason in list(reasons.items())[:5])
        return SupersetRefused(
            f"Superset refuses: {said}", code="invalid", status=error.status, detail=reasons
        )

    def _import(
        self, path: str, field: str, bundle: Bundle, form: Mapping[str, str], success: str = "OK"
    ) -> None:
        content = bundle.to_zip()
        answer = self._request(
            "POST",
            path,
            form=form,
            files={field: ("bundle.zip", content, "application/zip")},
            timeout=self._import_timeout,
        )
        # Anything but this exact answer is no success (superset-api.md 5): a page, half an answer, a proxy's 200.
        if answer.status != 200 or not isinstance(answer.json, dict) or answer.json.get("message") != success:
            raise self._cleaned(unconfirmed("POST", path, self.url, answer))


def _overwrite(overwrite: bool) -> dict[str, str]:
    return {"overwrite": "true"} if overwrite else {}  # only the exact word counts


def _int_or_none(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
