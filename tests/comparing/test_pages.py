"""The list of a comparison, one asset at three levels, and what comes of it."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from django.utils import timezone

from environments.models import Environment, Reason, Snapshot
from migrations_app.comparing import listing
from migrations_app.comparing.listing import compare, select
from migrations_app.comparing.models import Viewed
from migrations_app.comparing.places import read_place
from migrations_app.estate.models import SyncState
from migrations_app.estate.states import refresh
from migrations_app.models import Mapping, Migration
from sstools.jobs.models import Job
from sstools.jobs.runner import run_job
from tests.factories import (
    chart_document,
    make_environment,
    make_migration,
    make_run,
    tag_asset,
    uuid_for,
)

from .conftest import SECRET, dashboard, database, dataset, entries, hold, source_documents, target_documents

pytestmark = pytest.mark.django_db
LIST = "/compare/?left=env:dev&right=env:prod"
Two = tuple[Environment, Environment]


def asset(title: str, kind: str = "chart", query: str = "") -> str:
    return f"/compare/{kind}/{uuid_for(title)}/?left=env:dev&right=env:prod{query}"


def text_of(response: Any) -> str:
    body = re.sub(r"<[^>]+>", " ", response.content.decode())
    return " ".join(unescape(body).split())


def states(left: str, right: str, user: Any, **filters: str) -> dict[str, str]:
    comparison = compare(read_place(left, user), read_place(right, user))
    rows = select(comparison, **{"state": "all", **filters})
    return {row.title: row.state for row in rows}


ALL = {
    "Sales": "changed",
    "Margin": "changed",
    "Revenue": "changed",
    "Refunds": "added",
    "Legacy": "removed",
    "sales_fact": "changed",
}


# --- The list -------------------------------------------------------------------------------------------------------
def test_every_asset_has_its_state_and_the_other_way_round_it_is_mirrored(two: Two, author: Any) -> None:
    assert states("env:dev", "env:prod", author) == ALL
    mirrored = {**ALL, "Refunds": "removed", "Legacy": "added"}
    assert states("env:prod", "env:dev", author) == mirrored


def test_the_states_that_a_reading_left_say_the_same_and_who_moved(two: Two, author: Any) -> None:
    dev, prod = two
    refresh(dev, None)
    assert SyncState.objects.filter(source=dev, target=prod).exists()
    assert states("env:dev", "env:prod", author) == ALL
    assert states("env:prod", "env:dev", author) == {**ALL, "Refunds": "removed", "Legacy": "added"}
    rows = compare(read_place("env:dev", author), read_place("env:prod", author)).rows
    assert {row.direction for row in rows if row.state == "changed"} == {
        "differs"
    }  # nobody brought anything yet


def test_an_edit_after_a_reading_is_seen_though_comparisons_are_kept(two: Two, author: Any) -> None:
    dev, _ = two
    refresh(dev, None)
    assert states("env:dev", "env:prod", author)["Revenue"] == "changed"
    revenue = chart_document("Revenue", "SUM(amount)", dataset_uuid=uuid_for("sales_fact"))
    hold(dev, *[item if item.title != "Revenue" else revenue for item in source_documents()])
    refresh(dev, None)
    assert states("env:dev", "env:prod", author)["Revenue"] == "same"  # but for its query context


def test_counts_come_first_by_kind_and_filters_are_in_the_address(
    two: Two, viewer: Any, signed_in: Any
) -> None:
    client = signed_in(viewer)
    page = client.get(LIST)
    assert page.context["totals"] == {"changed": 4, "added": 1, "removed": 1}
    assert "6 differences" in text_of(page)
    assert page.content.index(b'id="counts-title"') < page.content.index(b'id="assets-title"')
    link = re.search(r'href="([^"]*)" aria-label="2 charts, changed"', page.content.decode())
    assert link is not None
    shown = client.get("/compare/" + unescape(link[1])).context["page"].object_list
    assert [row.title for row in shown] == ["Margin", "Revenue"]
    assert [row.title for row in client.get(LIST + "&q=refu").context["page"]] == ["Refunds"]
    assert len(client.get(LIST + "&state=nonsense&type=nonsense&page=99").context["page"]) == 6


def test_ignored_rules_are_named_and_explained(two: Two, viewer: Any, signed_in: Any) -> None:
    client = signed_in(viewer)
    assert "chart: query_context" in text_of(client.get(LIST))
    assert 'href="/compare/rules/"' in client.get(LIST).content.decode()
    rules = text_of(client.get("/compare/rules/"))
    assert "derived from the form data" in rules
    assert "secrets are never read" in rules


def test_what_has_no_connection_on_the_right_is_blocked(two: Two, author: Any) -> None:
    Mapping.objects.all().delete()
    dev, _ = two
    hold(dev, *source_documents(), database("Lake"), dataset("lake_fact", "Lake"))
    found = compare(read_place("env:dev", author), read_place("env:prod", author))
    row = found.row_of(uuid_for("lake_fact"))
    assert row is not None
    assert (row.state, "Lake" in row.why) == ("blocked", True)
    assert [(item.name, item.target) for item in found.connections() if item.name == "Lake"] == [("Lake", "")]


def test_what_was_not_read_is_unknown_and_not_different(two: Two, viewer: Any, signed_in: Any) -> None:
    two[1].assets.filter(uuid=uuid_for("Revenue")).update(document_id=None, comparable="")
    assert states("env:dev", "env:prod", viewer)["Revenue"] == "unknown"
    page = signed_in(viewer).get(asset("Revenue"))
    assert page.status_code == 200
    assert "not read yet" in text_of(page)


def test_the_same_assets_have_no_differences(db: None, viewer: Any, signed_in: Any) -> None:
    for name in ("one", "two"):
        hold(make_environment(name), *source_documents())
    page = signed_in(viewer).get("/compare/?left=env:one&right=env:two")
    assert "No differences" in text_of(page)
    assert page.context["totals"] == {"same": 5}


# --- One asset ------------------------------------------------------------------------------------------------------
def test_an_asset_is_told_in_words_as_fields_and_as_yaml(two: Two, viewer: Any, signed_in: Any) -> None:
    page = signed_in(viewer).get(asset("Revenue"))
    body, text = page.content.decode(), text_of(page)
    assert "metrics: SUM(amount) → SUM(net_amount)" in text
    assert "cache timeout (s): set to 60" in text
    assert "SUM(<del>amount</del>)" in body
    assert "SUM(<ins>net_amount</ins>)" in body
    assert [(node.name, node.depth, node.operator) for node in page.context["detail"].tree] == [
        ("cache_timeout", 0, "+"),
        ("params", 0, ""),
        ("metrics", 1, "~"),
    ]
    assert "does not count: query_context" in text
    assert f"/go/dev/chart/{uuid_for('Revenue')}/" in body
    assert f"/go/prod/chart/{uuid_for('Revenue')}/" in body


def test_folded_lines_open_by_their_address_and_everything_is_in_it(
    two: Two, viewer: Any, signed_in: Any
) -> None:
    client = signed_in(viewer)
    page = client.get(asset("Margin"))
    gaps = [row for row in page.context["rows"] if row.kind == "gap"]
    assert gaps
    assert f"{gaps[0].gap} unchanged lines, show" in text_of(page)
    opened = client.get(f"/compare/chart/{uuid_for('Margin')}/{gaps[0].url}")
    assert len([row for row in opened.context["rows"] if row.kind == "gap"]) == len(gaps) - 1
    assert not [row for row in client.get(asset("Margin", query="&lines=all")).context["rows"] if row.gap]
    assert client.get(asset("Margin", query="&view=unified")).context["view"] == "unified"
    lines = client.get(asset("Margin"), headers={"HX-Request": "true", "HX-Target": "documents"})
    assert lines.content.decode().lstrip().startswith('<section class="card" aria-labelledby="diff-title"')


def test_a_mapping_is_shown_as_mapping_and_is_no_change(two: Two, viewer: Any, signed_in: Any) -> None:
    _, prod = two
    hold(prod, *target_documents()[:1], dataset("sales_fact", "DWH_PROD", "SUM(net)"))
    page = signed_in(viewer).get(asset("sales_fact", "dataset"))
    detail = page.context["detail"]
    assert detail.mapped == ["database: “DWH” → “DWH_PROD”"]
    assert "(mapping, not a change)" in text_of(page)
    assert not [change for change in detail.changes if change.path == ("database_uuid",)]
    connection = signed_in(viewer).get(asset("DWH", "database"))
    assert "DWH → DWH_PROD" in text_of(connection)


def test_no_secret_is_shown_anywhere(two: Two, viewer: Any, signed_in: Any, api: Any) -> None:
    client = signed_in(viewer)
    pages = [LIST, asset("sales_fact", "dataset"), asset("sales_fact", "dataset", "&lines=all&view=unified")]
    pages += [f"/compare/dataset/{uuid_for('sales_fact')}/changes.diff?left=env:dev&right=env:prod"]
    for url in pages:
        response = client.get(url)
        assert response.status_code == 200
        assert SECRET not in response.content.decode(), url
    query = "?left=env:dev&right=env:prod"
    answer = api(viewer).get(f"/api/v1/comparisons/dataset/{uuid_for('sales_fact')}/{query}")
    assert "dblink" in answer.json()["now"]
    assert SECRET not in answer.content.decode()
    assert "passwords inside of addresses" in text_of(client.get(pages[1]))


def test_assets_of_one_side_only_are_shown_whole(two: Two, viewer: Any, signed_in: Any) -> None:
    client = signed_in(viewer)
    assert "a migration would create it" in text_of(client.get(asset("Refunds")))
    assert "Only on Prod" in text_of(client.get(asset("Legacy")))
    assert client.get(asset("Nothing")).status_code == 404
    assert client.get(asset("Legacy", "dashboard")).status_code == 404


def test_the_diff_can_be_downloaded(two: Two, viewer: Any, signed_in: Any) -> None:
    url = f"/compare/chart/{uuid_for('Revenue')}/changes.diff?left=env:dev&right=env:prod"
    text = signed_in(viewer).get(url).content.decode()
    assert "-  - SUM(amount)" in text
    assert "+  - SUM(net_amount)" in text


# --- Places ---------------------------------------------------------------------------------------------------------
def test_what_was_before_and_after_a_run_is_compared_with_what_is_there_now(
    two: Two, author: Any, signed_in: Any
) -> None:
    dev, prod = two
    now = timezone.now()
    run = make_run(make_migration(dev, prod))
    run.created = [uuid_for("Legacy")]
    run.started_at = now
    run.finished_at = timezone.now()
    run.save()
    assert run.restore_point is not None
    old = chart_document("Revenue", "COUNT(*)", dataset_uuid=uuid_for("sales_fact"))
    entries(run.restore_point, old, dataset("sales_fact", "DWH_PROD", sql=target_documents()[1].body["sql"]))
    before = f"run:{run.number}:before"
    # A part of the estate: what it says nothing about is no difference, and what the run created was not there.
    assert states(before, "env:prod", author) == {
        "Revenue": "changed",
        "sales_fact": "same",
        "Legacy": "removed",
    }
    after = Snapshot.objects.create(environment=prod, reason=Reason.AFTER_RUN, complete=True, created_at=now)
    entries(after, *target_documents())
    assert set(states(f"run:{run.number}:after", "env:prod", author).values()) == {"same"}
    assert states(before, f"run:{run.number}:after", author)["Revenue"] == "changed"
    page = signed_in(author).get(f"/compare/?left={before}&right=env:prod")
    assert f"Prod before run {run.number}" in text_of(page)
    assert "rolling that run back" in page.context["why_no_plan"]
    assert 'disabled aria-describedby="why-no-plan"' in page.content.decode()


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("backup:3", "There is no place “backup:3”"),
        ("git:bi@3f2c9e1", "There is no place “git:bi@3f2c9e1”"),
        ("env:nowhere", "There is no place “env:nowhere”"),
        ("run:7:before", "There is no place “run:7:before”"),
        ("file:x", "There is no place “file:x”"),
        ("rubbish", "There is no place “rubbish”"),
    ],
)
def test_a_place_that_cannot_be_read_is_told_with_a_way_on(
    two: Two, viewer: Any, signed_in: Any, api: Any, place: str, words: str
) -> None:
    page = signed_in(viewer).get("/compare/", {"left": place, "right": "env:prod"})
    assert page.status_code == 200
    assert words in text_of(page)
    assert page.context["comparison"] is None
    answer = api(viewer).get("/api/v1/comparisons/", {"left": place, "right": "env:prod"})
    assert answer.status_code in (404, 422)
    assert words in answer.json()["detail"]


def test_without_an_address_the_usual_two_are_compared(two: Two, viewer: Any, signed_in: Any) -> None:
    page = signed_in(viewer).get("/compare/")
    assert (page.context["asked"].left_text, page.context["asked"].right_text) == ("env:dev", "env:prod")
    assert "the same place" in text_of(signed_in(viewer).get("/compare/?left=env:dev&right=env:dev"))


# --- What comes of it -----------------------------------------------------------------------------------------------
def test_a_migration_is_made_of_exactly_what_the_filters_show(two: Two, author: Any, signed_in: Any) -> None:
    client = signed_in(author)
    shown = client.get(LIST + "&type=chart")
    assert shown.context["plannable"] == 3  # of four: what is only on the right stays
    answer = client.post(LIST + "&type=chart", {"what": "all", "count": "3"})
    migration = Migration.objects.get()
    assert answer.headers["Location"] == f"/migrations/{migration.number}/plan/"
    assert migration.selection == sorted(uuid_for(name) for name in ("Revenue", "Margin", "Refunds"))
    assert (migration.source, migration.target, migration.with_dependencies) == (*two, False)


def test_ticked_assets_alone_and_a_changed_number_makes_nothing(
    two: Two, author: Any, viewer: Any, signed_in: Any
) -> None:
    client = signed_in(author)
    for data in ({"what": "all", "count": "4"}, {"what": "ticked", "pick": [uuid_for("Legacy")]}):
        assert client.post(LIST + "&type=chart", data).status_code == 409
    assert client.post(LIST, {"what": "ticked"}).status_code == 422
    assert not Migration.objects.exists()
    client.post(LIST, {"what": "ticked", "pick": [uuid_for("Refunds")]})
    assert Migration.objects.get().selection == [uuid_for("Refunds")]
    assert signed_in(viewer).post(LIST, {"what": "all", "count": "5"}).status_code == 403
    page = signed_in(viewer).get(LIST)
    assert "migration:plan" in page.context["why_no_plan"]


def test_ticks_are_kept_until_the_difference_is_another(two: Two, viewer: Any, signed_in: Any) -> None:
    client = signed_in(viewer)
    data = {"left": "env:dev", "right": "env:prod", "uuid": uuid_for("Revenue"), "viewed": "on"}
    client.post("/compare/viewed/", data)
    assert "1 of 6 viewed" in text_of(client.get(LIST))
    fragment = client.post("/compare/viewed/", data, headers={"HX-Request": "true"})
    assert "1 of 6 viewed" in text_of(fragment)
    changed = chart_document("Revenue", "MAX(amount)", dataset_uuid=uuid_for("sales_fact"))
    hold(two[0], *[item if item.title != "Revenue" else changed for item in source_documents()])
    assert "0 of 6 viewed" in text_of(client.get(LIST))
    client.post("/compare/viewed/", {**data, "viewed": ""})
    assert not Viewed.objects.exists()


def test_reading_again_is_asked_of_a_job(two: Two, author: Any, viewer: Any, signed_in: Any) -> None:
    from sstools.jobs.models import Job

    data = {"left": "env:dev", "right": "env:prod"}
    assert signed_in(viewer).post("/compare/read/", data).status_code == 403
    signed_in(author).post("/compare/read/", data)
    assert Job.objects.filter(kind="environments.read_inventory").count() == 2


def test_two_large_environments_without_states_are_compared_by_a_job(
    two: Two, viewer: Any, signed_in: Any, api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "MOST_AT_ONCE", 0)
    Environment.objects.update(asset_counts={"chart": 1}, inventory_at=timezone.now())
    browser = signed_in(viewer)
    page = browser.get(LIST)
    assert page.status_code == 200
    assert "were not compared since they were read" in text_of(page)
    assert page.context["comparison"] is None
    refused = api(viewer).get("/api/v1/comparisons/?left=env:dev&right=env:prod")
    assert (refused.status_code, refused.json()["code"]) == (409, "not_compared")

    form = {"left": "env:dev", "right": "env:prod", "what": "compare"}
    job = Job.objects.get(
        kind="estate.compare_pair", uuid=browser.post("/compare/read/", form).url.split("/")[-2]
    )
    run_job(str(job.uuid))
    assert "6 assets" in text_of(browser.get(LIST))


def test_the_api_has_the_same_rows_filters_and_migration(two: Two, author: Any, api: Any) -> None:
    client = api(author)
    answer = client.get("/api/v1/comparisons/?left=env:dev&right=env:prod&type=chart&state=changed").json()
    assert [row["title"] for row in answer["results"]] == ["Margin", "Revenue"]
    assert answer["counts"]["chart"]["changed"] == 2
    url = f"/api/v1/comparisons/chart/{uuid_for('Revenue')}/?left=env:dev&right=env:prod"
    detail = client.get(url).json()
    assert "metrics: SUM(amount) → SUM(net_amount)" in detail["sentences"]
    assert detail["changes"][1]["path"] == ["params", "metrics"]
    body = {"left": "env:dev", "right": "env:prod", "assets": [uuid_for("Refunds")]}
    assert client.post("/api/v1/comparisons/", body, format="json").status_code == 201
    assert Migration.objects.get().selection == [uuid_for("Refunds")]
    body = {"left": "env:dev", "right": "env:prod", "state": "added", "count": 5}
    assert client.post("/api/v1/comparisons/", body, format="json").json()["code"] == "comparison_changed"
    assert client.get("/api/v1/comparisons/?left=env:dev").status_code in (400, 422)


def test_a_tag_of_either_side_finds_it_on_the_page_by_rest_and_for_a_migration(
    two: Two, author: Any, signed_in: Any, api: Any
) -> None:
    dev, prod = two
    tag_asset(dev, "Revenue", "Executive", "Ёлка & co")
    tag_asset(prod, "Margin", "executive")
    tag_asset(prod, "Legacy", "exec")  # not the same tag
    client = signed_in(author)
    page = client.get(LIST, {"tag": "EXECUTIVE"})
    assert [row.title for row in page.context["page"]] == ["Margin", "Revenue"]
    assert '<option value="EXECUTIVE" selected>' in page.content.decode()
    sent = client.post(page.context["request"].get_full_path(), {"what": "all", "count": 2})
    assert sent.status_code == 302
    assert set(Migration.objects.get().selection) == {uuid_for("Margin"), uuid_for("Revenue")}
    found = api(author).get(
        "/api/v1/comparisons/?left=env:dev&right=env:prod&tag=%D0%B5%D0%BB%D0%BA%D0%B0 %26 CO"
    )
    assert [row["title"] for row in found.json()["results"]] == ["Revenue"]
    assert states("env:dev", "env:prod", author, tag="nobody's") == {}


def test_a_list_costs_the_same_queries_for_few_and_for_many(
    two: Two, viewer: Any, signed_in: Any, django_assert_max_num_queries: Any
) -> None:
    dev, _ = two
    more = [chart_document(f"Chart {n}", dataset_uuid=uuid_for("sales_fact")) for n in range(60)]
    hold(dev, *source_documents(), *more, dashboard("Wide", *[item.title for item in more[:30]]))
    refresh(dev, None)
    client = signed_in(viewer)
    client.get(LIST)
    with django_assert_max_num_queries(45):
        assert client.get(LIST).context["page"].paginator.count == 67
