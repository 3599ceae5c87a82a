"""The palette and the page of the search in a real browser: by keyboard, with late answers, without JavaScript."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from environments import events
from environments.models import Asset
from environments.search.links import page_of
from sstools.resources import resource_name
from tests.axe import findings
from tests.factories import make_environment, make_estate, make_migration

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
Open = Callable[..., Any]
WIDE = {"width": 1280, "height": 800}
OPTIONS = "#palette [role=option]:not([aria-disabled])"
CHOSEN = "#palette [aria-selected=true]"
PRESS = """([code, key]) => document.activeElement.dispatchEvent(
    new KeyboardEvent("keydown", {code, key, bubbles: true, cancelable: true}))"""


@pytest.fixture
def sales(admin: Any) -> Asset:
    """Two environments with dashboards Sales 1 to 9; the first one of dev."""
    for slug in ("dev", "prod"):
        environment = make_environment(slug, url=f"https://{slug}.example.org/bi")
        make_estate(environment, dashboards=9, charts=1)
        events.was_read(environment, None)
    make_migration(title="Sales to prod", actor=admin)
    return Asset.objects.get(environment__slug="dev", title="Sales 1")


def titles(page: Any) -> list[str]:
    return [text.split("\n")[0] for text in page.locator(OPTIONS).all_inner_texts()]


def ask(page: Any, text: str) -> None:
    page.fill("#palette-field", text)
    page.wait_for_selector(f'#palette-list [data-asked="{text}"]', state="attached")


def test_the_palette_by_keyboard(open_page: Open, admin: Any, sales: Asset) -> None:
    page = open_page(admin, "/environments/", viewport=WIDE)
    page.focus("main h1 ~ * a, main a")
    before = page.evaluate("document.activeElement.outerHTML")
    page.keyboard.press("Control+k")
    page.wait_for_selector(OPTIONS)
    assert page.evaluate("document.activeElement.id") == "palette-field"
    assert "Migrations" in titles(page)  # nothing was typed: the pages there are
    page.keyboard.press("Escape")
    assert not page.is_visible("#palette")
    assert page.evaluate("document.activeElement.outerHTML") == before

    page.evaluate(PRESS, ["Slash", "."])
    page.wait_for_selector(OPTIONS)
    ask(page, "sales")
    assert titles(page)[:3] == ["Sales 1", "Sales 2", "Sales 3"]
    assert "Sales to prod" in titles(page)
    assert page.inner_text(f"{CHOSEN} .list-side").split() == ["DEV", "PROD"]
    ids = [page.get_attribute(CHOSEN, "id")]
    for key in ("ArrowDown", "ArrowDown", "ArrowUp", "ArrowUp", "ArrowUp"):
        page.keyboard.press(key)
        ids.append(page.get_attribute(CHOSEN, "id"))
        assert page.get_attribute("#palette-field", "aria-activedescendant") == ids[-1]
    last = page.locator(OPTIONS).count() - 1
    assert ids == [f"palette-{number}" for number in (0, 1, 2, 1, 0, last)]  # round and round
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{page_of(Asset.objects.filter(title='Sales 2')[0])}")

    page.goto("/jobs/")
    page.keyboard.press("Control+k")  # what was looked at comes first
    page.wait_for_selector("#palette [role=group][aria-label=Recent] a")
    page.keyboard.press("Control+k")
    assert not page.is_visible("#palette")


def test_the_last_text_wins_and_enter_waits_for_it(open_page: Open, admin: Any, sales: Asset) -> None:
    page = open_page(admin, "/jobs/", viewport=WIDE)
    held: list[Any] = []
    page.route("**/search/palette/?q=sales+1*", lambda route: held.append(route))
    page.route("**/search/palette/?q=sales%201*", lambda route: held.append(route))
    page.keyboard.press("Control+k")
    ask(page, "sales")
    page.fill("#palette-field", "sales 1")
    page.wait_for_timeout(400)  # the request is under way, and its answer is kept back
    assert len(held) == 1
    page.keyboard.press("Enter")
    page.wait_for_timeout(100)
    assert page.url.endswith("/jobs/"), "the list of an older text was taken"
    ask(page, "sales 7")
    held[0].continue_()  # htmx has given it up, and the server answers all the same
    page.wait_for_timeout(300)
    assert titles(page)[0] == "Sales 7"
    page.fill("#palette-field", "sales 3")
    page.keyboard.press("Enter")  # before its list is there
    page.wait_for_url(f"**{page_of(Asset.objects.filter(title='Sales 3')[0])}")


def test_a_pasted_address_leads_to_our_page(open_page: Open, admin: Any, sales: Asset) -> None:
    address = f"https://dev.example.org/bi/superset/dashboard/{sales.uuid}/?native_filters_key=x"
    page = open_page(admin, "/jobs/", viewport=WIDE)
    page.click("#search")
    page.wait_for_selector("#palette[open]")
    page.fill("#palette-field", address)
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{page_of(sales)}")
    page.keyboard.press("Control+k")
    page.fill("#palette-field", "https://dev.example.org/bi/explore/p/abc/")
    page.wait_for_selector("#palette >> text=This is a permalink")

    plain = open_page(admin, "/jobs/", viewport=WIDE, java_script_enabled=False)
    plain.fill("#search", address)
    plain.press("#search", "Enter")
    assert plain.url.endswith(page_of(sales))


def test_what_the_page_can_do_is_in_the_palette(open_page: Open, admin: Any, sales: Asset) -> None:
    page = open_page(admin, "/environments/", viewport=WIDE)
    label = page.inner_text("main .page-head .actions a >> nth=0")
    page.keyboard.press("Control+k")
    ask(page, label.lower())
    page.click(f"#palette [aria-label='On this page'] >> text={label}")
    page.wait_for_url("**/environments/new/")


def test_keys_lead_to_pages_on_a_russian_layout_and_rest_in_fields(
    open_page: Open, admin: Any, sales: Asset
) -> None:
    page = open_page(admin, "/search/", viewport=WIDE)
    page.focus("#id_q")
    for code, key in (("KeyG", "п"), ("KeyM", "ь"), ("Slash", ".")):
        page.evaluate(PRESS, [code, key])
    assert not page.is_visible("#palette")
    page.evaluate("document.activeElement.blur()")
    for code, key in (("KeyG", "п"), ("KeyM", "ь")):
        page.evaluate(PRESS, [code, key])
    page.wait_for_url("**/migrations/")
    page.evaluate(
        "document.body.dispatchEvent(new KeyboardEvent('keydown', {code: 'Slash', shiftKey: true, bubbles: true}))"
    )
    page.wait_for_selector("#shortcuts[open] >> text=Search everything")


def test_the_page_finds_the_same_without_javascript(open_page: Open, admin: Any, sales: Asset) -> None:
    page = open_page(admin, "/search/", viewport=WIDE)
    page.evaluate("document.body.dataset.mark = 'same page'")
    page.type("#id_q", "revenue", delay=15)
    page.wait_for_url("**/search/?q=revenue")
    page.wait_for_selector("#found .list a >> text=Revenue 1.1")
    found = page.locator("#found .list a").all_inner_texts()
    assert page.evaluate("document.body.dataset.mark") == "same page"
    assert page.inner_text("#live") == "9 assets"
    plain = open_page(admin, "/search/", viewport=WIDE, java_script_enabled=False)
    plain.fill("#id_q", "revenue")
    plain.press("#id_q", "Enter")
    assert plain.locator("#found .list a").all_inner_texts() == found
    assert len(found) == 9
    plain.click("#kind-dataset")
    assert plain.is_visible("text=No asset fits")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_everybody_can_use_it(open_page: Open, admin: Any, sales: Asset, theme: str) -> None:
    page = open_page(admin, "/search/?q=sales", viewport={"width": 320, "height": 640}, color_scheme=theme)
    assert page.evaluate("document.documentElement.scrollWidth") == 320
    assert findings(page) == []
    page.keyboard.press("Control+k")
    page.wait_for_selector(OPTIONS)
    ask(page, "sales")
    assert page.evaluate("document.querySelector('#palette').scrollWidth") <= 320
    assert findings(page) == []


def test_the_browser_keeps_addresses_only_and_one_learns_nothing_by_them(
    open_page: Open, make_user: Callable[..., Any], sales: Asset
) -> None:
    prod = Asset.objects.get(environment__slug="prod", title="Sales 1").environment
    Asset.objects.filter(environment=prod, title="Sales 1").delete()
    outsider = make_user("outsider", "viewer", on=resource_name(prod))
    page = open_page(outsider, "/environments/prod/", viewport=WIDE)
    page.evaluate(
        "paths => localStorage.setItem('recent', JSON.stringify(paths))",
        [page_of(sales), "/environments/dev/", "/environments/prod/", "/no/such/page/"],
    )
    page.goto("/jobs/")
    page.keyboard.press("Control+k")
    page.wait_for_selector(OPTIONS)
    assert titles(page)[0] == "Prod"
    assert page.locator("#palette [aria-label=Recent] a").count() == 1
    assert "Sales" not in page.evaluate("localStorage.getItem('recent')")
