"""What the packages above give plugins to work on: the shell knows no environments and no assets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sstools.errors import NotFoundError

#: "environment:<uuid>" -> extension.Place as a dict; None for one that is gone.
PlaceOf = Callable[[str], dict[str, Any] | None]
#: The same, and kinds of assets -> extension.Asset as dicts, as they were last read.
AssetsOf = Callable[[str, Sequence[str]], list[dict[str, Any]]]

_sources: list[tuple[PlaceOf, AssetsOf]] = []


def register(place_of: PlaceOf, assets_of: AssetsOf) -> None:
    """In an app's `ready()`. Asking twice changes nothing."""
    if (place_of, assets_of) not in _sources:
        _sources.append((place_of, assets_of))


def place_of(resource: str) -> dict[str, Any]:
    """Raises NotFoundError."""
    for place, _ in _sources:
        if (found := place(resource)) is not None:
            return found
    raise NotFoundError("The environment was removed.")


def assets_of(resource: str, kinds: Sequence[str]) -> list[dict[str, Any]]:
    return [asset for _, assets in _sources for asset in assets(resource, kinds)]
