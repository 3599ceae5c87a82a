"""Two documents line by line: what a comparison sees of them as YAML, with marked words and folded lines."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import Any

from django.utils.html import escape
from django.utils.safestring import SafeString

from environments.canonical.comparison import comparison_form
from environments.canonical.documents import Document
from environments.superset.yaml_text import readable_yaml
from sstools.web.words import word_marks

CONTEXT_LINES = 3
#: Longer than this, lines that come again and again are no longer matched one by one: it would take minutes.
MANY_LINES = 20_000


@dataclass(frozen=True)
class Line:
    """One row of the comparison: numbers are empty on the side that has no such line.

    `gap`: how many lines are folded here; `name`: what opens them, the number of the first on the left; `url`: where
    they are open, for pages to fill in.
    """

    kind: str  # same, added, removed, changed, gap
    left_number: int | None = None
    right_number: int | None = None
    left: SafeString | str = ""
    right: SafeString | str = ""
    gap: int = 0
    name: str = ""
    url: str = ""


def form_of(document: Document) -> dict[str, Any]:
    """What a comparison sees of a document: nothing that only one instance knows."""
    return {"uuid": document.uuid, **comparison_form(document)}


def as_lines(document: Document) -> list[str]:
    """That as lines of YAML, keys sorted."""
    return readable_yaml(form_of(document)).splitlines()


def compare_lines(
    left: list[str], right: list[str], context: int | None, opened: Collection[str] = ()
) -> Iterator[Line]:
    """Rows of a side-by-side comparison. Unchanged lines are folded to `context` around a change; None: none.

    `opened`: names of folded rows that are shown all the same.
    """
    matcher = SequenceMatcher(None, left, right, autojunk=len(left) + len(right) > MANY_LINES)
    codes = matcher.get_opcodes()
    for number, (action, i, j, k, m) in enumerate(codes):
        if action == "equal":
            if str(i + 1) in opened:
                yield from _unchanged(left, i, j, k, None, first=True, last=True)
                continue
            yield from _unchanged(left, i, j, k, context, first=number == 0, last=number == len(codes) - 1)
            continue
        for offset, (old, new) in enumerate(zip_longest(left[i:j], right[k:m])):
            if old is None:
                yield Line("added", None, k + offset + 1, "", _mark("ins", new))
            elif new is None:
                yield Line("removed", i + offset + 1, None, _mark("del", old), "")
            else:
                before, after = word_marks(old, new)
                yield Line("changed", i + offset + 1, k + offset + 1, before, after)


def _unchanged(
    lines: list[str], i: int, j: int, k: int, context: int | None, *, first: bool, last: bool
) -> Iterator[Line]:
    count = j - i
    head = count if context is None else 0 if first else context
    tail = 0 if context is None or last else context
    if context is None or count <= head + tail + 1:
        head, tail = count, 0
    for offset in range(count):
        if offset == head and count - head - tail > 0:
            yield Line("gap", gap=count - head - tail, name=str(i + 1))
        if offset < head or offset >= count - tail:
            yield Line("same", i + offset + 1, k + offset + 1, lines[i + offset], lines[i + offset])


def _mark(tag: str, text: str) -> SafeString:
    stripped = text.lstrip(" ")
    indent = text[: len(text) - len(stripped)]
    return SafeString(f"{escape(indent)}<{tag}>{escape(stripped)}</{tag}>")
