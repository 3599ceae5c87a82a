"""What apps above this one know about assets: the inventory shows it without importing them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from django.db.models import QuerySet

from .models import Asset


@dataclass(frozen=True)
class Standing:
    """How an asset stands elsewhere. `state`: of sstools.web.states; `changes`: fields that differ; `where`: a name."""

    state: str
    changes: int = 0
    where: str = ""


class States(Protocol):
    """A module with these. `STATE_CHOICES`: (value in the address, words)."""

    STATE_CHOICES: Sequence[tuple[str, str]]

    def narrow(self, rows: QuerySet[Asset], state: str, user: Any) -> QuerySet[Asset]:
        """Those of `rows` that are in `state` somewhere that `user` may see."""

    def standings(self, assets: Sequence[Asset], user: Any) -> Mapping[int, Standing]:
        """By primary key; a fixed number of queries."""


_states: list[States] = []


def provide_states(module: Any) -> None:
    """In an app's ready(). Asking twice changes nothing."""
    if module not in _states:
        _states.append(module)


def states() -> States | None:
    return _states[0] if _states else None
