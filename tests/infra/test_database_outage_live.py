"""ss-tools' own PostgreSQL goes away in the middle of a migration between two real Supersets, under `manage.py up`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from environments.lab.instance import RunningSuperset
from environments.lab.rest import Rest
from tests.infra.server import OwnPostgres
from tests.live.conftest import LeaseSuperset, dev, fresh_target, lab, rest
from tests.sstools.test_workers import Installation, wait_for

pytestmark = [pytest.mark.live]
__all__ = ["dev", "fresh_target", "lab", "rest"]
LEASE = 5

REGISTER = """
from environments import services as environment_services
from environments.models import Environment
admin = get_user_model().objects.get(username="admin")
jobs = []
for slug, url, position in (("dev", {dev!r}, 1), ("prod", {prod!r}, 3)):
    fields = dict(name=slug.title(), slug=slug, tag=slug.upper(), url=url, position=position,
                  auth_kind="password", username="admin", secret="admin")
    environment = environment_services.register_environment(fields, actor=admin)
    jobs.append(str(environment_services.request_check(environment, actor=admin).uuid))
    jobs.append(str(environment_services.request_reading(environment, actor=admin).uuid))
print(json.dumps(jobs))
"""
PLAN = """
from environments.models import Asset, Environment
from migrations_app import services as migrations
admin = get_user_model().objects.get(username="admin")
source, target = (Environment.objects.get(slug=slug) for slug in ("dev", "prod"))
games = Asset.objects.get(environment=source, kind="dashboard", title="Video Game Sales").uuid
databases = {{
    Asset.objects.get(environment=source, kind="database").uuid:
    Asset.objects.get(environment=target, kind="database").uuid
}}
migrations.save_mapping(source, target, actor=admin, databases=databases)
migration = migrations.create_migration(source, target, selection=[games], actor=admin)
print(json.dumps([str(migrations.request_plan(migration, actor=admin).uuid)]))
"""
APPLY = """
from migrations_app import services as migrations
from migrations_app.models import Migration
admin = get_user_model().objects.get(username="admin")
migration = Migration.objects.get()
job = migrations.request_apply(migration, plan_hash=migration.plan.hash, actor=admin, confirmation="prod")
print(json.dumps([str(job.uuid)]))
"""
TOLD = """
from migrations_app.models import Run
run = Run.objects.get()
print(json.dumps([run.state, run.error, len(run.written), [line.text for line in run.job.logs.all()]]))
"""


@pytest.fixture
def postgres() -> Iterator[OwnPostgres]:
    server = OwnPostgres()
    yield server
    server.close()


@pytest.fixture
def running(postgres: OwnPostgres, tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(tmp_path)
    installation.env |= {
        "SSTOOLS_DATABASE_URL": postgres.new_database(),
        "SSTOOLS_JOB_LEASE_SECONDS": str(LEASE),
        "SSTOOLS_JOB_GRACE_SECONDS": "6",
    }
    try:
        installation.start()
        yield installation
    finally:
        installation.stop()


def do(running: Installation, code: str, **values: Any) -> None:
    for uuid in running.run(code.format(**values)):
        wait_for(lambda: running.job(uuid)["state"] not in ("queued", "running"), 120)  # noqa: B023
        assert running.job(uuid)["state"] == "succeeded", running.job(uuid)


def test_a_run_whose_database_is_away_for_two_leases_comes_to_its_end(
    postgres: OwnPostgres,
    running: Installation,
    dev: RunningSuperset,
    fresh_target: LeaseSuperset,
    rest: Callable[..., Rest],
) -> None:
    target = fresh_target()
    do(running, REGISTER, dev=dev.url, prod=target.url)
    do(running, PLAN)
    (uuid,) = running.run(APPLY.format())
    wait_for(lambda: running.rows("SELECT 1 FROM migrations_app_runstep WHERE name = 'write'"), 60)
    postgres.stop("immediate")
    time.sleep(2 * LEASE)
    postgres.start()
    wait_for(lambda: _state(running, uuid) not in ("", "queued", "running"), 180, running.log.read_text)
    state, error, written, log = running.run(TOLD.format())
    assert (state, error, running.job(uuid)["state"]) == ("applied", None, "succeeded"), log
    assert written == 10
    there = rest(target)
    counts = {
        kind: there.call("GET", f"/api/v1/{kind}/")["count"] for kind in ("dashboard", "chart", "dataset")
    }
    assert counts == {"dashboard": 1, "chart": 8, "dataset": 1}
    assert not running.rows("SELECT 1 FROM jobs_joblock")


def _state(running: Installation, uuid: str) -> str:
    return str(running.job(uuid)["state"])
