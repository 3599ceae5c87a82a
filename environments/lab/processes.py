"""Programs that we start and end: each in a process group of its own, none outlives us."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from environments.lab.errors import LabError, ToolMissing

_LAUNCHER = Path(__file__).with_name("launcher.py")
_LOOPBACK = "127.0.0.1"

# The kernel sends the parent-death signal when the *thread* that started a program ends, so all are started by
# one thread that lives as long as we do (man 2 PR_SET_PDEATHSIG, "Warning").
_spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="lab-spawner")

_running: set[subprocess.Popen[str]] = set()
_running_lock = threading.Lock()


@dataclass(frozen=True)
class Account:
    """The system account that a program runs as."""

    uid: int
    gid: int


def unprivileged_account() -> Account | None:
    """Who PostgreSQL runs as: None for ourselves; for root, `nobody`, since PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        raise ToolMissing(
            "PostgreSQL does not run as root, and there is no account `nobody` to run it as.",
            "Use another account than root.",
        ) from None
    return Account(entry.pw_uid, entry.pw_gid)


class Process:
    """A started program: its log, whether it lives, and its end."""

    def __init__(self, name: str, popen: subprocess.Popen[bytes], log: Path, end_signal: int) -> None:
        self.name = name
        self.log = log
        self._popen = popen
        self._end_signal = end_signal

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def is_running(self) -> bool:
        return self._popen.poll() is None

    @property
    def exit_code(self) -> int | None:
        return self._popen.poll()

    def request_stop(self) -> None:
        if self.is_running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, self._end_signal)

    def stop(self, timeout_seconds: float = 10) -> None:
        """Ends the program and all of its process group; by force if it does not end by itself in time."""
        self.request_stop()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(timeout_seconds)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait()

    def kill(self) -> None:
        """Ends the program and all of its process group at once, as a crash does."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait()

    def last_words(self, lines: int = 15) -> str:
        """The end of its log, for the text of an error."""
        try:
            text = self.log.read_text(errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])


def spawn(
    name: str,
    command: Sequence[str],
    *,
    log: Path,
    cwd: Path,
    env: Mapping[str, str],
    account: Account | None = None,
    end_signal: int = signal.SIGTERM,
    stdin: int = subprocess.DEVNULL,
    pass_fds: Sequence[int] = (),
) -> Process:
    """Starts `command`; what it prints goes to the file `log` (from its beginning)."""
    log.parent.mkdir(parents=True, exist_ok=True)
    uid, gid = (account.uid, account.gid) if account else (-1, -1)
    launch = [
        sys.executable,
        "-I",
        str(_LAUNCHER),
        str(os.getpid()),
        str(int(end_signal)),
        str(uid),
        str(gid),
    ]

    def start() -> subprocess.Popen[bytes]:
        with log.open("wb") as output:
            return subprocess.Popen(
                [*launch, *command],
                stdin=stdin,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env=dict(env),
                start_new_session=True,
                pass_fds=pass_fds,
            )

    return Process(name, _spawner.submit(start).result(), log, int(end_signal))


def stop_all(processes: Sequence[Process], timeout_seconds: float = 10) -> None:
    """Ends all of them at once, then waits: as slow as the slowest, not as their sum."""
    for process in processes:
        process.request_stop()
    deadline = time.monotonic() + timeout_seconds
    for process in processes:
        process.stop(max(0.1, deadline - time.monotonic()))


def run(
    command: Sequence[str],
    what: str,
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    account: Account | None = None,
    stdin: str | None = None,
) -> str:
    """Runs `command` to its end and returns what it printed; raises LabError with its last lines if it failed."""
    uid, gid = (account.uid, account.gid) if account else (-1, -1)
    launch = [
        sys.executable,
        "-I",
        str(_LAUNCHER),
        str(os.getpid()),
        str(int(signal.SIGTERM)),
        str(uid),
        str(gid),
    ]
    process = subprocess.Popen(
        [*launch, *command],
        stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        cwd=cwd,
        env=dict(env) if env is not None else None,
        start_new_session=True,
    )
    with _running_lock:
        _running.add(process)
    try:
        output, errors = process.communicate(stdin)
    finally:
        with _running_lock:
            _running.discard(process)
    if process.returncode:
        tail = "\n".join((output + errors).strip().splitlines()[-15:])
        raise LabError(f"{what} failed (exit {process.returncode}):\n{tail}")
    return output


def end_running() -> None:
    """Ends what `run` is busy with in other threads (an installation, say), so that we can end too."""
    with _running_lock:
        for process in _running:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGTERM)


def free_port() -> int:
    """A port of the loopback interface that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def is_port_free(port: int) -> bool:
    with socket.socket() as probe:
        # As the servers themselves bind: a connection in TIME_WAIT from the last run is no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_LOOPBACK, port))
        except OSError:
            return False
        return True


def inherited_environment(**extra: str) -> dict[str, str]:
    """Our environment without what would lead another Python program astray, and with `extra`."""
    misleading = {"VIRTUAL_ENV", "DJANGO_SETTINGS_MODULE", "FLASK_APP", "FLASK_DEBUG", "FLASK_ENV"}
    kept = {
        name: value
        for name, value in os.environ.items()
        if name == "PYTHON"  # which one the Makefile should take
        or (name not in misleading and not name.startswith(("PYTHON", "SUPERSET_", "PG", "GUNICORN_")))
    }
    return {**kept, **extra}
