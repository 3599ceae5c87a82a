"""Whether two companions say the same, and what becomes of one that does not."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from environments.canonical.charts import with_lost_annotations_of
from environments.canonical.companions import Companion, CompanionKind, comparable
from environments.canonical.documents import Document, Kind, canonical_json
from migrations_app.engine.plan import Action

from .model import CompanionItem
from .words import sentences_of


def decided(item: CompanionItem) -> CompanionItem:
    """The item with its action and sentences, from what it wants and what is there."""
    if item.wanted is None:
        return replace(item, action=Action.REMOVE, changes=sentences_of(item.present, None))
    if item.present is None:
        return replace(item, action=Action.CREATE, changes=sentences_of(None, item.wanted))
    if same(item.wanted, item.present):
        return replace(item, action=Action.UNCHANGED)
    return replace(item, action=Action.UPDATE, changes=sentences_of(item.present, item.wanted))


def same(one: Companion | None, other: Companion | None) -> bool:
    """Whether two say the same, whether a report is switched on included. Nothing is the same as nothing."""
    if one is None or other is None:
        return one is other
    if canonical_json(dict(comparable(one))) != canonical_json(dict(comparable(other))):
        return False
    return one.kind != CompanionKind.REPORT or one.body.get("active") == other.body.get("active")


def beside(document: Document, other: Document | None, kinds: Collection[CompanionKind]) -> Document:
    """The document with what companions of these kinds say as it is in `other`: that is written apart from its import,
    and compared as a companion.
    """
    if other is None or other.kind != document.kind:
        return document
    if document.kind == Kind.CHART and CompanionKind.ANNOTATION_USE in kinds:
        return document.replace(params=with_lost_annotations_of(document.body, other.body))
    if document.kind == Kind.DASHBOARD and CompanionKind.THEME_USE in kinds:
        return document.replace(theme_uuid=other.body.get("theme_uuid"))
    return document


def difference(planned: Companion | None, now: Companion | None) -> str:
    """In words, what is not as it was planned or seen: "is not there", "differs in roles, clause"."""
    if planned is None:
        return "is there"
    if now is None:
        return "is not there"
    one, other = comparable(planned), comparable(now)
    fields = [
        name
        for name in {**one, **other, "active": None}
        if canonical_json([(one if name in one else planned.body).get(name)])
        != canonical_json([(other if name in other else now.body).get(name)])
    ]
    return f"differs in {', '.join(name.replace('_', ' ') for name in fields[:5])}"
