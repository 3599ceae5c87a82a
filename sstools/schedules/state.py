"""Schedules in the state: what they do and when, and not what became of it."""

from sstools.jobs import services as jobs
from sstools.state.tables import leave_out, table

from .models import Firing, Schedule


def _next_run_is_to_come(schedule: Schedule) -> None:
    """What was due while nobody was there is not made up for."""
    try:
        run = schedule.timetable.next(jobs.db_now(), schedule.zone)
    except ValueError:  # a zone that this machine does not know
        run = None
    schedule.set_next(None if schedule.is_paused else run)


table(
    Schedule,
    ("uuid",),
    "schedules",
    leaves=(
        "next_due_at",
        "next_fire_at",
        "late_at",
        "last_firing",
        "last_job",
        "last_success_at",
        "consecutive_failures",
    ),
    rows=lambda: Schedule.objects.filter(builtin=None),
    prepare=_next_run_is_to_come,
)
leave_out("tells of jobs, which are not in it", Firing)
