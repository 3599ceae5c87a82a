"""One asset that two sides changed since they had the same: put together field by field, and what is to be chosen.

What only one side changed comes from that side. Lists whose items have names (columns, metrics, filters) are put
together item by item. A dashboard's layout is one field: two halves of layouts make none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from environments.canonical.documents import Document, Kind

from .diff import field_changes, item_key, same

Path = tuple[str, ...]
_WHOLE: frozenset[Path] = frozenset({("position",)})


class Side(StrEnum):
    """Whose word goes: of who puts together, or what was there first."""

    MINE = "mine"
    THEIRS = "theirs"


@dataclass(frozen=True)
class Clash:
    """One field that both sides changed, each to something else. None where a side does not have it."""

    path: Path
    base: Any
    mine: Any
    theirs: Any


@dataclass(frozen=True)
class Merged:
    """`document`: put together, with mine where nobody chose. `clashes`: all fields to choose, by path; `from_mine`,
    `from_theirs`: number of fields that only that side changed.
    """

    document: Document
    clashes: tuple[Clash, ...]
    from_mine: int
    from_theirs: int


class _Nothing:
    """A key that is not there; None is a value."""


_NOTHING = _Nothing()


@dataclass
class _Merge:
    choices: Mapping[Path, Side]
    counted: frozenset[Path]  # fields that a comparison shows; in all others mine is as good as theirs
    clashes: list[Clash] = field(default_factory=list)

    def value(self, base: Any, mine: Any, theirs: Any, path: Path) -> Any:
        if _same(mine, theirs) or _same(theirs, base):
            return mine
        if _same(mine, base):
            return theirs
        if path not in _WHOLE and isinstance(mine, Mapping) and isinstance(theirs, Mapping):
            return self._mapping(base if isinstance(base, Mapping) else {}, mine, theirs, path)
        if isinstance(mine, list) and isinstance(theirs, list):
            old = base if isinstance(base, list) else []
            if key := item_key(old, mine, theirs):
                return self._items(old, mine, theirs, path, key)
        if not any(path == one[: len(path)] or one == path[: len(one)] for one in self.counted):
            return mine
        self.clashes.append(Clash(path, *(None if one is _NOTHING else one for one in (base, mine, theirs))))
        return theirs if self.choices.get(path) == Side.THEIRS else mine

    def _mapping(
        self, base: Mapping[str, Any], mine: Mapping[str, Any], theirs: Mapping[str, Any], path: Path
    ) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key in dict.fromkeys([*mine, *theirs]):
            old, ours, others = (one.get(key, _NOTHING) for one in (base, mine, theirs))
            found[key] = self.value(old, ours, others, (*path, str(key)))
        return {key: value for key, value in found.items() if value is not _NOTHING}

    def _items(self, base: list[Any], mine: list[Any], theirs: list[Any], path: Path, key: str) -> list[Any]:
        old, ours, others = ({str(item[key]): item for item in items} for items in (base, mine, theirs))
        found = self._mapping(old, ours, others, path)
        moved = [name for name in ours if name in old] != [name for name in old if name in ours]
        first, second = (ours, others) if moved else (others, ours)
        return [found[name] for name in dict.fromkeys([*first, *second]) if name in found]


def _same(one: Any, other: Any) -> bool:
    if one is _NOTHING or other is _NOTHING:
        return one is other
    return same(one, other)


def merge(
    base: Document | None, mine: Document, theirs: Document, choices: Mapping[Path, Side] | None = None
) -> Merged:
    """Both versions of one asset as one. `base`: what both began with, None where each made it anew. `choices`: whose
    word goes in which clash.
    """
    counted = frozenset(change.path for change in field_changes(theirs, mine))
    work = _Merge(choices or {}, counted)
    old = base.body if base is not None else {}
    body = dict(work.value(old, mine.body, theirs.body, ()))
    if mine.kind == Kind.CHART and "query_context" in body:
        # It is worked out of the rest when a chart is saved: half of each would ask for what no chart shows.
        whole = [one for one in (mine, theirs) if same(one.body.get("params"), body.get("params"))]
        body["query_context"] = whole[0].body.get("query_context") if whole else None
    clashing = {clash.path for clash in work.clashes}

    def alone(one: Document) -> int:
        paths = [change.path for change in field_changes(base, one)] if base is not None else []
        return sum(not any(path[: len(clash)] == clash for clash in clashing) for path in paths)

    return Merged(
        Document(mine.kind, mine.uuid, body),
        tuple(sorted(work.clashes, key=lambda clash: clash.path)),
        alone(mine),
        alone(theirs),
    )
