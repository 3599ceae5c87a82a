"""Pages of an asset: cards, contents, graph and blast radius, history, checks, pairing."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from environments.models import GoneAsset, Snapshot, SnapshotEntry
from environments.store import put_documents
from migrations_app.models import Pairing
from sstools.resources import resource_name
from tests.factories import make_asset, make_migration, make_plan, make_run, make_verdict, uuid_for

from .conftest import FIRST, World, chart_document, dataset_document

pytestmark = pytest.mark.django_db
SALES = uuid_for("Sales overview")


@pytest.fixture
def browser(world: World, author: Any, signed_in: Callable[[Any], Client]) -> Client:
    return signed_in(author)


def text_of(answer: Any) -> str:
    """What a reader sees of the page, without markup and doubled spaces."""
    main = answer.content.decode().split("<main", 1)[1].split("</main>")[0]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", main))


def test_a_card_for_each_environment_with_state_run_author_and_open(
    browser: Client, world: World, author: Any
) -> None:
    migration = make_migration(world.dev, world.prod, actor=author)
    make_plan(migration, [("dashboard", "Sales overview", "update")])
    run = make_run(migration, actor=author)
    page = browser.get(f"/dashboards/{SALES}/")
    said = text_of(page)
    assert re.search(r"DEV Dev source edited .* by Irina Petrova", said)
    assert re.search(r"STAGE Stage behind 3 edited", said)
    assert re.search(rf"PROD Prod drifted 1 edited .* run {run.number} , just now by author", said)
    assert said.count("no run wrote it") == 2
    html = page.content.decode()
    for slug in ("dev", "stage", "prod"):
        assert f'href="/go/{slug}/dashboard/{SALES}/" target="_blank"' in html
    assert f"/migrations/new/?source=dev&amp;target=stage&amp;asset=dev%3Adashboard%3A{SALES}" in html
    assert (
        f"/migrations/new/?source=prod&amp;target=dev&amp;asset=prod%3Adashboard%3A{SALES}" in html
    )  # take into dev


def test_the_rail_marks_the_inventory(browser: Client, world: World) -> None:
    page = browser.get(f"/dashboards/{SALES}/graph/").content.decode()
    assert re.findall(r'<a href="([^"]+)" aria-current', page.split("<main")[0]) == ["/assets/"]


def test_contents_line_up_by_environment(browser: Client, world: World) -> None:
    said = text_of(browser.get(f"/dashboards/{SALES}/"))
    assert "3 charts" in said
    rows = said.split("Chart DEV STAGE PROD")[1]
    assert re.search(r"Refund rate table source unknown not in there Revenue by month", rows)
    assert re.search(r"Revenue by month table source unknown differs 2 Top regions", rows)
    assert re.search(r"Top regions table source unknown in sync", rows)
    assert "Datasets of its filters" in said


def test_the_reference_is_chosen_in_the_address(browser: Client, world: World) -> None:
    world.state(world.prod, world.dev, "dashboard", "Sales overview", "behind", changes=1)
    said = text_of(browser.get(f"/dashboards/{SALES}/?ref=prod"))
    assert "DEV Dev behind 1" in said
    assert "PROD Prod source" in said
    assert "DEV Dev source" in text_of(browser.get(f"/dashboards/{SALES}/?ref=nowhere"))


def test_datasets_show_columns_and_metrics_that_differ(browser: Client, world: World) -> None:
    changed = dataset_document(
        "sales_fact",
        columns=[{"column_name": "amount", "type": "BIGINT"}, {"column_name": "net", "type": "INT"}],
    )
    put_documents([changed])
    world.made["prod", "sales_fact"].document_id = changed.fingerprint
    world.made["prod", "sales_fact"].save()
    said = text_of(browser.get(f"/datasets/{uuid_for('sales_fact')}/"))
    assert re.search(r"amount INT source same differs type net INT not in there not in there only here", said)
    assert re.search(r"region TEXT source same not in there", said)
    assert re.search(r"revenue SUM\(amount\) source same same", said)


def test_the_graph_is_a_picture_with_links_and_the_same_as_lists(browser: Client, world: World) -> None:
    page = browser.get(f"/datasets/{uuid_for('sales_fact')}/graph/?env=prod").content.decode()
    picture = re.search(r"<svg class=\"graph\".*?</svg>", page, re.S)
    assert picture is not None
    drawn = set(re.findall(r'<a href="/(\w+/[^/]+)/graph/\?env=prod"', picture[0]))
    lists = page.split("The same as lists")[1].split("</section>")[0]
    listed = set(re.findall(r'<a href="/(\w+/[^/]+)/graph/\?env=prod"', lists))
    assert drawn == listed | {f"datasets/{uuid_for('sales_fact')}"}
    assert f"charts/{uuid_for('Revenue by month')}" in listed
    assert f"dashboards/{SALES}" in listed
    assert f"databases/{uuid_for('DWH')}" in listed
    assert f"charts/{uuid_for('Refund rate')}" not in listed  # not on prod
    assert "differs" in picture[0]  # the state against dev
    assert "style=" not in page


def test_who_uses_a_column_on_which_environment(browser: Client, world: World) -> None:
    graph = f"/datasets/{uuid_for('sales_fact')}/graph/"
    everything = text_of(browser.get(graph)).split("What breaks if it goes")[1]
    assert "DEV 3" in everything
    assert "PROD 2" in everything
    region = text_of(browser.get(f"{graph}?column=region")).split("Used by Type")[1]
    assert re.search(
        r"Revenue by month .*?chart breaks dimensions breaks dimensions breaks dimensions", region
    )
    assert re.search(r"Sales overview through Revenue by month dashboard breaks breaks breaks", region)
    assert "Refund rate" not in region
    amount = text_of(browser.get(f"{graph}?column=amount"))
    assert "metric “revenue” (maybe)" in amount
    assert re.search(r"Refund rate chart maybe SQL in filters maybe SQL in filters no", amount)
    assert "No environment’s dataset has a column" in text_of(browser.get(f"{graph}?column=nothing"))
    # a filter of a dashboard is a use, too
    geo = text_of(browser.get(f"/datasets/{uuid_for('geo')}/graph/?column=region"))
    assert "breaks filter “Region”" in geo


def test_sql_that_reads_the_table_is_a_maybe_and_so_is_what_stands_on_it(
    browser: Client, world: World
) -> None:
    virtual = dataset_document("by_hand", sql="SELECT amount FROM dwh.sales_fact", columns=[], metrics=[])
    world.add(world.dev, virtual)
    world.add(world.dev, chart_document("Of SQL", virtual.uuid, groupby=["x"]))
    said = text_of(browser.get(f"/datasets/{uuid_for('sales_fact')}/graph/?column=amount"))
    assert re.search(r"by_hand .*?dataset maybe its SQL no no", said)
    assert re.search(r"Of SQL through by_hand chart maybe no no", said)
    assert "by_hand" not in text_of(browser.get(f"/datasets/{uuid_for('sales_fact')}/graph/?column=region"))


def test_history_has_changes_in_words_runs_and_the_end(browser: Client, world: World, author: Any) -> None:
    uuid = uuid_for("Revenue by month")
    before = chart_document("Revenue by month", uuid_for("sales_fact"), groupby=["day"], metrics=["revenue"])
    put_documents([before])
    asset = world.made["dev", "Revenue by month"]
    for day, sha in enumerate((before.fingerprint, before.fingerprint, asset.document_id)):
        snapshot = Snapshot.objects.create(environment=world.dev, reason="reading", complete=True)
        at = FIRST + timedelta(days=day)
        SnapshotEntry.objects.create(
            snapshot=snapshot, kind="chart", uuid=uuid, document_id=sha, exported_at=at
        )
    migration = make_migration(world.dev, world.stage, actor=author)
    make_plan(migration, [("chart", "Revenue by month", "create")])
    run = make_run(migration, actor=author)
    world.made["prod", "Revenue by month"].delete()
    GoneAsset.objects.create(
        environment=world.prod, kind="chart", uuid=uuid, title="x", last_seen_at=FIRST, gone_at=FIRST
    )
    said = text_of(browser.get(f"/charts/{uuid}/history/"))
    assert "DEV Edited in Superset dimensions: " in said
    assert said.count("dimensions: ") == 1  # twice the same content is no change
    assert f"Run {run.number} of migration {migration.number} created it" in said
    assert "PROD Gone; last seen 2026-11-01 08:00 UTC" in said
    only = text_of(browser.get(f"/charts/{uuid}/history/?env=stage"))
    assert f"Run {run.number}" in only
    assert "Gone;" not in only


def test_checks_are_the_last_verdicts(browser: Client, world: World, author: Any) -> None:
    migration = make_migration(world.dev, world.prod, actor=author)
    make_plan(migration, [("chart", "Revenue by month", "update")])
    for status in ("failed", "differs"):
        run = make_run(migration, actor=author)
        make_verdict(run, "Revenue by month", status)
    said = text_of(browser.get(f"/dashboards/{SALES}/checks/"))
    assert "Rows: 120 on the source, 118 on the target." in said
    assert "unknown column" not in said  # an older verdict
    assert "1 chart no run has verified" in said  # Top regions on prod
    assert said.count("No run has verified it here") == 2


def test_what_is_gone_everywhere_says_where_it_was_last(browser: Client, world: World) -> None:
    uuid = uuid_for("Old")
    GoneAsset.objects.create(
        environment=world.prod, kind="dashboard", uuid=uuid, title="Old", last_seen_at=FIRST, gone_at=FIRST
    )
    for tab in ("", "graph/", "history/", "checks/"):
        said = text_of(browser.get(f"/dashboards/{uuid}/{tab}"))
        assert "It is on no environment any more" in said
        assert "2026-11-01" in said
    assert browser.get(f"/dashboards/{uuid}/pairing/?env=prod").status_code == 404


def test_a_pairing_is_suggested_confirmed_and_removed(browser: Client, world: World) -> None:
    uuid = uuid_for("Refund rate")
    other = chart_document("Refund Rate", uuid_for("sales_fact"), uuid_for("other"), adhoc_filters=[])
    world.add(world.prod, other)
    make_asset(world.prod, "chart", "Something else")
    address = f"/charts/{uuid}/pairing/?env=prod"
    page = text_of(browser.get(address))
    assert "same title but for its case, contents" in page
    assert "Something else" not in page
    assert "Something else" in text_of(browser.get(f"{address}&q=something"))
    answer = browser.post(
        f"/charts/{uuid}/pairing/", {"env": "prod", "do": "pair", "target_uuid": other.uuid}
    )
    assert (answer.status_code, answer["Location"]) == (302, f"/charts/{uuid}/")
    assert "paired by author Change" in text_of(browser.get(f"/charts/{uuid}/"))
    assert browser.post(f"/charts/{uuid}/pairing/", {"env": "prod", "do": "unpair"}).status_code == 302
    assert not Pairing.objects.exists()
    refused = browser.post(
        f"/charts/{uuid}/pairing/", {"env": "prod", "do": "pair", "target_uuid": "nonsense"}
    )
    assert refused.status_code == 422
    assert "Prod has no chart with the uuid nonsense" in text_of(refused)


def test_who_may_not_plan_sees_why_and_cannot_pair(
    world: World, viewer: Any, signed_in: Callable[[Any], Client]
) -> None:
    browser = signed_in(viewer)
    address = f"/charts/{uuid_for('Refund rate')}/pairing/"
    page = browser.get(f"{address}?env=prod")
    assert "migration:plan" in text_of(page)
    sent = {"env": "prod", "do": "pair", "target_uuid": uuid_for("Top regions")}
    assert browser.post(address, sent).status_code == 403
    assert not Pairing.objects.exists()


def test_nothing_is_told_of_what_one_may_not_see(
    world: World, make_user: Any, signed_in: Callable[[Any], Client]
) -> None:
    only_dev = signed_in(make_user("dev only", "author", resource_name(world.dev)))
    world.prod.name = "Zebra"
    world.prod.save()
    for tab in ("", "graph/", "history/", "checks/"):
        page = only_dev.get(f"/dashboards/{SALES}/{tab}")
        assert page.status_code == 200
        assert b"Zebra" not in page.content
        assert b"/go/prod/" not in page.content
    secret = make_asset(world.prod, "chart", "Of prod alone")
    assert only_dev.get(f"/charts/{secret.uuid}/").status_code == 404
    assert only_dev.get(f"/dashboards/{SALES}/pairing/?env=prod").status_code == 404
    assert signed_in(make_user("nobody")).get(f"/dashboards/{SALES}/").status_code == 404


def test_queries_do_not_grow_with_what_is_there(browser: Client, world: World) -> None:
    def count(address: str) -> int:
        with CaptureQueriesContext(
            connection,
        ) as queries:
            assert browser.get(address).status_code == 200
        return len(queries)

    addresses = [
        f"/dashboards/{SALES}/",
        f"/datasets/{uuid_for('sales_fact')}/graph/",
        f"/databases/{uuid_for('DWH')}/",
    ]
    before = [count(address) for address in addresses]
    for number in range(40):
        for environment in (world.dev, world.prod):
            dataset = dataset_document(f"more {number}")
            world.add(environment, dataset)
            chart = chart_document(f"Chart {number}", uuid_for("sales_fact"), groupby=["region"])
            world.add(environment, chart, dashboard_uuids=[SALES], database_uuid=uuid_for("DWH"))
    assert [count(address) for address in addresses] == before
    page = browser.get(addresses[1]).content.decode()
    assert "and 31 more" in page  # 43 charts of which 12 lines have room; the list has them all
    assert "Chart 39" in page.split("The same as lists")[1]
