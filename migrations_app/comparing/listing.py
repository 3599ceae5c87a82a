"""The list of a comparison: one row for each asset of two places, from fingerprints. What differs is worked out later.

Two environments: from the states that a reading left (`migrations_app.estate`). Everything else: from fingerprints of
the stored documents, where the contents differ at all. The rows of the last few comparisons are kept in the process.
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Generic, NamedTuple, TypeVar

from environments.canonical.comparison import comparison_fingerprint
from environments.canonical.documents import Document, Kind, fingerprint_of
from environments.models import Asset, tag_key
from environments.store import READ_CHUNK, get_documents
from environments.words import fold
from migrations_app.engine.mapping import AssetMapping, in_target_terms
from migrations_app.engine.sync import Sync
from migrations_app.estate.models import Pair, SyncState
from migrations_app.estate.pairs import mapping_between, orientations
from migrations_app.mappings import mapping_to_json
from sstools.errors import Conflict

from .places import PlaceAsset, PlaceContents

K = TypeVar("K")
V = TypeVar("V")

#: In the order in which rows are shown.
KINDS = (Kind.DASHBOARD, Kind.CHART, Kind.DATASET)
STATES = ("changed", "added", "removed", "blocked", "unknown", "same")
#: Which side moved, of rows that are changed.
DIRECTIONS = (Sync.BEHIND, Sync.DRIFTED, Sync.DIVERGED, Sync.DIFFERS)
#: What a migration to the right side would take.
PLANNABLE = frozenset({"changed", "added", "blocked"})
_STATE_OF = {
    Sync.IN_SYNC: "same",
    Sync.ABSENT: "added",
    Sync.ONLY_HERE: "removed",
    Sync.UNKNOWN: "unknown",
    **dict.fromkeys(DIRECTIONS, "changed"),
}
#: Assets on the smaller of two environments that a page compares itself, where no reading has: about a second.
MOST_AT_ONCE = 1_000
_KEPT_COMPARISONS = 4
_KEPT_FINGERPRINTS = 50_000


class NotCompared(Conflict):
    code = "not_compared"
    remedy = "Have them compared in the background, which takes some seconds, or read one of them again."


class Row(NamedTuple):
    """One asset. `uuid`: its uuid on the left, on the right if it is only there. `state`: one of STATES; `direction`:
    one of DIRECTIONS, "" if not known. `changes`: number of fields, None if not counted. `why`: what blocks it, or
    why it is not known. `stamp` names the two contents.
    """

    kind: str
    uuid: str
    left_uuid: str
    right_uuid: str
    title: str
    state: str
    direction: str
    changes: int | None
    why: str
    changed_by: str
    changed_at: datetime | None
    sort_key: str
    stamp: str

    @property
    def look(self) -> str:
        """The name of its state for `pill`."""
        return self.direction or {"removed": "gone"}.get(self.state, self.state)


@dataclass(frozen=True)
class Terms:
    """Whose terms two places are compared in. `into_right`: the left side is brought into those of the right one."""

    mapping: AssetMapping | None = None
    into_right: bool = True

    @cached_property
    def key(self) -> str:
        return fingerprint_of(mapping_to_json(self.mapping)) if self.mapping is not None else ""

    @cached_property
    def _partners(self) -> tuple[Mapping[str, str], Mapping[str, str]]:
        pairs = dict(self.mapping.pairs) if self.mapping is not None else {}
        back = {other: uuid for uuid, other in pairs.items()}
        return (pairs, back) if self.into_right else (back, pairs)

    def right_of(self, left_uuid: str) -> str:
        return self._partners[0].get(left_uuid, left_uuid)

    def left_of(self, right_uuid: str) -> str:
        return self._partners[1].get(right_uuid, right_uuid)

    def is_mapped(self, *, left: bool) -> bool:
        return self.mapping is not None and left == self.into_right

    def in_terms(self, document: Document | None, *, left: bool) -> Document | None:
        """A document of one side as it is compared."""
        if document is None or self.mapping is None:
            return document
        return in_target_terms(document, self.mapping) if left == self.into_right else document


def terms_between(left: PlaceContents, right: PlaceContents) -> Terms:
    """Places of one environment, and those of which nobody said where they are from, are compared as they are."""
    source, target = left.environment, right.environment
    if source is None or target is None or source.pk == target.pk:
        return Terms()
    if (source, target) in orientations(source, target):
        return Terms(mapping_between(source, target))
    return Terms(mapping_between(target, source), into_right=False)


@dataclass(frozen=True)
class Connection:
    """A connection of the side that is mapped: never compared. `target`: the name of its counterpart, "" for none."""

    uuid: str
    name: str
    target: str


@dataclass
class Comparison:
    """Two places, row by row. `connections`: how those of one side become those of the other."""

    left: PlaceContents
    right: PlaceContents
    rows: Sequence[Row] = field(default_factory=tuple)

    @cached_property
    def terms(self) -> Terms:
        return terms_between(self.left, self.right)

    @cached_property
    def counts(self) -> dict[str, Counter[str]]:
        """kind -> state -> number, all kinds named."""
        counts: dict[str, Counter[str]] = {kind.value: Counter() for kind in KINDS}
        for row in self.rows:
            counts[row.kind][row.state] += 1
        return counts

    @property
    def totals(self) -> Counter[str]:
        return sum(self.counts.values(), Counter())

    def row_of(self, uuid: str) -> Row | None:
        """By its uuid on either side; on the left first."""
        rows = [row for row in self.rows if uuid in (row.left_uuid, row.right_uuid)]
        return next((row for row in rows if row.left_uuid == uuid), rows[0] if rows else None)

    def connections(self) -> list[Connection]:
        """Those that datasets need: mapped, never compared."""
        mapping = self.terms.mapping
        if mapping is None:
            return []
        here, there = (self.left, self.right) if self.terms.into_right else (self.right, self.left)
        names = dict(
            Asset.objects.filter(environment=there.environment, kind=Kind.DATABASE).values_list(
                "uuid", "title"
            )
        )
        used = Asset.objects.filter(environment=here.environment, kind=Kind.DATASET).values("database_uuid")
        rows = Asset.objects.filter(environment=here.environment, kind=Kind.DATABASE, uuid__in=used)
        found = []
        for uuid, title in rows.order_by("sort_key").values_list("uuid", "title"):
            target = mapping.databases.get(uuid)
            found.append(Connection(uuid, title, names.get(target.uuid, target.uuid) if target else ""))
        return found


def select(
    comparison: Comparison,
    *,
    kind: str = "",
    state: str = "",
    words: str = "",
    assets: str = "",
    tag: str = "",
) -> list[Row]:
    """Rows by the filters of page and API. `state`: "" all that differs, "all", one of STATES or of DIRECTIONS.
    `assets`: uuids of either side with commas between, "" for any. `tag`: as either side's environment has it now.
    """
    tagged = _tagged(comparison, tag) if tag else None
    folded = fold(words).split()
    named = {uuid.strip().lower() for uuid in assets.split(",") if uuid.strip()}
    return [
        row
        for row in comparison.rows
        if (not kind or row.kind == kind)
        and (row.state != "same" if not state else state in ("all", row.state, row.direction))
        and (not named or row.left_uuid in named or row.right_uuid in named)
        and (tagged is None or row.left_uuid in tagged or row.right_uuid in tagged)
        and all(word in row.sort_key or word in row.uuid or word in row.right_uuid for word in folded)
    ]


def _tagged(comparison: Comparison, tag: str) -> set[str]:
    """Tags are in no document: restore points and files have those that their environment has now."""
    places = {
        side.environment for side in (comparison.left, comparison.right) if side.environment is not None
    }
    rows = Asset.objects.filter(environment__in=places, tag_text__contains=tag_key(tag))
    return set(rows.order_by().values_list("uuid", flat=True))


def compare(left: PlaceContents, right: PlaceContents) -> Comparison:
    """All rows of two places. Raises StoreDamaged; NotCompared for two large environments of which there are no states
    yet: that takes seconds, and is the work of a job.
    """
    comparison = Comparison(left, right)
    pair = _states_of(left, right)
    if pair is None and left.is_live and right.is_live and left.environment != right.environment:
        _refuse_large(left, right)
    version = f"{pair.pk}/{pair.revision}/{pair.mapping}" if pair is not None else ""
    key = (left.version, right.version, version or comparison.terms.key, left.place, right.place)
    rows = _comparisons.get(key)
    if rows is None:
        found = _from_states(left, right) if pair is not None else _computed(left, right, comparison.terms)
        rows = tuple(sorted(_with_blocked(comparison, found), key=_order))
        _comparisons.put(key, rows)
    comparison.rows = rows
    return comparison


def _refuse_large(left: PlaceContents, right: PlaceContents) -> None:
    sizes = [side.environment.asset_total or 0 for side in (left, right) if side.environment is not None]
    if min(sizes) > MOST_AT_ONCE:
        raise NotCompared(f"{left.label} and {right.label} were not compared since they were read.")


def _order(row: Row) -> tuple[int, int, str, str]:
    return KINDS.index(Kind(row.kind)), STATES.index(row.state), row.sort_key, row.uuid


# --- Two environments: what the last readings found -----------------------------------------------------------------
def _states_of(left: PlaceContents, right: PlaceContents) -> Pair | None:
    """None where the two were never compared after a reading."""
    if not (left.is_live and right.is_live) or left.environment == right.environment:
        return None
    assert left.environment is not None and right.environment is not None  # noqa: PT018  both are live
    first, second = sorted((left.environment.pk, right.environment.pk))
    pair = Pair.objects.filter(first=first, second=second).first()
    return pair if pair is not None and pair.compared_at is not None else None


def _from_states(left: PlaceContents, right: PlaceContents) -> Iterator[Row]:
    rows = SyncState.objects.filter(source=left.environment, target=right.environment).order_by()
    columns = ("kind", "source_uuid", "target_uuid", "title", "state", "changes", "changed_by", "changed_at")
    more = ("sort_key", "wanted", "present", "source_document")
    shown = rows.exclude(kind=Kind.DATABASE).values_list(*columns, *more)
    for kind, source, target, title, sync, changes, who, when, key, *contents in shown.iterator(
        chunk_size=5000
    ):
        state = _STATE_OF[Sync(sync)]
        yield Row(
            kind,
            source or target,
            source,
            target,
            title,
            state,
            sync if state == "changed" else "",
            changes if state == "changed" else None,
            "It was not read yet, or could not be." if state == "unknown" else "",
            who,
            when,
            key,
            _stamp(*contents),
        )


# --- Everything else: by fingerprint --------------------------------------------------------------------------------
def _computed(left: PlaceContents, right: PlaceContents, terms: Terms) -> Iterator[Row]:
    pairs = list(_side_by_side(left, right, terms))
    both = [(one, other) for one, other in pairs if one and other and one.sha and other.sha]
    if terms.mapping is None:
        both = [(one, other) for one, other in both if one.sha != other.sha]
    lefts = _fingerprints((one for one, _ in both), terms, left=True)
    rights = _fingerprints((other for _, other in both), terms, left=False)
    for one, other in pairs:
        asset = one or other
        assert asset is not None
        a, b = (one.sha if one else ""), (other.sha if other else "")
        if one is None or other is None:
            state, why = ("removed" if one is None else "added"), ""
        elif not a or not b:
            state, why = "unknown", "Its content was not read yet, or could not be."
        else:
            a, b = lefts.get(a, a), rights.get(b, b)
            state, why = ("same" if a == b else "changed"), ""
        edited = other if other is not None and other.changed_on else one
        yield Row(
            asset.kind,
            asset.uuid,
            one.uuid if one else "",
            other.uuid if other else "",
            asset.title,
            state,
            "",
            None,
            why,
            edited.changed_by if edited else "",
            edited.changed_on if edited else None,
            fold(asset.title)[:200],
            _stamp(a, b),
        )


def _side_by_side(
    left: PlaceContents, right: PlaceContents, terms: Terms
) -> Iterator[tuple[PlaceAsset | None, PlaceAsset | None]]:
    """Counterparts. Where one side is a part of an estate only, what it says nothing about is left out."""
    ours, theirs = left.assets, right.assets
    says_left = left.complete or not right.complete
    says_right = right.complete or not left.complete
    seen = set()
    for uuid, asset in ours.items():
        other = theirs.get(terms.right_of(uuid))
        if other is not None and other.kind != asset.kind:
            other = None
        if other is not None:
            seen.add(other.uuid)
        elif not says_right and terms.right_of(uuid) not in right.absent:
            continue
        if asset.kind != Kind.DATABASE:
            yield asset, other
    for uuid, asset in theirs.items():
        if uuid not in seen and asset.kind != Kind.DATABASE and (says_left or uuid in left.absent):
            yield None, asset


def _fingerprints(assets: Iterable[PlaceAsset], terms: Terms, *, left: bool) -> dict[str, str]:
    """Comparison fingerprints by content fingerprint, in the terms of the comparison."""
    is_mapped = terms.is_mapped(left=left)
    found: dict[str, str] = {}
    missing: list[str] = []
    for asset in assets:
        known = "" if is_mapped else asset.comparable
        known = known or _known.get((asset.sha, terms.key if is_mapped else "")) or ""
        if known:
            found[asset.sha] = known
        else:
            missing.append(asset.sha)
    missing = list(dict.fromkeys(missing))
    for start in range(0, len(missing), READ_CHUNK):
        for sha, document in get_documents(missing[start : start + READ_CHUNK]).items():
            seen = terms.in_terms(document, left=left)
            assert seen is not None
            found[sha] = comparison_fingerprint(seen)
            _known.put((sha, terms.key if is_mapped else ""), found[sha])
    return found


def _with_blocked(comparison: Comparison, rows: Iterable[Row]) -> Iterator[Row]:
    """What stands on a connection that has no counterpart on the right is blocked: nobody could write it there."""
    mapping = comparison.terms.mapping
    homeless: dict[str, str] = {}
    if mapping is not None and comparison.terms.into_right and comparison.left.environment is not None:
        here = Asset.objects.filter(environment=comparison.left.environment)
        names = dict(here.filter(kind=Kind.DATABASE).values_list("uuid", "title"))
        lost = [uuid for uuid in names if uuid not in mapping.databases]
        standing = here.filter(database_uuid__in=lost).exclude(kind=Kind.DATABASE) if lost else here.none()
        homeless = {uuid: names[database] for uuid, database in standing.values_list("uuid", "database_uuid")}
    for row in rows:
        if row.state in ("changed", "added") and row.left_uuid in homeless:
            why = f"Connection “{homeless[row.left_uuid]}” has no counterpart on {comparison.right.label}."
            row = row._replace(state="blocked", direction="", why=why)
        yield row


def _stamp(*contents: str) -> str:
    return hashlib.sha256("|".join(contents).encode()).hexdigest()[:16]


# --- What was worked out already ------------------------------------------------------------------------------------
class _Recent(Generic[K, V]):
    """The last few of something, for all threads of this process."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._entries: OrderedDict[K, V] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: K) -> V | None:
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
            return self._entries.get(key)

    def put(self, key: K, value: V) -> None:
        with self._lock:
            self._entries[key] = value
            while len(self._entries) > self._most:
                self._entries.popitem(last=False)

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()


#: By the versions of both places and of the mapping: what changes gets another key.
_comparisons: _Recent[tuple[str, ...], tuple[Row, ...]] = _Recent(_KEPT_COMPARISONS)
#: (content fingerprint, mapping) -> comparison fingerprint: documents never change.
_known: _Recent[tuple[str, str], str] = _Recent(_KEPT_FINGERPRINTS)


def forget() -> None:
    """Work everything out anew (tests)."""
    _comparisons.clear()
    _known.clear()
