"""What may stand between a good plan and its application, beside the plan itself: approvals, windows.

Packages say it in `ready()`; the services ask here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from .errors import NotReady
from .models import Migration, Plan


@dataclass(frozen=True)
class Obstacle:
    """`code` is stable, `url` where it is settled. `can_bypass`: who has `migration:bypass` may go on with a reason."""

    code: str
    text: str
    remedy: str = ""
    can_bypass: bool = False
    url: str = ""


class GateClosed(NotReady):
    """An approval is missing, or it is not the time."""


@dataclass(frozen=True)
class Approval:
    """Where the approval of a migration stands, for its pages. `state`: skipped (nobody is asked), todo (there is no
    plan yet), waiting, given, rejected; `note` says it in a word or two, `url` is its page.
    """

    state: str
    note: str
    url: str

    @property
    def is_open(self) -> bool:
        """Somebody has to say something before it can be applied."""
        return self.state in ("waiting", "rejected")


Gate = Callable[[Migration, Plan], Iterable[Obstacle]]
#: Called with (migration, plan, run, actor, reason, obstacles) when somebody goes on in spite of them.
Noted = Callable[[Migration, Plan, Any, Any, str, list[Obstacle]], None]

Standing = Callable[[Migration], Approval]

_gates: list[Gate] = []
_noted: list[Noted] = []
_standing: list[Standing] = []


def register(gate: Gate, noted: Noted, standing: Standing | None = None) -> None:
    """Asking twice changes nothing."""
    if gate not in _gates:
        _gates.append(gate)
        _noted.append(noted)
        if standing is not None:
            _standing.append(standing)


def approval_of(migration: Migration) -> Approval | None:
    """For the step of a migration's pages; None where no package knows of approvals."""
    return next((standing(migration) for standing in _standing), None)


def obstacles(migration: Migration, plan: Plan) -> list[Obstacle]:
    """What is in the way now, in the order in which to tell it."""
    return [obstacle for gate in _gates for obstacle in gate(migration, plan)]


def closed(found: list[Obstacle]) -> GateClosed:
    first = found[0]
    return GateClosed(
        " ".join(obstacle.text for obstacle in found) + " Nothing was started.",
        code=first.code,
        remedy=first.remedy,
        detail={"obstacles": [{"code": one.code, "text": one.text} for one in found]},
    )


def note_bypass(
    migration: Migration, plan: Plan, run: Any, actor: Any, reason: str, found: list[Obstacle]
) -> None:
    for noted in _noted:
        noted(migration, plan, run, actor, reason, found)
