"""The pages of damage and of what is removed, for everybody: axe, and the width of a phone."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from tests.axe import findings
from tests.factories import make_environment, make_estate, make_migration, make_plan, uuid_for

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 760}


@pytest.fixture
def addresses(db: None) -> dict[str, str]:
    dev, prod = make_environment("dev"), make_environment("prod", protected=True)
    make_estate(dev, dashboards=2, charts=2)
    estate = make_estate(prod, dashboards=3, charts=2)
    for environment in (dev, prod):
        environment.inventory_at, environment.asset_counts = environment.created_at, {"dashboard": 3}
        environment.save()
    board = estate["Sales 1"]
    board.damage = [
        {
            "code": "wrong_chart",
            "text": "A place for “Revenue” shows “Costs”: its id is that of another instance.",
            "where": "position.CHART-1",
        },
        {
            "code": "lost_filter_target",
            "text": "The filter “Region” reads the dataset 12, which is not here.",
            "where": "",
        },
    ] + [
        {
            "code": "stale_scope",
            "text": f"{number} charts are named that the dashboard does not show.",
            "where": str(number),
        }
        for number in range(2, 9)
    ]
    board.damage_codes = ",lost_filter_target,stale_scope,wrong_chart,"
    board.save()
    migration = make_migration(dev, prod, prune=True)
    reasons = (
        (
            True,
            "Created by run 3; Dev was read completely and no longer has it; nothing else on Prod uses it.",
        ),
        (False, "Used by dashboard “Local”, which stays."),
    )
    candidates = [
        {
            "kind": "chart",
            "uuid": uuid_for(f"gone {one}"),
            "title": f"Gone {one}",
            "run": 3,
            "removes": one,
            "reason": text,
        }
        for one, text in reasons
    ]
    make_plan(
        migration, [("chart", "Gone True", "remove"), ("dashboard", "Sales 1", "update")], pruning=candidates
    )
    return {
        "damage": "/environments/prod/damage/",
        "environment": "/environments/prod/",
        "asset": f"/dashboards/{board.uuid}/",
        "assets": "/assets/?damage=broken",
        "plan": f"/migrations/{migration.number}/plan/",
    }


@pytest.mark.parametrize("theme", ["dark"])
def test_pages_of_damage_and_removal_are_for_everybody(
    open_page: Callable[..., Any], make_user: Callable[..., Any], addresses: dict[str, str], theme: str
) -> None:
    page = open_page(
        make_user("boss", "admin"), "/", viewport=WIDE, color_scheme=theme, reduced_motion="reduce"
    )
    for name, url in addresses.items():
        page.set_viewport_size(WIDE)
        page.goto(url)
        if shots := os.environ.get("SSTOOLS_TEST_SHOTS"):
            page.screenshot(path=f"{shots}/{name}-{theme}.png", full_page=True)
        assert findings(page) == [], name
        page.set_viewport_size(PHONE)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= PHONE["width"], name
