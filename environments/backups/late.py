"""Backups that should be there and are not: schedules that did not fire in time, or whose last run failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Max, Q

from environments.models import Environment
from sstools.schedules import services as schedules
from sstools.schedules.models import Schedule, State, with_subjects

from .models import Backup, BackupState
from .services import TAKE


@dataclass(frozen=True)
class Overdue:
    """A schedule of backups that is late or failing. `last_good`: when the last good backup of all of the environment
    was taken, None if never.
    """

    schedule: Schedule
    environment: Environment
    state: str
    due_at: datetime | None
    last_good: datetime | None
    may_run: bool

    @property
    def job(self) -> Any:
        return self.schedule.last_job


def overdue(user: Any, environments: Sequence[Environment] | None = None) -> list[Overdue]:
    """Those that `user` may see, late ones first: three queries."""
    rows = Schedule.objects.visible_to(user).filter(kind=TAKE).with_state()
    rows = rows.filter(Q(("state__in", [State.LATE, State.FAILING]))).select_related(
        "last_firing", "last_job", "owner"
    )
    found = [
        (schedule, schedule.subject.environment)
        for schedule in with_subjects(list(rows.order_by("name", "pk")))
        if schedule.subject is not None and schedule.subject.environment is not None
    ]
    if environments is not None:
        wanted = {environment.pk for environment in environments}
        found = [(schedule, environment) for schedule, environment in found if environment.pk in wanted]
    if not found:
        return []
    good = last_good({environment.pk for _, environment in found})
    made = [
        Overdue(
            schedule,
            environment,
            schedule.current_state,
            _due_at(schedule),
            good.get(environment.pk),
            schedules.may_edit(schedule, user) and schedules.may_run(schedule, user),
        )
        for schedule, environment in found
    ]
    return sorted(made, key=lambda one: one.state != State.LATE)


def _due_at(schedule: Schedule) -> datetime | None:
    """Of the next run where it is that one which is late; else of the last, which failed or whose job nobody took."""
    since = schedule.late_since
    if schedule.current_state == State.LATE and since is not None and since == schedule.late_at:
        return schedule.next_due_at
    return schedule.last_firing.due_at if schedule.last_firing else None


def last_good(environments: Any) -> dict[int, datetime]:
    """When the newest good backup of each whole environment was taken, by primary key."""
    rows = Backup.objects.filter(environment__in=environments, state=BackupState.GOOD, whole=True)
    return dict(rows.order_by().values_list("environment").annotate(last=Max("started_at")))
