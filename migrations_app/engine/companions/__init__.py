"""What becomes of the companions of a plan's assets: which come along, as what on the target, and which stay behind and
why. Pure, as the plan itself.
"""

from __future__ import annotations

from .comparing import beside, decided, difference, same
from .model import (
    KIND_NAMES,
    TAKEN,
    TOUCHED_BY_IMPORT,
    WORDS,
    WRITTEN_APART,
    CompanionInput,
    CompanionItem,
    People,
    Side,
    Touched,
    companion_words,
)
from .needed import kinds_to_read
from .planning import general_losses, with_companions
from .restoring import with_restored
from .words import changed_fields

__all__ = [
    "KIND_NAMES",
    "TAKEN",
    "TOUCHED_BY_IMPORT",
    "WORDS",
    "WRITTEN_APART",
    "CompanionInput",
    "CompanionItem",
    "People",
    "Side",
    "Touched",
    "beside",
    "changed_fields",
    "companion_words",
    "decided",
    "difference",
    "general_losses",
    "kinds_to_read",
    "same",
    "with_companions",
    "with_restored",
]
