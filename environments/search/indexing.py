"""Keeping what can be found in step with the inventory."""

import json
import zlib
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet, Value
from django.db.models.functions import Coalesce

from environments.events import Changed
from environments.models import Asset, Document, Environment

from .contents import VERSION, Rank, texts_of
from .engines import Indexed, engine
from .models import Entry
from .vocabulary import Vocabulary
from .words import indexed_words_of

CHUNK = 200  # assets at a time: what memory holds of them, and how long a transaction lasts
ROW = ("kind", "title", "slug", "uuid", "schema", "catalog", "viz_type", "backend", "owners", "tags")
NO_WORDS = frozenset({"uuid"})  # nobody looks for what stands inside of these


def refresh(environment: Environment, changed: Changed) -> None:
    """After a reading."""
    update(environment, changed)


def update(environment: Environment, changed: Changed) -> int:
    """Index anew what changed, and what the index does not have as it is. Returns how many.

    `changed`: (kind, uuid), None if anything may have. What is gone leaves with its row of the inventory.
    """
    if changed is None:
        return index(environment.assets.all())
    keys = set(changed)
    by_uuid: set[int] = set()
    for chunk in _chunks(sorted({uuid for _, uuid in keys})):
        rows = environment.assets.filter(uuid__in=chunk).values_list("pk", "kind", "uuid")
        by_uuid |= {pk for pk, kind, uuid in rows if (kind, uuid) in keys}
    by_uuid |= set(stale(environment.assets.all()).values_list("pk", flat=True))
    return _index(sorted(by_uuid))


def index(assets: QuerySet[Asset], vocabulary: Vocabulary | None = None) -> int:
    """Index these assets, whatever is known of them. Returns how many. `vocabulary`: of a run over several of these."""
    return _index(list(assets.order_by("pk").values_list("pk", flat=True)), vocabulary)


def stale(assets: QuerySet[Asset]) -> QuerySet[Asset]:
    """Those which are not in the index, or with another content, another title, or by older rules."""
    same = Entry.objects.filter(
        asset_id=OuterRef("pk"),
        version=VERSION,
        document=Coalesce(OuterRef("document_id"), Value("")),
        title_key=OuterRef("sort_key"),
    )
    return assets.filter(~Exists(same))


def _index(pks: list[int], vocabulary: Vocabulary | None = None) -> int:
    count = 0
    vocabulary = vocabulary or Vocabulary()
    for chunk in _chunks(pks):
        with transaction.atomic():
            count += _index_chunk(chunk, vocabulary)
    if count:
        engine().tidy()
    return count


def _index_chunk(pks: Collection[int], vocabulary: Vocabulary) -> int:
    # Locked: what a reading that ends just now takes away must not come back as an entry of nothing.
    rows = list(Asset.objects.select_for_update().filter(pk__in=pks).defer("search_text"))
    bodies = bodies_of(row.document_id for row in rows)
    seen: set[str] = set()
    engine().write([_indexed(row, bodies.get(row.document_id or ""), seen) for row in rows])
    vocabulary.learn(seen)
    return len(rows)


def _indexed(row: Asset, body: dict[str, Any] | None, seen: set[str]) -> Indexed:
    words: dict[Rank, list[str]] = {rank: [] for rank in Rank}
    for text in texts_of(row_of(row), body):
        found = indexed_words_of(text.text)
        words[text.rank] += found
        if text.label not in NO_WORDS:
            seen.update(found)
    entry = Entry(
        asset_id=row.pk,
        environment_id=row.environment_id,
        kind=row.kind,
        uuid=row.uuid,
        title_key=row.sort_key,
        document=row.document_id or "",
        version=VERSION,
    )
    return Indexed(entry, words[Rank.TITLE], words[Rank.NAME], words[Rank.TEXT])


def row_of(asset: Asset) -> dict[str, Any]:
    """What contents.texts_of needs of the inventory's row."""
    return {name: getattr(asset, name) for name in ROW}


def bodies_of(fingerprints: Iterable[str | None]) -> dict[str, dict[str, Any]]:
    """Bodies of stored documents by fingerprint. One that is damaged has none: its asset is found by its row.

    Not proven by their fingerprints as the store does: nothing is written from here, and it costs half the time.
    """
    found: dict[str, dict[str, Any]] = {}
    wanted = sorted({one for one in fingerprints if one})
    for chunk in _chunks(wanted):
        for sha, packed in Document.objects.filter(pk__in=chunk).exclude(body=None).values_list("pk", "body"):
            try:
                found[sha] = json.loads(
                    zlib.decompress(bytes(packed or b"")).decode("utf-8", "surrogatepass")
                )["body"]
            except (zlib.error, ValueError, KeyError):
                continue
    return found


def _chunks(items: list[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]
