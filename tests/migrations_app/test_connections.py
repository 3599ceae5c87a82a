"""The target's connections are what they were, also where the target is too large to be exported whole."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from environments import reading as reading_module
from migrations_app.applying import reading
from tests.factories import uuid_for
from tests.fakes.pair import FakePair, fake_pair
from tests.live.product import Product

pytestmark = pytest.mark.django_db(transaction=True)

PROD = uuid_for("Warehouse PROD")


@pytest.fixture
def pair() -> Iterator[FakePair]:
    with fake_pair() as made:
        yield made


@pytest.fixture
def product(transactional_db: None) -> Product:
    return Product()


@pytest.mark.parametrize("is_large", [False, True])
@pytest.mark.parametrize("has_datasets", [False, True])
def test_a_connection_that_changes_during_a_run_that_only_creates_is_noticed(
    product: Product, pair: FakePair, monkeypatch: pytest.MonkeyPatch, is_large: bool, has_datasets: bool
) -> None:
    if is_large:
        monkeypatch.setattr(reading, "SMALL_ESTATE", 0)
        monkeypatch.setattr(reading_module, "SMALL_ESTATE", 0)
    if has_datasets:
        for name in ("theirs", "others"):
            pair.prod.add_dataset(name, database=PROD, schema="main")
        pair.read(pair.target)
    migration = product.migrate(pair.source, pair.target, [uuid_for("Sales")])
    assert migration.plan is not None
    assert set(migration.plan.counts) & {"create"}
    assert not migration.plan.counts["update"]

    def another(request: httpx.Request) -> None:
        pair.prod.record("database", PROD)["data"]["expose_in_sqllab"] = False

    pair.prod.misbehave("POST", "/api/v1/assets/import/", another)
    run = product.apply(migration, "failed")
    assert run.error["code"] == "connection_changed"
    assert "Warehouse PROD" in run.error["message"]
    assert not pair.prod.assets["dashboard"]


def test_one_dataset_shows_a_connection_of_a_large_target(product: Product, pair: FakePair) -> None:
    numbers = [
        pair.prod.assets["dataset"][pair.prod.record("dataset", uuid)["id"]]["id"]
        for uuid in (pair.prod.add_dataset(name, database=PROD, schema="main") for name in ("a", "b"))
    ]
    pair.read(pair.target)
    shown = reading.connection_ids(pair.target, {PROD}, {numbers[1]})
    assert (shown[reading.Kind.DATASET], shown[reading.Kind.DATABASE]) == ({numbers[1]}, set())
    assert reading.connection_ids(pair.target, {PROD}, set())[reading.Kind.DATASET] == {numbers[0]}
    assert not any(reading.connection_ids(pair.target, set(), set()).values())
