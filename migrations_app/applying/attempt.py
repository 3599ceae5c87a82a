"""One attempt at a run: what all stations share, and the rows that say how far it came."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from django.utils import timezone

from environments.canonical.companions import Companion, CompanionKind
from environments.canonical.damage import BY_ID, BY_UUID
from environments.canonical.documents import DEPENDENCY_ORDER, Document, Kind
from environments.connections import connect
from environments.models import Environment
from environments.store import EnvironmentReading, companions_of, get_companions, get_documents, load_snapshot
from environments.superset.answer import RequestRecord
from environments.superset.client import SupersetClient
from environments.superset.companions import CompanionId
from migrations_app.engine.batches import Batch
from migrations_app.engine.companions import TAKEN, TOUCHED_BY_IMPORT
from migrations_app.engine.plan import Action
from migrations_app.models import (
    Migration,
    MigrationState,
    PlanCompanion,
    PlanItem,
    Run,
    RunState,
    RunStep,
    StepState,
)
from sstools.jobs import services as jobs
from sstools.jobs.runner import JobContext

from .errors import RollBackWanted, describe
from .reading import connection_ids, inventory_ids, is_large

FINISH, ROLL_BACK = "finish", "roll_back"
#: What a cancel can mean once something was written.
CANCEL_CHOICES = (FINISH, ROLL_BACK)
#: What `result["settled"]` of a step says when nothing of its write is on the target.
NOTHING_DONE = ("refused", "not_done")


@dataclass(frozen=True)
class Item:
    """A plan's item with its documents. `aside`: kinds of companions that are written apart from its import."""

    row: PlanItem
    kind: Kind
    action: Action
    wanted: Document | None
    present: Document | None
    aside: frozenset[CompanionKind] = frozenset()

    @property
    def uuid(self) -> str:
        return self.row.target_uuid


@dataclass(frozen=True)
class Carried:
    """A companion of the plan that is carried. `wanted`: what is to be there, so of one that is kept what was there;
    `brought`: what the source wants. `is_touched`: the import of its asset changes it by itself.
    """

    row: PlanCompanion
    kind: CompanionKind
    action: Action
    wanted: Companion | None
    present: Companion | None
    source: Companion | None
    brought: Companion | None
    is_touched: bool

    @property
    def uuid(self) -> str:
        return self.row.target_uuid


class Attempt:
    """`is_looking`: nothing is to be written, and a target that is away is not waited for."""

    def __init__(self, run: Run, ctx: JobContext, stack: ExitStack, *, is_looking: bool = False) -> None:
        self.row: Run = Run.objects.select_related(
            "plan",
            "restore_point__environment",
            "migration__source",
            "migration__target",
            "migration__rolls_back",
        ).get(pk=run.pk)
        self.migration: Migration = self.row.migration
        self.ctx = ctx
        self.stack = stack
        self.is_looking = is_looking
        self.requests: dict[str, int] = dict(self.row.requests)
        self._thread = threading.get_ident()
        self._sending: RunStep | None = None
        self.target: SupersetClient = self.connect(self.migration.target)
        self.source: SupersetClient | None = None
        self.source_reading: EnvironmentReading | None = None
        self.before: EnvironmentReading | None = None
        self.after: EnvironmentReading | None = None
        self.companions = _companions(self.row)
        self.items = _items(self.row, self.companions)
        #: What companions are called on the target and on the source, as they were last read.
        self.companion_ids: dict[str, CompanionId] = {}
        self.source_companion_ids: dict[str, CompanionId] = {}
        steps = list(self.row.steps.all())
        self.position = len(steps)
        self.may_have_written = any(may_have_written(step) for step in steps)
        #: Another attempt wrote before this one: what differs from what it left may be somebody's work of meanwhile.
        self.is_resumed = self.may_have_written
        self.was_read_back = any(step.name == "read_back" and step.state == StepState.DONE for step in steps)
        self._noted_cancel = False
        #: What the lists of a large target said before the first write; empty where it was exported whole.
        self.listed: dict[Kind, list[Any]] = {}
        #: The target before this run's first write: of an attempt before, where this one resumes it.
        self.untouched: EnvironmentReading | None = None
        if self.may_have_written or is_looking:
            self._load_untouched()

    def of(self, run: Run) -> Attempt:
        """The same for another run on the same target, as that was before its first write. To look, not to write."""
        other = Attempt(run, self.ctx, self.stack, is_looking=self.is_looking)
        if other.untouched is None:
            other._load_untouched()
        return other

    def _load_untouched(self) -> None:
        if self.row.restore_point is not None:
            self.untouched = load_snapshot(self.row.restore_point)
            self.untouched.companions = companions_of(self.row.restore_point)

    # -- requests -----------------------------------------------------------------------------------------------

    def connect(self, environment: Environment) -> SupersetClient:
        client = connect(environment, on_request=self.count, before_request=self.guard)
        return self.stack.enter_context(client)

    def guard(self, method: str, path: str) -> None:
        """The last word before a request leaves: raises LeaseLost where another worker may have the job by now, and
        JobCancelled before the first write.

        A write leaves only after its step's row says so: what never was sent needs no looking after.
        """
        if threading.get_ident() != self._thread:
            self.ctx.still_mine()  # asks no database: the threads have no connection of their own
            return
        writes = RequestRecord(method, path, None, 0.0, 0).is_mutating
        is_first = writes and not self.must_end  # until it has left, a cancel means that nothing happens
        self.ctx.checkpoint(cancellable=is_first, look=is_first)
        if writes:
            if self._sending is None:  # a bug, and one that must not reach anybody's Superset
                raise RuntimeError(f"{method} {path} would be a write without an intent.")
            self._note_sending(self._sending, method, path)

    def _note_sending(self, row: RunStep, method: str, path: str) -> None:
        row.intent |= {
            "sent_at": jobs.db_now().isoformat(),
            "request": f"{method} {path}"[:200],
            "requests": row.intent.get("requests", 0) + 1,
        }
        with self.ctx.fenced():
            row.save(update_fields=["intent"])
        self.may_have_written = True

    @contextmanager
    def sending(self, row: RunStep) -> Iterator[None]:
        """In here writes may leave; they belong to this step."""
        self._sending = row
        try:
            yield
        finally:
            self._sending = None

    def count(self, record: RequestRecord) -> None:
        purpose = _purpose(record)
        self.requests[purpose] = self.requests.get(purpose, 0) + 1

    # -- rows ---------------------------------------------------------------------------------------------------

    @contextmanager
    def step(
        self, name: str, title: str, intent: dict[str, Any] | None = None, *, asks: bool = True
    ) -> Iterator[RunStep]:
        """A step with a row: its intent before, its result after (fill in `row.result`).

        Also a cancel point: before the first write it ends the run, after it somebody chooses how it ends (`asks`).
        Raises JobCancelled, RollBackWanted.
        """
        if self.may_have_written and asks:
            self.cancel_point()
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
        try:
            yield row
        except Exception as error:
            row.result = {**row.result, "error": describe(error)["message"][:1000]}
            self._close_step(row, StepState.FAILED)
            raise
        self._close_step(row, StepState.DONE)

    def _close_step(self, row: RunStep, state: StepState) -> None:
        row.state, row.finished_at = state, timezone.now()
        with self.ctx.fenced():
            row.save()
            Run.objects.filter(pk=self.row.pk).update(requests=self.requests)

    def cancel_point(self) -> None:
        """Something was written: a cancel now means to finish or to undo. Where nobody chose, the job asks, and
        keeps the target for itself while it waits. Raises RollBackWanted.
        """
        if self.is_undo or not self.ctx.cancel_requested:
            return
        choice = FINISH if self.migration.is_rollback else self.ctx.cancel_choice
        if choice == ROLL_BACK:
            raise RollBackWanted
        if choice != FINISH:
            self.ctx.ask(self._question(), keep_locks=True)
        if not self._noted_cancel:
            self._noted_cancel = True
            why = (
                "A roll back is brought to its end once it has begun to write"
                if self.migration.is_rollback
                else "Somebody cancelled, and chose to finish what was begun"
            )
            self.ctx.log("info", f"{why}: the run goes on.")

    def _question(self) -> dict[str, Any]:
        target = self.migration.target.name
        return {
            "code": jobs.CANCEL_CHOICE,
            "text": f"Run {self.row.number} has written to {target} already. Finish it, or roll it back? Until "
            f"somebody chooses, no other run writes to {target}.",
            "choices": [
                {
                    "value": FINISH,
                    "label": "Finish",
                    "effect": "Writes the rest of the plan, reads it back and verifies it.",
                },
                {
                    "value": ROLL_BACK,
                    "label": "Roll back",
                    "effect": "Puts back what was there before the run, and removes what it created.",
                },
            ],
        }

    def enter(self, state: RunState, migration_state: MigrationState | None = None) -> None:
        with self.ctx.fenced():
            self.put(state=state)
            if migration_state is not None:
                self.migration_state(migration_state)

    def save(self, **values: Any) -> None:
        with self.ctx.fenced():
            self.put(**values)

    def put(self, **values: Any) -> None:
        """Inside `ctx.fenced()`."""
        for name, value in values.items():
            setattr(self.row, name, value)
        self.row.requests = self.requests
        self.row.save(update_fields=[*values, "requests"])

    def migration_state(self, state: MigrationState) -> None:
        """Inside `ctx.fenced()`."""
        self.migration.state = state
        self.migration.save(update_fields=["state", "updated_at"])

    def close_interrupted_steps(self) -> None:
        """Those that a lost worker left running. What became of their writes is for `settling` to find out."""
        with self.ctx.fenced():
            for row in self.row.steps.filter(state=StepState.RUNNING):
                row.state, row.finished_at = StepState.FAILED, timezone.now()
                row.result = {**row.result, "error": "The worker was lost in this step."}
                row.save(update_fields=["state", "finished_at", "result"])

    def refresh_may_have_written(self) -> bool:
        """As the rows say it: a write that was refused, or proven not to be there, is none."""
        self.may_have_written = any(may_have_written(step) for step in self.row.steps.all())
        return self.may_have_written

    def done_before(self) -> frozenset[str]:
        """Target uuids that this run wrote, by its own rows: whatever they are by now, they were as planned once.

        A request is one transaction: where part of it shows, all of it was there, and somebody has edited the rest.
        """
        done: set[str] = set()
        for step in self.row.steps.filter(name="write"):
            whole = step.state == StepState.DONE or step.result.get("settled") in ("done", "partly")
            if whole and step.intent.get("what", "import") in ("import", "members"):
                done |= set(step.intent.get("uuids", ())) - set(step.intent.get("open", ()))
        return frozenset(done)

    @property
    def without_members(self) -> frozenset[str]:
        """Dashboards that this run has imported, and whose members it has not set yet, by its own rows."""
        imported: set[str] = set()
        for step in self.row.steps.filter(name="write"):
            if step.state == StepState.DONE or step.result.get("settled") == "done":
                imported |= set(step.intent.get("members", ()))
        return frozenset(imported) - self.done_before()

    # -- what the target holds ----------------------------------------------------------------------------------

    def target_ids(self) -> dict[Kind, set[int]]:
        """Ids on the target of everything that the plan touches. A large target is not exported whole, and the
        inventory does not know what came since it was read: there the lists are asked as well, and the connections
        that the plan stands on are exported although it writes nothing to them.
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
            shown = connection_ids(self.migration.target, self._connections(), ids[Kind.DATASET])
            for kind, numbers in shown.items():
                ids[kind] |= numbers
        return ids

    def _connections(self) -> set[str]:
        """uuids of the target's connections under the plan's datasets, as they are and as they will be."""
        documents = [document for item in self.items for document in (item.wanted, item.present)]
        return {
            str(document.body["database_uuid"])
            for document in documents
            if document is not None and document.kind == Kind.DATASET and document.body.get("database_uuid")
        }

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

    # -- what it comes to ---------------------------------------------------------------------------------------

    @property
    def planned(self) -> list[str]:
        """Target uuids of all that the plan writes, companions included."""
        written = [item.uuid for item in self.items if item.action.writes]
        return written + [one.uuid for one in self.companions if one.action.writes]

    @property
    def mends(self) -> dict[str, str]:
        """Of a repair, the dashboards whose damage readings mark, with what somebody said is meant; else nothing."""
        if not self.migration.is_repair:
            return {}
        said = {item.uuid: str((item.row.answer or {}).get("answer", "")) for item in self.items}
        return {uuid: choice if choice in (BY_UUID, BY_ID) else "" for uuid, choice in said.items()}

    @property
    def is_undo(self) -> bool:
        """It undoes, within the same job, a run that did not come to its end."""
        rolled = self.migration.rolls_back
        return rolled is not None and rolled.job_id == self.ctx.job.pk

    @property
    def must_end(self) -> bool:
        """Something is half done: giving up leaves it so."""
        return self.may_have_written or self.is_undo

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


def may_have_written(step: RunStep) -> bool:
    """Whether something of a step may be on the target: a write of it left, and nothing proves that it was in vain."""
    if step.name not in ("write", "remove"):
        return False
    was_sent = bool(step.intent.get("sent_at", True))  # rows of older versions do not say
    return was_sent and step.result.get("settled") not in NOTHING_DONE


def is_unsettled(step: RunStep) -> bool:
    """A write of this step left, and nobody knows yet what became of it."""
    return may_have_written(step) and step.state != StepState.DONE and "settled" not in step.result


def _companions(run: Run) -> list[Carried]:
    actions = [action.value for action in (*TAKEN, Action.REMOVE, Action.KEEP)]
    rows = list(run.plan.companions.filter(action__in=actions))
    if not rows:
        return []
    found: dict[str | None, Companion] = dict(
        get_companions(
            {sha for row in rows for sha in (row.wanted_id, row.present_id, row.source_id) if sha}
        ).items()
    )
    written = set(run.plan.items.filter(action__in=("create", "update")).values_list("uuid", flat=True))
    return [
        Carried(
            row,
            CompanionKind(row.kind),
            Action(row.action),
            found.get(row.present_id if row.action == Action.KEEP else row.wanted_id),
            found.get(row.present_id),
            found.get(row.source_id),
            found.get(row.wanted_id),
            row.asset_uuid in written and CompanionKind(row.kind) in TOUCHED_BY_IMPORT,
        )
        for row in rows
    ]


def _items(run: Run, companions: list[Carried]) -> list[Item]:
    aside: dict[str, set[CompanionKind]] = {}
    for one in companions:
        aside.setdefault(one.row.asset_uuid, set()).add(one.kind)
    rows = list(run.plan.items.all())
    documents = get_documents({sha for row in rows for sha in (row.wanted_id, row.present_id) if sha})
    return [
        Item(
            row,
            Kind(row.kind),
            Action(row.action),
            documents[row.wanted_id] if row.wanted_id else None,
            documents[row.present_id] if row.present_id else None,
            frozenset(aside.get(row.uuid, ())),
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
