"""What other apps have to say about a job that is under way, for its page: that a Superset asks for a pause, say.

Apps register in `ready()`. A notice is a sentence that is true now; it goes away by itself.
"""

from collections.abc import Callable, Iterable
from typing import Any

from .models import Job

Source = Callable[[Job, Any], Iterable[str]]

_sources: list[Source] = []


def register(source: Source) -> None:
    """`source(job, user)` gives sentences that this user may read. Asked often: one query, or none."""
    if source not in _sources:
        _sources.append(source)


def of(job: Job, user: Any) -> list[str]:
    """All that is to be said of a job; nothing of one that does not run."""
    if not job.is_running:
        return []
    return [text for source in _sources for text in source(job, user)]
