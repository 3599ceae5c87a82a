"""Removing what somebody names, because its source has it no more: a deletion on one side that is to hold on the other.

Who names assets registers here (`provide`). Each goes with a proof, as in `pruning`: the source was read completely, by
an account that sees all of it, and does not have it; no alert, report or embedding page of the target needs it. What
uses it there, and what was edited there since it was brought on, is a question to a person (`engine.plan`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from environments import models
from environments.canonical.comparison import comparison_fingerprint
from environments.store import EnvironmentReading, get_documents
from environments.superset.client import SupersetClient

from .engine.plan import Baseline
from .models import Migration
from .pruning import Candidate, Pruning, held_elsewhere, why_blind


@dataclass(frozen=True)
class Wanted:
    """An asset that is to go. `uuid`: on the migration's target; `origin`: on its source, where it is gone.

    `run`: the one that last brought it from the target to the source; `brought`: content fingerprint of what it took,
    "" if that is not known.
    """

    kind: str
    uuid: str
    origin: str
    title: str
    run: int
    brought: str = ""


Ask = Callable[[Migration], Iterable[Wanted]]
_askers: list[Ask] = []


def provide(ask: Ask) -> None:
    """In an app's ready(): `ask` tells what a migration is to remove. Asking twice changes nothing."""
    if ask not in _askers:
        _askers.append(ask)


def asked(migration: Migration) -> list[Wanted]:
    if migration.source_id is None or migration.is_rollback or migration.copy_terms:
        return []
    return [one for ask in _askers for one in ask(migration)]


def find(
    migration: Migration,
    wanted: Sequence[Wanted],
    source: EnvironmentReading,
    target: EnvironmentReading,
    client: SupersetClient,
    source_client: SupersetClient,
) -> Pruning:
    """Which of `wanted` a plan removes, and why the others stay. Asks both sides for the account's rights, and the
    target for alerts, reports and embedding. Raises SupersetError.
    """
    name, where = migration.source_name, migration.target.name
    reasons: dict[str, str] = {}
    for one in wanted:
        if one.uuid in target.unreadable:
            reasons[one.uuid] = f"It cannot be read on {where}."
        elif one.uuid not in target.documents:
            reasons[one.uuid] = f"{where} does not have it either."
        elif {one.origin, one.uuid} & {*source.documents, *source.unreadable}:
            reasons[one.uuid] = f"It is on {name} again."
        elif not source.complete:
            reasons[one.uuid] = f"{name} was not read completely: its absence there proves nothing."
        elif not target.complete:
            reasons[one.uuid] = f"{where} was not read completely: who uses it is not known."
    left = [one.uuid for one in wanted if one.uuid not in reasons]
    if left:
        reasons |= why_blind(migration, left, source_client, client)
    free = {uuid: target.documents[uuid] for uuid in left if uuid not in reasons}
    reasons |= held_elsewhere(client, target, free)
    proof = f"Deleted on {name} by hand, and that is taken over; {name} was read completely."
    return Pruning(
        tuple(
            Candidate(
                one.kind,
                one.uuid,
                one.title,
                one.run,
                one.uuid not in reasons,
                reasons.get(one.uuid) or proof,
            )
            for one in wanted
        )
    )


def bases_of(wanted: Iterable[Wanted]) -> dict[str, Baseline]:
    """What each of them was when it was brought on: another content by now is work that nobody has taken along."""
    taken = {one.uuid: one.brought for one in wanted if one.brought}
    kept = models.Document.objects.filter(pk__in=taken.values()).values_list("pk", flat=True)
    documents = get_documents(kept)
    return {
        uuid: Baseline("", comparison_fingerprint(documents[sha]))
        for uuid, sha in taken.items()
        if sha in documents
    }
