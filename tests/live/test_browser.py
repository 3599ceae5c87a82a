"""All example dashboards from dev to prod by the pages alone, in a headless Chromium; then rolled back the same way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from environments.canonical.comparison import comparison_fingerprint
from environments.canonical.documents import Kind
from environments.lab.instance import RunningSuperset
from migrations_app.engine.mapping import AssetMapping, DatabaseTarget, in_target_terms
from migrations_app.models import Migration
from tests.live.product import Product, product

pytestmark = [pytest.mark.live, pytest.mark.browser]
__all__ = ["product"]


def test_all_example_dashboards_by_the_page(
    product: Product,
    dev: RunningSuperset,
    fresh_target: Callable[..., RunningSuperset],
    open_page: Callable[..., Any],
    run_jobs: Callable[[], int],
) -> None:
    source, target = product.register("dev", dev), product.register("prod", fresh_target(), protected=True)
    before = product.read(target)
    page = open_page(product.admin, "/migrations/new/", viewport={"width": 1280, "height": 900})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))

    # Select: nine dashboards, and what they stand on.
    assert page.input_value("#id_source") == "dev"
    assert page.input_value("#id_target") == "prod"
    page.click("button >> text=Select all 9")
    page.wait_for_selector("#basket-title >> text=9")
    page.click("button >> text=Make a plan of 9")
    page.wait_for_selector("#planning")
    run_jobs()

    # Map: the plan leads to it by itself, with a suggestion in the field.
    page.wait_for_url("**/map/")
    assert page.is_visible("text=suggested, not saved")
    page.click("button >> text=Save and plan")
    page.wait_for_selector("#planning")
    run_jobs()
    page.wait_for_url("**/plan/")

    # Plan: everything is new, and an item shows what is written.
    page.click("summary >> text=World Bank's Data")
    page.wait_for_selector("text=Does not exist on Prod and will be created.")
    page.click("text=Go on to apply")

    # Apply: the wrong name goes nowhere.
    page.wait_for_url("**/apply/")
    page.fill("#confirmation", "dev")
    page.click("button >> text=Apply to Prod")
    assert page.url.endswith("/apply/")
    page.fill("#confirmation", "prod")
    page.click("button >> text=Apply to Prod")
    page.wait_for_url("**/verify/")
    run_jobs()

    # Verify: the page leads to the result, and stops asking.
    page.wait_for_selector("#result-title")
    migration = Migration.objects.select_related("plan").get()
    assert migration.plan is not None
    total = migration.plan.write_count
    assert page.text_content("#result-title") == f"Applied: {total} assets on Prod, all as planned"
    run = migration.runs.get()
    assert run.verdict_counts.get("failed", 0) + run.verdict_counts.get("differs", 0) == 0, run.verdict_counts
    assert run.verdict_counts["ok"] >= 90
    assert page.locator("#verdicts tbody tr").count() == 50
    assert page.is_visible(f"text={total} of {total} equal to the plan")
    asked.clear()
    page.wait_for_timeout(2500)
    assert asked == []

    # What the page says is so: equal comparison fingerprints, and connections untouched.
    here, there = product.read(source), product.read(target)
    connection = next(item for item in before.documents.values() if item.kind == Kind.DATABASE)
    example = next(item for item in here.documents.values() if item.kind == Kind.DATABASE)
    mapping = AssetMapping({example.uuid: DatabaseTarget(connection.uuid)})
    written = set(migration.plan.items.values_list("target_uuid", flat=True))
    assert len(written) == total
    for uuid in written:
        wanted = in_target_terms(here.documents[uuid], mapping)
        assert comparison_fingerprint(there.documents[uuid]) == comparison_fingerprint(wanted), wanted.title
    assert there.documents[connection.uuid].fingerprint == connection.fingerprint

    # Back again.
    page.click("button >> text=Roll back…")
    page.wait_for_selector("#planning")
    run_jobs()
    page.wait_for_selector("text=Go on to roll back")
    page.click("text=Go on to roll back")
    page.fill("#confirmation", "prod")
    page.click("button >> text=Roll back on Prod")
    page.wait_for_url("**/verify/")
    run_jobs()
    page.wait_for_selector("#result-title")
    assert page.text_content("#result-title") == f"Prod is as it was before run {run.number}"
    assert {uuid: item.fingerprint for uuid, item in product.read(target).documents.items()} == {
        uuid: item.fingerprint for uuid, item in before.documents.items()
    }
