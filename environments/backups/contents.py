"""What is in a backup, and how each asset stands against what is there now. No Superset is asked."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from environments.canonical.companions import FACETS, Companion, CompanionKind
from environments.canonical.comparison import comparison_fingerprint
from environments.canonical.datasets import masked
from environments.canonical.documents import Document, Kind
from environments.models import Asset
from environments.store import companion_entries_of, entries_of, get_companions, get_documents
from environments.superset.companions.support import SUPPORT
from environments.superset.yaml_text import readable_yaml
from environments.words import fold
from sstools.errors import NotFoundError, SSToolsError

from .models import Backup

#: In the order of the page, with the words for many of them.
ASSET_KINDS: tuple[tuple[str, str], ...] = tuple(
    (kind.value, kind.plural.capitalize()) for kind in reversed(Kind)
)
COMPANION_KINDS: tuple[tuple[str, str], ...] = tuple(
    (kind.value, SUPPORT[kind].name) for kind in CompanionKind
)
KINDS = dict(ASSET_KINDS + COMPANION_KINDS)
#: Of one.
WORDS = {kind.value: kind.value.replace("_", " ") for kind in (*Kind, *CompanionKind)}
STATES = ("differs", "deleted", "unknown", "same")
#: Comparison fingerprints are worked out once for each document, which never changes.
_KEPT_FINGERPRINTS = 50_000
#: Documents that one page reads to say whether they say the same as now: about half a second. What is over counts as
#: different, as its content is another.
MOST_AT_ONCE = 500
_CHUNK = 100


class Item(NamedTuple):
    """One asset or companion. `sha`: its content, "" for what was there and could not be read. `state`: against what
    the environment's last reading found, one of STATES; "" for companions, of which readings know nothing.
    """

    kind: str
    uuid: str
    title: str
    sha: str
    state: str

    @property
    def is_asset(self) -> bool:
        return self.kind in _ASSET_KINDS

    @property
    def key(self) -> str:
        """As selections name it."""
        return f"{self.kind}:{self.uuid}"


_ASSET_KINDS = frozenset(kind for kind, _ in ASSET_KINDS)


#: Signs of what has none of its own.
_ICONS = {
    CompanionKind.TAG: "tag",
    CompanionKind.TAGS: "tag",
    CompanionKind.ANNOTATION_LAYER: "note",
    CompanionKind.ANNOTATION_USE: "note",
    CompanionKind.CSS_TEMPLATE: "paint",
    CompanionKind.THEME: "theme",
    CompanionKind.THEME_USE: "theme",
    CompanionKind.RLS: "lock",
    CompanionKind.ACCESS: "key",
    CompanionKind.ROLES: "people",
    CompanionKind.OWNERS: "person",
    CompanionKind.EMBEDDED: "code",
    CompanionKind.SAVED_QUERY: "terminal",
    CompanionKind.REPORT: "clock",
}


class Group(NamedTuple):
    """What of one kind stands on a page. `total`: how many the backup has."""

    kind: str
    label: str
    total: int
    rows: Sequence[Item]

    @property
    def icon(self) -> str:
        return icon_of(self.kind)


def icon_of(kind: str) -> str:
    return kind if kind in _ASSET_KINDS else _ICONS.get(CompanionKind(kind), "dot")


@dataclass
class Contents:
    """All that a backup holds, by kind and title. `later`: how many assets there are now that it does not have.
    `is_exact`: each that differs was looked into; else some may differ in nothing that counts.
    """

    backup: Backup
    items: Sequence[Item] = field(default_factory=tuple)
    later: int = 0
    is_exact: bool = True

    @cached_property
    def counts(self) -> Counter[str]:
        """Assets by state."""
        return Counter(item.state for item in self.items if item.state)

    @cached_property
    def by_kind(self) -> Counter[str]:
        return Counter(item.kind for item in self.items)

    @property
    def different(self) -> int:
        return self.counts["differs"] + self.counts["deleted"]

    def find(self, kind: str, uuid: str) -> Item | None:
        return next((item for item in self.items if (item.kind, item.uuid) == (kind, uuid)), None)


def contents_of(backup: Backup) -> Contents:
    """Everything in a backup: three queries, and the documents whose content moved since. One that is damaged counts as
    unknown.
    """
    snapshot = backup.snapshot
    rows = list(entries_of(snapshot).values_list("kind", "uuid", "document__title", "document_id"))
    now = {
        (kind, uuid): (sha, comparable)
        for kind, uuid, sha, comparable in Asset.objects.filter(environment=backup.environment_id)
        .values_list("kind", "uuid", "document_id", "comparable")
        .order_by()
    }
    moved = [
        sha
        for kind, uuid, _, sha in rows
        if sha and kind != Kind.DATABASE and (there := now.get((kind, uuid))) and there[0] != sha and there[1]
    ]
    known, is_exact = _fingerprints(moved, most=MOST_AT_ONCE)
    items = []
    for kind, uuid, title, sha in rows:
        state = _state(kind, sha or "", now.get((kind, uuid)), known)
        items.append(Item(kind, uuid, title or uuid, sha or "", state))
    titles = {item.uuid: item.title for item in items}
    held = {(item.kind, item.uuid) for item in items}
    companions = companion_entries_of(snapshot).values_list("kind", "uuid", "document__title", "document_id")
    items += (
        # A facet is stored under the uuid of its asset: people know that by its title.
        Item(kind, uuid, titles.get(title, title) or uuid, sha or "", "")
        for kind, uuid, title, sha in companions
    )
    order = {kind: number for number, kind in enumerate(KINDS)}
    items.sort(key=lambda item: (order.get(item.kind, len(order)), fold(item.title), item.uuid))
    later = sum(1 for key in now if key not in held) if backup.whole else 0
    return Contents(backup, tuple(items), later, is_exact)


def _state(kind: str, sha: str, there: tuple[str | None, str] | None, known: Mapping[str, str | None]) -> str:
    """`known`: comparison fingerprints by content; None for a document that cannot be read."""
    if there is None:
        return "deleted"
    now, comparable = there
    if not sha or now is None:
        return "unknown"
    if sha == now or kind == Kind.DATABASE:
        return "same"  # connections are never written: whether theirs moved is no matter of a restore
    if not comparable or known.get(sha, "") is None:
        return "unknown"
    return "same" if known.get(sha) == comparable else "differs"


class _Memory:
    """The last few thousand fingerprints, for all threads of the process."""

    def __init__(self, size: int) -> None:
        self._size, self._lock = size, threading.Lock()
        self._known: OrderedDict[str, str] = OrderedDict()

    def get(self, sha: str) -> str | None:
        with self._lock:
            return self._known.get(sha)

    def put(self, sha: str, comparable: str) -> None:
        with self._lock:
            self._known[sha] = comparable
            if len(self._known) > self._size:
                self._known.popitem(last=False)


_memory = _Memory(_KEPT_FINGERPRINTS)


def _fingerprints(shas: Iterable[str], *, most: int | None = None) -> tuple[dict[str, str | None], bool]:
    """Comparison fingerprints by content fingerprint, None for what is damaged; and whether these are all of them."""
    wanted = list(dict.fromkeys(shas))
    found: dict[str, str | None] = {}
    missing = []
    for sha in wanted:
        if (known := _memory.get(sha)) is not None:
            found[sha] = known
        else:
            missing.append(sha)
    read = missing[:most]
    for start in range(0, len(read), _CHUNK):
        chunk = read[start : start + _CHUNK]
        found.update(dict.fromkeys(chunk))
        for sha, document in _readable(chunk).items():
            found[sha] = comparison_fingerprint(document)
            _memory.put(sha, str(found[sha]))
    return found, len(read) == len(missing)


def _readable(shas: Sequence[str]) -> dict[str, Document]:
    """Those of these documents that are there and whole."""
    try:
        return get_documents(shas)
    except SSToolsError:
        if len(shas) == 1:
            return {}
    half = len(shas) // 2
    return {**_readable(shas[:half]), **_readable(shas[half:])}


def select(items: Iterable[Item], *, kind: str = "", state: str = "", words: str = "") -> Iterator[Item]:
    """Items by the filters of page and API. `state`: one of STATES, or "different" for what a restore would write."""
    folded = fold(words).split()
    states = {"different": {"differs", "deleted"}}.get(state, {state})
    for item in items:
        if (kind and item.kind != kind) or (state and item.state not in states):
            continue
        title = fold(item.title) if folded else ""
        if all(word in title or word in item.uuid for word in folded):
            yield item


# --- One of them ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    """One thing in a backup with its content. `body` and `text` (YAML) are without secrets; None and "" where it could
    not be read when the backup was taken, and `why` says so.
    """

    item: Item
    body: dict[str, Any] | None
    text: str
    why: str = ""


def entry_of(backup: Backup, kind: str, uuid: str) -> Entry:
    """Raises NotFoundError; StoreDamaged, and what a storage raises."""
    is_asset = kind in _ASSET_KINDS
    rows = entries_of(backup.snapshot) if is_asset else companion_entries_of(backup.snapshot)
    row = rows.filter(kind=kind, uuid=uuid).values_list("document__title", "document_id").first()
    if row is None:
        raise NotFoundError(f"{backup} has no such {kind.replace('_', ' ')}.", code="not_in_backup")
    item = Item(kind, uuid, row[0] or uuid, row[1] or "", "")
    if is_asset:
        now = Asset.objects.filter(environment=backup.environment_id, kind=kind, uuid=uuid)
        there = now.values_list("document_id", "comparable").first()
        known, _ = _fingerprints([item.sha] if item.sha else ())
        item = item._replace(state=_state(kind, item.sha, there, known))
    elif CompanionKind(kind) in FACETS:
        asset = entries_of(backup.snapshot).filter(uuid=item.title)
        item = item._replace(title=asset.values_list("document__title", flat=True).first() or item.title)
    if not item.sha:
        return Entry(item, None, "", _why(backup, uuid))
    document: Document | Companion = (
        get_documents([item.sha])[item.sha] if is_asset else get_companions([item.sha])[item.sha]
    )
    body: dict[str, Any] = masked(dict(document.body))
    return Entry(item, body, readable_yaml(body))


def _why(backup: Backup, uuid: str) -> str:
    said = next((str(one.get("text", "")) for one in backup.problems if one.get("uuid") == uuid), "")
    return said or "It was there when the backup was taken, and could not be read."
