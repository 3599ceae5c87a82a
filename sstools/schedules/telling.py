"""Notices about schedules: what nobody would see who does not look at the page."""

import logging

from django.db import transaction

from sstools.notices import events, services
from sstools.outages import is_outage
from sstools.roles.permissions import Permission

from .models import Firing, Outcome, Schedule

logger = logging.getLogger(__name__)

LATE = events.register(
    "schedule.late", "A run of a schedule was late or missed", Permission.SCHEDULE_VIEW, mails_you=False
)
NOT_STARTED = events.register(
    "schedule.not_started", "A schedule could not start its run", Permission.SCHEDULE_VIEW
)
EVENTS = {
    Outcome.LATE: (LATE, "Late"),
    Outcome.MISSED: (LATE, "Missed"),
    Outcome.FAILED: (NOT_STARTED, "Not started"),
}


def dealt_with(schedule: Schedule, firing: Firing) -> None:
    """Tell of a run, in the transaction that dealt with it."""
    known = EVENTS.get(Outcome(firing.outcome))
    if known is None:
        return
    event, word = known
    try:
        with transaction.atomic():
            _publish(schedule, firing, event, word)
    except Exception as exc:
        if is_outage(exc):
            raise
        logger.exception("No notice of %s", firing)  # must not keep the run from being recorded


def _publish(schedule: Schedule, firing: Firing, event: events.Event, word: str) -> None:
    services.publish(
        event.key,
        title=f"{word}: {schedule}",
        text=firing.text,
        path=schedule.get_absolute_url(),
        about=[schedule.resource] if schedule.resource else [],
        people=[schedule.owner],
        data={"schedule": str(schedule.uuid), "due_at": firing.due_at.isoformat(), "code": firing.code},
    )
