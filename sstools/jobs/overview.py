"""What the overview page says about jobs: those that wait for an answer of the reader."""

from collections.abc import Iterable
from typing import Any

from sstools.web.home import Section

from . import waiting

SHOWN = 10


def sections(user: Any) -> Iterable[Section]:
    asking = waiting.asking(user)
    if asking:
        yield Section(
            "jobs/_asking.html", {"jobs": asking[:SHOWN], "more": max(0, len(asking) - SHOWN)}, is_urgent=True
        )
