"""/healthz, /readyz, security headers, logs, the web server's small questions."""

import json
import logging
import re
import socket
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection
from django.db.models import F
from django.test import Client

from sstools import checks, health, logs
from sstools.databases import from_url, sqlite
from sstools.jobs import services
from sstools.jobs.checks import one_machine_on_sqlite, queue_settings
from sstools.jobs.models import Job, Worker
from sstools.keys import new_field_key
from sstools.web_server import bind_problem, split_bind, url_of
from tests.trial.models import Safe

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _asked_here(monkeypatch):
    """In this thread, which sees what the test wrote and did not commit; tests/infra asks real servers."""
    monkeypatch.setattr(health, "ask", lambda question: question())


def parts(client=None):
    response = (client or Client()).get("/readyz")
    return response.status_code, response.json()["parts"]


def test_the_process_answers_without_the_database(django_assert_num_queries):
    with django_assert_num_queries(0):
        assert Client().get("/healthz").json() == {"status": "ok"}


def test_ready_when_everything_is_in_order():
    Worker.objects.create(host="h", pid=1, workers=4, seen_at=services.db_now())
    names = ["database", "migrations", "keys", "queue", "workers", "disk"]
    assert parts() == (200, dict.fromkeys(names, "ok"))


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_probes_ask_by_address_and_are_answered_where_pages_are_not(path):
    client = Client(headers={"host": "10.1.2.3:8140"})
    assert client.get(path).status_code == 200
    assert client.get("/login/").status_code == 400


def test_a_worker_counts_as_alive_on_its_own_machine_while_it_reports():
    def seen(host, **ago):
        Worker.objects.all().delete()
        Worker.objects.create(host=host, pid=1, workers=4, seen_at=services.db_now() - timedelta(**ago))
        call_command("worker_alive")

    seen(socket.gethostname(), seconds=1)
    for host, minutes in ((socket.gethostname(), 5), ("another", 0)):
        with pytest.raises(CommandError, match="No worker"):
            seen(host, minutes=minutes)


def test_without_workers_the_pages_are_ready_all_the_same():
    Worker.objects.create(host="h", pid=1, workers=4, seen_at=services.db_now() - timedelta(minutes=2))
    status, found = parts()
    assert (status, found["workers"]) == (200, "none seen")


def test_wrong_keys_are_not_ready(settings):
    assert parts()[0] == 200
    settings.FIELD_KEYS = [new_field_key()]
    status, found = parts()
    assert (status, found["keys"]) == (503, "do not fit the stored secrets")


def test_a_stored_secret_that_the_keys_do_not_open_is_not_ready(settings):
    assert parts()[0] == 200  # notes down the present key
    right = settings.FIELD_KEYS
    settings.FIELD_KEYS = [new_field_key()]
    Safe.objects.create(secret="of another installation")
    settings.FIELD_KEYS = right
    status, found = parts()
    assert (status, found["keys"]) == (503, "do not fit all stored secrets")
    Safe.objects.create(secret="ours")
    assert parts()[0] == 200


def test_a_queue_that_does_not_move_is_not_ready(author):
    services.enqueue("trial.write", {"name": "a"}, actor=author)
    assert parts()[0] == 200
    Job.objects.update(ready_at=F("ready_at") - timedelta(minutes=5))
    status, found = parts()
    assert (status, found["queue"]) == (503, "does not move")


def test_a_queue_that_is_long_and_moves_is_ready(author):
    """A thousand jobs wait for hours: no reason to take the pages away."""
    waiting, begun = (services.enqueue("trial.write", {"name": name}, actor=author) for name in "ab")
    Job.objects.update(ready_at=F("ready_at") - timedelta(minutes=5))
    assert parts()[0] == 503
    assert services.claim(str(begun.uuid))
    assert parts()[0] == 200
    Job.objects.filter(pk=begun.pk).update(started_at=F("started_at") - timedelta(minutes=5))
    assert parts()[0] == 503
    Worker.objects.create(host="h", pid=1, workers=1, seen_at=services.db_now())  # whose one worker is busy
    assert parts()[0] == 200
    assert waiting.state == "queued"


def test_a_job_of_a_dead_worker_that_nobody_resumes_is_not_ready(author):
    job = services.enqueue("trial.write", {"name": "a"}, actor=author)
    assert services.claim(str(job.uuid))
    Job.objects.update(
        lease_until=services.db_now() - timedelta(minutes=5),
        started_at=F("started_at") - timedelta(minutes=9),
    )
    assert parts()[1]["queue"] == "does not move"


def test_a_disk_that_is_nearly_full_is_said_and_pages_go_on(monkeypatch):
    monkeypatch.setattr(health, "LOW_BYTES", 10**18)
    status, found = parts()
    assert status == 200
    assert re.fullmatch(r"low, \d+ MB free", found["disk"])


def test_a_database_that_fails_is_not_ready_and_gives_no_details_away(monkeypatch):
    def fail():
        raise DatabaseError("password=hunter2 host=db.example.com")

    monkeypatch.setitem(health.CHECKS, "database", fail)
    response = Client().get("/readyz")
    assert response.status_code == 503
    assert response.json()["parts"]["database"] == "failed"
    assert "example.com" not in response.content.decode()


def test_migrations_that_are_not_applied_are_not_ready(monkeypatch):
    monkeypatch.setattr(health, "_migrated", False)
    monkeypatch.setattr(health.MigrationExecutor, "migration_plan", lambda self, targets: [("jobs", "0002")])
    assert parts()[1]["migrations"] == "not applied"


@pytest.mark.parametrize("address", ["/login/", "/healthz", "/nothing/here/", "/api/v1/jobs/"])
def test_every_answer_carries_the_security_headers_and_allows_nothing_unsafe(address):
    headers = Client().get(address).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "*" not in policy
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert re.fullmatch(r"[0-9a-f]{16}", headers["X-Request-ID"])


def test_cookies_are_not_readable_by_scripts(author):
    client = Client()
    client.get("/login/")
    client.post("/login/", {"username": "author", "password": "a long password 1"})
    assert client.cookies["sstools_session"]["httponly"]
    assert client.cookies["sstools_csrf"]["httponly"]
    assert client.cookies["sstools_session"]["samesite"] == "Lax"


# --- Logs


def line(formatter, message, *args, exc_info=None):
    record = logging.LogRecord("sstools.x", logging.INFO, __file__, 1, message, args, exc_info)
    for one in (logs.ContextFilter(), logs.RedactingFilter()):
        one.filter(record)
    return formatter.format(record)


def test_log_lines_name_request_and_job_and_hold_no_secret(settings):
    request, job = logs.request_id.set("r1"), logs.job_id.set("j1")
    try:
        text = line(
            logging.Formatter(settings.LOGGING["formatters"]["text"]["format"]), "password=%s", "hunter2"
        )
        found = json.loads(line(logs.JsonFormatter(), "url %s", "postgresql://a:hunter2@db/x"))
    finally:
        logs.request_id.reset(request)
        logs.job_id.reset(job)
    assert "[r1 j1]" in text
    assert (found["request"], found["job"], found["level"]) == ("r1", "j1", "INFO")
    assert "hunter2" not in text + json.dumps(found)


def test_tracebacks_hold_no_secret_either():
    import sys

    try:
        raise ValueError("token=hunter2hunter2")
    except ValueError:
        exc_info = sys.exc_info()
    for formatter in (logging.Formatter("%(message)s"), logs.JsonFormatter()):
        out = line(formatter, "It broke", exc_info=exc_info)
        assert "ValueError" in out
        assert "hunter2" not in out


# --- Small things


def test_queue_settings_that_lose_or_double_jobs_are_errors(settings):
    assert queue_settings(None) == []
    good = settings.Q_CLUSTER
    for spoilt, number in [
        ({"orm": "other"}, 1),
        ({"retry": 10}, 2),
        ({"queue_limit": 50}, 3),
        ({"ack_failures": False}, 4),
        ({"save_limit": 250}, 5),
        ({"broker_class": "django_q.brokers.orm.ORM"}, 7),
        ({"recycle": 0}, 8),
        ({"max_rss": None}, 8),
    ]:
        settings.Q_CLUSTER = {**good, **spoilt}
        assert [found.id for found in queue_settings(None)] == [f"jobs.E{number:03}"]


@pytest.mark.parametrize(
    ("name", "value", "number"),
    [
        ("JOB_GRACE_SECONDS", 2, 1),
        ("JOB_WORKERS", 1, 2),
        ("JOB_TIMEOUT_SECONDS", 600, 3),
        ("JOB_SWEEP_SECONDS", 31, 4),
    ],
)
def test_settings_with_which_jobs_wait_or_are_cut_off_are_warned_of(settings, name, value, number):
    setattr(settings, name, value)
    assert [found.id for found in queue_settings(None)] == [f"jobs.W{number:03}"]


def test_two_machines_on_one_sqlite_file_are_an_error():
    for host in ("one", "one", "other"):
        Worker.objects.create(host=host, pid=1, workers=4, seen_at=services.db_now())
    found = [message.id for message in one_machine_on_sqlite(None, databases=["default"])]
    assert found == (["jobs.E009"] if connection.vendor == "sqlite" else [])
    assert one_machine_on_sqlite(None) == []  # not while there may be no database
    Worker.objects.filter(host="other").delete()
    assert one_machine_on_sqlite(None, databases=["default"]) == []


def test_addresses_to_listen_on():
    assert split_bind("127.0.0.1:8140") == ("127.0.0.1", 8140)
    assert split_bind("[::1]:80") == ("::1", 80)
    assert url_of("0.0.0.0:8140") == "http://localhost:8140/"
    for wrong in ("8140", "host:", "host:99999", "host:x"):
        assert "SSTOOLS_BIND" in bind_problem(wrong)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert "taken by another program" in bind_problem(f"127.0.0.1:{taken.getsockname()[1]}")


def test_settings_that_are_unsafe_where_others_get_to_it_are_said(settings, tmp_path, monkeypatch):
    def found():
        return [message.id for message in checks.where_others_get_to_it(None)]

    url = "postgresql://me:x@db.example.com/sstools"
    settings.HTTPS, settings.DATA_DIR, settings.JOB_LEASE_SECONDS = True, tmp_path, 30
    monkeypatch.setattr(checks, "_database", lambda: from_url(f"{url}?sslmode=verify-full"))
    assert (found(), checks.always(None)) == ([], [])
    for name, value, id in [
        ("HTTPS", False, "sstools.W001"),
        ("ALLOWED_HOSTS", ["*"], "sstools.W002"),
        ("JOB_LEASE_SECONDS", 3, "sstools.W006"),
    ]:
        before = getattr(settings, name)
        setattr(settings, name, value)
        assert found() == [id]
        setattr(settings, name, before)
    settings.BIND, settings.TRUST_PROXY, settings.DEBUG = "0.0.0.0:8140", True, True
    monkeypatch.setattr(checks, "_database", lambda: from_url(url))
    (tmp_path / "field_keys").touch(mode=0o644)
    assert found() == ["sstools.W003", "sstools.W004", "sstools.W005"]
    assert [message.id for message in checks.always(None)] == ["sstools.E001"]


def test_sqlite_on_a_network_file_system_is_an_error(monkeypatch):
    monkeypatch.setattr(checks, "_database", lambda: sqlite("/mnt/share/x/db"))
    mounts = [
        SimpleNamespace(mountpoint=at, fstype=kind) for at, kind in (("/", "ext4"), ("/mnt/share", "nfs4"))
    ]
    monkeypatch.setattr(checks.psutil, "disk_partitions", lambda all: mounts)
    (found,) = checks.always(None)
    assert found.id == "sstools.E002"
    assert "nfs4" in found.msg
