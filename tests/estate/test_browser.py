"""The overview in a real browser: selecting, also without JavaScript, and axe. The rest is in tests/browser."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from environments.models import Environment
from migrations_app.estate.models import Selection
from migrations_app.models import Migration
from tests.axe import findings
from tests.estate.worlds import fill, make_way
from tests.factories import uuid_for

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
Open = Callable[..., Any]
WIDE = {"width": 1280, "height": 900}


@pytest.fixture
def way() -> list[Environment]:
    made = make_way("dev", "stage", "prod")
    fill(made, dashboards=70)
    return made


def test_ticks_survive_paging_and_a_filter_and_lead_to_exactly_these(
    open_page: Open, way: list[Environment], author: Any
) -> None:
    page = open_page(author, "/?sort=title&per_page=25", viewport=WIDE)
    boxes = page.locator("input[name=pick]")
    boxes.nth(0).check()
    page.wait_for_selector("#selected-count:text-is('1')")
    boxes.nth(3).check()
    page.wait_for_selector("#selected-count:text-is('2')")
    page.click("#page-2")
    page.wait_for_selector(".pager [aria-current]:text-is('2')")
    page.locator("input[name=pick]").nth(1).check()
    page.wait_for_selector("#selected-count:text-is('3')")
    page.fill("#id_q", "sales")
    page.wait_for_selector("#matrix-count:has-text('7 dashboards')")
    assert "outside this view" in page.inner_text("#bulk")
    assert "q=sales" in page.url
    page.click("button:has-text('Add 3 to a migration')")
    page.wait_for_url("**/selection/dev/")
    listed = page.eval_on_selector_all(
        "#chosen .list-main", "items => items.map(item => item.firstChild.textContent)"
    )
    assert len(listed) == 3
    page.select_option("[name=target]", "prod")
    page.click("button:has-text('Make a migration of 3 assets')")
    page.wait_for_url(re.compile(r"/migrations/\d+/plan/"))
    assert set(Migration.objects.get().selection) == {uuid_for(title) for title in listed}


def test_search_then_select_all_matching_lists_exactly_these_also_without_javascript(
    open_page: Open, way: list[Environment], author: Any
) -> None:
    page = open_page(author, "/", viewport=WIDE, java_script_enabled=False)
    page.fill("#id_q", "finance")
    page.click("form.filters button:has-text('Filter')")
    expected = page.locator("#matrix tbody th a").all_inner_texts()
    assert 3 < len(expected) < 20
    page.click(f"button:has-text('Select all {len(expected)} matching')")
    page.click(f"button:has-text('Add {len(expected)} to a migration')")
    listed = page.locator("#chosen .list-main").all_inner_texts()
    assert sorted(item.split("\n")[0] for item in listed) == sorted(expected)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_matrix_and_the_confirming_page_have_no_barriers_and_fit_a_phone(
    open_page: Open, way: list[Environment], author: Any, scheme: str
) -> None:
    Environment.objects.filter(slug="stage").update(inventory_error={"message": "refused"})
    Selection.objects.create(
        user=author, source=way[0], rows=[f"dashboard:{uuid_for('Sales dashboard 00000')}"]
    )
    page = open_page(author, "/", viewport=WIDE, color_scheme=scheme)
    assert findings(page) == []
    page.set_viewport_size({"width": 320, "height": 640})
    assert page.evaluate("document.documentElement.scrollWidth") == 320
    page.goto("/selection/dev/")
    assert findings(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") == 320
