"""Commits and backups stand in an asset's line of time, and any two contents are compared."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from environments.backups.taking import Asked, take
from migrations_app.git.models import Repository
from tests.factories import uuid_for
from tests.fakes.pair import FakePair

from .test_services import ALL, commit, edit

Work = Callable[..., dict[str, Any]]


@pytest.mark.django_db
def test_commits_and_backups_that_hold_another_content_are_in_one_line_of_time(
    pair: FakePair, repository: Repository, author: Any, work: Work, signed_in: Any, api: Any
) -> None:
    revenue = uuid_for("Revenue")
    first = work(commit(repository, pair, author, ALL, message="First"))
    backup = take(pair.source, Asked())
    edit(pair, "Regions", description="Where")
    work(commit(repository, pair, author, [uuid_for("Regions")], message="Of another chart"))
    edit(pair, "Revenue", slice_name="Net revenue")
    second = work(commit(repository, pair, author, [revenue], message="Net"))
    take(pair.source, Asked())
    client = signed_in(author)
    page = client.get(f"/charts/{revenue}/history/").content.decode()
    places = [f"git:bi@{first['commit']}", f"git:bi@{second['commit']}", backup.place]
    for place in places:
        assert page.count(f'value="{place}"') == 2, place
    assert "“First”" in page
    assert "Of another chart" not in page
    listed = api(author).get(f"/api/v1/assets/charts/{revenue}/history/").json()
    assert {event["place"] for event in listed} >= set(places)
    assert [event["environment"] for event in listed if event["what"] == "commit"] == [None, None]
    (address,) = re.findall(r'<form method="get" action="(/compare/[^"]+)"', page)
    for left, right in ((places[1], places[0]), (places[1], places[2]), (places[0], "env:dev")):
        shown = client.get(address, {"left": left, "right": right})
        assert shown.status_code == 200, left
        assert "Net revenue" in shown.content.decode()
    # The same two by REST: the list, the asset, and the lines of its text.
    rest, two = api(author), {"left": places[1], "right": places[0]}
    rows = rest.get("/api/v1/comparisons/", two).json()["results"]
    assert {(row["title"], row["state"]) for row in rows} >= {
        ("Net revenue", "changed"),
        ("Regions", "changed"),
    }
    detail = rest.get(f"/api/v1/comparisons/chart/{revenue}/", two).json()
    assert "Net revenue" in str(detail["changes"])
    lines = client.get(f"/compare/chart/{revenue}/changes.diff", two)
    assert "+slice_name: Net revenue" in lines.content.decode()
    only = client.get(f"/charts/{revenue}/history/?env=dev").content.decode()
    assert ("“First”" in only, backup.place in only) == (False, True)
