"""ss-tools' own PostgreSQL goes away and comes back, under a real `manage.py up`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.infra.server import OwnPostgres
from tests.sstools.test_workers import Installation, finished, wait_for

pytestmark = [pytest.mark.xdist_group("infra")]
LEASE = 4


@pytest.fixture(scope="module")
def postgres() -> Iterator[OwnPostgres]:
    server = OwnPostgres()
    yield server
    server.close()


@pytest.fixture(scope="module")
def running(postgres: OwnPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    installation = Installation(tmp_path_factory.mktemp("up"))
    installation.env |= {
        "SSTOOLS_DATABASE_URL": postgres.new_database(),
        "SSTOOLS_JOB_LEASE_SECONDS": str(LEASE),
        "SSTOOLS_JOB_GRACE_SECONDS": "5",
    }
    try:
        installation.start()
        yield installation
    finally:
        postgres.thaw()
        installation.stop()


def get(running: Installation, path: str, **headers: str) -> httpx.Response:
    address = f"http://127.0.0.1:{running.port}{path}"
    return httpx.get(address, trust_env=False, headers=headers, timeout=30)


def sign_in_form(person: httpx.Client) -> dict[str, str]:
    return {
        "username": "admin",
        "password": "first password 1",
        "csrfmiddlewaretoken": person.cookies["sstools_csrf"],
    }


def sign_in(running: Installation) -> httpx.Client:
    person = httpx.Client(base_url=f"http://127.0.0.1:{running.port}", trust_env=False, timeout=30)
    person.get("/login/")
    assert person.post("/login/", data=sign_in_form(person)).status_code == 302
    return person


def wait_until_ready(running: Installation) -> None:
    wait_for(lambda: get(running, "/readyz").status_code == 200, 40, running.log.read_text)


def test_jobs_at_work_outlast_two_restarts(
    postgres: OwnPostgres, running: Installation, tmp_path: Path
) -> None:
    """One that speaks to the database through its context does not even notice; one with queries of its own is handed
    back and resumed.
    """
    sent = tmp_path / "sent"
    patient = running.enqueue("trial.send", path=str(sent), steps=20, seconds=0.25)
    direct = running.enqueue("trial.write", name="direct", steps=10, seconds=0.5)
    for number, mode in ((2, "fast"), (10, "immediate")):
        wait_for(lambda: sent.exists() and len(sent.read_text().splitlines()) >= number, 30)  # noqa: B023
        postgres.restart(mode)
    for uuid in (patient, direct):
        wait_for(finished(running, uuid), 60, running.log.read_text)
        assert running.job(uuid)["state"] == "succeeded", running.job(uuid)
    assert (running.job(patient)["attempt"], running.job(patient)["losses"]) == (1, 0)
    assert [int(line.split()[0]) for line in sent.read_text().splitlines()] == list(range(20))
    names = [name for name in running.effects() if name.startswith("direct/")]
    assert names == [f"direct/{number}" for number in range(10)]
    wait_until_ready(running)


def test_while_it_is_away_pages_say_so_and_no_request_is_sent_past_the_lease(
    postgres: OwnPostgres, running: Installation, tmp_path: Path
) -> None:
    person, sent = sign_in(running), tmp_path / "sent"
    uuid = running.enqueue("trial.send", path=str(sent), steps=40, seconds=0.2)
    wait_for(lambda: sent.exists() and len(sent.read_text().splitlines()) >= 2, 20)
    postgres.stop("immediate")
    away_since = time.time()
    try:
        page = person.get("/")
        fragment = person.get("/jobs/", headers={"HX-Request": "true"})
        api = get(running, "/api/v1/jobs/", Authorization="Bearer sst_whoever")
        form = person.post("/login/", data=sign_in_form(person))
        assert get(running, "/healthz").status_code == 200
        ready = get(running, "/readyz")
        while time.time() < away_since + 2 * LEASE:
            time.sleep(0.2)
        lines = [line.split() for line in sent.read_text().splitlines()]
    finally:
        postgres.start()
    _is_clear(page)
    assert "<main" in page.text
    _is_clear(fragment)
    assert "<main" not in fragment.text
    assert api.headers["Content-Type"] == "application/problem+json"
    assert (api.status_code, api.json()["code"]) == (503, "own_database_unreachable")
    assert "Nothing was written to any Superset" in api.json()["detail"]
    _is_clear(form)
    assert "Look whether ss-tools kept what you sent" in form.text
    assert (ready.status_code, ready.json()["parts"]["database"]) == (503, "cannot be reached")
    # No line is younger than a lease that could not be renewed.
    assert max(float(moment) for _, moment, _ in lines) < away_since + LEASE + 0.5
    wait_for(finished(running, uuid), 60, running.log.read_text)
    job = running.job(uuid)
    assert job["state"] == "succeeded", job
    numbers = [int(line.split()[0]) for line in sent.read_text().splitlines()]
    assert numbers == list(range(40))  # each once
    wait_until_ready(running)


def _is_clear(page: httpx.Response) -> None:
    assert page.status_code == 503
    assert page.headers["Retry-After"]
    assert "own database cannot be reached" in page.text
    assert "Nothing was written to any Superset" in page.text
    assert "Traceback" not in page.text
    assert "default-src" in page.headers["Content-Security-Policy"]


def test_while_it_hangs_probes_answer_at_once_and_pages_do_not_take_the_last_thread(
    postgres: OwnPostgres, running: Installation
) -> None:
    wait_until_ready(running)
    threads = 4
    postgres.freeze()
    try:
        with ThreadPoolExecutor(threads * 2) as people:
            pages = [people.submit(_try, running) for _ in range(threads * 2)]
            wait_for(lambda: any(page.done() for page in pages), 20)  # the rest waits for the server
            for path, status in (("/healthz", 200), ("/readyz", 503)):
                started = time.monotonic()
                answer = get(running, path)
                assert answer.status_code == status
                assert time.monotonic() - started < 6
            assert answer.json()["parts"]["database"] == "does not answer"
            assert {page.result() for page in pages if page.done()} == {503}
            postgres.thaw()
            assert {page.result() for page in pages} <= {401, 503}
    finally:
        postgres.thaw()
    wait_until_ready(running)
    uuid = running.enqueue("trial.write", name="after-hang")
    wait_for(finished(running, uuid), 60, running.log.read_text)


def _try(running: Installation) -> int:
    return httpx.get(
        f"http://127.0.0.1:{running.port}/api/v1/jobs/",
        headers={"Authorization": "Bearer sst_whoever"},
        trust_env=False,
        timeout=60,
    ).status_code


def test_ss_tools_ends_also_while_its_database_hangs(postgres: OwnPostgres, running: Installation) -> None:
    """The last test here: it ends the installation of the others."""
    assert running.process is not None
    postgres.freeze()
    try:
        time.sleep(2)  # so that a round of the supervisor hangs, too
        running.process.terminate()
        assert running.process.wait(45) == 0
    finally:
        postgres.thaw()
