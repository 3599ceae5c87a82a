"""Searching over environments, the same on both databases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from environments import events
from environments.canonical.documents import Document, Kind
from environments.models import Asset, Environment
from environments.search import indexing
from environments.search.finding import Found, search
from environments.search.models import Entry
from environments.search.vocabulary import Vocabulary
from environments.store import put_documents
from sstools.resources import resource_name
from tests.factories import make_asset, make_environment, tag_asset, uuid_for

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]

DATASET = {
    "table_name": "sales_fact",
    "schema": "dwh",
    "sql": "SELECT region, sum(net_amount) AS выручка\nFROM dwh.orders o\nWHERE o.status = 'paid'",
    "metrics": [
        {
            "metric_name": "net_revenue",
            "verbose_name": "Чистая выручка",
            "expression": "SUM(net_amount) / 1e5",
        }
    ],
    "columns": [
        {"column_name": "customer_segment", "verbose_name": None, "expression": "upper(segment_code)"}
    ],
    "description": None,
}
CHART = {
    "slice_name": "Отчёт по возвратам",
    "description": "Refunds by region",
    "params": {
        "metrics": [
            "net_revenue",
            {"label": "Refund rate", "sqlExpression": "sum(refunds) / nullif(sum(orders), 0)"},
        ],
        "groupby": ["customer_segment"],
        "color_scheme": "supersetColors",
        "y_axis_title": "Доля возвратов",
    },
}
DASHBOARD = {
    "dashboard_title": "Sales overview",
    "position": {
        "TAB-1": {"type": "TAB", "meta": {"text": "Regions"}},
        "MARKDOWN-1": {"meta": {"code": "# How to read this ⟦chart:abc⟧"}},
    },
    "metadata": {
        "native_filter_configuration": [
            {"name": "Fiscal year", "targets": [{"column": {"name": "fiscal_year"}}]}
        ]
    },
}


def put(environment: Environment, kind: Kind, title: str, body: dict[str, Any], **fields: Any) -> Asset:
    """An asset with a stored document."""
    document = Document(kind, uuid_for(title), body)
    put_documents([document])
    return make_asset(environment, kind.value, title, document_id=document.fingerprint, **fields)


@pytest.fixture
def estate(db: None) -> dict[str, Environment]:
    made = {slug: make_environment(slug) for slug in ("dev", "prod")}
    for slug, environment in made.items():
        owners = [{"name": "Ирина Петрова", "email": "irina.petrova@corp.example"}]
        put(environment, Kind.DATASET, "sales_fact", DATASET, schema="dwh")
        put(environment, Kind.CHART, "Отчёт по возвратам", CHART, owners=owners)
        if slug == "dev":
            put(environment, Kind.DASHBOARD, "Sales overview", DASHBOARD, slug="sales-overview")
        make_asset(environment, "database", "DWH", backend="postgresql")
        events.was_read(environment, None)
    return made


def titles(found: Found) -> list[str]:
    return [hit.title for hit in found.hits]


def fields(found: Found, number: int = 0) -> list[str]:
    return [excerpt.label for excerpt in found.hits[number].excerpts]


@pytest.mark.parametrize(
    ("text", "title", "field"),
    [
        ("sales over", "Sales overview", "title"),
        ("SALES-OVERVIEW", "Sales overview", "slug"),
        ("fact", "sales_fact", "title"),
        ("ОТЧЕТ возвр", "Отчёт по возвратам", "title"),
        ("отчёт", "Отчёт по возвратам", "title"),
        ("петрова ирина", "Отчёт по возвратам", "owner"),
        ("irina.petrova@corp.example", "Отчёт по возвратам", "owner"),
        ("net_amount выручка", "sales_fact", "SQL"),
        ("dwh.orders", "sales_fact", "SQL"),
        ("net_am", "sales_fact", "expression of metric net_revenue"),
        ("sales_fact", "sales_fact", "title"),
        ('"status = paid"', "sales_fact", "SQL"),
        ("segment_code", "sales_fact", "expression of column customer_segment"),
        ("чистая", "sales_fact", "metric"),
        ("1e5", "sales_fact", "expression of metric net_revenue"),
        ("refund rate", "Отчёт по возвратам", "metric"),
        ("nullif", "Отчёт по возвратам", "SQL"),
        ("доля", "Отчёт по возвратам", "setting y_axis_title"),
        ("fiscal", "Sales overview", "filter"),
        ("regions", "Sales overview", "tab or header"),
        ("how to read", "Sales overview", "text on it"),
        (uuid_for("Sales overview"), "Sales overview", "uuid"),
        (uuid_for("Sales overview")[:13].upper(), "Sales overview", "uuid"),
        ("postgresql", "DWH", "backend"),
    ],
)
def test_an_asset_is_found_by_what_is_in_it(
    estate: dict[str, Environment], viewer: Any, text: str, title: str, field: str
) -> None:
    found = search(viewer, text)
    assert titles(found)[:1] == [title]
    assert fields(found)[0] == field
    assert any(is_match for _, is_match in found.hits[0].excerpts[0].parts)


@pytest.mark.parametrize(
    ("text", "title", "field", "marked"),
    [
        ("verview", "Sales overview", "title", "verview"),
        ("EGION", "Sales overview", "tab or header", "egion"),
        ("зврат", "Отчёт по возвратам", "title", "зврат"),
        ("тчет зврат", "Отчёт по возвратам", "title", "тчёт"),
        ("ment_code", "sales_fact", "expression of column customer_segment", "ment_code"),
        ("ales-over", "Sales overview", "slug", "ales-over"),
        ("llif", "Отчёт по возвратам", "SQL", "llif"),
        ('"rder by nothing"', "", "", ""),
        ('"gmo by hand"', "", "", ""),
        ("sales verview", "Sales overview", "title", "Sales"),
        ("utive", "Sales overview", "tag", "utive"),
        ("etrova@corp", "Отчёт по возвратам", "owner", "etrova@corp"),
    ],
)
def test_what_stands_inside_of_words_is_found_after_what_begins_them(
    estate: dict[str, Environment], viewer: Any, text: str, title: str, field: str, marked: str
) -> None:
    tag_asset(estate["dev"], "Sales overview", "Executive")
    events.was_read(estate["dev"], frozenset({("dashboard", uuid_for("Sales overview"))}))
    found = search(viewer, text)
    assert titles(found)[:1] == ([title] if title else [])
    assert not found.more
    if title:
        excerpt = found.hits[0].excerpts[0]
        assert excerpt.label == field
        assert next(part for part, is_match in excerpt.parts if is_match).casefold() == marked.casefold()
    put(estate["dev"], Kind.CHART, "Verview first", {"params": {}})
    events.was_read(estate["dev"], frozenset())
    assert titles(search(viewer, "verview")) == ["Verview first", "Sales overview"]


def test_words_that_no_asset_has_any_more_are_forgotten(estate: dict[str, Environment], viewer: Any) -> None:
    known = Vocabulary.all_words()
    assert {"overview", "возвратам", "executive"} - known == {"executive"}
    assert not [word for word in known if len(word) <= 3 or word.isdecimal() or "\ue001" in word]
    estate["dev"].assets.filter(kind="dashboard").delete()
    call_command("reindex", all=True)
    assert known - Vocabulary.all_words() >= {"overview", "fiscal"}
    assert search(viewer, "llif").total == 1


@pytest.mark.parametrize(
    "text",
    [
        "ew",
        "verview nowhere",
        "sales nowhere",
        "t_amount",
        "ales_nothing",
        "elect_code_x",
        uuid_for("Sales overview")[1:8],
        '"overview sales"',
        "orders.dwh",
        "paid_select",
        "supersetColors",
        "chart:abc",
        "",
        '"',
        "* OR title:x",
        "'",
        "\\",
        "a" * 300,
    ],
)
def test_what_fits_nothing_finds_nothing(estate: dict[str, Environment], viewer: Any, text: str) -> None:
    assert search(viewer, text).keys == []


def test_titles_come_before_names_and_those_before_other_texts(
    estate: dict[str, Environment], viewer: Any
) -> None:
    dev = estate["dev"]
    put(dev, Kind.CHART, "Orders", {"params": {}})
    put(dev, Kind.CHART, "A B", {"params": {"metrics": ["orders"]}})
    put(dev, Kind.CHART, "All orders", {"params": {}})
    events.was_read(dev, frozenset())  # what the index lacks comes in though the reading names nothing
    assert titles(search(viewer, "orders")) == [
        "Orders",
        "All orders",
        "A B",
        "sales_fact",
        "Отчёт по возвратам",
    ]


def test_hits_are_grouped_over_environments_and_say_where_it_is_with_other_content(
    estate: dict[str, Environment], viewer: Any
) -> None:
    changed = {**DATASET, "sql": "SELECT 1"}
    document = Document(Kind.DATASET, uuid_for("sales_fact"), changed)
    put_documents([document])
    estate["prod"].assets.filter(kind="dataset").update(document_id=document.fingerprint)
    events.was_read(estate["prod"], frozenset({("dataset", uuid_for("sales_fact"))}))
    (hit,) = search(viewer, "dwh.orders").hits
    assert [one.slug for one in hit.environments] == ["dev"]
    assert [one.slug for one in hit.elsewhere] == ["prod"]
    (hit,) = search(viewer, "net_revenue", kinds=["dataset"]).hits
    assert [one.slug for one in hit.environments] == ["dev", "prod"]
    assert search(viewer, "dwh.orders", environment="prod").keys == []


def test_what_one_may_not_see_is_neither_found_nor_counted(
    estate: dict[str, Environment], make_user: Callable[..., Any], stranger: Any
) -> None:
    only_prod = make_user("prod", "viewer", on=resource_name(estate["prod"]))
    assert search(only_prod, "overview").total == 0
    (hit,) = search(only_prod, "sales_fact").hits
    assert [asset.environment.slug for asset in hit.assets] == ["prod"]
    assert search(stranger, "sales").total == 0


def test_the_index_follows_the_inventory(estate: dict[str, Environment], viewer: Any, capsys: Any) -> None:
    dev = estate["dev"]
    dev.assets.filter(kind="dashboard").update(title="Revenue", sort_key="revenue", slug="revenue")
    events.was_read(dev, frozenset({("dashboard", uuid_for("Sales overview"))}))
    assert titles(search(viewer, "revenue")) == ["Revenue", "sales_fact", "Отчёт по возвратам"]
    assert search(viewer, "overview").total == 0
    dev.assets.filter(kind="dashboard").delete()
    assert search(viewer, "fiscal").total == 0
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM search_words")
            assert cursor.fetchone()[0] == Entry.objects.count() == Asset.objects.count()
    assert indexing.update(dev, frozenset()) == 0
    Entry.objects.update(version=0)
    assert indexing.update(dev, frozenset()) == 3
    call_command("reindex", environment="prod")
    assert "prod: 3 of 3 assets" in capsys.readouterr().out
    estate["prod"].delete()
    assert [hit.matching for hit in search(viewer, "sales").hits] == [{"dev"}]


def test_a_search_costs_the_same_queries_whatever_it_finds(
    estate: dict[str, Environment], viewer: Any
) -> None:
    def cost() -> int:
        with CaptureQueriesContext(
            connection,
        ) as asked:
            assert search(viewer, "number").total > 0
        return len(asked)

    assert search(viewer, "sales").total > 0  # what the user may do is remembered from here on
    costs = []
    for count in (3, 40):
        for number in range(count):
            put(
                estate["dev"],
                Kind.CHART,
                f"Number {count} {number}",
                {**CHART, "params": {"n": f"x{number}"}},
            )
        events.was_read(estate["dev"], frozenset())
        costs.append(cost())
    assert costs[0] == costs[1] < 20


def test_more_than_are_looked_at_is_said(estate: dict[str, Environment], viewer: Any) -> None:
    found = search(viewer, "sales", looked_at=1)
    assert (found.total, found.more) == (1, True)
    assert not search(viewer, "sales").more


def test_the_page_shows_why_and_works_without_a_script(
    estate: dict[str, Environment], viewer: Any, signed_in: Callable[[Any], Client]
) -> None:
    client = signed_in(viewer)
    page = client.get("/search/", {"q": "dwh.orders"}).content.decode()
    assert "SQL: " in page
    assert "<mark>dwh.orders</mark>" in page
    assert "More than" not in page
    assert client.get("/search/").status_code == 200
    assert (
        "No asset fits"
        in client.get("/search/", {"q": "nowhere", "kind": "x", "page": "-1"}).content.decode()
    )
    assert "sales_fact" in client.get("/search/", {"q": "sales", "page": "999"}).content.decode()
    assert "&lt;b&gt;" in client.get("/search/", {"q": "<b>"}).content.decode()


def test_rest_says_the_same(
    estate: dict[str, Environment], viewer: Any, stranger: Any, api: Callable[[Any], Any]
) -> None:
    answer = api(viewer).get("/api/v1/search/", {"q": "чистая"}).json()
    assert (answer["total"], answer["more"]) == (1, False)
    (result,) = answer["results"]
    assert (result["kind"], result["uuid"], result["environments"]) == (
        "dataset",
        uuid_for("sales_fact"),
        ["dev", "prod"],
    )
    assert result["why"] == [
        {
            "field": "metric",
            "parts": [{"text": "Чистая", "is_match": True}, {"text": " выручка", "is_match": False}],
        }
    ]
    assert api(viewer).get("/api/v1/search/").status_code == 400
    assert api(stranger).get("/api/v1/search/", {"q": "чистая"}).json()["total"] == 0
