"""What is forgotten once it is old. Apps register in `ready()`; the nightly job `schedules.tidy_up` calls each."""

from collections.abc import Callable

_registered: dict[str, Callable[[], int]] = {}


def register(name: str, function: Callable[[], int]) -> None:
    """`name`: of the things, in the plural ("runs of schedules"); `function` forgets them and returns how many.

    It may run again at any time, and beside itself. It takes its rows in portions: no transaction over all of them.
    """
    _registered[name] = function


def registered() -> dict[str, Callable[[], int]]:
    return dict(_registered)
