"""Uses the shared lab of a test run, and starts its server if there is none yet."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from environments.lab.errors import LabError, ToolMissing
from environments.lab.instance import RunningSuperset
from environments.lab.places import REPOSITORY, Places
from environments.lab.processes import inherited_environment
from environments.lab.server import shared_run, socket_path
from environments.lab.versions import CURRENT

_START_SECONDS = 300  # covers the installation of PostgreSQL; Supersets are installed when asked for


class LabClient:
    """A connection to the shared lab; close it (or use it as a context manager) to give everything back.

    Not for use by several threads at once. Every method raises LabError with the reason, ToolMissing if the
    machine lacks something.
    """

    def __init__(
        self, places: Places | None = None, run: str = "", linger_seconds: float | None = None
    ) -> None:
        self._places = places or Places.default()
        self._run = run or shared_run()
        if linger_seconds is None:
            linger_seconds = float(os.environ.get("SSTOOLS_LAB_LINGER_SECONDS", "5"))
        connection = self._connect(linger_seconds)
        self._lines = connection.makefile("rw", encoding="utf-8")
        self._connection = connection

    def __enter__(self) -> LabClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._lines.close()
            self._connection.close()

    def shared(self, name: str, contents: str = "examples", **spec: Any) -> RunningSuperset:
        """The instance of that name, the same for all clients; whoever asks first has it started. Read only."""
        wanted = {"name": name, "version": CURRENT, "contents": contents, **spec}
        return RunningSuperset.from_dict(self._ask("shared", **wanted))

    def lease(self, version: str = CURRENT, contents: str = "prod", **spec: Any) -> RunningSuperset:
        """An instance with fresh contents for this client alone, until `release` or `close`.

        `spec`: id_offset, own_warehouse, feature_flags, settings, username, password of instance.InstanceSpec.
        """
        return RunningSuperset.from_dict(self._ask("lease", version=version, contents=contents, **spec))

    def release(self, superset: RunningSuperset) -> None:
        self._ask("release", name=superset.name)

    def reset(self, superset: RunningSuperset, contents: str = "") -> RunningSuperset:
        """Fresh contents for a leased instance, 0.5 s."""
        return RunningSuperset.from_dict(self._ask("reset", name=superset.name, contents=contents))

    def crash(self, superset: RunningSuperset) -> None:
        """Ends an instance by force, in the middle of what it does. Its contents stay; `revive` starts it again."""
        self._ask("crash", name=superset.name)

    def revive(self, superset: RunningSuperset) -> RunningSuperset:
        """Starts an instance that crashed at the same address and waits until it answers: 10 s."""
        return RunningSuperset.from_dict(self._ask("revive", name=superset.name))

    def postgres_warehouses(self, suffix: str = "") -> dict[str, str]:
        """SQLAlchemy URLs of the PostgreSQL warehouses, by database name: `dev` (500 orders) and `prod` (10).

        The account can only read. A test that changes them takes databases of its own by a suffix ("_t1": `dev_t1`,
        `prod_t1`), and changes them through the server's owner, whose account is in RunningSuperset.metadata_url.
        """
        return dict(self._ask("warehouses", suffix=suffix))

    def sqlite_warehouse(self, name: str) -> Path:
        return Path(self._ask("sqlite_warehouse", name=name))

    def keep(self) -> None:
        """Lets the lab run on after the last client has gone, until `stop`."""
        self._ask("keep")

    def status(self) -> list[RunningSuperset]:
        return [RunningSuperset.from_dict(values) for values in self._ask("status")]

    def stop(self) -> None:
        """Ends the lab for everybody; returns when it is gone."""
        self._ask("stop")
        path = socket_path(self._places, self._run)
        deadline = time.monotonic() + 30
        while path.exists() and time.monotonic() < deadline:
            time.sleep(0.1)

    def _ask(self, action: str, **request: Any) -> Any:
        try:
            self._lines.write(json.dumps({"do": action, **request}) + "\n")
            self._lines.flush()
            line = self._lines.readline()
        except OSError:
            line = ""
        if not line:
            raise LabError("The lab's server ended.", f"Its log: {self._log}")
        answer = json.loads(line)
        if not answer["ok"]:
            kind = ToolMissing if answer["missing"] else LabError
            raise kind(answer["message"], answer["remedy"])
        return answer["result"]

    @property
    def _log(self) -> Path:
        return self._places.root / "runs" / f"{self._run}.log"

    def _connect(self, linger_seconds: float) -> socket.socket:
        connection = connect(self._places, self._run)
        if connection:
            return connection
        with self._places.locked(f"server-{self._run}"):
            deadline = time.monotonic() + _START_SECONDS
            server: subprocess.Popen[bytes] | None = None
            while time.monotonic() < deadline:
                connection = connect(self._places, self._run)
                if connection:
                    return connection
                if server is None or server.poll() is not None:
                    if server is not None and server.returncode:
                        raise self._why_it_ended()
                    server = self._start_server(linger_seconds)
                time.sleep(0.1)
        raise LabError("The lab's server did not start.", f"Its log: {self._log}")

    def _why_it_ended(self) -> LabError:
        lines = self._log.read_text(errors="replace").strip().splitlines()[-15:]
        missing = any(line.startswith("missing: ") for line in lines)
        return (ToolMissing if missing else LabError)("The lab's server did not start:\n" + "\n".join(lines))

    def _start_server(self, linger_seconds: float) -> subprocess.Popen[bytes]:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "environments.lab", "serve", "--run", self._run]
        command += ["--linger", str(linger_seconds)]
        env = inherited_environment(SSTOOLS_LAB_DIR=str(self._places.root), PYTHONUNBUFFERED="1")
        with self._log.open("wb") as log:
            # In a session of its own: Ctrl-C ends the tests, the lab notices that its clients are gone.
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=REPOSITORY,
                env=env,
                start_new_session=True,
            )


def connect(places: Places, run: str) -> socket.socket | None:
    """A connection to a running server, None if there is none."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(str(socket_path(places, run)))
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    return connection
