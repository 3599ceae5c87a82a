"""Keeping the states of all assets between all environments as the last readings have them. Runs in jobs, never in a
web request.

What is out of date is what a reading says has changed, and besides what the rows do not agree with any more, asked of
the database (`stale`): plans and runs read environments as well, and a base moves without any asset. Where nothing is,
a refresh costs some queries; else the rows of two environments, and the documents of what moved. After a mapping or
pairing changed, or the release or the address of one, all of it is compared again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from environments.canonical.documents import fingerprint_of
from environments.events import Changed
from environments.models import Environment, GoneAsset
from environments.words import clean
from migrations_app.engine.mapping import AssetMapping
from migrations_app.engine.plan import Baseline
from migrations_app.engine.sync import Standing, Sync, standing
from migrations_app.models import Baseline as BaselineRow
from sstools.errors import Invalid

from .comparing import Comparison, Difference, Key, Side, sides_of
from .models import ATTENTION, NEEDS_ATTENTION, Pair, SyncState
from .pairs import digest_of, in_way_order, mapping_between, orientations
from .stale import Stale, rows_of, stale_between

__all__ = ["mapping_between", "refresh", "refresh_pair"]

logger = logging.getLogger(__name__)
T = TypeVar("T")

CHUNK = 250  # documents compared at a time: memory holds two of these
WRITE_CHUNK = 1000  # rows in one transaction
TRIES = 5  # of a pair that others compare at the same time
NOTHING = Difference("", "")


@dataclass(frozen=True)
class Base:
    """What the last run left, or somebody accepted. `source`: key of the environment that the run brought it from."""

    prints: Baseline
    at: datetime
    source: int | None
    run: int | None


@dataclass(frozen=True)
class Found:
    """An asset of a source beside its counterpart. `lost_by`: the side that does not have it any more."""

    mine: Side | None
    theirs: Side | None
    standing: Standing
    difference: Difference = NOTHING
    base: Base | None = None
    lost_by: str = ""  # "source" or "target"
    lost_at: datetime | None = None
    lost: str = ""  # in words

    @property
    def mirrored(self) -> Found:
        of = self.difference
        return replace(
            self,
            mine=self.theirs,
            theirs=self.mine,
            standing=replace(self.standing, state=self.standing.state.mirrored),
            difference=Difference(of.present, of.wanted, of.changes, of.back, of.onward),
            lost_by={"source": "target", "target": "source"}.get(self.lost_by, ""),
        )


def refresh(environment: Environment, changed: Changed = None) -> None:
    """Bring the states between `environment` and all others up to date. Called after each reading.

    `changed`: what the reading found to be another than before; None compares everything.
    """
    others = Environment.objects.exclude(pk=environment.pk).filter(inventory_at__isnull=False)
    if Environment.objects.filter(pk=environment.pk, inventory_at__isnull=False).exists():
        for other in others.in_order():
            refresh_pair(environment, other, None if changed is None else {environment: set(changed)})


def refresh_pair(
    one: Environment, other: Environment, changed: dict[Environment, set[Key]] | None = None
) -> None:
    """Bring the states between two environments that were read up to date, both ways. `changed` as above, by
    environment.
    """
    first, second = sorted((one, other), key=lambda environment: environment.pk)
    for _ in range(TRIES):
        pair, _ = Pair.objects.get_or_create(first=first, second=second)
        try:
            _refresh(pair, *in_way_order(first, second), changed)
        except _Overtaken:
            continue  # somebody who read later has written: what we hold may be out of date
        return
    logger.warning("The states of %s are compared by several at once, and were left to the others.", pair)


class _Overtaken(Exception):
    """The pair was written while it was compared."""


def _refresh(
    pair: Pair, one: Environment, other: Environment, changed: dict[Environment, set[Key]] | None
) -> None:
    began = timezone.now()
    ways = orientations(one, other)
    mappings = {way: mapping_between(*way) for way in ways}
    places = sorted([place.slug, place.version, place.url] for place in (one, other))
    digest = fingerprint_of([digest_of(mappings.values()), *places])
    stale: Stale | None = None
    if changed is not None and pair.compared_at is not None and digest == pair.mapping:
        stale = stale_between(pair, mappings, changed)
    if stale is not None and not stale:
        _expect(pair, pair.revision, compared_at=began)
        return
    sides = {environment: sides_of(environment) for environment in (one, other)}
    known = {way: _known(*way, stale) for way in ((one, other), (other, one))}
    gone = {environment: _gone(environment) for environment in (one, other)}
    found = {
        way: _Way(*way, sides[way[0]], sides[way[1]], mappings[way], gone).found(
            *((known[way], known[way[::-1]]) if digest == pair.mapping else ({}, {})), stale
        )
        for way in ways
    }
    if len(ways) == 2:
        found = _by_newest_base(*((way, found[way]) for way in ways))
    else:
        back = (ways[0][1], ways[0][0])
        found[back] = {key[::-1]: item.mirrored for key, item in found[ways[0]].items()}
    is_read = {
        environment: any(side.document for side in sides[environment].values()) for environment in sides
    }
    revision = pair.revision
    for (source, target), items in found.items():
        rows = [_row(source, target, item, all(is_read.values())) for item in items.values()]
        revision = _write(pair, revision, rows, known[source, target])
    _expect(pair, revision, mapping=digest, compared_at=began)


# --- Finding --------------------------------------------------------------------------------------------------------
Pairs = dict[tuple[Key | None, Key | None], Found]
Rows = Mapping[tuple[str, str, str], Mapping[str, Any]]


class _Way:
    """All assets of `source` beside those of `target`, by the keys of both sides."""

    def __init__(
        self,
        source: Environment,
        target: Environment,
        mine: Mapping[Key, Side],
        theirs: Mapping[Key, Side],
        mapping: AssetMapping,
        gone: Mapping[Environment, Mapping[Key, datetime]],
    ) -> None:
        self.source, self.target, self.mine, self.theirs = source, target, mine, theirs
        self.mapping, self.gone, self.bases = mapping, gone, _bases(target)

    def found(self, known: Rows, turned: Rows, stale: Stale | None = None) -> Pairs:
        """`known`, `turned`: rows of this direction and the other that were made with the same mapping; what did not
        move since is taken from them. `stale`: only what stands in these is looked at.
        """
        ours = stale.keys[self.source] if stale is not None else self.mine.keys()
        others = stale.keys[self.target] if stale is not None else self.theirs.keys()
        paired = frozenset(self.mapping.pairs.values())
        counterpart: dict[Key, Side] = {}
        for kind, uuid in self.mine:
            other = self.theirs.get((kind, self.mapping.pairs.get(uuid, uuid)))
            if other is not None and (uuid in self.mapping.pairs or uuid not in paired):
                counterpart[kind, uuid] = other
        both = [(self.mine[key], other) for key, other in counterpart.items() if key in ours]
        differences = self._differences(both, known, turned)
        found: Pairs = {}
        for key, mine in self.mine.items():
            if key not in ours:
                continue
            other = counterpart.get(key)
            if other is None:
                found[key, None] = self._absent(mine)
            else:
                difference, base = differences[key, other.key], self.bases.get(other.uuid)
                state = standing(difference.wanted, difference.present, base.prints if base else None)
                found[key, other.key] = Found(mine, other, state, difference, base)
        matched = {other.key for other in counterpart.values()}
        for key, other in self.theirs.items():
            if key not in matched and key in others:
                found[None, key] = self._only_here(other)
        return found

    def _differences(
        self, both: list[tuple[Side, Side]], known: Rows, turned: Rows
    ) -> dict[tuple[Key, Key], Difference]:
        found: dict[tuple[Key, Key], Difference] = {}
        moved: list[tuple[Side, Side]] = []
        for mine, other in both:
            if not mine.document or not other.document:
                found[mine.key, other.key] = NOTHING
            elif kept := self._kept(
                mine,
                other,
                known.get((mine.kind, mine.uuid, other.uuid)),
                turned.get((mine.kind, other.uuid, mine.uuid)),
            ):
                found[mine.key, other.key] = kept
            else:
                moved.append((mine, other))
        if moved:
            found |= self._compared(moved)
        return found

    def _kept(
        self, mine: Side, other: Side, old: Mapping[str, Any] | None, turned: Mapping[str, Any] | None
    ) -> Difference | None:
        if (
            old is None
            or turned is None
            or (old["source_document"], old["present"]) != (mine.document, other.comparable)
        ):
            return None
        base = self.bases.get(other.uuid)
        state = standing(old["wanted"], old["present"], base.prints if base else None).state
        if state == Sync.IN_SYNC:
            return Difference(old["wanted"], old["present"])
        if state != old["state"]:
            return None  # its sentences are of another direction
        said = tuple(old["sentences"])
        # Where one side moved both rows tell of its edit; else each tells it its own way round.
        said_back = said if state in (Sync.BEHIND, Sync.DRIFTED) else tuple(turned["sentences"])
        return Difference(old["wanted"], old["present"], old["changes"], said, said_back)

    def _compared(self, pairs: list[tuple[Side, Side]]) -> dict[tuple[Key, Key], Difference]:
        try:
            return self._compared_with(pairs, self.mapping)
        except Invalid as error:  # a pattern of the mapping that takes too long; a plan says so to people
            logger.warning("%s to %s: %s Compared without patterns.", self.source, self.target, error)
            plain = tuple(item for item in self.mapping.substitutions if not item.is_pattern)
            return self._compared_with(pairs, replace(self.mapping, substitutions=plain))

    def _compared_with(
        self, pairs: list[tuple[Side, Side]], mapping: AssetMapping
    ) -> dict[tuple[Key, Key], Difference]:
        comparison = Comparison(self.mine, self.theirs, mapping, self.target)
        found: dict[tuple[Key, Key], Difference] = {}
        for chunk in _chunks(pairs, CHUNK):
            found |= comparison.compare(chunk)
        return found

    def _absent(self, mine: Side) -> Found:
        uuid = self.mapping.pairs.get(mine.uuid, mine.uuid)
        base = self.bases.get(uuid)
        if base is None or not base.prints.present:  # never brought, or somebody accepted that it is gone
            is_settled = base is not None and bool(base.prints.accepted)
            return Found(mine, None, Standing(Sync.ABSENT, is_settled), base=base)
        lost = f"Not on {self.target.name} any more" + (
            f": run {base.run} left it there." if base.run else "."
        )
        at = self.gone[self.target].get((mine.kind, uuid))
        return Found(mine, None, Standing(Sync.ABSENT), NOTHING, base, "target", at, lost)

    def _only_here(self, other: Side) -> Found:
        base = self.bases.get(other.uuid)
        if base is None or base.source != self.source.pk:
            return Found(None, other, Standing(Sync.ONLY_HERE), base=base)
        lost = f"Not on {self.source.name} any more: run {base.run} brought it from there."
        at = self.gone[self.source].get(other.key)
        return Found(None, other, Standing(Sync.ONLY_HERE), NOTHING, base, "source", at, lost)


def _by_newest_base(
    one: tuple[tuple[Environment, Environment], Pairs], other: tuple[tuple[Environment, Environment], Pairs]
) -> dict[tuple[Environment, Environment], Pairs]:
    """Where both ways have a mapping of their own: who moved is told by the newer of what was brought each way."""
    (way, found), (back, found_back) = one, other
    found, found_back = dict(found), dict(found_back)
    for key, item in found.items():
        turned = found_back.get(key[::-1])
        if turned is None or Sync.IN_SYNC in (item.standing.state, turned.standing.state):
            continue
        if _base_at(turned) > _base_at(item):
            found[key] = replace(item, standing=turned.mirrored.standing)
        elif _base_at(item) > _base_at(turned):
            found_back[key[::-1]] = replace(turned, standing=item.mirrored.standing)
    return {way: found, back: found_back}


def _base_at(found: Found) -> float:
    return found.base.at.timestamp() if found.base is not None else 0.0


# --- Rows -----------------------------------------------------------------------------------------------------------
KEY = ("kind", "source_uuid", "target_uuid")
WRITTEN = (
    "row",
    "state",
    "attention",
    "is_settled",
    "changes",
    "sentences",
    "title",
    "sort_key",
    "changed_by",
    "changed_at",
    "wanted",
    "present",
    "source_document",
)
LOST_ON_TARGET, LOST_ON_SOURCE = NEEDS_ATTENTION + 5, 25


def _row(source: Environment, target: Environment, found: Found, is_read: bool) -> SyncState:
    side = found.mine or found.theirs
    assert side is not None
    mine, theirs, state = found.mine, found.theirs, found.standing.state
    moved = _moved(found)
    sentences = found.difference.back if state == Sync.DRIFTED else found.difference.onward
    return SyncState(
        source=source,
        target=target,
        kind=side.kind,
        source_uuid=mine.uuid if mine else "",
        target_uuid=theirs.uuid if theirs else "",
        row=mine.uuid if mine else f"~{side.uuid}",
        state=state.value,
        attention=_attention(found, is_read),
        is_settled=found.standing.is_settled,
        changes=found.difference.changes,
        sentences=[clean(found.lost, 300)] if found.lost else list(sentences),
        title=side.title,
        sort_key=side.sort_key,
        changed_by=moved.changed_by if moved and not found.lost else "",
        changed_at=found.lost_at if found.lost else moved.changed_at if moved else None,
        wanted=found.difference.wanted,
        present=found.difference.present,
        source_document=mine.document if mine else "",
        computed_at=timezone.now(),
    )


def _attention(found: Found, is_read: bool) -> int:
    state = found.standing.state
    if found.standing.is_settled or (state == Sync.UNKNOWN and not is_read):
        return 1  # decided; or nothing at all was read there, which the page says once
    if found.lost_by == "target" and state == Sync.ABSENT:
        return LOST_ON_TARGET
    return LOST_ON_SOURCE if found.lost_by == "source" else ATTENTION[state]


def _moved(found: Found) -> Side | None:
    """The side whose last edit made it so."""
    mine, theirs, state = found.mine, found.theirs, found.standing.state
    if mine is None or theirs is None:
        return mine or theirs
    if state in (Sync.IN_SYNC, Sync.UNKNOWN):
        return None
    if state == Sync.DIFFERS:
        known = [side for side in (mine, theirs) if side.changed_at is not None]
        return max(known, key=lambda side: side.changed_at or timezone.now(), default=None)
    return mine if state == Sync.BEHIND else theirs


def _known(
    source: Environment, target: Environment, stale: Stale | None = None
) -> dict[tuple[str, str, str], dict[str, Any]]:
    all_rows = SyncState.objects.filter(source=source, target=target).order_by()
    return {
        (row["kind"], row["source_uuid"], row["target_uuid"]): row
        for rows in ([all_rows] if stale is None else rows_of(stale, source, target))
        for row in rows.values("pk", *KEY, *WRITTEN).iterator(chunk_size=2000)
        if stale is None
        or (row["kind"], row["source_uuid"]) in stale.keys[source]
        or (row["kind"], row["target_uuid"]) in stale.keys[target]
    }


def _write(
    pair: Pair,
    revision: int,
    rows: Iterable[SyncState],
    known: Mapping[tuple[str, str, str], Mapping[str, Any]],
) -> int:
    """Write what is new or other than known, and forget what is not there any more. Returns the pair's revision."""
    left = dict(known)
    changed: list[SyncState] = []
    for row in rows:
        old = left.pop((row.kind, row.source_uuid, row.target_uuid), None)
        if old is None or any(old[name] != getattr(row, name) for name in WRITTEN):
            changed.append(row)
    for chunk in _chunks([old["pk"] for old in left.values()], WRITE_CHUNK // 2):
        with transaction.atomic():
            revision = _expect(pair, revision, mapping="")
            SyncState.objects.filter(pk__in=chunk).delete()
    for batch in _chunks(changed, WRITE_CHUNK):
        with transaction.atomic():
            # Until all is written the rows are of two mappings: none of them is taken over if this ends half-way.
            revision = _expect(pair, revision, mapping="")
            SyncState.objects.bulk_create(
                batch,
                update_conflicts=True,
                unique_fields=["source", "target", *KEY],
                update_fields=[*WRITTEN, "computed_at"],
                batch_size=500,
            )
    return revision


def _expect(pair: Pair, revision: int, **values: Any) -> int:
    """Take the next revision, if nobody else has written since. Raises _Overtaken."""
    mine = Pair.objects.filter(pk=pair.pk, revision=revision)
    if not mine.update(revision=F("revision") + 1, **values):
        raise _Overtaken
    return revision + 1


# --- What is known of both ------------------------------------------------------------------------------------------
def _bases(target: Environment) -> dict[str, Base]:
    columns = ("uuid", "wanted", "present", "accepted", "updated_at", "run__migration__source_id", "run_id")
    rows = BaselineRow.objects.filter(target=target).values_list(*columns)
    return {
        uuid: Base(Baseline(wanted, present, "accepted" if accepted else ""), at, source, run)
        for uuid, wanted, present, accepted, at, source, run in rows
    }


def _gone(environment: Environment) -> dict[Key, datetime]:
    rows = GoneAsset.objects.filter(environment=environment).order_by()
    return {(kind, uuid): at for kind, uuid, at in rows.values_list("kind", "uuid", "gone_at")}


def _chunks(items: list[T], size: int) -> Iterator[list[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
