"""What a plan is made from, and what it says: values only."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from environments.canonical.documents import Document, Documents, Kind, Note, fingerprint_of
from environments.canonical.ids import IdTable

from .checks import Loss, Problem
from .conflicts import Conflict
from .diff import FieldChange
from .mapping import AssetMapping

if TYPE_CHECKING:
    from .companions import CompanionItem


class Action(StrEnum):
    CREATE = "create"
    UPDATE = "update"
    REMOVE = "remove"
    UNCHANGED = "unchanged"
    KEEP = "keep"
    LEAVE_OUT = "leave_out"
    BLOCKED = "blocked"

    @property
    def writes(self) -> bool:
        return self in (Action.CREATE, Action.UPDATE, Action.REMOVE)


class Answer(StrEnum):
    """What a person may say to a conflict. Not every conflict takes every answer: `Conflict.options`."""

    TAKE = "take"  # overwrite the target's with the source's
    KEEP = "keep"  # the target's stays, and counts as seen
    LEAVE_OUT = "leave_out"  # not part of this migration
    ADOPT = "adopt"  # the target's own asset is this one: write into it, under its own uuid
    RENAME = "rename"  # bring ours beside it under another name
    BY_UUID = "by_uuid"  # of a damaged layout: its uuids say which charts are meant
    BY_ID = "by_id"  # its ids do, as the page shows it


@dataclass(frozen=True)
class Given:
    """An answer, and for RENAME the new name (empty: one is made)."""

    answer: Answer
    value: str = ""


@dataclass(frozen=True)
class Baseline:
    """The state after the last run that wrote or confirmed an asset: comparison fingerprints of what was
    wanted and what was there, "" for nothing. `accepted`: who made it so by a word, and why; "" if a run did.
    """

    wanted: str
    present: str
    accepted: str = ""


@dataclass(frozen=True)
class Edit:
    """Who changed an asset in Superset last, and when (ISO 8601, UTC)."""

    who: str
    when: str


@dataclass(frozen=True)
class PlanInput:
    """Everything a plan is made from.

    `source` and `target` hold the documents of both sides, databases included. `target_complete` says whether `target`
    is everything the target has: otherwise what stands on a written asset outside the plan cannot be named in full.
    `unknown_fields`: by kind the fields that the target's `version` does not know, and what an asset is without each.
    `undrawable`: chart types that the target cannot draw, and why; `flagged`: those that it draws once it is told to.
    `released`: all that any release draws, where it is to be said of others that they are somebody's own.
    `removals` are uuids of the target to be removed (rollback). `unreadable_target`: what is there but could not be
    read, so that its absence from `target` means nothing. `target_ids` and `target_url`: how the target itself reads
    links. `annotations_apart`: those that an import deletes are written apart, as companions, and not compared here.
    `questions`: what else has to be answered before these are written, by source uuid.
    Keys of `answers` are source uuids, or target uuids of removals.
    """

    source: Documents
    target: Documents
    selection: Collection[str]
    mapping: AssetMapping = field(default_factory=AssetMapping)
    left_out: Collection[str] = ()
    answers: Mapping[str, Given] = field(default_factory=dict)
    baselines: Mapping[str, Baseline] = field(default_factory=dict)
    target_edits: Mapping[str, Edit] = field(default_factory=dict)
    source_notes: tuple[Note, ...] = ()
    removals: Collection[str] = ()
    target_complete: bool = True
    with_dependencies: bool = True
    unreadable_target: Collection[str] = ()
    unknown_fields: Mapping[Kind, Mapping[str, str]] = field(default_factory=dict)
    undrawable: Mapping[str, str] = field(default_factory=dict)
    flagged: Mapping[str, str] = field(default_factory=dict)
    released: Collection[str] = ()
    version: str = ""
    target_ids: IdTable = field(default_factory=IdTable)
    target_url: str = ""
    questions: Mapping[str, Conflict] = field(default_factory=dict)
    annotations_apart: bool = False


@dataclass(frozen=True)
class PlanItem:
    """One asset. `uuid` is the source's, `target_uuid` the one it has or gets on the target; `reasons` are
    the uuids that pulled it in.
    """

    kind: Kind
    uuid: str
    target_uuid: str
    title: str
    action: Action
    reasons: tuple[str, ...] = ()
    changes: tuple[FieldChange, ...] = ()
    conflict: Conflict | None = None
    answer: Given | None = None
    blocked_by: str = ""
    wanted: Document | None = None
    present: Document | None = None
    source_fingerprint: str = ""


@dataclass(frozen=True)
class Affected:
    """An asset of the target outside the plan that stands on one that will be written."""

    kind: Kind
    uuid: str
    title: str
    by: str


@dataclass(frozen=True)
class Plan:
    items: tuple[PlanItem, ...]
    problems: tuple[Problem, ...]
    losses: tuple[Loss, ...]
    affected: tuple[Affected, ...]
    unmapped_databases: tuple[str, ...]
    mapping: AssetMapping = field(default_factory=AssetMapping)  # as used: with what answers added to it
    companions: tuple[CompanionItem, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """Number of items by action; every action has an entry."""
        return {action.value: sum(item.action == action for item in self.items) for action in Action}

    @property
    def is_blocked(self) -> bool:
        return any(item.action == Action.BLOCKED for item in self.items) or any(
            item.is_asked for item in self.companions
        )

    @property
    def has_changes(self) -> bool:
        return any(item.action.writes for item in self.items) or any(
            item.action.writes for item in self.companions
        )

    @property
    def fingerprint(self) -> str:
        """What an approval is bound to: every item and companion with what it was made from and what it would write."""
        return fingerprint_of(
            [
                [
                    item.kind.value,
                    item.uuid,
                    item.target_uuid,
                    item.action.value,
                    [item.answer.answer.value, item.answer.value] if item.answer else None,
                    item.source_fingerprint,
                    item.wanted.fingerprint if item.wanted else None,
                    item.present.fingerprint if item.present else None,
                ]
                for item in self.items
            ]
            + [
                [
                    item.kind.value,
                    item.uuid,
                    item.target_uuid,
                    item.action.value,
                    *(one.fingerprint if one else None for one in (item.source, item.wanted, item.present)),
                ]
                for item in self.companions
            ]
        )
