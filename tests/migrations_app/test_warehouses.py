"""What a plan asks the target's warehouses: each question once, ahead where it can be expected, and never in vain."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from migrations_app import services
from migrations_app.models import Migration
from migrations_app.warehouses import expected_tables
from tests.factories import uuid_for
from tests.fakes.pair import FakePair, fake_pair
from tests.live.product import Product

pytestmark = pytest.mark.django_db(transaction=True)

DEV, PROD = uuid_for("Warehouse DEV"), uuid_for("Warehouse PROD")


@pytest.fixture
def pair(product: Product) -> Iterator[FakePair]:
    with fake_pair() as made:
        mapped(product, made, {"target": PROD})
        yield made


def mapped(product: Product, pair: FakePair, entry: dict[str, Any] | None) -> None:
    services.save_mapping(pair.source, pair.target, actor=product.admin, databases={DEV: entry})


@pytest.fixture
def product(transactional_db: None) -> Product:
    return Product()


def asked(pair: FakePair) -> list[str]:
    """The questions to the warehouse so far, in short; they are forgotten by this."""
    questions = [request.url for request in pair.prod.requests if "/api/v1/database/" in request.url.path]
    pair.prod.requests.clear()
    return [
        f"{url.path.rstrip('/').rpartition('/')[2]} {url.params.get('name', '')}".strip()
        for url in questions
        if "/table" in url.path
    ]


def new(product: Product, pair: FakePair, *names: str) -> Migration:
    return services.create_migration(
        pair.source, pair.target, selection=[uuid_for(name) for name in names], actor=product.admin
    )


def test_each_question_is_asked_once_and_a_plan_without_changes_asks_none(
    product: Product, pair: FakePair
) -> None:
    pair.prod.requests.clear()
    migration = product.migrate(pair.source, pair.target, [uuid_for("Sales")])
    assert sorted(asked(pair)) == ["table_metadata orders", "tables"]
    assert product.apply(migration).state == "applied"
    pair.read()
    asked(pair)
    product.migrate(pair.source, pair.target, [uuid_for("Sales")])
    assert asked(pair) == []


def test_what_the_inventory_did_not_know_is_asked_for_all_the_same(product: Product, pair: FakePair) -> None:
    migration = new(product, pair, "Sales")
    pair.source.assets.all().delete()
    assert expected_tables(migration) == {}
    asked(pair)
    product.plan(migration)
    assert sorted(asked(pair)) == ["table_metadata orders", "tables"]
    assert migration.plan is not None
    assert not migration.plan.errors


def test_an_inventory_that_is_behind_decides_nothing(product: Product, pair: FakePair) -> None:
    """The dataset reads another table by now, and the one of before is gone from the warehouse."""
    rows = pair.dev.assets["dataset"].values()
    next(row["data"] for row in rows if row["data"]["uuid"] == uuid_for("orders"))["table_name"] = "orders_v2"
    pair.prod.tables[PROD] = {"main.orders_v2": pair.prod.tables[PROD]["main.orders"]}
    migration = product.migrate(pair.source, pair.target, [uuid_for("Sales")])
    assert migration.plan is not None
    assert not migration.plan.errors
    assert asked(pair) == ["tables", "table_metadata orders_v2"]


def test_a_warehouse_that_does_not_answer_is_told_with_its_reason(product: Product, pair: FakePair) -> None:
    answer = httpx.Response(422, json={"message": "could not connect to server"})
    pair.prod.misbehave("GET", "/api/v1/database/500/tables/", answer, times=None)
    migration = product.migrate(pair.source, pair.target, [uuid_for("Sales")])
    assert migration.plan is not None
    (problem,) = migration.plan.errors
    assert problem["code"] == "connection_failed"
    assert "could not connect to server" in problem["text"]


def test_tables_of_the_selection_are_expected_where_they_are_mapped_to(
    product: Product, pair: FakePair
) -> None:
    pair.dev.add_dataset("alone", database=DEV, uuid=uuid_for("alone"), schema="main")
    pair.dev.add_dataset("virtual", database=DEV, uuid=uuid_for("virtual"), schema="main", sql="SELECT 1")
    pair.read(pair.source)
    mapped(product, pair, {"target": PROD, "schemas": {"main": "live"}})
    number = pair.target.assets.get(uuid=PROD).superset_id
    assert expected_tables(new(product, pair, "Sales")) == {number: {"live": {"orders"}}}
    assert expected_tables(new(product, pair, "Revenue", "alone", "virtual")) == {
        number: {"live": {"orders", "alone"}}
    }
    assert expected_tables(new(product, pair, "virtual")) == {}
    left = services.create_migration(
        pair.source,
        pair.target,
        selection=[uuid_for("Sales")],
        left_out=[uuid_for("orders")],
        actor=product.admin,
    )
    assert expected_tables(left) == {}
    mapped(product, pair, None)
    assert expected_tables(new(product, pair, "Sales")) == {}
