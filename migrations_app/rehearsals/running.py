"""One rehearsal from its beginning to its end, within its job. Its plan, its run and its roll back are jobs of their
own, as of any migration; this one does them in its own process where no other worker is faster.

Safe to run again: what a worker before it began is found by the rehearsal's own row and by keys of requests.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.db import transaction
from django.utils import timezone

from environments.backups.models import Backup
from environments.canonical.documents import Documents
from environments.connections import connect
from environments.models import Environment
from environments.reading import read_everything
from environments.store import EnvironmentReading, load_snapshot
from migrations_app import gates
from migrations_app import services as migrations
from migrations_app.engine.plan import Answer
from migrations_app.models import OPEN_STATES, Migration, MigrationState, Pairing, Plan, Run, RunState
from migrations_app.restoring.services import create_restore, usual_carrying
from sstools.audit import services as audit
from sstools.errors import JobCancelled, NotAllowed, SSToolsError, as_expected
from sstools.jobs.models import Job, State
from sstools.jobs.runner import JobContext, run_job
from sstools.texts import counted

from . import notices
from .checking import compare, unlike, verdicts
from .models import Cleanup, Rehearsal, RehearsalState
from .services import begin, latest_good, must_be_scratch

LOOK_SECONDS = 1.0  # how often a job is looked at that another worker has, or that waits for a lock
PLANS = 5  # of one rehearsal: each answer makes another one
#: What is done about a conflict without asking, in this order: it is scratch, and all of it comes back.
ANSWERS = (Answer.TAKE, Answer.ADOPT)
STALE = "stale_plan"


class RehearsalFailed(SSToolsError):
    code, status = "rehearsal_failed", 409
    message = "The backup could not be restored as it is."


def rehearse(
    ctx: JobContext, *, environment: Environment, scratch: Environment, backup: Backup | None
) -> dict[str, Any]:
    """The work of the job. Raises RehearsalFailed, JobCancelled, and what planning and applying raise."""
    with ctx.fenced():
        row = begin(ctx.job, environment, scratch, backup or latest_good(environment))
    if row.is_ended:  # and the worker died before it could say so
        return _result(row)
    problem: Exception | None = None
    try:
        if row.roll_back is None:  # else a worker before was past that
            _restore(ctx, row)
    except Exception as exc:
        problem = exc
        _note_problem(ctx, row, exc)
    try:
        _take_away(ctx.without_cancel(), row)
    except Exception as exc:
        problem = problem or exc
        _note_problem(ctx, row, exc)
    with ctx.fenced():
        _end(row, is_cancelled=isinstance(problem, JobCancelled))
    if problem is not None:
        raise problem
    if row.error is not None:  # of a worker before
        raise RehearsalFailed(row.error["message"], code=row.error["code"], remedy=row.error["remedy"])
    return _result(row)


def _result(row: Rehearsal) -> dict[str, Any]:
    return {
        "rehearsal": row.number,
        "backup": row.backup_number,
        "state": row.state,
        "assets": row.compared,
        "charts": row.charts,
        "cleanup": row.cleanup,
    }


def _note_problem(ctx: JobContext, row: Rehearsal, exc: Exception) -> None:
    """The first thing that went wrong is why it failed. Raises what is a bug: the job then says so."""
    ctx.abandon_on_outage(exc)
    error = as_expected(exc)
    if error is None:
        error = SSToolsError(f"Unexpected: {type(exc).__name__}.", code="unexpected", remedy="Report it.")
    ctx.log("error", str(error))
    if row.error is None:
        row.error = error.as_dict()
        with ctx.fenced():
            row.save(update_fields=["error"])


# --- Restoring --------------------------------------------------------------------------------------------------------


def _restore(ctx: JobContext, row: Rehearsal) -> None:
    if row.backup is None:
        raise RehearsalFailed(
            f"{row.environment.name} has no good backup to rehearse.",
            code="no_backup",
            remedy="Take a backup first.",
        )
    must_be_scratch(row.scratch, row.environment)
    migration = _migration(ctx, row)
    for _ in range(PLANS):
        run = migration.runs.order_by("-number").first()
        if run is None or _was_stale(run):
            run = _apply(ctx, row, migration, _plan(ctx, row, migration))
        elif run.job is not None:
            _follow(ctx, run.job)
        run.refresh_from_db()
        if not _was_stale(run):  # else somebody edited the scratch environment between plan and run
            break
    assert run is not None
    with ctx.fenced():
        row.run = run
        row.save(update_fields=["run"])
    if run.state != RunState.APPLIED:
        error = run.error or {}
        raise RehearsalFailed(
            f"Run {run.number} ended otherwise: {run.get_state_display()}. {error.get('message', '')}".strip(),
            code=str(error.get("code") or "run_failed"),
            remedy="See the run.",
        )
    _prove(ctx, row, run)


def _was_stale(run: Run) -> bool:
    return run.state == RunState.STOPPED and (run.error or {}).get("code") == STALE


def _migration(ctx: JobContext, row: Rehearsal) -> Migration:
    if row.migration is not None:
        return row.migration
    assert row.backup is not None
    known = Migration.objects.filter(uuid=row.uuid).first()
    if known is None:
        usual = usual_carrying(row.backup, row.scratch, whole=True)
        with ctx.fenced():
            known = create_restore(
                row.backup,
                row.scratch,
                actor=_actor(ctx.job),
                title=f"Rehearsal {row.number}: backup {row.backup_number} in {row.scratch.name}",
                # Nobody is to get a mail or a warning of what is only there for practice.
                carrying={**usual, "reports": "off"},
                uuid=row.uuid,
                via=ctx.job.source,
            )
    row.migration = known
    with ctx.fenced():
        row.save(update_fields=["migration"])
    return known


def _plan(ctx: JobContext, row: Rehearsal, migration: Migration) -> Plan:
    """A plan that can be applied. Raises RehearsalFailed with what is in the way."""
    assert row.backup is not None
    for _ in range(PLANS):
        ctx.step(f"Planning what {row.backup_name} brings to {row.scratch.name}")
        _follow(ctx, migrations.request_plan(migration, actor=_actor(ctx.job), source=ctx.job.source))
        migration.refresh_from_db()
        plan = migration.plan
        if plan is None:
            continue  # somebody changed it meanwhile
        if not (_map(ctx, row, plan) or _answer(ctx, row, migration, plan)):
            _must_be_applicable(row, migration, plan)
            return plan
    raise RehearsalFailed(
        f"{migration} found no end of questions.", code="not_settled", remedy="See its plan."
    )


def _map(ctx: JobContext, row: Rehearsal, plan: Plan) -> bool:
    """Map what nobody mapped to the one connection that has all its tables, else to that of the same name. Returns
    whether there is a new mapping.
    """
    found: dict[str, str] = {}
    for entry in plan.databases:
        if entry["target"]:
            continue
        offered = [one for one in entry["suggestions"] if one["reached"]]
        fitting = [one for one in offered if one["tables_found"] == one["tables_needed"]]
        best = [one for one in fitting if one["score"] == fitting[0]["score"]]
        if not best:  # the same connection under the same uuid or name; the plan checks its tables
            best = [one for one in offered if one["uuid"] == entry["uuid"]]
            best = best or [one for one in offered if one["name"] == entry["name"]]
        if len(best) != 1:
            why = "several of its connections fit alike" if best else "no connection of it has all its tables"
            raise RehearsalFailed(
                f"Nobody said which connection of {row.scratch.name} stands for “{entry['name']}”, and {why}.",
                code="unmapped",
                remedy=f"Say so once, on the map of {plan.migration}; it is remembered for the two environments.",
            )
        found[entry["uuid"]] = best[0]["uuid"]
        _say(ctx, row, f"“{entry['name']}” was mapped to “{best[0]['name']}”: {best[0]['reason']}.")
    if found:
        with ctx.fenced():
            migrations.save_mapping(row.environment, row.scratch, actor=_actor(ctx.job), databases=found)
    return bool(found)


def _answer(ctx: JobContext, row: Rehearsal, migration: Migration, plan: Plan) -> bool:
    """Let the backup win every conflict that it can. Returns whether there are new answers."""
    answers: dict[str, str] = {}
    for item in plan.items.filter(action="blocked").exclude(conflict=None):
        options = list((item.conflict or {}).get("options") or ())
        chosen = next((one.value for one in ANSWERS if one.value in options), "")
        if chosen and item.uuid not in migration.answers:
            answers[item.uuid] = chosen
            _say(
                ctx,
                row,
                f"{item.kind.capitalize()} “{item.title}”: {(item.conflict or {})['text']} Answered: {chosen}.",
            )
    if answers:
        with ctx.fenced():
            migrations.answer_conflicts(migration, answers, actor=_actor(ctx.job))
    return bool(answers)


def _must_be_applicable(row: Rehearsal, migration: Migration, plan: Plan) -> None:
    row.present = int(plan.counts.get("unchanged", 0))
    row.companions = dict(plan.companion_counts)
    row.save(update_fields=["present", "companions"])
    if not plan.write_count:
        raise RehearsalFailed(
            f"{row.scratch.name} holds all of {row.backup_name} already: nothing would be restored.",
            code="nothing_to_restore",
            remedy="Empty it, or let the rehearsal before it be rolled back.",
        )
    if reason := migrations.why_not_applicable(migration):
        said = " ".join(str(one["text"]) for one in plan.errors[:3])
        raise RehearsalFailed(
            f"{reason} {said}".strip(), code="not_applicable", remedy=f"See the plan of {migration}."
        )
    if found := gates.obstacles(migration, plan):
        raise gates.closed(found)


def _apply(ctx: JobContext, row: Rehearsal, migration: Migration, plan: Plan) -> Run:
    ctx.step(f"Restoring {counted(plan.write_count, 'item')} to {row.scratch.name}")
    with ctx.fenced():
        job = migrations.request_apply(
            migration,
            plan_hash=plan.hash,
            actor=_actor(ctx.job),
            source=ctx.job.source,
            idempotency_key=f"rehearsal:{row.uuid}:{plan.hash[:12]}",
        )
    run = Run.objects.get(number=job.params["run"])
    row.run = run
    with ctx.fenced():
        row.save(update_fields=["run"])
    _follow(ctx, job)
    return run


# --- Looking ----------------------------------------------------------------------------------------------------------


def _prove(ctx: JobContext, row: Rehearsal, run: Run) -> None:
    """Read the scratch environment afresh and compare; count what the charts said. Raises RehearsalFailed."""
    ctx.step(f"Comparing {row.scratch.name} with {row.backup_name}")
    found = compare(row, run.plan, _read(ctx, row))
    row.compared, row.differences = dict(found.compared), found.differences
    row.charts = verdicts(run.verdict_counts)
    with ctx.fenced():
        row.save(update_fields=["compared", "differences", "charts"])
    if not found.is_equal:
        number = found.compared["different"] + found.compared["missing"]
        raise RehearsalFailed(
            f"{counted(number, 'asset is', 'assets are')} not as in {row.backup_name}.",
            code="not_equal",
            remedy="See what differs.",
        )
    if failed := row.charts.get("failed", 0):
        raise RehearsalFailed(
            f"{counted(failed, 'chart does', 'charts do')} not answer in {row.scratch.name}.",
            code="charts_fail",
            remedy=f"See what run {run.number} says of each. Charts that fail where they come from fail here as well.",
        )


def _read(ctx: JobContext, row: Rehearsal) -> EnvironmentReading:
    def still_mine(method: str, path: str) -> None:
        ctx.still_mine()

    with connect(row.scratch, before_request=still_mine) as client:
        return read_everything(client, row.scratch, fresh=True)


# --- Taking away ------------------------------------------------------------------------------------------------------


def _take_away(ctx: JobContext, row: Rehearsal) -> None:
    """Roll back what was written, and see that everything is as before. Raises RehearsalFailed where it is not."""
    run = row.run
    if run is not None:
        run.refresh_from_db()
    if row.roll_back is None and (run is None or run.state in (RunState.STOPPED, RunState.ROLLED_BACK)):
        undone = run is not None and run.state == RunState.ROLLED_BACK  # by itself, as it failed
        row.cleanup = Cleanup.CLEAN if undone else Cleanup.NOTHING
        _discard(row)
        return
    assert run is not None
    row.cleanup = Cleanup.LEFT  # until it is known better
    undo = row.roll_back
    if undo is None:
        with ctx.fenced():
            undo = migrations.create_rollback(run, actor=_actor(ctx.job))
            row.roll_back = undo
            row.save(update_fields=["roll_back", "cleanup"])
    if undo.state in OPEN_STATES:
        _roll_back(ctx, row, undo)
    undo.refresh_from_db()
    if undo.state != MigrationState.DONE:
        raise RehearsalFailed(
            f"What the rehearsal brought could not be taken away: {undo} is {undo.get_state_display()}.",
            code="not_cleaned_up",
            remedy=f"See {undo}.",
        )
    assert run.plan.target_snapshot is not None
    ctx.step(f"Seeing that {row.scratch.name} is as before")
    left = unlike(_before(run), _read(ctx, row).documents)
    if left:
        row.differences = [*row.differences, *left]
        raise RehearsalFailed(
            f"{counted(len(left), 'asset')} of {row.scratch.name} {'is' if len(left) == 1 else 'are'} not as before.",
            code="not_cleaned_up",
            remedy="See what is left.",
        )
    # What was adopted was so for practice only.
    between = Pairing.objects.filter(source=row.environment, target=row.scratch)
    between.filter(created_at__gte=row.started_at).delete()
    row.cleanup = Cleanup.CLEAN


def _before(run: Run) -> Documents:
    assert run.plan.target_snapshot is not None
    return load_snapshot(run.plan.target_snapshot).documents


def _roll_back(ctx: JobContext, row: Rehearsal, undo: Migration) -> None:
    for _ in range(PLANS):
        ctx.step(f"Taking away what was brought to {row.scratch.name}")
        _follow(ctx, migrations.request_plan(undo, actor=_actor(ctx.job), source=ctx.job.source))
        undo.refresh_from_db()
        plan = undo.plan
        if plan is not None and not _answer(ctx, row, undo, plan):
            break
    else:
        return
    if reason := migrations.why_not_applicable(undo):
        raise RehearsalFailed(
            f"What the rehearsal brought could not be taken away: {reason}",
            code="not_cleaned_up",
            remedy=f"See {undo}.",
        )
    with ctx.fenced():
        job = migrations.request_apply(
            undo,
            plan_hash=plan.hash,
            actor=_actor(ctx.job),
            source=ctx.job.source,
            idempotency_key=f"rehearsal:{row.uuid}:back",
        )
    _follow(ctx, job)


def _discard(row: Rehearsal) -> None:
    """A plan that nobody will apply is no open work."""
    if row.migration is not None:
        Migration.objects.filter(pk=row.migration.pk, state__in=OPEN_STATES).update(
            state=MigrationState.DISCARDED
        )


# --- The end ----------------------------------------------------------------------------------------------------------


def _end(row: Rehearsal, *, is_cancelled: bool) -> None:
    """Write down what came of it, and tell; in the transaction of the caller."""
    if row.error is None:
        row.state = RehearsalState.PASSED
    else:
        row.state = RehearsalState.CANCELLED if is_cancelled else RehearsalState.FAILED
    row.ended_at = timezone.now()
    row.save()
    data = {"backup": row.backup_number, "state": row.state, "cleanup": row.cleanup, "error": row.error}
    audit.record(
        "rehearsal:end", row, actor=row.created_by, data=data, source=row.job.source if row.job else ""
    )
    if row.state == RehearsalState.FAILED:
        notices.tell(row)


@transaction.atomic
def job_ended(job: Job) -> None:
    """A job that ended without its handler (cancelled before its start, worker lost too often) ends its rehearsal."""
    row = Rehearsal.objects.select_related("run", "job", "environment", "scratch").filter(job=job).first()
    if row is None or row.is_ended:
        return
    written = row.run is not None and row.run.state not in (RunState.STOPPED, RunState.ROLLED_BACK)
    row.cleanup = Cleanup.LEFT if written else Cleanup.NOTHING
    row.error = (
        row.error or job.error or {"code": job.state, "message": "It ended before its end.", "remedy": ""}
    )
    if written and row.run is not None:
        row.error = {**row.error, "remedy": f"Roll run {row.run.number} back: what it wrote is still there."}
    _end(row, is_cancelled=job.state == State.CANCELLED)


# --- Helpers ----------------------------------------------------------------------------------------------------------


def _follow(ctx: JobContext, job: Job) -> Job:
    """Do a job here, or wait for the worker that has it. Raises RehearsalFailed if it does not succeed."""
    while True:
        job.refresh_from_db()
        if job.is_finished:
            break
        if job.state != State.QUEUED or run_job(str(job.uuid)) == "nothing to claim":
            ctx.wait(LOOK_SECONDS, cancellable=False)
        ctx.checkpoint(cancellable=False)
    ctx.checkpoint()
    if job.state != State.SUCCEEDED and job.kind != migrations.APPLY:  # a run says itself what became of it
        error = job.error or {}
        raise RehearsalFailed(
            str(error.get("message") or f"{job} was {job.get_state_display()}."),
            code=str(error.get("code") or "job_failed"),
            remedy=str(error.get("remedy") or ""),
        )
    return job


def _say(ctx: JobContext, row: Rehearsal, text: str) -> None:
    """What was decided without asking is in the report."""
    ctx.log("info", text)
    if text not in row.notes:
        row.notes = [*row.notes, text]
        with ctx.fenced():
            row.save(update_fields=["notes"])


def _actor(job: Job) -> Any:
    """Who asked, with the rights of this moment."""
    actor = get_user_model()._default_manager.filter(pk=job.actor_id).first() if job.actor_id else None
    if actor is None:
        raise NotAllowed("Whoever asked for this is no longer a user here.")
    return actor
