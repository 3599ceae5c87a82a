"""What the overview shows. The shell knows no assets: packages above it register what they have to say.

In an app's ready(): `home.register(my_module)`, any object with some of these functions, each taking the user:

    facts(user) -> Iterable[Fact]                    numbers for the top, where the first four by `order` stand
    done_steps(user) -> Collection[str]              which of the START steps are behind them
    sections(user) -> Iterable[Section]              cards below
    alerts(user) -> Iterable[str]                    what is wrong: shows in the icon of every tab
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, cast

from django.http import HttpRequest

from .navigation import first_url


@dataclass(frozen=True)
class Fact:
    label: str
    value: str | int
    note: str = ""
    url: str = ""
    state: str = ""  # shown as a pill, see states.py
    order: int = 50  # the lowest come first


@dataclass(frozen=True)
class Section:
    template: str
    context: dict[str, Any] = field(default_factory=dict)
    is_urgent: bool = False  # stands above everything else


@dataclass(frozen=True)
class Main:
    """`partial`: what htmx gets when it asks for a piece. `sub`: what stands below the heading. `context` becomes part
    of the page's own.
    """

    template: str
    partial: str
    sub: str
    context: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    key: str
    title: str
    text: str
    action: str
    names: tuple[str, ...]  # of URLs, tried in this order
    is_done: bool = False
    is_next: bool = False

    @property
    def url(self) -> str:
        return first_url(*self.names)


START = (
    Step(
        "environments",
        "Add your Supersets",
        "At least two: where dashboards are made, and where they are to go. An address and an account are enough; "
        "the connection is tested at once.",
        "Add an environment",
        ("environments:create", "environments:add", "environments:list"),
    ),
    Step(
        "reading",
        "Read them",
        "ss-tools lists every dashboard, chart, dataset and database, and remembers what it saw. Nothing is written.",
        "Go to the environments",
        ("environments:list",),
    ),
    Step(
        "migration",
        "Plan the first migration",
        "Choose what should move, say which database stands for which, and see what would change, field by field. "
        "Only then something is written, with a restore point taken first.",
        "New migration",
        ("migrations_app:create", "migrations_app:new", "migrations_app:list"),
    ),
)

MOST_FACTS = 4

_sources: list[Any] = []


def register(source: Any) -> None:
    """Let `source` speak on the overview. Asking twice changes nothing."""
    if source not in _sources:
        _sources.append(source)


def _ask(name: str, user: Any) -> Iterable[Any]:
    for source in _sources:
        if function := getattr(source, name, None):
            yield from function(user)


def facts(user: Any) -> list[Fact]:
    return sorted(_ask("facts", user), key=lambda fact: fact.order)[:MOST_FACTS]


def main(request: HttpRequest) -> Main | None:
    """What the first package that has something to show has to show."""
    for source in _sources:
        if (function := getattr(source, "main", None)) and (found := function(request)) is not None:
            return cast(Main, found)
    return None


def sections(user: Any) -> list[Section]:
    return sorted(_ask("sections", user), key=lambda section: not section.is_urgent)


def alerts(user: Any) -> list[str]:
    return list(_ask("alerts", user))


def start_steps(user: Any) -> list[Step]:
    """The three steps, or nothing once all are done."""
    done = set(_ask("done_steps", user))
    steps: list[Step] = []
    for step in START:
        is_done = step.key in done
        is_next = not is_done and not any(s.is_next for s in steps)
        steps.append(Step(step.key, step.title, step.text, step.action, step.names, is_done, is_next))
    return [] if all(step.is_done for step in steps) else steps
