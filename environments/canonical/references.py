"""What an asset stands on or mentions, and exchanging the uuids of those."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from .charts import is_chart_annotation
from .dashboards import chart_uuids, filter_datasets, settled
from .documents import Document, Documents, Kind
from .texts import retarget_text, text_references, text_without
from .trees import as_list, map_texts, texts


@dataclass(frozen=True, order=True)
class Reference:
    """`kind` and `uuid` of what is named, and how: `needs` (cannot work without it) or `mentions` (a link, a macro)."""

    kind: Kind
    uuid: str
    how: str


def references(document: Document) -> tuple[Reference, ...]:
    """Everything a document names, without doubles, sorted. Worked out once for each document, which never changes."""
    known: tuple[Reference, ...] | None = document.__dict__.get("_references")
    if known is None:
        known = document.__dict__["_references"] = _references(document)
    return known


def _references(document: Document) -> tuple[Reference, ...]:
    found: set[Reference] = set()
    body = document.body
    if document.kind == Kind.DASHBOARD:
        found.update(Reference(Kind.CHART, uuid, "needs") for uuid in chart_uuids(body["position"]))
        found.update(Reference(Kind.DATASET, uuid, "needs") for uuid in filter_datasets(body["metadata"]))
    elif document.kind == Kind.CHART:
        if body.get("dataset_uuid"):
            found.add(Reference(Kind.DATASET, body["dataset_uuid"], "needs"))
        found.update(
            Reference(Kind.CHART, uuid, "needs")
            for uuid in as_list(body["params"].get("deck_slices"))
            if isinstance(uuid, str)
        )
        found.update(
            Reference(Kind.CHART, layer["value"], "mentions")
            for layer in as_list(body["params"].get("annotation_layers"))
            if is_chart_annotation(layer) and isinstance(layer.get("value"), str)
        )
    elif document.kind == Kind.DATASET and body.get("database_uuid"):
        found.add(Reference(Kind.DATABASE, body["database_uuid"], "needs"))
    needed = {(reference.kind, reference.uuid) for reference in found}
    for text in texts(body):
        for kind, uuid in text_references(text):
            if (kind, uuid) not in needed and uuid != document.uuid:
                # A Jinja macro that reads a dataset is a need of a virtual dataset; a link in a text is not.
                how = "needs" if kind == Kind.DATASET and document.kind == Kind.DATASET else "mentions"
                found.add(Reference(kind, uuid, how))
    return tuple(sorted(found))


def closure(selected: Collection[str], documents: Documents) -> dict[str, tuple[str, ...]]:
    """What a selection stands on: uuid -> the uuids that pulled it in (empty for what was selected itself).

    Follows `needs` only. References that `documents` does not have are not followed and not part of the answer.
    """
    reasons: dict[str, list[str]] = {uuid: [] for uuid in selected if uuid in documents}
    queue = list(reasons)
    while queue:
        uuid = queue.pop()
        for reference in references(documents[uuid]):
            if reference.how != "needs" or reference.uuid not in documents:
                continue
            if reference.uuid not in reasons:
                reasons[reference.uuid] = []
                queue.append(reference.uuid)
            if reference.uuid not in selected:
                reasons[reference.uuid].append(uuid)
    return {uuid: tuple(sorted(pulled)) for uuid, pulled in reasons.items()}


def with_uuids(document: Document, uuids: Mapping[str, str]) -> Document:
    """The document with uuids exchanged everywhere: its own, its references, and the tokens in its texts."""
    if not uuids:
        return document

    def change(text: str) -> str:
        return uuids.get(text) or retarget_text(text, lambda uuid: uuids.get(uuid, uuid))

    changed = Document(
        document.kind, uuids.get(document.uuid, document.uuid), map_texts(document.body, change, keys=True)
    )
    return settled(changed) if document.kind == Kind.DASHBOARD else changed


def without_mentions(document: Document, is_there: Callable[[Kind, str], bool]) -> Document:
    """The document with links to, and macros of, what is not there leading nowhere (id 0): as an import leaves them."""
    if all(is_there(reference.kind, reference.uuid) for reference in references(document)):
        return document
    return Document(
        document.kind, document.uuid, map_texts(document.body, lambda text: text_without(text, is_there))
    )
