"""The pages of a fan-out for everybody: made by typing, applied with the target's name, in both themes, on a phone."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from migrations_app.fanout.models import FanOut, FanOutRun
from tests.axe import findings

from .conftest import Scene

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
#: What sticks out of a phone, but for what scrolls by itself.
WIDER_THAN_THE_PHONE = """document.documentElement.scrollWidth <= 320 ? [] :
    [...document.querySelectorAll("main *")]
        .filter(one => one.getBoundingClientRect().right > 320 && !one.closest(".table-region"))
        .map(one => `${one.tagName} ${one.className}`)"""
PICTURES = os.environ.get("SSTOOLS_TEST_PICTURES", "")


def test_a_fan_out_is_made_filled_planned_and_applied(scene: Scene, open_page: Callable[..., Any]) -> None:
    page = open_page(scene.actor, "/fan-out/new/", viewport={"width": 1280, "height": 900})
    page.fill("[name=name]", "Languages")
    page.select_option("[name=source]", "dev")
    page.fill("[name=assets]", "Sale\n")
    page.get_by_role("button", name="Save", exact=True).click()
    page.wait_for_selector(".field-errors")
    assert "Dev has no dashboard “Sale”" in page.inner_text("#id_assets_error")
    page.fill("[name=assets]", "sales\n")
    page.fill("[name=title]", "{title} in {language}")
    page.fill("[name=find] >> nth=0", "Sales")
    page.fill("[name=replace] >> nth=0", "{sales}")
    page.select_option("[name=where] >> nth=0", "text")
    _look(page, "form")
    page.get_by_role("button", name="Save", exact=True).click()
    page.wait_for_selector("[name=table]")
    page.fill("[name=table]", "key,target,language,sales\nde,prod,German\n de!,elsewhere,x,y\n")
    page.get_by_role("button", name="Save the table", exact=True).click()
    page.wait_for_selector(".notice-error")
    words = page.inner_text(".notice-error")
    assert "Line 3:" in words
    assert "“de!” is no key" in words
    assert "There is no environment “elsewhere”" in words
    _look(page, "copies")
    page.fill(
        "[name=table]",
        "key,target,schema,language,sales\nde,prod,t_acme,German,Umsatz\nfr,prod,t_gone,French,Ventes\n",
    )
    page.get_by_role("button", name="Save the table", exact=True).click()
    page.wait_for_selector("text=Plan all copies")
    _look(page, "detail")
    page.get_by_role("button", name="Plan all copies", exact=True).click()
    page.wait_for_url("**/fan-out/runs/*/")
    _look(page, "planning")
    scene.run_jobs()
    page.reload()
    page.wait_for_selector("text=Apply 1 copy")
    _look(page, "run")
    page.fill("[name=confirmation] >> visible=true", "prod")
    page.get_by_role("button", name="Apply 1 copy", exact=True).click()
    page.wait_for_selector("text=Begin nothing more")
    scene.run_jobs()
    page.goto(page.url)
    page.wait_for_selector("#fan-out-run .pill >> text=applied")
    _look(page, "applied")
    assert FanOutRun.objects.get().state == "held"  # the other one has no tables
    fan_out = FanOut.objects.get(name="Languages")
    scene.fan_out = fan_out
    assert scene.copied("dashboard", "Sales", "de")["data"]["dashboard_title"] == "Umsatz in German"
    page.get_by_role("link", name="Fan-out").first.click()
    page.wait_for_selector("#fan-outs")
    _look(page, "list")


def _look(page: Any, name: str) -> None:
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert findings(page) == [], (name, scheme)
        if PICTURES:
            page.screenshot(path=str(Path(PICTURES) / f"{name}-{scheme}.png"), full_page=True)
    if name in ("run", "copies"):
        page.set_viewport_size({"width": 320, "height": 800})
        if PICTURES:
            page.screenshot(path=str(Path(PICTURES) / f"{name}-phone.png"), full_page=True)
        assert page.evaluate(WIDER_THAN_THE_PHONE) == [], name
        page.set_viewport_size({"width": 1280, "height": 900})
