"""What somebody edited on the target of what goes with the assets, since a run last left it: a question, as of the
assets themselves. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from environments.canonical.companions import Companion, comparable
from environments.canonical.documents import canonical_json

from .conflicts import Conflict, ConflictCode
from .planned import Answer

OPTIONS = (Answer.KEEP.value, Answer.TAKE.value)


@dataclass(frozen=True)
class CompanionBase:
    """What the last run wanted of a companion, and what was there when it had ended, in the target's terms. None:
    nothing. `accepted`: who made it so by a word, and why; "" if a run did.
    """

    wanted: Companion | None
    present: Companion | None
    accepted: str = ""


def edit_conflict(
    base: CompanionBase | None, wanted: Companion | None, present: Companion | None, words: str, other: str
) -> tuple[Conflict | None, bool]:
    """The question, if there is one, and whether it was answered: the target's own was kept or accepted, and neither
    side has moved since. `words`: what it is, "owners of “Sales”"; `other`: what the target calls it.

    Asked is of fields that writing would change. What is wanted besides, as where somebody put a dataset under a rule,
    which stays there, is no question; nor is anything without a base.
    """
    if base is None:
        return None, False
    ours, theirs = _fields(wanted), _fields(present)
    brought, left = _fields(base.wanted), _fields(base.present)
    names = {
        name
        for name in {*ours, *theirs, *left}
        if theirs.get(name) != ours.get(name)
        and (theirs.get(name) != left.get(name) or left.get(name) != brought.get(name))
    }
    if not names:
        return None, False
    source_moved = any(ours.get(name) != brought.get(name) for name in names)
    target_moved = any(theirs.get(name) != left.get(name) for name in names)
    what = "removed" if present is None else "made there by hand" if base.present is None else "edited"
    subject = f"{words[:1].upper()}{words[1:]}"
    settled = base.accepted or "kept"
    code = ConflictCode.BESIDE_DIVERGED if source_moved else ConflictCode.BESIDE_DRIFTED
    if target_moved and source_moved:
        text = f"{subject}: changed on both sides since the last run; on the target it was {what}."
    elif target_moved:
        text = f"{subject}: {what} on the target after the last run; the source's is as it was."
    elif source_moved:
        text = f"{subject}: the source's changed after the target's own was {settled}."
    else:
        text = f"{subject}: the target's own was {settled}."
    uuid = present.uuid if present is not None else wanted.uuid if wanted is not None else ""
    return Conflict(code, text, OPTIONS, uuid, other), not (source_moved or target_moved)


def _fields(companion: Companion | None) -> Mapping[str, str]:
    """As two are compared, and whether a report is switched on: field -> its JSON."""
    if companion is None:
        return {}
    body = {**comparable(companion), **({"active": True} if companion.body.get("active") else {})}
    return {name: canonical_json([value]) for name, value in body.items() if name != "asset"}
