"""The disk that holds ss-tools' own SQLite is full, in three ways, of which two need no rights."""

from __future__ import annotations

import contextlib
import html
import json
import os
import resource
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings as django_settings
from django.db import OperationalError, connection
from django.test import Client

from migrations_app import services
from migrations_app.models import Migration, Run
from sstools.jobs.models import Job
from sstools.jobs.runner import run_job
from sstools.outages import outage
from tests.factories import uuid_for
from tests.fakes.pair import FakePair, fake_pair
from tests.live.product import Product

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        not django_settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"),
        reason="of SQLite; PostgreSQL on a full file system is in test_disk_full_postgres.py",
    ),
]
IMPORT = "/api/v1/assets/import/"
PLENTY = 2**30
ROOM = 10  # pages of 4 kB that are left where what is small goes in and what is large does not


@pytest.fixture
def pair() -> Iterator[FakePair]:
    with fake_pair() as made:
        yield made


@pytest.fixture
def product(transactional_db: None) -> Product:
    return Product()


def ballast(pages: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS ballast (content BLOB)")
        cursor.execute("INSERT INTO ballast VALUES (zeroblob(%s))", [pages * 4096])


def pragma(text: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"PRAGMA {text}")
        return int(cursor.fetchone()[0])


class NoNewPages:
    """What is small finds room, what is large does not. `clear` gives room again."""

    def __init__(self) -> None:
        self._options = connection.settings_dict["OPTIONS"]
        self._init_command = self._options["init_command"]

    def fill(self) -> None:
        while pragma("freelist_count"):
            ballast(1)
        limit = f"PRAGMA max_page_count = {pragma('page_count') + ROOM};"
        self._options["init_command"] += limit  # also for connections that are made from now on
        with connection.cursor() as cursor:
            cursor.execute(limit)
        with pytest.raises(OperationalError):
            ballast(2 * ROOM)

    def clear(self) -> None:
        self._options["init_command"] = self._init_command
        with connection.cursor() as cursor:
            cursor.execute(f"PRAGMA max_page_count = {PLENTY}")
            cursor.execute("DROP TABLE IF EXISTS ballast")


class NoByteMore:
    """No file of this process grows: nothing at all can be written, as SQLite writes to the end of its log."""

    def __init__(self) -> None:
        self._soft, self._hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(self) -> None:
        pragma("wal_checkpoint(TRUNCATE)")
        ballast(600)  # some megabytes: other files, as pytest's, stay below
        log = Path(f"{connection.settings_dict['NAME']}-wal")
        resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size, self._hard))
        with pytest.raises(OperationalError):
            ballast(1)

    def clear(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (self._soft, self._hard))
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE IF EXISTS ballast")


class SmallFileSystem:
    """The database on a file system of its own that is full, for who may mount one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=16m", "sstools-full", str(folder)], capture_output=True
        )
        if mounted.returncode:
            pytest.skip("no right to mount a file system; the two other kinds of full need none")
        self._was = connection.settings_dict["NAME"]
        pragma("wal_checkpoint(TRUNCATE)")
        self._move(shutil.copy(self._was, folder))

    def fill(self) -> None:
        with (self.folder / "ballast").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        with pytest.raises(OperationalError):
            ballast(100)

    def clear(self) -> None:
        (self.folder / "ballast").unlink(missing_ok=True)

    def close(self) -> None:
        self._move(self._was)
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)

    def _move(self, name: str) -> None:
        connection.close()
        connection.settings_dict["NAME"] = name


Disk = NoNewPages | NoByteMore | SmallFileSystem


@pytest.fixture
def no_new_pages(transactional_db: None) -> Iterator[NoNewPages]:
    disk = NoNewPages()
    yield disk
    disk.clear()


@pytest.fixture(params=["quota", "file system"])
def disk(request: pytest.FixtureRequest, transactional_db: None, tmp_path: Path) -> Iterator[Disk]:
    made = NoByteMore() if request.param == "quota" else SmallFileSystem(tmp_path)
    yield made
    made.clear()
    if isinstance(made, SmallFileSystem):
        made.close()


def asked_for(product: Product, pair: FakePair) -> Job:
    migration = product.migrate(pair.source, pair.target, [uuid_for("Sales")])
    assert migration.plan is not None
    return services.request_apply(migration, plan_hash=migration.plan.hash, actor=product.admin)


def resumed(job: Job) -> Job:
    """As the sweep has it done once the lease is over."""
    from sstools.jobs.services import db_now

    Job.objects.filter(pk=job.pk, state="running").update(lease_until=db_now())
    run_job(str(job.uuid))
    job.refresh_from_db()
    return job


def test_no_room_for_the_restore_point_the_run_stops_and_nothing_is_written(
    product: Product, pair: FakePair, no_new_pages: NoNewPages
) -> None:
    job = asked_for(product, pair)
    # Somebody made something large meanwhile: the restore point has to keep it.
    pair.prod.add_dashboard("Theirs", charts=[], uuid=uuid_for("Theirs"))
    pair.prod.record("dashboard", uuid_for("Theirs"))["data"]["css"] = os.urandom(50_000).hex()
    no_new_pages.fill()
    run_job(str(job.uuid))
    job.refresh_from_db()
    run = Run.objects.get()
    assert not pair.prod.writes
    assert (run.state, run.error["code"]) == ("stopped", "own_database_full"), run.error
    assert "The disk of ss-tools is full" in run.error["message"]
    assert (job.state, job.error["code"]) == ("failed", "own_database_full")
    no_new_pages.clear()
    assert product.plan(run.migration).write_count


@pytest.mark.parametrize("moment", ["before the first write", "while writing"])
def test_not_a_byte_can_be_written_and_the_truth_is_there_once_there_is_room_again(
    disk: Disk, product: Product, pair: FakePair, settings: Any, moment: str
) -> None:
    settings.JOB_LEASE_SECONDS = 2
    job = asked_for(product, pair)
    if moment == "while writing":
        pair.prod.misbehave("POST", IMPORT, lambda request: disk.fill())
    else:
        pair.prod.misbehave("GET", "/api/v1/assets/export/", lambda request: disk.fill())
    run_job(str(job.uuid))
    job.refresh_from_db()
    assert len(pair.prod.writes) == (moment == "while writing")
    disk.clear()
    run = Run.objects.get()
    if moment == "before the first write" and job.state == "failed":  # there was just room to say so
        assert (run.state, run.error["code"]) == ("stopped", "own_database_full")
        return
    assert job.state == "running"  # as far as anybody could say; its lease is over
    resumed(job)
    run.refresh_from_db()
    assert (run.state, job.state) == ("applied", "succeeded"), (run.error, job.error)
    assert len(run.written) == 4
    assert len(pair.prod.writes) == 2  # none of them twice


def test_asking_for_a_run_while_it_is_full_says_so(
    product: Product, pair: FakePair, no_new_pages: NoNewPages
) -> None:
    pair.read()
    client = Client()
    client.force_login(product.admin)
    no_new_pages.fill()
    body = {
        "source": pair.source.slug,
        "target": pair.target.slug,
        "selection": [uuid_for("Sales")],
        "left_out": [str(uuid4()) for _ in range(3000)],
    }
    answer = client.post("/api/v1/migrations/", json.dumps(body), content_type="application/json")
    assert (answer.status_code, answer["Content-Type"]) == (503, "application/problem+json")
    assert answer.json()["code"] == "own_database_full"
    assert "The disk of ss-tools is full" in answer.json()["detail"]
    assert not Migration.objects.exists()


def test_locked_by_another_program_pages_can_be_read_and_a_form_says_why_it_was_not_taken(
    product: Product, pair: FakePair
) -> None:
    pair.read()
    client = Client(raise_request_exception=False)
    client.force_login(product.admin)
    name = connection.settings_dict["NAME"]
    with contextlib.closing(sqlite3.connect(name, isolation_level=None)) as backup:
        backup.execute("BEGIN IMMEDIATE")
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA busy_timeout = 100")  # people wait 20 seconds
        assert client.get("/environments/").status_code == 200
        body = {"source": "dev", "target": "prod", "selection": [uuid_for("Sales")]}
        answer = client.post("/api/v1/migrations/", json.dumps(body), content_type="application/json")
        page = client.post("/environments/prod/check/")
    assert (answer.status_code, answer.json()["code"]) == (503, "own_database_busy")
    assert page.status_code == 503
    assert "locked for too long" in page.content.decode()
    assert "Look whether ss-tools kept what you sent" in html.unescape(page.content.decode())
    assert not Migration.objects.exists()


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        ("full", "own_database_full"),
        ("locked", "own_database_busy"),
        ("read only", "own_database_read_only"),
        ("gone", "own_database_unreachable"),
        ("damaged", "own_database_damaged"),
    ],
)
def test_what_sqlite_says_is_told_apart(tmp_path: Path, spoil: str, code: str) -> None:
    path = tmp_path / "x.sqlite3"
    with sqlite3.connect(path) as made:
        made.execute("CREATE TABLE t (x)")
    made.close()
    holder = sqlite3.connect(path, isolation_level=None)
    address = f"file:{path}?mode=ro" if spoil == "read only" else str(path)
    if spoil == "gone":
        address = str(tmp_path / "no" / "such" / "folder")
    if spoil == "damaged":
        path.write_bytes(b"nothing of a database\n" * 100)
    error: Exception | None = None
    try:
        trial = sqlite3.connect(address, uri=True, timeout=0)
        if spoil == "full":
            trial.execute("PRAGMA max_page_count = 2")
        if spoil == "locked":
            holder.execute("BEGIN EXCLUSIVE")
        trial.execute("INSERT INTO t VALUES (zeroblob(100000))")
    except sqlite3.Error as exc:
        error = OperationalError(str(exc))
        error.__cause__ = exc
    finally:
        holder.close()
    assert error is not None
    found = outage(error)
    assert found is not None
    assert found.code == code
    assert "Nothing was written to any Superset" in found.message


def test_other_errors_of_the_database_are_no_outage() -> None:
    with pytest.raises(OperationalError) as caught, connection.cursor() as cursor:
        cursor.execute("SELECT * FROM no_such_table")
    assert outage(caught.value) is None
    assert outage(ValueError("the connection is closed")) is None
