"""What the overview says: how old the proof is that a backup can be restored."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.urls import reverse
from django.utils import timezone
from django.utils.timesince import timesince

from environments.backups.models import Backup, BackupState
from sstools.roles import policy
from sstools.roles.permissions import Permission
from sstools.web.home import Fact

from .models import Rehearsal, RehearsalState

ORDER = 20  # among what is there on good days too, before the counts


def facts(user: Any) -> Iterable[Fact]:
    if not policy.can_anywhere(user, Permission.BACKUP_VIEW):
        return
    ended = Rehearsal.objects.visible_to(user).ended().exclude(state=RehearsalState.CANCELLED)
    last = ended.select_related("environment").first()
    url = reverse("rehearsals:list")
    if last is None:
        if Backup.objects.visible_to(user).filter(state=BackupState.GOOD, whole=True).exists():
            yield Fact(
                "Backup rehearsed", "never", "no backup was restored for practice yet", url, order=ORDER
            )
        return
    age = timesince(last.ended_at or last.started_at, timezone.now(), depth=1)
    note = f"{last.backup_name} of {last.environment.name}: {last.get_state_display()}"
    failed = last.state == RehearsalState.FAILED
    yield Fact("Backup rehearsed", f"{age} ago", note, url, "failed" if failed else "", order=ORDER)
