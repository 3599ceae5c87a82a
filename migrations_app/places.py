"""Places that assets are read from, and what is read there. Written the same everywhere: `env:dev`, `run:42:before`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from environments.canonical.documents import Documents, Note
from environments.canonical.ids import IdTable
from environments.models import Environment, Reason, Snapshot
from environments.reading import last_reading, read_everything
from environments.store import EnvironmentReading, load_snapshot, take_snapshot
from environments.superset.client import SupersetClient

from .errors import NotReady
from .models import Migration, Run


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


def environment_slug(place: str) -> str | None:
    """The slug of an `env:` place, None for any other."""
    kind, _, name = place.partition(":")
    return name if kind == "env" and name else None


def is_rollback(migration: Migration) -> bool:
    return migration.rolls_back_id is not None
