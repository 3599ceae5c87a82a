"""What the overview says about schedules: only what somebody should look at."""

from collections.abc import Iterable
from typing import Any

from django.urls import reverse

from sstools.roles import policy
from sstools.roles.permissions import Permission
from sstools.web.home import Fact

from .models import Schedule, State


def facts(user: Any) -> Iterable[Fact]:
    if not policy.can_anywhere(user, Permission.SCHEDULE_VIEW):
        return
    for state, note in ((State.LATE, "should have started by now"), (State.FAILING, "last run failed")):
        number = Schedule.objects.visible_to(user).in_state(state).count()
        if number:
            url = f"{reverse('schedules:list')}?state={state}"
            yield Fact("Schedules", number, note, url, state)
