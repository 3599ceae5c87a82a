"""What is downloaded of a backup is imported by a real Superset through its own import, and is the same there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from environments.backups import downloads
from environments.canonical.documents import Kind
from environments.lab.instance import RunningSuperset
from environments.lab.rest import Rest
from environments.store import load_snapshot
from migrations_app.planning import same_for_comparison
from tests.live.product import Product, product
from tests.restoring.taking import take_backup

pytestmark = [pytest.mark.live]
__all__ = ["product"]


COUNT = {"expressionType": "SIMPLE", "column": None, "aggregate": "COUNT", "label": "COUNT(*)"}


def fill(superset: RunningSuperset) -> None:
    """A dashboard of one chart, and a chart on none, over a dataset with a metric of its own."""
    rest = Rest(superset)
    number = rest.find("database", "database_name", "Warehouse PROD")
    assert number is not None
    dataset, _ = rest.add_dataset(number, "lines", sql="select name, color from bart_lines")
    rest.call(
        "PUT",
        f"/api/v1/dataset/{dataset}",
        {"metrics": [{"metric_name": "twice", "expression": "2 * COUNT(*)"}]},
    )
    shown = rest.add_chart("How many", dataset, "big_number_total", {"metric": "twice"})
    rest.add_chart("On no dashboard", dataset, "big_number_total", {"metric": COUNT})
    rest.add_dashboard("Numbers", [shown], slug="numbers")


def test_downloads_are_imported_by_superset_itself(
    fresh_target: Callable[..., RunningSuperset], product: Product
) -> None:
    origin, superset = fresh_target(), fresh_target(contents="empty")
    fill(origin)
    backup = take_backup(product.register("origin", origin), product)
    held = load_snapshot(backup.snapshot).documents
    wanted = {one.title: one for one in held.values() if one.kind != Kind.DATABASE}
    assert set(wanted) == {"lines", "How many", "On no dashboard", "Numbers"}
    target, rest = product.register("empty", superset), Rest(superset)

    def bring(format_: str, **form: str) -> dict[str, Any]:
        file, _ = downloads.download(backup, format_, actor=product.admin)
        with file:
            path = f"/api/v1/{format_.removesuffix('s')}/import/"
            rest.import_file(path, "formData", file.read(), **form)
        return dict(product.read(target).documents)

    there = bring("dashboards")
    brought = [one for one in wanted.values() if one.uuid in there]
    assert {one.title for one in brought} == {"lines", "How many", "Numbers"}
    assert [one.title for one in brought if not same_for_comparison(one, there[one.uuid])] == []
    assert [one.title for one in there.values() if one.kind == Kind.DATABASE] == ["Warehouse PROD"]

    # Damaged, and put back with the ZIPs of what was damaged; also what no dashboard shows.
    rest.call("PUT", f"/api/v1/chart/{rest.find('chart', 'slice_name', 'How many')}", {"slice_name": "Mine"})
    rest.call("PUT", f"/api/v1/dataset/{rest.find('dataset', 'table_name', 'lines')}", {"metrics": []})
    assert not same_for_comparison(wanted["lines"], product.read(target).documents[wanted["lines"].uuid])
    bring("datasets", overwrite="true")
    there = bring("charts", overwrite="true")
    assert [one.title for one in wanted.values() if not same_for_comparison(one, there.get(one.uuid))] == []
