"""An environment with backups in every state, for tests of the pages."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.utils import timezone

from environments import readings
from environments.backups import services, taking
from environments.backups.models import Backup, BackupState
from environments.models import Environment, Reason, Snapshot
from sstools.jobs import services as jobs
from sstools.schedules import services as schedules
from sstools.schedules.models import Schedule
from tests.environments.test_reading import touch, uuid_of
from tests.fakes.superset import FakeSuperset


@dataclass
class World:
    """`night`: the oldest, of all, as things were before one chart was renamed, one deleted and one made."""

    environment: Environment
    superset: FakeSuperset
    night: Backup
    newest: Backup
    corrupt: Backup
    failed: Backup
    running: Backup
    late: Schedule
    renamed: str
    deleted: str


def make_world(environment: Environment, superset: FakeSuperset, owner: Any) -> World:
    superset.objects["css_template"][1] = {"id": 1, "template_name": "Corporate", "css": "b { }"}
    dataset = uuid_of(superset, "dataset", "orders_1")
    deleted = superset.add_chart("Old chart", dataset=dataset)
    night = taking.take(environment, taking.Asked(title="Nightly"))
    renamed = uuid_of(superset, "chart", "Chart 1.1")
    touch(superset, "chart", renamed)
    superset.record("chart", renamed)["data"]["slice_name"] = "Chart 1.1 by hand"
    del superset.assets["chart"][superset.id_of("chart", deleted)]
    superset.add_chart("Made later", dataset=dataset)
    readings.run(environment)
    corrupt = taking.take(environment, taking.Asked(title="Before the move"))
    problem = {
        "code": "store_damaged",
        "uuid": renamed,
        "title": "Chart 1.1",
        "text": f"chart {renamed}: damaged.",
    }
    found = {"state": "corrupt", "checked": 12, "problems": [problem]}
    Backup.objects.filter(pk=corrupt.pk).update(
        state=BackupState.CORRUPT, verification=found, verified_at=timezone.now()
    )
    newest = taking.take(environment, taking.Asked(title="After the move"))
    services.pin(newest, actor=owner, reason="Before the audit")
    error = {"code": "storage_full", "message": "The storage is full.", "remedy": "Make room there."}
    failed = _row(environment, BackupState.FAILED, error=error, ended_at=timezone.now())
    running = _row(environment, BackupState.RUNNING)
    late = schedules.create_schedule(
        {
            "name": "Nightly backup",
            "kind": services.TAKE,
            "params": {"environment": str(environment.uuid)},
            "cron": "0 2 * * *",
            "time_zone": "UTC",
        },
        actor=owner,
    )
    overdue = jobs.db_now() - timedelta(hours=1)
    Schedule.objects.filter(pk=late.pk).update(late_at=overdue, next_fire_at=overdue, next_due_at=overdue)
    return World(
        environment,
        superset,
        Backup.objects.get(pk=night.pk),
        Backup.objects.get(pk=newest.pk),
        Backup.objects.get(pk=corrupt.pk),
        failed,
        running,
        late,
        renamed,
        deleted,
    )


def _row(environment: Environment, state: str, **fields: Any) -> Backup:
    snapshot = Snapshot.objects.create(environment=environment, reason=Reason.BACKUP, in_spans=True)
    made: Backup = Backup.objects.create(
        snapshot=snapshot, environment=environment, reason="schedule", state=state, **fields
    )
    return made
