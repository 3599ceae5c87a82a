"""Reading the history: pages, files, REST, commands; and taking the oldest of it out."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from sstools.audit import services
from sstools.audit.models import AuditEvent
from sstools.errors import Conflict
from tests.factories import make_environment

pytestmark = pytest.mark.django_db


def event(actor: Any = None, action: str = "thing:change", obj: Any = "thing:1", **data: Any) -> AuditEvent:
    return services.record(action, obj, actor=actor, data=data, source="page")


def aged(number: int, days: int) -> None:
    """As if written so long ago: by SQL, and hashed anew from there on."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE audit_auditevent SET at = %s WHERE number <= %s",
            [timezone.now() - timedelta(days=days), number],
        )
    before = services.GENESIS
    for row in AuditEvent.objects.order_by("number"):
        row.prev_hash = before
        before = services.event_hash(row)
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE audit_auditevent SET prev_hash = %s, hash = %s WHERE number = %s",
                [row.prev_hash, before, row.number],
            )
    with connection.cursor() as cursor:
        cursor.execute("UPDATE audit_auditchain SET last_hash = %s", [before])
    assert list(services.broken_links()) == []


def numbers(answer: Any) -> list[int]:
    return [row["number"] for row in answer.json()["results"]]


# --- Who sees what ------------------------------------------------------------------------------------------------


def test_an_author_is_told_which_right_is_missing(signed_in: Any, api: Any, author: Any) -> None:
    for answer in (signed_in(author).get("/audit/"), api(author).get("/api/v1/audit/")):
        assert answer.status_code == 403
        assert "audit:view" in answer.content.decode()


def test_who_may_see_the_history_of_one_environment_sees_that_and_no_more(make_user: Any, api: Any) -> None:
    dev, prod = make_environment("dev"), make_environment("prod")
    lead = make_user("lead", "release_lead", on=f"environment:{dev.uuid}")
    mine, theirs = event(obj=dev), event(obj=prod)
    everywhere = event(obj="keys:fields")
    client = api(lead)
    shown = numbers(client.get("/api/v1/audit/"))
    assert mine.number in shown
    assert not {theirs.number, everywhere.number} & set(shown)
    assert client.get(f"/api/v1/audit/{theirs.number}/").status_code == 404
    assert client.get(f"/api/v1/audit/{mine.number}/").status_code == 200


# --- Finding ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("?actor=author", {1}),
        ("?actor=ss-tools", {2, 3}),
        ("?action=run", {2}),
        ("?action=run:applied", {2}),
        ("?action=ru", set()),
        ("?object=thing:2", {3}),
        ("?q=thing:2", {3}),
        ("?q=author", {1}),
        ("?since=2999-01-01", set()),
        ("?since=2026-06-31", set()),
        ("?until=not a day", set()),
        ("?until=2999-01-01", {1, 2, 3}),
    ],
)
def test_filters(api: Any, author: Any, admin: Any, query: str, found: set[int]) -> None:
    event(author)
    event(None, "run:applied")
    event(None, obj="thing:2")
    assert set(numbers(api(admin).get(f"/api/v1/audit/{query}"))) & {1, 2, 3} == found


def test_a_day_is_one_of_the_readers_time_zone(admin: Any, api: Any, settings: Any) -> None:
    event()
    today = timezone.localdate()
    assert 1 in numbers(api(admin).get(f"/api/v1/audit/?since={today}&until={today}"))
    assert 1 not in numbers(api(admin).get(f"/api/v1/audit/?until={today - timedelta(days=1)}"))


def test_the_page_shows_changes_with_before_and_after(signed_in: Any, admin: Any) -> None:
    event(
        admin, before={"name": "Dev", "url": "x"}, after={"name": "Development", "url": "x"}, because="moved"
    )
    text = signed_in(admin).get("/audit/").content.decode()
    assert "Development" in text
    assert "because" in text
    assert text.count("<dt>url</dt>") == 0  # did not change


def test_a_page_costs_the_same_whatever_there_is(
    signed_in: Any, admin: Any, django_assert_max_num_queries: Any
) -> None:
    for number in range(120):
        event(admin, obj=f"thing:{number}")
    client = signed_in(admin)
    with django_assert_max_num_queries(14):
        text = client.get("/audit/?page=2").content.decode()
    assert "51–100 of" in text


def test_an_event_says_where_it_came_from(signed_in: Any, admin: Any, make_user: Any) -> None:
    from django.test import Client

    make_user("ann")
    client = Client(REMOTE_ADDR="10.1.2.3")
    client.post("/login/", {"username": "ann", "password": "a long password 1"})
    found = AuditEvent.objects.get(action="session:start")
    assert (found.address, found.actor_name, bool(found.request_id)) == ("10.1.2.3", "ann", True)


# --- Files --------------------------------------------------------------------------------------------------------


def test_json_lines_can_be_proved_without_ss_tools(signed_in: Any, admin: Any) -> None:
    event(admin, obj=make_environment("dev"), text="жук ü")
    event(admin, name="=1+1")
    answer = signed_in(admin).get("/audit/export.jsonl")
    rows = [json.loads(line) for line in b"".join(answer.streaming_content).decode().splitlines()]
    assert [row["number"] for row in rows] == [1, 2, 3, 4]  # signing in and the export are events too
    before = services.GENESIS
    for row in rows:
        values = [
            row[name]
            for name in (
                "prev_hash",
                "number",
                "at",
                "actor_id",
                "actor_name",
                "source",
                "action",
                "object_name",
            )
        ]
        values += [row["object_label"], row["data"], row["request_id"]]
        if more := {name: row[name] for name in ("address", "job", "concerns") if row[name]}:
            values.append(more)
        text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert row["hash"] == hashlib.sha256(text.encode()).hexdigest()
        assert row["prev_hash"] == before
        before = row["hash"]


def test_csv_holds_what_the_filters_leave_and_no_formula(signed_in: Any, admin: Any) -> None:
    event(admin, "thing:change", "=cmd|' /C calc'!A0")
    event(admin, "other:change")
    answer = signed_in(admin).get("/audit/export.csv?action=thing")
    assert "attachment" in answer["Content-Disposition"]
    text = b"".join(answer.streaming_content).decode()
    (row,) = list(csv.DictReader(io.StringIO(text.lstrip("\ufeff"))))
    assert row["object_name"] == "'=cmd|' /C calc'!A0"


def test_an_export_of_one_environment_holds_nothing_else(make_user: Any, signed_in: Any) -> None:
    dev, prod = make_environment("dev"), make_environment("prod")
    event(obj=dev)
    event(obj=prod)
    lead = make_user("lead", "release_lead", on=f"environment:{dev.uuid}")
    text = b"".join(signed_in(lead).get("/audit/export.jsonl").streaming_content).decode()
    assert str(prod.uuid) not in text
    assert str(dev.uuid) in text


# --- Proving, and taking out --------------------------------------------------------------------------------------


def verify(capsys: Any, *args: str) -> tuple[int, str]:
    code = 0
    try:
        call_command("verify_audit", *args)
    except SystemExit as exc:
        code = int(str(exc.code))
    return code, capsys.readouterr().out


def test_a_row_changed_by_sql_is_named(capsys: Any, author: Any) -> None:
    for _ in range(3):
        event(author)
    assert verify(capsys)[0] == 0
    with connection.cursor() as cursor:
        cursor.execute("UPDATE audit_auditevent SET address = '6.6.6.6' WHERE number = 2")
    code, text = verify(capsys)
    assert code == 1
    assert "event 2: thing:change was changed" in text


def test_events_that_changed_places_are_named(capsys: Any, author: Any) -> None:
    for _ in range(4):
        event(author)
    with connection.cursor() as cursor:
        for old, new in ((2, 1000), (3, 2), (1000, 3)):
            cursor.execute("UPDATE audit_auditevent SET number = %s WHERE number = %s", [new, old])
    code, text = verify(capsys, "--json")
    assert code == 1
    assert {place["event"] for place in json.loads(text)["broken"]} >= {2, 3}


def test_a_head_that_was_noted_down_proves_a_rewritten_history_wrong(capsys: Any, author: Any) -> None:
    for _ in range(3):
        event(author)
    noted = str(services.head())
    aged(2, 1)  # every hash is made anew: the chain fits together
    assert verify(capsys)[0] == 0
    code, text = verify(capsys, "--head", noted)
    assert code == 1
    assert "history was rewritten" in text
    with pytest.raises(CommandError):
        call_command("verify_audit", "--head", "3")


def test_the_oldest_is_taken_out_and_what_stays_is_still_proved(
    capsys: Any, tmp_path: Path, author: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "SEAL_STEP", 2)
    for _ in range(6):
        event(author)
    aged(5, 100)
    file = tmp_path / "old.jsonl"
    call_command("seal_audit", "--days", "90", "--to", str(file))
    assert [json.loads(line)["number"] for line in file.read_text().splitlines()] == [1, 2, 3, 4, 5]
    assert file.stat().st_mode & 0o077 == 0
    assert list(AuditEvent.objects.order_by("number").values_list("number", flat=True))[:1] == [6]
    assert verify(capsys)[0] == 0
    with connection.cursor() as cursor:  # more was taken out behind our back
        cursor.execute("DELETE FROM audit_auditevent WHERE number = 6")
    assert "event 6 is missing" in verify(capsys)[1]


def test_a_seal_that_nobody_set_is_named(capsys: Any, author: Any) -> None:
    for _ in range(3):
        event(author)
    first = AuditEvent.objects.get(number=1)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM audit_auditevent WHERE number = 1")
        cursor.execute("UPDATE audit_auditchain SET sealed_number = 1, sealed_hash = %s", [first.hash])
    code, text = verify(capsys)
    assert code == 1
    assert "not the seal" in text


def test_a_broken_history_is_evidence_and_stays(author: Any) -> None:
    for _ in range(3):
        event(author)
    aged(3, 100)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE audit_auditevent SET actor_name = 'x' WHERE number = 1")
    with pytest.raises(Conflict, match="broken at event 1"):
        services.seal(timezone.now() - timedelta(days=1), actor=None)
    assert AuditEvent.objects.count() == 3


def test_a_file_that_is_there_is_not_overwritten(tmp_path: Path, author: Any) -> None:
    event(author)
    file = tmp_path / "old.jsonl"
    file.write_text("mine")
    with pytest.raises(CommandError, match="Nothing was taken out"):
        call_command("seal_audit", "--days", "1", "--to", str(file))
    assert file.read_text() == "mine"
