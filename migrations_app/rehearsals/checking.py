"""Is what stands on the scratch environment what the backup holds? Read afresh, and compared by itself: neither what
the run says of itself, nor what it kept of what it read, goes into this.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from environments.canonical.comparison import comparison_fingerprint
from environments.canonical.documents import Document, Documents, Kind
from environments.store import EnvironmentReading, get_documents, load_snapshot
from migrations_app.engine.diff import field_changes
from migrations_app.engine.mapping import in_target_terms
from migrations_app.mappings import asset_mapping
from migrations_app.models import Plan

from .models import Rehearsal

NAMED = 100  # differences that a rehearsal keeps


@dataclass
class Found:
    """As of `Rehearsal`: `compared`, `differences`."""

    compared: Counter[str] = field(default_factory=Counter)
    differences: list[dict[str, str]] = field(default_factory=list)

    @property
    def is_equal(self) -> bool:
        return not self.compared["different"] and not self.compared["missing"]

    def note(self, what: str, document: Document, text: str) -> None:
        self.compared[what] += 1
        if len(self.differences) < NAMED:
            self.differences.append(
                {"kind": document.kind.value, "uuid": document.uuid, "title": document.title, "text": text}
            )


def compare(rehearsal: Rehearsal, plan: Plan, reading: EnvironmentReading) -> Found:
    """Every asset of the backup against what was just read, by comparison fingerprint in the scratch's own terms."""
    assert rehearsal.backup is not None
    held = load_snapshot(rehearsal.backup.snapshot).documents
    mapping = asset_mapping(rehearsal.environment, rehearsal.scratch, reading.documents)
    items = {item.uuid: item for item in plan.items.all()}
    wanted = get_documents({item.wanted_id for item in items.values() if item.wanted_id})
    found = Found()
    for uuid, document in held.items():
        if document.kind == Kind.DATABASE:
            continue
        item = items.get(uuid)
        present = reading.documents.get(item.target_uuid if item is not None else uuid)
        if present is None:
            found.note("missing", document, "It is not there.")
            continue
        ours, theirs = in_target_terms(document, mapping), comparison_fingerprint(present)
        if comparison_fingerprint(ours) == theirs:
            found.compared["equal"] += 1
        elif item is not None and item.wanted_id and comparison_fingerprint(wanted[item.wanted_id]) == theirs:
            found.compared["adapted"] += 1
        else:
            found.note("different", document, _difference(ours, present))
    return found


def _difference(wanted: Document, present: Document) -> str:
    names = [" › ".join(change.path) for change in field_changes(wanted, present)]
    return (
        f"Differs in {', '.join(names[:5])}{' and more' if len(names) > 5 else ''}."
        if names
        else "It differs."
    )


def unlike(before: Documents, after: Documents) -> list[dict[str, str]]:
    """What is not as it was: [{"kind", "uuid", "title", "text"}]."""
    found = []
    for uuid in before.keys() | after.keys():
        was, now = before.get(uuid), after.get(uuid)
        if was is not None and now is not None and comparison_fingerprint(was) == comparison_fingerprint(now):
            continue
        one = now or was
        assert one is not None
        text = (
            "It is still there." if was is None else "It is gone." if now is None else _difference(was, now)
        )
        found.append({"kind": one.kind.value, "uuid": uuid, "title": one.title, "text": text})
    return sorted(found, key=lambda row: (row["kind"], row["title"]))[:NAMED]


def verdicts(counts: Mapping[str, Any]) -> dict[str, int]:
    return {str(name): int(number) for name, number in counts.items() if number}
