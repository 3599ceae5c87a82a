"""Integer ids inside texts: Jinja in SQL, and links in markdown and templates.

In canonical form an id in a text stands as a token, `⟦chart:<uuid>⟧`, and the instance's own address as
`⟦base⟧`; rendering puts
the target's ids and address back. What cannot be resolved stays as it is and is noted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .documents import Kind
from .ids import IdTable

BASE_TOKEN = "⟦base⟧"  # noqa: S105  a mark in texts
_TOKEN = re.compile(r"⟦(dashboard|chart|dataset):([0-9a-f-]{36})⟧")

# Each pattern: what stands before the id (group 1), the id (group 2), what must follow it.
# Jinja macros: superset/jinja_context.py, dataset_macro and metric_macro, read at 6.1.0.
_JINJA_DATASET = re.compile(r"(\bdataset\(\s*(?:dataset_id\s*=\s*)?)(\d{1,18})(?=\s*[,)])")
_JINJA_METRIC = re.compile(
    r"(\bmetric\(\s*(?:metric_key\s*=\s*)?(?:'[^']*'|\"[^\"]*\")\s*,\s*(?:dataset_id\s*=\s*)?)(\d{1,18})(?=\s*\))"
)
# Links: superset/views/core.py (dashboard by id), superset/explore (slice_id, datasource_id), read at 6.1.0.
_LINKS: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    (Kind.DASHBOARD, re.compile(r"(/superset/dashboard/)(\d{1,18})(?=[/?#)\"'\s<>&\]]|$)")),
    (Kind.CHART, re.compile(r"(\bslice_id(?:=|%22%3A(?:%20|\+)?|\":\s?|&quot;:\s?))(\d{1,18})(?!\d)")),
    (Kind.CHART, re.compile(r"(/superset/slice/)(\d{1,18})(?=[/?#)\"'\s<>&\]]|$)")),
    (Kind.DATASET, re.compile(r"(/superset/explore/table/)(\d{1,18})(?=[/?#)\"'\s<>&\]]|$)")),
    (Kind.DATASET, re.compile(r"(\bdatasource_id=)(\d{1,18})(?!\d)")),
    (Kind.DATASET, re.compile(r"(/tablemodelview/edit/)(\d{1,18})(?=[/?#)\"'\s<>&\]]|$)")),
)


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
    )


def text_to_canonical(text: str, ids: IdTable, base_url: str) -> tuple[str, tuple[TextReference, ...]]:
    """Replace the ids that a text holds by tokens. Comes back with every id that was found, resolved or not."""
    found: list[TextReference] = []

    def to_token(kind: Kind) -> Callable[[re.Match[str]], str]:
        def replace(match: re.Match[str]) -> str:
            uuid = ids.uuid_of(kind, match[2])
            found.append(TextReference(kind, uuid, match[0]))
            return match[0] if uuid is None else f"{match[1]}⟦{kind.value}:{uuid}⟧"

        return replace

    if base_url and base_url in text:
        # A longer host name that only begins alike (http://bi:80880 for http://bi:8088) is another address.
        text = re.sub(re.escape(base_url) + r"(?=[/?#)\"'\s<>\]]|$)", BASE_TOKEN, text)
    if _may_hold_ids(text):
        if "{{" in text or "{%" in text:
            text = _JINJA_DATASET.sub(to_token(Kind.DATASET), text)
            text = _JINJA_METRIC.sub(to_token(Kind.DATASET), text)
        for kind, pattern in _LINKS:
            text = pattern.sub(to_token(kind), text)
    return text, tuple(found)


def text_to_target(text: str, ids: IdTable, base_url: str) -> tuple[str, tuple[TextReference, ...]]:
    """Put one instance's ids in place of the tokens. Comes back with the references that instance has no
    id for: they become id 0,
    which exists nowhere, so that no token ever reaches an instance."""
    if "⟦" not in text:
        return text, ()
    missing: list[TextReference] = []

    def replace(match: re.Match[str]) -> str:
        kind, uuid = Kind(match[1]), match[2]
        number = ids.id_of(kind, uuid)
        if number is None:
            missing.append(TextReference(kind, uuid, match[0]))
            return "0"
        return str(number)

    return _TOKEN.sub(replace, text.replace(BASE_TOKEN, base_url)), tuple(missing)


def text_references(text: str) -> Iterator[tuple[Kind, str]]:
    """The assets that the tokens of a canonical text name."""
    if "⟦" in text:
        for match in _TOKEN.finditer(text):
            yield Kind(match[1]), match[2]


def retarget_text(text: str, uuids: Callable[[str], str]) -> str:
    """The same canonical text with the uuids of its tokens exchanged."""
    if "⟦" not in text:
        return text
    return _TOKEN.sub(lambda match: f"⟦{match[1]}:{uuids(match[2])}⟧", text)
