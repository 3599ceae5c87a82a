"""The pages of rehearsals for everybody: axe in both themes, and a phone."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.axe import findings
from tests.factories import make_environment

from .test_pages import make

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
PICTURES = os.environ.get("SSTOOLS_TEST_PICTURES", "")


def test_pages_of_rehearsals_are_for_everybody(
    make_user: Callable[..., Any], open_page: Callable[..., Any]
) -> None:
    prod = make_environment("prod", protected=True)
    sandbox = make_environment("sandbox", name="Sandbox", scratch=True)
    make(prod, sandbox, compared={"equal": 103}, charts={"ok": 61})
    error = {
        "code": "not_equal",
        "message": "1 asset is not as in backup 1.",
        "remedy": "See what differs.",
    }
    differs = {
        "kind": "chart",
        "uuid": str(prod.uuid),
        "title": "Revenue",
        "text": "Differs in slice_name, params › row_limit.",
    }
    row = make(
        prod,
        sandbox,
        state="failed",
        error=error,
        differences=[differs],
        cleanup="left",
        compared={"equal": 102, "different": 1},
        companions={"create": 3, "unchanged": 2},
        notes=["“DWH” was mapped to “DWH copy”: all 12 tables are there."],
    )
    addresses = ("/rehearsals/", row.get_absolute_url(), sandbox.get_absolute_url())
    page = open_page(make_user("lead", "admin"), addresses[0], viewport={"width": 1280, "height": 900})
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for number, address in enumerate(addresses):
            page.goto(address)
            assert findings(page) == [], (address, scheme)
            if PICTURES:
                page.screenshot(path=str(Path(PICTURES) / f"{number}-{scheme}.png"), full_page=True)
    page.set_viewport_size({"width": 360, "height": 760})
    for address in addresses[:2]:
        page.goto(address)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, address
