"""What a backup is the restore point of: who takes some registers here, for nothing in this package knows runs."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Origin:
    """`label`: "run 42"; `url`: of its page; `place`: the other name of the backup, "run:42:before"."""

    label: str
    url: str = ""
    place: str = ""


#: Numbers of backups -> what is known of those among them.
Find = Callable[[Iterable[int]], Mapping[int, Origin]]

_finders: list[Find] = []


def register(find: Find) -> None:
    """Have `find([number, …])` asked; in the `ready()` of an app. One query, however many numbers."""
    if find not in _finders:
        _finders.append(find)


def of(numbers: Iterable[int]) -> dict[int, Origin]:
    """What these backups are restore points of; others are not in it."""
    wanted = list(numbers)
    found: dict[int, Origin] = {}
    for find in _finders if wanted else ():
        found.update(find(wanted))
    return found
