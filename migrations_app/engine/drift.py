"""Who moved since the last run: the comparison of what is wanted, what is there, and what was last brought. Pure.

All fingerprints are comparison fingerprints in the target's own terms.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum


class Moved(StrEnum):
    """Which side is not as the last run left it."""

    NEITHER = "neither"
    SOURCE = "source"
    TARGET = "target"
    BOTH = "both"


def who_moved(*, wanted: str, present: str, base_wanted: str, base_present: str) -> Moved:
    """`wanted`: what the source wants there now, `present`: what is there now; the bases are both at the last run.

    What is wanted and what was read back are two fingerprints: an import may leave something else than was sent.
    """
    source, target = wanted != base_wanted, present != base_present
    if source and target:
        return Moved.BOTH
    return Moved.SOURCE if source else Moved.TARGET if target else Moved.NEITHER


class How(StrEnum):
    """What somebody did to a target by hand."""

    CHANGED = "changed"
    DELETED = "deleted"
    CREATED = "created"


@dataclass(frozen=True)
class Drift:
    """One asset of a target that is not as it was left. `now` is "" for one that is gone, `base` for one that no run
    and nobody's word ever covered.
    """

    uuid: str
    how: How
    base: str
    now: str


def drifts(
    bases: Mapping[str, str],
    now: Mapping[str, str],
    *,
    known: Collection[str],
    ours: Mapping[str, Collection[str]],
) -> Iterator[Drift]:
    """What is not as it was left, by uuid.

    bases: what was left, "" for what was left absent. now: what is there; "" for what is there and was not read, of
    which nothing is said. known: what was there before the first run, and is nobody's drift.
    ours: what runs wrote besides, by uuid: "" stands for a removal.
    """
    for uuid in sorted({*bases, *now}):
        is_there, is_left = uuid in now, uuid in bases
        present, base = now.get(uuid, ""), bases.get(uuid, "")
        if present in ours.get(uuid, ()) or (is_there and not present):
            continue
        if is_left and not is_there and base:
            yield Drift(uuid, How.DELETED, base, "")
        elif is_left and is_there and present != base:
            yield Drift(uuid, How.CHANGED if base else How.CREATED, base, present)
        elif is_there and not is_left and uuid not in known:
            yield Drift(uuid, How.CREATED, "", present)
