"""The page of a job while all workers of its machine die and others come: what somebody who watches it reads."""

import copy
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.sstools.test_workers import Installation, wait_for

pytestmark = pytest.mark.xdist_group("workers")
PASSWORD = "first password 1"  # of the installation that the test starts


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Installation]:
    """A machine that only answers pages."""
    installation = Installation(tmp_path)
    installation.launch("--only", "web")
    try:
        wait_for(lambda: bool(installation.parts()), 60, lambda: installation.log.read_text())
        yield installation
    finally:
        installation.stop()


def sign_in(web: Installation) -> httpx.Client:
    client = httpx.Client(
        base_url=f"http://127.0.0.1:{web.port}", trust_env=False, follow_redirects=True, timeout=30
    )
    page = client.get("/login/").text
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
    assert token
    form = {"csrfmiddlewaretoken": token[1], "username": "admin", "password": PASSWORD}
    answer = client.post("/login/", data=form, headers={"Referer": str(client.base_url)})
    assert answer.status_code == 200, answer.text
    return client


def beside(web: Installation, name: str) -> Installation:
    """Another machine on the same database."""
    other = copy.copy(web)
    other.process, other.log = None, web.folder / f"{name}.log"
    return other


def kill_all(machine: Installation) -> None:
    """As when the power goes: the supervisor and all of its processes at once."""
    assert machine.process is not None
    supervisor = psutil.Process(machine.process.pid)
    for process in [supervisor, *supervisor.children(recursive=True)]:
        os.kill(process.pid, signal.SIGKILL)
    machine.process.wait()


def test_a_lost_machine_is_said_before_another_takes_over(web: Installation) -> None:
    first, second = beside(web, "first"), beside(web, "second")
    client = sign_in(web)
    uuid = ""

    def page() -> str:
        return client.get(f"/jobs/{uuid}/").text

    try:
        first.launch("--only", "jobs", "--no-migrate")
        wait_for(lambda: web.parts().get("workers") == "ok", 60, lambda: first.log.read_text())
        uuid = web.enqueue("trial.write", name="long", steps=400, seconds=0.1)
        wait_for(lambda: " of 400" in page(), 60, page)
        assert "No sign from its worker" not in page()
        kill_all(first)
        wait_for(lambda: "No sign from its worker" in page(), 30, page)
        assert re.search(r"another takes over at|Another worker takes it over", page())
        assert "left ·" not in page()
        assert f'id="job-{uuid}"' in client.get("/jobs/?state=late").text
        second.launch("--only", "jobs", "--no-migrate")
        wait_for(lambda: "this one goes on from what it finds" in page(), 60, page)
        wait_for(lambda: "No sign from its worker" not in page(), 30, page)
    finally:
        client.close()
        for machine in (first, second):
            machine.stop()
