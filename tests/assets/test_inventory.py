"""The inventory: what nothing uses, what differs, which columns show, and what to do where nothing matches."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from sstools.resources import resource_name
from tests.factories import make_asset, tag_asset, uuid_for

from .conftest import World, chart_document, dataset_document

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]


@pytest.fixture
def browser(world: World, author: Any, signed_in: Callable[[Any], Client]) -> Client:
    return signed_in(author)


ROW = re.compile(
    r'<th scope="row" class="col-name"><a href="[^"]+">([^<]+)</a>.*?class="env [^>]*>(?:<svg.*?</svg>)?(\w+)<',
    re.S,
)


def rows(answer: Any) -> list[tuple[str, str]]:
    """(title, short name of the environment) of the table."""
    assert answer.status_code == 200
    return ROW.findall(answer.content.decode())


@pytest.fixture
def loose(world: World) -> None:
    """On dev: a chart on no dashboard with a dataset of its own, and what nothing uses."""
    world.add(world.dev, dataset_document("lonely"))
    own = dataset_document("own", database="DWH")
    world.add(world.dev, own)
    world.add(world.dev, chart_document("Loose", own.uuid, groupby=["x"]), database_uuid=uuid_for("DWH"))
    make_asset(world.dev, "database", "Spare", backend="sqlite")


def test_what_nothing_uses_and_what_no_dashboard_shows(browser: Client, loose: None) -> None:
    orphans = {title for title, _ in rows(browser.get("/assets/?use=orphan"))}
    assert orphans == {"Loose", "lonely", "Spare"}
    unused = {title for title, _ in rows(browser.get("/assets/?use=unused"))}
    assert unused == {"Loose", "lonely", "own", "Spare"}
    only = rows(browser.get("/assets/?use=orphan&type=dataset"))
    assert only == [("lonely", "DEV")]
    assert len(rows(browser.get("/assets/?use=nonsense"))) == 24  # a bad value gives the page, unfiltered


def test_by_state_and_with_the_state_shown(
    browser: Client, world: World, make_user: Any, signed_in: Callable[[Any], Client]
) -> None:
    world.state(world.dev, world.stage, "chart", "Top regions", "in_sync")
    world.state(world.dev, world.prod, "chart", "Refund rate", "absent", target_uuid="")
    assert rows(browser.get("/assets/?state=differing&sort=title")) == [
        ("Revenue by month", "DEV"),
        ("Sales overview", "DEV"),
    ]
    assert rows(browser.get("/assets/?state=drifted")) == [("Sales overview", "DEV")]
    assert rows(browser.get("/assets/?state=missing")) == [("Refund rate", "DEV")]
    assert rows(browser.get("/assets/?state=in_sync")) == [("Top regions", "DEV")]
    page = browser.get("/assets/?q=sales+overview&env=dev").content.decode()
    assert re.search(r"drifted <b>1</b>.*?against Prod", page, re.S)  # the worst of two
    only_dev = signed_in(make_user("dev only", "viewer", resource_name(world.dev)))
    page = only_dev.get("/assets/").content.decode()
    assert "against" not in page  # states of what one may not see are nobody's business
    assert rows(only_dev.get("/assets/?state=differing")) == []


def test_tags_are_a_filter_a_column_and_stand_on_the_page_of_an_asset(browser: Client, world: World) -> None:
    tag_asset(world.dev, "Refund rate", "Executive & co")
    page = browser.get("/assets/?tag=executive+%26+CO&columns=env,tags")
    assert rows(page) == [("Refund rate", "DEV")]
    assert re.search(
        r'class="chip" href="\?tag=Executive[^"]*">Executive &amp; co</a>', page.content.decode()
    )
    assert '<option value="executive &amp; CO" selected>' in page.content.decode()
    assert rows(browser.get("/assets/?q=executive")) == [("Refund rate", "DEV")]
    page = browser.get(f"/charts/{uuid_for('Refund rate')}/").content.decode()
    assert 'href="/assets/?tag=Executive%20%26%20co">Executive &amp; co</a>' in page


def test_titles_lead_to_the_asset_and_open_leads_to_superset(browser: Client) -> None:
    page = browser.get("/assets/?q=sales+overview&env=prod").content.decode()
    uuid = uuid_for("Sales overview")
    assert f'<a href="/dashboards/{uuid}/">Sales overview</a>' in page
    assert f'href="/go/prod/dashboard/{uuid}/" target="_blank"' in page


def test_columns_are_chosen_in_the_address(browser: Client) -> None:
    answer = browser.get("/assets/?q=revenue&col=uuid&col=env&page=2")
    assert (answer.status_code, answer["Location"]) == (302, "?q=revenue&page=2&columns=uuid,env")
    page = browser.get("/assets/?q=revenue&columns=uuid,env,password").content.decode()
    heads = re.findall(
        r"<th scope=\"col\"[^>]*>(?:<a[^>]*>)?\s*([\w ]+)", page.split("<thead>")[1].split("</thead>")[0]
    )
    assert [head.strip() for head in heads if head.strip()] == ["Title", "Environment", "Uuid"]
    assert uuid_for("Revenue by month") in page
    assert (
        '<input type="hidden" name="columns" value="uuid,env,password" id="id_columns">' in page
    )  # filters keep it


def test_where_nothing_matches_it_is_told_which_filter_to_take_away(browser: Client) -> None:
    page = browser.get("/assets/?q=revenue&type=dashboard&owner=nobody").content.decode()
    assert "No asset matches" in page
    assert "without" not in page.split("No asset matches")[1]  # two of them leave nothing each
    page = browser.get("/assets/?q=revenue&type=dashboard").content.decode()
    assert "3 assets without Type: dashboards" in page
    assert "1 asset" not in page.split("No asset matches")[1].replace("3 assets", "")
    assert "Clear the filters" in page


def test_search_then_select_all_of_an_environment_lists_exactly_these(browser: Client, world: World) -> None:
    """The NetBox bug: what was searched for was forgotten, and everything was selected."""
    assert 'value="listed"' not in browser.get("/assets/?q=sales").content.decode()
    query = "q=sales&env=dev"
    page = browser.get(f"/assets/?{query}")
    names = {asset.title for asset in page.context["page"] if asset.kind != "database"}
    everything = world.dev.assets.exclude(kind="database").count()
    assert 0 < len(names) < everything
    assert f"Select all {len(names)} of Dev" in page.content.decode()
    sent = {"query": query, "do": "listed"}
    refused = browser.post("/selection/dev/change/", {**sent, "matching": everything}, follow=True)
    assert "Nothing was selected" in refused.content.decode()
    assert refused.request["QUERY_STRING"] == query
    listed = browser.post("/selection/dev/change/", {**sent, "matching": len(names)}, follow=True)
    assert {asset.title for asset in listed.context["chosen"].assets} == names


def test_the_same_by_rest(world: World, loose: None, author: Any, api: Any) -> None:
    found = api(author).get("/api/v1/assets/?use=orphan&type=chart").json()["results"]
    assert [asset["title"] for asset in found] == ["Loose"]
    tag_asset(world.dev, "Refund rate", "Executive", "exec")
    tag_asset(world.prod, "Sales overview", "executive")
    found = api(author).get("/api/v1/assets/?tag=EXECUTIVE&sort=title").json()["results"]
    assert [(asset["title"], asset["tags"]) for asset in found] == [
        ("Refund rate", ["Executive", "exec"]),
        ("Sales overview", ["executive"]),
    ]
    found = api(author).get("/api/v1/assets/?state=drifted").json()["results"]
    assert [asset["title"] for asset in found] == ["Sales overview"]


def test_the_number_of_queries_does_not_grow_with_rows(browser: Client, world: World, loose: None) -> None:
    def count(address: str) -> int:
        with CaptureQueriesContext(connection) as queries:
            assert browser.get(address).status_code == 200
        return len(queries)

    addresses = ("/assets/", "/assets/?use=orphan", "/assets/?state=differing")
    browser.get("/assets/")
    before = [count(address) for address in addresses]
    for number in range(20):
        world.add(world.dev, chart_document(f"More {number}", uuid_for("geo"), groupby=["x"]))
        world.state(world.dev, world.prod, "chart", f"More {number}", "behind", changes=number)
    assert [count(address) for address in addresses] == before
