"""Places that assets are read from, and what is read there. Written the same everywhere: `env:dev`, `run:42:before`,
`applied:prod`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from environments.canonical.comparison import comparison_fingerprint
from environments.canonical.documents import Document, Documents, Note
from environments.canonical.ids import IdTable
from environments.models import Environment, Reason, Snapshot
from environments.reading import last_reading, read_everything
from environments.store import EnvironmentReading, get_documents, load_snapshot, take_snapshot
from environments.superset.client import SupersetClient

from .comparing.models import UploadedBundle
from .errors import NotReady
from .models import Baseline, Migration, PlanItem, Run


def address_of(environment: Environment) -> str:
    """What tells one Superset from another: it may be registered twice."""
    return environment.url.rstrip("/").lower()


@dataclass(frozen=True)
class SourceReading:
    """What a source holds: documents by uuid in the source's own terms, ids where it is an environment,
    and the snapshot of it.
    """

    documents: Documents
    ids: IdTable
    notes: tuple[Note, ...]
    snapshot: Snapshot | None
    requests: int = 0


def reader_for_plan(
    client: SupersetClient, environment: Environment, *, fresh: bool = False
) -> Callable[[], EnvironmentReading]:
    """A call that reads an environment as cheaply as is right for a plan (an apply reads fresh again).

    What it may use again is loaded here; the call itself touches no database.
    """
    stored = None if fresh else last_reading(environment)
    return lambda: read_everything(client, environment, fresh=stored is None, stored=stored)


def keep_for_plan(environment: Environment, reading: EnvironmentReading, *, actor: Any) -> Snapshot:
    return take_snapshot(environment, reading, Reason.PLAN, actor)


def source_of_run(run: Run) -> SourceReading:
    """`run:N:before`: the restore point of a run. Raises NotReady if it took none."""
    if run.restore_point is None:
        raise NotReady(f"Run {run.number} took no restore point: it stopped before writing.")
    reading = load_snapshot(run.restore_point)
    return SourceReading(reading.documents, reading.ids, (), run.restore_point)


def source_of_file(migration: Migration) -> SourceReading:
    """`file:<uuid>`: what somebody uploaded, as it was kept. Raises NotReady if it is forgotten."""
    file = migration.file
    if file is None:
        raise NotReady(
            "The file of this migration is forgotten.", remedy="Upload it again, and make another migration."
        )
    kept = file.documents if isinstance(file, UploadedBundle) else file.assets
    rows = dict(kept.values_list("uuid", "document_id"))
    documents = get_documents(rows.values())
    notes = tuple(Note(**note) for note in file.notes)
    return SourceReading({uuid: documents[sha] for uuid, sha in rows.items()}, IdTable(), notes, None)


def source_of_base(target: Environment, uuids: Collection[str]) -> SourceReading:
    """`applied:<slug>`: of these assets of an environment, what the last run left, in the environment's own terms.

    One that was left absent, or that no run ever brought, has no document.
    """
    return SourceReading(applied_documents(target, uuids), IdTable(), (), None)


def applied_documents(target: Environment, uuids: Collection[str]) -> dict[str, Document]:
    """What was last applied, by uuid; for what was applied by earlier versions, out of the plan of its run."""
    bases: dict[str, Baseline] = {}
    wanted = list(uuids)
    for start in range(0, len(wanted), 500):
        rows = Baseline.objects.filter(target=target, uuid__in=wanted[start : start + 500]).select_related(
            "run"
        )
        bases.update({row.uuid: row for row in rows if row.present})
    found = get_documents({row.document_id for row in bases.values() if row.document_id})
    documents = {uuid: found[row.document_id] for uuid, row in bases.items() if row.document_id}
    for uuid in bases.keys() - documents.keys():
        if (document := _of_the_plan(bases[uuid])) is not None:
            documents[uuid] = document
    return documents


def _of_the_plan(base: Baseline) -> Document | None:
    if base.run is None:
        return None
    item = PlanItem.objects.filter(plan=base.run.plan_id, target_uuid=base.uuid).first()
    hashes = [sha for sha in (item.wanted_id, item.present_id) if sha] if item is not None else []
    documents = get_documents(hashes)
    same = (documents[sha] for sha in hashes if comparison_fingerprint(documents[sha]) == base.present)
    return next(same, None)


def environment_slug(place: str) -> str | None:
    """The slug of an `env:` place, None for any other."""
    kind, _, name = place.partition(":")
    return name if kind == "env" and name else None


def is_rollback(migration: Migration) -> bool:
    return migration.rolls_back_id is not None
