"""Mending dashboards: the target's own, without what other tools damaged. A migration of an environment onto itself.

What is damaged does not all show in documents, so those of a repair carry a mark of it (`damage.MARK`), worked out anew
from the target at each of its readings: then everything that compares documents (plan, check, read back, settling)
sees what is still to be mended. Marks never leave a repair: snapshots and baselines are kept without.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from environments.canonical.damage import BY_ID, BY_UUID, Examined, marked, mended, unmarked
from environments.canonical.documents import Document, Documents, Kind
from environments.damage import examine_one, members_of
from environments.store import EnvironmentReading
from environments.superset.client import SupersetClient
from environments.superset.connection import is_admin
from environments.superset.errors import SupersetRefused

from .engine.conflicts import Conflict, ConflictCode
from .engine.plan import Answer
from .errors import NotReady
from .models import Migration

_LABELS = {BY_UUID: "uuids", BY_ID: "ids"}


@dataclass(frozen=True)
class Mended:
    """What a repair plans from. `wanted`: the dashboards without their damage; `questions`: of which somebody has to
    say what is meant; `reading`: the target with its damage marked.
    """

    wanted: Documents
    questions: Mapping[str, Conflict]
    reading: EnvironmentReading


# --- Planning -------------------------------------------------------------------------------------------------


def mend(migration: Migration, client: SupersetClient, reading: EnvironmentReading) -> Mended:
    """What the dashboards of a repair should be: one request each, besides the list of charts. Raises
    SupersetError, and NotReady where what is not shown might be there.
    """
    found = examined(client, reading, migration.selection, choices_of(migration))
    codes = frozenset[str]().union(*(one.codes for one in found.values()))
    rights = is_admin(client) if codes else True
    if rights is False or (rights is None and "ghost_chart" in codes):
        raise NotReady(
            f"The account on {migration.target.name} is not known to be an Admin: charts that it is not shown would "
            "count as gone, and their places would be taken out.",
            remedy="Give the account the Admin role in Superset, then plan again.",
        )
    wanted: dict[str, Document] = {}
    questions: dict[str, Conflict] = {}
    for uuid, one in found.items():
        document = reading.documents[uuid]
        wanted[uuid] = mended(document, one, migration.target.url)
        if not one.truth and "unclear_chart" in one.codes:
            questions[uuid] = _question(document, one)
    return Mended(wanted, questions, _marked(reading, found))


def choices_of(migration: Migration) -> dict[str, str]:
    """What somebody said is meant, by uuid."""
    return {
        uuid: entry["answer"]
        for uuid, entry in migration.answers.items()
        if entry.get("answer") in (BY_UUID, BY_ID)
    }


def _question(document: Document, found: Examined) -> Conflict:
    hint = f" The names speak for the {_LABELS[found.suggested]}." if found.suggested else ""
    return Conflict(
        ConflictCode.TWO_TRUTHS,
        f"{found.why}{hint} Which is right?",
        (Answer.BY_UUID.value, Answer.BY_ID.value, Answer.LEAVE_OUT.value),
        document.uuid,
        document.title,
    )


# --- Readings with marks --------------------------------------------------------------------------------------


def with_marks(
    client: SupersetClient, reading: EnvironmentReading, uuids: Collection[str], choices: Mapping[str, str]
) -> EnvironmentReading:
    """A reading whose dashboards among `uuids` carry a mark of their damage. Asks no database. Raises SupersetError."""
    return _marked(reading, examined(client, reading, uuids, choices))


def examined(
    client: SupersetClient, reading: EnvironmentReading, uuids: Collection[str], choices: Mapping[str, str]
) -> dict[str, Examined]:
    """Those of `uuids` that are dashboards and there. Raises SupersetError."""
    charts = client.list_charts()
    for row in charts:
        reading.ids.add(Kind.CHART, row.id, row.uuid)
    members, titles = members_of(charts, reading.ids), {row.uuid: row.name for row in charts}
    found: dict[str, Examined] = {}
    for uuid in sorted(uuids):
        document = reading.documents.get(uuid)
        number = reading.ids.id_of(Kind.DASHBOARD, uuid)
        if document is None or document.kind != Kind.DASHBOARD or number is None:
            continue
        try:
            found[uuid] = examine_one(
                client, number, uuid, members, reading.ids, titles, choices.get(uuid, "")
            )
        except SupersetRefused as error:
            if error.code != "not_found":
                raise
    return found


def _marked(reading: EnvironmentReading, found: Mapping[str, Examined]) -> EnvironmentReading:
    documents = {
        uuid: marked(document, found[uuid].damage) if uuid in found else document
        for uuid, document in reading.documents.items()
    }
    return replace(reading, documents=documents)


def without_marks(reading: EnvironmentReading) -> EnvironmentReading:
    """What may be kept of a reading."""
    documents = {uuid: unmarked(document) for uuid, document in reading.documents.items()}
    return replace(reading, documents=documents)
