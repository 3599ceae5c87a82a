"""One asset over its environments, in a browser: links to Superset, cards, pairing (acceptance points 23 to 26)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from environments.models import Asset
from migrations_app.models import Run
from sstools.audit.models import AuditEvent
from tests.assets.conftest import World, chart_document
from tests.factories import make_item, make_migration, make_plan, make_run, uuid_for

from .points import Points

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
WIDE = {"width": 1280, "height": 900}
SALES = f"/dashboards/{uuid_for('Sales overview')}/"


def test_the_page_of_an_asset(open_page: Callable[..., Any], world: World, author: Any) -> None:
    points = Points()
    plan = make_plan(make_migration(world.dev, world.prod, actor=author))
    make_item(plan, "dashboard", "Sales overview", "update")
    run: Run = make_run(plan.migration)
    other = chart_document("Refund rate", uuid_for("sales_fact"), uuid_for("other"), groupby=["region"])
    world.add(world.prod, other)
    page = open_page(author, SALES, viewport=WIDE)
    cards = page.locator(".places > .card")
    texts = cards.all_inner_texts()
    points(25, [card.split("\n")[0] for card in texts] == ["DEV", "STAGE", "PROD"], texts)
    tops = {round(cards.nth(index).bounding_box()["y"]) for index in range(3)}
    points(25, len(tops) == 1, "not side by side")
    points(25, all("Irina Petrova" in card and "read " in card for card in texts), "author or age is missing")
    points(25, f"run {run.number}" in texts[2] and "no run wrote it" in texts[1], texts)
    link = cards.nth(2).locator("a", has_text="Open")
    points(
        23,
        link.get_attribute("target") == "_blank" and link.locator("svg[aria-label='in a new tab']").count(),
        "",
    )
    for number in (1, 2):  # its id on the target changes, the link stays
        Asset.objects.filter(environment=world.prod, kind="dashboard").update(
            superset_id=900 + number, url_path=f"/superset/dashboard/{900 + number}/"
        )
        answer = page.request.get(link.get_attribute("href"), max_redirects=0)
        expected = f"https://prod.example.org/superset/dashboard/{900 + number}/"
        points(24, answer.headers.get("location") == expected, answer.headers)

    address = f"/charts/{uuid_for('Refund rate')}/"
    page.goto(address)
    page.click("text=Pair the pairing with Prod")
    page.check(f"[name=target_uuid][value='{other.uuid}']")
    page.click("#pairing button >> text=Pair")
    page.wait_for_url(f"**{address}")
    points(26, "paired by author" in page.inner_text(".places"), "not paired")
    page.click("text=Change the pairing with Prod")
    page.click("text=Remove the pairing")
    page.wait_for_selector(".places >> text=not paired")
    events = AuditEvent.objects.filter(action__startswith="pairing:").order_by("number")
    actions = [(event.action, event.actor_name) for event in events]
    points(26, actions == [("pairing:set", "author"), ("pairing:remove", "author")], actions)
    points.must_all_hold()
