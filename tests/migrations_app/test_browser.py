"""Pages of migrations for everybody: axe in both themes, phones, the keyboard, and what htmx adds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from migrations_app.models import Migration
from tests.axe import findings
from tests.factories import (
    conflict,
    database_row,
    make_environment,
    make_estate,
    make_job,
    make_migration,
    make_plan,
    make_run,
    make_verdict,
    uuid_for,
)

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
Open = Callable[..., Any]
WIDE = {"width": 1280, "height": 900}
PHONE = {"width": 360, "height": 760}


@pytest.fixture
def lead(make_user: Callable[..., Any]) -> Any:
    return make_user("lead", "release_lead")


@pytest.fixture
def pages(db: None) -> dict[str, str]:
    """One address of every kind of page, with as much on it as there can be."""
    dev, prod = (
        make_environment("dev", asset_counts={"dashboard": 9}),
        make_environment("prod", protected=True),
    )
    estate = make_estate(dev, dashboards=60, charts=2)
    make_estate(prod, dashboards=1)
    draft = make_migration(dev, prod, selection=[estate["Sales 1"].uuid])
    full = make_migration(dev, prod)
    problem = {
        "uuid": uuid_for("Revenue 1.1"),
        "code": "x",
        "text": "The column is missing.",
        "remedy": "Add it.",
    }
    make_plan(
        full,
        [
            ("dataset", "sales_fact_1", "blocked", {"conflict": conflict("table_taken"), "blocked_by": "x"}),
            ("chart", "Revenue 1.1", "blocked", {"conflict": conflict("diverged"), "blocked_by": "x"}),
            ("chart", "Revenue 1.2", "blocked", {"blocked_by": "Stands on the dataset “scratch”."}),
            (
                "chart",
                "Revenue 2.1",
                "update",
                {"conflict": conflict("drifted"), "answer": {"answer": "take"}},
            ),
            ("chart", "Revenue 2.2", "create"),
            ("dashboard", "Sales 1", "blocked", {"conflict": conflict("slug_taken"), "blocked_by": "x"}),
            ("dashboard", "Sales 2", "create", {"answer": {"answer": "rename", "value": "sales-b"}}),
            ("dashboard", "Sales 3", "unchanged"),
        ],
        databases=[database_row(), database_row("Mapped", target=uuid_for("DWH_PROD"))],
        problems=[{**problem, "severity": severity} for severity in ("error", "warning", "info")],
        losses=[{"uuid": uuid_for("Revenue 2.1"), "code": "x", "text": "The annotation is lost."}],
        affected=[{"kind": "chart", "uuid": uuid_for("P&L"), "title": "P&L", "by": uuid_for("sales_fact_1")}],
    )
    ready = make_migration(dev, prod)
    make_plan(ready)
    failed = make_migration(
        dev,
        prod,
        job=make_job(
            state="failed", error={"code": "x", "message": "Prod does not answer.", "remedy": "Wait."}
        ),
    )
    running = make_migration(dev, prod)
    make_run(
        running, "reading_back", job=make_job("migrations_app.apply_plan", progress_done=1, progress_total=3)
    )
    done = make_migration(dev, prod)
    make_plan(done, [("chart", f"Revenue {number}.1", "create") for number in range(1, 30)])
    run = make_run(done)
    for number, status in enumerate(
        ("ok", "differs", "failed", "failed_on_both", "not_checkable") * 4, start=1
    ):
        make_verdict(run, f"Revenue {number}.1", status)
    stuck = make_migration(dev, prod)
    make_run(
        stuck, "needs_attention", error={"code": "x", "message": "Superset said no.", "remedy": "Ask it."}
    )
    return {
        "list": "/migrations/",
        "new": f"/migrations/new/?asset={estate['Sales 1'].key}",
        "select": f"/migrations/{draft.number}/select/",
        "map": f"/migrations/{full.number}/map/",
        "plan": f"/migrations/{full.number}/plan/",
        "failed": f"/migrations/{failed.number}/plan/",
        "item": f"/migrations/{ready.number}/items/{uuid_for('Revenue 1.1')}/",
        "apply": f"/migrations/{ready.number}/apply/",
        "running": f"/migrations/{running.number}/verify/",
        "done": f"/migrations/{done.number}/verify/",
        "stuck": f"/migrations/{stuck.number}/verify/",
        "edit": f"/migrations/{ready.number}/edit/",
        "discard": f"/migrations/{ready.number}/discard/",
    }


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_on_any_page(open_page: Open, lead: Any, pages: dict[str, str], theme: str) -> None:
    page = open_page(lead, "/migrations/", viewport=WIDE, color_scheme=theme, reduced_motion="reduce")
    for name, url in pages.items():
        page.goto(url)
        if name == "plan":  # everything open
            for summary in page.query_selector_all("details:not([open]) > summary"):
                summary.click()
            page.wait_for_load_state("networkidle")
        assert findings(page) == [], name


def test_nothing_is_wider_than_a_phone(open_page: Open, lead: Any, pages: dict[str, str]) -> None:
    page = open_page(lead, "/migrations/", viewport=PHONE)
    for name, url in pages.items():
        page.goto(url)
        wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
        assert not page.evaluate(wide), name


def test_typing_in_the_search_and_ticking_keeps_words_focus_and_basket(
    open_page: Open, lead: Any, pages: dict[str, str]
) -> None:
    page = open_page(lead, "/migrations/new/?source=dev&target=prod", viewport=WIDE)
    page.fill("#id_title", "Two of sixty")
    page.focus("#id_q")
    page.keyboard.type("sales 41", delay=60)  # slower than one answer, so answers come while typing goes on
    page.wait_for_selector("text=1–50 of 60 assets", state="detached")
    page.wait_for_load_state("networkidle")
    assert page.input_value("#id_q") == "sales 41"
    assert page.evaluate("document.activeElement.id") == "id_q"
    page.check(f"#pick-{uuid_for('Sales 41')}")
    page.wait_for_selector("#basket-title >> text=1")
    page.fill("#id_q", "sales 42")
    page.wait_for_selector(f"#pick-{uuid_for('Sales 42')}")
    page.check(f"#pick-{uuid_for('Sales 42')}")
    page.wait_for_selector("#basket-title >> text=2")
    assert page.is_visible("text=Brings along 4 charts and 2 datasets")
    page.click("button >> text=Make a plan of 2")
    page.wait_for_url("**/plan/")
    made = Migration.objects.latest("number")
    assert made.title == "Two of sixty"
    assert set(made.selection) == {uuid_for("Sales 41"), uuid_for("Sales 42")}


def test_a_wrong_name_of_a_protected_target_is_not_even_sent(
    open_page: Open, lead: Any, pages: dict[str, str]
) -> None:
    page = open_page(lead, pages["apply"], viewport=PHONE)
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method))
    page.fill("#confirmation", "dev")
    page.click("button >> text=Apply to Prod")
    page.wait_for_timeout(300)
    assert "POST" not in sent


def test_an_item_opens_by_keyboard_and_is_fetched_once(
    open_page: Open, lead: Any, pages: dict[str, str]
) -> None:
    page = open_page(lead, pages["plan"], viewport=WIDE)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/items/" in request.url else None)
    summary = f"#item-{uuid_for('Revenue 2.1')} > summary"
    page.focus(summary)
    page.keyboard.press("Enter")
    page.wait_for_selector(f"#item-{uuid_for('Revenue 2.1')} >> text=metrics: SUM(amount) → SUM(net_amount)")
    for _ in range(2):
        page.keyboard.press("Enter")
    page.wait_for_timeout(200)
    assert len(asked) == 1
    assert page.evaluate("document.activeElement.matches('summary')")


def test_refused_answers_are_shown_in_place(open_page: Open, lead: Any, pages: dict[str, str]) -> None:
    page = open_page(lead, pages["plan"], viewport=WIDE)
    page.evaluate("document.querySelector('[name=plan]').value = 'another'")
    page.click("button >> text=Save the answers and plan again")
    page.wait_for_selector("text=no answer was saved")
    assert page.is_visible("#conflicts")


def test_verdicts_are_filtered_without_leaving_the_page(
    open_page: Open, lead: Any, pages: dict[str, str]
) -> None:
    page = open_page(lead, pages["done"], viewport=WIDE)
    page.focus("#verdict-q")
    page.keyboard.type("revenue 20", delay=80)
    page.wait_for_selector("#verdicts tbody tr >> nth=1", state="detached")
    assert page.input_value("#verdict-q") == "revenue 20"
    assert "q=revenue%2020" in page.url
    page.reload()
    assert page.locator("#verdicts tbody tr").count() == 1
