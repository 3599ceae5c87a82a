"""Real processes: two machines with workers, and every run of every schedule is started once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.sstools.test_workers import ROOT, Installation, wait_for

pytestmark = [pytest.mark.both_databases, pytest.mark.xdist_group("workers")]
SCHEDULES = 12

MAKE = """
from environments.models import Environment
from sstools.schedules.models import Schedule
from sstools.schedules.services import create_schedule
user = get_user_model().objects.get(username="admin")
for number in range(FIRST, FIRST + NUMBER):
    # Nobody listens there: the test of the connection is over at once.
    environment = Environment.objects.create(
        slug=f"e{number}", name=f"E{number}", tag="E", url="http://127.0.0.1:9", username="x", secret="x"
    )
    schedule = create_schedule(
        {
            "name": f"s{number}",
            "kind": "environments.check",
            "params": {"environment": str(environment.uuid)},
            "cron": "* * * * *",
            "time_zone": "UTC",
        },
        actor=user,
    )
    schedule.set_next(schedule.timetable.latest(services.db_now(), schedule.zone))
    schedule.save()
print(1)
"""
STARTED = (
    "SELECT COUNT(*) FROM schedules_firing WHERE outcome IN ('fired', 'late') "
    "AND schedule_id IN (SELECT id FROM schedules_schedule WHERE builtin IS NULL)"
)
JOBS = (
    "SELECT COUNT(*), COUNT(DISTINCT idempotency_key) FROM jobs_job "
    "WHERE source = 'schedule' AND kind = 'environments.check'"
)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    installation = Installation(tmp_path_factory.mktemp("schedules"))
    try:
        installation.start()
        yield installation
    finally:
        installation.stop()


def make(running: Installation, first: int) -> None:
    """So many more schedules that are due at once."""
    running.run(f"FIRST, NUMBER = {first}, {SCHEDULES}\n{MAKE}")


def test_two_machines_start_every_run_once_and_one_goes_on_when_the_other_is_killed(
    running: Installation,
) -> None:
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
        wait_for(
            lambda: running.rows("SELECT COUNT(*) FROM jobs_worker")[0][0] == 2, 60, running.log.read_text
        )
        make(running, 0)
        wait_for(lambda: running.rows(STARTED)[0][0] >= SCHEDULES, 60, running.log.read_text)
        for process in [*psutil.Process(second.pid).children(recursive=True), psutil.Process(second.pid)]:
            process.kill()
        make(running, SCHEDULES)
        wait_for(lambda: running.rows(STARTED)[0][0] >= 2 * SCHEDULES, 120, running.log.read_text)
    finally:
        second.kill()
        second.wait()
    running.run(
        "from sstools.schedules import services as schedules\n"
        "from sstools.schedules.models import Schedule\n"
        "user = get_user_model().objects.get(username='admin')\n"
        "for schedule in Schedule.objects.filter(builtin=None):\n"
        "    schedules.pause(schedule, actor=user)\n"
        "print(1)"
    )
    started = running.rows(STARTED)[0][0]
    assert running.rows(JOBS) == [(started, started)]
    twice = (
        "SELECT schedule_id, due_at FROM schedules_firing GROUP BY schedule_id, due_at HAVING COUNT(*) > 1"
    )
    assert running.rows(twice) == []
    assert running.rows("SELECT COUNT(*) FROM schedules_firing WHERE outcome = 'failed'") == [(0,)]
    open_ones = "SELECT COUNT(*) FROM schedules_firing WHERE result = '' AND outcome IN ('fired', 'late')"
    wait_for(lambda: running.rows(open_ones)[0][0] == 0, 90, running.log.read_text)  # the results are noted
    results = running.rows(
        "SELECT DISTINCT result, text FROM schedules_firing WHERE outcome = 'fired' "
        "AND schedule_id IN (SELECT id FROM schedules_schedule WHERE builtin IS NULL)"
    )
    assert results == [("succeeded", "the test failed")]
    log = Path(running.log).read_text()
    assert "IntegrityError" not in log
    assert "Firing schedules failed" not in log
