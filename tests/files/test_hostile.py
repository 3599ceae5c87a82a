"""The hostile bundle over the fake Superset: on every change, within seconds."""

from __future__ import annotations

import pytest

from tests.factories import uuid_for
from tests.fakes.pair import ORDERS, fake_pair
from tests.files.hostile import hostile_files, try_hostile_bundle
from tests.live.product import Product

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("version", ["6.1.0", "4.1.4"])
def test_a_hostile_bundle_is_found_out_moved_right_and_taken_back(version: str) -> None:
    with fake_pair(target_version=version) as pair:
        second = pair.prod.add_database("Warehouse TWO", uuid=uuid_for("two"), uri="sqlite:///two.db")
        pair.prod.tables[second] = {"main.orders": ORDERS}
        pair.read(pair.target)
        files = hostile_files("orders", list(ORDERS), big=50_000)
        try_hostile_bundle(Product(), pair.target, second, files, big=50_000)
