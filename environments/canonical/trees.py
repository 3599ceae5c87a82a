"""Walking plain JSON trees."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time
from typing import Any

#: Deeper than any asset of Superset, and far above Python's recursion limit's danger.
MAX_DEPTH = 200


def plain(value: Any, depth: int = 0) -> Any:
    """A private copy of a parsed YAML or JSON value that JSON can hold: keys are texts, dates are ISO
    texts, NaN is None.

    Raises ValueError when the value nests deeper than `MAX_DEPTH`.
    """
    if depth > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, Mapping):
        return {_key(key): plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, depth + 1) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    return str(value)


def _key(key: Any) -> str:
    # JSON's own spelling, as Superset's json.dumps writes such keys: true, null, 12.
    if isinstance(key, str):
        return key
    if key is None:
        return "null"
    if isinstance(key, bool):
        return "true" if key else "false"
    return str(key)


def map_texts(value: Any, change: Callable[[str], str], keys: bool = False) -> Any:
    """A copy of a JSON value with every text changed; keys of mappings too when asked."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {(change(key) if keys else key): map_texts(item, change, keys) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [map_texts(item, change, keys) for item in value]
    return value


def texts(value: Any, keys: bool = False) -> Iterator[str]:
    """Every text in a JSON value, keys of mappings too when asked."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if keys:
                yield key
            yield from texts(item, keys)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from texts(item, keys)


def as_mapping(value: Any) -> dict[str, Any]:
    """The value if it is a mapping, else an empty one: damaged assets hold lists and nulls where mappings belong."""
    return dict(value) if isinstance(value, Mapping) else {}


def as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else []
