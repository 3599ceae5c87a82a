"""What the packages above know about their kinds of jobs, and a job's page shows.

The shell knows no migrations, so an app says it in its ready(): `pages.register("app.verb_noun", describe)`, where
`describe(job, user)` returns a JobPage. Without one, a job's page shows what every job has.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .models import Job


@dataclass(frozen=True)
class Step:
    """A line of a step list: what is done, how it went, how long it took."""

    title: str
    state: str  # done, running, failed, skipped, waiting
    note: str = ""
    seconds: float | None = None
    detail: str = ""
    seq: int = 0  # of its line in the log; 0: it has none


@dataclass(frozen=True)
class Action:
    """What may be done next: a form that is sent to `url` with `fields`, or without `is_post` a link.

    `reason`: why the reader may not do it; it then stands in the button's place.
    """

    label: str
    url: str
    fields: Mapping[str, str] = field(default_factory=dict)
    is_post: bool = True
    icon: str = ""
    style: str = ""  # primary, danger
    note: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Choice:
    """One thing that a cancel can mean, or an answer: `value` for the service, the rest for people."""

    value: str
    label: str
    effect: str = ""


@dataclass(frozen=True)
class Listing:
    """An exact list behind a heading; `state` is one of sstools.web.states."""

    title: str
    rows: Sequence[str]
    state: str = ""


@dataclass(frozen=True)
class JobPage:
    """`steps`: None for those of the log. `headline`: what came of it, in a sentence.

    `cancel_choices`: what a cancel can mean now; empty if it ends the job with nothing written. `cancel_text`: what a
    cancel does now.
    """

    steps: Sequence[Step] | None = None
    headline: str = ""
    listings: Sequence[Listing] = ()
    actions: Sequence[Action] = ()
    cancel_choices: Sequence[Choice] = ()
    cancel_text: str = ""


Describe = Callable[[Job, Any], JobPage]
_known: dict[str, Describe] = {}


def register(kind: str, describe: Describe) -> None:
    """Let `describe` speak for jobs of a kind. Asking twice changes nothing."""
    _known[kind] = describe


def page_of(job: Job, user: Any) -> JobPage:
    """What is known about the job besides its row, for this reader."""
    describe = _known.get(job.kind)
    return describe(job, user) if describe else JobPage()


@dataclass(frozen=True)
class Origin:
    """What asked for a job in place of a person: its name, and its page."""

    label: str
    url: str


_origins: list[Callable[[Job, Any], Origin | None]] = []


def register_origin(find: Callable[[Job, Any], Origin | None]) -> None:
    """Let `find` say what asked for jobs, where the reader may know of it. Asking twice changes nothing."""
    if find not in _origins:
        _origins.append(find)


def origin_of(job: Job, user: Any) -> Origin | None:
    return next((found for find in _origins if (found := find(job, user)) is not None), None)
