"""The page of search and replace for everybody: axe, the width of a phone, and the way to a plan without JavaScript."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from environments.models import Environment
from migrations_app.models import Migration
from migrations_app.replacing import services
from tests.axe import findings
from tests.factories import make_environment, make_plan

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 760}


@pytest.fixture
def prod(db: None) -> Environment:
    return make_environment("prod", protected=True)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_is_for_everybody_and_leads_to_a_plan(
    open_page: Callable[..., Any], make_user: Callable[..., Any], prod: Environment, theme: str
) -> None:
    boss = make_user("boss", "admin")
    known = services.create_replacement(prod, actor=boss, find="old_schema.", replace="new_schema.")
    make_plan(known, [("chart", "Revenue", "update")])
    page = open_page(boss, "/replace/", viewport=WIDE, color_scheme=theme, reduced_motion="reduce")
    page.fill("#id_find", "(")
    page.check("input[value=pattern]")
    page.get_by_role("button", name="Plan the replacement").click()
    page.locator(".field-errors").first.wait_for()
    page.select_option("#id_environment", "prod")
    page.get_by_role("button", name="Plan the replacement").click()
    page.get_by_text("This pattern does not work").first.wait_for()
    shots = os.environ.get("SSTOOLS_TEST_SHOTS")
    if shots:
        page.screenshot(path=f"{shots}/replace-{theme}.png", full_page=True)
    assert findings(page) == []
    page.set_viewport_size(PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.fill("#id_find", "old(er|est)")
    page.get_by_role("button", name="Plan the replacement").click()
    page.wait_for_url("**/migrations/*/plan/")
    made = Migration.objects.latest("number")
    assert made.replacement.asked.find == "old(er|est)"
    page.set_viewport_size(WIDE)
    page.goto(f"/migrations/{known.number}/plan/")
    if shots:
        page.screenshot(path=f"{shots}/plan-{theme}.png", full_page=True)
    assert page.get_by_text("0 places").is_visible()
