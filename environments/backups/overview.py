"""What the overview and the icon of every tab say about backups."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from django.db.models import Count, Max, Q
from django.urls import reverse
from django.utils import timezone

from sstools.roles import policy
from sstools.roles.permissions import Permission
from sstools.schedules.models import Schedule
from sstools.schedules.models import State as ScheduleState
from sstools.texts import counted
from sstools.web.home import Fact

from .models import Backup, BackupState
from .services import TAKE

ORDER = 25  # after what waits for somebody


def facts(user: Any) -> Iterable[Fact]:
    """When the last good backup was taken, and what is wrong with backups; nothing where nobody takes any. Two
    queries.
    """
    if not policy.can_anywhere(user, Permission.BACKUP_VIEW):
        return
    found = Backup.objects.visible_to(user).aggregate(
        number=Count("pk"),
        last=Max("started_at", filter=Q(state=BackupState.GOOD, whole=True)),
        corrupt=Count("pk", filter=Q(state=BackupState.CORRUPT)),
    )
    schedules = Schedule.objects.visible_to(user).filter(kind=TAKE).with_state().order_by()
    states = Counter(schedule.current_state for schedule in schedules)
    if not found["number"] and not states:
        return
    late, failing = states[ScheduleState.LATE], states[ScheduleState.FAILING]
    state, note = "", "all as planned" if found["last"] else "a schedule takes them"
    if late:
        state, note = "late", f"{late} late"
    elif failing:
        state, note = "failing", f"{failing} failing"
    elif found["corrupt"]:
        state, note = "corrupt", f"{found['corrupt']} corrupt"
    yield Fact("Last backup", _said(found["last"]), note, reverse("backups:list"), state, order=ORDER)


def _said(moment: Any) -> str:
    if moment is None:
        return "none yet"
    here, now = timezone.localtime(moment), timezone.localtime()
    return f"{here:%H:%M}" if here.date() == now.date() else f"{here:%Y-%m-%d}"


def alerts(user: Any) -> Iterable[str]:
    """For the icon of the tab. Late schedules are told of by schedules themselves."""
    if not policy.can_anywhere(user, Permission.BACKUP_VIEW):
        return
    if number := Backup.objects.visible_to(user).filter(state=BackupState.CORRUPT).count():
        yield f"{counted(number, 'backup')} corrupt"
