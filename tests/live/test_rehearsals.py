"""A rehearsal on real Supersets: a dashboard is backed up, restored into another one, and taken away again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from environments.backups import services as backups
from environments.backups.models import Backup
from environments.lab.instance import RunningSuperset
from environments.lab.rest import Rest
from migrations_app.rehearsals import services
from migrations_app.rehearsals.models import Rehearsal
from tests.live.product import Product, fingerprints, product

pytestmark = [pytest.mark.live]
__all__ = ["product"]


def furnish(superset: RunningSuperset) -> None:
    """A dashboard of two charts over a table and over SQL."""
    rest = Rest(superset)
    [database] = rest.call("GET", "/api/v1/database/")["result"]
    table, _ = rest.add_dataset(database["id"], "bart_lines", "main")
    lines, _ = rest.add_dataset(database["id"], "line_colors", sql="select name, color from bart_lines")
    charts = [
        rest.add_chart(
            f"Lines of {name}",
            dataset,
            "table",
            {"query_mode": "raw", "all_columns": ["name", "color"], "row_limit": 50},
        )
        for name, dataset in (("table", table), ("SQL", lines))
    ]
    rest.add_dashboard("Lines", charts, slug="lines")


def test_the_latest_backup_is_rehearsed_in_a_scratch_environment(
    fresh_target: Callable[..., RunningSuperset],
    product: Product,
) -> None:
    first = fresh_target()
    furnish(first)
    source = product.register("dev", first)
    scratch: Any = product.register("sandbox", fresh_target(), scratch=True)
    before = fingerprints(product.read(scratch))
    product.do(backups.request_backup(source, actor=product.admin))
    backup = Backup.objects.get()
    assert backup.state == "good"

    job = product.do(services.request_rehearsal(source, scratch, actor=product.admin))
    row = Rehearsal.objects.get(job=job)
    assert row.error is None
    assert (row.state, row.cleanup, row.backup_number) == ("passed", "clean", backup.number)
    assert row.compared == {"equal": 5}
    assert row.charts == {"ok": 2}
    assert fingerprints(product.read(scratch)) == before
