"""YAML for people who review it: one value to a line, names beside uuids, texts of several lines as blocks.

Written here rather than by PyYAML because that has no comments, and because the bytes must not change with its version.
`environments.superset.yaml_text` reads it back to equal values (tests/git/test_tree.py tries that with anything).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

MAX_NAME = 60  # characters of a name in a comment
_LONG_KEY = 120  # characters; YAML wants `? key` from 1,024 on
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# Begins with a letter, so it is no number and no date; nothing in it that YAML gives a meaning.
_PLAIN = re.compile(r"[^\W\d_](?:[\w ./()+-]*[\w./()+])?")
# What YAML 1.1 takes for something else than text (yaml/resolver.py).
_WORDS = frozenset(["y", "n", "yes", "no", "on", "off", "true", "false", "null"])
# What a block or quotes can hold as it is. Others are escaped: what is invisible, what YAML 1.1 takes for a line's end,
# and what is none of its characters (pyyaml reader.py, NON_PRINTABLE).
_KEPT = "\x20-\x7e\xa0-\u200d\u2010-\u2027\u202f-\u2065\u206a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff"
_UNPRINTABLE = re.compile(f"[^{_KEPT}]")
_ESCAPED = re.compile(f'["\\\\]|[^{_KEPT}]')
_NOT_IN_BLOCK = re.compile(f"[^\t\n{_KEPT}]")
_ESCAPES = {"\n": "\\n", "\t": "\\t", "\r": "\\r", '"': '\\"', "\\": "\\\\"}
_FLOATS = yaml.representer.SafeRepresenter()


class NotWritable(ValueError):
    """A text that no YAML file can hold."""


def to_yaml(data: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """A mapping of JSON values as YAML, in its own order. `names`: what stands in a comment beside which uuid.

    Raises NotWritable for a text with NUL or half a surrogate pair, which no reader of YAML takes.
    """
    lines: list[str] = []
    if not data:
        return "{}\n"
    _mapping(lines, data, 0, "", names)
    return "\n".join(lines) + "\n"


def _mapping(
    lines: list[str], data: Mapping[str, Any], column: int, first: str, names: Mapping[str, str]
) -> None:
    """`first`: what stands before the first key instead of spaces: the dash of a list's item."""
    indent = " " * column
    for key, value in data.items():
        text = _scalar(key)
        start = first or indent
        first = ""
        if len(text) > _LONG_KEY:
            lines.append(f"{start}? {text}")
            start, text = indent, ""
        _value(lines, f"{start}{text}:", value, column, names, _comment(key, names))


def _value(
    lines: list[str], start: str, value: Any, column: int, names: Mapping[str, str], comment: str = ""
) -> None:
    """A value after `start`, the key with its colon, or a dash. `column`: of the mapping or list that it is in."""
    if isinstance(value, Mapping) and value:
        if start.endswith("-"):
            _mapping(lines, value, column + 2, f"{start} ", names)
            return
        lines.append(start + comment)
        _mapping(lines, value, column + 2, "", names)
    elif isinstance(value, (list, tuple)) and value:
        lines.append(start + comment)
        dash = " " * (column + 2) + "-"
        for item in value:
            _value(lines, dash, item, column + 2, names)
    elif isinstance(value, str) and (block := _block(value, column + 2)):
        lines.append(f"{start} {block[0]}{comment}")
        lines.extend(block[1:])
    else:
        lines.append(f"{start} {_scalar(value)}{_comment(value, names) or comment}")


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        is_plain = (
            _PLAIN.fullmatch(value) and value.casefold() not in _WORDS and not _UNPRINTABLE.search(value)
        )
        if is_plain or _UUID.fullmatch(value):
            return value
        return f'"{_ESCAPED.sub(_escape, value)}"'
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return str(_FLOATS.represent_float(value).value)
    if isinstance(value, Mapping):
        return "{}"
    if isinstance(value, (list, tuple)):
        return "[]"
    raise TypeError(f"{type(value).__name__} is not JSON")


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    code = ord(character)
    if code == 0 or 0xD800 <= code <= 0xDFFF:
        raise NotWritable("It holds a character that no file of text can hold.")
    if known := _ESCAPES.get(character):
        return known
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _block(text: str, column: int) -> list[str]:
    """A text of several lines as a literal block: its header, then its lines. None where quotes have to hold it."""
    if "\n" not in text.rstrip("\n") or text[0] in " \t\n" or _NOT_IN_BLOCK.search(text):
        return []
    body = text.rstrip("\n")
    end = len(text) - len(body)
    indent = " " * column
    header = "|-" if end == 0 else "|" if end == 1 else "|+"
    return [header, *(indent + line if line else "" for line in body.split("\n")), *([""] * (end - 1))]


def _comment(value: Any, names: Mapping[str, str]) -> str:
    name = names.get(value) if isinstance(value, str) and _UUID.fullmatch(value) else None
    return f"  # {name_in_comment(name)}" if name else ""


def name_in_comment(name: str) -> str:
    """A name on one line, shortened, without what is invisible."""
    text = " ".join(_UNPRINTABLE.sub(" ", name).split())
    return text if len(text) <= MAX_NAME else text[: MAX_NAME - 1].rstrip() + "…"
