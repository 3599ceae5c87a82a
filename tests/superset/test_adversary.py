"""A Superset, or what answers in its place, that sends nonsense: told in words, bounded, and fit to be written down."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from environments.superset.answer import Answer
from environments.superset.auth import PasswordAuth
from environments.superset.client import SupersetClient
from environments.superset.errors import SupersetError, SupersetRefused
from environments.superset.rows import moment
from environments.words import cleaned
from sstools.audit.redact import redact
from tests.fakes.superset import FakeSuperset

UUID = "aaaaaaaa-1111-4111-8111-000000000001"


@pytest.fixture
def fake() -> FakeSuperset:
    return FakeSuperset()


@pytest.fixture
def client(fake: FakeSuperset) -> Iterator[SupersetClient]:
    with SupersetClient(fake.url, PasswordAuth("admin", "admin"), transport=fake) as made:
        made._sleep = lambda seconds: None
        yield made


def answers(fake: FakeSuperset, *rows: Any, count: Any = None) -> None:
    body = {"count": len(rows) if count is None else count, "result": list(rows)}
    fake.misbehave("GET", "/api/v1/chart/", httpx.Response(200, json=body), times=None)


@pytest.mark.parametrize(
    "row",
    [
        {"id": "one", "uuid": UUID},
        {"id": 2**70, "uuid": UUID},
        {"id": -1, "uuid": UUID},
        {"id": True, "uuid": UUID},
        {"id": None, "uuid": UUID},
        {"id": 1, "uuid": UUID, "dashboards": [7]},
        {"id": 1, "uuid": UUID, "dashboards": [{"id": "x"}]},
        {"id": 1, "uuid": UUID, "datasource_id": {}},
        {"id": 1, "uuid": UUID, "tags": ["x"]},
        {"id": 1, "uuid": UUID, "owners": 7},
        "a text",
    ],
    ids=str,
)
def test_rows_of_another_shape_are_no_supersets(fake: FakeSuperset, client: SupersetClient, row: Any) -> None:
    answers(fake, row)
    with pytest.raises(SupersetRefused) as refused:
        client.list_charts()
    assert refused.value.code == "not_superset"


@pytest.mark.parametrize("count", [10**15, 10**300, -1, 1.5, True, "7"], ids=str)
def test_a_count_that_lies_costs_neither_memory_nor_hours(
    fake: FakeSuperset, client: SupersetClient, count: Any
) -> None:
    answers(fake, {"id": 1, "uuid": UUID}, count=count)
    with pytest.raises(SupersetError):
        client.list_charts()
    assert len(fake.requests) < 10


def test_uuids_in_capital_letters_are_the_same_uuids(fake: FakeSuperset, client: SupersetClient) -> None:
    answers(fake, {"id": 1, "uuid": UUID.upper()})
    assert client.list_charts()[0].uuid == UUID


@pytest.mark.parametrize(
    "text",
    [
        "9999-12-31T23:59:59-12:00",
        "0001-01-01T00:00:00+12:00",
        "9999-12-31T00:00:00",
        "0001-01-01T00:00:00",
        "x",
    ],
)
def test_times_beyond_all_calendars_are_unknown(text: str) -> None:
    assert moment(text) is None


def test_a_clock_beyond_all_calendars_is_unknown() -> None:
    for text in ("Fri, 31 Dec 9999 23:59:59 -1200", "Fri, 31 Dec 9998 00:00:00 GMT", "x"):
        assert Answer(200, {"date": text}, b"").date is None
    real = Answer(200, {"date": "Mon, 23 Nov 2026 06:00:00 GMT"}, b"").date
    assert real == datetime(2026, 11, 23, 6, tzinfo=UTC)


def test_messages_hold_only_what_a_database_keeps(fake: FakeSuperset, client: SupersetClient) -> None:
    """PostgreSQL takes neither NUL nor half of a surrogate pair: a run could not even say why it failed."""
    body = b'{"errors": [{"message": "a\\u0000b\\ud800", "extra": {"x\\u0000": "y\\u0000\\ud800"}}]}'
    headers = {"content-type": "application/json"}
    fake.misbehave("GET", "/api/v1/chart/", httpx.Response(422, content=body, headers=headers), times=None)
    with pytest.raises(SupersetError) as refused:
        client.list_charts()
    told = repr((refused.value.message, refused.value.detail))
    assert "ab?" in told
    assert "\\x00" not in told
    assert "\\ud800" not in told


def test_what_is_written_down_holds_only_what_a_database_keeps() -> None:
    nasty = {"a\0": ["b\0", {"c": "\ud800"}], "n": 1, "none": None}
    for function in (cleaned, redact):
        assert function(nasty) == {"a": ["b", {"c": "?"}], "n": 1, "none": None}
