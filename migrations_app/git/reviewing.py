"""What two commits differ in, in sentences: the text of a pull request."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from environments.canonical.datasets import masked
from environments.canonical.documents import Document, Kind, canonical_json
from environments.store import get_documents
from migrations_app.engine.diff import field_changes
from migrations_app.engine.sentences import sentence
from sstools.texts import counted

from .models import CommitAsset, CommitReading

MOST_ASSETS, MOST_SENTENCES = 60, 20
_ORDER = {"dashboard": 0, "chart": 1, "dataset": 2, "database": 3}
_WORDS = {"new": "New", "changed": "Changed", "removed": "Removed"}
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_MARKS = re.compile(r"([\\`*_{}\[\]()#+!|~])")


def review_text(base: CommitReading | None, head: CommitReading, *, ending: str = "") -> str:
    """Markdown: the assets that are new, changed and removed, each change in a sentence. Nothing in it is a link, a
    mention or markup, whatever the assets are called.
    """
    before, after = _assets(base), _assets(head)
    found = {
        "new": [after[uuid] for uuid in after.keys() - before.keys()],
        "changed": [
            after[uuid] for uuid in after.keys() & before.keys() if _differs(before[uuid], after[uuid])
        ],
        "removed": [before[uuid] for uuid in before.keys() - after.keys()],
    }
    rows = [(state, one) for state in found for one in sorted(found[state], key=_position)]
    if not rows:
        return "\n\n".join(
            part for part in ("No dashboard, chart or dataset changes.", plain(ending)) if part
        )
    counts = ", ".join(f"{len(found[state])} {state}" for state in found if found[state])
    lines = [f"{counted(len(rows), 'asset')}: {counts}.", ""]
    shown = rows[:MOST_ASSETS]
    changed = [one for state, one in shown if state == "changed"]
    stored = get_documents(sha for one in changed for sha in (one.document_id, before[one.uuid].document_id))
    for state, one in shown:
        lines.append(f"- **{_WORDS[state]}: {one.kind} {plain(one.document.title or one.uuid)}**")
        if state == "changed":
            said = _sentences(stored[before[one.uuid].document_id], stored[one.document_id], base, head)
            lines += [f"  - {plain(text)}" for text in said[:MOST_SENTENCES]]
            if len(said) > MOST_SENTENCES:
                lines.append(f"  - and {len(said) - MOST_SENTENCES} more changes")
    if len(rows) > len(shown):
        lines += ["", f"{len(rows) - len(shown)} more are in the files."]
    return "\n".join([*lines, "", plain(ending)]).strip()


def plain(text: str) -> str:
    """As the words that it is: no markup, no HTML, nobody is mentioned, no issue is closed."""
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKS.sub(r"\\\1", text).replace("@", "@\u200b").replace("://", ":\u200b//")


def _assets(reading: CommitReading | None) -> dict[str, CommitAsset]:
    if reading is None:
        return {}
    rows = reading.assets.select_related("document").defer("document__body")
    return {one.uuid: one for one in rows.iterator()}


def _differs(before: CommitAsset, after: CommitAsset) -> bool:
    """As the list of what may be committed has it."""
    if before.document_id == after.document_id:
        return False
    return before.kind == Kind.DATABASE or not after.comparable or before.comparable != after.comparable


def _position(one: CommitAsset) -> tuple[int, str, str]:
    return _ORDER.get(one.kind, 9), one.document.title.casefold(), one.uuid


def _sentences(
    before: Document, after: Document, base: CommitReading | None, head: CommitReading
) -> list[str]:
    before, after = _safe(before), _safe(after)
    names = _names((base, head), before, after)
    said = [sentence(after.kind, change, names, (after, before)) for change in field_changes(before, after)]
    return list(dict.fromkeys(said)) or ["Fields that no import takes"]


def _safe(document: Document) -> Document:
    """Addresses in SQL and settings may hold passwords, whoever wrote them there."""
    return document.replace(**masked(dict(document.body)))


def _names(readings: Iterable[CommitReading | None], *documents: Document) -> Mapping[str, Document]:
    """Documents that have nothing but a title, for the uuids that these speak of."""
    uuids = set(_UUID.findall("".join(canonical_json(one.to_json()) for one in documents)))
    field = {Kind.DASHBOARD: "dashboard_title", Kind.CHART: "slice_name", Kind.DATASET: "table_name"}
    found: dict[str, Document] = {}
    for reading in readings:
        rows = reading.assets.filter(uuid__in=uuids) if reading is not None else CommitAsset.objects.none()
        for kind, uuid, title in rows.values_list("kind", "uuid", "document__title"):
            named = Kind(kind)
            found[uuid] = Document(named, uuid, {field.get(named, "database_name"): title})
    return found
