"""Integer ids inside texts: Jinja in SQL, and links in markdown and templates.

In canonical form an id in a text stands as a token, `⟦chart:<uuid>⟧`, the instance's own address as `⟦base⟧`, and a
link without a host begins below the instance's own path; rendering puts the target's ids, address and path back. What
cannot be resolved becomes id 0, which is nothing, and is noted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

from .documents import Kind
from .ids import IdTable

BASE_TOKEN = "⟦base⟧"  # noqa: S105  a mark in texts
_TOKEN = re.compile(r"⟦(dashboard|chart|dataset):([0-9a-f-]{36})⟧")
#: For the bracket itself, where a person's text has one.
_BRACKET = "⟦(⟧"
_ANY_TOKEN = re.compile(rf"{_TOKEN.pattern}|{BASE_TOKEN}|{re.escape(_BRACKET)}")

# Each pattern: what stands before the id (group 1), the id (group 2), what must follow it. Jinja macros:
# superset/jinja_context.py, dataset_macro and metric_macro, read at 6.1.0.
_QUOTED = r"(?:'[^']*'|\"[^\"]*\")"
_JINJA: tuple[re.Pattern[str], ...] = (
    re.compile(r"((?<![\w.])dataset\(\s*(?:dataset_id\s*=\s*)?)(\d{1,18})(?=\s*[,)])"),
    re.compile(
        rf"((?<![\w.])metric\(\s*(?:metric_key\s*=\s*)?{_QUOTED}\s*,\s*(?:dataset_id\s*=\s*)?)(\d{{1,18}})(?=\s*\))"
    ),
    re.compile(
        rf"((?<![\w.])metric\(\s*dataset_id\s*=\s*)(\d{{1,18}})(?=\s*,\s*metric_key\s*=\s*{_QUOTED}\s*\))"
    ),
)
_JINJA_BLOCK = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
# Links: superset/views/core.py (dashboard by id), superset/explore (slice_id, datasource_id), read at 6.1.0.
# A name is followed by its value as a parameter of an address (=), or in JSON: plain, URL-encoded, or escaped for HTML.
_END = r"(?=[/?#)\"'\s<>&\]]|$)"
_NAME = r"(?:(?<=%22)|\b)"  # a name in JSON begins after its quote, URL-encoded or not
_COLON = r"(?:%22%3A(?:%20|\+)?|\":\s?|&quot;:\s?)"
_LINKS: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    (Kind.DASHBOARD, re.compile(rf"(/superset/dashboard/)(\d{{1,18}}){_END}")),
    (Kind.CHART, re.compile(rf"((?:(?<=[?&;])slice_id=|{_NAME}slice_id{_COLON}))(\d{{1,18}})(?!\d)")),
    (Kind.CHART, re.compile(rf"(/superset/slice/)(\d{{1,18}}){_END}")),
    (Kind.DATASET, re.compile(rf"(/superset/explore/table/)(\d{{1,18}}){_END}")),
    (Kind.DATASET, re.compile(r"((?<=[?&;])datasource_id=)(\d{1,18})(?!\d)")),
    (Kind.DATASET, re.compile(rf"({_NAME}datasource{_COLON}(?:%22|\"|&quot;))(\d{{1,18}})(?=__table)")),
    (Kind.DATASET, re.compile(rf"(/tablemodelview/edit/)(\d{{1,18}}){_END}")),
)
# What is left of absolute addresses after our own became a token: links to other hosts, whose ids mean nothing here.
_OTHER_HOST = re.compile(r"(?:\bhttps?:)?//[^\s\"'<>)\]]+")
# Pages that a link without a host may lead to. Before them stands the path below which a Superset is served, if any
# (SUPERSET_APP_ROOT).
_PAGES = r"/(?:superset/(?:dashboard|slice|explore)/|explore/\?|tablemodelview/)"
_LINK_BEGINS = r"(?<![\w/.%\-⟧])"
#: Stands for an asset that does not exist: no row has this id, so nothing else is ever shown in its place.
NOWHERE = "0"


@dataclass(frozen=True)
class TextReference:
    """An id found in a text: of what kind, which uuid it is (None: this environment has no such asset),
    and the words around it.
    """

    kind: Kind
    uuid: str | None
    found: str


def _may_hold_ids(text: str) -> bool:
    return (
        ("{{" in text or "{%" in text)
        or "superset/" in text
        or "slice_id" in text
        or "datasource_id" in text
        or "tablemodelview" in text
        or "__table" in text
    )


def _may_link(text: str) -> bool:
    return "superset/" in text or "explore/" in text or "tablemodelview/" in text


def _path_of(base_url: str) -> str:
    return urlsplit(base_url).path.rstrip("/")


def text_to_canonical(text: str, ids: IdTable, base_url: str) -> tuple[str, tuple[TextReference, ...]]:
    """Replace the ids that a text holds by tokens. Comes back with every id that was found, resolved or not.

    An id of nothing becomes 0: carried as it stands it would name some unrelated asset of the next environment.
    """
    found: list[TextReference] = []

    def to_token(kind: Kind) -> Callable[[re.Match[str]], str]:
        def replace(match: re.Match[str]) -> str:
            if match[2] == NOWHERE:
                return match[0]
            uuid = ids.uuid_of(kind, match[2])
            found.append(TextReference(kind, uuid, match[0]))
            return f"{match[1]}{NOWHERE}" if uuid is None else f"{match[1]}⟦{kind.value}:{uuid}⟧"

        return replace

    def macros(block: re.Match[str]) -> str:
        changed = block[0]
        for pattern in _JINJA:
            changed = pattern.sub(to_token(Kind.DATASET), changed)
        return changed

    text = text.replace("⟦", _BRACKET)
    if base_url and base_url in text:
        # A longer host name that only begins alike (http://bi:80880 for http://bi:8088) is another address.
        text = re.sub(re.escape(base_url) + r"(?=[/?#)\"'\s<>\]]|$)", BASE_TOKEN, text)
    if _may_link(text) and (path := _path_of(base_url)):
        ours = re.compile(rf"{_LINK_BEGINS}{re.escape(path)}(?={_PAGES})")
        text = _outside(_OTHER_HOST, text, partial(ours.sub, ""))
    if _may_hold_ids(text):
        text = _JINJA_BLOCK.sub(macros, text)
        for kind, pattern in _LINKS:
            text = _outside(_OTHER_HOST, text, partial(pattern.sub, to_token(kind)))
    return text, tuple(found)


def _outside(pattern: re.Pattern[str], text: str, change: Callable[[str], str]) -> str:
    """The text with what lies between the matches of a pattern changed."""
    parts: list[str] = []
    end = 0
    for match in pattern.finditer(text):
        parts += [change(text[end : match.start()]), match[0]]
        end = match.end()
    return "".join([*parts, change(text[end:])])


def text_to_target(text: str, ids: IdTable, base_url: str) -> tuple[str, tuple[TextReference, ...]]:
    """Put one instance's ids in place of the tokens. Comes back with the references that instance has no id
    for: they become id 0, which exists nowhere, so that no token ever reaches an instance."""
    if _may_link(text) and (path := _path_of(base_url)):
        pages = re.compile(rf"{_LINK_BEGINS}(?={_PAGES})")
        text = _outside(_OTHER_HOST, text, partial(pages.sub, lambda match: path))
    if "⟦" not in text:
        return text, ()
    missing: list[TextReference] = []

    def replace(match: re.Match[str]) -> str:
        if match[1] is None:
            return base_url if match[0] == BASE_TOKEN else "⟦"
        kind, uuid = Kind(match[1]), match[2]
        number = ids.id_of(kind, uuid)
        if number is None:
            missing.append(TextReference(kind, uuid, match[0]))
            return NOWHERE
        return str(number)

    return _ANY_TOKEN.sub(replace, text), tuple(missing)


def text_references(text: str) -> Iterator[tuple[Kind, str]]:
    """The assets that the tokens of a canonical text name."""
    if "⟦" in text:
        for match in _TOKEN.finditer(text):
            yield Kind(match[1]), match[2]


def text_without(text: str, is_there: Callable[[Kind, str], bool]) -> str:
    """The canonical text with the tokens of what is not there made ids of nothing."""
    if "⟦" not in text:
        return text
    return _TOKEN.sub(lambda match: match[0] if is_there(Kind(match[1]), match[2]) else NOWHERE, text)


def retarget_text(text: str, uuids: Callable[[str], str]) -> str:
    """The same canonical text with the uuids of its tokens exchanged."""
    if "⟦" not in text:
        return text
    return _TOKEN.sub(lambda match: f"⟦{match[1]}:{uuids(match[2])}⟧", text)


def named_text(text: str, name: Callable[[str], str]) -> str:
    """The canonical text for people: names in place of tokens."""
    if "⟦" not in text:
        return text

    def replace(match: re.Match[str]) -> str:
        if match[1] is not None:
            return name(match[2])
        return "" if match[0] == BASE_TOKEN else "⟦"

    return _ANY_TOKEN.sub(replace, text)


def hide_tokens(text: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """The canonical text with one character for each of its tokens, so that no change of the text reaches into them,
    and the pairs of both for `show_tokens`. The characters are of the private use area and not in the text.
    """
    if "⟦" not in text:
        return text, ()
    tokens = dict.fromkeys(match[0] for match in _ANY_TOKEN.finditer(text))
    free = (character for number in range(0xE000, 0xF8FF) if (character := chr(number)) not in text)
    hidden = tuple(zip(free, tokens, strict=False))  # beyond 6000 tokens in one text the rest stays open
    for character, token in hidden:
        text = text.replace(token, character)
    return text, hidden


def show_tokens(text: str, hidden: tuple[tuple[str, str], ...]) -> str:
    for character, token in hidden:
        text = text.replace(character, token)
    return text
