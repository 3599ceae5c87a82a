"""The overview: which rows in which order, what a selection is, and what a page that is out of date may do."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from datetime import timedelta
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client
from django.utils import timezone

from environments.models import Asset, Environment
from migrations_app.engine.sync import Sync
from migrations_app.estate.models import SavedView, Selection, SyncState
from migrations_app.models import Migration
from sstools.jobs.models import Job
from tests.estate.worlds import fill, make_way
from tests.factories import make_environment, tag_asset, uuid_for

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]


@pytest.fixture
def way(db: None) -> list[Environment]:
    made = make_way("dev", "stage", "prod")
    fill(made, dashboards=120, charts=20)
    return made


@pytest.fixture
def browser(way: list[Environment], author: Any, signed_in: Callable[[Any], Client]) -> Client:
    return signed_in(author)


def text(response: Any, status: int = 200) -> str:
    assert response.status_code == status, response.content.decode()[:2000]
    return unescape(response.content.decode())


def titles(page: str) -> list[str]:
    return re.findall(r'<th scope="row" class="col-name">(?:<a [^>]*>)?([^<]+)<', page)


def fields(page: str) -> dict[str, str]:
    """What the form of the matrix sends besides ticks."""
    form = page[page.index('id="matrix-form"') :]
    return dict(re.findall(r'<input type="hidden" name="(query|shown|matching)" value="([^"]*)">', form))


def test_what_needs_attention_comes_first_and_the_chip_counts_it(browser: Client) -> None:
    page = text(browser.get("/"))
    urgent = SyncState.objects.filter(source__slug="dev", kind="dashboard", attention__gte=40)
    number = urgent.values("row").distinct().count()
    assert 5 < number < 50
    assert f"Needs attention {number}" in page
    by_row = {row: top for row, top in urgent.order_by("attention").values_list("title", "attention")}
    shown = titles(page)
    assert len(shown) == 50
    assert set(shown[:number]) == set(by_row)
    tops = [by_row[title] for title in shown[:number]]
    assert tops == sorted(tops, reverse=True)
    assert titles(text(browser.get("/?state=attention"))) == shown[:number]


def test_a_cell_is_a_link_to_the_comparison_of_exactly_that_pair_and_says_so(browser: Client) -> None:
    page = text(browser.get("/?state=drifted&env=prod"))
    state = SyncState.objects.filter(source__slug="dev", target__slug="prod", state="drifted").order_by(
        "sort_key"
    )[0]
    label = f'aria-label="{state.title} on Prod: drifted {state.changes}"'
    (link,) = re.findall(rf'<a class="pill[^"]*" href="([^"]+)"[^>]*{re.escape(label)}', page)
    address = urlsplit(link)
    assert address.path == f"/compare/{state.kind}/{state.source_uuid}/"
    assert parse_qs(address.query) == {"left": ["env:dev"], "right": ["env:prod"]}
    assert state.sentences[0] in page  # what differs, at the mouse


def test_another_reference_turns_the_matrix_round(browser: Client) -> None:
    title = SyncState.objects.filter(
        source__slug="dev", target__slug="prod", state="behind", kind="dashboard"
    )[0].title
    assert f"{title} on Prod: behind" in text(browser.get(f"/?q={title}"))
    turned = text(browser.get(f"/?q={title}&ref=prod"))
    assert f"{title} on Dev: drifted" in turned
    assert "There is no environment “none”" in text(browser.get("/?ref=none"))


def test_filters_sorting_and_pages_are_in_the_address_and_wrong_values_are_said(browser: Client) -> None:
    by_title = titles(text(browser.get("/?sort=title&type=all&per_page=25&page=2")))
    assert len(by_title) == 25
    keys = [title.casefold() for title in by_title]
    assert keys == sorted(keys)
    assert len(titles(text(browser.get("/?page=999")))) == 120 - 100  # the last page
    assert "Take one away, or clear them all" in text(browser.get("/?q=nothing+is+called+so"))
    wrong = text(browser.get("/?state=purple&page=x&utm=1"))
    assert "“purple” is no state: left out." in wrong
    assert len(titles(wrong)) == 50
    fragment = text(browser.get("/?q=sales", headers={"HX-Request": "true"}))
    assert "<html" not in fragment
    assert titles(fragment) == titles(text(browser.get("/?q=sales")))
    assert 'id="live"' in fragment or "dashboards" in fragment


def test_queries_do_not_grow_with_the_rows_and_the_page_is_small(
    browser: Client, django_assert_num_queries: Any
) -> None:
    def queries(address: str) -> int:
        from django.db import connection
        from django.test.utils import CaptureQueriesContext

        with CaptureQueriesContext(connection) as captured:
            response = browser.get(address)
        assert len(gzip.compress(response.content)) < 60_000
        return len(captured)

    browser.get("/")
    assert queries("/?per_page=25") == queries("/?per_page=250") < 45


def test_an_environment_that_cannot_be_read_is_grey_with_its_age_and_the_others_work(browser: Client) -> None:
    Environment.objects.filter(slug="stage").update(
        inventory_at=timezone.now() - timedelta(hours=3), inventory_error={"message": "refused"}
    )
    page = text(browser.get("/"))
    heads = page[page.index('<table class="table matrix">') : page.index("</thead>")]
    assert heads.count('class="is-old"') == 1
    assert "read failed" in heads
    assert "3 h ago" in heads
    assert re.search(r'<td class="is-old"><a class="pill', page)
    assert re.search(r'<td><a class="pill', page)


def test_the_eight_states_differ_in_word_and_sign(browser: Client) -> None:
    page = text(browser.get("/?per_page=250"))
    signs = {
        word.strip(): icon
        for icon, word in re.findall(
            r'<a class="pill[^>]*><svg[^>]*><use href="[^"#]*#([\w-]+)"></use></svg><span>([a-z ]+)', page
        )
    }
    words = {state.value.replace("_", " ") for state in Sync} - {"only here"}  # of dev everything is on dev
    assert set(signs) >= words
    assert len(set(signs.values())) == len(signs)


def test_with_no_environments_the_three_steps_stand_there_and_no_table(
    author: Any, signed_in: Callable[[Any], Client]
) -> None:
    page = text(signed_in(author).get("/"))
    assert "Add your Supersets" in page
    assert "<table" not in page
    make_environment("dev", inventory_at=timezone.now())
    assert "<table" not in text(signed_in(author).get("/"))


def test_who_sees_two_of_three_environments_gets_a_matrix_of_these(
    way: list[Environment], make_user: Any, signed_in: Callable[[Any], Client], api: Any
) -> None:
    person = make_user("person")
    from sstools.roles.models import Grant

    for environment in (way[0], way[1]):
        Grant.objects.create(user=person, role="viewer", scope=f"environment:{environment.uuid}")
    page = text(signed_in(person).get("/?per_page=250"))
    assert "on Stage:" in page
    assert "on Prod:" not in page
    found = api(person).get("/api/v1/sync-states/?page_size=200").json()
    assert {item["target"] for item in found["results"]} == {"dev", "stage"}
    assert signed_in(person).get("/selection/prod/").status_code == 404


def test_search_then_select_all_then_confirm_lists_exactly_these(browser: Client) -> None:
    """The NetBox bug: the quick search was forgotten, and everything was edited."""
    page = text(browser.get("/?q=finance"))
    expected = set(titles(page))
    assert 5 < len(expected) < 50
    assert f"Select all {len(expected)} matching" in page
    answer = browser.post("/selection/dev/change/", {**fields(page), "do": "all"})
    assert answer["Location"] == "/?q=finance"
    assert f'<b id="selected-count">{len(expected)}</b>' in text(browser.get("/?q=finance"))

    confirm = text(browser.get("/selection/dev/"))
    listed = re.findall(r'<div class="list-main">([^<]+)<', confirm)
    assert (len(listed), set(listed)) == (len(expected), expected)

    sent = dict(re.findall(r'name="(count|digest)" value="([^"]*)"', confirm))
    stale = browser.post("/selection/dev/", {**sent, "count": "3", "target": "prod"})
    assert f"it is {len(expected)} assets now, the page listed 3" in text(stale, 409)
    assert not Migration.objects.exists()

    done = browser.post("/selection/dev/", {**sent, "target": "prod", "title": "Finance"})
    migration = Migration.objects.get()
    assert done["Location"] == f"/migrations/{migration.number}/plan/"
    assert set(migration.selection) == {uuid_for(title) for title in expected}
    again = browser.post("/selection/dev/", {**sent, "target": "prod", "title": "Finance"})  # a double click
    assert again["Location"] == done["Location"]
    assert Migration.objects.count() == 1


def test_select_all_refuses_a_number_that_is_not_true_any_more(browser: Client) -> None:
    sent = fields(text(browser.get("/?q=finance")))
    Asset.objects.filter(environment__slug="dev", title__startswith="Sales dashboard 00000").update(
        search_text="finance sales"
    )
    answer = text(browser.post("/selection/dev/change/", {**sent, "do": "all"}), 409)
    assert "Nothing was selected" in answer
    assert len(titles(answer)) == int(sent["matching"]) + 1  # the fresh page
    assert not Selection.objects.exclude(rows=[]).exists()


def test_a_selection_survives_paging_and_filters_and_says_what_is_outside(browser: Client) -> None:
    first = text(browser.get("/?sort=title&per_page=25"))
    picks = re.findall(r'name="pick" value="([^"]+)"', first)[:3]
    browser.post("/selection/dev/change/", {**fields(first), "pick": picks, "do": "keep"})
    second = text(browser.get("/?sort=title&per_page=25&page=2"))
    more = re.findall(r'name="pick" value="([^"]+)"', second)[0]
    bar = text(
        browser.post(
            "/selection/dev/change/", {**fields(second), "pick": [more]}, headers={"HX-Request": "true"}
        )
    )
    assert '<b id="selected-count">4</b>' in bar
    assert "<table" not in bar
    elsewhere = text(browser.get("/?q=nothing"))
    assert "4 outside this view" in text(browser.get("/?type=chart"))
    assert "No asset matches" in elsewhere
    back = text(browser.get("/?sort=title&per_page=25"))
    assert back.count("checked") == 3
    to_back_up = browser.post("/selection/dev/change/", {**fields(back), "pick": picks, "do": "backup"})
    assert to_back_up["Location"] == "/backups/new/?chosen=dev"
    assert "Back up 4 assets" in text(browser.get(to_back_up["Location"]))
    assert browser.post(to_back_up["Location"], {"do": "take", "environment": "dev"}).status_code == 302
    job = Job.objects.get(kind="backups.take")
    assert sorted(job.params["selection"]) == sorted([*picks, more])
    assert "not known any more" in text(browser.get("/backups/new/?chosen=prod"), 409)
    browser.post("/selection/dev/change/", {**fields(back), "pick": picks[:1]})  # two are let go
    assert Selection.objects.get().rows == [more, picks[0]]


def test_what_is_selected_is_compared_with_the_environment_of_the_filter(browser: Client) -> None:
    page = text(browser.get("/?sort=title"))
    picks = re.findall(r'name="pick" value="dashboard:([^"]+)"', page)[:2]
    sent = {**fields(page), "pick": [f"dashboard:{uuid}" for uuid in picks]}
    browser.post("/selection/dev/change/", {**sent, "do": "keep"})
    assert "Compare 2 with Stage" in text(browser.get("/"))
    assert "Compare 2 with Prod" in text(browser.get("/?env=prod"))
    query = "env=prod&sort=title"
    answer = browser.post("/selection/dev/change/", {**sent, "query": query, "do": "compare"})
    assert answer["Location"] == f"/compare/?left=env:dev&right=env:prod&state=all&assets={','.join(picks)}"
    compared = browser.get(answer["Location"])
    assert {row.left_uuid for _, _, rows in compared.context["groups"] for row in rows} == set(picks)
    assert "chosen assets only" in text(compared)


def test_a_view_is_saved_with_its_filters_and_is_ones_own(
    browser: Client, viewer: Any, signed_in: Callable[[Any], Client]
) -> None:
    query = "state=attention&env=prod"
    browser.post("/views/", {"page": "web:home", "name": "Prod first", "query": f"{query}&page=3"})
    page = text(browser.get("/"))
    assert f'href="/?{query}">' in page
    view = SavedView.objects.get()
    assert signed_in(viewer).post(f"/views/{view.pk}/remove/").status_code == 404
    browser.post(f"/views/{view.pk}/remove/")
    assert not SavedView.objects.exists()


def test_the_api_has_the_filters_of_the_page(browser: Client, author: Any, api: Any) -> None:
    shown = titles(text(browser.get("/?type=dashboard&env=prod&state=drifted&q=dashboard&per_page=250")))
    found = (
        api(author)
        .get("/api/v1/sync-states/?ref=dev&type=dashboard&env=prod&state=drifted&q=dashboard")
        .json()
    )
    assert shown != []
    assert {item["title"] for item in found["results"]} == set(shown)
    assert all(item["needs_attention"] and item["changes"] for item in found["results"])
    assert api(author).get("/api/v1/sync-states/?state=purple").status_code in (400, 422)


def test_tags_find_assets_of_the_reference_and_what_is_only_elsewhere(
    browser: Client, way: list[Environment], author: Any, api: Any
) -> None:
    assert 'name="tag" id="id_tag"' in text(browser.get("/")).replace('type="hidden" ', "")
    chosen = titles(text(browser.get("/?sort=title")))[:3]
    for title in chosen:
        tag_asset(way[0], title, "Executive")
    only_there = SyncState.objects.filter(
        source=way[1], target=way[2], kind="dashboard", state="only_here"
    ).first()
    assert only_there is not None
    tag_asset(way[2], only_there.title, "Executive")
    page = text(browser.get("/?tag=executive"))
    assert set(titles(page)) == set(chosen)
    assert '<option value="executive" selected>Executive</option>' in page
    assert "Tag: executive" in page
    assert only_there.title in titles(text(browser.get("/?ref=stage&tag=executive")))
    found = api(author).get("/api/v1/sync-states/?ref=dev&env=prod&tag=Executive").json()
    assert {item["title"] for item in found["results"]} == set(chosen)


def test_the_page_of_an_environment_says_how_it_stands_to_the_others(browser: Client) -> None:
    page = text(browser.get("/environments/prod/"))
    number = SyncState.objects.filter(source__slug="stage", target__slug="prod", state="drifted").count()
    link = 'href="/?ref=stage&env=prod&type=all&state=drifted" title='
    assert "Compared with" in page
    assert link in page
    assert f'aria-label="Stage: drifted {number}"' in page
    assert (
        len(titles(text(browser.get("/?ref=stage&env=prod&type=all&state=drifted&per_page=250")))) == number
    )
