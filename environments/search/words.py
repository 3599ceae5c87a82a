"""Texts as words, the same ones for every database. No Django here."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from environments.words import fold

MAX_WORD = 64  # characters; a longer run of letters and digits is data
MAX_TERMS = 12
MAX_JOINED = 5  # words; a uuid has as many
# Characters that SQLite takes for letters, and which nobody can type: between two texts, so that no term spans both,
# and between the words of a name such as sales_fact, which is a word as well, so that names are found as fast as words.
BETWEEN, JOINT = "\ue000", "\ue001"
_WORD = re.compile(r"[^\W_]+")
_JOINED = re.compile(r"[^\W_]+(?:(?:_|[^\w\s])+[^\W_]+)+")
# What canonical texts have in place of ids; nobody types it.
_TOKENS = re.compile(r"⟦[^⟧]*⟧")


def words_of(text: str) -> list[str]:
    """The words of a text: runs of letters and digits, folded. `Sales_Fact.net` gives sales, fact, net."""
    return _words(fold(_TOKENS.sub(" ", text)))


def _words(folded: str) -> list[str]:
    return [word[:MAX_WORD] for word in _WORD.findall(folded)]


def indexed_words_of(text: str) -> list[str]:
    """The words of a text, and after them those that are joined by anything but spaces, from each of them on."""
    folded = fold(_TOKENS.sub(" ", text))
    joined: dict[str, None] = {}
    for run in _JOINED.findall(folded):
        words = _words(run)
        for start in range(len(words) - 1):
            joined[joined_word(words[start:])] = None
    return [*_words(folded), BETWEEN, *joined, BETWEEN]


def joined_word(words: Sequence[str]) -> str:
    return JOINT.join(words[:MAX_JOINED])


@dataclass(frozen=True)
class Term:
    """Words that stand side by side; the last one may go on, unless it is a single character, or `is_whole`.

    `is_joined`: with something between them that is no space. `is_inside`: the first one may be the rest of a word.
    """

    words: tuple[str, ...]
    is_joined: bool = False
    is_whole: bool = False
    is_inside: bool = False

    @property
    def is_prefix(self) -> bool:
        return len(self.words[-1]) > 1 and not self.is_whole

    @property
    def indexed(self) -> tuple[str, ...]:
        """What the index has for it, side by side."""
        return (joined_word(self.words),) if self.is_joined else self.words

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Finds it in a text that was not folded."""
        spelled = (re.escape(word).replace("е", "[её]") for word in self.words)
        between = r"(?:_|[^\w\s])+" if self.is_joined else r"[\W_]+"
        end = "" if self.is_prefix else r"(?![^\W_])"
        start = "" if self.is_inside else r"(?<![^\W_])"
        return re.compile(start + between.join(spelled) + end, re.IGNORECASE)


def terms_of(text: str) -> list[Term]:
    """What is searched for: everything between spaces, or between quotes, is one term. Each must be there."""
    terms: list[Term] = []
    for quoted, plain in re.findall(r'"([^"]*)"|([^\s"]+)', text):
        words = tuple(words_of(quoted or plain))
        term = Term(words, is_joined=bool(plain) and len(words) > 1)
        if words and term not in terms:
            terms.append(term)
    return terms[:MAX_TERMS]


@dataclass(frozen=True)
class Excerpt:
    """Why something was found: `label` says where, `parts` are (text, is it what was searched for)."""

    label: str
    parts: tuple[tuple[str, bool], ...]

    @property
    def text(self) -> str:
        return "".join(text for text, _ in self.parts)


BEFORE, AFTER = 48, 90  # characters around the first mark


def excerpt(label: str, text: str, terms: Iterable[Term]) -> Excerpt:
    """The part of `text` around the first of `terms` in it, marked. What is left out is shown by …"""
    terms = list(terms)
    starts = [found.start() for term in terms if (found := term.pattern.search(text))]
    first = min(starts, default=0)
    start, end = max(0, first - BEFORE), min(len(text), first + AFTER)
    if start:  # not in the middle of a word
        start = text.find(" ", start, first) + 1 or start
    piece = ("… " if start else "") + " ".join(text[start:end].split()) + (" …" if end < len(text) else "")
    return Excerpt(label, tuple(_marked(piece, terms)))


def _marked(text: str, terms: Sequence[Term]) -> Iterable[tuple[str, bool]]:
    spans = sorted(found.span() for term in terms for found in term.pattern.finditer(text))
    position = 0
    for start, end in spans:
        if start < position:
            continue
        if start > position:
            yield text[position:start], False
        yield text[start:end], True
        position = end
    if position < len(text):
        yield text[position:], False
