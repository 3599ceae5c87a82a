"""The pages of environments in a real browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from environments import services
from environments.models import Environment, Reading
from tests.factories import make_asset, make_environment, make_estate
from tests.fakes.superset import FakeSuperset

from .conftest import PASSWORD

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
Open = Callable[..., Any]
PHONE, WIDE = {"width": 320, "height": 640}, {"width": 1280, "height": 800}


@pytest.fixture
def estate(owner: Any) -> None:
    for slug in ("dev", "prod"):
        environment = make_environment(slug, protected=slug == "prod")
        make_estate(environment, dashboards=3, charts=30)
        environment.inventory_at = environment.created_at
        environment.asset_counts = {"dashboard": 3, "chart": 90, "dataset": 3, "database": 1}
        environment.save()
    dev = Environment.objects.get(slug="dev")
    make_asset(dev, "chart", "A title that is long, " * 12)
    cost = {"list": 5, "export": 2, "sweep": 1, "other": 3}
    found = {"chart": {"added": 3, "changed": 12, "gone": 1, "same": 74}}
    Reading.objects.create(environment=dev, state="done", mode="first", requests=cost, found=found, swept=40)
    error = {"code": "timeout", "message": "http://dev.test did not answer within 60 seconds.", "remedy": ""}
    Reading.objects.create(environment=dev, state="failed", requests={"other": 7}, error=error)


def rows(page: Any) -> list[str]:
    return list(page.locator("#assets tbody th a").all_inner_texts())


def wait_for_rows(page: Any, number: int) -> None:
    from playwright.sync_api import expect

    expect(page.locator("#assets tbody tr")).to_have_count(number)


@pytest.mark.parametrize(
    "path",
    [
        "/environments/",
        "/environments/new/",
        "/environments/dev/",
        "/environments/dev/edit/",
        "/environments/prod/remove/",
        "/assets/",
        "/assets/?q=nothing-like-it&type=chart&env=dev",
    ],
)
def test_no_page_is_wider_than_a_small_phone(open_page: Open, owner: Any, estate: None, path: str) -> None:
    page = open_page(owner, path, viewport=PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") == 320


def test_filter_sort_page_and_back(open_page: Open, owner: Any, estate: None) -> None:
    page = open_page(owner, "/assets/", viewport=WIDE)
    page.evaluate("document.body.dataset.mark = 'same page'")
    assert len(rows(page)) == 50
    page.click("th >> text=Title")
    page.wait_for_url("**/assets/?sort=title")
    page.type("#id_q", "revenue 2.", delay=30)
    page.wait_for_url("**q=revenue%202.**")
    wait_for_rows(page, 50)
    assert "sort=title" in page.url  # the sort outlives a new filter
    assert page.input_value("#id_q") == "revenue 2."
    assert page.evaluate("document.activeElement.name") == "q"
    assert all(title.startswith("Revenue 2.") for title in rows(page))
    assert page.inner_text("#live") == "60 assets"
    page.click("#page-2")
    wait_for_rows(page, 10)
    page.select_option("[name=env]", "prod")
    page.wait_for_url("**env=prod**")
    wait_for_rows(page, 30)
    assert "page=" not in page.url  # another filter starts at the first page
    assert page.evaluate("document.body.dataset.mark") == "same page"  # nothing was loaded anew
    there = rows(page)
    address = page.url
    page.go_back()
    wait_for_rows(page, 10)
    page.goto(address)  # as in somebody else's browser
    assert rows(page) == there


def test_without_javascript_the_same_rows(open_page: Open, owner: Any, estate: None) -> None:
    page = open_page(owner, "/assets/", viewport=WIDE, java_script_enabled=False)
    page.fill("#id_q", "sales_fact")
    page.select_option("[name=env]", "dev")
    page.click("button >> text=Filter")
    assert rows(page) == ["sales_fact_1", "sales_fact_2", "sales_fact_3"]
    page.click("th >> text=Title")
    page.click("th >> text=Title")
    assert rows(page) == ["sales_fact_3", "sales_fact_2", "sales_fact_1"]
    page.click("text=Clear all")
    assert len(rows(page)) == 50


def test_checked_rows_are_counted_and_go_to_a_migration(open_page: Open, owner: Any, estate: None) -> None:
    page = open_page(owner, "/assets/?type=dashboard&env=dev", viewport=WIDE)
    page.check("[data-check-all]")
    assert page.inner_text("[data-checked-count]") == "3"
    page.locator("[data-check]").first.uncheck()
    assert page.inner_text("[data-checked-count]") == "2"
    page.click("text=Add to migration")
    page.wait_for_url("**/migrations/new/**")
    assert "Sales 2" in page.inner_text("main")


def test_an_environment_is_registered_tested_and_read_on_one_page(
    open_page: Open,
    owner: Any,
    superset: FakeSuperset,
    run_jobs: Callable[[], int],
) -> None:
    from environments.connections import connecting_through

    with connecting_through(lambda environment: superset):
        page = open_page(owner, "/environments/new/", viewport=WIDE)
        page.click("text=Add and test")
        page.wait_for_selector(
            "main [role=alert]"
        )  # the browser's own checks are off: the server's words are better
        page.fill("[name=name]", "Development")
        page.fill("[name=url]", superset.url + "/superset/welcome/")
        page.fill("[name=username]", "admin")
        page.fill("[name=secret]", PASSWORD)
        page.click("text=Add and test")
        page.wait_for_url("**/environments/development/")
        assert page.locator("#environment-state[hx-get]").count() == 1
        run_jobs()
        page.wait_for_selector("#environment-state:not([hx-get])", timeout=10_000)
        text = page.inner_text("main")
        assert "reached" in text
        assert "Warehouse" in text
        assert "Signed in as Ada Admin" in text
        page.click('main button:has-text("Test")')
        page.wait_for_selector("#environment-state[hx-get]")
        run_jobs()
        page.wait_for_selector("#environment-state:not([hx-get])", timeout=10_000)


def test_a_wrong_name_is_not_even_posted(open_page: Open, owner: Any, estate: None) -> None:
    page = open_page(owner, "/environments/prod/remove/", viewport=WIDE, java_script_enabled=False)
    page.fill("[name=confirm]", "dev")
    page.click("button >> text=Remove Prod")
    assert Environment.objects.filter(slug="prod").exists()
    assert page.url.endswith("/remove/")
    page.fill("[name=confirm]", "prod")
    page.click("button >> text=Remove Prod")
    assert page.url.endswith("/environments/")
    assert not Environment.objects.filter(slug="prod").exists()


def test_a_failed_test_shows_its_remedy(
    open_page: Open, registered: Any, owner: Any, superset: FakeSuperset
) -> None:
    environment = registered(superset)
    superset.users = {}
    services.run_check(environment)
    page = open_page(owner, "/environments/dev/", viewport=PHONE)
    assert "Give the right user and password" in page.inner_text("main")
    assert page.locator("[aria-label='failed:']").count() == 1
