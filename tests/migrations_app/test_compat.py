"""`manage.py compat` on Supersets in this process: what it tells, its codes, and that it leaves nothing behind."""

from __future__ import annotations

import io
import json
from typing import Any

import httpx
import pytest
from django.core.management import call_command

from environments.superset.auth import PasswordAuth
from environments.superset.client import SupersetClient
from migrations_app.compat.round_trip import choose_connection
from migrations_app.management.commands import compat
from tests.fakes.superset import FakeSuperset

PASSWORD = "a secret that nobody may read 7"


def _fake(version: str = "6.1.0") -> FakeSuperset:
    fake = FakeSuperset(version)
    fake.users["admin"] = PASSWORD
    database = fake.add_database("Warehouse", uri="sqlite:///x.db")
    orders = fake.add_dataset("orders", database=database, columns=[{"column_name": "a", "type": "INTEGER"}])
    fake.add_dashboard("Sales", charts=[fake.add_chart("Revenue", dataset=orders)])
    return fake


def _run(fake: FakeSuperset, monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[int, str]:
    monkeypatch.setenv(compat.PASSWORD_VARIABLE, PASSWORD)

    def client(url: str, auth: Any, **options: Any) -> SupersetClient:
        return SupersetClient(url, auth, transport=fake)

    monkeypatch.setattr(compat, "SupersetClient", client)
    out, code = io.StringIO(), 0
    try:
        call_command("compat", "--url", fake.url, *words, stdout=out)
    except SystemExit as end:
        code = int(str(end.code))
    assert PASSWORD not in out.getvalue()
    return code, out.getvalue()


def _states(out: str) -> dict[tuple[str, str], str]:
    return {(line["group"], line["name"]): line["state"] for line in json.loads(out)["lines"]}


@pytest.mark.parametrize("version", ["6.1.0", "4.1.4"])
def test_it_reads_only_and_says_what_is_there(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = _fake(version)
    code, out = _run(fake, monkeypatch, "--json")
    body, states = json.loads(out), _states(out)
    assert (body["version"], body["tested"]) == (version, True)
    assert fake.writes == []
    assert states["reading", "exports"] == states["reading", "fields of datasets"] == "ok"
    assert code == body["exit_code"] == {"compatible": 0, "failed": 1, "differs": 2}[body["result"]] != 1
    assert {line["group"] for line in body["lines"]} == {
        "connection",
        "capabilities",
        "reading",
        "companions",
    }


@pytest.mark.parametrize("version", ["6.1.0", "4.1.4"])
def test_told_to_write_it_brings_its_own_there_and_takes_them_away(
    version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = _fake(version)
    before = {kind: set(rows) for kind, rows in fake.assets.items()}
    _, out = _run(fake, monkeypatch, "--write", "--json")
    states = _states(out)
    assert states["round trip", "written"] == states["round trip", "read back"] == "ok", out
    assert states["round trip", "membership_replaced"] == "ok"  # by each release's own way
    assert states["round trip", "removed"] == "ok"
    assert {kind: set(rows) for kind, rows in fake.assets.items()} == before
    # What goes wrong in the middle leaves nothing behind either.
    fake.misbehave("GET", "/api/v1/dashboard/export/", httpx.Response(500, json={}), times=None)
    _, out = _run(fake, monkeypatch, "--write", "--json")
    assert {kind: set(rows) for kind, rows in fake.assets.items()} == before


def test_what_is_not_as_known_is_told_and_code_2(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = _fake("7.0.0")
    dataset = next(iter(fake.assets["dataset"].values()))["data"]
    dataset["semantic_layer"] = "x"
    dataset["columns"][0]["unit"] = "EUR"
    next(iter(fake.assets["chart"].values()))["data"]["viz_type"] = "our_own"
    code, out = _run(fake, monkeypatch)
    assert code == 2
    assert "Superset 7.0.0 at" in out
    assert "not among the tested ones" in out
    assert "not known here: columns.unit, semantic_layer" in out
    assert "not known here: our_own" in out


def test_who_cannot_sign_in_is_told_and_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    code, out = _run(_fake(), monkeypatch, "--username", "nobody")
    assert code == 1
    assert "must be mended first" in out


def test_without_a_password_and_nobody_to_ask_it_says_which_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(compat.PASSWORD_VARIABLE, raising=False)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    out = io.StringIO()
    with pytest.raises(SystemExit) as end:
        call_command("compat", "--url", "http://127.0.0.1:9", stdout=out)
    assert (end.value.code, compat.PASSWORD_VARIABLE in out.getvalue()) == (1, True)


def test_which_connection_is_used_is_never_guessed() -> None:
    fake = _fake()
    fake.add_database("Second", uri="sqlite:///y.db")
    with SupersetClient(fake.url, PasswordAuth("admin", PASSWORD), transport=fake) as client:
        said = choose_connection(client)
        assert isinstance(said, str)
        assert "“Second”" in said
        assert not isinstance(choose_connection(client, "Second"), str)
        assert "no connection “Third”" in str(choose_connection(client, "Third"))
