"""One lab for all processes of a test run: a background process that owns the Supersets and lends them out.

It listens on a Unix socket. A client is a connection: what it leased goes back when it is closed, also by the death
of the client. When the last client has gone the server stays for `linger_seconds`, then ends everything and itself.
Dying by force it takes everything along too (launcher.py).

One request and one answer per line, JSON: `{"do": "lease", …}` -> `{"ok": true, "result": {…}}` or
`{"ok": false, "message": …, "remedy": …, "missing": …}` (missing: a tool that this machine lacks).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import stat
import tempfile
import threading
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from environments.lab.errors import LabError, ToolMissing
from environments.lab.instance import InstanceSpec, RunningSuperset
from environments.lab.lab import Lab
from environments.lab.places import Places
from environments.lab.progress import Progress
from environments.lab.versions import CURRENT

# Ids of every leased target start at a range of its own, all of them far above those of the examples (1 to 400).
_FIRST_OFFSET = 100_000
_OFFSET_STEP = 10_000
_ENDING_SECONDS = 120.0
_DEFAULT_TARGETS = 4  # leased instances at a time; 300 MB of memory each


def shared_run() -> str:
    """Name of the lab that is shared: another one for other code of ours, so that nobody talks to an old server."""
    digest = sha256()
    for path in sorted(Path(__file__).parent.rglob("*")):
        if path.suffix in (".py", ".txt"):
            digest.update(path.name.encode() + path.read_bytes())
    return f"shared-{digest.hexdigest()[:8]}"


def socket_path(places: Places, run: str) -> Path:
    """In the folder for temporary files, since a socket's path may have 107 bytes only; private to the account."""
    digest = sha256(f"{places.root}|{run}".encode()).hexdigest()[:10]
    folder = Path(tempfile.gettempdir()) / f"ss-tools-lab-{os.geteuid()}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise LabError(f"{folder} is not a private folder of this account.", "Remove it.")
    return folder / f"{digest}.sock"


class Pool:
    """Lends out targets: an idle instance gets a fresh database (0.5 s), else a new one is started (some seconds)."""

    def __init__(self, lab: Lab, limit: int) -> None:
        self._lab = lab
        self._limit = limit
        self._changed = threading.Condition()
        self._idle: dict[str, str] = {}  # name -> what it can serve
        self._leased: dict[str, tuple[int, str]] = {}  # name -> (client, what it serves)
        self._made = 0
        self._offset = _FIRST_OFFSET

    def lease(self, client: int, spec: InstanceSpec) -> RunningSuperset:
        serves = json.dumps(
            [spec.version, spec.username, spec.password, dict(spec.feature_flags), dict(spec.settings)],
            sort_keys=True,
        )
        with self._changed:
            while True:
                idle = next((name for name, what in self._idle.items() if what == serves), None)
                if idle:
                    del self._idle[idle]
                    break
                if len(self._leased) + len(self._idle) < self._limit:
                    break
                if self._idle:  # of another kind: makes room
                    victim = next(iter(self._idle))
                    del self._idle[victim]
                    self._lab.stop(victim)
                    break
                if any(holder == client for holder, _ in self._leased.values()):
                    break  # who holds one already never waits for another, else two clients could wait for each other
                self._changed.wait()
            self._offset += _OFFSET_STEP
            offset = spec.id_offset or self._offset
            self._made += not idle
            name = idle or f"target-{self._made}"
            self._leased[name] = (client, serves)
        try:
            if idle:
                return self._lab.reset(
                    name, contents=spec.contents, id_offset=offset, own_warehouse=spec.own_warehouse
                )
            return self._lab.start(
                InstanceSpec(
                    name=name,
                    version=spec.version,
                    contents=spec.contents,
                    username=spec.username,
                    password=spec.password,
                    id_offset=offset,
                    own_warehouse=spec.own_warehouse,
                    feature_flags=spec.feature_flags,
                    settings=spec.settings,
                )
            )
        except BaseException:
            with self._changed:
                self._leased.pop(name, None)
                self._changed.notify_all()
            self._lab.stop(name)
            raise

    def release(self, client: int, name: str | None = None) -> None:
        """Takes back one instance of this client, or all of them."""
        with self._changed:
            for leased, (holder, serves) in list(self._leased.items()):
                if holder == client and name in (None, leased):
                    del self._leased[leased]
                    if leased in {running.name for running in self._lab.running()}:
                        self._idle[leased] = serves
                    else:  # its user had it crash
                        self._lab.stop(leased)
            self._changed.notify_all()


class Server:
    def __init__(self, lab: Lab, path: Path, *, linger_seconds: float) -> None:
        self._lab = lab
        self._path = path
        self._linger_seconds = linger_seconds
        self._pool = Pool(lab, int(os.environ.get("SSTOOLS_LAB_TARGETS", _DEFAULT_TARGETS)))
        self._lock = threading.Lock()
        self._clients: set[int] = set()
        self._next_client = 0
        self._last_left = time.monotonic()
        self._keep = False  # `start` from the command line: stay until `stop`
        self._stopping = threading.Event()
        self._shared: dict[str, threading.Lock] = {}
        self._actions: dict[str, Callable[[int, dict[str, Any]], Any]] = {
            "shared": self._start_shared,
            "lease": self._lease,
            "release": self._release,
            "reset": self._reset,
            "crash": self._crash,
            "revive": self._revive,
            "keep": self._keep_running,
            "warehouses": self._warehouses,
            "sqlite_warehouse": self._sqlite_warehouse,
            "status": self._status,
            "stop": self._stop,
        }

    def serve(self) -> None:
        """Until told to stop, or until nobody has been connected for `linger_seconds`."""
        self._path.unlink(missing_ok=True)  # of a server that was killed: we hold the lab's lock
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(str(self._path))
            listener.listen(64)
            listener.settimeout(0.2)
            try:
                while not self._stopping.is_set() and not self._is_idle_too_long():
                    with contextlib.suppress(TimeoutError):
                        connection, _ = listener.accept()
                        connection.settimeout(None)
                        self._next_client += 1
                        with self._lock:
                            self._clients.add(self._next_client)
                        threading.Thread(
                            target=self._talk, args=(connection, self._next_client), daemon=True
                        ).start()
            finally:
                self._path.unlink(missing_ok=True)

    def _is_idle_too_long(self) -> bool:
        with self._lock:
            idle = time.monotonic() - self._last_left
            return not self._clients and not self._keep and idle > self._linger_seconds

    def _talk(self, connection: socket.socket, client: int) -> None:
        try:
            with connection, connection.makefile("rw", encoding="utf-8") as lines:
                for line in lines:
                    request = json.loads(line)
                    lines.write(json.dumps(self._answer(client, request)) + "\n")
                    lines.flush()
        except (OSError, ValueError):
            pass  # the client died in mid-sentence
        finally:
            self._pool.release(client)
            with self._lock:
                self._clients.discard(client)
                self._last_left = time.monotonic()

    def _answer(self, client: int, request: dict[str, Any]) -> dict[str, Any]:
        try:
            action = self._actions[request.pop("do")]
            return {"ok": True, "result": action(client, request)}
        except LabError as error:
            missing = isinstance(error, ToolMissing) or isinstance(error.__cause__, ToolMissing)
            return {"ok": False, "message": error.message, "remedy": error.remedy, "missing": missing}
        except Exception as error:
            self._lab.progress.say(f"  ! {type(error).__name__}: {error}")
            return {
                "ok": False,
                "message": f"{type(error).__name__}: {error}",
                "remedy": "",
                "missing": False,
            }

    def _start_shared(self, client: int, request: dict[str, Any]) -> dict[str, Any]:
        """The instance of that name, started by whoever asks first, the same for everybody."""
        spec = InstanceSpec(**request)
        with self._lock:
            lock = self._shared.setdefault(spec.name, threading.Lock())
        with lock:
            for running in self._lab.running():
                if running.name == spec.name:
                    return running.to_dict()
            if spec.contents == "examples":
                self._lab.sqlite_warehouse("dev")
            return self._lab.start(spec).to_dict()

    def _lease(self, client: int, request: dict[str, Any]) -> dict[str, Any]:
        spec = InstanceSpec(**{"name": "", "version": CURRENT, **request})
        if spec.contents == "prod":
            self._lab.sqlite_warehouse("prod")
        elif spec.contents == "examples":
            self._lab.sqlite_warehouse("dev")
        return self._pool.lease(client, spec).to_dict()

    def _release(self, client: int, request: dict[str, Any]) -> None:
        self._pool.release(client, request["name"])

    def _reset(self, client: int, request: dict[str, Any]) -> dict[str, Any]:
        return self._lab.reset(request["name"], contents=request.get("contents", "")).to_dict()

    def _crash(self, client: int, request: dict[str, Any]) -> None:
        self._lab.crash(request["name"])

    def _revive(self, client: int, request: dict[str, Any]) -> dict[str, Any]:
        return self._lab.revive(request["name"]).to_dict()

    def _keep_running(self, client: int, request: dict[str, Any]) -> None:
        self._keep = True

    def _warehouses(self, client: int, request: dict[str, Any]) -> dict[str, str]:
        addresses = self._lab.postgres_warehouses(request.get("suffix", ""))
        return {database: address.url(database) for database, address in addresses.items()}

    def _sqlite_warehouse(self, client: int, request: dict[str, Any]) -> str:
        return str(self._lab.sqlite_warehouse(request["name"]))

    def _status(self, client: int, request: dict[str, Any]) -> list[dict[str, Any]]:
        return [running.to_dict() for running in self._lab.running()]

    def _stop(self, client: int, request: dict[str, Any]) -> None:
        self._stopping.set()


def serve(places: Places, run: str, linger_seconds: float) -> None:
    """The background process: opens the lab, serves, closes it. Its output is the log."""
    progress = Progress()
    stopping = threading.Event()

    def on_signal(number: int, frame: object) -> None:
        if not stopping.is_set():
            stopping.set()
            raise SystemExit(0)

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    with Lab(run, places, progress, disposable=True) as lab:
        # The one before us gives up its address first, and then ends its Supersets for some seconds more.
        lab.open(wait_seconds=_ENDING_SECONDS)
        Server(lab, socket_path(places, run), linger_seconds=linger_seconds).serve()
