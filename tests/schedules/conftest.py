"""Schedules for tests, made by the service as the product makes them."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from environments.models import Environment
from sstools.jobs.models import Job, State
from sstools.resources import resource_name
from sstools.schedules import firing, services
from sstools.schedules.models import Schedule
from tests.factories import make_environment


@pytest.fixture(autouse=True)
def without_builtins(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes with ss-tools would fire between what a test looks at, in the first test of a process."""
    monkeypatch.setattr(firing, "_ensured", True)


@pytest.fixture
def environment(db: None) -> Environment:
    return make_environment("dev")


@pytest.fixture
def make_schedule(environment: Environment) -> Callable[..., Schedule]:
    """make_schedule(owner, cron="0 2 * * *"): one that tests the connection of dev every night."""

    def make(owner: Any, **fields: Any) -> Schedule:
        data = {
            "name": "Nightly test",
            "kind": "environments.check",
            "params": {"environment": str(environment.uuid)},
            "cron": "0 2 * * *",
            "time_zone": "UTC",
            **fields,
        }
        return services.create_schedule(data, actor=owner)

    return make


def due(schedule: Schedule, text: str) -> Schedule:
    """Make this its next run, as if the schedule had been made before then."""
    schedule = Schedule.objects.get(pk=schedule.pk)
    moment = at(text)
    run = schedule.timetable.latest(moment, schedule.zone)
    assert run is not None
    assert run.at == moment, "the expression has no run then"
    schedule.set_next(run)
    schedule.save()
    return schedule


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def end(job: Job, state: State, **fields: Any) -> None:
    """As a worker would have left it."""
    from django.utils import timezone

    now = timezone.now()
    Job.objects.filter(pk=job.pk).update(state=state, started_at=now, finished_at=now, **fields)


def scope(environment: Environment) -> str:
    return resource_name(environment)
