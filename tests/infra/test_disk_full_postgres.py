"""The file system of ss-tools' own PostgreSQL is full, data and log of it, under a real `manage.py up`."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.infra.server import OwnPostgres
from tests.infra.test_database_outage import sign_in
from tests.sstools.test_workers import Installation, finished, wait_for

pytestmark = [pytest.mark.xdist_group("disk")]
SIZE = "160m"  # 40 for a new server, 16 and more for its log


class SmallServer:
    """A PostgreSQL on a file system of its own; `fill` leaves nothing, so that the log cannot grow either."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="sstools-pg-"))
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=0755", "sstools-full", str(self.folder)],
            capture_output=True,
        )
        if mounted.returncode:
            self.folder.rmdir()
            pytest.skip("no right to mount a file system; SQLite is filled without one in test_disk_full.py")
        self.postgres = OwnPostgres(self.folder)

    def fill(self) -> None:
        with (self.folder / "ballast").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        with contextlib.suppress(psycopg.Error), psycopg.connect(self.postgres.url) as connection:
            for _ in range(100):  # until nothing is left of what the server had set aside for its log
                connection.execute("SELECT pg_logical_emit_message(false, 'fill', repeat('x', 1000000))")

    def clear(self) -> None:
        (self.folder / "ballast").unlink(missing_ok=True)

    def close(self) -> None:
        self.clear()
        self.postgres.close()
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)
        self.folder.rmdir()


@pytest.fixture
def server() -> Iterator[SmallServer]:
    made = SmallServer()
    yield made
    made.close()


def test_jobs_wait_for_room_and_pages_say_what_is_the_matter(server: SmallServer, tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    installation.env |= {
        "SSTOOLS_DATABASE_URL": server.postgres.new_database(),
        "SSTOOLS_JOB_LEASE_SECONDS": "4",
        "SSTOOLS_JOB_GRACE_SECONDS": "5",
    }
    sent = tmp_path / "sent"
    try:
        installation.start()
        person = sign_in(installation)
        uuid = installation.enqueue("trial.send", path=str(sent), steps=30, seconds=0.25)
        wait_for(lambda: sent.exists() and len(sent.read_text().splitlines()) >= 2, 30)
        server.fill()
        wait_for(lambda: installation.parts().get("database") in ("disk is full", "cannot be reached"), 60)
        answer = person.get("/")
        assert answer.status_code in (200, 503)
        assert "Traceback" not in answer.text
        if answer.status_code == 503:
            assert "own database" in answer.text
        server.clear()
        if not server.postgres.is_running:
            # It ends itself when its log cannot grow, and its own supervisor starts it. Or it replays its log just now.
            server.postgres.start()
        wait_for(lambda: server.postgres.is_running, 60)
        wait_for(finished(installation, uuid), 90, installation.log.read_text)
        assert installation.job(uuid)["state"] == "succeeded"
        assert [int(line.split()[0]) for line in sent.read_text().splitlines()] == list(range(30))
        wait_for(lambda: installation.parts().get("database") == "ok", 60)
    finally:
        server.clear()
        installation.stop()
