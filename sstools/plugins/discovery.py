"""Which plugins are there: entry points of what is installed, and what comes with ss-tools. Nothing is imported."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions

from django.conf import settings

from sstools import __version__

from .extension import GROUP, INTERFACE

NAME = re.compile(r"(?!look$)[a-z][a-z0-9-]{1,48}[a-z0-9]")  # "look" is an address below /plugins/
_ENTRY = re.compile(r"[\w.]+:[\w.]+")


@dataclass(frozen=True)
class Found:
    """`entry`: "module:attribute". `distribution` and `version`: of the package; those of ss-tools for its own."""

    name: str
    entry: str
    distribution: str
    version: str
    is_builtin: bool = False

    @property
    def mark(self) -> str:
        """Another one: it has to be looked at again."""
        return f"{self.distribution} {self.version} {self.entry} {INTERFACE} {__version__}"


_builtin: dict[str, str] = {}


def register_builtin(name: str, entry: str) -> None:
    """A plugin that comes with ss-tools; in an app's `ready()`. `entry` is imported in the plugin's process only."""
    _builtin[name] = entry


def paths() -> list[str]:
    """What plugins are looked for and imported on: the folder for plugins after what ss-tools itself runs on, so that
    nothing in it stands in for a part of ss-tools.
    """
    folder = [settings.PLUGINS_DIR] if settings.PLUGINS_DIR else []
    return [str(settings.BASE_DIR), *(path for path in sys.path if path), *folder]


def find_all() -> dict[str, Found]:
    """By name. Of two packages with the same name the first on the path counts; a built-in one before all."""
    found = {
        name: Found(name, entry, "ss-tools", __version__, is_builtin=True)
        for name, entry in sorted(_builtin.items())
    }
    for distribution in _packages():
        for point in distribution.entry_points:
            if point.group == GROUP and point.name not in found:
                version = str(distribution.version or "")
                found[point.name] = Found(
                    point.name, point.value.replace(" ", ""), str(distribution.name), version
                )
    return {name: one for name, one in found.items() if NAME.fullmatch(name) and _ENTRY.fullmatch(one.entry)}


def _packages() -> Iterator[Distribution]:
    seen: set[str] = set()
    for distribution in distributions(path=paths()):
        name = str(distribution.metadata["Name"] or "").lower()
        if name and name not in seen:
            seen.add(name)
            yield distribution
