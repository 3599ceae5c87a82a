"""Rolling a run back within the same job, when it failed after its first write."""

from __future__ import annotations

from environments.canonical.documents import Document, Documents
from environments.store import get_documents
from environments.superset.errors import AmbiguousWrite
from sstools.jobs.runner import JobContext
from sstools.texts import counted

from .engine.companions import WRITTEN_APART, beside
from .engine.conflicts import ConflictCode
from .errors import RunFailed, StalePlan
from .models import Migration, MigrationState, Plan, Run, RunState
from .planning import make_plan, same_for_comparison

#: Plans of one roll back: what stays because somebody edited it may keep what it stands on in turn.
PLANS = 4
#: How often a roll back is begun anew, from what is there then: somebody edited the target meanwhile, or it was away.
TRIES = 3
BLOCKED = "rollback_blocked"


def roll_back_now(run: Run, ctx: JobContext, left: Documents | None = None) -> list[str]:
    """Plan and apply the roll back of an unfinished run. Returns the names of assets that others use or edited
    by now, and that stay.

    `left`: what the run is known to have left on the target; None if that is not known, and nobody can have edited it.
    Goes on with a roll back that a lost worker began. Raises what planning and applying raise; the roll back's own run
    then says what it did.
    """
    ctx = ctx.without_cancel()  # half undone helps nobody
    ctx.log("warning", f"Rolling back run {run.number} from its restore point.")
    for last in (*[False] * (TRIES - 1), True):
        try:
            return _roll_back(run, ctx, left)
        except (StalePlan, RunFailed, AmbiguousWrite) as error:
            if last or error.code == BLOCKED:
                raise
            ctx.log("warning", f"{error.message} The roll back is planned again, from what is there now.")
    raise AssertionError("the last try returns or raises")


def _roll_back(run: Run, ctx: JobContext, left: Documents | None) -> list[str]:
    from .applying import apply_run
    from .applying.patience import wait_for

    rollback = run.rollbacks.filter(job=ctx.job).order_by("-number").first()
    if rollback is not None and not rollback.is_open:  # an attempt before came this far
        undo = rollback.runs.first()
        if undo is not None and not undo.is_finished:
            apply_run(undo, ctx)
            undo.refresh_from_db()
        if rollback.plan is not None and (undo is None or undo.state == RunState.APPLIED):
            return _kept(rollback.plan)
        rollback = None
    if rollback is None:
        rollback = _begin(run, ctx)
    plan = wait_for(run.migration.target.name, ctx, lambda: _planned(rollback, ctx, left))
    if plan.blocked_count:
        raise RunFailed(f"{counted(plan.blocked_count, 'asset')} cannot be put back.", code=BLOCKED)
    if not plan.write_count:
        with ctx.fenced():
            rollback.state = MigrationState.DONE
            rollback.save(update_fields=["state", "updated_at"])
        return _kept(plan)
    with ctx.fenced():
        undo = Run.objects.create(migration=rollback, plan=plan, job=ctx.job, created_by=ctx.job.actor)
        rollback.state = MigrationState.APPLYING
        rollback.save(update_fields=["state", "updated_at"])
    apply_run(undo, ctx)
    return _kept(plan)


def _begin(run: Run, ctx: JobContext) -> Migration:
    with ctx.fenced():
        return Migration.objects.create(
            title=f"Roll back run {run.number}: {run.migration.title}"[:200],
            source_place=run.place,
            target=run.migration.target,
            rolls_back=run,
            with_dependencies=False,
            verify=False,
            carrying=run.migration.carrying,
            created_by=ctx.job.actor,
            job=ctx.job,
        )


def _planned(rollback: Migration, ctx: JobContext, left: Documents | None) -> Plan:
    plan = make_plan(rollback, ctx)
    for _ in range(PLANS):
        answers = {**rollback.answers, **_answers(plan, left)}
        if answers == rollback.answers:
            break
        with ctx.fenced():
            rollback.answers = answers
            rollback.save(update_fields=["answers"])
        plan = make_plan(rollback, ctx)
    return plan


def _answers(plan: Plan, left: Documents | None) -> dict[str, dict[str, str]]:
    """Take back what the run wrote, but never out of somebody's dashboard, and no work that somebody did since:
    verifying takes minutes in which people go on.
    """
    items = list(plan.items.filter(action__in=("update", "remove", "blocked")))
    present = get_documents(item.present_id for item in items if item.present_id)
    answers: dict[str, dict[str, str]] = {}
    for item in items:
        in_use = item.conflict is not None and item.conflict["code"] == ConflictCode.IN_USE
        is_edited = (
            left is not None
            and item.present_id is not None
            and not _is_as_left(left.get(item.target_uuid), present[item.present_id])
        )
        if in_use or is_edited:
            answers[item.uuid] = {"answer": "keep", "value": ""}
        elif item.action == "blocked":
            answers[item.uuid] = {"answer": "take", "value": ""}
    return answers


def _is_as_left(left: Document | None, present: Document) -> bool:
    """What is written apart from an import, as companions, is put back as such, whoever changed it."""
    return same_for_comparison(beside(left, present, WRITTEN_APART) if left is not None else None, present)


def _kept(plan: Plan) -> list[str]:
    return [f"{item.kind} “{item.title}”" for item in plan.items.filter(action="keep")]
