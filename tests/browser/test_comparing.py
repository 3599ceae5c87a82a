"""Comparing, in a browser: counts, folded lines, marked words, keys, places, secrets (acceptance points 27 to 34)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from dulwich.object_store import MemoryObjectStore
from dulwich.objects import Commit, ObjectID

from environments.backups.storages import named
from environments.canonical.documents import Document
from environments.models import Environment
from migrations_app.git.files import Files
from migrations_app.git.models import OWN_TREE, Repository
from migrations_app.git.reading import TreeOfCommit, keep
from migrations_app.git.remotes import Head
from sstools.audit.models import AuditEvent
from tests.backups.storages.conftest import make_backup
from tests.comparing.conftest import SECRET, entries, target_documents
from tests.factories import chart_document, make_migration, make_run, uuid_for

from .points import Points

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
WIDE = {"width": 1280, "height": 900}
LIST = "/compare/?left=env:dev&right=env:prod"
MARKS = """() => [...document.querySelectorAll('.diff del, .diff ins')].map(mark => {
    const style = getComputedStyle(mark);
    return [mark.tagName, style.textDecorationLine, Number(style.fontWeight) >= 600, style.backgroundColor];
})"""


def asset(title: str, query: str = "", kind: str = "chart") -> str:
    return f"/compare/{kind}/{uuid_for(title)}/?left=env:dev&right=env:prod{query}"


def kept_places(environment: Environment, *documents: Document) -> dict[str, str]:
    """A backup and a commit that hold these: place -> what pages call it."""
    backup = make_backup(environment, *documents, storage=named.default())
    repository = Repository.objects.create(
        name="BI", slug="bi", url="https://git.example.org/bi.git", environment=environment
    )
    tree = TreeOfCommit(OWN_TREE, {one.uuid: one for one in documents}, {}, (), (), Files())
    made = Commit()
    made.tree, made.message, made.encoding = ObjectID(b"0" * 40), b"As of May", b"UTF-8"
    made.author = made.committer = b"Ann <ann@example.org>"
    made.author_time = made.commit_time = made.author_timezone = made.commit_timezone = 0
    reading = keep(repository, Head(MemoryObjectStore(), made, "main"), tree)
    return {backup.place: f"backup {backup.number}", reading.place: reading.name}


def test_comparing(
    open_page: Callable[..., Any], two: tuple[Environment, Environment], author: Any, caplog: Any
) -> None:
    from playwright.sync_api import expect

    points = Points()
    dev, prod = two
    page = open_page(author, LIST, viewport=WIDE)
    order = page.evaluate(
        "[...document.querySelectorAll('main h2')].map(head => head.textContent.trim()).filter(Boolean)"
    )
    points(27, "differences" in order[1] and order[2].startswith("Assets"), order)
    counts = page.inner_text("#comparison table")
    points(27, all(kind in counts for kind in ("Dashboards", "Charts", "Datasets")), counts)
    page.click("summary:has-text('of what is ignored')")
    page.click("text=All rules, with their reasons")
    points(27, page.url.endswith("/compare/rules/") and page.locator("main table").count(), page.url)

    page.goto(asset("Margin"))
    gaps = page.locator(".is-gap a")
    before = gaps.count()
    points(28, before > 1 and "unchanged lines, show" in gaps.first.inner_text(), before)
    gaps.first.focus()
    page.keyboard.press("Enter")
    expect(gaps).to_have_count(before - 1)
    gaps.first.click()
    expect(gaps).to_have_count(before - 2)
    points(28, page.url.count("open=") == 2, page.url)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        marks = page.evaluate(MARKS)
        points(29, marks, "no word is marked")
        for tag, line, is_bold, ground in marks:
            shape = line == "line-through" if tag == "DEL" else is_bold
            points(29, shape and ground != "rgba(0, 0, 0, 0)", (scheme, tag, line, is_bold, ground))
    page.goto(asset("Margin"))
    page.click("#view-unified")
    page.wait_for_url("**view=unified**")
    page.click("#lines-all")
    page.wait_for_url("**lines=all**")
    fresh = open_page(author, page.url, viewport=WIDE)
    points(
        30,
        fresh.locator("table.diff:not(.is-split)").count() == 1 and not fresh.locator(".is-gap").count(),
        "",
    )
    page.click("#view-split")
    page.wait_for_selector("table.diff.is-split")
    page.click("#lines-few")
    page.wait_for_selector(".is-gap")
    points(30, "unified" not in page.url and "lines=" not in page.url, page.url)

    page.goto(LIST)
    page.keyboard.press("n")
    first = page.evaluate("document.activeElement.textContent")
    page.keyboard.press("n")
    points(31, page.evaluate("document.activeElement.textContent") != first, "n does not go on")
    page.keyboard.press("p")
    points(31, page.evaluate("document.activeElement.textContent") == first, "p does not go back")
    page.keyboard.press("Enter")
    page.wait_for_selector(".item .says")
    tick = page.locator(".item-body input[type=checkbox]").first
    tick.focus()
    page.keyboard.press("Space")
    page.wait_for_selector("#viewed-count:has-text('1 of 6 viewed')")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("e")
    points(31, page.locator("main details.item[open]").count() == 0, "e leaves some open")
    page.reload()
    points(31, "1 of 6 viewed" in page.inner_text("#viewed-count"), "ticks are lost by a reload")

    page.goto(asset("sales_fact", "&lines=all", "dataset"))
    words = " ".join(page.inner_text("main").split())
    points(32, "“DWH” → “DWH_PROD” (mapping, not a change)" in words, words[:400])
    changed = page.locator("[data-change]").all_inner_texts()
    points(32, not any("database" in line for line in changed), changed)

    run = make_run(make_migration(dev, prod, actor=author))
    assert run.restore_point is not None
    old = chart_document("Revenue", "COUNT(*)", dataset_uuid=uuid_for("sales_fact"))
    entries(run.restore_point, old, *target_documents()[1:2])
    page.goto(LIST)
    page.select_option("#id_left_place", f"run:{run.number}:before")  # the form sends itself
    page.wait_for_url(f"**left=run%3A{run.number}%3Abefore**")
    points(33, "Prod before run" in page.inner_text("#comparison"), "no comparison with a restore point")
    points(33, page.locator(".item .name", has_text="Revenue").count() == 1, "its difference is not listed")
    for place, label in kept_places(prod, old, *target_documents()[1:2]).items():
        page.goto(LIST)
        page.select_option("#id_left_place", place)
        page.wait_for_url(f"**left={quote(place, safe='')}**")
        points(33, label in page.inner_text("#comparison"), f"no comparison with {place}")
        points(
            33, page.locator(".item .name", has_text="Revenue").count() == 1, f"{place}: not its difference"
        )
    for place in ("backup:999", "git:bi@3f2c9e1"):
        page.goto(f"/compare/?left={place}&right=env:prod")
        points(
            33, place in page.inner_text("main") and page.locator("#places").count(), f"{place} is not told"
        )

    for address in (LIST, asset("sales_fact", "&lines=all", "dataset"), asset("sales_fact", kind="dataset")):
        page.goto(address)
        points(34, SECRET not in page.content(), address)
    diff = page.request.get(
        f"/compare/dataset/{uuid_for('sales_fact')}/changes.diff?left=env:dev&right=env:prod"
    )
    points(34, diff.ok and SECRET not in diff.text(), diff.status)
    points(34, SECRET not in str(list(AuditEvent.objects.values_list("data", flat=True))), "the audit has it")
    points(34, SECRET not in caplog.text, "the log has it")
    points.must_all_hold()
