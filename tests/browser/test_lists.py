"""Overview and inventory, in a browser: first rows, links, filters, paging, selecting (acceptance points 1 to 18)."""

from __future__ import annotations

import gzip
import re
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from environments.models import CheckState, Environment
from tests.estate.worlds import fill, make_way
from tests.factories import tag_asset

from .points import Points

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
Open = Callable[..., Any]
WIDE = {"width": 1280, "height": 720}
ROWS = "links => links.map(link => link.textContent)"
STATES = ("in sync", "behind", "drifted", "diverged", "differs", "absent", "only here", "unknown")
PAINT = """icon => { const box = document.createElement('div'); box.id = 'grey'; box.append(icon.cloneNode(true));
    box.style.cssText = 'position:fixed;top:0;left:0;z-index:9999;background:#fff;color:#000;filter:grayscale(1)';
    document.getElementById('grey')?.remove(); document.body.append(box); }"""


@pytest.fixture
def way() -> list[Environment]:
    made = make_way("dev", "test", "stage", "prod")
    fill(made, dashboards=70)
    return made


def titles(page: Any, table: str = "#matrix") -> list[str]:
    found: list[str] = page.eval_on_selector_all(f"{table} tbody th a", ROWS)
    return found


def test_the_overview(
    open_page: Open, way: list[Environment], author: Any, viewer: Any, signed_in: Any
) -> None:
    points = Points()
    client: Client = signed_in(author)
    client.get("/")
    spent = []
    for _ in range(20):
        before = time.thread_time()
        answer = client.get("/")
        spent.append(time.thread_time() - before)
    points(1, sorted(spent)[18] < 0.2, spent)
    points(1, len(gzip.compress(answer.content)) < 60 * 1024, len(answer.content))
    for address in ("/", "/assets/"):
        costs = set()
        for query in ("?per_page=25", "?per_page=250&page=1", "?q=dashboard+00001"):
            with CaptureQueriesContext(connection) as asked:
                client.get(address + query)
            costs.add(len(asked))
        points(2, len(costs) == 1, (address, costs))

    page = open_page(author, "/", viewport=WIDE)
    rows = page.eval_on_selector_all("#matrix tbody tr", "rows => rows.map(row => row.textContent)")
    urgent = [bool(re.search("diverged|drifted|unknown", row)) for row in rows]
    number = int(re.search(r"\d+", page.inner_text("#urgent"))[0])  # type: ignore[index]
    points(3, urgent == sorted(urgent, reverse=True), "other rows stand before those that need attention")
    points(3, number == sum(urgent) > 0, (number, sum(urgent)))
    page.click("#urgent")
    page.wait_for_url("**state=attention**")
    points(
        3, page.inner_text("#matrix-count").startswith(f"{number} dashboards"), "the chip counts otherwise"
    )
    page.go_back()
    page.wait_for_selector("#matrix tbody tr:nth-child(50)")

    names = page.eval_on_selector_all(
        "#matrix tbody td a", "all => all.map(link => link.getAttribute('aria-label'))"
    )
    said = re.compile(rf".+ on (Test|Stage|Prod): ({'|'.join(STATES)})( \d+)?$")
    points(4, len(names) == 150 and all(name and said.match(name) for name in names), names[:3])

    page.goto("/?env=prod&sort=title&page=2&per_page=25")
    shown = titles(page)
    link = page.locator("#matrix tbody td a:has-text('behind')").last
    link.scroll_into_view_if_needed()
    scrolled = page.evaluate("scrollY")
    target = link.get_attribute("href")
    link.click()
    page.wait_for_url("**/compare/dashboard/**")
    asked = parse_qs(urlsplit(page.url).query)
    points(5, page.url.endswith(target) and asked["left"] == ["env:dev"], page.url)
    points(5, page.locator("h1").inner_text().split("\n")[0] in shown, "another asset is compared")
    page.go_back()
    page.wait_for_selector("#matrix tbody")
    points(
        5, page.url.endswith("/?env=prod&sort=title&page=2&per_page=25") and titles(page) == shown, page.url
    )
    page.wait_for_timeout(150)
    points(
        5, abs(page.evaluate("scrollY") - scrolled) < 5 and scrolled > 0, (scrolled, page.evaluate("scrollY"))
    )
    copied = page.url

    page.goto("/?type=dashboard&ref=test&per_page=100")
    looks: dict[str, bytes] = {}
    for state in STATES:
        pill = page.locator(f"#matrix tbody td a[aria-label*=': {state}']").first
        points(8, pill.count(), f"no cell is {state}")
        if pill.count():
            points(8, state in pill.inner_text(), f"{state} is not said in words")
            pill.locator("svg").first.evaluate(PAINT)
            looks[state] = page.locator("#grey").screenshot()
    points(8, len(set(looks.values())) == len(STATES), "two states have one sign in grey")
    points(9, looks.get("drifted") != looks.get("behind"), "drifted and behind look the same")

    Environment.objects.filter(slug="stage").update(
        check_state=CheckState.FAILED,
        check_report={"stages": [{"ok": False, "code": "timeout", "name": "http", "text": "", "remedy": ""}]},
    )
    page.goto("/")
    heads = page.locator("#matrix thead th.is-old")
    points(7, heads.count() == 1 and "STAGE" in heads.inner_text(), "which column is grey")
    points(7, "unreachable" in heads.inner_text() and "read" in heads.inner_text(), heads.inner_text())
    points(7, page.locator("#matrix tbody td.is-old").count() == 50, "its cells are not grey")
    points(
        7, page.locator("#matrix tbody td:not(.is-old) a").count() == 100, "other columns lost their cells"
    )

    other = open_page(viewer, copied, viewport=WIDE)  # signs the author out
    points(6, titles(other) == shown, "somebody else sees other rows")
    points.must_all_hold()


def test_filters_and_pages(open_page: Open, way: list[Environment], author: Any) -> None:
    points = Points()
    tag_asset(way[0], "Margin dashboard 00006", "Executive")
    page = open_page(author, "/?owner=petrova&state=drifted&q=nothing+like+it", viewport=WIDE)
    chips = page.inner_text("#matrix .chips")
    points(11, all(word in chips for word in ("Owner: petrova", "State: drifted", "nothing like it")), chips)
    page.click("#matrix .empty >> text=Clear the filters")
    points(11, titles(page), "clearing leaves nothing")
    page.goto("/assets/?owner=petrova&q=nothing")
    points(
        11,
        "Owner: petrova" in page.inner_text("#assets .empty") or "without" in page.inner_text("#assets"),
        "",
    )
    for address, table in (("/assets/?page=999", "#assets"), ("/?page=999", "#matrix")):
        answer = page.goto(address)
        points(12, answer.status == 200 and titles(page, table), address)

    plain = open_page(author, "/", viewport=WIDE, java_script_enabled=False)
    plain.fill("#id_q", "dashboard")
    plain.select_option("#id_tag", "Executive")
    plain.click("form.filters button:has-text('Filter')")
    points(13, titles(plain) == ["Margin dashboard 00006"], titles(plain))
    plain.select_option("#id_tag", "")
    plain.click("form.filters button:has-text('Filter')")
    plain.click("#matrix thead >> text=Asset")
    plain.click("#page-2")
    page.goto(plain.url)
    points(13, len(titles(plain)) == 20 and titles(page) == titles(plain), plain.url)

    page.goto("/")
    page.evaluate("document.querySelector('h1').dataset.kept = 'yes'")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.fill("#id_q", "margin")
    page.wait_for_selector("#matrix-count:has-text('7 dashboards')")
    points(14, page.get_attribute("h1", "data-kept") == "yes", "more than the table was swapped")
    points(14, "Select all 7 matching" in page.inner_text("#bulk"), page.inner_text("#bulk"))
    points(14, page.inner_text("#live") == "7 dashboards", page.inner_text("#live"))
    points(14, len([url for url in asked if "static" not in url]) == 1, asked)

    held: list[Any] = []
    page.route("**/?*q=sal&*", lambda route: held.append(route))
    page.route("**/?*q=sal", lambda route: held.append(route))
    page.fill("#id_q", "sal")
    page.wait_for_timeout(450)  # longer than typing pauses: it is under way
    points(15, len(held) == 1, "the older text was not asked for")
    page.fill("#id_q", "ops")
    page.wait_for_selector("#matrix-count:has-text('7 dashboards')")
    page.wait_for_selector("#matrix tbody tr:first-child th a:has-text('Ops')")
    for route in held:
        route.continue_()
    page.wait_for_timeout(300)
    points(15, all(title.startswith("Ops") for title in titles(page)), titles(page))
    points.must_all_hold()


def test_selecting(open_page: Open, way: list[Environment], author: Any) -> None:
    points = Points()
    page = open_page(author, "/", viewport=WIDE)
    page.fill("#id_q", "finance")
    page.wait_for_selector("#matrix-count:has-text('7 dashboards')")
    found = sorted(titles(page))
    page.click("button:has-text('Select all 7 matching')")
    page.wait_for_selector("#selected-count:text-is('7')")
    page.click("button:has-text('Add 7 to a migration')")
    page.wait_for_url("**/selection/dev/")
    listed = page.eval_on_selector_all(
        "#chosen .list-main", "all => all.map(one => one.firstChild.textContent)"
    )
    points(16, sorted(listed) == found, (listed, found))

    page.goto("/?sort=title&per_page=25&page=2")
    page.locator("input[name=pick]:not(:disabled)").nth(2).check()
    page.wait_for_selector("#selected-count:text-is('8')")
    points(17, "7 outside this view" not in page.inner_text("#bulk"), "all are in the view: no filter is on")
    page.fill("#id_q", "finance")
    page.wait_for_selector("#matrix-count:has-text('7 dashboards')")
    points(17, "1 outside this view" in page.inner_text("#bulk"), page.inner_text("#bulk"))
    points(17, page.locator("input[name=pick]:checked").count() == 7, "ticks were lost")
    points(18, page.locator("button:has-text('Add 8 to a migration')").count() == 1, page.inner_text("#bulk"))

    page.goto("/selection/dev/")
    points(18, page.locator("button:has-text('Make a migration of 8 assets')").count() == 1, "another number")
    elsewhere = open_page(author, "/?q=sales", viewport=WIDE)
    elsewhere.locator("input[name=pick]:not(:disabled)").first.check()
    elsewhere.wait_for_selector("#selected-count:text-is('9')")
    with page.expect_response(lambda answer: answer.request.method == "POST") as answered:
        page.click("button:has-text('Make a migration of 8 assets')")
    points(18, answered.value.status == 409, answered.value.status)
    page.wait_for_selector("text=the page listed 8")
    points(
        18,
        page.locator("button:has-text('Make a migration of 9 assets')").count() == 1,
        "no new page to confirm",
    )
    points(18, page.locator("#chosen li").count() == 9, "it does not list what there is now")
    points.must_all_hold()


def test_with_no_environment_there_are_three_steps(open_page: Open, admin: Any) -> None:
    points = Points()
    page = open_page(admin, "/", viewport=WIDE)
    steps = page.locator("main ol > li")
    points(10, steps.count() == 3, page.inner_text("main"))
    points(10, page.locator("main table").count() == 0, "an empty table")
    points(
        10,
        page.locator("main ol > li a").first.get_attribute("href") == "/environments/new/",
        "no first step",
    )
    points.must_all_hold()
