"""The pages: what they show, what they refuse, who sees what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from environments import services
from environments.models import Asset, Environment
from sstools.jobs.models import Job
from sstools.resources import resource_name
from tests.factories import make_asset, make_environment, make_estate
from tests.fakes.superset import FakeSuperset

from .conftest import PASSWORD

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]
HTMX = {"HTTP_HX_REQUEST": "true"}
FORM = {
    "name": "Dev",
    "url": "http://superset.test",
    "auth_kind": "password",
    "username": "admin",
    "secret": PASSWORD,
}


def text_of(client: Client, url: str, **headers: Any) -> str:
    response = client.get(url, **headers)
    assert response.status_code == 200, (url, response.status_code)
    return response.content.decode()


# --- who --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url", ["/environments/", "/environments/new/", "/environments/dev/", "/assets/", "/go/dev/chart/x/"]
)
def test_nothing_is_shown_to_people_who_are_not_signed_in(environment: Environment, url: str) -> None:
    assert Client().get(url)["Location"].startswith("/login/")
    assert Client().get(url, **HTMX).status_code == 401


def test_a_stranger_sees_no_environment_and_no_asset(
    environment: Environment, stranger: Any, signed_in: Callable[[Any], Client]
) -> None:
    make_estate(environment)
    client = signed_in(stranger)
    assert "superset.test" not in text_of(client, "/environments/")
    assert "Sales 1" not in text_of(client, "/assets/")
    for url in ("/environments/dev/", "/environments/dev/edit/", "/environments/dev/remove/"):
        assert client.get(url).status_code == 404
    for url in ("/environments/dev/check/", "/environments/dev/read/", "/environments/dev/remove/"):
        assert client.post(url).status_code == 404


@pytest.mark.parametrize(
    ("role", "sees", "asks", "edits"),
    [
        ("viewer", True, False, False),
        ("author", True, True, False),
        ("release_lead", True, True, False),
        ("admin", True, True, True),
    ],
)
def test_each_role_may_do_its_part(
    environment: Environment,
    make_user: Callable[..., Any],
    signed_in: Callable[[Any], Client],
    role: str,
    sees: bool,
    asks: bool,
    edits: bool,
) -> None:
    client = signed_in(make_user("somebody", role))
    page = client.get("/environments/dev/")
    assert (page.status_code == 200) is sees
    assert ("/environments/dev/edit/" in page.content.decode()) is edits
    assert (b"environment:test" in page.content) is not asks  # the reason why it cannot be pressed
    assert client.post("/environments/dev/check/").status_code == (302 if asks else 403)
    assert client.post("/environments/dev/read/").status_code == (302 if asks else 403)
    assert client.get("/environments/new/").status_code == (200 if edits else 403)
    assert client.post("/environments/new/", FORM).status_code == (422 if edits else 403)  # the name is taken
    assert client.get("/environments/dev/edit/").status_code == (200 if edits else 403)
    assert client.post("/environments/dev/remove/", {"confirm": "x"}).status_code == (422 if edits else 403)
    assert Job.objects.count() == (2 if asks else 0)


def test_roles_on_one_environment_show_that_one_only(
    make_user: Callable[..., Any], signed_in: Callable[[Any], Client]
) -> None:
    dev, prod = make_environment("dev"), make_environment("prod")
    make_asset(dev, "chart", "Dev chart")
    make_asset(prod, "chart", "Prod chart")
    client = signed_in(make_user("local", "viewer", on=resource_name(dev)))
    page = text_of(client, "/environments/")
    assert "https://dev.example.org" in page
    assert "https://prod.example.org" not in page
    dev.inventory_at = dev.created_at
    dev.save()
    page = text_of(client, "/assets/")
    assert "Dev chart" in page
    assert "Prod chart" not in page
    assert client.get("/environments/prod/").status_code == 404


# --- environments -----------------------------------------------------------------------------------


def test_without_environments_there_is_a_way_to_start(owner: Any, signed_in: Callable[[Any], Client]) -> None:
    page = text_of(signed_in(owner), "/environments/")
    assert "No environments yet" in page
    assert "/environments/new/" in page
    assert "<table" not in page


def test_registering_tests_and_reads_at_once(
    registered: Any, superset: FakeSuperset, owner: Any, signed_in: Callable[[Any], Client]
) -> None:
    response = signed_in(owner).post("/environments/new/", {**FORM, "position": "3"})
    assert response["Location"] == "/environments/dev/"
    made = Environment.objects.get()
    assert (made.tag, made.protected) == ("PROD", True)
    assert sorted(Job.objects.values_list("kind", flat=True)) == [
        "environments.check",
        "environments.read_inventory",
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"url": "ftp://x"}, "must start with https:// or http://"),
        ({"url": "http://me:hunter2@x.test"}, "must not hold a user or a password"),
        ({"secret": ""}, "The password is needed"),
        ({"name": ""}, "This field is required"),
        ({"ca_certificate": "nonsense"}, "not a certificate in PEM form"),
        ({"secret_reference": "file:/etc/passwd", "secret": ""}, "must be in"),
        ({"max_parallel": "100"}, "less than or equal to 8"),
    ],
)
def test_a_refused_form_comes_back_with_the_words_at_the_field(
    owner: Any, signed_in: Callable[[Any], Client], changes: dict[str, str], words: str
) -> None:
    response = signed_in(owner).post("/environments/new/", {**FORM, **changes})
    page = response.content.decode()
    assert response.status_code == 422
    assert words in page
    assert 'role="alert"' in page
    assert PASSWORD not in page
    assert not Environment.objects.exists()


def test_an_empty_form_is_told_everything_at_once(owner: Any, signed_in: Callable[[Any], Client]) -> None:
    page = signed_in(owner).post("/environments/new/", {"auth_kind": "password"}).content.decode()
    assert page.count("This field is required.") == 4  # on top and at the field: name, address
    assert "This is needed to sign in." in page
    assert "The password is needed, or a reference to where it is." in page
    page = signed_in(owner).post("/environments/new/", {"auth_kind": "token"}).content.decode()
    assert "This is needed to sign in." not in page
    assert "The token is needed" in page


def test_what_was_mended_is_tested_and_read_if_it_never_was(
    environment: Environment, owner: Any, signed_in: Callable[[Any], Client]
) -> None:
    client = signed_in(owner)
    values = {**FORM, "slug": "dev", "tag": "DEV"}
    assert client.post("/environments/dev/edit/", values | {"secret": "another"}).status_code == 302
    assert sorted(Job.objects.values_list("kind", flat=True)) == sorted([services.CHECK, services.READING])
    Job.objects.all().delete()
    Environment.objects.update(inventory_at=timezone.now())
    assert client.post("/environments/dev/edit/", values | {"secret": "a third"}).status_code == 302
    assert list(Job.objects.values_list("kind", flat=True)) == [services.CHECK]


def test_a_second_environment_on_the_same_superset_is_asked_about(
    environment: Environment, owner: Any, signed_in: Callable[[Any], Client]
) -> None:
    client = signed_in(owner)
    page = client.post("/environments/new/", {**FORM, "name": "Twin"}, follow=True).content.decode()
    assert f"{environment.name} has the same address." in page
    other = {**FORM, "name": "Other", "url": "http://other.test"}
    assert (
        "has the same address" not in client.post("/environments/new/", other, follow=True).content.decode()
    )


def test_a_title_of_an_environment_is_text(owner: Any, signed_in: Callable[[Any], Client]) -> None:
    services.register_environment(
        {**FORM, "name": "<script>alert(1)</script>", "slug": "x", "tag": "<b>"}, actor=owner
    )
    for url in (
        "/environments/",
        "/environments/x/",
        "/environments/x/edit/",
        "/environments/x/remove/",
        "/assets/",
    ):
        page = text_of(signed_in(owner), url)
        assert "<script>alert" not in page
        assert "<b>&" not in page


def test_editing_keeps_the_stored_secret_and_never_shows_it(
    environment: Environment, owner: Any, signed_in: Callable[[Any], Client]
) -> None:
    client = signed_in(owner)
    page = text_of(client, "/environments/dev/edit/")
    assert PASSWORD not in page
    assert "stored" in page
    values = {**FORM, "secret": "", "name": "Development", "slug": "dev", "tag": "DEV"}
    assert client.post("/environments/dev/edit/", values)["Location"] == "/environments/dev/"
    fresh = Environment.objects.get(pk=environment.pk)
    assert (fresh.name, str(fresh.secret)) == ("Development", PASSWORD)
    assert not fresh.protected


def test_the_page_shows_each_stage_of_the_test_with_its_remedy(
    environment: Environment, superset: FakeSuperset, viewer: Any, signed_in: Callable[[Any], Client]
) -> None:
    superset.role = "Gamma"
    services.run_check(environment)
    page = text_of(signed_in(viewer), "/environments/dev/")
    for words in (
        "Network",
        "Sign-in",
        "Rights",
        "lacks can_export on Dataset",
        "Give the account the Admin role",
    ):
        assert words in page


def test_while_a_job_is_at_work_the_page_asks_again_and_then_stops(
    environment: Environment, owner: Any, signed_in: Callable[[Any], Client], run_jobs: Callable[[], int]
) -> None:
    client = signed_in(owner)
    fragment = client.post("/environments/dev/read/", **HTMX).content.decode()
    assert fragment.lstrip().startswith('<div class="stack" id="environment-state"')
    assert 'hx-trigger="every 2s"' in fragment
    assert 'hx-trigger="every' in text_of(client, "/environments/dev/")
    run_jobs()
    fragment = text_of(client, "/environments/dev/", **HTMX)
    assert "hx-trigger" not in fragment
    assert "<html" not in fragment
    assert "Warehouse" in fragment


def test_databases_are_listed_with_what_stands_on_them(
    environment: Environment, viewer: Any, signed_in: Callable[[Any], Client]
) -> None:
    services.run_reading(environment)
    page = text_of(signed_in(viewer), "/environments/dev/")
    assert "d0000000-0000-4000-8000-000000000001" in page
    assert "?env=dev&amp;type=chart&amp;database=d0000000-0000-4000-8000-000000000001" in page
    assert "topsecret" not in page


def test_a_failed_reading_is_told_and_what_was_known_stays(
    environment: Environment,
    superset: FakeSuperset,
    owner: Any,
    signed_in: Callable[[Any], Client],
    run_jobs: Any,
) -> None:
    services.run_reading(environment)
    superset.misbehave("GET", "/api/v1/chart/", "html_200", times=None)
    services.request_reading(environment, actor=owner)
    run_jobs()
    page = text_of(signed_in(owner), "/environments/dev/")
    assert "The last reading failed" in page
    assert "What you see is from the reading before" in page
    assert "read failed" in text_of(signed_in(owner), "/assets/")


def test_removing_asks_for_the_name(
    environment: Environment, owner: Any, signed_in: Callable[[Any], Client]
) -> None:
    client = signed_in(owner)
    assert "Type <b>dev</b>" in text_of(client, "/environments/dev/remove/")
    assert client.post("/environments/dev/remove/", {"confirm": "prod"}).status_code == 422
    services.request_reading(environment, actor=owner)
    refused = client.post("/environments/dev/remove/", {"confirm": "dev"})
    assert refused.status_code == 409
    assert "A job is at work here" in refused.content.decode()
    Job.objects.all().delete()
    assert client.post("/environments/dev/remove/", {"confirm": "dev"})["Location"] == "/environments/"
    assert not Environment.objects.exists()


# --- assets -----------------------------------------------------------------------------------------


@pytest.fixture
def estate(viewer: Any, signed_in: Callable[[Any], Client]) -> Client:
    dev, prod = make_environment("dev"), make_environment("prod", protected=True)
    for one in (dev, prod):
        make_estate(one, dashboards=2, charts=30)
        one.inventory_at = one.created_at
        one.save()
    make_asset(
        dev, "chart", "Ёлочные игрушки", owners=[{"name": "Анна Иванова", "email": "anna@example.org"}]
    )
    return signed_in(viewer)


def titles(page: str) -> list[str]:
    import re

    return re.findall(r'<th scope="row" class="col-name"><a [^>]*>([^<]*)</a>', page)


def test_fifty_on_a_page_and_numbered_pages(estate: Client) -> None:
    page = text_of(estate, "/assets/")
    assert len(titles(page)) == 50
    assert "1–50 of 131" in " ".join(page.split())
    assert len(titles(text_of(estate, "/assets/?page=3"))) == 31


@pytest.mark.parametrize("page", ["999", "0", "-1", "abc", ""])
def test_a_page_that_is_not_there_is_the_nearest_one(estate: Client, page: str) -> None:
    assert titles(text_of(estate, f"/assets/?page={page}"))


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("type=dashboard", 4),
        ("type=dashboard&env=prod", 2),
        ("q=revenue 1.2", 22),
        ("q=SALES-1", 2),  # the slug
        ("q=елочные", 1),
        ("q=ЁЛОЧНЫЕ ИГР", 1),
        ("q=anna@example.org", 1),
        ("owner=иванова", 1),
        ("q=nothing-like-that", 0),
        ("env=nowhere", 0),
    ],
)
def test_the_address_alone_gives_the_rows(estate: Client, query: str, count: int) -> None:
    page = text_of(estate, f"/assets/?{query}")
    assert len(titles(page)) == count
    if not count:
        assert "No asset matches" in page
        assert "Clear" in page


def test_by_what_is_used(estate: Client) -> None:
    dataset = Asset.objects.get(title="sales_fact_1", environment__slug="dev")
    board = Asset.objects.get(title="Sales 2", environment__slug="dev")
    assert len(titles(text_of(estate, f"/assets/?env=dev&dataset={dataset.uuid}"))) == 30
    found = titles(text_of(estate, f"/assets/?env=dev&dashboard={board.uuid}"))
    assert len(found) == 30
    assert all(title.startswith("Revenue 2.") for title in found)


@pytest.mark.parametrize("bad", ["type=slice", "sort=password", "dashboard=x", "page=zz"])
def test_bad_values_give_a_page(estate: Client, bad: str) -> None:
    assert estate.get(f"/assets/?{bad}").status_code == 200


@pytest.mark.parametrize("bad", ["page=%00", "q=%00"])
def test_what_no_database_keeps_is_refused(estate: Client, bad: str) -> None:
    assert estate.get(f"/assets/?{bad}").status_code == 400


def test_sorting_both_ways_and_pages_do_not_overlap(estate: Client) -> None:
    for sort in ("title", "-title", "type", "-env", "owner", "-changed"):
        seen = [Asset.objects.none()]
        rows: list[str] = []
        for page in (1, 2, 3):
            response = estate.get(f"/assets/?sort={sort}&page={page}")
            rows += [str(asset.pk) for asset in response.context["page"].object_list]
        assert len(rows) == len(set(rows)) == 131, (sort, seen)
    assert titles(text_of(estate, "/assets/?sort=title"))[:2] == ["DWH", "DWH"]
    assert titles(text_of(estate, "/assets/?sort=-title"))[0] == "Ёлочные игрушки"


def test_the_number_of_queries_does_not_grow_with_rows(estate: Client) -> None:
    def queries(url: str) -> int:
        with CaptureQueriesContext(connection) as captured:
            text_of(estate, url)
        return len(captured)

    queries("/assets/")
    assert queries("/assets/") == queries("/assets/?type=dashboard")


def test_htmx_gets_the_table_alone_with_count_and_sort(estate: Client) -> None:
    response = estate.get("/assets/?type=dashboard&sort=-changed", **HTMX)
    fragment = response.content.decode()
    assert fragment.lstrip().startswith('<div id="assets">')
    assert "4 assets" in fragment  # for screen readers
    assert '<input type="hidden" name="sort" value="-changed" id="id_sort" hx-swap-oob="true">' in fragment
    assert "HX-Request" in response["Vary"]
    assert "<html" in text_of(
        estate, "/assets/?type=dashboard", HTTP_HX_HISTORY_RESTORE_REQUEST="true", **HTMX
    )


def test_hostile_titles_are_text(estate: Client) -> None:
    make_asset(Environment.objects.get(slug="dev"), "chart", '"><img src=x onerror=alert(1)>')
    page = text_of(estate, "/assets/?q=onerror")
    assert "<img src=x" not in page
    assert "&lt;img src=x" in page


def test_checked_assets_go_to_a_new_migration_by_key(author: Any, signed_in: Callable[[Any], Client]) -> None:

    dev = make_environment("dev")
    dev.inventory_at = dev.created_at
    dev.save()
    chart = make_asset(dev, "chart", "A")
    make_asset(dev, "database", "DWH")
    page = text_of(signed_in(author), "/assets/")
    assert f'name="asset" value="dev:chart:{chart.uuid}"' in page
    assert page.count('name="asset"') == 1  # connections are mapped, not moved


# --- to Superset ------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", ["http://superset.test", "https://example.org/analytics"])
def test_go_leads_to_the_asset_by_the_id_it_has_now(
    viewer: Any, signed_in: Callable[[Any], Client], base: str
) -> None:
    dev = make_environment("dev", url=base)
    chart = make_asset(dev, "chart", "A", superset_id=7, url_path="/explore/?slice_id=7")
    client = signed_in(viewer)
    url = f"/go/dev/chart/{chart.uuid}/"
    assert client.get(url)["Location"] == f"{base}/explore/?slice_id=7"
    Asset.objects.update(superset_id=8, url_path="/explore/?slice_id=8")
    assert client.get(url)["Location"] == f"{base}/explore/?slice_id=8"
    assert client.get(f"/go/dev/dashboard/{chart.uuid}/").status_code == 404
    assert client.get("/go/dev/chart/none/").status_code == 404
    assert client.get(f"/go/prod/chart/{chart.uuid}/").status_code == 404


def test_paths_are_those_of_superset(
    environment: Environment, viewer: Any, signed_in: Callable[[Any], Client]
) -> None:
    services.run_reading(environment)
    paths = {asset.kind: asset.url_path for asset in Asset.objects.all()}
    assert paths["dashboard"].startswith("/superset/dashboard/")
    assert paths["chart"].startswith("/explore/?slice_id=")
    assert paths["dataset"].startswith("/explore/?datasource_type=table&datasource_id=")


def test_the_overview_counts(
    environment: Environment, owner: Any, signed_in: Callable[[Any], Client]
) -> None:
    services.run_reading(environment)
    page = text_of(signed_in(owner), "/")
    assert "in all inventories" in page
    assert ">11<" in page
