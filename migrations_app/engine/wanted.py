"""What the selection should be on the target: which asset there is meant, under which name, and how it will read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from environments.canonical.charts import with_lost_annotations_of
from environments.canonical.documents import Document, Documents, Kind
from environments.canonical.references import without_mentions
from environments.canonical.texts import hide_tokens, show_tokens, text_to_canonical
from environments.canonical.trees import map_texts

from .conflicts import Conflict, natural_key_conflicts, renamed
from .mapping import AssetMapping, all_in_target_terms
from .planned import Answer, PlanInput


def is_left_out(uuid: str, given: PlanInput) -> bool:
    answer = given.answers.get(uuid)
    return uuid in given.left_out or (answer is not None and answer.answer == Answer.LEAVE_OUT)


def settle_identities(
    members: Documents, given: PlanInput
) -> tuple[AssetMapping, dict[str, Conflict], dict[str, Document]]:
    """Find unrelated assets of the target that an import would take over, and let the answers decide: pairs, renames,
    or a conflict. Returns the mapping with them, the open conflicts, and the members in the target's terms.
    """
    mapping = given.mapping
    out = {uuid for uuid in members if is_left_out(uuid, given)}
    used: set[str] = set()
    while True:  # a rename may hit another asset again: look once more with every answer in place
        wanted = all_in_target_terms(members, mapping)
        conflicts = natural_key_conflicts(wanted, given.target, out)
        pairs, renames = dict(mapping.pairs), dict(mapping.renames)
        answered = {
            uuid: answer
            for uuid in conflicts
            if uuid not in used
            and (answer := given.answers.get(uuid)) is not None
            and answer.answer in (Answer.ADOPT, Answer.KEEP, Answer.RENAME)
            and answer.answer.value in conflicts[uuid].options
        }
        if not answered:
            return mapping, conflicts, wanted
        used.update(answered)
        for uuid, answer in answered.items():
            if answer.answer == Answer.RENAME:
                fields = renamed(wanted[uuid], answer.value, given.target, wanted.values())
                renames[uuid] = {**renames.get(uuid, {}), **fields}
                wanted[uuid] = wanted[uuid].replace(**fields)
            else:
                pairs[uuid] = conflicts[uuid].other_uuid
        mapping = replace(mapping, pairs=pairs, renames=renames)


def as_it_will_read(
    wanted: Mapping[str, Document], given: PlanInput, out: Collection[str] = ()
) -> dict[str, Document]:
    """What the target will hold once these (all but `out`) were imported: links that it reads as links to itself, links
    to what is not there, and nothing that its import does not carry. Of `given` the facts of the target are asked for.
    """
    there = {*given.target, *given.unreadable_target} - set(given.removals)
    there |= {document.uuid for uuid, document in wanted.items() if uuid not in out}

    def own_links(text: str) -> str:
        if given.target_url not in text:
            return text
        hidden, tokens = hide_tokens(text)
        return show_tokens(text_to_canonical(hidden, given.target_ids, given.target_url)[0], tokens)

    def is_there(document: Document, kind: Kind, uuid: str) -> bool:
        # What a query's macro names is needed: its absence is an obstacle, not a dead link.
        needed = kind == Kind.DATASET and document.kind == Kind.DATASET
        known = given.target_ids.id_of(kind, uuid) is not None and uuid not in given.removals
        return uuid in there or needed or known

    found: dict[str, Document] = {}
    for uuid, document in wanted.items():
        if given.target_url:
            document = Document(document.kind, document.uuid, map_texts(document.body, own_links))
        found[uuid] = _carried(without_mentions(document, partial(is_there, document)), given)
    return found


def _carried(document: Document, given: PlanInput) -> Document:
    """The document without what its import leaves behind (`checks.asset_losses` names it): a theme, which stays as the
    target has it, and fields that the target's version does not know.
    """
    changes: dict[str, Any] = {}
    if document.kind == Kind.DASHBOARD and "theme_uuid" in document.body:
        present = given.target.get(document.uuid)
        changes["theme_uuid"] = present.body.get("theme_uuid") if present is not None else None
    if document.kind == Kind.CHART and given.annotations_apart:
        present = given.target.get(document.uuid)
        if present is not None and present.kind == Kind.CHART:
            changes["params"] = with_lost_annotations_of(document.body, present.body)
    for name in given.unknown_fields.get(document.kind, ()):
        group, _, column = name.partition(".")
        if not column and document.body.get(name) is not None:
            changes[name] = None
        elif isinstance(document.body.get(group), Mapping):
            settings = changes.get(group, document.body[group])
            changes[group] = {key: value for key, value in settings.items() if key != column}
        elif column and document.body.get(group):
            entries = changes.get(group, document.body[group])
            changes[group] = [{**entry, column: None} if column in entry else entry for entry in entries]
    return document.replace(**changes) if changes else document
