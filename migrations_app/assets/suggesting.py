"""What an asset may be on another environment, when its uuid is not there: suggestions for a person to confirm."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Any

from django.db.models import Q

from environments.canonical.comparison import comparison_form
from environments.canonical.documents import Document, Kind, canonical_json
from environments.models import Asset, Environment
from environments.store import get_documents
from environments.words import fold
from migrations_app.pairings import pairs_between

MOST_CANDIDATES = 200  # that are looked at
MOST_READ = 12  # whose contents are compared
MOST_SHOWN = 6
LEAST_SCORE = 30
ALIKE = 0.6  # of titles: below, two words in common are chance


@dataclass
class Suggestion:
    """`score`: 0 to 100, of the reasons found. `is_free`: not the counterpart of another asset by its uuid."""

    asset: Asset
    score: int
    reasons: list[str] = field(default_factory=list)
    is_free: bool = True


def suggestions_for(asset: Asset, target: Environment) -> list[Suggestion]:
    """Best first: same kind, and the same title, slug, physical table or nearly the same contents. Never itself."""
    taken = set(pairs_between(asset.environment_id, target, asset.kind).values())
    rows = list(_candidates(asset, target))
    rows = [row for row in rows if row.uuid != asset.uuid and row.uuid not in taken]
    at_home = set(
        Asset.objects.filter(
            environment=asset.environment_id, kind=asset.kind, uuid__in=[row.uuid for row in rows]
        ).values_list("uuid", flat=True)
    )
    found = [_by_names(asset, row) for row in rows]
    found.sort(key=lambda one: (-one.score, one.asset.sort_key, one.asset.pk))
    _by_contents(asset, found[:MOST_READ])
    for one in found:
        one.is_free = one.asset.uuid not in at_home
        if not one.is_free:
            one.score = max(0, one.score - 40)
            one.reasons.append("but the source has that uuid, too")
    found = [one for one in found if one.score >= LEAST_SCORE]
    found.sort(key=lambda one: (-one.score, one.asset.sort_key, one.asset.pk))
    return found[:MOST_SHOWN]


def matching(asset: Asset, target: Environment, words: str) -> list[Asset]:
    """Assets of the same kind on the target by words in title, slug or uuid: for choosing by hand."""
    rows = target.assets.filter(kind=asset.kind).select_related("environment")
    for word in fold(words).split():
        rows = rows.filter(search_text__contains=word)
    return list(rows.order_by("sort_key", "pk")[:20])


def _candidates(asset: Asset, target: Environment) -> Iterator[Asset]:
    rows = target.assets.filter(kind=asset.kind).select_related("environment").defer("search_text")
    same = Q(sort_key=asset.sort_key)
    if asset.slug:
        same |= Q(slug=asset.slug)
    exact = list(rows.filter(same)[:MOST_CANDIDATES])
    yield from exact
    words = sorted((word for word in asset.sort_key.split() if len(word) > 3), key=len, reverse=True)
    near = Q(sort_key__startswith=asset.sort_key[:4])
    if words:
        near |= Q(sort_key__contains=words[0])
    known = {row.pk for row in exact}
    yield from (row for row in rows.filter(near)[:MOST_CANDIDATES] if row.pk not in known)


def _by_names(asset: Asset, row: Asset) -> Suggestion:
    found = Suggestion(row, 0)
    if row.sort_key == asset.sort_key:
        found.score += 50
        found.reasons.append("same title" if row.title == asset.title else "same title but for its case")
    else:
        alike = SequenceMatcher(None, row.sort_key, asset.sort_key).ratio()
        if alike >= ALIKE:
            found.score += round(40 * alike)
            found.reasons.append(f"title {alike:.0%} alike")
    if asset.slug and row.slug == asset.slug:
        found.score += 45
        found.reasons.append("same slug")
    if asset.kind == Kind.DATASET and row.title == asset.title and not (row.is_virtual or asset.is_virtual):
        if row.schema == asset.schema:
            found.score += 40
            found.reasons.append(f"same table {'.'.join(part for part in (row.schema, row.title) if part)}")
        else:
            found.score += 15
            found.reasons.append(f"table of the same name in {row.schema or 'no schema'}")
    if asset.kind == Kind.CHART and row.viz_type == asset.viz_type:
        found.score += 5
    return found


def _by_contents(asset: Asset, found: list[Suggestion]) -> None:
    wanted = {one.asset.document_id for one in found if one.asset.document_id}
    if not asset.document_id or not wanted:
        return
    documents = get_documents({asset.document_id, *wanted})
    mine = documents[asset.document_id]
    for one in found:
        if one.asset.document_id:
            alike = likeness(mine, documents[one.asset.document_id])
            if alike >= 0.5:
                one.score += round(40 * alike)
                one.reasons.append(f"contents {alike:.0%} alike")
    for one in found:
        one.score = min(100, one.score)


def likeness(one: Document, other: Document) -> float:
    """The share of fields and values that two documents have in common, 0 to 1."""
    left, right = (set(_leaves(comparison_form(document))) for document in (one, other))
    both = left | right
    return len(left & right) / len(both) if both else 0.0


def _leaves(value: Any, path: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, f"{path}/{key}")
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item, f"{path}/*")
    else:
        yield f"{path}={canonical_json(value)}"
