"""One asset of two places: what changed in sentences, as a tree of fields, and what is not a change at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from environments.canonical.datasets import masked
from environments.canonical.documents import Document, Kind
from environments.canonical.rendering import importable
from environments.store import get_documents
from environments.superset.yaml_text import readable_yaml
from migrations_app.engine.diff import FieldChange, field_changes, ignored_changes
from migrations_app.engine.sentences import sentence

from .listing import Comparison, Connection, Row
from .places import PlaceAsset

#: Longer values are cut in the tree; the YAML shows them whole.
MOST_CHARACTERS = 600
#: Of what is not a change: the first say what it is about.
MOST_SAID = 12
_TONES = {"+": ("added", "plus"), "-": ("removed", "minus"), "~": ("changed", "tilde")}


@dataclass(frozen=True)
class Said:
    """One change in words, for who reads it on a page."""

    text: str
    operator: str

    @property
    def tone(self) -> str:
        return _TONES[self.operator][0]

    @property
    def icon(self) -> str:
        return _TONES[self.operator][1]


@dataclass
class Node:
    """One line of the tree of fields: a change, or a field with changes inside."""

    name: str
    depth: int
    operator: str = ""
    before: str | None = None
    after: str | None = None

    @property
    def tone(self) -> str:
        return _TONES[self.operator][0] if self.operator else ""

    @property
    def icon(self) -> str:
        return _TONES[self.operator][1] if self.operator else ""


@dataclass
class Detail:
    """One asset of a comparison. `now`: its document on the right; `then`: the same as it is on the left.

    Both are in the same terms and without secrets; None where that side does not have it or has not read it.
    `mapped`: what mapping alone makes different, which is no change; `lost`: what no import carries; `ignored`: paths
    of fields that differ and do not count.
    """

    comparison: Comparison
    row: Row
    left: PlaceAsset | None
    right: PlaceAsset | None
    now: Document | None
    then: Document | None
    mapped: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)

    @cached_property
    def changes(self) -> tuple[FieldChange, ...]:
        if self.now is None or self.then is None:
            return ()
        return field_changes(self.now, self.then)

    @cached_property
    def sentences(self) -> list[Said]:
        if not self.changes:
            return []
        names = {
            **self.comparison.left.titles(self.now, self.then),
            **self.comparison.right.titles(self.now, self.then),
        }
        kind = Kind(self.row.kind)
        sides = (self.then, self.now)
        said = [Said(sentence(kind, change, names, sides), change.operator) for change in self.changes]
        return list(dict.fromkeys(said))  # a part that moved changes parents of all that is in it

    @cached_property
    def tree(self) -> list[Node]:
        return list(_tree(self.changes))

    @property
    def is_unread(self) -> bool:
        return self.row.state == "unknown"

    @property
    def document(self) -> Document | None:
        """The only one, where there is only one."""
        return self.then or self.now


def detail_of(comparison: Comparison, row: Row) -> Detail:
    """What differs in one asset. Reads its two documents; raises StoreDamaged."""
    terms = comparison.terms
    one = comparison.left.find([row.left_uuid]).get(row.left_uuid) if row.left_uuid else None
    other = comparison.right.find([row.right_uuid]).get(row.right_uuid) if row.right_uuid else None
    stored = get_documents(asset.sha for asset in (one, other) if asset is not None and asset.sha)
    ours = _safe(stored.get(one.sha) if one else None)
    theirs = _safe(stored.get(other.sha) if other else None)
    then, now = terms.in_terms(ours, left=True), terms.in_terms(theirs, left=False)
    detail = Detail(comparison, row, one, other, now, then)
    raw, seen = (ours, then) if terms.into_right else (theirs, now)
    if raw is not None and seen is not None and terms.mapping is not None:
        detail.mapped = _mapped(comparison, importable(raw), seen)
        detail.lost = [_path(change) for change in field_changes(importable(raw), raw)]
    if now is not None and then is not None:
        detail.ignored = _short(_path(change) for change in ignored_changes(now, then))
    return detail


def connection_of(comparison: Comparison, uuid: str) -> Connection | None:
    return next((item for item in comparison.connections() if item.uuid == uuid), None)


def _safe(document: Document | None) -> Document | None:
    """Addresses in SQL and settings may hold passwords, whoever wrote them there: they are shown to nobody."""
    return None if document is None else document.replace(**masked(dict(document.body)))


def _mapped(comparison: Comparison, raw: Document, seen: Document) -> list[str]:
    """What is another in the other side's terms: “database: DWH → DWH_PROD”."""
    here, there = comparison.left, comparison.right
    if not comparison.terms.into_right:
        here, there = there, here
    names = {**there.titles(seen), **here.titles(raw)}
    changes = (change for change in field_changes(raw, seen) if not _is_the_same_asset(change, names))
    said = list(dict.fromkeys(sentence(raw.kind, change, names, (seen, raw)) for change in changes))
    if raw.uuid != seen.uuid:
        said.insert(0, f"paired: {raw.uuid} here is {seen.uuid} there")
    return said if len(said) <= MOST_SAID else [*said[:MOST_SAID], f"and {len(said) - MOST_SAID} more"]


def _is_the_same_asset(change: FieldChange, names: Mapping[str, Document]) -> bool:
    """What is paired keeps its title in most cases: “orders” → “orders” tells nobody anything. A connection does."""
    before, after = (
        names.get(uuid) if isinstance(uuid, str) else None for uuid in (change.before, change.after)
    )
    same = before is not None and after is not None and before.title == after.title
    return same and change.path != ("database_uuid",)


def _path(change: FieldChange) -> str:
    return " › ".join(change.path)


def _short(paths: Iterable[str]) -> list[str]:
    """Whole groups by their first two names: a cache has as many fields as the dashboard has charts."""
    groups = list(dict.fromkeys(" › ".join(path.split(" › ")[:2]) for path in paths))
    return (
        groups if len(groups) <= MOST_SAID else [*groups[:MOST_SAID], f"and {len(groups) - MOST_SAID} more"]
    )


def _tree(changes: Sequence[FieldChange]) -> Iterable[Node]:
    """Changes by path, each name of a path once."""
    open_path: tuple[str, ...] = ()
    for change in changes:
        path = change.path
        shared = 0
        while shared < min(len(path) - 1, len(open_path)) and path[shared] == open_path[shared]:
            shared += 1
        for depth in range(shared, len(path) - 1):
            yield Node(path[depth], depth)
        yield Node(path[-1], len(path) - 1, change.operator, _text(change.before), _text(change.after))
        open_path = path[:-1]


def _text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = value if isinstance(value, str) else readable_yaml(value).strip().removesuffix("...").strip()
    return text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 1] + "…"
