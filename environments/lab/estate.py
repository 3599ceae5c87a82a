"""Assets over PostgreSQL warehouses on two instances: what it takes to try database, catalog and schema mapping."""

from __future__ import annotations

from dataclasses import dataclass

from environments.lab.instance import RunningSuperset
from environments.lab.rest import Rest

SOURCE_CONNECTION = "Dev warehouse"
TARGET_CONNECTION = "Prod warehouse"


@dataclass(frozen=True)
class PostgresEstate:
    """`source` has a dashboard over database `dev` (500 orders), `target` only a connection to `prod` (10 orders).

    The datasets name the catalog `dev`, as Superset stores it by itself for every dataset on PostgreSQL.
    """

    source: RunningSuperset
    target: RunningSuperset
    source_connection_id: int
    source_connection_uuid: str
    target_connection_id: int
    target_connection_uuid: str
    dashboard_uuid: str
    dataset_uuids: dict[str, str]  # "sales.orders", "hr.orders", "big_orders" (a query) -> uuid
    chart_uuids: dict[str, str]  # the charts' names -> uuid


def build_postgres_estate(
    source: RunningSuperset, target: RunningSuperset, warehouses: dict[str, str]
) -> PostgresEstate:
    """Fills two empty instances by some 15 REST calls, 2 s; `warehouses`: LabClient.postgres_warehouses()."""
    here, there = Rest(source), Rest(target)
    source_id, source_uuid = here.add_connection(SOURCE_CONNECTION, warehouses["dev"])
    target_id, target_uuid = there.add_connection(TARGET_CONNECTION, warehouses["prod"])
    datasets = {
        "sales.orders": here.add_dataset(source_id, "orders", "sales"),
        "hr.orders": here.add_dataset(source_id, "orders", "hr"),
        "big_orders": here.add_dataset(
            source_id, "big_orders", "sales", sql="select * from sales.orders where quantity > 3"
        ),
    }
    count = {"expressionType": "SQL", "sqlExpression": "COUNT(*)", "label": "Orders"}
    quantity = {
        "expressionType": "SIMPLE",
        "column": {"column_name": "quantity"},
        "aggregate": "SUM",
        "label": "Quantity",
    }
    charts = {
        "Orders": here.add_chart(
            "Orders", datasets["sales.orders"][0], "big_number_total", {"metric": count}
        ),
        "Orders by region": here.add_chart(
            "Orders by region",
            datasets["sales.orders"][0],
            "table",
            {
                "query_mode": "aggregate",
                "groupby": ["region"],
                "metrics": [count, quantity],
                "row_limit": 100,
            },
        ),
        "Requests": here.add_chart(
            "Requests",
            datasets["hr.orders"][0],
            "table",
            {"query_mode": "aggregate", "groupby": ["item"], "metrics": [count], "row_limit": 100},
        ),
        "Big orders": here.add_chart(
            "Big orders",
            datasets["big_orders"][0],
            "table",
            {"query_mode": "raw", "all_columns": ["id", "region", "quantity"], "row_limit": 1000},
        ),
    }
    _, dashboard_uuid = here.add_dashboard("Orders and requests", list(charts.values()), slug="orders")
    return PostgresEstate(
        source=source,
        target=target,
        source_connection_id=source_id,
        source_connection_uuid=source_uuid,
        target_connection_id=target_id,
        target_connection_uuid=target_uuid,
        dashboard_uuid=dashboard_uuid,
        dataset_uuids={name: uuid for name, (_, uuid) in datasets.items()},
        chart_uuids={name: uuid for name, (_, uuid) in charts.items()},
    )
