"""Comparing in a real browser: ux.md, acceptance 27 to 34."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from environments.models import Environment
from tests.axe import findings
from tests.factories import uuid_for

from .conftest import SECRET

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
Open = Callable[..., Any]
Two = tuple[Environment, Environment]
WIDE = {"width": 1280, "height": 900}
PHONE = {"width": 320, "height": 700}
LIST = "/compare/?left=env:dev&right=env:prod"


def asset(title: str, kind: str = "chart", query: str = "") -> str:
    return f"/compare/{kind}/{uuid_for(title)}/?left=env:dev&right=env:prod{query}"


def shown(page: Any) -> list[str]:
    return [text.strip() for text in page.locator(".item .name").all_inner_texts() if text.strip()]


def test_the_list_is_worked_by_keyboard_and_ticks_outlive_a_reload(
    open_page: Open, two: Two, viewer: Any
) -> None:
    page = open_page(viewer, LIST, viewport=WIDE)
    assert "6 differences" in page.inner_text("main")
    page.keyboard.press("n")
    assert "Sales" in page.evaluate("document.activeElement.textContent")
    page.keyboard.press("Enter")
    page.wait_for_selector(".item .says")
    assert "layout: chart “Refunds” added" in page.inner_text(".item >> nth=0")
    page.keyboard.press("n")
    page.keyboard.press("n")
    page.keyboard.press("p")
    assert "Margin" in page.evaluate("document.activeElement.textContent")
    page.check(f"#tick-{uuid_for('Sales')}")
    page.wait_for_selector("#viewed-count:has-text('1 of 6 viewed')")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("e")
    assert page.locator("main details.item[open]").count() == 0
    page.reload()
    assert "1 of 6 viewed" in page.inner_text("#viewed-count")
    page.fill("#comparison [name=q]", "refu")
    page.wait_for_url("**q=refu**")
    page.wait_for_selector("#comparison:has-text('1–1 of 1 asset')")
    assert "left=env" in page.url
    page.go_back()
    page.wait_for_selector("#comparison:has-text('1–6 of 6 assets')")


def test_one_asset_by_keyboard_with_all_of_it_in_the_address(open_page: Open, two: Two, viewer: Any) -> None:
    from playwright.sync_api import expect

    page = open_page(viewer, asset("Margin"), viewport=WIDE)
    page.keyboard.press("n")
    focused = "document.activeElement.closest('tr')?.textContent || ''"
    assert "row_limit" in page.evaluate(focused)
    page.keyboard.press("n")
    page.keyboard.press("n")
    assert "row_limit: 100" in page.evaluate(focused)
    marks = page.evaluate(
        "[...document.querySelectorAll('.diff del, .diff ins')].map(e => [e.tagName, e.textContent,"
        " getComputedStyle(e).textDecorationLine, getComputedStyle(e).fontWeight])"
    )
    strike, bold = ["line-through", "400"], ["none", "600"]
    words = [("DEL", "100", *strike), ("INS", "500", *bold), ("DEL", "99", *strike), ("INS", "20", *bold)]
    assert [tuple(mark) for mark in marks] == words
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("u")
    page.wait_for_url("**view=unified**")
    page.wait_for_selector("#documents table.diff:not(.is-split)")
    gap = page.locator(".is-gap a").first
    assert "unchanged lines, show" in gap.inner_text()
    before = page.locator(".is-gap").count()
    gap.focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**open=**")
    expect(page.locator(".is-gap")).to_have_count(before - 1)
    page.reload()
    assert page.locator(".is-gap").count() == before - 1
    assert page.locator("table.diff.is-split").count() == 0
    page.locator(".is-gap a").first.click()
    expect(page.locator(".is-gap")).to_have_count(before - 2)
    page.click("#lines-all")
    page.wait_for_url("**lines=all**")


def test_without_scripts_the_same_pages_work(open_page: Open, two: Two, author: Any) -> None:
    page = open_page(author, LIST, viewport=WIDE, java_script_enabled=False)
    page.click("a[title='Swap the sides']")
    assert page.url.endswith("left=env%3Aprod&right=env%3Adev")
    page.select_option("#id_left_place", "env:dev")
    page.select_option("#id_right_place", "env:prod")
    page.click("#places button[type=submit]")
    page.goto(asset("Margin"))
    page.click(".is-gap a >> nth=0")
    assert "open=" in page.url
    page.check("[name=viewed]")
    page.click("text=Save")
    assert "1 of 6 viewed" in page.inner_text("main")
    page.goto(LIST + "&type=chart")
    page.check(f"[name=pick][value='{uuid_for('Refunds')}']")
    page.click("button[value=ticked]")
    assert "/migrations/" in page.url


def test_mapping_is_no_change_and_no_secret_is_in_the_source(open_page: Open, two: Two, viewer: Any) -> None:
    page = open_page(viewer, asset("sales_fact", "dataset", "&lines=all"), viewport=WIDE)
    assert "database: “DWH” → “DWH_PROD” (mapping, not a change)" in " ".join(page.inner_text("main").split())
    assert page.locator("[data-mapping] [aria-label=mapping]").count() == 1
    assert SECRET not in page.content()
    page.goto(LIST)
    assert SECRET not in page.content()
    page.click("summary:has-text('rules of what is ignored')")
    page.click("text=All rules, with their reasons")
    assert "derived from the form data" in page.inner_text("main")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_are_accessible_and_fit(open_page: Open, two: Two, author: Any, scheme: str) -> None:
    page = open_page(author, LIST, viewport=WIDE, color_scheme=scheme)
    page.locator(".item summary").first.click()
    page.wait_for_selector(".item .says")
    assert findings(page) == []
    page.goto(asset("Margin"))
    assert findings(page) == []
    page.set_viewport_size(PHONE)
    for url in (asset("Margin"), LIST, "/compare/files/", "/compare/rules/"):
        page.goto(url)
        assert page.evaluate("document.documentElement.scrollWidth") <= 320, url
