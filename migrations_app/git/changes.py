"""What differs between an environment, as it was last read, and a commit."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from environments.canonical.documents import Kind
from environments.canonical.references import references
from environments.models import Asset, Environment
from environments.store import get_documents
from sstools.errors import Invalid

from .models import CommitReading

NEW, CHANGED, REMOVED, SAME, MISSING = "new", "changed", "removed", "same", "not_read"
_ORDER = {"dashboard": 0, "chart": 1, "dataset": 2, "database": 3}


@dataclass(frozen=True)
class Change:
    """One asset. `state`: what a commit of it would be to git: new, changed, removed, same; not_read where the
    environment's asset could not be. `sha`: fingerprint of its content in the environment, "" where it is not there.
    `path`: of its file.
    """

    kind: str
    uuid: str
    title: str
    state: str
    sha: str = ""
    path: str = ""
    changed_by: str = ""


def changes_between(environment: Environment, reading: CommitReading | None) -> list[Change]:
    """All assets of both, those that differ first. Equal is what equals in the comparison: caches do not count.

    Two queries. Without a reading everything is new.
    """
    there = {}
    if reading is not None:
        rows = reading.assets.values_list(
            "kind", "uuid", "document_id", "comparable", "path", "document__title"
        )
        there = {
            uuid: (kind, sha, comparable, path, title)
            for kind, uuid, sha, comparable, path, title in rows.iterator()
        }
    found: list[Change] = []
    assets = Asset.objects.filter(environment=environment).order_by()
    for kind, uuid, title, sha, comparable, by in assets.values_list(
        "kind", "uuid", "title", "document_id", "comparable", "changed_by"
    ).iterator():
        known = there.pop(uuid, None)
        if not sha:
            state = MISSING
        elif known is None:
            state = NEW
        else:
            # Of connections nothing is compared between environments; in git they are files like others.
            same = sha == known[1] or (kind != Kind.DATABASE and comparable and comparable == known[2])
            state = SAME if same else CHANGED
        found.append(Change(kind, uuid, title or uuid, state, sha or "", known[3] if known else "", by or ""))
    found += [
        Change(kind, uuid, title or uuid, REMOVED, "", path)
        for uuid, (kind, _, _, path, title) in there.items()
    ]
    first = {NEW: 0, CHANGED: 0, REMOVED: 0, MISSING: 1, SAME: 2}
    return sorted(
        found, key=lambda one: (first[one.state], _ORDER.get(one.kind, 9), one.title.casefold(), one.uuid)
    )


def different(changes: Iterable[Change]) -> list[Change]:
    return [change for change in changes if change.state in (NEW, CHANGED, REMOVED)]


def chosen_of(
    changes: Sequence[Change], uuids: Iterable[str], environment: Environment, *, with_dependencies: bool
) -> list[Change]:
    """The changes that are to be committed. Raises Invalid("empty_selection", "unknown_asset")."""
    by_uuid = {change.uuid: change for change in changes}
    wanted = {str(uuid).strip().lower() for uuid in uuids}
    if unknown := sorted(wanted - by_uuid.keys()):
        raise Invalid(
            f"Neither {environment.name} nor git has {', '.join(unknown[:3])}.",
            code="unknown_asset",
            errors={"assets": [f"Unknown: {one[:100]}" for one in unknown[:20]]},
        )
    if unread := [by_uuid[uuid] for uuid in wanted if by_uuid[uuid].state == MISSING]:
        raise Invalid(
            f"{unread[0].title} could not be read from {environment.name}, so it cannot be committed.",
            code="unknown_asset",
            remedy="Read the environment again, or leave it out.",
            errors={"assets": [f"Not read: {one.title}" for one in unread[:20]]},
        )
    if with_dependencies:
        wanted |= _needed(wanted, by_uuid)
    chosen = different(by_uuid[uuid] for uuid in sorted(wanted))
    if not chosen:
        raise Invalid(
            "Nothing of what is chosen differs from git." if wanted else "Nothing is chosen.",
            code="empty_selection",
            remedy="Tick what is to be committed.",
            errors={"assets": ["Nothing to commit."]},
        )
    return chosen


def _needed(wanted: Collection[str], by_uuid: dict[str, Change]) -> set[str]:
    """What these stand on and git does not have: without it nobody could bring them anywhere."""
    found: set[str] = set()
    queue = [by_uuid[uuid] for uuid in wanted if by_uuid[uuid].sha]
    while queue:
        documents = get_documents(change.sha for change in queue)
        queue = []
        for document in documents.values():
            for reference in references(document):
                change = by_uuid.get(reference.uuid)
                if reference.how != "needs" or change is None or change.state != NEW:
                    continue
                if change.uuid not in found and change.uuid not in wanted:
                    found.add(change.uuid)
                    queue.append(change)
    return found
