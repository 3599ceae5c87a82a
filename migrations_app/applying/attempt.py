"""One attempt at a run: what all stations share, and the rows that say how far it came."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.utils import timezone

from environments.canonical.documents import DEPENDENCY_ORDER, Document, Kind
from environments.connections import connect
from environments.store import EnvironmentReading, get_documents
from environments.superset.answer import RequestRecord
from environments.superset.client import SupersetClient
from migrations_app.engine.batches import Batch
from migrations_app.engine.plan import Action
from migrations_app.models import Migration, MigrationState, PlanItem, Run, RunState, RunStep, StepState
from sstools.jobs.runner import JobContext

from .errors import describe
from .reading import inventory_ids, is_large


@dataclass(frozen=True)
class Item:
    """A plan's item with its documents."""

    row: PlanItem
    kind: Kind
    action: Action
    wanted: Document | None
    present: Document | None

    @property
    def uuid(self) -> str:
        return self.row.target_uuid


class Attempt:
    def __init__(self, run: Run, ctx: JobContext, stack: ExitStack) -> None:
        self.row: Run = Run.objects.select_related(
            "plan", "migration__source", "migration__target", "migration__rolls_back"
        ).get(pk=run.pk)
        self.migration: Migration = self.row.migration
        self.ctx = ctx
        self.stack = stack
        self.requests: dict[str, int] = dict(self.row.requests)
        self.target: SupersetClient = stack.enter_context(
            connect(self.migration.target, on_request=self.count)
        )
        self.source: SupersetClient | None = None
        self.source_reading: EnvironmentReading | None = None
        self.before: EnvironmentReading | None = None
        self.after: EnvironmentReading | None = None
        self.items = _items(self.row)
        self.may_have_written = self.row.steps.filter(name__in=("write", "remove")).exists()
        self.position = self.row.steps.count()
        #: What the lists of a large target said before the first write; empty where it was exported whole.
        self.listed: dict[Kind, list[Any]] = {}
        #: The target before this run's first write: of an attempt before, where this one resumes it.
        self.untouched: EnvironmentReading | None = None

    @contextmanager
    def step(self, name: str, title: str, intent: dict[str, Any] | None = None) -> Iterator[dict[str, Any]]:
        """A step with a row: its intent before, its result after. Cancelling is possible until the first write."""
        self.ctx.step(title, cancellable=not self.may_have_written)
        self.position += 1
        with self.ctx.fenced():
            row = RunStep.objects.create(
                run=self.row,
                position=self.position,
                name=name,
                title=title[:200],
                state=StepState.RUNNING,
                intent=intent or {},
                started_at=timezone.now(),
            )
        result: dict[str, Any] = {}
        try:
            yield result
        except Exception as error:
            row.state, row.result, row.finished_at = (
                StepState.FAILED,
                {**result, "error": describe(error)["message"][:1000]},
                timezone.now(),
            )
            with self.ctx.fenced():
                row.save()
            raise
        row.state, row.result, row.finished_at = StepState.DONE, result, timezone.now()
        with self.ctx.fenced():
            row.save()
            Run.objects.filter(pk=self.row.pk).update(requests=self.requests)

    def enter(self, state: RunState, migration_state: MigrationState | None = None) -> None:
        with self.ctx.fenced():
            self.save(state=state)
            if migration_state is not None:
                self.migration_state(migration_state)

    def save(self, **values: Any) -> None:
        for name, value in values.items():
            setattr(self.row, name, value)
        self.row.requests = self.requests
        with transaction.atomic():
            self.row.save(update_fields=[*values, "requests"])

    def migration_state(self, state: MigrationState) -> None:
        self.migration.state = state
        self.migration.save(update_fields=["state", "updated_at"])

    def count(self, record: RequestRecord) -> None:
        purpose = _purpose(record)
        self.requests[purpose] = self.requests.get(purpose, 0) + 1

    def target_ids(self) -> dict[Kind, set[int]]:
        """Ids on the target of everything that the plan touches. A large target is not exported whole, and the
        inventory does not know what came since it was read: there the lists are asked as well.
        """
        uuids = {item.uuid for item in self.items}
        ids = inventory_ids(self.migration.target, uuids)
        if self.before is not None:
            for item in self.items:
                if (known := self.before.ids.id_of(item.kind, item.uuid)) is not None:
                    ids[item.kind].add(known)
        if is_large(self.migration.target):
            rows = self.listings({item.kind for item in self.items if item.action.writes})
            if self.before is None:
                self.listed = rows
            for kind, found in rows.items():
                ids[kind] |= {row.id for row in found if row.uuid in uuids}
        return ids

    def source_ids(self) -> dict[Kind, set[int]]:
        assert self.migration.source is not None
        return inventory_ids(self.migration.source, {item.row.uuid for item in self.items})

    def listings(self, kinds: Collection[Kind]) -> dict[Kind, list[Any]]:
        listing: dict[Kind, Callable[[], list[Any]]] = {
            Kind.DATASET: self.target.list_datasets,
            Kind.CHART: self.target.list_charts,
            Kind.DASHBOARD: self.target.list_dashboards,
        }
        return {kind: listing[kind]() for kind in DEPENDENCY_ORDER if kind in kinds}

    def database_id(self, uuid: str) -> int | None:
        assert self.before is not None
        if self.before.ids.id_of(Kind.DATABASE, uuid) is None:
            for row in self.target.list_databases():
                self.before.ids.add(Kind.DATABASE, row.id, row.uuid)
        return self.before.ids.id_of(Kind.DATABASE, uuid)

    def learn_ids(self, batch: Batch, missing: Collection[tuple[Kind, str]]) -> None:
        """The ids that what this batch wrote has on the target, as far as the rest of the plan refers to it."""
        assert self.before is not None
        ids = self.before.ids
        dataset_of = {item.uuid: item.data.get("dataset_uuid") for item in batch.rendered}
        for kind in (Kind.CHART, Kind.DATASET, Kind.DASHBOARD):
            wanted = {
                uuid
                for which, uuid in missing
                if which == kind and uuid in batch.writes and ids.id_of(kind, uuid) is None
            }
            if not wanted:
                continue
            found, datasets = self.target.ids_of(kind.value, wanted)
            for uuid, number in found.items():
                ids.add(kind, number, uuid)
            for chart, number in datasets.items():  # mostly all that filters stand on, without a request
                if dataset := dataset_of.get(chart):
                    ids.add(Kind.DATASET, number, str(dataset))

    def message(self) -> str:
        return str((self.row.error or {}).get("message", ""))

    def summary(self) -> dict[str, Any]:
        return {
            "run": self.row.number,
            "state": self.row.state,
            "written": len(self.row.written),
            "verdicts": self.row.verdict_counts,
            "requests": self.requests,
        }

    def close_interrupted_steps(self) -> list[str]:
        """Steps that a lost worker left running. Returns the uuids whose writing may still be under way."""
        uuids: list[str] = []
        with self.ctx.fenced():
            for row in self.row.steps.filter(state=StepState.RUNNING):
                row.state, row.finished_at = StepState.FAILED, timezone.now()
                row.result = {**row.result, "error": "The worker was lost in this step."}
                row.save(update_fields=["state", "finished_at", "result"])
                if row.name == "write":
                    uuids += row.intent.get("uuids", [])
        return uuids


def _items(run: Run) -> list[Item]:
    rows = list(run.plan.items.all())
    documents = get_documents({sha for row in rows for sha in (row.wanted_id, row.present_id) if sha})
    return [
        Item(
            row,
            Kind(row.kind),
            Action(row.action),
            documents[row.wanted_id] if row.wanted_id else None,
            documents[row.present_id] if row.present_id else None,
        )
        for row in rows
    ]


def _purpose(record: RequestRecord) -> str:
    path = record.path
    if "/security/" in path or "/login" in path:
        return "sign_in"
    if "/chart/data" in path or "time_range" in path:
        return "verify"
    if "/database/" in path and any(
        part in path for part in ("/tables/", "/schemas/", "/table_metadata/", "/catalogs/")
    ):
        return "warehouse"
    return "read" if record.method == "GET" else "write"
