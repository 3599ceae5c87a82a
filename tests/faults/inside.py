"""What a forked worker does, in a process of its own with the database it is told. Arguments and answers are JSON.

Only the times are other than in production: pauses between looks and retries are short, and in the points where a
client has to give up waiting it does so after seconds.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

READ_SECONDS, IMPORT_SECONDS = 30, 60  # while nothing goes wrong; a machine may be busy
#: Seconds between looks at a target (patience.py), shorter than what is waited for in proxy.py.
PAUSES = (0.1, 0.2, 0.4, 0.8)

_FUNCTIONS: dict[str, Callable[..., Any]] = {}


def function(wrapped: Callable[..., Any]) -> Callable[..., Any]:
    _FUNCTIONS[wrapped.__name__] = wrapped
    return wrapped


def prepare_process() -> None:
    """Once, before the first fork: load what every worker needs, and shorten the pauses."""
    import migrations_app.applying
    from environments.superset import transport
    from migrations_app import services, tasks, verification  # noqa: F401
    from migrations_app.applying import patience
    from tests.live import product  # noqa: F401

    transport.BACKOFF_SECONDS = 0.05
    shortened = 0
    for found in pkgutil.iter_modules(migrations_app.applying.__path__, "migrations_app.applying."):
        module: Any = importlib.import_module(found.name)
        if hasattr(module, "PAUSES") and module.PAUSES == patience.PAUSES:
            module.PAUSES = PAUSES
            shortened += 1
    if not shortened:
        raise RuntimeError("Where are the pauses between looks? A sweep with real ones takes days.")


def run(name: str, database: str, arguments: dict[str, Any]) -> Any:
    from django.db import connections

    connections["default"].settings_dict["NAME"] = database
    try:
        return _FUNCTIONS[name](**arguments)
    finally:
        connections.close_all()


# --- Before the first point ---------------------------------------------------------------------------------------


@function
def migrate() -> None:
    from django.core.management import call_command
    from django.db import connection

    call_command("migrate", verbosity=0, interactive=False)
    if connection.vendor == "sqlite":
        # Copies are made of the file alone.
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@function
def register(superset: dict[str, Any], slug: str, url: str) -> None:
    """An environment at `url` (the proxy's), tested and read."""
    from environments.lab.instance import RunningSuperset
    from environments.models import Environment

    instance = RunningSuperset.from_dict({**superset, "url": url})
    environment = _product().register(slug, instance, max_parallel=2, protected=False)
    Environment.objects.filter(pk=environment.pk).update(
        read_timeout_seconds=READ_SECONDS, import_timeout_seconds=IMPORT_SECONDS
    )


@function
def refresh(slugs: list[str]) -> None:
    for slug in slugs:
        _product().refresh(_environment(slug))


@function
def draft(selection: list[str], verify: bool) -> int:
    """A migration of these assets from "source" to "target" with every connection mapped; its number."""
    product, source, target = _product(), _environment("source"), _environment("target")
    migration = product.migrate(source, target, selection, verify=verify)
    assert migration.plan is not None
    assert not migration.plan.errors, migration.plan.errors
    return int(migration.number)


@function
def apply_now(migration: int) -> None:
    from migrations_app.models import Migration

    _product().apply(Migration.objects.get(number=migration))


@function
def draft_roll_back(migration: int) -> int:
    """A migration that takes back the last run of this one, not yet planned; its number."""
    from migrations_app import services
    from migrations_app.models import Run

    run = Run.objects.filter(migration=migration).latest("number")
    return int(services.create_rollback(run, actor=_product().admin).number)


@function
def ask_for(what: str, migration: int) -> str:
    """The uuid of a job that waits to be run: "plan" or "apply"."""
    from migrations_app import services
    from migrations_app.models import Migration

    actor, row = _product().admin, Migration.objects.get(number=migration)
    if what == "plan":
        return str(services.request_plan(row, actor=actor).uuid)
    assert row.plan is not None, "no plan"
    return str(services.request_apply(row, plan_hash=row.plan.hash, actor=actor).uuid)


# --- A point ------------------------------------------------------------------------------------------------------


@function
def run_job(
    job: str, kill_at: list[Any] | None = None, timeouts: tuple[int, int] | None = None
) -> dict[str, Any]:
    """Do the job as a worker does. `kill_at`: (what is committed, which time, "before" or "after"). `timeouts` of the
    environments, in seconds: for reads, for imports.
    """
    from environments.models import Environment
    from sstools.jobs import runner

    if timeouts:
        Environment.objects.update(read_timeout_seconds=timeouts[0], import_timeout_seconds=timeouts[1])
    with counting_commits(tuple(kill_at) if kill_at else None) as commits:
        said = runner.run_job(job)
    return {"said": said, "commits": [list(key) for key in commits]}


@function
def take_over(job: str, lost_seconds_ago: float, kill_at: list[Any] | None = None) -> dict[str, Any]:
    """The next worker, after the lease of the lost one is over."""
    from django.utils import timezone

    from environments.models import Slot
    from sstools.jobs.models import Job, State

    over = timezone.now() - timedelta(seconds=max(0.001, lost_seconds_ago))
    Job.objects.filter(uuid=job, state=State.RUNNING).update(lease_until=over)
    Slot.objects.exclude(holder="").update(
        until=over
    )  # the lost worker's; they are shorter than a job's lease
    answer: dict[str, Any] = run_job(job, kill_at=kill_at)
    return answer


@function
def look_after(job: str) -> int:
    """What supervisors do when a run could not say what it left: it is looked at again. How many looks it took."""
    from django.db.models import Q

    from migrations_app.leftovers import LOOK
    from sstools.jobs import runner, services
    from sstools.jobs.models import Job, State

    number = Job.objects.get(uuid=job).params.get("run")
    looks = 0
    waiting = Q(state=State.QUEUED) | Q(state=State.NEEDS_INPUT)
    while looks < 5 and (
        found := Job.objects.filter(waiting, kind=LOOK).filter(params__run=number).order_by("pk").first()
    ):
        if found.state == State.NEEDS_INPUT:
            services.wake(found)
        runner.run_job(str(found.uuid))
        looks += 1
    return looks


@function
def be_patient() -> None:
    from environments.models import Environment

    Environment.objects.update(read_timeout_seconds=READ_SECONDS, import_timeout_seconds=IMPORT_SECONDS)


@function
def read(slug: str) -> dict[str, list[str]]:
    """uuid -> (kind, title, fingerprint) of all that is there: exported now, past everything that is stored."""
    from environments.canonical.comparison import comparison_fingerprint
    from environments.canonical.documents import Kind

    reading = _product().read(_environment(slug))
    assert reading.complete
    return {
        uuid: [
            document.kind.value,
            document.title,
            document.fingerprint if document.kind == Kind.DATABASE else comparison_fingerprint(document),
        ]
        for uuid, document in reading.documents.items()
    }


@function
def inspect(job: str) -> dict[str, Any]:
    """All that ss-tools says about a job and what it worked on."""
    from environments.canonical.comparison import comparison_fingerprint
    from environments.store import get_documents
    from migrations_app.models import Migration, Run
    from sstools.jobs.models import Job, JobLock, JobLog

    row = Job.objects.get(uuid=job)
    number = row.params.get("run")
    run = Run.objects.select_related("migration", "plan").get(number=number) if number else None
    migration = run.migration if run else Migration.objects.get(uuid=row.params["migration"])
    plan = run.plan if run else migration.plan
    items = []
    for item in plan.items.all() if plan is not None else ():
        wanted = get_documents([item.wanted_id])[item.wanted_id] if item.wanted_id else None
        items.append(
            {
                "uuid": item.target_uuid,
                "kind": item.kind,
                "title": item.title,
                "action": item.action,
                "wanted": comparison_fingerprint(wanted) if wanted is not None else "",
            }
        )
    return {
        "job": {
            "state": row.state,
            "error": row.error,
            "question": row.question,
            "result": row.result,
            "losses": row.losses,
        },
        "run": _told(run) if run else None,
        "undone_by": [_told(undo) for undo in Run.objects.filter(migration__rolls_back=run)] if run else [],
        "migration": {"number": migration.number, "state": migration.state},
        "plan": {"hash": plan.hash, "items": items} if plan is not None else None,
        "locks": [str(lock.resource) for lock in JobLock.objects.all()],
        "unfinished_runs": list(Run.objects.unfinished().values_list("number", flat=True)),
        "log": [
            [line.level, line.text, line.fields] for line in JobLog.objects.filter(job=row).order_by("seq")
        ],
    }


def _told(run: Any) -> dict[str, Any]:
    return {
        "number": run.number,
        "state": run.state,
        "error": run.error,
        "written": run.written,
        "unwritten": run.unwritten,
        "steps": [[step.name, step.title, step.state, step.result] for step in run.steps.all()],
    }


@function
def roll_back_last(job: str) -> dict[str, Any]:
    """What the page offers for a run in need of attention: a roll back from its restore point, planned and applied."""
    from migrations_app import services
    from migrations_app.models import Run
    from sstools.jobs.models import Job

    product = _product()
    run = Run.objects.get(number=Job.objects.get(uuid=job).params["run"])
    rollback = services.create_rollback(run, actor=product.admin)
    plan = product.plan(rollback)
    rollback.refresh_from_db()
    if plan.blocked_count:
        answers = {
            item.uuid: "take" if "take" in (item.conflict or {}).get("options", ()) else "keep"
            for item in plan.items.filter(action="blocked")
        }
        plan = product.answer(rollback, answers)
    if not plan.write_count:
        return {"state": "nothing to do"}
    run = product.apply(rollback)
    return {"state": run.state, "error": run.error}


@function
def plan_and_apply_again(migration: int) -> dict[str, Any]:
    """The same selection once more, as somebody does who read that a run stopped or was undone."""
    from migrations_app.models import Migration

    product = _product()
    row = Migration.objects.get(number=migration)
    assert row.source is not None
    again = product.migrate(row.source, row.target, row.selection, verify=False)
    assert again.plan is not None
    if not again.plan.write_count:
        return {"state": "nothing to do"}
    run = product.apply(again)
    return {"state": run.state, "error": run.error}


# --- Commits ------------------------------------------------------------------------------------------------------


@contextmanager
def counting_commits(kill_at: tuple[Any, ...] | None) -> Iterator[list[tuple[str, int]]]:
    """Notes what each commit of this thread writes, and dies before or after the one of `kill_at`.

    A commit is known by the tables it writes to, in order, and by how often the same came before. Without a transaction
    each statement is one. Heartbeats have a thread and a connection of their own and are not counted.
    """
    from django.db import connection
    from django.db.backends.base.base import BaseDatabaseWrapper

    wrapper: Any = BaseDatabaseWrapper  # its private parts have no types
    here = threading.get_ident()
    written: list[str] = []
    seen: dict[str, int] = {}
    commits: list[tuple[str, int]] = []

    def happens(what: str, commit: Callable[[], Any]) -> Any:
        nth = seen[what] = seen.get(what, 0) + 1
        commits.append((what, nth))
        if kill_at == (what, nth, "before"):
            os.kill(os.getpid(), signal.SIGKILL)
        answer = commit()
        if kill_at == (what, nth, "after"):
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    def statement(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        table = _written_to(sql)
        if not table:
            return execute(sql, params, many, context)
        if not connection.in_atomic_block:
            return happens(table, lambda: execute(sql, params, many, context))
        if not written or written[-1] != table:
            written.append(table)
        return execute(sql, params, many, context)

    commit, roll_back = wrapper._commit, wrapper._rollback

    def counted(self: Any) -> Any:
        if threading.get_ident() != here or not written:
            return commit(self)
        what = " ".join(dict.fromkeys(written))
        written.clear()
        return happens(what, lambda: commit(self))

    def forgotten(self: Any) -> Any:
        if threading.get_ident() == here:
            written.clear()
        return roll_back(self)

    wrapper._commit, wrapper._rollback = counted, forgotten
    try:
        with connection.execute_wrapper(statement):
            yield commits
    finally:
        wrapper._commit, wrapper._rollback = commit, roll_back


def _written_to(sql: str) -> str:
    """ "insert:jobs_joblog" of a statement that writes, "" of any other."""
    words = sql.split(None, 5)
    verb = words[0].upper() if words else ""
    if verb == "INSERT":
        table = words[2 if words[1].upper() == "INTO" else 4]  # INSERT OR IGNORE INTO
    elif verb == "UPDATE":
        table = words[1]
    elif verb == "DELETE":
        table = words[2]
    else:
        return ""
    return f"{verb.lower()}:{table.strip(chr(34))}"


# --- Helpers ------------------------------------------------------------------------------------------------------


def _product() -> Any:
    from django.contrib.auth import get_user_model

    from tests.live.product import Product

    user = get_user_model().objects.filter(username="root").first()
    if user is None:
        return Product()
    product = Product.__new__(Product)
    product.admin = user
    return product


def _environment(slug: str) -> Any:
    from environments.models import Environment

    return Environment.objects.get(slug=slug)
