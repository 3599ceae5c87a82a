"""Whether and how the terms of two environments become one another's: what is remembered, and what is plain to see."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from environments.canonical.documents import Document, Kind, fingerprint_of
from environments.models import Asset, Environment, Position
from environments.store import get_documents
from migrations_app.engine.mapping import AssetMapping
from migrations_app.mappings import asset_mapping, database_target, mapping_to_json
from migrations_app.models import Mapping as PairMapping
from migrations_app.pairings import pairs_between


def way_rank(environment: Environment) -> tuple[int, str]:
    """Along the way to production, those outside of it last: which of two is the source if nobody says so."""
    position = environment.position
    return (9 if position == Position.OTHER else position, environment.name)


def in_way_order(one: Environment, other: Environment) -> tuple[Environment, Environment]:
    return (one, other) if way_rank(one) <= way_rank(other) else (other, one)


def orientations(one: Environment, other: Environment) -> list[tuple[Environment, Environment]]:
    """Which way two environments are compared, (source, target): the ways that a mapping is remembered for.

    Where there is none, along the way to production. The other way round is the same seen from the target: a
    substitution in SQL cannot be undone, so a mapping does not serve both ways.
    """
    pair = [in_way_order(one, other), in_way_order(one, other)[::-1]]
    remembered = set(
        PairMapping.objects.filter(source__in=(one, other), target__in=(one, other)).values_list(
            "source_id", "target_id"
        )
    )
    return [(a, b) for a, b in pair if (a.pk, b.pk) in remembered] or pair[:1]


def mapping_between(source: Environment, target: Environment) -> AssetMapping:
    """How a comparison brings `source` into the terms of `target`: what is remembered for the pair, its pairings, and
    for connections that nobody mapped yet what is plain to see (`_suggested`). A plan uses what is remembered only.

    Reads rows, and the documents of the target's connections; never asks a Superset.
    """
    facts = _Facts.of(source, target)
    mapping = asset_mapping(source, target, facts.target_documents)
    backward = PairMapping.objects.between(target, source)
    return replace(mapping, databases={**_suggested(facts, backward), **mapping.databases})


@dataclass(frozen=True)
class _Facts:
    """What a mapping is made of besides what is remembered: connections, and which dataset stands on which."""

    names: dict[str, str]  # connections of the source: uuid -> name
    used: dict[str, str]  # datasets of the source: uuid -> uuid of the connection
    target_documents: dict[str, Document]  # connections whole; datasets with connection and catalog only
    pairs: dict[str, str]

    @classmethod
    def of(cls, source: Environment, target: Environment) -> _Facts:
        pairs = pairs_between(source, target)
        names, used = {}, {}
        rows = Asset.objects.filter(kind__in=(Kind.DATABASE, Kind.DATASET)).order_by()
        for kind, uuid, title, database in rows.filter(environment=source).values_list(
            "kind", "uuid", "title", "database_uuid"
        ):
            if kind == Kind.DATABASE:
                names[uuid] = title
            else:
                used[uuid] = database
        documents: dict[str, Document] = {}
        stored: dict[str, str] = {}
        for kind, uuid, title, database, catalog, sha in rows.filter(environment=target).values_list(
            "kind", "uuid", "title", "database_uuid", "catalog", "document_id"
        ):
            if kind == Kind.DATABASE:
                documents[uuid] = Document(Kind.DATABASE, uuid, {"database_name": title})
                if sha:
                    stored[uuid] = sha
            else:
                documents[uuid] = Document(
                    Kind.DATASET, uuid, {"database_uuid": database, "catalog": catalog or None}
                )
        found = get_documents(stored.values())
        documents |= {uuid: found[sha] for uuid, sha in stored.items()}
        others = Asset.objects.filter(environment=target, uuid__in=set(pairs.values()) - documents.keys())
        documents |= {
            uuid: Document(Kind(kind), uuid, {}) for kind, uuid in others.values_list("kind", "uuid")
        }
        return cls(names, used, documents, pairs)


def _suggested(facts: _Facts, backward: PairMapping) -> dict[str, Any]:
    """Which connection of the target stands for which of the source, where nobody said so: the one that is mapped to it
    the other way round, has its uuid, that most of the same datasets stand on, or that alone has its name.
    """
    documents = facts.target_documents
    targets = {uuid: item for uuid, item in documents.items() if item.kind == Kind.DATABASE}
    reverse = {
        entry["target"]: (uuid, entry) for uuid, entry in backward.databases.items() if uuid in targets
    }
    votes: dict[str, Counter[str]] = {}
    for uuid, database in facts.used.items():
        pair = documents.get(facts.pairs.get(uuid, uuid))
        if pair is not None and pair.kind == Kind.DATASET and pair.body["database_uuid"] in targets:
            votes.setdefault(database, Counter())[pair.body["database_uuid"]] += 1
    by_name = Counter(item.title for item in targets.values())
    found: dict[str, Any] = {}
    for uuid, name in facts.names.items():
        entry: Mapping[str, Any] = {}
        if uuid in reverse:
            chosen, remembered = reverse[uuid]
            entry = {group: _turned(remembered.get(group)) for group in ("schemas", "catalogs")}
        elif uuid in targets:
            chosen = uuid
        elif votes.get(uuid):
            chosen = min(votes[uuid].items(), key=lambda item: (-item[1], item[0]))[0]
        elif by_name[name] == 1:
            chosen = next(key for key, item in targets.items() if item.title == name)
        else:
            continue
        found[uuid] = database_target(chosen, entry, documents)
    return found


def _turned(names: Mapping[str, str] | None) -> dict[str, str]:
    return {value: key for key, value in (names or {}).items()}


def digest_of(mappings: Iterable[AssetMapping]) -> str:
    """Tells whether comparisons made with these mappings would come out the same."""
    return fingerprint_of([mapping_to_json(mapping) for mapping in mappings])
