"""What was tried and refused, for the history: "access:denied" with the right, the object and where it came from.

A refusal rolls its transaction back, so it is noted where it happens (`note`) and written down when the request, the
command or the job is over. What does not exist for somebody (404) is no refusal: asking for a wrong address must not
fill the history, and that history must not tell what is there. One and the same refusal is written once in WINDOW, and
at most MOST_PER_HOUR of one person: a page that polls cannot flood it. All of them are in the log.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import Error, transaction
from django.utils import timezone

from sstools.audit import services as audit
from sstools.audit.models import AuditEvent

from . import places

logger = logging.getLogger(__name__)
ACTION = "access:denied"
WINDOW = timedelta(minutes=10)
MOST_PER_HOUR = 100


@dataclass(frozen=True)
class Denial:
    user: Any
    permission: str
    place: places.Place


_noted: ContextVar[list[Denial] | None] = ContextVar("denials", default=None)


def note(user: Any, permission: str, place: places.Place) -> None:
    """Remember a refusal until the surrounding `collected` ends; outside of one it is only logged."""
    logger.info("refused %s on %s to user %s", permission, place.resource_name, getattr(user, "pk", None))
    if (noted := _noted.get()) is not None:
        noted.append(Denial(user, permission, place))


@contextmanager
def collected(source: str, **facts: str) -> Iterator[list[Denial]]:
    """Write the refusals of this block down at its end, also if it raises. `facts`: where they came from.

    Inside of another such block they are left to that one: a job that a command does itself is the command's.
    """
    if (outer := _noted.get()) is not None:
        yield outer
        return
    noted: list[Denial] = []
    token = _noted.set(noted)
    try:
        yield noted
    finally:
        _noted.reset(token)
        for denial in dict.fromkeys(noted):
            _write(denial, source, facts)


def _write(denial: Denial, source: str, facts: dict[str, str]) -> None:
    if getattr(denial.user, "pk", None) is None:
        return
    mine = AuditEvent.objects.filter(action=ACTION, actor_id=denial.user.pk)
    try:
        if _is_known(mine, denial):
            return
        with transaction.atomic():
            audit.wait_for_turn()  # so that two at the same moment are one
            if _is_known(mine, denial):
                return
            data = {"permission": denial.permission, **facts}
            audit.record(ACTION, denial.place, actor=denial.user, data=data, source=source)
    except Error:  # the answer is a refusal all the same
        logger.exception("a refusal could not be written down")


def _is_known(mine: Any, denial: Denial) -> bool:
    now = timezone.now()
    same = mine.filter(
        object_name=denial.place.resource_name, at__gt=now - WINDOW, data__permission=denial.permission
    )
    return bool(same.exists()) or mine.filter(at__gt=now - timedelta(hours=1)).count() >= MOST_PER_HOUR
