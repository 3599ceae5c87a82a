"""Acceptance points 11 to 13 and 23 to 26 of the pages of assets, in a real browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from environments.models import Asset
from sstools.audit.models import AuditEvent
from tests.axe import findings
from tests.factories import uuid_for

from .conftest import World, chart_document

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
Open = Callable[..., Any]
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 320, "height": 640}
SALES = f"/dashboards/{uuid_for('Sales overview')}/"


def test_environments_side_by_side_and_open_leads_to_each_superset(
    open_page: Open, world: World, author: Any
) -> None:
    page = open_page(author, SALES, viewport=WIDE)
    cards = page.locator(".places > .card")
    assert [cards.nth(index).locator(".env").inner_text() for index in range(3)] == ["DEV", "STAGE", "PROD"]
    tops = {round(cards.nth(index).bounding_box()["y"]) for index in range(3)}
    assert len(tops) == 1  # beside one another
    assert "Irina Petrova" in cards.nth(2).inner_text()
    opened = cards.nth(2).locator("a", has_text="Open")
    assert opened.get_attribute("target") == "_blank"
    assert opened.locator("svg[aria-label='in a new tab']").count() == 1
    # The id on the target changes: the same address leads to the new one.
    Asset.objects.filter(environment=world.prod, kind="dashboard").update(url_path="/superset/dashboard/new/")
    answer = page.request.get(opened.get_attribute("href"), max_redirects=0)
    assert answer.headers["location"] == "https://prod.example.org/superset/dashboard/new/"
    for path in (SALES, f"/datasets/{uuid_for('sales_fact')}/graph/?column=region", f"{SALES}history/"):
        page.goto(path)
        assert findings(page) == []
    page.set_viewport_size(PHONE)
    for path in (SALES, f"{SALES}graph/", f"{SALES}checks/", "/assets/"):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") == 320, path


def test_the_graph_is_walked_by_keyboard(open_page: Open, world: World, author: Any) -> None:
    page = open_page(author, f"/datasets/{uuid_for('sales_fact')}/graph/", viewport=WIDE, color_scheme="dark")
    page.locator("svg.graph a").first.focus()
    seen = []
    for _ in range(5):
        seen.append(page.evaluate("document.activeElement.getAttribute('aria-label')"))
        page.keyboard.press("Tab")
    assert "dashboard Sales overview" in seen
    assert "chart Refund rate" in seen
    page.locator("svg.graph a[aria-label='chart Refund rate']").focus()
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/charts/{uuid_for('Refund rate')}/graph/?env=dev")
    colours = page.evaluate(
        "[...document.querySelectorAll('.graph-box rect')].map(box => getComputedStyle(box).fill)"
    )
    assert colours
    assert "rgb(255, 255, 255)" not in colours  # dark


def test_a_wrong_pairing_is_changed_and_is_in_the_audit(open_page: Open, world: World, author: Any) -> None:
    other = chart_document("Refund rate", uuid_for("sales_fact"), uuid_for("other"), groupby=["region"])
    world.add(world.prod, other)
    address = f"/charts/{uuid_for('Refund rate')}/"
    page = open_page(author, address, viewport=WIDE, java_script_enabled=False)
    page.click("text=Pair the pairing with Prod")
    page.check(f"[name=target_uuid][value='{other.uuid}']")
    page.click("#pairing button >> text=Pair")
    page.wait_for_url(f"**{address}")
    assert "paired by author" in page.inner_text(".places")
    page.click("text=Change the pairing with Prod")
    page.click("text=Remove the pairing")
    page.wait_for_url(f"**{address}")
    assert "not paired" in page.inner_text(".places")
    events = AuditEvent.objects.filter(action__startswith="pairing:").order_by("number")
    assert [(event.action, event.actor_name) for event in events] == [
        ("pairing:set", "author"),
        ("pairing:remove", "author"),
    ]


def test_the_inventory_without_javascript_gives_the_same_and_says_what_to_take_away(
    open_page: Open, world: World, author: Any
) -> None:
    def titles(page: Any) -> list[str]:
        return list(page.locator("#assets tbody th a").all_inner_texts())

    plain = open_page(author, "/assets/", viewport=WIDE, java_script_enabled=False)
    plain.fill("#id_q", "revenue")
    plain.click("button >> text=Filter")
    plain.click("th >> text=Title")
    address = plain.url
    scripted = open_page(author, address, viewport=WIDE)
    assert titles(plain) == titles(scripted) == ["Revenue by month"] * 3
    scripted.goto("/assets/?page=999")
    assert len(titles(scripted)) == 20
    scripted.click("summary >> text=Columns")
    scripted.uncheck("[name=col][value=owner]")
    scripted.check("[name=col][value=uuid]")
    scripted.click("#columns button")
    scripted.wait_for_url("**columns=**")
    assert "Owner" not in scripted.locator("#assets thead").inner_text()
    scripted.select_option("[name=type]", "dashboard")  # by htmx: the columns stay
    scripted.wait_for_url("**type=dashboard**")
    assert "columns=" in scripted.url
    scripted.fill("#id_q", "refund")
    scripted.wait_for_selector("text=No asset matches")
    scripted.click("text=2 assets without Type: dashboards")
    scripted.wait_for_url("**q=refund**")
    assert titles(scripted) == ["Refund rate"] * 2
