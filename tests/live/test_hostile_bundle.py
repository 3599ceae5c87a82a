"""The hostile bundle, five megabytes of layout included, on a real Superset."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from environments.lab.instance import RunningSuperset
from environments.lab.rest import Rest
from tests.files.hostile import hostile_files, try_hostile_bundle
from tests.live.product import Product, product

pytestmark = [pytest.mark.live]
__all__ = ["product"]


def test_a_hostile_bundle_is_found_out_moved_right_and_taken_back(
    product: Product, fresh_target: Callable[..., RunningSuperset], lab: Any
) -> None:
    superset = fresh_target()
    uri = f"sqlite:///{lab.sqlite_warehouse('prod')}?timeout=9"
    _, second = Rest(superset).add_connection("Warehouse TWO", uri)
    target = product.register("prod", superset)
    try_hostile_bundle(product, target, second, hostile_files("birth_names", ["name", "gender", "num"]))
