"""What is tried where, and one point from its beginning to its verdict.

A situation is a piece of work that is asked for and not yet begun: its target (kept in ground.py), its ss-tools
database (copied for each point), and the requests and commits that it takes when nothing goes wrong.
"""

from __future__ import annotations

import shutil
import tempfile
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from environments.lab.errors import LabError

from . import judge
from .estates import EDITABLE, edit
from .proxy import (
    EDITED,
    FAULTS_OF_READS,
    FAULTS_OF_WRITES,
    IMPATIENT,
    IMPATIENT_TIMEOUTS,
    REFUSAL,
    TIMEOUTS,
    Key,
)
from .stage import Stage
from .worker import Killed, Stem, WorkerFailed

MOST_LOSSES = 4  # of workers in one point; the product gives up after five
QUICK_SECONDS = 2.0  # the small estate is moved in one; slower machines get longer timeouts
Commit = tuple[str, int]


@dataclass(frozen=True)
class Point:
    """One thing that goes wrong: at a request, or at a commit of the worker."""

    situation: str
    fault: str
    key: Key | None = None
    commit: Commit | None = None

    def __str__(self) -> str:
        where = str(self.key) if self.key else f"commit {self.commit[0]} #{self.commit[1]}"  # type: ignore[index]
        return f"{self.situation}: {self.fault} at {where}"


@dataclass
class Situation:
    """`expected`: how it ends when nothing goes wrong. `base`: what goes wrong in any case.
    `before`, `after`: the target (uuid -> kind, title, fingerprint) at its beginning and when all of it was done.
    """

    name: str
    what: str  # "plan" or "apply"
    ground: str
    database: str
    job: str
    migration: int
    base: dict[Key, str] = field(default_factory=dict)
    keys: list[Key] = field(default_factory=list)
    commits: list[Commit] = field(default_factory=list)
    before: judge.Target = field(default_factory=dict)
    after: judge.Target = field(default_factory=dict)
    planned: set[str] = field(default_factory=set)  # uuids of the charts and dashboards that are written
    plan_hash: str = ""
    done: str = ""  # the database after it was done once
    seconds: float = 0.0


@dataclass
class Tried:
    point: Point
    outcome: str
    problems: list[str]
    fired: bool
    seconds: float
    said: str = ""

    def row(self) -> dict[str, Any]:
        return {
            "point": str(self.point),
            "situation": self.point.situation,
            "fault": self.point.fault,
            "outcome": self.outcome,
            "problems": self.problems,
            "fired": self.fired,
            "seconds": round(self.seconds, 1),
            "said": self.said,
        }


class Databases:
    """Databases of ss-tools: files, or databases of one PostgreSQL server."""

    def __init__(self, folder: Path, postgres: str) -> None:
        self.folder, self.postgres = folder, postgres

    def new(self) -> str:
        name = f"faults_{uuid.uuid4().hex[:12]}"
        if not self.postgres:
            return str(self.folder / f"{name}.sqlite3")
        self._sql(f'create database "{name}"')
        return name

    def copy(self, original: str, name: str = "") -> str:
        """Nobody may be connected to the original."""
        if self.postgres:
            name = name or f"faults_{uuid.uuid4().hex[:12]}"
            self._sql(f'drop database if exists "{name}" with (force)')
            self._sql(f'create database "{name}" template "{original}" strategy file_copy')
            return name
        path = self.folder / f"{name or uuid.uuid4().hex}.sqlite3"
        for ending in ("", "-wal", "-shm"):
            Path(f"{path}{ending}").unlink(missing_ok=True)
            if Path(f"{original}{ending}").exists():
                shutil.copyfile(f"{original}{ending}", f"{path}{ending}")
        return str(path)

    def _sql(self, statement: str) -> None:
        import psycopg

        with psycopg.connect(self.postgres, autocommit=True) as connection:
            connection.execute(statement)


class Bench:
    """A stage with an ss-tools, its workers, and situations that have been prepared. A context manager.

    `postgres`: the address of a server for the databases of ss-tools; "" for SQLite.
    """

    def __init__(
        self, stage: Stage, *, postgres: str = "", say: Callable[[str], None] = lambda text: None
    ) -> None:
        self.stage, self._stack, self._say = stage, ExitStack(), say
        self.script, self.ground = stage.script, stage.ground
        self.folder = Path(tempfile.mkdtemp(prefix="ss-tools-faults-"))
        self._tag = f"{'postgres' if postgres else 'sqlite'}_{self.folder.name[-6:]}"
        self._stack.callback(shutil.rmtree, self.folder, True)
        try:
            self._prepare(postgres)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._stack.close()

    # -- before the first point ---------------------------------------------------------------------

    def _prepare(self, postgres: str) -> None:
        self.stem = Stem(self.folder, postgres=postgres)
        self._stack.callback(self.stem.close)
        self.databases = Databases(self.folder, postgres)
        self.situations: dict[str, Situation] = {}
        self._states: dict[str, judge.Target] = {}
        estate, stage = self.stage.estate, self.stage
        self.script.begin()
        stage.source_ground.restore("first")
        self.ground.restore("first")

        database = self.databases.new()
        do = self._do(database)
        do("migrate")
        do("register", superset=asdict(estate.source), slug="source", url=stage.source.url)
        do("register", superset=asdict(estate.target), slug="target", url=stage.target.url)
        do("register", superset=asdict(estate.target), slug="judge", url=estate.target.url)
        do("apply_now", migration=do("draft", selection=estate.first, verify=False))
        stage.source_ground.restore("then")
        do("refresh", slugs=["source", "target", "judge"])
        before, applied = f"before_{self._tag}", f"applied_{self._tag}"
        self.ground.keep(before)
        number = do("draft", selection=estate.selection, verify=True)
        time.sleep(2.5)  # as in stage.py
        plan = self._situation("plan", "plan", before, database, number)
        forward = self._situation("forward", "apply", before, plan.done, number)
        self.pace = min(4.0, max(1.0, forward.seconds / QUICK_SECONDS))
        self.ground.keep(applied)
        self._undo(forward)
        self.ground.restore(applied)
        number = self.stem.do("draft_roll_back", forward.done, migration=number)
        back_plan = self._situation("back_plan", "plan", applied, forward.done, number)
        self._situation("back", "apply", applied, back_plan.done, number)

    def _do(self, database: str) -> Callable[..., Any]:
        return lambda name, **arguments: self.stem.do(name, database, **arguments)

    def _situation(self, name: str, what: str, ground: str, database: str, migration: int) -> Situation:
        """Asks for the work, keeps the database, and does it once with nothing going wrong."""
        self.ground.restore(ground)
        base = self.databases.copy(database, f"base_{name}_{self._tag}")
        job = self.stem.do("ask_for", base, what=what, migration=migration)
        situation = Situation(name, what, ground, base, job, migration)
        self._record(situation)
        self.situations[name] = situation
        return situation

    def _record(self, situation: Situation) -> None:
        situation.before = self._target(situation.database)
        database = self._fresh(situation.database)
        started = time.monotonic()
        self.script.begin(situation.base)
        done = self.stem.do("run_job", database, job=situation.job, on_start=self.script.worker)
        situation.seconds = time.monotonic() - started
        situation.keys = self.script.keys()
        situation.commits = [(what, nth) for what, nth in done["commits"]]
        facts = self.stem.do("inspect", database, job=situation.job)
        situation.after = self._target(database)
        situation.plan_hash = facts["plan"]["hash"]
        situation.planned = {
            item["uuid"]
            for item in facts["plan"]["items"]
            if item["kind"] in EDITABLE and item["action"] in ("create", "update", "remove")
        }
        wanted = "failed" if situation.base else "succeeded"
        if facts["job"]["state"] != wanted:
            raise AssertionError(f"{situation.name} without a fault: {facts['job']}\n{facts['log'][-20:]}")
        situation.done = self.databases.copy(database, f"done_{situation.name}_{self._tag}")
        self._say(
            f"{situation.name}: {len(situation.keys)} requests, {len(situation.commits)} commits,"
            f" {situation.seconds:.1f} s"
        )

    def _undo(self, forward: Situation) -> None:
        """The last import is refused, so the run takes back what the imports before it wrote."""
        imports = [key for key in forward.keys if key.writes and "/import/" in key.path]
        situation = Situation(
            "undo",
            "apply",
            forward.ground,
            forward.database,
            forward.job,
            forward.migration,
            base={imports[-1]: REFUSAL},
        )
        self.ground.restore(forward.ground)
        self._record(situation)
        first = situation.keys.index(imports[-1])
        situation.keys = situation.keys[first + 1 :]
        same = sum(1 for one, other in zip(situation.commits, forward.commits, strict=False) if one == other)
        situation.commits = situation.commits[same:]
        situation.after = forward.after
        self.situations["undo"] = situation

    def _fresh(self, database: str) -> str:
        return self.databases.copy(database, f"point_{self._tag}")

    def _target(self, database: str) -> judge.Target:
        """What the target shows, exported past the proxy; exported once for each state of its metadata."""
        digest = self.ground.digest()
        if digest not in self._states:
            copy = self.databases.copy(database, f"judge_{self._tag}")
            told = self.stem.do("read", copy, slug="judge")
            self._states[digest] = {key: judge.Asset(*entry) for key, entry in told.items()}
        return self._states[digest]

    # -- points -------------------------------------------------------------------------------------

    def points_at_requests(self, name: str) -> list[Point]:
        """Every request of a situation with every fault that applies to it."""
        return [
            Point(name, fault, key=key)
            for key in self.situations[name].keys
            for fault in (FAULTS_OF_WRITES if key.writes else FAULTS_OF_READS)
        ]

    def points_at_commits(self, name: str) -> list[Point]:
        """Death before and after every commit."""
        return [
            Point(name, f"kill_{when}_commit", commit=commit)
            for commit in self.situations[name].commits
            for when in ("before", "after")
        ]

    def points_at_steps(self, name: str) -> list[Point]:
        """Death at every commit that says more than a line of the log: before every other of them, after the rest."""
        commits = [
            commit
            for commit in self.situations[name].commits
            if commit[0] not in ("update:jobs_job", "update:jobs_job insert:jobs_joblog")
        ]
        return [
            Point(name, f"kill_{('after', 'before')[position % 2]}_commit", commit=commit)
            for position, commit in enumerate(commits)
        ]

    def try_point(self, point: Point) -> Tried:
        started = time.monotonic()
        try:
            case = self.run_point(point)
        except (WorkerFailed, Killed, TimeoutError, LabError) as error:
            text = f"{type(error).__name__}: {str(error)[-1500:]}"
            return Tried(point, "no end", [text], True, time.monotonic() - started)
        outcome, problems = judge.judge(case)
        if not problems and outcome == judge.ATTENTION:
            problems += self._follow_the_remedy(case)
        said = str((case.facts["job"]["error"] or {}).get("message", ""))
        return Tried(point, outcome, problems, case.fired, time.monotonic() - started, said)

    def run_point(self, point: Point) -> judge.Case:
        """From a restored target to everything that is known at the end."""
        situation = self.situations[point.situation]
        self.ground.restore(situation.ground)
        self.stage.wait_until_listening()
        database = self._fresh(situation.database)
        edited: set[str] = set()
        faults = {**situation.base, **({point.key: point.fault} if point.key else {})}
        self.script.begin(faults, on_fault=lambda: self._edit({self.stage.estate.theirs}, edited))
        losses = self._work(point, situation, database, edited)
        self.script.wait_until_quiet()
        if self.script.broken is not None:
            raise self.script.broken
        self.stage.wait_until_listening()
        self.script.worker(None)
        looks = self.stem.do("look_after", database, job=situation.job) if situation.what == "apply" else 0
        facts = self.stem.do("inspect", database, job=situation.job)
        return judge.Case(
            situation=situation,
            point=point,
            database=database,
            fired=bool(losses) if point.commit else self.script.fired > len(situation.base),
            facts=facts,
            looks=looks,
            target=self._target(database),
            changed=self.ground.changed(situation.ground),
            calls=list(self.script.calls),
            connections_before=self.ground.rows("dbs", kept=situation.ground),
            connections_after=self.ground.rows("dbs"),
            texts={
                row["uuid"]: row[place.field] or ""
                for place in EDITABLE.values()
                for row in self.ground.rows(place.table)
            },
            theirs=self.stage.estate.theirs,
            edited=edited,
            secrets=set(self.script.secrets),
        )

    def _edit(self, uuids: set[str], edited: set[str]) -> None:
        """A colleague writes something into these charts and dashboards of the target, as far as they are there."""
        for kind in EDITABLE:
            for row in self.ground.rows(EDITABLE[kind].table):
                if row["uuid"] in uuids:
                    edit(self.stage.colleague, kind, row["id"])
                    edited.add(row["uuid"])

    def _work(self, point: Point, situation: Situation, database: str, edited: set[str]) -> int:
        """Do the job, with as many workers as it takes; how many were lost."""
        arguments: dict[str, Any] = {"job": situation.job}
        timeouts = IMPATIENT_TIMEOUTS if point.fault in IMPATIENT else TIMEOUTS
        arguments["timeouts"] = [round(seconds * self.pace) for seconds in timeouts]
        if point.commit:
            arguments["kill_at"] = [*point.commit, point.fault.split("_")[1]]
        losses = 0
        name = "run_job"
        while True:
            try:
                self.stem.do(name, database, on_start=self.script.worker, **arguments)
                return losses
            except Killed:
                losses += 1
                if losses > MOST_LOSSES:
                    raise
            if point.fault in EDITED:
                self._edit(situation.planned, edited)
            # A request of the dead may be on its way still; everything else may as well have died long ago.
            ago = 0.0 if point.fault.endswith("_late") else 7200.0
            name, arguments = "take_over", {"job": situation.job, "lost_seconds_ago": ago}

    def _follow_the_remedy(self, case: judge.Case) -> list[str]:
        """What the page offers must work: a roll back from the restore point leaves the target as it was before."""
        situation, database = case.situation, case.database
        if situation.name.startswith("back") or case.point.fault in EDITED:
            return []  # there somebody has to decide
        self.script.begin()
        self.stem.do("be_patient", database)
        try:
            ended = self.stem.do("roll_back_last", database, job=situation.job)
        except WorkerFailed as error:
            return [f"the roll back that is offered failed: {str(error)[-600:]}"]
        if ended["state"] not in ("applied", "nothing to do"):
            return [f"the roll back that is offered ended {ended}"]
        case.target = self._target(database)
        return judge.differences(situation.before, judge.without_theirs(case), "after the roll back offered")
