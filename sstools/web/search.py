"""What can be found from every page. The shell knows no assets: packages register what they know.

In an app's ready(): `search.register(my_module)`, any object with some of these functions:

    find(ask) -> Iterable[Group]                 what fits the words of `ask`, a few of each; asked at every key
    sections(ask, values) -> Iterable[Section]   the same in full for the page /search/, `values` from its address;
                                                 "said" in its context is read to those who cannot see it
    leads_to(ask) -> str                         the address that the text itself stands for, "" if it is none
    recall(user, paths) -> Mapping[str, Item]    what stands at addresses of ours, as far as the user may see it

All of them show only what `ask.user` may know of.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .home import Section

FEW = 8


@dataclass(frozen=True)
class Ask:
    user: Any
    text: str  # as typed, without spaces around it; never empty in find, sections and leads_to


@dataclass(frozen=True)
class Item:
    """One thing that was found. `excerpts`: (label, ((text, is it what was searched for), …))."""

    title: str
    url: str
    icon: str = ""
    detail: str = ""
    environments: tuple[Any, ...] = ()
    excerpts: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Group:
    """`note` says what there is to say instead of items, or besides."""

    label: str
    items: tuple[Item, ...] = ()
    note: str = ""
    order: int = 50
    is_in_full: bool = False  # on the page of the search the source has a section for it


_sources: list[Any] = []


def register(source: Any) -> None:
    """Let `source` be searched. Asking twice changes nothing."""
    if source not in _sources:
        _sources.append(source)


def _ask(name: str, *args: Any) -> Iterable[Any]:
    for source in _sources:
        if function := getattr(source, name, None):
            yield function(*args)


def fold(text: str) -> str:
    """For comparing: case folded, ё as е, single spaces."""
    return " ".join(text.casefold().replace("ё", "е").split())


def fits(text: str, *names: str) -> bool:
    """Whether every word of `text` is somewhere in `names`."""
    within = fold(" ".join(names))
    return all(word in within for word in fold(text).split())


def find(ask: Ask) -> list[Group]:
    groups = [group for found in _ask("find", ask) for group in found]
    return sorted((group for group in groups if group.items or group.note), key=lambda group: group.order)


def sections(ask: Ask, values: Mapping[str, str]) -> list[Section]:
    return [section for found in _ask("sections", ask, values) for section in found]


def leads_to(ask: Ask) -> str:
    return next((url for url in _ask("leads_to", ask) if url), "")


def recall(user: Any, paths: Collection[str]) -> list[Item]:
    known: dict[str, Item] = {}
    for found in _ask("recall", user, paths):
        known |= found
    return [known[path] for path in paths if path in known]
