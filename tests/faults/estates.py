"""The assets that are moved, and what is on the target before: something older, and something of other people.

Each estate prepares in two steps. `first` makes what an earlier migration brought to the target; `then` edits and adds
on the source, so that the migration on trial updates what is there and creates the rest. `theirs` is on the target
only: nothing may happen to it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from environments.lab.client import LabClient
from environments.lab.instance import RunningSuperset
from environments.lab.rest import Rest

PASSWORD = "Tr0ub4dor-of-the-faults"  # looked for in every log afterwards
EDIT = "/* edited by a colleague meanwhile */"
COUNT = {"expressionType": "SQL", "sqlExpression": "COUNT(*)", "label": "Rows"}


@dataclass
class Estate:
    """`theirs`: uuid of a chart on the target that is part of no migration."""

    source: RunningSuperset
    target: RunningSuperset
    first: list[str]
    selection: list[str]
    theirs: str = ""


class Place(NamedTuple):
    table: str  # of Superset's metadata
    field: str


#: What a colleague edits, by kind.
EDITABLE = {"chart": Place("slices", "description"), "dashboard": Place("dashboards", "css")}


def edit(rest: Rest, kind: str, number: int) -> None:
    rest.call("PUT", f"/api/v1/{kind}/{number}", {EDITABLE[kind].field: EDIT})


def change_chart(rest: Rest, number: int, **fields: Any) -> None:
    rest.call("PUT", f"/api/v1/chart/{number}", fields)


def add_theirs(rest: Rest) -> str:
    """A dashboard with one chart and its dataset on the target; the chart's uuid."""
    database = rest.find("database", "database_name", "Warehouse PROD")
    assert database is not None
    # Over a query: on a table it would be in the way of an estate that has a dataset there.
    dataset, _ = rest.add_dataset(database, "their_projects", sql="SELECT * FROM project_management")
    chart = rest.add_chart("Their projects", dataset, "big_number_total", {"metric": COUNT})
    rest.add_dashboard("Theirs", [chart], slug="theirs")
    return chart[1]


class Small:
    """One dashboard of three charts over two datasets. One chart and its dataset are on the target, older."""

    def __init__(self, lab: LabClient, version: str) -> None:
        source = lab.lease(contents="empty", password=PASSWORD)
        target = lab.lease(version, contents="prod", password=PASSWORD)
        self.source, self.target = Rest(source), Rest(target)
        warehouse = lab.sqlite_warehouse("dev")
        connection, _ = self.source.add_connection("Warehouse DEV", f"sqlite:///{warehouse}")
        self._sales, _ = self.source.add_dataset(connection, "international_sales", "main")
        self._chart = self.source.add_chart(
            "Sales", self._sales, "big_number_total", {"metric": COUNT, "header_font_size": 0.4}
        )
        self._connection = connection
        self.estate = Estate(source, target, first=[self._chart[1]], selection=[])
        self.estate.theirs = add_theirs(self.target)

    def then(self) -> Estate:
        number, _ = self._chart
        params = {
            "datasource": f"{self._sales}__table",
            "viz_type": "big_number_total",
            "metric": COUNT,
            "header_font_size": 0.6,
        }
        change_chart(self.source, number, description="How much was sold", params=json.dumps(params))
        self.source.call("PUT", f"/api/v1/dataset/{self._sales}", {"description": "Sales of all countries"})
        members, _ = self.source.add_dataset(self._connection, "new_members_daily", "main")
        table = {"query_mode": "aggregate", "groupby": ["region"], "metrics": [COUNT], "row_limit": 100}
        charts = [
            self._chart,
            self.source.add_chart("Sales by region", self._sales, "table", table),
            self.source.add_chart("New members", members, "big_number_total", {"metric": COUNT}),
        ]
        _, dashboard = self.source.add_dashboard("Sales and members", charts, slug="sales-and-members")
        self.estate.selection = [dashboard]
        return self.estate


class Examples:
    """The nine example dashboards. One of them is on the target already, older."""

    FIRST = "Video Game Sales"

    def __init__(self, lab: LabClient, version: str) -> None:
        source = lab.lease(contents="examples", password=PASSWORD)
        target = lab.lease(version, contents="prod", password=PASSWORD)
        self.source, self.target = Rest(source), Rest(target)
        dashboards = self._dashboards()
        self.estate = Estate(source, target, first=[dashboards[self.FIRST]], selection=[])
        self.estate.theirs = add_theirs(self.target)

    def _dashboards(self) -> dict[str, str]:
        listed = self.source.call(
            "GET", "/api/v1/dashboard/?q=(page_size:100,columns:!(dashboard_title,uuid))"
        )
        return {row["dashboard_title"]: row["uuid"] for row in listed["result"]}

    def then(self) -> Estate:
        dashboard = self.source.find("dashboard", "dashboard_title", self.FIRST)
        charts = self.source.call("GET", f"/api/v1/dashboard/{dashboard}/charts")["result"]
        change_chart(self.source, int(charts[0]["id"]), description="Looked at again")
        self.estate.selection = sorted(self._dashboards().values())
        return self.estate


class Prepared(Protocol):
    estate: Estate
    source: Rest
    target: Rest

    def then(self) -> Estate: ...


ESTATES: dict[str, Callable[[LabClient, str], Prepared]] = {"small": Small, "examples": Examples}
IN_WORDS = {"small": "one dashboard of three charts", "examples": "the nine example dashboards"}
