"""Texts that no database keeps are refused at the door, by pages and API, and not by the database with a 500."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from tests.factories import make_environment, make_estate, make_migration, make_plan, uuid_for

pytestmark = pytest.mark.django_db
NUL, HALF = "a\\u0000b", "\\ud800"


@pytest.mark.parametrize("text", [NUL, HALF, "[" * 100 + "]" * 100], ids=["NUL", "half a pair", "deep"])
@pytest.mark.parametrize(
    "body",
    [
        '{"source": "TEXT", "target": "prod", "selection": ["x"]}',
        '{"source": "dev", "target": "prod", "selection": ["x"], "map": {"TEXT": "x"}}',
        '{"TEXT": 1}',
    ],
)
def test_the_api_refuses_them(api: Callable[[Any], APIClient], author: Any, text: str, body: str) -> None:
    make_environment("dev")
    make_environment("prod")
    sent = (
        body.replace("TEXT", text) if "[" not in text else body.replace('"x"', text).replace("1}", text + "}")
    )
    answer = api(author).generic("POST", "/api/v1/migrations/", sent, content_type="application/json")
    assert answer.status_code == 400, answer.content
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_pages_refuse_them(signed_in: Callable[[Any], Client], author: Any) -> None:
    dev, prod = make_environment("dev"), make_environment("prod")
    make_estate(dev)
    migration = make_migration(dev, prod)
    make_plan(migration)
    client = signed_in(author)
    select = f"/migrations/{migration.number}/select/"
    form = {"source": "dev", "target": "prod", "source_before": "dev", "shown": "", "basket": "a\0b"}
    answers = [
        client.post("/migrations/new/", form),
        client.post(select, {"shown": "a\0b"}),
        client.post(select, {"a\0b": "1"}),
        client.get("/jobs/?q=%00"),
    ]
    assert [answer.status_code for answer in answers] == [400] * 4
    assert b"NUL" in answers[0].content
    assert client.post("/migrations/new/", {**form, "basket": uuid_for("Sales 1")}).status_code == 200
