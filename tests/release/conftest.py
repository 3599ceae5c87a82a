"""A plan from one small Superset to another, and people who may decide about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from migrations_app.models import Migration
from tests.factories import uuid_for
from tests.fakes.pair import FakePair, fake_pair
from tests.live.product import Product


@pytest.fixture
def pair(transactional_db: None) -> Iterator[FakePair]:
    with fake_pair() as made:
        yield made


@pytest.fixture
def planned(pair: FakePair) -> Callable[..., Migration]:
    """planned(): a migration with a plan that could be applied, made by the product's admin."""
    product = Product()

    def make(**fields: Any) -> Migration:
        migration = product.migrate(pair.source, pair.target, [uuid_for("Sales")], **fields)
        migration.refresh_from_db()
        assert migration.plan is not None
        return migration

    make.product = product  # type: ignore[attr-defined]
    return make


@pytest.fixture
def leads(make_user: Callable[..., Any]) -> list[Any]:
    """Two release leads who made nothing."""
    return [make_user(name, "release_lead", email=f"{name}@x.test") for name in ("lea", "leo")]
