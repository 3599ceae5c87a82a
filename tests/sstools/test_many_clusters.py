"""Two clusters of four workers each, real processes: what somebody asked for happens, and it happens once."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.sstools.test_workers import ROOT, Installation, wait_for

pytestmark = [pytest.mark.both_databases, pytest.mark.xdist_group("workers")]
ON_POSTGRES = os.environ.get("SSTOOLS_TEST_DATABASE") == "postgres"
JOBS = 2_000 if ON_POSTGRES else 400


class Clusters(Installation):
    """An installation on which "machines" with four workers each are started and killed; it has no web server."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.env["SSTOOLS_JOB_WORKERS"] = "4"
        self.machines: list[subprocess.Popen[bytes]] = []
        subprocess.run(
            [sys.executable, "manage.py", "migrate", "--verbosity=0"], cwd=ROOT, env=self.env, check=True
        )

    def start_machine(self) -> subprocess.Popen[bytes]:
        before = self.reported()
        with self.log.open("a") as log:
            machine = subprocess.Popen(
                [sys.executable, "manage.py", "up", "--only", "jobs", "--no-migrate"],
                cwd=ROOT,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.machines.append(machine)
        wait_for(lambda: self.reported() == before + 1, 60, self.log.read_text)
        return machine

    def reported(self) -> int:
        return int(self.rows("SELECT COUNT(*) FROM jobs_worker")[0][0])

    def kill_machine(self, machine: subprocess.Popen[bytes]) -> None:
        """As if its power had failed: nobody signs off, nothing is handed back."""
        for process in [psutil.Process(machine.pid), *psutil.Process(machine.pid).children(recursive=True)]:
            process.send_signal(signal.SIGKILL)
        machine.wait()

    def stop(self) -> None:
        for machine in self.machines:
            if machine.poll() is None:
                machine.terminate()
        for machine in self.machines:
            try:
                machine.wait(30)
            except subprocess.TimeoutExpired:
                self.kill_machine(machine)

    def enqueue_many(self, number: int, name: str, seconds: float = 0.0, priority: str = "normal") -> None:
        self.run(
            "from django.db import transaction\n"
            "from sstools.jobs.models import Priority\n"
            "with transaction.atomic():\n"
            f"    for n in range({number}):\n"
            f"        services.enqueue('trial.write', {{'name': f'{name}/{{n}}', 'seconds': {seconds}}}, actor=None,"
            f" priority=Priority({priority!r}))\n"
            "print(1)"
        )

    def count(self, sql: str) -> int:
        return int(self.rows(f"SELECT COUNT(*) FROM {sql}")[0][0])


@pytest.fixture
def clusters(tmp_path: Path) -> Iterator[Clusters]:
    made = Clusters(tmp_path)
    try:
        yield made
    finally:
        made.stop()


def test_each_effect_happens_once_though_a_cluster_is_killed_in_the_middle(clusters: Clusters) -> None:
    clusters.enqueue_many(JOBS, "many", seconds=0.02)
    # First the one that is to die: the other must not have done everything before it is there.
    dies, stays = clusters.start_machine(), clusters.start_machine()
    wait_for(lambda: clusters.count("trial_effect") >= JOBS // 10, 300, clusters.log.read_text)

    def at_work() -> int:
        # Asked anew: workers make room for new ones after so many jobs.
        workers = {process.pid for process in psutil.Process(dies.pid).children(recursive=True)}
        rows = clusters.rows("SELECT owner FROM jobs_job WHERE state = 'running'")
        return sum(int(owner.split(":")[1]) in workers for (owner,) in rows)

    wait_for(lambda: at_work() > 0, 60, clusters.log.read_text)
    clusters.kill_machine(dies)
    left = clusters.count("jobs_job WHERE state = 'queued'")
    assert left > JOBS // 10, "it was killed too late to prove anything"
    wait_for(
        lambda: clusters.count("jobs_job WHERE state IN ('queued', 'running')") == 0,
        300,
        clusters.log.read_text,
    )
    assert stays.poll() is None
    assert clusters.rows("SELECT state, COUNT(*) FROM jobs_job GROUP BY state") == [("succeeded", JOBS)]
    twice = clusters.rows("SELECT name FROM trial_effect GROUP BY name HAVING COUNT(*) > 1")
    assert (twice, clusters.count("trial_effect")) == ([], JOBS)
    assert clusters.count("jobs_joblock") == 0
    resumed = clusters.count("jobs_job WHERE losses > 0")
    print(f"{JOBS} jobs: {left} waited when one cluster was killed, {resumed} of its were resumed")  # noqa: T201


def test_a_night_full_of_background_jobs_does_not_keep_a_person_waiting(clusters: Clusters) -> None:
    """Told from the order of things, not from a clock: how much of the night was over when the person's job began."""
    night = 60
    clusters.enqueue_many(night, "night", seconds=0.5, priority="background")
    clusters.start_machine()
    done = "jobs_job WHERE priority = 'background' AND state = 'succeeded'"
    wait_for(lambda: clusters.count(done) >= 3, 60, clusters.log.read_text)
    clusters.enqueue_many(1, "person", priority="interactive")
    ours = "jobs_job WHERE priority = 'interactive' AND state = 'succeeded'"
    wait_for(lambda: clusters.count(ours) == 1, 60, clusters.log.read_text)
    began = "(SELECT started_at FROM jobs_job WHERE priority = 'interactive')"
    asked = "(SELECT created_at FROM jobs_job WHERE priority = 'interactive')"
    meanwhile = f"jobs_job WHERE priority = 'background' AND started_at BETWEEN {asked} AND {began}"
    assert clusters.count(meanwhile) <= 3  # of the sixty: what three workers took in the moment of asking
    most = max(
        clusters.count(
            f"jobs_job WHERE priority = 'background' AND started_at <= {at} AND finished_at > {at}"
        )
        for at in (
            f"(SELECT started_at FROM jobs_job WHERE id = {pk})"
            for (pk,) in clusters.rows("SELECT id FROM jobs_job WHERE started_at IS NOT NULL")
        )
    )
    assert most <= 3  # of four workers one stayed free all the time


def test_sigkill_of_the_whole_installation_loses_nothing(clusters: Clusters) -> None:
    clusters.enqueue_many(60, "all", seconds=0.1)
    both = clusters.start_machine(), clusters.start_machine()
    wait_for(lambda: clusters.count("trial_effect") >= 10, 60, clusters.log.read_text)
    for machine in both:
        clusters.kill_machine(machine)
    clusters.start_machine()
    wait_for(
        lambda: clusters.count("jobs_job WHERE state IN ('queued', 'running')") == 0,
        120,
        clusters.log.read_text,
    )
    twice = clusters.rows("SELECT name FROM trial_effect GROUP BY name HAVING COUNT(*) > 1")
    assert (twice, clusters.count("trial_effect")) == ([], 60)
