"""Applying a plan: one run, step by step, each with its intent before and its result after. Runs in a job.

What holds, whatever happens:

* Nothing is written before both sides were exported once more and found as the plan saw them, and a
restore point was kept.
* Only documents of the plan are sent, with the target's own connections, in closed bundles.
* Only what is read back afterwards counts as written; Superset's "OK" does not.
* What goes wrong after the first write is undone from the restore point; what cannot be undone is named asset by asset.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from django.db import connections, transaction
from django.utils import timezone

from environments.canonical.comparison import comparison_fingerprint
from environments.canonical.dashboards import chart_uuids
from environments.canonical.documents import DEPENDENCY_ORDER, Document, Kind
from environments.canonical.rules import CONVERTED_VIZ_TYPES
from environments.connections import connect
from environments.models import Asset, Environment, Reason
from environments.reading import SMALL_ESTATE, read_everything, read_selected
from environments.services import read_after_change
from environments.store import (
    EnvironmentReading,
    believe_no_list,
    get_documents,
    load_snapshot,
    take_snapshot,
)
from environments.superset.answer import RequestRecord
from environments.superset.bundle import Bundle, stub_database
from environments.superset.client import SupersetClient
from environments.superset.errors import AmbiguousWrite, SupersetError
from sstools.audit import services as audit
from sstools.errors import JobCancelled, SSToolsError, as_expected
from sstools.jobs.runner import JobContext

from .dialects import dialect_of
from .engine.batches import Batch, Way, next_batch, still_pending
from .engine.conflicts import natural_key_conflicts
from .engine.diff import field_changes
from .engine.plan import Action
from .errors import RunFailed, StalePlan
from .models import Baseline, Migration, MigrationState, Pairing, PlanItem, Run, RunState, RunStep, StepState
from .models import Mapping as PairMapping
from .planning import same_for_comparison
from .verification import is_red, verify_run

T = TypeVar("T")
logger = logging.getLogger(__name__)

#: Seconds between looks at the target after an import whose answer never came; a Superset goes on after
#: its client hung up.
SETTLE_WAITS = (1, 2, 5, 10, 20, 30, 60)
#: The same after a worker was lost in the middle of an import: its lease had to run out before.
LOST_WRITE_WAITS = (5, 10, 20)


@dataclass(frozen=True)
class Moved:
    """Something that is not as the plan saw it: in words, and where."""

    text: str
    environment: Environment | None
    uuid: str


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


def apply_run(run: Run, ctx: JobContext) -> dict[str, Any]:
    """Bring a run to its end: applied, rolled back, stopped before writing, or needs attention. Returns a summary.

    Raises StalePlan and SupersetError where nothing was written, RunFailed where something was and the run
    did not succeed.
    """
    with ExitStack() as stack:
        return _Applying(run, ctx, stack).execute()


class _Applying:
    def __init__(self, run: Run, ctx: JobContext, stack: ExitStack) -> None:
        self.run = Run.objects.select_related(
            "plan", "migration__source", "migration__target", "migration__rolls_back"
        ).get(pk=run.pk)
        self.migration: Migration = self.run.migration
        self.ctx = ctx
        self.stack = stack
        self.requests: dict[str, int] = dict(self.run.requests)
        self.target: SupersetClient = stack.enter_context(
            connect(self.migration.target, on_request=self._count)
        )
        self.source: SupersetClient | None = None
        self.source_reading: EnvironmentReading | None = None
        self.before: EnvironmentReading | None = None
        self.after: EnvironmentReading | None = None
        self.items = _items(self.run)
        self.may_have_written = self.run.steps.filter(name__in=("write", "remove")).exists()
        self.position = self.run.steps.count()
        #: What the lists of a large target said before the first write; empty where it was exported whole.
        self.listed: dict[Kind, list[Any]] = {}
        #: The target before this run's first write: of an attempt before, where this one resumes it.
        self.untouched: EnvironmentReading | None = None

    # -- the way through
    # ---------------------------------------------------------------------------------------------------

    def execute(self) -> dict[str, Any]:
        if self.run.is_finished:
            return self._ended_before()
        if self.run.started_at is None:
            self._save(started_at=timezone.now())
        interrupted = self._close_interrupted_steps()
        if self.run.error is not None and self.may_have_written:
            return self._undo(_recorded(self.run.error))  # an attempt before had decided so
        try:
            self._check(interrupted)
            self._take_restore_point()
            self._write()
            self._remove()
            self._read_back()
        except (Exception, JobCancelled) as error:
            return self._stopped(error)
        try:
            red = self._verify()
        except (Exception, JobCancelled) as error:
            # Verification reads only: what was written is proven by the re-read; what was not verified is said.
            described = _described(error)
            if described["code"] == "unexpected":
                logger.exception("Verification of run %s failed unexpectedly", self.run.number)
            self.ctx.log("warning", f"Verification did not finish: {described['message']}")
            self._finish(
                {
                    "code": "verification_incomplete",
                    "message": f"Applied and read back, but not verified: {described['message']}",
                    "remedy": "Verify again.",
                }
            )
            return self._summary()
        if red and self.migration.roll_back_when_red:
            failure = RunFailed(
                f"{red} charts fail on {self.migration.target.name} that work on the source.",
                code="verification_red",
            )
            return self._undo(failure)
        self._finish(None)
        return self._summary()

    def _ended_before(self) -> dict[str, Any]:
        """The run was closed, and the worker lost before its job was: end the job as the run ended."""
        if self.run.state == RunState.APPLIED:
            return self._summary()
        raise _recorded(self.run.error or {})

    def _close_interrupted_steps(self) -> list[str]:
        """Steps that a lost worker left running. Returns the uuids whose writing may still be under way."""
        uuids: list[str] = []
        with self.ctx.fenced():
            for row in self.run.steps.filter(state=StepState.RUNNING):
                row.state, row.finished_at = StepState.FAILED, timezone.now()
                row.result = {**row.result, "error": "The worker was lost in this step."}
                row.save(update_fields=["state", "finished_at", "result"])
                if row.name == "write":
                    uuids += row.intent.get("uuids", [])
        return uuids

    # -- steps
    # -------------------------------------------------------------------------------------------------------------

    def _check(self, interrupted: Collection[str] = ()) -> None:
        """Export both sides once more and compare with what the plan was made from."""
        with self._step("check", "Check that nothing moved since the plan") as result:
            self._state(RunState.RESTORE_POINT)
            migration = self.migration
            jobs: list[Callable[[], EnvironmentReading]] = [
                lambda: fresh_reading(self.target, migration.target, self._target_ids())
            ]
            if migration.source is not None and not migration.is_rollback:
                self.source = self.stack.enter_context(connect(migration.source, on_request=self._count))
                source, environment = self.source, migration.source
                jobs.append(lambda: fresh_reading(source, environment, self._source_ids()))
            readings = _side_by_side(jobs)
            self.before = readings[0]
            self.source_reading = readings[1] if len(readings) > 1 else None
            resuming = self.may_have_written
            if interrupted:
                self._wait_for_lost_writes(interrupted)
            self.untouched = self.before
            if resuming and self.run.restore_point is not None:
                self.untouched = load_snapshot(self.run.restore_point)
            moved = self._moved(skip_target=resuming)
            result.update(read=len(self.before.documents), moved=len(moved))
            if moved:
                self._export_again_next_time(moved)
                names = ", ".join(entry.text for entry in moved[:3]) + (
                    " and others" if len(moved) > 3 else ""
                )
                raise StalePlan(
                    f"The plan is stale: {names} changed after it was made."
                    + ("" if resuming else " Nothing was written."),
                    detail={"moved": [entry.text for entry in moved[:50]]},
                )

    def _wait_for_lost_writes(self, uuids: Collection[str]) -> None:
        """A Superset goes on with the import of a worker that died: see its end before it is sent once more."""
        wanted = {item.uuid: item.wanted for item in self.items if item.uuid in set(uuids)}
        for seconds in LOST_WRITE_WAITS:
            assert self.before is not None
            there = self.before.documents
            if all(same_for_comparison(document, there.get(uuid)) for uuid, document in wanted.items()):
                return
            self.ctx.wait(seconds, cancellable=False)
            self.before = fresh_reading(self.target, self.migration.target, self._target_ids())

    def _export_again_next_time(self, moved: Collection[Moved]) -> None:
        """What no list told apart from what is stored would make the next plan as stale as this one."""
        for environment in (self.migration.source, self.migration.target):
            if environment is not None:
                uuids = [entry.uuid for entry in moved if entry.environment == environment]
                believe_no_list(environment, uuids)

    def _moved(self, *, skip_target: bool) -> list[Moved]:
        assert self.before is not None
        target, source = self.migration.target, self.migration.source
        moved: list[Moved] = []
        planned = (
            get_documents(item.row.source_sha256 for item in self.items if item.row.source_sha256)
            if self.source_reading
            else {}
        )
        for item in self.items:
            if item.action == Action.LEAVE_OUT:
                continue
            if self.source_reading is not None and item.row.source_sha256:
                now = self.source_reading.documents.get(item.row.uuid)
                if not same_for_comparison(planned[item.row.source_sha256], now):
                    moved.append(Moved(f"“{item.row.title}” on the source", source, item.row.uuid))
            if not skip_target and (
                not same_for_comparison(item.present, self.before.documents.get(item.uuid))
                or item.uuid in self.before.unreadable
            ):
                moved.append(Moved(f"“{item.row.title}” on the target", target, item.uuid))
        if not skip_target:
            # Somebody may have taken a slug or a table meanwhile: an import would overwrite that asset.
            wanted = {
                item.uuid: item.wanted
                for item in self.items
                if item.action.writes and item.wanted is not None
            }
            for conflict in natural_key_conflicts(wanted, self._around()).values():
                moved.append(Moved(f"“{conflict.other_title}” on the target", target, conflict.other_uuid))
            moved += self._moved_connections(wanted.values())
        return moved

    def _around(self) -> dict[str, Document]:
        """What the target holds; what was only listed with no more than the names that an import goes by."""
        assert self.before is not None
        around: dict[str, Document] = {}
        for row in self.listed.get(Kind.DASHBOARD, []):
            body: dict[str, Any] = {"dashboard_title": row.title, "slug": row.slug}
            around[row.uuid] = Document(Kind.DASHBOARD, row.uuid, body)
        for row in self.listed.get(Kind.DATASET, []):
            database = self.before.ids.uuid_of(Kind.DATABASE, row.database_id)
            body = {"table_name": row.name, "schema": row.schema, "database_uuid": database}
            around[row.uuid] = Document(Kind.DATASET, row.uuid, body)
        return {**around, **self.before.documents}

    def _moved_connections(self, wanted: Iterable[Document]) -> list[Moved]:
        """Connections that datasets of the plan were mapped to, and that are gone or another since."""
        assert self.before is not None
        snapshot = self.run.plan.target_snapshot
        needed = {
            str(document.body["database_uuid"])
            for document in wanted
            if document.kind == Kind.DATASET and document.body.get("database_uuid")
        }
        planned = (
            dict(snapshot.entries.filter(uuid__in=needed).values_list("uuid", "document_id"))
            if snapshot is not None
            else {}
        )
        moved: list[Moved] = []
        for uuid in sorted(needed):
            now = self.before.documents.get(uuid)
            if now is not None:
                is_same = planned.get(uuid) in (None, now.fingerprint)
            else:
                is_same = not self.before.complete and self._database_id(uuid) is not None
            if not is_same:
                name = f"“{now.title}”" if now is not None else uuid
                moved.append(Moved(f"the connection {name} of the target", self.migration.target, uuid))
        return moved

    def _take_restore_point(self) -> None:
        if self.run.restore_point_id is not None:
            return
        assert self.before is not None
        with self._step("restore_point", "Take the restore point") as result:
            snapshot = take_snapshot(
                self.migration.target, self.before, Reason.RESTORE_POINT, self.ctx.job.actor
            )
            created = sorted(
                item.uuid
                for item in self.items
                if item.action == Action.CREATE and item.uuid not in self.before.documents
            )
            self._save(restore_point=snapshot, created=created)
            result.update(snapshot=snapshot.number, assets=len(self.before.documents))

    def _write(self) -> None:
        assert self.before is not None
        wanted = {
            item.uuid: item.wanted
            for item in self.items
            if item.action in (Action.CREATE, Action.UPDATE) and item.wanted is not None
        }
        # After a crash part of it may be there already: what the target says counts, not what memory said.
        pending = {
            uuid: document
            for uuid, document in wanted.items()
            if not same_for_comparison(document, self.before.documents.get(uuid))
        }
        if not pending:
            return
        self._state(RunState.WRITING)
        self._re_parent(pending)
        ids, capabilities = self.before.ids, self.target.capabilities
        provisional: set[str] = set()
        # What was there or will be: a bundle for a target before 6.0 needs what its assets stand on beside them.
        around = {**self.before.documents, **wanted}
        while batch := next_batch(
            pending,
            around,
            ids,
            sparse=capabilities.sparse_import,
            base_url=self.migration.target.url,
            dialect=dialect_of(capabilities),
        ):
            if batch.provisional and batch.provisional <= provisional:
                raise RunFailed(
                    "Some references cannot be resolved on the target.",
                    code="unresolved_references",
                    detail={"assets": sorted(batch.provisional)[:50]},
                )
            provisional |= batch.provisional
            with self._step(
                "write", f"Write {batch.label}", intent={"uuids": list(batch.writes), "way": batch.way.value}
            ) as result:
                self.may_have_written = True
                self._send(batch)
                result.update(imported=len(batch.writes))
            pending = still_pending(pending, batch)
            if pending:
                self._learn_ids(batch)

    def _re_parent(self, pending: Mapping[str, Document]) -> None:
        """Datasets cannot be moved to another connection by an import (500, unique uuid): by PUT, before it."""
        assert self.before is not None
        for uuid, document in pending.items():
            present = self.before.documents.get(uuid)
            if (
                document.kind != Kind.DATASET
                or present is None
                or present.body.get("database_uuid") == document.body.get("database_uuid")
            ):
                continue
            dataset = self.before.ids.id_of(Kind.DATASET, uuid)
            database = self._database_id(str(document.body["database_uuid"]))
            if dataset is None or database is None:
                continue
            with self._step(
                "write", f"Move dataset {document.title} to its connection", intent={"uuids": [uuid]}
            ):
                self.may_have_written = True
                self.target.update("dataset", dataset, {"database_id": database})

    def _database_id(self, uuid: str) -> int | None:
        assert self.before is not None
        if self.before.ids.id_of(Kind.DATABASE, uuid) is None:
            for row in self.target.list_databases():
                self.before.ids.add(Kind.DATABASE, row.id, row.uuid)
        return self.before.ids.id_of(Kind.DATABASE, uuid)

    def _send(self, batch: Batch) -> None:
        try:
            self._import(batch)
        except AmbiguousWrite as error:
            self.ctx.log(
                "warning",
                f"No answer to the import ({error.message}). Reading the target to see what happened.",
            )
            if not self._settled(batch):
                raise
            self.ctx.log("info", "The import was carried out although its answer never came.")
        if batch.way == Way.DASHBOARDS and not self.target.capabilities.membership_replaced:
            self._set_members(batch)

    def _import(self, batch: Batch) -> None:
        assets = [(item.kind.value, item.uuid, dict(item.data)) for item in batch.rendered]
        if batch.way == Way.SPARSE:
            self.target.import_assets(Bundle.from_assets("assets", assets), sparse=True)
            return
        assert self.before is not None
        stubs = [
            stub_database(uuid, self.before.documents[uuid].title)
            for uuid in batch.databases
            if uuid in self.before.documents
        ]
        kind = {Way.DATASETS: "dataset", Way.CHARTS: "chart", Way.DASHBOARDS: "dashboard"}[batch.way]
        send = {
            "dataset": self.target.import_datasets,
            "chart": self.target.import_charts,
            "dashboard": self.target.import_dashboards,
        }[kind]
        send(
            Bundle.from_assets(kind, [*assets, *((stub.kind, stub.uuid, stub.data) for stub in stubs)]), True
        )

    def _settled(self, batch: Batch) -> bool:
        """Whether an import of unknown outcome was carried out. One import is one transaction: all of it,
        or nothing.
        """
        wanted = {
            item.uuid: item.wanted
            for item in self.items
            if item.uuid in set(batch.writes) - batch.provisional
        }
        for seconds in SETTLE_WAITS:
            self.ctx.wait(seconds, cancellable=False)
            try:
                reading = fresh_reading(self.target, self.migration.target, self._target_ids())
            except SupersetError:
                continue
            if all(
                same_for_comparison(document, reading.documents.get(uuid))
                for uuid, document in wanted.items()
            ):
                return True
        return False

    def _set_members(self, batch: Batch) -> None:
        """Before 6.1 a dashboard's import only adds charts; a PUT of the layout makes its members what the
        layout shows.
        """
        assert self.before is not None
        for item in batch.rendered:
            present = self.before.documents.get(item.uuid)
            number = self.before.ids.id_of(Kind.DASHBOARD, item.uuid)
            if item.kind != Kind.DASHBOARD or present is None or number is None:
                continue
            wanted = next(entry.wanted for entry in self.items if entry.uuid == item.uuid)
            if wanted is None or chart_uuids(present.body["position"]) <= chart_uuids(
                wanted.body["position"]
            ):
                continue
            self.target.update(
                "dashboard",
                number,
                {"json_metadata": json.dumps({**item.data["metadata"], "positions": item.data["position"]})},
            )

    def _learn_ids(self, batch: Batch) -> None:
        assert self.before is not None
        new = {item.kind for item in batch.rendered if self.before.ids.id_of(item.kind, item.uuid) is None}
        for kind, rows in self._list(new).items():
            for row in rows:
                self.before.ids.add(kind, row.id, row.uuid)

    def _remove(self) -> None:
        removals = [item for item in self.items if item.action == Action.REMOVE]
        if not removals:
            return
        assert self.before is not None
        self._state(RunState.WRITING)
        for kind in reversed(DEPENDENCY_ORDER):
            there = {
                item.uuid: number
                for item in removals
                if item.kind == kind
                and item.uuid in self.before.documents
                and (number := self.before.ids.id_of(kind, item.uuid)) is not None
            }
            if not there:
                continue
            title = f"Remove {len(there)} {kind.plural if len(there) > 1 else kind.value}"
            with self._step("remove", title, intent={"uuids": sorted(there)}) as result:
                self.may_have_written = True
                try:
                    self.target.delete_many(kind.value, there.values())
                except AmbiguousWrite:
                    self.ctx.log("warning", "No answer to the removal; the re-read will tell what happened.")
                result.update(removed=len(there))

    def _read_back(self) -> None:
        """Read what was written and hold it against the plan; prove that connections and bystanders are as before."""
        assert self.before is not None
        if not self.may_have_written:
            self.after = self.before
            return
        self._state(RunState.READING_BACK)
        with self._step("read_back", "Read back and compare with the plan") as result:
            self.after = fresh_reading(self.target, self.migration.target, self._target_ids())
            written, unwritten = self._compare(self.after)
            self._save(written=written, unwritten=unwritten)
            changed = self._changed_connections(self.after)
            lost = self._lost_bystanders(self.after)
            result.update(
                equal=len(written),
                different=len(unwritten),
                connections="unchanged" if not changed else "CHANGED",
            )
            if changed:
                raise RunFailed(
                    f"A connection of the target changed during the run: {', '.join(changed)}.",
                    code="connection_changed",
                )
            if lost:
                raise RunFailed(
                    f"Assets outside the plan disappeared during the run: {', '.join(lost[:3])}.",
                    code="bystander_lost",
                )
            if unwritten:
                names = [item.row.title for item in self.items if item.uuid in unwritten]
                raise RunFailed(
                    f"{len(unwritten)} assets are not on the target as planned: {', '.join(names[:3])}.",
                    code="not_as_planned",
                    detail={"assets": unwritten[:50]},
                )

    def _compare(self, after: EnvironmentReading) -> tuple[list[str], list[str]]:
        written: list[str] = []
        unwritten: list[str] = []
        for item in self.items:
            if not item.action.writes:
                continue
            now = after.documents.get(item.uuid)
            if item.action == Action.REMOVE:
                as_planned = now is None and item.uuid not in after.unreadable
            else:
                as_planned = same_for_comparison(item.wanted, now) or _was_converted(item.wanted, now)
            (written if as_planned else unwritten).append(item.uuid)
            if not as_planned:
                self._say_difference(item, now)
        return written, unwritten

    def _say_difference(self, item: Item, now: Document | None) -> None:
        if item.action == Action.REMOVE or now is None or item.wanted is None:
            what = "is still there" if item.action == Action.REMOVE else "is not there"
        else:
            changes = field_changes(item.wanted, now)
            what = "differs in " + ", ".join(".".join(change.path) for change in changes[:5])
        self.ctx.log("error", f"{item.kind.value} “{item.row.title}” {what}")

    def _changed_connections(self, after: EnvironmentReading) -> list[str]:
        assert self.untouched is not None
        return [
            document.title
            for uuid, document in self.untouched.documents.items()
            if document.kind == Kind.DATABASE
            and (uuid in after.documents or after.complete)
            and (uuid not in after.documents or after.documents[uuid].fingerprint != document.fingerprint)
        ]

    def _lost_bystanders(self, after: EnvironmentReading) -> list[str]:
        assert self.untouched is not None
        if not (self.untouched.complete and after.complete):
            return []
        planned = {item.uuid for item in self.items}
        gone = [
            f"{document.kind.value} “{document.title}”"
            for uuid, document in self.untouched.documents.items()
            if uuid not in after.documents and uuid not in planned and uuid not in after.unreadable
        ]
        for uuid, document in self.untouched.documents.items():
            now = after.documents.get(uuid)
            if uuid not in planned and now is not None and not same_for_comparison(document, now):
                bystander = f"{document.kind.value} “{document.title}”"
                self.ctx.log(
                    "warning", f"Not part of the plan, and changed by somebody else meanwhile: {bystander}."
                )
        return gone

    def _verify(self) -> int:
        """Number of charts that are red: they work on the source and fail on the target."""
        if not self.migration.verify or self.migration.is_rollback:
            return 0
        assert self.after is not None
        self._state(RunState.VERIFYING, MigrationState.VERIFYING)
        with self._step("verify", "Verify each chart on source and target") as result:
            assert self.source is not None
            assert self.source_reading is not None
            counts = verify_run(self.run, self.ctx, self.source, self.source_reading, self.target, self.after)
            result.update(counts)
            self._save(verdict_counts=counts)
            return sum(count for status, count in counts.items() if is_red(status))

    def _finish(self, error: dict[str, Any] | None) -> None:
        assert self.after is not None
        migration = self.migration
        with self.ctx.fenced():
            self._keep_baselines(self.after)
            self._keep_answers()
            self._save(state=RunState.APPLIED, finished_at=timezone.now(), error=error)
            self._migration_state(MigrationState.DONE)
            if migration.rolls_back is not None:
                rolled = migration.rolls_back
                Run.objects.filter(pk=rolled.pk).update(state=RunState.ROLLED_BACK)
                Migration.objects.filter(pk=rolled.migration_id).update(state=MigrationState.ROLLED_BACK)
            read_after_change(migration.target, actor=self.ctx.job.actor)
            audit.record(
                "run:applied",
                migration,
                actor=self.ctx.job.actor,
                data={
                    "run": self.run.number,
                    "written": len(self.run.written),
                    "verdicts": self.run.verdict_counts,
                },
            )

    def _keep_baselines(self, after: EnvironmentReading) -> None:
        """What is there now is what the next edit is measured against."""
        rows: list[Baseline] = []
        gone: list[str] = []
        for item in self.items:
            if item.action == Action.REMOVE:
                gone.append(item.uuid)
            now = after.documents.get(item.uuid)
            if (
                now is None
                or item.wanted is None
                or item.action in (Action.LEAVE_OUT, Action.BLOCKED, Action.REMOVE)
            ):
                continue
            rows.append(
                Baseline(
                    target=self.migration.target,
                    uuid=item.uuid,
                    wanted=comparison_fingerprint(item.wanted),
                    present=comparison_fingerprint(now),
                    run=self.run,
                    updated_at=timezone.now(),
                )
            )
        Baseline.objects.bulk_create(
            rows,
            update_conflicts=True,
            unique_fields=["target", "uuid"],
            update_fields=["wanted", "present", "run", "updated_at"],
            batch_size=500,
        )
        Baseline.objects.filter(target=self.migration.target, uuid__in=gone).delete()

    def _keep_answers(self) -> None:
        """Adopted and renamed assets stay so for the next plan of the same pair."""
        migration = self.migration
        if migration.source is None or migration.is_rollback:
            return
        for source_uuid, target_uuid in self.run.plan.mapping.get("pairs", {}).items():
            item = next((item for item in self.items if item.row.uuid == source_uuid), None)
            if item is not None and item.action != Action.LEAVE_OUT:
                Pairing.objects.update_or_create(
                    source=migration.source,
                    target=migration.target,
                    source_uuid=source_uuid,
                    defaults={
                        "target_uuid": target_uuid,
                        "kind": item.kind.value,
                        "created_by": self.ctx.job.actor,
                    },
                )
        if renames := self.run.plan.mapping.get("renames"):
            mapping, _ = PairMapping.objects.get_or_create(source=migration.source, target=migration.target)
            mapping.renames = {**mapping.renames, **renames}
            mapping.save(update_fields=["renames", "updated_at"])

    # -- when it goes wrong
    # ------------------------------------------------------------------------------------------------

    def _stopped(self, error: BaseException) -> dict[str, Any]:
        """Before the first write: nothing happened. After it: undo."""
        if self.may_have_written:
            return self._undo(error)
        described = _described(error)
        with self.ctx.fenced():
            self._save(state=RunState.STOPPED, finished_at=timezone.now(), error=described)
            if isinstance(error, StalePlan):
                self.run.plan.stale_reason = error.message[:500]
                self.run.plan.save(update_fields=["stale_reason"])
            self._migration_state(MigrationState.PLANNED)
            audit.record(
                "run:stopped",
                self.migration,
                actor=self.ctx.job.actor,
                data={"run": self.run.number, "error": described["code"]},
            )
        raise error

    def _undo(self, error: BaseException) -> dict[str, Any]:
        from .rollback import roll_back_now

        described = _described(error)
        self.ctx.log("error", described["message"])
        with self.ctx.fenced():
            self._save(error=described)  # whoever takes over from here goes on undoing
        if self.migration.is_rollback:
            self._needs_attention(described)
            raise RunFailed(
                self._message(), code="needs_attention", detail={"run": self.run.number}
            ) from error
        try:
            kept = roll_back_now(self.run, self.ctx)
        except (Exception, JobCancelled) as second:
            self.ctx.log("error", f"Rolling back failed: {_described(second)['message']}")
            self._needs_attention(described, second)
            raise RunFailed(
                self._message(), code="needs_attention", detail={"run": self.run.number}
            ) from error
        with self.ctx.fenced():
            target = self.migration.target.name
            undone = (
                f"Everything that was written has been undone; {target} was read and is as before the run."
            )
            message = f"{described['message']} {undone}"
            if kept:
                message = (
                    f"{described['message']} Undone, except for {', '.join(kept)}: used by others by now."
                )
            self._save(
                state=RunState.NEEDS_ATTENTION if kept else RunState.ROLLED_BACK,
                finished_at=timezone.now(),
                error={**described, "message": message},
            )
            self._migration_state(MigrationState.NEEDS_ATTENTION if kept else MigrationState.ROLLED_BACK)
            audit.record(
                "run:rolled_back",
                self.migration,
                actor=self.ctx.job.actor,
                data={"run": self.run.number, "error": described["code"]},
            )
        raise RunFailed(
            message, code=described["code"], remedy=described["remedy"], detail={"run": self.run.number}
        ) from error

    def _message(self) -> str:
        return str((self.run.error or {}).get("message", ""))

    def _needs_attention(self, described: dict[str, Any], second: BaseException | None = None) -> None:
        """Say exactly what is on the target, if it can be asked."""
        message = described["message"]
        written, unwritten = self.run.written, self.run.unwritten
        try:
            reading = fresh_reading(self.target, self.migration.target, self._target_ids())
            written, unwritten = self._compare(reading)
            message += (
                f" On {self.migration.target.name} now: {len(written)} as planned, {len(unwritten)} not."
            )
        except SupersetError as unreachable:
            message += f" {self.migration.target.name} cannot be asked what is there: {unreachable.message}"
        if second is not None:
            message += f" Rolling back failed as well: {_described(second)['message']}"
        with self.ctx.fenced():
            self._save(
                state=RunState.NEEDS_ATTENTION,
                finished_at=timezone.now(),
                written=written,
                unwritten=unwritten,
                error={
                    **described,
                    "message": message[:4000],
                    "remedy": "Look at the list, then roll back from the restore point or apply again.",
                },
            )
            self._migration_state(MigrationState.NEEDS_ATTENTION)
            audit.record(
                "run:needs_attention",
                self.migration,
                actor=self.ctx.job.actor,
                data={"run": self.run.number, "error": described["code"]},
            )

    # -- helpers
    # -----------------------------------------------------------------------------------------------------------

    @contextmanager
    def _step(self, name: str, title: str, intent: dict[str, Any] | None = None) -> Iterator[dict[str, Any]]:
        """A step with a row: its intent before, its result after. Cancelling is possible until the first write."""
        self.ctx.step(title, cancellable=not self.may_have_written)
        self.position += 1
        with self.ctx.fenced():
            row = RunStep.objects.create(
                run=self.run,
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
                {**result, "error": _described(error)["message"][:1000]},
                timezone.now(),
            )
            with self.ctx.fenced():
                row.save()
            raise
        row.state, row.result, row.finished_at = StepState.DONE, result, timezone.now()
        with self.ctx.fenced():
            row.save()
            Run.objects.filter(pk=self.run.pk).update(requests=self.requests)

    def _state(self, state: RunState, migration_state: MigrationState | None = None) -> None:
        with self.ctx.fenced():
            self._save(state=state)
            if migration_state is not None:
                self._migration_state(migration_state)

    def _save(self, **values: Any) -> None:
        for name, value in values.items():
            setattr(self.run, name, value)
        self.run.requests = self.requests
        with transaction.atomic():
            self.run.save(update_fields=[*values, "requests"])

    def _migration_state(self, state: MigrationState) -> None:
        self.migration.state = state
        self.migration.save(update_fields=["state", "updated_at"])

    def _count(self, record: RequestRecord) -> None:
        purpose = _purpose(record)
        self.requests[purpose] = self.requests.get(purpose, 0) + 1

    def _target_ids(self) -> dict[Kind, set[int]]:
        """Ids on the target of everything that the plan touches. A large target is not exported whole, and the
        inventory does not know what came since it was read: there the lists are asked as well.
        """
        uuids = {item.uuid for item in self.items}
        ids = inventory_ids(self.migration.target, uuids)
        if self.before is not None:
            for item in self.items:
                if (known := self.before.ids.id_of(item.kind, item.uuid)) is not None:
                    ids[item.kind].add(known)
        if _is_large(self.migration.target):
            rows = self._list({item.kind for item in self.items if item.action.writes})
            if self.before is None:
                self.listed = rows
            for kind, found in rows.items():
                ids[kind] |= {row.id for row in found if row.uuid in uuids}
        return ids

    def _list(self, kinds: Collection[Kind]) -> dict[Kind, list[Any]]:
        listing: dict[Kind, Callable[[], list[Any]]] = {
            Kind.DATASET: self.target.list_datasets,
            Kind.CHART: self.target.list_charts,
            Kind.DASHBOARD: self.target.list_dashboards,
        }
        return {kind: listing[kind]() for kind in DEPENDENCY_ORDER if kind in kinds}

    def _source_ids(self) -> dict[Kind, set[int]]:
        assert self.migration.source is not None
        return inventory_ids(self.migration.source, {item.row.uuid for item in self.items})

    def _summary(self) -> dict[str, Any]:
        return {
            "run": self.run.number,
            "state": self.run.state,
            "written": len(self.run.written),
            "verdicts": self.run.verdict_counts,
            "requests": self.requests,
        }


def fresh_reading(
    client: SupersetClient, environment: Environment, ids: Mapping[Kind, set[int]]
) -> EnvironmentReading:
    """Export now, believing no list: everything where the estate is small, else what is named with all it stands on."""
    if not _is_large(environment):
        return read_everything(client, environment, fresh=True)
    return read_selected(client, environment, ids)


def _is_large(environment: Environment) -> bool:
    total = environment.asset_total
    return total is not None and total > SMALL_ESTATE


def inventory_ids(environment: Environment, uuids: Collection[str]) -> dict[Kind, set[int]]:
    """The ids that assets have on an environment, as far as its inventory knows them."""
    ids: dict[Kind, set[int]] = {kind: set() for kind in Kind}
    rows = Asset.objects.filter(environment=environment).values_list("uuid", "kind", "superset_id")
    for uuid, kind, number in rows.iterator(chunk_size=5000):  # a plan may name more than a query takes
        if uuid in uuids:
            ids[Kind(kind)].add(number)
    return ids


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


def _side_by_side(jobs: list[Callable[[], T]]) -> list[T]:
    """Run calls to different Supersets at the same time; their results in order. The first error is raised
    after all ended.
    """
    if len(jobs) == 1:
        return [jobs[0]()]

    def isolated(job: Callable[[], T]) -> T:
        try:
            return job()
        finally:
            connections.close_all()  # of this thread

    with ThreadPoolExecutor(max_workers=len(jobs)) as pool:
        futures = [pool.submit(isolated, job) for job in jobs]
        return [future.result() for future in futures]


def _was_converted(wanted: Document | None, now: Document | None) -> bool:
    """Superset turned an obsolete chart type into its successor, as the plan said it would."""
    return (
        wanted is not None
        and now is not None
        and wanted.kind == Kind.CHART
        and wanted.body.get("viz_type") in CONVERTED_VIZ_TYPES
        and now.body.get("viz_type") != wanted.body.get("viz_type")
        and now.body.get("slice_name") == wanted.body.get("slice_name")
    )


def _described(error: BaseException) -> dict[str, Any]:
    expected = as_expected(error)
    if expected is None:
        return {
            "code": "unexpected",
            "message": f"An unexpected error: {type(error).__name__}.",
            "remedy": "The job's log and the server's log say more.",
        }
    return {
        "code": expected.code,
        "message": expected.message,
        "remedy": expected.remedy,
        **({"detail": expected.detail} if expected.detail else {}),
    }


def _recorded(error: Mapping[str, Any]) -> RunFailed:
    """What a run says went wrong, as an error again."""
    return RunFailed(
        str(error.get("message") or "The run did not end as planned."),
        code=str(error.get("code") or ""),
        remedy=str(error.get("remedy") or ""),
        detail=error.get("detail") or None,
    )


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


__all__ = ["SSToolsError", "apply_run", "fresh_reading"]
