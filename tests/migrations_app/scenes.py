"""A run to be disturbed: from the same beginning again and again, and what must hold whatever becomes of it."""

from __future__ import annotations

import copy
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.utils import timezone

from environments.models import Snapshot
from environments.store import get_documents
from migrations_app import services
from migrations_app.models import Baseline, Migration, MigrationState, Plan, Run, RunState
from migrations_app.planning import same_for_comparison
from sstools.jobs.models import Job, JobLock, State
from sstools.jobs.runner import run_job
from tests.factories import uuid_for
from tests.fakes.gate import Gate
from tests.fakes.pair import FakePair
from tests.live.product import Product

#: All points of all scenes, instead of the ones that differ.
FULL = os.environ.get("SSTOOLS_TEST_SWEEP") == "full"
TITLE = {"dashboard": "dashboard_title", "chart": "slice_name", "dataset": "table_name"}


@dataclass
class Scene:
    """A run to be disturbed, again and again from the same beginning."""

    product: Product
    pair: FakePair
    gate: Gate
    prepare: Callable[[Scene], Migration]
    begin: Any = None

    def plan(self) -> Migration:
        """Everything as at the beginning, with a plan to apply."""
        if self.begin is None:
            self.begin = (self.pair.dev.state(), self.pair.prod.state())
        _forget()
        self.pair.dev.assets, self.pair.prod.assets = (
            {kind: dict(rows) for kind, rows in copy.deepcopy(state).items()} for state in self.begin
        )
        self.reset()
        migration = self.prepare(self)
        migration.refresh_from_db()
        assert migration.plan is not None
        self.reset()
        return migration

    def reset(self, **gate: Any) -> None:
        fresh = Gate(**gate)
        self.gate.__dict__.update(fresh.__dict__)

    def apply(self, migration: Migration, at: int = -1, fault: str = "", **gate: Any) -> Job:
        """Workers come and go until the job has ended or asks for something."""
        assert migration.plan is not None
        self.reset(at=at, fault=fault, **gate)
        job = services.request_apply(migration, plan_hash=migration.plan.hash, actor=self.product.admin)
        self.work(job)
        return job

    def work(self, job: Job) -> None:
        for _ in range(6):
            run_job(str(job.uuid))
            job.refresh_from_db()
            if job.state != State.RUNNING:
                return
            Job.objects.filter(pk=job.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
        raise AssertionError("the job comes to no end")


def _forget() -> None:
    """All but the two environments and what is known of them from the beginning."""
    Baseline.objects.all().delete()
    Migration.objects.update(plan=None, rolls_back=None, continues=None, job=None)
    Run.objects.all().delete()
    Plan.objects.all().delete()
    Migration.objects.all().delete()
    Job.objects.all().delete()
    Snapshot.objects.all().delete()


# --- What is disturbed --------------------------------------------------------------------------------------


def create(scene: Scene) -> Migration:
    """A dashboard, two charts and a dataset that are new to the target."""
    return scene.product.migrate(scene.pair.source, scene.pair.target, [uuid_for("Sales")])


def fewer(scene: Scene) -> Migration:
    """Once more, after the dashboard has lost a chart: before 6.1 its members are set by an edit."""
    scene.product.apply(create(scene))
    dashboard = scene.pair.dev.record("dashboard", uuid_for("Sales"))
    gone = f"CHART-{uuid_for('Regions')[:8]}"
    position = dashboard["data"]["position"]
    position.pop(gone, None)
    position["GRID_ID"]["children"] = [name for name in position["GRID_ID"]["children"] if name != gone]
    dashboard["charts"] = {uuid_for("Revenue")}
    dashboard["changed_on"] = timezone.now()
    migration = services.create_migration(
        scene.pair.source, scene.pair.target, selection=[uuid_for("Sales")], actor=scene.product.admin
    )
    scene.product.plan(migration)
    return migration


def update(scene: Scene) -> Migration:
    """The same once more, after an edit of a chart and of the dashboard."""
    scene.product.apply(create(scene))
    chart = scene.pair.dev.record("chart", uuid_for("Revenue"))
    chart["data"]["description"] = "changed"
    dashboard = scene.pair.dev.record("dashboard", uuid_for("Sales"))
    dashboard["data"]["dashboard_title"] = "Sales 2"
    chart["changed_on"] = dashboard["changed_on"] = timezone.now()
    migration = services.create_migration(
        scene.pair.source, scene.pair.target, selection=[uuid_for("Sales")], actor=scene.product.admin
    )
    scene.product.plan(migration)
    return migration


def red(scene: Scene) -> Migration:
    """Its charts fail on the target, so it undoes itself: with what it created, and with what it changed."""
    migration = create(scene)
    services.update_migration(migration, actor=scene.product.admin, roll_back_when_red=True)
    scene.pair.prod.answers[uuid_for("orders")] = "no such column"
    return migration


def red_update(scene: Scene) -> Migration:
    scene.pair.prod.answers.clear()
    migration = update(scene)
    services.update_migration(migration, actor=scene.product.admin, roll_back_when_red=True)
    scene.pair.prod.answers[uuid_for("orders")] = "no such column"
    return migration


SCENES = {"create": create, "red": red, "update": update, "red_update": red_update}
# --- What must hold -----------------------------------------------------------------------------------------


def shown(scene: Scene, run: Run) -> tuple[list[str], list[str], list[str]]:
    """(as planned, not, created) as the target shows it, asked past everything that is stored."""
    before = run.restore_point
    known = set(before.entries.values_list("uuid", flat=True)) if before else set()
    now = scene.product.read(scene.pair.target).documents
    items = list(run.plan.items.filter(action__in=("create", "update", "remove")))
    wanted = get_documents(item.wanted_id for item in items if item.wanted_id)
    written, unwritten, created = [], [], []
    for item in items:
        document = wanted[item.wanted_id] if item.wanted_id else None
        is_as_planned = same_for_comparison(document, now.get(item.target_uuid))
        (written if is_as_planned else unwritten).append(item.target_uuid)
        if item.target_uuid in now and item.target_uuid not in known and before is not None:
            created.append(item.target_uuid)
    return sorted(written), sorted(unwritten), sorted(created)


def comparable(state: Any) -> Any:
    """What a rolled back target must be again: all but ids and moments."""
    return {
        kind: {
            record["data"]["uuid"]: {
                name: value
                for name, value in record["data"].items()
                if name not in ("params", "position", "metadata", "version")
            }
            for record in rows.values()
        }
        for kind, rows in state.items()
    }


def told(job: Job) -> str:
    """What the job says of itself, for the message of a failed assertion."""
    return "\n".join([str(job.error), *(f"{line.level} {line.text}" for line in job.logs.all())])


def run_ended(run: Run) -> State:
    """How a job ends whose run was not applied."""
    wished = (run.error or {}).get("code") == "cancelled" and run.state != RunState.NEEDS_ATTENTION
    return State.CANCELLED if wished else State.FAILED


def check(scene: Scene, migration: Migration, job: Job, before: Any, dev: Any) -> str:
    """Assert what must hold whatever went wrong; the state in which the run ended."""
    run = Run.objects.select_related("migration").get(migration=migration.pk)
    assert not Run.objects.unfinished().exists()
    assert not JobLock.objects.exists()
    assert job.is_finished
    assert not Migration.objects.filter(state__in=("applying", "verifying")).exists()
    prod = scene.pair.prod.state()
    assert scene.pair.dev.state() == dev
    assert prod["database"] == before["database"]
    for kind, title in TITLE.items():
        titles = Counter(record["data"][title] for record in prod[kind].values())
        assert not [name for name, count in titles.items() if count > 1], titles
    assert max(Counter(scene.gate.imports).values(), default=0) <= 1, "a bundle was carried out twice"
    written, unwritten, created = shown(scene, run)
    assert (sorted(run.written), sorted(run.unwritten), sorted(run.created)) == (written, unwritten, created)
    state = RunState(run.state)
    ends = {
        RunState.APPLIED: (MigrationState.DONE, not unwritten),
        RunState.ROLLED_BACK: (MigrationState.ROLLED_BACK, comparable(prod) == comparable(before)),
        RunState.STOPPED: (MigrationState.PLANNED, prod == before),
        RunState.NEEDS_ATTENTION: (MigrationState.NEEDS_ATTENTION, True),
    }
    assert ends[state] == (run.migration.state, True), (state, run.migration.state, run.error)
    if run.job_id == job.pk:
        assert job.state == (State.SUCCEEDED if state == RunState.APPLIED else run_ended(run))
    if state != RunState.APPLIED:
        assert run.error
        assert run.error["message"]
    return str(state)
