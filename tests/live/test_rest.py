"""By REST alone: ss-tools as it is installed, server and workers as processes, and a program that speaks HTTP."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from environments.lab.instance import RunningSuperset
from environments.lab.processes import free_port
from environments.lab.rest import Rest

pytestmark = pytest.mark.live

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "a long password 1"  # of this test's own installation
READY_SECONDS = 120
JOB_SECONDS = 300
Lease = Callable[..., RunningSuperset]


class Program:
    """A client of the REST API: signed in with a token, waits for jobs by their address."""

    def __init__(self, url: str) -> None:
        self.http = httpx.Client(base_url=url, timeout=60, trust_env=False)
        token = self.post("/api/v1/tokens/", {"username": "admin", "password": PASSWORD, "name": "test"}, 201)
        self.http.headers["Authorization"] = f"Bearer {token['token']}"

    def get(self, url: str, **query: Any) -> Any:
        return self._answer(self.http.get(url, params=query), 200)

    def post(self, url: str, body: Any = None, status: int = 200) -> Any:
        return self._answer(self.http.post(url, json=body or {}), status)

    def put(self, url: str, body: Any) -> Any:
        return self._answer(self.http.put(url, json=body), 200)

    def work(self, url: str, body: Any = None) -> dict[str, Any]:
        """Ask for work: 202, then its job until it has ended, well."""
        answer = self.http.post(url, json=body or {})
        assert answer.status_code == 202, answer.text
        return self.wait(answer.headers["Location"])

    def wait(self, url: str) -> dict[str, Any]:
        deadline = time.monotonic() + JOB_SECONDS
        while time.monotonic() < deadline:
            job: dict[str, Any] = self.get(url)
            if job["is_finished"]:
                assert job["state"] == "succeeded", (job["error"], self.get(f"{url}log/"))
                return job
            time.sleep(0.5)
        raise AssertionError(f"not done within {JOB_SECONDS} s: {job}")

    def all(self, url: str, **query: Any) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        page: dict[str, Any] = self.get(url, page_size=200, **query)
        rows += page["results"]
        while page["next"]:
            page = self.get(page["next"])
            rows += page["results"]
        return rows

    @staticmethod
    def _answer(answer: httpx.Response, status: int) -> Any:
        assert answer.status_code == status, answer.text
        return answer.json()


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[str]:
    """The address of an ss-tools of its own: empty data folder, `manage.py up`, one administrator."""
    port = free_port()
    settings = {
        name: value for name, value in os.environ.items() if not name.startswith(("SSTOOLS_", "DJANGO_"))
    }
    log = tmp_path / "up.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "up", "--bind", f"127.0.0.1:{port}"],
            cwd=ROOT,
            env={
                **settings,
                "SSTOOLS_DATA_DIR": str(tmp_path / "data"),
                "SSTOOLS_ADMIN_PASSWORD": PASSWORD,
                "SSTOOLS_WEB_PROCESSES": "1",
                "SSTOOLS_JOB_WORKERS": "2",
            },
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            assert process.poll() is None, log.read_text()[-3000:]
            try:
                if httpx.get(f"{url}/healthz", timeout=5, trust_env=False).status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.3)
        else:
            raise AssertionError(log.read_text()[-3000:])
        yield url
    finally:
        process.terminate()
        process.wait(timeout=60)


def register(program: Program, name: str, superset: RunningSuperset, **fields: Any) -> dict[str, Any]:
    body = {
        "name": name,
        "slug": name,
        "tag": name,
        "url": superset.url,
        "username": superset.username,
        **fields,
    }
    made: dict[str, Any] = program.post("/api/v1/environments/", {**body, "secret": superset.password}, 201)
    address = f"/api/v1/environments/{made['uuid']}/"
    program.work(f"{address}check/")
    program.work(f"{address}read/")
    environment: dict[str, Any] = program.get(address)
    assert environment["check_state"] in ("ok", "warning"), environment["check_report"]
    assert superset.password not in {str(value) for value in environment.values()} - {superset.username}
    return environment


def connections(superset: RunningSuperset) -> list[dict[str, Any]]:
    """Every connection with all of its fields, as Superset tells an administrator."""
    rest = Rest(superset)
    rows = rest.call("GET", "/api/v1/database/")["result"]
    return [rest.call("GET", f"/api/v1/database/{row['id']}/connection")["result"] for row in rows]


def count(superset: RunningSuperset, resource: str) -> int:
    return int(Rest(superset).call("GET", f"/api/v1/{resource}/")["count"])


def test_nine_dashboards_move_are_verified_and_go_back(
    installation: str, dev: RunningSuperset, fresh_target: Lease
) -> None:
    target = fresh_target()
    program = Program(installation)
    register(program, "dev", dev, position=1)
    register(program, "prod", target, position=3, protected=True)
    before = connections(target)
    assert len(before) == 1

    # Pick the dashboards; the first plan says which database must be mapped, and to what.
    dashboards = program.all("/api/v1/assets/", env="dev", type="dashboard")
    assert len(dashboards) == 9
    request = {
        "source": "dev",
        "target": "prod",
        "selection": [row["uuid"] for row in dashboards],
        "title": "The nine examples",
        "plan": True,
    }
    made = program.post("/api/v1/migrations/", request, 201)
    program.wait(made["job"]["url"])
    migration = program.get(made["url"])
    assert migration["counts"]["blocked"] > 0
    assert migration["why_not_applicable"]
    plan = program.get(f"{made['url']}plan/")
    (database,) = plan["databases"]
    suggestion = database["suggestions"][0]
    assert (suggestion["uuid"], suggestion["tables_found"]) == (
        before[0]["uuid"],
        suggestion["tables_needed"],
    )
    program.put("/api/v1/mappings/dev/prod/", {"databases": {database["uuid"]: suggestion["uuid"]}})

    # Plan again, look, apply.
    program.work(f"{made['url']}plan/")
    plan = program.get(f"{made['url']}plan/")
    assert plan["counts"]["create"] == len(plan["items"]) > 100
    assert [problem for problem in plan["problems"] if problem["severity"] == "error"] == []
    refused = program.http.post(f"{made['url']}apply/", json={"plan_hash": plan["hash"]})
    assert (refused.status_code, refused.json()["code"]) == (422, "wrong_confirmation")
    program.work(f"{made['url']}apply/", {"plan_hash": plan["hash"], "confirmation": "prod"})

    # Everything is there, was read back as wanted, and every chart answers as on dev.
    migration = program.get(made["url"])
    assert migration["state"] == "done"
    run = program.get(migration["runs"][0]["url"])
    assert (run["state"], run["unwritten"], run["error"]) == ("applied", [], None)
    assert sorted(run["written"]) == sorted(item["target_uuid"] for item in plan["items"])
    charts = [item for item in plan["items"] if item["kind"] == "chart"]
    assert len(run["verdicts"]) == len(charts)
    wrong = {row["title"]: row["reason"] for row in run["verdicts"] if row["status"] in ("differs", "failed")}
    assert wrong == {}
    assert run["verdict_counts"]["ok"] >= 90
    unchecked = [row for row in run["verdicts"] if row["status"] == "not_checkable"]
    assert all(row["viz_type"] and row["reason"] for row in unchecked)
    assert count(target, "dashboard") == 9
    assert connections(target) == before

    # A second migration of the same finds everything equal, by comparison fingerprints, and has nothing to apply.
    again = program.post("/api/v1/migrations/", request, 201)
    program.wait(again["job"]["url"])
    again = program.get(again["url"])
    assert again["counts"]["unchanged"] == len(plan["items"]) == sum(again["counts"].values())
    nothing = program.http.post(
        f"{again['url']}apply/", json={"plan_hash": again["plan_hash"], "confirmation": "prod"}
    )
    assert (nothing.status_code, nothing.json()["code"]) == (409, "not_ready")

    # Roll back: as before the run.
    back = program.post(f"{run['url']}roll-back/", status=201)
    program.wait(back["job"]["url"])
    back = program.get(back["url"])
    assert back["counts"]["remove"] == len(plan["items"])
    program.work(f"{back['url']}apply/", {"plan_hash": back["plan_hash"], "confirmation": "prod"})
    assert program.get(run["url"])["state"] == "rolled_back"
    assert [count(target, kind) for kind in ("dashboard", "chart", "dataset")] == [0, 0, 0]
    assert connections(target) == before
