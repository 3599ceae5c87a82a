"""What differs between two documents of one asset, field by field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from environments.canonical.comparison import comparison_form
from environments.canonical.documents import Document, canonical_json

#: Keys that name an item of a list; the first one that all items of both lists carry, each with another
#: value, matches them.
_ITEM_KEYS = ("column_name", "metric_name", "id", "uuid", "optionName", "name")

ABSENT = None


@dataclass(frozen=True)
class FieldChange:
    """One field: `path` as keys (list items by name, or by position), `before` and `after` as JSON, None
    where there is nothing.
    """

    path: tuple[str, ...]
    before: Any
    after: Any

    @property
    def operator(self) -> str:
        """ "+" came, "-" went, "~" changed."""
        if self.before is ABSENT:
            return "+"
        return "-" if self.after is ABSENT else "~"

    def to_json(self) -> dict[str, Any]:
        return {"path": list(self.path), "before": self.before, "after": self.after}


def field_changes(before: Document, after: Document) -> tuple[FieldChange, ...]:
    """What makes `after` differ from `before`, by comparison form: fields that a comparison ignores never
    show. Sorted by path.
    """
    return tuple(_changes(comparison_form(before), comparison_form(after), ()))


def ignored_changes(before: Document, after: Document) -> tuple[FieldChange, ...]:
    """What differs between two documents and is ignored in a comparison (`rules.IGNORED_IN_COMPARISON`). By path."""
    counted = {change.path for change in field_changes(before, after)}
    every = _changes(dict(before.body), dict(after.body), ())
    return tuple(change for change in every if change.path not in counted)


def _changes(before: Any, after: Any, path: tuple[str, ...]) -> Iterator[FieldChange]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in sorted({*before, *after}):
            if (key in before) != (key in after) and before.get(key) is after.get(key) is None:
                yield FieldChange((*path, str(key)), None, None)  # an explicit null, and nothing
            yield from _changes(before.get(key), after.get(key), (*path, str(key)))
        return
    if isinstance(before, list) and isinstance(after, list):
        yield from _list_changes(before, after, path)
        return
    if not same(before, after):
        yield FieldChange(path, before, after)


def same(before: Any, after: Any) -> bool:
    """Whether two JSON values are, as fingerprints see it: Python takes True for 1, JSON does not."""
    return before == after and canonical_json(before) == canonical_json(after)


def _list_changes(before: list[Any], after: list[Any], path: tuple[str, ...]) -> Iterator[FieldChange]:
    if same(before, after):
        return
    if key := item_key(before, after):
        left = {str(item[key]): item for item in before}
        right = {str(item[key]): item for item in after}
        for name in sorted({*left, *right}):
            yield from _changes(left.get(name), right.get(name), (*path, name))
        if [name for name in left if name in right] != [name for name in right if name in left]:
            yield FieldChange((*path, "(order)"), list(left), list(right))
        return
    if len(before) == len(after) and any(isinstance(item, Mapping) for item in before):
        for index, (one, other) in enumerate(zip(before, after, strict=True), start=1):
            yield from _changes(one, other, (*path, str(index)))
        return
    yield FieldChange(path, before, after)


def item_key(*lists: Sequence[Any]) -> str | None:
    """What names the items of these lists, each another one; None where nothing does, or where all are empty."""
    for key in _ITEM_KEYS:
        if all(_names_each(items, key) for items in lists) and any(lists):
            return key
    return None


def _names_each(items: Sequence[Any], key: str) -> bool:
    names = [item.get(key) for item in items if isinstance(item, Mapping)]
    return (
        len(names) == len(items)
        and all(isinstance(name, (str, int)) for name in names)
        and len({str(name) for name in names}) == len(names)
    )
