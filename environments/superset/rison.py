"""Rison, the notation of Superset's `q` parameter: https://rison.io. Only writing; Superset never answers in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

# An identifier may stand without quotes when it does not start like a number and has none of rison's own characters.
_IDENTIFIER = re.compile(r"[A-Za-z_./~][\w./~-]*", re.ASCII)


def rison(value: Any) -> str:
    """`value` in rison: None, bool, int, float, text, lists and mappings of these."""
    if value is None:
        return "!n"
    if value is True:
        return "!t"
    if value is False:
        return "!f"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value).replace("+", "")  # 1e+20 is not rison
    if isinstance(value, str):
        if _IDENTIFIER.fullmatch(value):
            return str(value)
        return "'" + value.replace("!", "!!").replace("'", "!'") + "'"
    if isinstance(value, Mapping):
        return "(" + ",".join(f"{rison(str(key))}:{rison(item)}" for key, item in value.items()) + ")"
    if isinstance(value, Iterable):
        return "!(" + ",".join(rison(item) for item in value) + ")"
    raise TypeError(f"Not rison: {type(value).__name__}")
