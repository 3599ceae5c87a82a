"""The pages about drift for everybody: axe in both themes, a phone, and an answer by the keyboard alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from migrations_app.drift.models import Check, Finding, FindingState
from migrations_app.release.models import Route
from tests.axe import findings
from tests.factories import make_asset, make_environment, uuid_for

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
PICTURES = os.environ.get("SSTOOLS_TEST_PICTURES", "")


@pytest.fixture
def finding(db: None) -> Finding:
    dev, prod = make_environment("dev"), make_environment("prod", protected=True)
    Route.objects.create(slug="up", name="Dev to prod", source=dev, target=prod)
    Check.objects.create(target=prod, at=timezone.now() - timedelta(minutes=4))
    values: dict[str, Any] = {"target": prod, "source": dev, "changed_by": "Grace Hopper"}
    values["changed_on"] = timezone.now() - timedelta(hours=2)
    for kind, title, how in (("dashboard", "Sales", "deleted"), ("chart", "Scratch", "created")):
        Finding.objects.create(kind=kind, title=title, asset_uuid=uuid_for(title), how=how, **values)
    asset = make_asset(prod, "chart", "Revenue by hand")
    changes = [
        {
            "path": ["slice_name"],
            "before": "Revenue",
            "after": "Revenue by hand",
            "sentence": "title: “Revenue” → “Revenue by hand”",
        },
        {
            "path": ["params", "row_limit"],
            "before": 100,
            "after": 5000,
            "sentence": "row limit: 100 → 5000",
        },
    ]
    return Finding.objects.create(
        kind="chart",
        title=asset.title,
        asset_uuid=asset.uuid,
        how="changed",
        changes=changes,
        edits=3,
        **values,
    )


def test_pages_about_drift_are_for_everybody(
    finding: Finding, make_user: Callable[..., Any], open_page: Callable[..., Any]
) -> None:
    lead = make_user("lead", "admin")
    addresses = ("/drift/", finding.get_absolute_url(), "/routes/up/")
    page = open_page(lead, addresses[0], viewport={"width": 1280, "height": 900})
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for number, address in enumerate(addresses):
            page.goto(address)
            assert findings(page) == [], (address, scheme)
            if PICTURES:
                page.screenshot(path=str(Path(PICTURES) / f"{number}-{scheme}.png"), full_page=True)
    page.set_viewport_size({"width": 360, "height": 760})
    for address in addresses:
        page.goto(address)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, address
        if PICTURES:
            page.screenshot(
                path=str(Path(PICTURES) / f"phone-{addresses.index(address)}.png"), full_page=True
            )


def test_it_is_accepted_by_the_keyboard_alone(
    finding: Finding, make_user: Callable[..., Any], open_page: Callable[..., Any]
) -> None:
    page = open_page(make_user("lead", "admin"), finding.get_absolute_url())
    page.get_by_label("Reason").focus()
    page.keyboard.type("Prod has its own words")
    page.keyboard.press("Enter")
    page.get_by_text("it is no drift any more").first.wait_for()
    finding.refresh_from_db()
    assert (finding.state, finding.reason) == (FindingState.ACCEPTED, "Prod has its own words")
