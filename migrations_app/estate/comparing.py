"""Holding the documents of two environments against one another, some hundreds at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from environments.canonical.comparison import comparison_fingerprint
from environments.canonical.documents import Document, Kind
from environments.canonical.ids import IdTable
from environments.dialects import unknown_fields
from environments.models import Asset, Environment
from environments.store import get_documents
from environments.words import clean, cleaned
from migrations_app.engine.diff import FieldChange, field_changes
from migrations_app.engine.mapping import AssetMapping, in_target_terms
from migrations_app.engine.plan import PlanInput, as_it_will_read
from migrations_app.engine.sentences import sentence

SENTENCES = 3  # of an asset that are kept; the comparison itself has all of them
SENTENCE_LENGTH = 200

Key = tuple[str, str]  # kind and uuid


@dataclass(frozen=True)
class Side:
    """An asset of one environment, as its row says it. `document`, `comparable`: its two fingerprints, "" unread."""

    kind: str
    uuid: str
    title: str
    sort_key: str
    document: str
    comparable: str
    changed_by: str
    changed_at: datetime | None
    superset_id: int

    @property
    def key(self) -> Key:
        return self.kind, self.uuid


def sides_of(environment: Environment) -> dict[Key, Side]:
    """Everything in an environment that is compared: databases are mapped instead."""
    columns = (
        "kind",
        "uuid",
        "title",
        "sort_key",
        "document_id",
        "comparable",
        "changed_by",
        "changed_on",
        "superset_id",
    )
    rows = Asset.objects.filter(environment=environment).exclude(kind=Kind.DATABASE).order_by()
    return {
        (kind, uuid): Side(kind, uuid, title, sort_key, document or "", comparable, by, at, number)
        for kind, uuid, title, sort_key, document, comparable, by, at, number in rows.values_list(
            *columns
        ).iterator(chunk_size=2000)
    }


@dataclass(frozen=True)
class Difference:
    """What differs between an asset of a source and its counterpart. `wanted`, `present`: comparison fingerprints.

    `onward`: the first changes in words, from the target's to what the source wants; `back`: the other way round.
    """

    wanted: str
    present: str
    changes: int = 0
    onward: tuple[str, ...] = ()
    back: tuple[str, ...] = ()


class Titles(Mapping[str, Document]):
    """Names for what sentences speak of, from rows: no document is unpacked for its title."""

    def __init__(self, *sides: Mapping[Key, Side]) -> None:
        self._titles = {side.uuid: side for group in sides for side in group.values()}

    def __getitem__(self, uuid: str) -> Document:
        side = self._titles[uuid]
        title = side.title
        names = {"dashboard_title": title, "slice_name": title, "table_name": title, "database_name": title}
        return Document(Kind(side.kind), uuid, names)

    def __contains__(self, uuid: object) -> bool:
        return uuid in self._titles

    def __iter__(self) -> Iterator[str]:
        return iter(self._titles)

    def __len__(self) -> int:
        return len(self._titles)


class Comparison:
    """Compares assets of `source` with their counterparts, in the target's terms, as a plan would."""

    def __init__(
        self,
        source: Mapping[Key, Side],
        target: Mapping[Key, Side],
        mapping: AssetMapping,
        environment: Environment,
    ) -> None:
        self._mapping, self._titles = mapping, Titles(source, target)
        capabilities = environment.known_capabilities
        self._unknown_fields = unknown_fields(capabilities) if capabilities else {}
        self._url = environment.url.rstrip("/")
        self._ids = IdTable((Kind(side.kind), side.superset_id, side.uuid) for side in target.values())
        # A link to what only the source has is none that leads nowhere: the other asset may be brought as well.
        uuids = {uuid for _, uuid in (*target, *source)} | {*mapping.pairs.values()}
        self._there = frozenset(uuids)

    def compare(self, pairs: Sequence[tuple[Side, Side]]) -> dict[tuple[Key, Key], Difference]:
        """By the keys of both. Asks the store for the documents of all of these, so not for too many at a time."""
        documents = get_documents(
            [mine.document for mine, _ in pairs]
            # The import of a dashboard leaves the target's theme as it is.
            + [
                theirs.document
                for _, theirs in pairs
                if theirs.kind == Kind.DASHBOARD or not theirs.comparable
            ]
        )
        given = PlanInput(
            source={},
            target={
                theirs.uuid: documents[theirs.document] for _, theirs in pairs if theirs.document in documents
            },
            selection=(),
            unreadable_target=self._there,
            unknown_fields=self._unknown_fields,
            target_ids=self._ids,
            target_url=self._url,
        )
        mapped = {mine.uuid: in_target_terms(documents[mine.document], self._mapping) for mine, _ in pairs}
        wanted = as_it_will_read(mapped, given)
        found: dict[tuple[Key, Key], Difference] = {}
        unequal: list[tuple[Side, Side]] = []
        for mine, theirs in pairs:
            present = theirs.comparable or comparison_fingerprint(documents[theirs.document])
            found[mine.key, theirs.key] = Difference(comparison_fingerprint(wanted[mine.uuid]), present)
            if found[mine.key, theirs.key].wanted != present:
                unequal.append((mine, theirs))
        documents |= get_documents({theirs.document for _, theirs in unequal} - documents.keys())
        for mine, theirs in unequal:
            found[mine.key, theirs.key] = self._told(
                found[mine.key, theirs.key], wanted[mine.uuid], documents[theirs.document]
            )
        return found

    def _told(self, found: Difference, wanted: Document, present: Document) -> Difference:
        changes = field_changes(present, wanted)
        shown = changes[:SENTENCES]
        turned = [FieldChange(change.path, change.after, change.before) for change in shown]
        return replace(
            found,
            changes=len(changes),
            onward=self._sentences(present.kind, shown, (wanted, present)),
            back=self._sentences(present.kind, turned, (present, wanted)),
        )

    def _sentences(
        self, kind: Kind, changes: Iterable[FieldChange], sides: tuple[Document, Document]
    ) -> tuple[str, ...]:
        said = (sentence(kind, change, self._titles, sides) for change in changes)
        return tuple(clean(cleaned(text), SENTENCE_LENGTH) for text in dict.fromkeys(said))
