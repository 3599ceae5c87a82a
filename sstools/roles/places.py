"""On what a role can be given, for people: a grant holds a resource name, here it gets the name that people know.

The shell knows no environments: the package that has them registers how they are found.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from sstools.resources import EVERYTHING, resource_name


@dataclass(frozen=True)
class Place:
    """`slug` is what people type, `obj` what the tag of an environment is drawn from."""

    resource_name: str
    slug: str
    label: str
    obj: Any = None

    def __str__(self) -> str:
        return self.label


ALL = Place(EVERYTHING, EVERYTHING, "everything")


Source = Callable[[Any], Iterable[Place]]
_sources: list[Source] = []


def register(source: Source) -> None:
    """In an app's ready(): `source(user)` gives what roles can be given on, as far as `user` may see it, in order."""
    if source not in _sources:
        _sources.append(source)


def seen_by(user: Any) -> list[Place]:
    """What roles can be given on, as far as `user` may see it, in the order of lists. Without "everything"."""
    return [place for source in _sources for place in source(user)]


def find(text: str, user: Any) -> Place | None:
    """What `user` typed or chose: "*", a slug or a resource name. None for what there is not, or not for them."""
    wanted = text.strip().casefold()
    known = (ALL, *seen_by(user))
    fitting = (
        one for one in known if wanted in (one.slug.casefold(), one.label.casefold(), one.resource_name)
    )
    return next(fitting, None)


def named(obj: Any, viewer: Any = None) -> Place:
    """What `obj` is as a place: everything for None and "*".

    A mere resource name gets its name from what `viewer` may see, and is called by itself otherwise.
    """
    if obj is None or obj == EVERYTHING:
        return ALL
    if isinstance(obj, Place):
        return obj
    name = resource_name(obj)
    if not isinstance(obj, str):
        return Place(name, name, str(obj), obj)
    known = (place for place in seen_by(viewer) if place.resource_name == name) if viewer is not None else ()
    return next(iter(known), Place(name, name, name))
