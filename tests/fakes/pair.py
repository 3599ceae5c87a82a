"""Two small Supersets, registered: dev with something to move, prod with a connection of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from environments import services
from environments.connections import connecting_through
from environments.models import Environment
from tests.factories import make_environment, uuid_for

from .superset import FakeSuperset

ORDERS = {"region": "VARCHAR", "amount": "INTEGER"}


@dataclass
class FakePair:
    """`dev` holds the dashboard Sales (slug sales) with the charts Revenue and Regions over the dataset orders."""

    dev: FakeSuperset
    prod: FakeSuperset
    source: Environment
    target: Environment

    def read(self, *environments: Environment) -> None:
        """Bring the inventory up to date, as its job would."""
        for environment in environments or (self.source, self.target):
            services.run_reading(environment)
            environment.refresh_from_db()


def column(name: str, kind: str) -> dict[str, Any]:
    return {"column_name": name, "type": kind, "is_dttm": False, "is_active": True, "groupby": True}


@contextmanager
def fake_pair(*, protected: bool = False, target_version: str = "6.1.0") -> Iterator[FakePair]:
    dev, prod = FakeSuperset(), FakeSuperset(target_version, first_id=500)
    signed_in = {"username": "admin", "secret": "admin"}
    source = make_environment("dev", url="http://dev.test", **signed_in)
    target = make_environment("prod", url="http://prod.test", protected=protected, **signed_in)
    fakes = {source.pk: dev, target.pk: prod}

    database = dev.add_database("Warehouse DEV", uuid=uuid_for("Warehouse DEV"), uri="sqlite:///dev.db")
    prod.add_database("Warehouse PROD", uuid=uuid_for("Warehouse PROD"), uri="sqlite:///prod.db")
    dev.tables[database] = {"main.orders": ORDERS}
    prod.tables[uuid_for("Warehouse PROD")] = {"main.orders": ORDERS}
    orders = dev.add_dataset(
        "orders",
        database=database,
        uuid=uuid_for("orders"),
        schema="main",
        columns=[column(name, kind) for name, kind in ORDERS.items()],
    )
    charts = [
        dev.add_chart(
            name,
            dataset=orders,
            uuid=uuid_for(name),
            params={"query_mode": "raw", "all_columns": ["region", "amount"], "row_limit": 100},
        )
        for name in ("Revenue", "Regions")
    ]
    dev.add_dashboard("Sales", charts=charts, uuid=uuid_for("Sales"), slug="sales")
    with connecting_through(lambda environment: fakes[environment.pk]):
        pair = FakePair(dev, prod, source, target)
        pair.read()
        yield pair
