"""A few assets of our own, there and back: what the suite does where it is told to write.

One query on a connection that is there, two charts and a dashboard, all marked by name and with uuids made for this one
time. They are removed again whatever happened; what could not be removed is named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from environments.canonical.comparison import comparison_fingerprint
from environments.canonical.documents import DEPENDENCY_ORDER, Document, Kind
from environments.canonical.ids import IdTable
from environments.canonical.reading import read_assets
from environments.canonical.rendering import render
from environments.dialects import dialect_of
from environments.superset.bundle import Bundle, RawAsset, stub_database
from environments.superset.client import SupersetClient
from environments.superset.connection import REMEDIES
from environments.superset.errors import SupersetError
from environments.superset.versions import CAPABILITIES
from migrations_app.engine.batches import Batch, Way, next_batch, still_pending
from migrations_app.engine.diff import field_changes

from .suite import DIFFERS, FAILED, OK, Line, capability_line

GROUP = "round trip"
MARK = "ss-tools compat"
_COUNT = {"expressionType": "SQL", "sqlExpression": "COUNT(*)", "label": "Rows"}


@dataclass(frozen=True)
class Connection:
    """The one that the query of the trip runs on. Nothing is written to it."""

    id: int
    uuid: str
    name: str


def choose_connection(client: SupersetClient, name: str = "") -> Connection | str:
    """The connection of that name, else the only one; otherwise what to do, for people."""
    found = [Connection(row.id, row.uuid, row.name) for row in client.list_databases()]
    names = ", ".join(f"“{one.name}”" for one in found) or "none"
    if name:
        return next((one for one in found if one.name == name), f"There is no connection “{name}”: {names}.")
    return found[0] if len(found) == 1 else f"Name the connection to try with --database: there are {names}."


def round_trip(client: SupersetClient, connection: Connection) -> Iterator[Line]:
    """Write, read back, ask a chart, take a chart off the dashboard, and remove all of it. Raises nothing for what the
    instance answers.
    """
    trip = _Trip(client, connection)
    try:
        yield from trip.there()
    except SupersetError as error:
        yield Line(GROUP, "stopped", FAILED, error.message, meaning=REMEDIES.get(error.code, ""))
    finally:
        left = trip.clean_up()
    if left:
        yield Line(
            GROUP, "removed", FAILED, f"still there: {', '.join(left)}", meaning="Remove them in Superset."
        )
    else:
        yield Line(GROUP, "removed", OK, "nothing of it is left")


class _Trip:
    def __init__(self, client: SupersetClient, connection: Connection) -> None:
        self.client, self.connection = client, connection
        self.name = f"{MARK} {uuid4().hex[:8]}"
        self.uuids = {part: str(uuid4()) for part in ("dataset", "total", "table", "dashboard")}
        self.kinds = {
            self.uuids[part]: Kind(part if part in ("dataset", "dashboard") else "chart")
            for part in self.uuids
        }
        self.ids = IdTable([(Kind.DATABASE, connection.id, connection.uuid)])

    def there(self) -> Iterator[Line]:
        wanted = read_assets(self._assets(), None, self.client.url).documents
        ways = self._write(dict(wanted))
        yield Line(GROUP, "written", OK, f"{len(wanted)} assets by {', '.join(ways)}")
        yield self._read_back(wanted)
        yield self._ask()
        yield self._take_off(wanted)

    def _assets(self) -> list[RawAsset]:
        dataset, total, table, dashboard = self.uuids.values()
        columns = [
            {"column_name": "n", "type": "INTEGER", "is_dttm": False, "groupby": True, "filterable": True}
        ]
        metrics = [{"metric_name": "count", "expression": "COUNT(*)"}]
        files: list[tuple[str, str, dict[str, Any]]] = [
            (
                "dataset",
                dataset,
                {
                    "table_name": self.name,
                    "sql": "SELECT 1 AS n",
                    "database_uuid": self.connection.uuid,
                    "columns": columns,
                    "metrics": metrics,
                    "description": "Äöü 日本 👶: may be deleted",
                    # What Superset makes of them where a file says nothing.
                    "always_filter_main_dttm": False,
                    "filter_select_enabled": True,
                    "normalize_columns": False,
                    "offset": 0,
                },
            )
        ]
        for uuid, viz_type, params in (
            (total, "big_number_total", {"metric": _COUNT}),
            (
                table,
                "table",
                {"query_mode": "aggregate", "groupby": ["n"], "metrics": [_COUNT], "row_limit": 10},
            ),
        ):
            chart = {"slice_name": f"{self.name} {viz_type}", "viz_type": viz_type, "dataset_uuid": dataset}
            files.append(
                ("chart", uuid, {**chart, "params": {**params, "viz_type": viz_type}, "query_context": None})
            )
        body: dict[str, Any] = {
            "dashboard_title": self.name,
            "slug": None,
            "published": False,
            "metadata": {},
        }
        files.append(("dashboard", dashboard, {**body, "position": self._layout((total, table))}))
        return [
            RawAsset(kind, uuid, f"{kind}s/{uuid}.yaml", {**data, "uuid": uuid}) for kind, uuid, data in files
        ]

    def _layout(self, charts: tuple[str, ...]) -> dict[str, Any]:
        row = [f"CHART-{uuid}" for uuid in charts]
        above = ["ROOT_ID", "GRID_ID"]
        layout: dict[str, Any] = {
            "DASHBOARD_VERSION_KEY": "v2",
            "ROOT_ID": {"type": "ROOT", "id": "ROOT_ID", "children": ["GRID_ID"]},
            "HEADER_ID": {"type": "HEADER", "id": "HEADER_ID", "meta": {"text": self.name}},
            "GRID_ID": {"type": "GRID", "id": "GRID_ID", "children": ["ROW-1"], "parents": ["ROOT_ID"]},
            "ROW-1": {
                "type": "ROW",
                "id": "ROW-1",
                "children": row,
                "parents": above,
                "meta": {"background": "BACKGROUND_TRANSPARENT"},
            },
        }
        for node, uuid in zip(row, charts, strict=True):
            meta = {"uuid": uuid, "width": 4, "height": 50, "chartId": 0, "sliceName": self.name}
            parents = [*above, "ROW-1"]
            layout[node] = {"type": "CHART", "id": node, "children": [], "parents": parents, "meta": meta}
        return layout

    def _write(self, pending: dict[str, Document]) -> list[str]:
        """As an apply does; the ways that it took."""
        around, ways = dict(pending), []
        dialect = dialect_of(self.client.capabilities)
        while batch := next_batch(
            pending,
            around,
            self.ids,
            sparse=self.client.capabilities.sparse_import,
            base_url=self.client.url,
            dialect=dialect,
        ):
            self._import(batch)
            ways.append(batch.way.value)
            pending = still_pending(pending, batch)
            self._learn()
        return ways

    def _import(self, batch: Batch) -> None:
        assets = [(item.kind.value, item.uuid, dict(item.data)) for item in batch.rendered]
        if batch.way == Way.SPARSE:
            self.client.import_assets(Bundle.from_assets("assets", assets), sparse=True)
            return
        stub = stub_database(self.connection.uuid, self.connection.name)
        kind, send = {
            Way.DATASETS: ("dataset", self.client.import_datasets),
            Way.CHARTS: ("chart", self.client.import_charts),
            Way.DASHBOARDS: ("dashboard", self.client.import_dashboards),
        }[batch.way]
        send(Bundle.from_assets(kind, [*assets, (stub.kind, stub.uuid, stub.data)]), True)

    def _learn(self) -> None:
        for kind in (Kind.DATASET, Kind.CHART, Kind.DASHBOARD):
            wanted = {uuid for uuid, one in self.kinds.items() if one == kind}
            for uuid, number in self.client.ids_of(kind.value, wanted)[0].items():
                self.ids.add(kind, number, uuid)

    def _id(self, part: str) -> int:
        uuid = self.uuids[part]
        number = self.ids.id_of(self.kinds[uuid], uuid)
        if number is None:
            raise SupersetError(f"The {part} was imported, and is not in its list.", code="not_listed")
        return number

    def _read_back(self, wanted: Mapping[str, Document]) -> Line:
        bundle = self.client.export_dashboards([self._id("dashboard")])
        found = read_assets(bundle.assets.values(), self.ids, self.client.url).documents
        differing = []
        for uuid, document in wanted.items():
            now = found.get(uuid)
            if now is None:
                differing.append(f"{document.kind.value}: not exported")
            elif comparison_fingerprint(now) != comparison_fingerprint(document):
                fields = (".".join(map(str, change.path)) for change in field_changes(document, now))
                differing.append(f"{document.kind.value}: {', '.join(fields)}")
        if differing:
            return Line(GROUP, "read back", DIFFERS, "; ".join(differing)[:500], "equal")
        return Line(GROUP, "read back", OK, "equal", "equal")

    def _ask(self) -> Line:
        query = {"metrics": [_COUNT], "columns": [], "filters": [], "row_limit": 10}
        dataset = {"id": self._id("dataset"), "type": "table"}
        (result,) = self.client.chart_data({"datasource": dataset, "queries": [query]})
        if result.error:
            return Line(GROUP, "chart", FAILED, result.error[:300], "one row")
        return Line(
            GROUP, "chart", OK if len(result.rows) == 1 else DIFFERS, f"{len(result.rows)} row", "1 row"
        )

    def _take_off(self, wanted: Mapping[str, Document]) -> Line:
        """A dashboard's own import with one chart less: which charts it has then is a matter of the release."""
        dialect = dialect_of(self.client.capabilities)
        table = self.uuids["table"]
        dashboard = wanted[self.uuids["dashboard"]]
        less = dashboard.replace(position=self._layout((self.uuids["total"],)))
        documents = [*(one for uuid, one in wanted.items() if uuid not in (table, dashboard.uuid)), less]
        assets = [
            (item.kind.value, item.uuid, dict(item.data))
            for item in render(documents, self.ids, self.client.url, dialect)
        ]
        stub = stub_database(self.connection.uuid, self.connection.name)
        bundle = Bundle.from_assets("dashboard", [*assets, (stub.kind, stub.uuid, stub.data)])
        self.client.import_dashboards(bundle, True)
        # An export holds the charts that Superset counts as the dashboard's own.
        members = [*self.client.export_dashboards([self._id("dashboard")]).of_kind("chart")]
        line = next(line for line in CAPABILITIES if line.name == "membership_replaced")
        return replace(capability_line(line, self.client.capabilities, len(members) == 1), group=GROUP)

    # -- afterwards ------------------------------------------------------------------------------------------------

    def clean_up(self) -> list[str]:
        """Remove what is there of ours; names of what still is."""
        left: list[str] = []
        for kind in reversed(DEPENDENCY_ORDER):
            ours = {uuid for uuid, one in self.kinds.items() if one == kind}
            if not ours:
                continue
            try:
                there = self.client.ids_of(kind.value, ours)[0]
                for number in there.values():
                    self.client.delete(kind.value, number)
                left += [f"{kind.value} {uuid}" for uuid in self.client.ids_of(kind.value, ours)[0]]
            except SupersetError as error:
                left.append(f"perhaps a {kind.value} “{self.name}” ({error.message})")
        return left
