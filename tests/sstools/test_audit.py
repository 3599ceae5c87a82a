"""History: append-only, chained, and without secrets."""

import threading

import pytest
from django.db import connection, connections

from sstools import logs
from sstools.audit import services
from sstools.audit.models import AppendOnly, AuditChain, AuditEvent
from sstools.audit.redact import redact, redact_text

pytestmark = pytest.mark.django_db


def test_a_line_says_who_did_what_to_which_object_and_from_where(author):
    token = logs.request_id.set("request-1")
    try:
        event = services.record("environment:edit", author, actor=author, data={"name": "Prod"}, source="api")
    finally:
        logs.request_id.reset(token)
    event.refresh_from_db()
    assert (event.number, event.action, event.actor_name, event.source) == (
        1,
        "environment:edit",
        "author",
        "api",
    )
    assert (event.object_name, event.object_label) == (f"user:{author.pk}", "author")
    assert (event.data, event.request_id) == ({"name": "Prod"}, "request-1")


def test_history_is_neither_changed_nor_deleted(author):
    event = services.record("a:b", "thing:1", actor=author)
    event.action = "c:d"
    for forbidden in (
        event.save,
        event.delete,
        AuditEvent.objects.all().delete,
        lambda: AuditEvent.objects.update(action="c:d"),
    ):
        with pytest.raises(AppendOnly):
            forbidden()


def test_deleting_a_user_leaves_history_alone(author):
    services.record("a:b", "thing:1", actor=author)
    author.delete()
    assert AuditEvent.objects.get().actor_name == "author"
    assert list(services.broken_links()) == []


def test_a_whole_chain_has_no_broken_link(author):
    for n in range(5):
        services.record("a:b", f"thing:{n}", actor=author, data={"n": n, "text": "жук ü"})
    assert list(services.broken_links()) == []


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("UPDATE audit_auditevent SET actor_name = 'somebody else' WHERE number = 2", (2, "changed after")),
        ("DELETE FROM audit_auditevent WHERE number = 2", (2, "event 2 is missing")),
        ("DELETE FROM audit_auditevent WHERE number = 3", (3, "the end of the history is missing")),
    ],
)
def test_what_was_changed_behind_our_back_is_found(author, sql, found):
    for n in range(3):
        services.record("a:b", f"thing:{n}", actor=author)
    with connection.cursor() as cursor:
        cursor.execute(sql)
    number, text = next(services.broken_links())
    assert number == found[0]
    assert found[1] in text


@pytest.mark.django_db(transaction=True)
@pytest.mark.both_databases
def test_several_writers_make_one_chain(author):
    def write(name):
        try:
            for n in range(5):
                services.record("a:b", f"{name}:{n}", actor=author)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=write, args=(f"t{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert AuditEvent.objects.count() == 20
    assert list(services.broken_links()) == []
    assert AuditChain.objects.get().last_number == 20


def test_secrets_do_not_get_into_history(author):
    event = services.record(
        "a:b",
        "thing:1",
        actor=author,
        data={
            "password": "hunter2",
            "nested": [{"api_key": "hunter2", "note": "token=hunter2 is in here"}],
            "url": "postgresql://ann:hunter2@db/x",
            "has_password": True,
        },
    )
    event.refresh_from_db()
    assert "hunter2" not in str(event.data)
    assert event.data["has_password"] is True


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer hunter2hunter2",
        "postgresql+psycopg2://ann:hunter2@db.example.com/x",
        'body {"password": "hunter2", "provider": "db"}',
        "password='hunter2 with blanks'",
        "secret_key=hunter2",
        "token sst_hunter2hunter2",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJodW50ZXIyIn0.hunter2",
    ],
)
def test_texts_lose_what_looks_like_a_credential(text):
    assert "hunter2" not in redact_text(text)


def test_ordinary_texts_stay_as_they_are():
    for text in (
        "dataset sales_fact: 14 columns sent",
        "https://prod.example.com/superset/dashboard/7/?a=b",
        "a: b",
    ):
        assert redact_text(text) == text


def test_redacting_gives_a_copy_and_keeps_shapes():
    given = {"a": [1, 2.5, None, True], "password": "", "token": "x"}
    assert redact(given) == {"a": [1, 2.5, None, True], "password": "", "token": "***"}
    assert given["token"] == "x"
