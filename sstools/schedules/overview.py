"""What other pages say about schedules: only what somebody should look at, and which one asked for a job."""

from collections.abc import Iterable
from typing import Any

from django.urls import reverse

from sstools.jobs.models import Job
from sstools.jobs.pages import Origin
from sstools.roles import policy
from sstools.roles.permissions import Permission
from sstools.web.home import Fact

from .models import Schedule, State

URGENT = -10  # before all that is there on good days too: only so many facts are shown


def facts(user: Any) -> Iterable[Fact]:
    if not policy.can_anywhere(user, Permission.SCHEDULE_VIEW):
        return
    for state, note in ((State.LATE, "should have started by now"), (State.FAILING, "last run failed")):
        number = Schedule.objects.visible_to(user).in_state(state).count()
        if number:
            url = f"{reverse('schedules:list')}?state={state}"
            yield Fact("Schedules", number, note, url, state, order=URGENT)


def alerts(user: Any) -> Iterable[str]:
    """For the icon of the tab: somebody waits for what did not start."""
    if not policy.can_anywhere(user, Permission.SCHEDULE_VIEW):
        return
    if number := Schedule.objects.visible_to(user).in_state(State.LATE).count():
        yield f"{number} schedule{'s' if number > 1 else ''} late"


def origin_of(job: Job, user: Any) -> Origin | None:
    """The schedule that asked for a job first: the one whose run it is, or whose it joined."""
    schedule = Schedule.objects.visible_to(user).filter(firings__job=job).order_by("firings__pk").first()
    return Origin(schedule.name, schedule.get_absolute_url()) if schedule else None
