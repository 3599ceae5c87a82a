"""Notices about backups: one failed, one is damaged, one should be there by now and is not."""

from __future__ import annotations

from typing import Any

from environments.models import Environment
from sstools.jobs.models import Job, State
from sstools.notices import events, services
from sstools.notices import telling as jobs
from sstools.notices.models import Notice
from sstools.roles.permissions import Permission
from sstools.schedules.models import Schedule, with_subjects
from sstools.schedules.models import State as ScheduleState
from sstools.texts import counted

from .late import last_good
from .models import Backup
from .services import TAKE

FAILED = events.register("backup.failed", "A backup failed", Permission.BACKUP_VIEW)
CORRUPT = events.register(
    "backup.corrupt", "A backup is missing something or damaged", Permission.BACKUP_VIEW
)
LATE = events.register("backup.late", "A scheduled backup did not start in time", Permission.BACKUP_VIEW)
LOOK_SECONDS = 60
NAMED = 20
jobs.told_otherwise.add(TAKE)


def job_ended(job: Job) -> None:
    """Tell of a backup that failed, in the transaction that ends its job."""
    if job.kind != TAKE or job.state != State.FAILED:
        return
    environment = Environment.objects.filter(uuid=job.params.get("environment")).first()
    if environment is None:
        return
    error = job.error or {}
    backup = Backup.objects.filter(job=job.uuid).order_by("-pk").first()
    services.publish(
        FAILED.key,
        title=f"Failed: backup of {environment}",
        text=_lines(
            f"{error.get('message', '')} {error.get('remedy', '')}",
            "Other backups are as they were.",
            _since(environment),
        ),
        path=backup.get_absolute_url() if backup else f"/jobs/{job.uuid}/",
        about=[environment],
        people=[job.actor],
        data={
            "environment": environment.slug,
            "backup": backup.pk if backup else None,
            "job": str(job.uuid),
            "code": error.get("code", ""),
        },
    )


def corrupt(backup: Backup) -> None:
    """Tell that a look found a backup damaged; in the transaction that says so of it."""
    problems: list[dict[str, Any]] = (backup.verification or {}).get("problems", [])
    more = len(problems) - NAMED
    services.publish(
        CORRUPT.key,
        title=f"Corrupt: backup {backup.pk} of {backup.environment}",
        text=_lines(
            f"{counted(len(problems), 'thing')} in it cannot be restored; all else can.",
            *(str(one.get("text", "")) for one in problems[:NAMED]),
            f"And {more} more." if more > 0 else "",
        ),
        path=backup.get_absolute_url(),
        about=[backup.environment],
        people=[backup.created_by],
        data={
            "environment": backup.environment.slug,
            "backup": backup.pk,
            "storage": backup.storage,
            "count": len(problems),
            "assets": [one.get("uuid", "") for one in problems[:NAMED]],
        },
    )


def tell_late() -> int:
    """Tell of schedules of backups whose grace is over, once for each run; called every minute. Returns how many."""
    rows = (
        Schedule.objects.filter(kind=TAKE).in_state(ScheduleState.LATE).select_related("owner", "last_firing")
    )
    told = 0
    for schedule in with_subjects(list(rows)):
        since = schedule.late_since
        if schedule.subject is None or since is None:
            continue
        environment: Environment = schedule.subject.environment
        data = {
            "schedule": str(schedule.uuid),
            "environment": environment.slug,
            "late_since": since.isoformat(),
        }
        known = Notice.objects.filter(event=LATE.key, data__schedule=data["schedule"])
        if known.filter(data__late_since=data["late_since"]).exists():
            continue
        services.publish(
            LATE.key,
            title=f"Late: {schedule}",
            text=_lines(
                f"The backup of {environment} by this schedule has not started.", _since(environment)
            ),
            path=schedule.get_absolute_url(),
            about=[environment],
            people=[schedule.owner],
            data=data,
        )
        told += 1
    return told


def _since(environment: Environment) -> str:
    moment = last_good([environment.pk]).get(environment.pk)
    return f"The last good one is of {moment:%Y-%m-%d %H:%M} UTC." if moment else "There is no good one yet."


def _lines(*lines: str) -> str:
    return "\n".join(line.strip() for line in lines if line.strip())
