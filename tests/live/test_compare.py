"""Comparing real Supersets: the same examples differ in nothing, and an edit differs in itself alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from environments.connections import connect
from environments.lab.instance import RunningSuperset
from environments.lab.rest import Rest
from migrations_app.comparing import uploads
from migrations_app.comparing.details import detail_of
from migrations_app.comparing.listing import Comparison, compare
from migrations_app.comparing.places import read_place
from tests.live.product import Product, product

__all__ = ["product"]  # the fixture
pytestmark = [pytest.mark.live, pytest.mark.django_db(transaction=True)]


def compared(product: Product, left: str, right: str) -> Comparison:
    return compare(read_place(left, product.admin), read_place(right, product.admin))


def different(comparison: Comparison) -> dict[str, str]:
    return {f"{row.kind} {row.title}": row.state for row in comparison.rows if row.state != "same"}


def test_two_fresh_instances_with_the_same_assets_differ_in_nothing(
    product: Product,
    dev: RunningSuperset,
    fresh_target: Callable[..., RunningSuperset],
    rest: Callable[..., Rest],
    tmp_path: Any,
) -> None:
    target = fresh_target(contents="examples")
    product.register("dev", dev)
    two = product.register("two", target)
    same = compared(product, "env:dev", "env:two")
    assert len(same.rows) > 100
    assert different(same) == {}
    assert different(compared(product, "env:two", "env:dev")) == {}
    # A full export of one of them as a file, against both.
    with connect(two) as client:
        content = client.export_assets().to_zip()
    path = tmp_path / "export.zip"
    path.write_bytes(content)
    with path.open("rb") as file:
        kept = uploads.store_upload(file, "export.zip", actor=product.admin, origin=two)
    assert kept.complete
    assert different(compared(product, kept.place, "env:two")) == {}
    assert different(compared(product, kept.place, "env:dev")) == {}
    # One edit, seen within one reading, and in words.
    chart = next(row for row in same.rows if row.kind == "chart")
    number = two.assets.get(kind="chart", uuid=chart.right_uuid).superset_id
    rest(target).call("PUT", f"/api/v1/chart/{number}", {"slice_name": "Edited by hand"})
    product.refresh(two)
    found = compared(product, "env:dev", "env:two")
    assert list(different(found).values()) == ["changed"]
    row = found.row_of(chart.uuid)
    assert row is not None
    said = [item.text for item in detail_of(found, row).sentences]
    assert said == [f"name: Edited by hand → {chart.title}"]
    assert different(compared(product, kept.place, "env:two")) == {f"chart {chart.title}": "changed"}
