"""Restoring one dashboard in a real browser, on a phone's width too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from migrations_app.models import Migration
from tests.axe import findings
from tests.factories import uuid_for
from tests.migrations_app.scenes import Scene

from .taking import take_backup

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 320, "height": 700}


def test_one_dashboard_is_picked_out_of_a_backup(
    open_page: Callable[..., Any], furnished: Scene, admin: Any
) -> None:
    backup = take_backup(furnished.pair.source, furnished.product)
    page = open_page(admin, f"/backups/{backup.number}/restore/", viewport=WIDE)
    assert findings(page) == []
    page.check("input[name=what][value=picked]")
    page.fill("#restore-q", "sales")
    page.click("#restore-filter")
    page.wait_for_selector(f"#pick-{uuid_for('Revenue')}", state="detached")
    page.check(f"#pick-{uuid_for('Sales')}")
    page.fill("#restore-q", "")
    page.click("#restore-filter")
    page.wait_for_selector(f"#pick-{uuid_for('Revenue')}")
    assert page.inner_text("#basket-title").split() == ["Ticked", "1"]
    page.check("input[name=how][value=beside]")
    page.set_viewport_size(PHONE)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.set_viewport_size(WIDE)
    assert findings(page) == []
    page.click("main button.btn-primary")
    page.wait_for_url("**/plan/")
    migration = Migration.objects.get()
    assert (migration.selection, migration.source_place) == ([uuid_for("Sales")], backup.place)
    assert (migration.copy_terms or {})["title"] == f"{{title}} (backup {backup.number})"
