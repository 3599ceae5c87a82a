"""Companions of one Superset: read, written and removed, each kind behind the same three functions.

    read = read_companions(client, [CompanionKind.RLS, CompanionKind.OWNERS], ids, assets=uuids)
    read.documents      {uuid: Companion}, in portable terms
    read.unreadable     {kind: why not, a sentence for people}: another version, a feature flag, a missing right
    lookup = Lookup(client, ids, dict(read.ids))
    write_companion(client, companion, read.ids.get(companion.uuid), lookup)

What a document looks like is in `environments/canonical/companions.py`; which Superset has what in `support.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from environments.canonical.companions import Companion, CompanionKind
from environments.canonical.documents import Note
from environments.canonical.ids import IdTable
from environments.superset.client import SupersetClient
from environments.superset.errors import SupersetRefused

from . import access, facets, layers, objects, reports, rules
from .people import People, User, list_people, list_roles
from .reading import MORE_COLUMNS, Adapter, CompanionId, Lookup, Reader
from .support import SUPPORT, why_not

__all__ = [
    "MORE_COLUMNS",
    "SUPPORT",
    "CompanionId",
    "CompanionsRead",
    "Lookup",
    "People",
    "User",
    "delete_companion",
    "list_people",
    "list_roles",
    "read_companions",
    "why_not",
    "write_companion",
]

ADAPTERS: Mapping[CompanionKind, Adapter] = {
    CompanionKind.TAG: objects.TAG,
    CompanionKind.ANNOTATION_LAYER: layers.ANNOTATION_LAYER,
    CompanionKind.CSS_TEMPLATE: objects.CSS_TEMPLATE,
    CompanionKind.THEME: objects.THEME,
    CompanionKind.RLS: rules.RLS,
    CompanionKind.ACCESS: access.ACCESS,
    CompanionKind.ROLES: facets.ROLES,
    CompanionKind.OWNERS: facets.OWNERS,
    CompanionKind.TAGS: facets.TAGS,
    CompanionKind.THEME_USE: facets.THEME_USE,
    CompanionKind.ANNOTATION_USE: layers.ANNOTATION_USE,
    CompanionKind.EMBEDDED: facets.EMBEDDED,
    CompanionKind.SAVED_QUERY: objects.SAVED_QUERY,
    CompanionKind.REPORT: reports.REPORT,
}

#: What a refusal to read means for people; any other one is told in Superset's words.
_REASONS = {
    "forbidden": "{name} cannot be read: the account lacks the right ({right}).",
    "not_found": "{name} cannot be read: this Superset does not offer them.",
    "not_superset": "{name} cannot be read: this Superset does not offer them.",
}


@dataclass(frozen=True)
class CompanionsRead:
    """What was read. Where a kind is in `kinds`, a facet that is not there says nothing, and an object does not exist.

    `kinds`: those that were read. `ids`: by uuid of the companion, for writing and removing; of embedded dashboards the
    uuid that the embedding page names. `requests`: how many it took.
    """

    documents: Mapping[str, Companion]
    ids: Mapping[str, CompanionId]
    kinds: frozenset[CompanionKind]
    unreadable: Mapping[CompanionKind, str]
    notes: tuple[Note, ...]
    requests: int


def read_companions(
    client: SupersetClient,
    kinds: Iterable[CompanionKind],
    ids: IdTable,
    *,
    assets: Collection[str] | None = None,
    unmoved: Mapping[str, str | None] | None = None,
) -> CompanionsRead:
    """Companions of these kinds: of the whole Superset, or with `assets` (uuids) the facets of those and the objects
    that have to do with them.

    `ids` is what the environment's lists told; it is not changed. `unmoved`: dashboards that did not change since it
    was read which theme they have -> its uuid, None for none: those are not asked again.
    Raises SupersetUnreachable, and SupersetRefused (unauthorized); any other refusal is the reason why one kind cannot
    be read.
    """
    wanted = frozenset(kinds)
    chosen = None if assets is None else frozenset(assets)
    reader = Reader(client, IdTable(ids), chosen, wanted, unmoved=unmoved or {})
    before = client.sent
    read, unreadable = set(), {}
    for kind in CompanionKind:
        if kind not in wanted:
            continue
        reason = why_not(kind, client.capabilities)
        if reason is None:
            try:
                ADAPTERS[kind].read(reader)
            except SupersetRefused as exc:
                if exc.code == "unauthorized":
                    raise
                text = _REASONS.get(exc.code, "{name} cannot be read: {message}")
                support = SUPPORT[kind]
                reason = text.format(name=support.name, right=support.right, message=exc.message)
            except (KeyError, TypeError, ValueError, AttributeError) as exc:
                form = type(exc).__name__
                reason = (
                    f"{SUPPORT[kind].name} cannot be read: the answer is not in Superset's form ({form})."
                )
        if reason is None:
            read.add(kind)
        else:
            unreadable[kind] = reason
    found = {uuid: pair for uuid, pair in reader.found.items() if pair[0].kind in read}
    return CompanionsRead(
        {uuid: companion for uuid, (companion, _) in found.items()},
        {uuid: number for uuid, (_, number) in found.items()},
        frozenset(read),
        unreadable,
        tuple(reader.notes),
        client.sent - before,
    )


def write_companion(
    client: SupersetClient, companion: Companion, existing_id: CompanionId | None, lookup: Lookup
) -> CompanionId:
    """Make one companion what its body says, and return its id; `existing_id` is the one it has there, if any.

    Of an object None makes a new one. Whatever it replaces is replaced whole: a list of owners, the datasets of a rule.
    Writing the same again changes nothing, and a write that stopped half way is completed by another one.
    Raises SupersetRefused, before anything is sent with unknown_asset, unknown_user, unknown_role, unknown_layer,
    unknown_theme, withheld, or edited_meanwhile (a rule that is not as `lookup.seen` has it); SupersetUnreachable;
    AmbiguousWrite: read before doing anything else.
    """
    reason = why_not(companion.kind, client.capabilities)
    if reason is not None:
        raise SupersetRefused(f"{reason} Nothing was written.", code="unsupported_version")
    number = ADAPTERS[companion.kind].write(client, companion, existing_id, lookup)
    lookup.ids[companion.uuid] = number
    return number


def delete_companion(client: SupersetClient, companion: Companion, existing_id: CompanionId) -> None:
    """Remove an object, or have a facet say nothing any more: no owners, no roles, no tags, not embedded. Annotation
    layers that are formulas stay in their chart. What is gone already counts as removed.
    """
    try:
        ADAPTERS[companion.kind].delete(client, companion, existing_id)
    except SupersetRefused as exc:
        if exc.code != "not_found":
            raise
