"""What packages above this one know of backups: who needs one, and who must let go of one before it is removed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

#: Numbers of backups -> why somebody needs one of them now, in words: "run 42 needs attention".
Needs = Callable[[Sequence[int]], Mapping[int, str]]
#: Called in the transaction that removes these backups, before they go: database only, and short.
LetsGo = Callable[[Sequence[int]], None]

_needs: list[Needs] = []
_let_go: list[LetsGo] = []


def register(*, needs: Needs | None = None, lets_go: LetsGo | None = None) -> None:
    """In the `ready()` of an app. Asking twice changes nothing."""
    if needs is not None and needs not in _needs:
        _needs.append(needs)
    if lets_go is not None and lets_go not in _let_go:
        _let_go.append(lets_go)


def needed_by(numbers: Sequence[int]) -> dict[int, str]:
    """Those of these that must stay for now, and why."""
    found: dict[int, str] = {}
    for needs in _needs if numbers else ():
        found = {**needs(numbers), **found}
    return found


def let_go(numbers: Sequence[int]) -> None:
    for lets_go in _let_go:
        lets_go(numbers)
