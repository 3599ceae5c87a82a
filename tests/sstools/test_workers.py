"""Real processes: `manage.py up`, its workers, and what happens when they are killed."""

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.both_databases, pytest.mark.xdist_group("workers")]

SCRIPT = """
import json
from django.contrib.auth import get_user_model
from sstools.jobs import services
from sstools.jobs.models import Job
{code}
"""


class Installation:
    """ss-tools with its own data folder and database, started as an operator starts it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("SSTOOLS_")},
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "SSTOOLS_TEST_DATA": str(folder),
            "SSTOOLS_TEST_KEEP": "1",
            "SSTOOLS_DATA_DIR": str(folder),
            "SSTOOLS_BIND": f"127.0.0.1:{self.port}",
            "SSTOOLS_ADMIN_PASSWORD": "first password 1",
            "SSTOOLS_WEB_PROCESSES": "1",
            "SSTOOLS_JOB_WORKERS": "2",
            "SSTOOLS_JOB_LEASE_SECONDS": "3",
            "SSTOOLS_JOB_GRACE_SECONDS": "5",
            "SSTOOLS_JOB_SWEEP_SECONDS": "1",
        }
        if os.environ.get("SSTOOLS_TEST_DATABASE") == "postgres":
            from tests.postgres import new_database

            self.env["SSTOOLS_DATABASE_URL"] = new_database(os.environ["SSTOOLS_TEST_DATA"])
        self.process: subprocess.Popen[str] | None = None
        self.log = folder / "up.log"

    def start(self, *options: str) -> None:
        self.launch(*options)
        wait_for(lambda: self.parts().get("workers") == "ok", 120, lambda: self.log.read_text())

    def launch(self, *options: str) -> None:
        """Without waiting until it answers."""
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "up", *options],
                cwd=ROOT,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                text=True,
            )

    def parts(self) -> dict[str, str]:
        try:
            answer = httpx.get(f"http://127.0.0.1:{self.port}/readyz", trust_env=False).json()
        except (httpx.TransportError, ValueError):
            return {}
        return dict(answer["parts"])

    def run(self, code: str) -> Any:
        """The JSON that this code prints, run in a shell of the installation."""
        out = subprocess.run(
            [sys.executable, "manage.py", "shell", "--no-imports", "-c", SCRIPT.format(code=code)],
            cwd=ROOT,
            env=self.env,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        return json.loads(out.strip().splitlines()[-1])

    def enqueue(self, kind: str, **params: Any) -> str:
        return str(
            self.run(
                "user = get_user_model().objects.get(username='admin')\n"
                f"print(json.dumps(str(services.enqueue({kind!r}, {params!r}, actor=user).uuid)))"
            )
        )

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Straight from the database: a shell takes longer to start than these jobs take."""
        if url := self.env.get("SSTOOLS_DATABASE_URL"):
            with psycopg.connect(url) as postgres:
                return list(postgres.execute(sql).fetchall())
        with contextlib.closing(sqlite3.connect(self.folder / "ss-tools.sqlite3", timeout=20)) as sqlite:
            return sqlite.execute(sql).fetchall()

    def job(self, uuid: str) -> dict[str, Any]:
        fields = ["state", "attempt", "losses", "owner", "error", "progress_done"]
        key = uuid if "SSTOOLS_DATABASE_URL" in self.env else uuid.replace("-", "")
        (row,) = self.rows(f"SELECT {', '.join(fields)} FROM jobs_job WHERE uuid = '{key}'")
        job = dict(zip(fields, row, strict=True))
        return {**job, "error": json.loads(job["error"]) if isinstance(job["error"], str) else job["error"]}

    def effects(self) -> list[str]:
        return [row[0] for row in self.rows("SELECT name FROM trial_effect ORDER BY id")]

    def processes(self) -> list[psutil.Process]:
        assert self.process is not None
        return psutil.Process(self.process.pid).children(recursive=True)

    def cluster(self) -> psutil.Process:
        return next(child for child in self.processes() if "qcluster" in child.cmdline())

    def stop(self) -> None:
        if self.process is None:
            return
        children = self.processes() if self.process.poll() is None else []
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
        for child in children:
            if child.is_running():
                child.kill()


def wait_for(holds: Callable[[], Any], seconds: float, why: Callable[[], str] = lambda: "") -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"not within {seconds} s. {why()}"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    installation = Installation(tmp_path_factory.mktemp("up"))
    try:
        installation.start()
        yield installation
    finally:
        installation.stop()


def works(process: psutil.Process) -> bool:
    """Not one that ended and waits for its parent, which is the system's first process, to notice."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def finished(running: Installation, uuid: str) -> Callable[[], bool]:
    return lambda: running.job(uuid)["state"] not in ("queued", "running")


def test_a_job_starts_within_a_second_and_pages_answer(running: Installation) -> None:
    uuids = [running.enqueue("trial.write", name=f"quick/{n}") for n in range(3)]
    wait_for(lambda: all(finished(running, uuid)() for uuid in uuids), 10)
    waits = running.run(
        f"print(json.dumps([job.waited_seconds for job in Job.objects.filter(uuid__in={uuids!r})]))"
    )
    assert {running.job(uuid)["state"] for uuid in uuids} == {"succeeded"}
    assert min(waits) < 1.0  # the machine may be busy with other tests for a moment, not three times
    page = httpx.get(f"http://127.0.0.1:{running.port}/login/", trust_env=False)
    assert page.status_code == 200
    assert "Sign in" in page.text


def test_a_killed_worker_is_replaced_and_its_job_goes_on_where_it_was(running: Installation) -> None:
    uuid = running.enqueue("trial.write", name="killed", steps=6, seconds=0.5)
    wait_for(lambda: running.job(uuid)["progress_done"] >= 1, 10)
    os.kill(int(running.job(uuid)["owner"].split(":")[1]), signal.SIGKILL)
    wait_for(finished(running, uuid), 30)
    job = running.job(uuid)
    assert (job["state"], job["attempt"], job["losses"]) == ("succeeded", 2, 1)
    assert [name for name in running.effects() if name.startswith("killed/")] == [
        f"killed/{n}" for n in range(6)
    ]


def test_a_job_that_kills_its_workers_is_given_up(running: Installation) -> None:
    uuid = running.enqueue("trial.kill")
    wait_for(finished(running, uuid), 60)
    job = running.job(uuid)
    assert (job["state"], job["error"]["code"], job["attempt"]) == ("failed", "worker_lost", 5)


def test_workers_killed_while_idle_do_not_stop_the_queue(running: Installation) -> None:
    """The queue library never recovers from this by itself: the killed one takes the queue's lock along."""
    idle = running.cluster()
    for process in idle.children(recursive=True):
        if process.is_running() and not process.children():
            process.kill()
    uuids = [running.enqueue("trial.write", name=f"after/{n}") for n in range(4)]
    wait_for(lambda: all(finished(running, uuid)() for uuid in uuids), 40, running.log.read_text)
    assert sorted(name for name in running.effects() if name.startswith("after/")) == [
        f"after/{n}/0" for n in range(4)
    ]


def test_a_killed_cluster_is_started_again_and_nothing_of_it_is_left(running: Installation) -> None:
    uuid = running.enqueue("trial.write", name="cluster", steps=4, seconds=0.5)
    wait_for(lambda: running.job(uuid)["state"] == "running", 20)
    before = running.cluster()
    orphans = before.children(recursive=True)
    before.kill()
    wait_for(finished(running, uuid), 30)
    wait_for(lambda: not any(map(works, orphans)), 15)
    assert [name for name in running.effects() if name.startswith("cluster/")] == [
        f"cluster/{n}" for n in range(4)
    ]


def test_two_machines_one_of_them_killed_in_the_middle_each_job_is_done_once(running: Installation) -> None:
    number = 150
    with running.log.open("a") as log:
        second = subprocess.Popen(
            [sys.executable, "manage.py", "up", "--only", "jobs", "--no-migrate"],
            cwd=ROOT,
            env=running.env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        wait_for(lambda: running.rows("SELECT COUNT(*) FROM jobs_worker")[0][0] == 2, 30)
        wait_for(lambda: len(psutil.Process(second.pid).children(recursive=True)) >= 5, 20)
        running.run(
            "user = get_user_model().objects.get(username='admin')\n"
            f"for n in range({number}):\n"
            "    services.enqueue('trial.write', {'name': f'many/{n}', 'seconds': 0.05}, actor=user)\n"
            "print(1)"
        )
        count = "SELECT COUNT(*) FROM trial_effect WHERE name LIKE 'many/%'"
        wait_for(lambda: running.rows(count)[0][0] >= number // 4, 60)
        for process in [*psutil.Process(second.pid).children(recursive=True), psutil.Process(second.pid)]:
            process.kill()
        open_jobs = "SELECT COUNT(*) FROM jobs_job WHERE state IN ('queued', 'running')"
        wait_for(lambda: running.rows(open_jobs)[0][0] == 0, 90, running.log.read_text)
    finally:
        second.kill()
        second.wait()
    names = sorted(name for name in running.effects() if name.startswith("many/"))
    assert names == sorted(f"many/{n}/0" for n in range(number))
    states = running.rows("SELECT DISTINCT state FROM jobs_job WHERE kind = 'trial.write'")
    assert states == [("succeeded",)]


def test_the_port_that_is_taken_is_said_in_one_line(running: Installation) -> None:
    out = subprocess.run(
        [sys.executable, "manage.py", "up", "--only", "web", "--no-migrate"],
        cwd=ROOT,
        env=running.env,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert out.returncode == 1
    assert f"127.0.0.1:{running.port} is taken by another program" in out.stderr
    assert "Traceback" not in out.stderr


def test_nothing_is_left_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    try:
        installation.start()
        wait_for(
            lambda: len(installation.processes()) >= 8, 20
        )  # web 1 + 1; queue: main, guard, 2 workers, 2 more
        processes = installation.processes()
        assert installation.process is not None
        installation.process.kill()
        wait_for(lambda: not any(map(works, processes)), 60)
    finally:
        installation.stop()


def test_ctrl_c_ends_everything_soon(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    try:
        installation.start()
        wait_for(lambda: len(installation.processes()) >= 8, 20)
        processes = installation.processes()
        assert installation.process is not None
        started = time.monotonic()
        installation.process.send_signal(signal.SIGINT)
        assert installation.process.wait(15) == 0
        assert time.monotonic() - started < 10
        wait_for(lambda: not any(map(works, processes)), 5)
    finally:
        installation.stop()
