"""Reads rison, for the fake Superset. Only what Superset's own queries use; an error is a ValueError, as there."""

from __future__ import annotations

import re
from typing import Any

_BARE = re.compile(r"[^'!:(),*@$ ]+")


def parse_rison(text: str) -> Any:
    value, rest = _value(text)
    if rest:
        raise ValueError(f"rison goes on: {rest[:20]}")
    return value


def _value(text: str) -> tuple[Any, str]:
    if text.startswith("!("):
        return _items(text[2:])
    if text[:2] in ("!t", "!f", "!n"):
        return {"!t": True, "!f": False, "!n": None}[text[:2]], text[2:]
    if text.startswith("("):
        return _mapping(text[1:])
    if text.startswith("'"):
        return _quoted(text[1:])
    found = _BARE.match(text)
    if found is None:
        raise ValueError(f"no rison: {text[:20]}")
    word, rest = found.group(), text[found.end() :]
    if re.fullmatch(r"-?\d+", word):
        return int(word), rest
    if re.fullmatch(r"-?\d+\.\d+(e-?\d+)?", word):
        return float(word), rest
    return word, rest


def _items(text: str) -> tuple[list[Any], str]:
    items: list[Any] = []
    while not text.startswith(")"):
        if items:
            text = _after(text, ",")
        item, text = _value(text)
        items.append(item)
    return items, text[1:]


def _mapping(text: str) -> tuple[dict[str, Any], str]:
    items: dict[str, Any] = {}
    while not text.startswith(")"):
        if items:
            text = _after(text, ",")
        key, text = _value(text)
        items[str(key)], text = _value(_after(text, ":"))
    return items, text[1:]


def _quoted(text: str) -> tuple[str, str]:
    out = []
    index = 0
    while text[index] != "'":
        if text[index] == "!":
            index += 1
        out.append(text[index])
        index += 1
    return "".join(out), text[index + 1 :]


def _after(text: str, mark: str) -> str:
    if not text.startswith(mark):
        raise ValueError(f"rison wants {mark}: {text[:20]}")
    return text[1:]
