"""How an installation ends: on request, by force, in parts; and how the next one goes on."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.infra.test_database_outage import get
from tests.sstools.test_workers import ROOT, Installation, finished, wait_for, works

pytestmark = [pytest.mark.xdist_group("stopping")]
LEASE = 60  # nobody could wait for that here


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    made = Installation(tmp_path)
    made.env["SSTOOLS_JOB_LEASE_SECONDS"] = str(LEASE)
    made.env["SSTOOLS_JOB_GRACE_SECONDS"] = str(LEASE)
    try:
        yield made
    finally:
        made.stop()


def begun(sent: Path) -> bool:
    return sent.exists() and len(sent.read_text().splitlines()) >= 2


def test_a_job_is_handed_over_at_a_stop_and_goes_on_at_once_at_the_next_start(
    installation: Installation, tmp_path: Path
) -> None:
    """Also one in a request that does not end: it is ended by force, and nobody waits for its lease."""
    installation.start()
    quick, stuck = tmp_path / "quick", tmp_path / "stuck"
    uuids = [
        installation.enqueue("trial.stall", path=str(stuck), seconds=600),
        installation.enqueue("trial.send", path=str(quick), steps=60, seconds=0.25),
    ]
    wait_for(lambda: begun(quick) and stuck.exists(), 30)
    assert installation.process is not None
    processes = installation.processes()
    installation.process.terminate()
    assert installation.process.wait(40) == 0
    wait_for(lambda: not any(map(works, processes)), 10)
    lines = len(quick.read_text().splitlines())
    assert lines < 60
    started = time.monotonic()
    installation.start()
    for uuid in uuids:
        wait_for(finished(installation, uuid), 40, installation.log.read_text)
        assert installation.job(uuid)["state"] == "succeeded"
        assert installation.job(uuid)["attempt"] == 2
    assert time.monotonic() - started < LEASE
    assert [int(line.split()[0]) for line in quick.read_text().splitlines()] == list(range(60))
    # Being handed over is no loss that counts; being killed is one.
    assert [installation.job(uuid)["losses"] for uuid in uuids] == [1, 1]


def test_a_killed_web_worker_is_replaced_and_many_open_connections_are_survived(
    installation: Installation,
) -> None:
    installation.env["SSTOOLS_WEB_PROCESSES"] = "2"
    limited = [sys.executable, "-c", LIMITED, "manage.py", "up", "--only", "web"]
    with installation.log.open("a") as log:
        installation.process = subprocess.Popen(
            limited,
            cwd=ROOT,
            env=installation.env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            text=True,
        )

    def answers() -> bool:
        return installation.parts().get("database") == "ok"

    wait_for(answers, 60, installation.log.read_text)
    master = next(child for child in installation.processes() if child.ppid() == installation.process.pid)
    victim = master.children()[0]
    victim.kill()
    wait_for(lambda: len([child for child in master.children() if works(child)]) == 2, 30)
    assert answers()
    connections = []
    try:
        for _ in range(300):  # more than two processes may open files
            connection = socket.socket()
            connection.settimeout(2)
            connections.append(connection)
            with contextlib.suppress(OSError):
                connection.connect(("127.0.0.1", installation.port))
    finally:
        for connection in connections:
            connection.close()
    wait_for(answers, 40, installation.log.read_text)
    assert get(installation, "/login/").status_code == 200


LIMITED = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (96, 96))
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def test_after_a_kill_the_next_start_resumes_what_was_at_work(
    installation: Installation, tmp_path: Path
) -> None:
    installation.env["SSTOOLS_JOB_LEASE_SECONDS"] = "4"
    installation.start()
    sent = tmp_path / "sent"
    uuid = installation.enqueue("trial.send", path=str(sent), steps=30, seconds=0.25)
    wait_for(lambda: begun(sent), 20)
    assert installation.process is not None
    processes = [psutil.Process(installation.process.pid), *installation.processes()]
    for process in processes:  # as a machine that loses its power
        with contextlib.suppress(psutil.NoSuchProcess):
            os.kill(process.pid, signal.SIGKILL)
    installation.process.wait()
    installation.start()
    wait_for(finished(installation, uuid), 60, installation.log.read_text)
    assert installation.job(uuid)["state"] == "succeeded"
    assert [int(line.split()[0]) for line in sent.read_text().splitlines()] == list(range(30))
