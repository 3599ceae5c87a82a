"""How an asset of a source stands to its counterpart on a target: three fingerprints, eight states. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from .drift import Moved, who_moved
from .plan import Baseline


class Sync(StrEnum):
    """The states of an asset on a target, seen from a source. "Different" alone would not say what to do."""

    IN_SYNC = "in_sync"
    BEHIND = "behind"  # the source moved on: safe to bring over
    DRIFTED = "drifted"  # edited on the target: bringing it over loses that
    DIVERGED = "diverged"  # both moved: somebody has to decide
    DIFFERS = "differs"  # different, and it is not known which side moved
    ABSENT = "absent"  # not on the target
    ONLY_HERE = "only_here"  # not on the source
    UNKNOWN = "unknown"  # one side could not be read

    @property
    def mirrored(self) -> Sync:
        """The same, seen from the target."""
        return _MIRRORED.get(self, self)


_MIRRORED = {
    Sync.BEHIND: Sync.DRIFTED,
    Sync.DRIFTED: Sync.BEHIND,
    Sync.ABSENT: Sync.ONLY_HERE,
    Sync.ONLY_HERE: Sync.ABSENT,
}


@dataclass(frozen=True)
class Standing:
    """`is_settled`: both sides are as they were when somebody decided that they may differ."""

    state: Sync
    is_settled: bool = False


def standing(wanted: str, present: str, base: Baseline | None) -> Standing:
    """The state of an asset that both sides have.

    `wanted` is the comparison fingerprint of the source's document in the target's terms, `present` that of the
    target's; either is empty where it could not be read. `base` is what the last run left, or somebody accepted.
    """
    if not wanted or not present:
        return Standing(Sync.UNKNOWN)
    if wanted == present:
        return Standing(Sync.IN_SYNC)
    if base is None:
        return Standing(Sync.DIFFERS)
    moved = who_moved(wanted=wanted, present=present, base_wanted=base.wanted, base_present=base.present)
    if moved == Moved.NEITHER:
        return Standing(
            Sync.DIFFERS, is_settled=True
        )  # kept or accepted as it is, and nobody touched it since
    if moved == Moved.SOURCE:  # over what was accepted on the target: a plan asks as well
        return Standing(Sync.DIVERGED if base.accepted else Sync.BEHIND)
    return Standing(Sync.DRIFTED if moved == Moved.TARGET else Sync.DIVERGED)
