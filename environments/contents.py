"""What follows from the contents of a reading: the inventory's documents, their comparison fingerprints, references."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from . import models
from .canonical.comparison import comparison_fingerprint
from .canonical.documents import Document
from .canonical.references import Reference, references
from .inventory import Key
from .models import AssetReference, Environment

if TYPE_CHECKING:
    from .store import EnvironmentReading

T = TypeVar("T")

CHUNK = 200  # documents looked at together: memory holds that many

#: Stored documents by fingerprint. Raises StoreDamaged.
Load = Callable[[Iterable[str]], Mapping[str, Document]]


@dataclass(frozen=True)
class Learned:
    """What is kept of a document beside itself: its comparison fingerprint, and what it names."""

    comparable: str
    references: tuple[Reference, ...]

    @classmethod
    def of(cls, document: Document) -> Learned:
        return cls(comparison_fingerprint(document), references(document))


def link(environment: Environment, reading: EnvironmentReading, load: Load) -> frozenset[Key]:
    """Let the inventory's rows say what a complete reading found, and return those whose content is another now.

    A row that has a document has its comparison fingerprint and its references as well, whoever read it: what is
    missing (an inventory of an older ss-tools, or `comparable` emptied because its rules changed) is worked out now.
    """
    found = {(kind.value, uuid): sha for kind, uuid, sha in reading.fingerprints()}
    columns = ("pk", "kind", "uuid", "document_id", "comparable")
    rows = {
        (kind, uuid): (pk, sha, comparable) for pk, kind, uuid, sha, comparable in _rows(environment, columns)
    }
    emptied = [key for key, (_, sha, comparable) in rows.items() if key not in found and (sha or comparable)]
    stale = [
        key
        for key, (_, sha, comparable) in rows.items()
        if key in found and (sha != found[key] or not comparable)
    ]
    _empty(environment, [rows[key][0] for key in emptied])
    _forget_references(environment, emptied)
    for chunk in _chunks(stale):
        learned = _learned(reading, [(uuid, found[kind, uuid]) for kind, uuid in chunk], load)
        _write(environment, [(key, rows[key][0], found[key], learned[key[1]]) for key in chunk])
    _forget_references(environment, _without_asset(environment, set(rows)))
    return frozenset([*emptied, *(key for key in stale if rows[key][1] != found[key])])


def _rows(
    environment: Environment, columns: tuple[str, ...]
) -> Iterator[tuple[int, str, str, str | None, str]]:
    yield from environment.assets.values_list(*columns).iterator(chunk_size=2000)


def _learned(reading: EnvironmentReading, wanted: list[tuple[str, str]], load: Load) -> dict[str, Learned]:
    known = {uuid: reading.learned[uuid] for uuid, _ in wanted if uuid in reading.learned}
    stored = load(sha for uuid, sha in wanted if uuid not in known and uuid not in reading.documents)
    for uuid, sha in wanted:
        if uuid not in known:
            known[uuid] = Learned.of(reading.documents.get(uuid) or stored[sha])
    return known


def _empty(environment: Environment, pks: list[int]) -> None:
    for chunk in _chunks(pks):
        environment.assets.filter(pk__in=chunk).update(document=None, comparable="")


def _write(environment: Environment, chunk: list[tuple[Key, int, str, Learned]]) -> None:
    assets = [models.Asset(pk=pk, document_id=sha, comparable=one.comparable) for _, pk, sha, one in chunk]
    models.Asset.objects.bulk_update(assets, ["document", "comparable"], batch_size=CHUNK)
    _forget_references(environment, [key for key, *_ in chunk])
    named = [
        AssetReference(
            environment=environment,
            from_kind=kind,
            from_uuid=uuid,
            to_kind=reference.kind.value,
            to_uuid=reference.uuid[: models.UUID_LENGTH],
            how=reference.how,
        )
        for (kind, uuid), _, _, one in chunk
        for reference in one.references
    ]
    AssetReference.objects.bulk_create(named, batch_size=1000, ignore_conflicts=True)


def _forget_references(environment: Environment, keys: list[Key]) -> None:
    by_kind: dict[str, list[str]] = {}
    for kind, uuid in keys:
        by_kind.setdefault(kind, []).append(uuid)
    for kind, uuids in by_kind.items():
        for chunk in _chunks(uuids):
            environment.references.filter(from_kind=kind, from_uuid__in=chunk).delete()


def _without_asset(environment: Environment, present: set[Key]) -> list[Key]:
    """What references are from and is not in the inventory any more."""
    named = environment.references.order_by().values_list("from_kind", "from_uuid").distinct()
    return [key for key in named if key not in present]


def _chunks(items: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk
