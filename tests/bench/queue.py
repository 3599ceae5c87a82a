"""`python -m tests.bench.queue [--rounds 30]`: how soon a job starts at idle, and pages with a thousand jobs waiting.

ss-tools with default settings and SQLite (SSTOOLS_TEST_DATABASE=postgres for PostgreSQL 16), in a folder of its own.
"""

from __future__ import annotations

import argparse
import os
import re
import tempfile
import time
from pathlib import Path

import httpx

from tests.sstools.test_workers import Installation

from .measuring import say, spread

PAGES = ("/", "/jobs/", "/jobs/?state=unfinished", "/jobs/workers/", "/readyz")
FEW, WAITING = 60, 1_000  # the few fill a page of the list
STARTS = """
import time
waits = []
for n in range({rounds}):
    job = services.enqueue('trial.write', {{'name': f'bench/{{n}}'}}, actor=None)
    while Job.objects.filter(pk=job.pk, finished_at=None).exists():
        time.sleep(0.05)
    job.refresh_from_db()
    waits.append(job.waited_seconds)
    time.sleep(0.3)
print(json.dumps(waits))
"""
QUEUE_UP = """
from datetime import timedelta
from django.db import transaction
from sstools.jobs.models import JobLock, State
with transaction.atomic():
    if not JobLock.objects.exists():
        holder = Job.objects.create(kind='trial.write', title='Holder', state=State.RUNNING, attempt=1,
            started_at=services.db_now(), lease_until=services.db_now() + timedelta(hours=1), owner='bench:1:1:x')
        JobLock.objects.create(job=holder, resource='environment:bench')
    for n in range({waiting}):
        services.enqueue('trial.write', {{'name': f'waits/{{n}}'}}, actor=None, locks=['environment:bench'])
print(1)
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.queue", description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--section", type=Path, help="write the section of the page of benchmarks here")
    options = parser.parse_args()
    rounds = options.rounds
    with tempfile.TemporaryDirectory(prefix="ss-tools-queue-") as folder:
        os.environ.setdefault("SSTOOLS_TEST_DATA", folder)
        installation = Installation(Path(folder))
        for name in [name for name in installation.env if name.startswith(("SSTOOLS_JOB_", "SSTOOLS_WEB_"))]:
            del installation.env[name]  # shortened for tests; here the defaults count
        try:
            installation.start()
            waits = installation.run(STARTS.format(rounds=rounds))
            told = [f"from asking to the start, idle, {rounds} jobs: {_spread(waits)}"]
            say(told[0])
            installation.run(QUEUE_UP.format(waiting=FEW))
            few = _pages(installation, rounds)
            installation.run(QUEUE_UP.format(waiting=WAITING - FEW))
            many = _pages(installation, rounds)
            for page in PAGES:
                compared = f"{FEW} jobs waiting {_spread(few[page])}; {WAITING:,} {_spread(many[page])}"
                told.append(f"`{page}`: {compared}")
                say(told[-1])
        finally:
            installation.stop()
    if options.section:
        options.section.write_text("## Jobs\n\n" + "\n".join(f"- {line}" for line in told) + "\n")


def _pages(installation: Installation, rounds: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {}
    with httpx.Client(
        base_url=f"http://127.0.0.1:{installation.port}", trust_env=False, timeout=60
    ) as browser:
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', browser.get("/login/").text)
        assert token
        form = {"username": "admin", "password": "first password 1", "csrfmiddlewaretoken": token[1]}
        assert browser.post("/login/", data=form).status_code == 302
        for page in PAGES:
            for _ in range(rounds):
                started = time.perf_counter()
                assert browser.get(page).status_code == 200, page
                times.setdefault(page, []).append(time.perf_counter() - started)
    return times


def _spread(seconds: list[float]) -> str:
    return spread([1000 * one for one in seconds])


if __name__ == "__main__":
    main()
