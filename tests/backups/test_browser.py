"""The pages of backups in a real browser."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from environments.backups.models import Backup
from environments.models import Environment
from tests.axe import findings
from tests.fakes.superset import FakeSuperset

from .worlds import make_world

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
PICTURES = os.environ.get("SSTOOLS_TEST_PICTURES", "")  # a folder: look at what the tests see


def picture(page: Any, name: str) -> None:
    if PICTURES:
        page.screenshot(path=str(Path(PICTURES) / f"{name}.png"), full_page=True, caret="initial")


def test_pages_of_backups_are_for_everybody(
    open_page: Callable[..., Any], environment: Environment, superset: FakeSuperset, owner: Any
) -> None:
    world = make_world(environment, superset, owner)
    night = f"/backups/{world.night.pk}/"
    addresses = {
        "list": "/backups/",
        "new": "/backups/new/",
        "night": night,
        "corrupt": f"/backups/{world.corrupt.pk}/",
        "failed": f"/backups/{world.failed.pk}/",
        "running": f"/backups/{world.running.pk}/",
        "entry": f"{night}chart/{world.renamed}/",
        "edit": f"{night}edit/",
        "delete": f"{night}delete/",
        "remove": f"/environments/{environment.slug}/remove/",
        "asset": f"/charts/{world.renamed}/backups/",
        "retention": f"/backups/retention/{environment.slug}/",
        "retention-list": "/backups/retention/",
    }
    page = open_page(owner, "/backups/", viewport={"width": 1280, "height": 900})
    assert "favicon-alert" in page.get_attribute("link[rel=icon]", "href")  # a schedule is late
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for name, address in addresses.items():
            page.goto(address)
            picture(page, f"{name}-{scheme}")
            if scheme == "light" or name in ("corrupt", "list"):
                assert findings(page) == [], (name, scheme)
    page.set_viewport_size({"width": 320, "height": 640})
    for name, address in addresses.items():
        page.goto(address)
        picture(page, f"phone-{name}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 320, name
    page.set_viewport_size({"width": 1280, "height": 900})

    page.goto("/jobs/")
    page.keyboard.press("g")
    page.keyboard.press("b")
    page.wait_for_url("**/backups/")
    page.click(f"#backups a[href='{night}']")
    page.wait_for_url(f"**{night}")
    page.fill("#find-in", "by hand")
    page.wait_for_selector("#contents >> text=Nothing matches")
    page.fill("#find-in", "chart 1.1")
    page.wait_for_selector("#contents-title:has-text('1 of')")
    assert page.locator("#contents tbody tr").count() == 1
    with page.expect_download() as told:
        page.click("text=Dashboards for Superset")
    assert told.value.suggested_filename == f"{environment.slug}-backup-{world.night.pk}-dashboards.zip"
    page.click("text=Delete…")
    page.fill("#id_confirm", environment.slug)
    page.click("button:has-text('Delete backup')")
    page.wait_for_url("**/backups/")
    assert not Backup.objects.filter(pk=world.night.pk).exists()
