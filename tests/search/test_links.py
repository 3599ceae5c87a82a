"""Addresses copied out of a browser that shows Superset."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from environments.models import Asset
from environments.search.links import page_of, resolve
from sstools.resources import resource_name
from tests.factories import make_asset, make_environment, uuid_for

pytestmark = pytest.mark.django_db
SALES = uuid_for("Sales")


@pytest.fixture(autouse=True)
def estate(db: None) -> None:
    """Two instances below one host, one of them within the path of the other, and one of its own."""
    for slug, url in (
        ("prod", "https://bi.example.org"),
        ("dev", "https://bi.example.org/team/dev"),
        ("lab", "http://127.0.0.1:8088"),
    ):
        environment = make_environment(slug, url=url)
        numbers = {"prod": 100, "dev": 200, "lab": 300}[slug]
        make_asset(environment, "dashboard", "Sales", slug="sales", superset_id=numbers + 1)
        make_asset(environment, "chart", "Revenue", superset_id=numbers + 2)
        make_asset(environment, "dataset", "orders", superset_id=numbers + 3)
        make_asset(environment, "database", "DWH", superset_id=numbers + 4)


@pytest.mark.parametrize(
    ("address", "environment", "title"),
    [
        ("https://bi.example.org/superset/dashboard/101/", "prod", "Sales"),
        (
            f"https://BI.example.org:443/superset/dashboard/{SALES.upper()}/?native_filters_key=x",
            "prod",
            "Sales",
        ),
        ("https://bi.example.org/superset/dashboard/sales/?standalone=1#TAB-1", "prod", "Sales"),
        ("http://bi.example.org/superset/dashboard/101", "prod", "Sales"),
        ("bi.example.org/superset/dashboard/101/", "prod", "Sales"),
        ("https://bi.example.org/team/dev/superset/dashboard/201/", "dev", "Sales"),
        ("https://bi.example.org/team/dev/explore/?slice_id=202&force=true", "dev", "Revenue"),
        ("http://127.0.0.1:8088/explore/?form_data_key=abc&slice_id=302", "lab", "Revenue"),
        ("http://127.0.0.1:8088/superset/explore/?form_data=%7B%22slice_id%22%3A302%7D", "lab", "Revenue"),
        ("http://127.0.0.1:8088/superset/slice/302/", "lab", "Revenue"),
        ("http://127.0.0.1:8088/explore/?datasource_type=table&datasource_id=303", "lab", "orders"),
        ("http://127.0.0.1:8088/explore/?datasource=303__table", "lab", "orders"),
        ("http://127.0.0.1:8088/tablemodelview/edit/303", "lab", "orders"),
        ("http://127.0.0.1:8088/api/v1/database/304", "lab", "DWH"),
    ],
)
def test_an_address_leads_to_its_asset(
    viewer: Any, signed_in: Callable[[Any], Client], address: str, environment: str, title: str
) -> None:
    link = resolve(viewer, address)
    assert link is not None
    assert link.asset is not None, link.reason
    assert (link.asset.environment.slug, link.asset.title) == (environment, title)
    response = signed_in(viewer).get("/search/", {"q": f" {address} "})
    assert (response.status_code, response["Location"]) == (302, page_of(link.asset))


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("https://elsewhere.example.org/superset/dashboard/101/", "No environment"),
        ("https://bi.example.org:8443/superset/dashboard/101/", "No environment"),
        ("https://bi.example.org/superset/dashboard/999/", "id 999"),
        ("https://bi.example.org/superset/dashboard/no-such/", "slug no-such"),
        ("https://bi.example.org/explore/p/kLmN/", "permalink"),
        ("https://bi.example.org/superset/dashboard/p/kLmN/", "permalink"),
        ("https://bi.example.org/team/dev/superset/explore/p/x/?a=b", "permalink"),
        ("https://bi.example.org/explore/?form_data_key=abc", "not saved"),
        ("https://bi.example.org/explore/?form_data=[", "not saved"),
        ("https://bi.example.org/explore/?slice_id=%C2%B2", "not saved"),
        ("https://bi.example.org/sqllab/?id=1", "SQL Lab"),
        ("https://bi.example.org/dashboard/list/?pageIndex=0", "a list"),
        ("https://bi.example.org/", "a list"),
        ("https://bi.example.org/users/1", "no page"),
        ("https://bi.example.org/chart/99999999999999999999", "no page"),
    ],
)
def test_an_address_that_leads_nowhere_says_why(
    viewer: Any, signed_in: Callable[[Any], Client], address: str, reason: str
) -> None:
    link = resolve(viewer, address)
    assert link is not None
    assert link.asset is None
    assert reason in link.reason
    page = signed_in(viewer).get("/search/", {"q": address})
    assert page.status_code == 200
    assert reason in page.content.decode()
    assert reason in signed_in(viewer).get("/search/palette/", {"q": address}).content.decode()


@pytest.mark.parametrize(
    "text", ["sales", "sales/2026", "dwh.orders", "http:/x", "https://[::1", "https://x:port/", "a b/c"]
)
def test_words_are_no_address(viewer: Any, signed_in: Callable[[Any], Client], text: str) -> None:
    link = resolve(viewer, text)
    assert link is None or link.reason.startswith("No environment")
    assert signed_in(viewer).get("/search/", {"q": text}).status_code == 200


def test_an_address_of_what_one_may_not_see_is_like_one_that_nobody_has(
    make_user: Callable[..., Any],
) -> None:
    prod = Asset.objects.get(superset_id=101).environment
    outsider = make_user("outsider", "viewer", on=resource_name(make_environment("zoo")))
    link, unknown = (
        resolve(outsider, f"{url}/superset/dashboard/101/")
        for url in (prod.url, "https://nobody.example.org")
    )
    assert link == unknown
