"""Keeps the web server and the workers of one machine alive, sweeps, and ends all of it together.

A queue cluster cannot live in a thread of the web server (it forks and handles signals), so both are children in
process groups of their own: Ctrl-C in the terminal reaches only the supervisor, which then ends them in order.
"""

import contextlib
import ctypes
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from types import FrameType

import psutil
from django.conf import settings
from django.db import close_old_connections, connections
from django.db.models import Q

from sstools import __version__
from sstools.outages import is_outage

from . import periodic, services
from .models import Job, State, Worker
from .runner import STOP_SIGNAL

logger = logging.getLogger(__name__)

STOP_SECONDS = 20  # for requests and steps in progress; what is not done by then is resumed at the next start
RESTART_PAUSE_SECONDS = 2.0  # before starting again what ended within BRIEF_SECONDS
BRIEF_SECONDS = 5.0
STUCK_LEASES = 0.5  # so many leases long a claimable job waits while no worker of this cluster does anything
STUCK_SECONDS = 10.0  # and so long at least: a cluster takes some seconds to start, on a busy machine more
WATCH_PAUSE_LEASES = 2.0  # the watchdog restarts a cluster at most this often
TICK_SECONDS = 0.2
SIGN_OFF_SECONDS = 5.0  # for the last words to the database, which may hang
PR_SET_PDEATHSIG = 1


# Looked up here and not after the fork: another thread may hold the loader's lock at that moment.
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


def _tie_to_parent() -> None:
    """In the child: own process group, and on Linux a SIGTERM when the supervisor dies, even by kill -9."""
    os.setsid()
    signal.signal(STOP_SIGNAL, signal.SIG_IGN)  # inherited by all below; a worker with a job listens
    if _prctl is not None:
        _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


@dataclass
class Child:
    name: str
    command: list[str]
    env: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    born: float = 0.0
    not_before: float = 0.0

    def start(self) -> None:
        self.process = subprocess.Popen(
            self.command,
            preexec_fn=_tie_to_parent,
            env={**os.environ, **self.env},
            cwd=settings.BASE_DIR,
            stdin=subprocess.DEVNULL,
        )
        self.born = time.monotonic()

    @property
    def age(self) -> float:
        return time.monotonic() - self.born

    def has_ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def kill_group(self) -> None:
        """Also what an ended parent left behind: workers outlive a killed cluster, and would work beside the next."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def terminate(self) -> None:
        if self.process is not None and self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, STOP_SIGNAL)
            self.process.terminate()

    def pids(self) -> set[int]:
        """Of itself and everything below it."""
        if self.process is None:
            return set()
        with contextlib.suppress(psutil.NoSuchProcess):
            below = psutil.Process(self.process.pid).children(recursive=True)
            return {self.process.pid, *(child.pid for child in below)}
        return {self.process.pid}

    def wait_until(self, end: float) -> None:
        if self.process is None:
            return
        try:
            self.process.wait(max(0.1, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            logger.warning("%s did not end in time and is killed", self.name)
        self.kill_group()
        self.process.wait()


def web_command(bind: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "gunicorn",
        "--worker-class=gthread",
        f"--workers={settings.WEB_PROCESSES}",
        f"--threads={settings.WEB_THREADS}",
        f"--bind={bind}",
        "--timeout=120",
        "--graceful-timeout=10",
        "--max-requests=5000",
        "--max-requests-jitter=500",
        "--no-control-socket",  # it would be opened in the home folder
        "--log-level=warning",
        "sstools.wsgi:application",
    ]


def jobs_command() -> list[str]:
    return [sys.executable, str(settings.BASE_DIR / "manage.py"), "qcluster"]


class Supervisor:
    """Runs until SIGINT or SIGTERM. `say(text)` gets what a person at the terminal should read."""

    def __init__(self, children: list[Child], *, say: Callable[[str], None]) -> None:
        self.children = children
        self._say = say
        self._stopping = threading.Event()
        self._next_sweep = 0.0
        self._next_watch = 0.0
        self._worker_row: int | None = None

    def run(self, on_start: Callable[[], None]) -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        try:
            for child in self.children:
                child.start()
            on_start()
            if (jobs := self._child("jobs")) is not None:
                # In a thread: a database that hangs must not keep us from our children, nor from ending.
                threading.Thread(
                    target=self._look_after, args=(jobs,), name="look after", daemon=True
                ).start()
            while not self._stopping.wait(TICK_SECONDS):
                for child in self.children:
                    if child.has_ended():
                        self._restart(child)
        finally:
            self._stop()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stopping.set()

    def _child(self, name: str) -> Child | None:
        return next((child for child in self.children if child.name == name), None)

    def _look_after(self, jobs: Child) -> None:
        while not self._stopping.wait(TICK_SECONDS):
            periodic.run_due()
            if time.monotonic() >= self._next_sweep:
                self._next_sweep = time.monotonic() + settings.JOB_SWEEP_SECONDS
                self._sweep(jobs)

    def _sweep(self, jobs: Child) -> None:
        try:
            close_old_connections()
            self._show_alive(jobs)
            swept = services.sweep()
            if swept.resent or swept.lost or swept.freed:
                logger.info(
                    "Sweep: %s sent again, %s given up, %s freed", swept.resent, swept.lost, swept.freed
                )
            if time.monotonic() > self._next_watch and self._is_stuck(jobs):
                # The queue library's known fault: a worker killed while idle takes the queue's lock with it, and no
                # other worker ever reads again. Nothing is running, so nothing is lost by starting over.
                logger.error("Jobs wait and no worker takes them: the workers are started again")
                self._next_watch = time.monotonic() + WATCH_PAUSE_LEASES * settings.JOB_LEASE_SECONDS
                jobs.kill_group()
        except Exception as exc:  # the database is away; the next round finds it again
            logger.warning("Sweep failed: %s", exc, exc_info=not is_outage(exc))
            connections.close_all()

    def _restart(self, child: Child) -> None:
        if child.not_before == 0.0:
            code = child.process.returncode if child.process else None
            self._say(f"{child.name} ended with {code}, starting it again")
            child.kill_group()
            child.not_before = time.monotonic() + (
                RESTART_PAUSE_SECONDS if child.age < BRIEF_SECONDS else 0.0
            )
        if time.monotonic() >= child.not_before:
            child.not_before = 0.0
            child.start()

    def _is_stuck(self, jobs: Child) -> bool:
        """A job could be taken for long, and this cluster, which is up for as long, neither has one nor ended one."""
        stuck = max(STUCK_SECONDS, STUCK_LEASES * settings.JOB_LEASE_SECONDS)
        if jobs.process is None or min(jobs.age, services.oldest_wait_seconds()) < stuck:
            return False
        now = services.db_now()
        at_work = Q(state=State.RUNNING, lease_until__gt=now)
        ended = Q(finished_at__gt=now - timedelta(seconds=stuck))  # many are so short that no look meets one
        found = Job.objects.filter(at_work | ended, owner__startswith=f"{socket.gethostname()}:")
        pids = {str(child.pid) for child in psutil.Process(jobs.process.pid).children(recursive=True)}
        return not any(pids & set(owner.split(":")[1:3]) for owner in found.values_list("owner", flat=True))

    def _show_alive(self, jobs: Child) -> None:
        now = services.db_now()
        if self._worker_row is None:
            row = Worker.objects.create(
                host=socket.gethostname(),
                pid=os.getpid(),
                workers=settings.JOB_WORKERS,
                version=__version__,
                seen_at=now,
            )
            self._worker_row = row.pk
        elif not jobs.has_ended():
            Worker.objects.filter(pk=self._worker_row).update(seen_at=now)
        Worker.objects.forget_the_dead(now)

    def _stop(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        self._stopping.set()
        pids = set().union(*(child.pids() for child in self.children))
        for child in self.children:
            child.terminate()
        end = time.monotonic() + STOP_SECONDS
        for child in self.children:
            child.wait_until(end)
        last = threading.Thread(target=self._sign_off, args=(pids,), name="sign off", daemon=True)
        last.start()
        last.join(SIGN_OFF_SECONDS)

    def _sign_off(self, pids: set[int]) -> None:
        """Leave nothing that others would have to wait for."""
        try:
            services.release_leases(socket.gethostname(), pids)
            if self._worker_row is not None:
                Worker.objects.filter(pk=self._worker_row).delete()
        except Exception as exc:
            logger.warning("Signing off failed: %s", exc, exc_info=not is_outage(exc))
        finally:
            connections.close_all()
