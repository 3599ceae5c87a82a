"""Saved queries in files: they come along like those of an environment, also where the file has nothing else."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from migrations_app.models import Migration
from tests.factories import uuid_for
from tests.fakes.pair import fake_pair
from tests.files.queries import check_queries_of_a_file, exported_queries
from tests.live.product import Product

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("version", ["6.1.0", "4.1.4"])
def test_an_export_of_saved_queries_is_mapped_planned_applied_and_rolled_back(
    version: str, signed_in: Any
) -> None:
    with fake_pair(target_version=version) as pair:
        product = Product()
        data = exported_queries(uuid_for("Warehouse DEV"), "Warehouse DEV")
        objects = pair.prod.objects["saved_query"]
        page = signed_in(product.admin)
        migration = check_queries_of_a_file(
            product, pair.target, data, lambda: {row["label"]: row["sql"] for row in objects.values()}
        )
        for step in ("select/", "map/", "plan/", "verify/"):
            answer = page.get(f"/migrations/{migration.number}/{step}", follow=True)
            assert answer.status_code == 200, step
            assert ("Revenue by day" in answer.content.decode()) == (step in ("plan/", "verify/")), step
        shown = page.get(f"/migrations/{migration.number}/map/").content.decode()
        assert "carrying_saved_queries" in shown
        assert "carrying_owners" not in shown


def test_queries_of_a_folder_are_planned_by_command_unless_told_otherwise(tmp_path: Path) -> None:
    with fake_pair() as pair:
        Product()
        pair.read(pair.target)
        for path, text in exported_queries(uuid_for("Warehouse DEV"), "Warehouse DEV").items():
            name = tmp_path / path.partition("/")[2]
            name.parent.mkdir(parents=True, exist_ok=True)
            name.write_bytes(text)
        told = _plan(tmp_path, "--all", "--map", "Warehouse DEV=Warehouse PROD")
        plan = Migration.objects.get().plan
        assert plan is not None
        assert plan.companion_counts == {"create": 2}, told
        told = _plan(tmp_path, "--all", "--carry", "saved_queries=off")
        assert told["error"]["code"] == "empty_selection", told


def _plan(folder: Path, *words: str) -> Any:
    out, err = io.StringIO(), io.StringIO()
    given = ["--from", f"file:{folder}", "--to", "prod", "--json", *words]
    with contextlib.suppress(SystemExit):
        call_command("plan", *given, stdout=out, stderr=err)
    return json.loads(out.getvalue())
