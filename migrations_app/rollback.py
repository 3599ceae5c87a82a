"""Rolling a run back within the same job, when it failed after its first write."""

from __future__ import annotations

from collections.abc import Callable

from environments.canonical.documents import Documents
from environments.store import get_documents
from sstools.jobs.runner import JobContext

from .engine.conflicts import ConflictCode
from .errors import RunFailed
from .models import Migration, MigrationState, Plan, Run
from .planning import make_plan, same_for_comparison

#: Plans of one roll back: what stays because somebody edited it may keep what it stands on in turn.
TRIES = 4


def roll_back_now(run: Run, ctx: JobContext, left: Documents | None = None) -> list[str]:
    """Plan and apply the roll back of an unfinished run. Returns the names of assets that others use or edited
    by now, and that stay.

    `left`: what was on the target when the run had read it back; None if it did not come that far.
    Raises what planning and applying raise; the roll back's own run then says what it did.
    """
    from .applying import apply_run

    ctx = ctx.without_cancel()  # half undone helps nobody
    ctx.log("warning", f"Rolling back run {run.number} from its restore point.")
    rollback = run.rollbacks.filter(job=ctx.job).order_by("-number").first()
    if rollback is not None and not rollback.is_open:  # an attempt before came this far
        return _taken_up(rollback, ctx, apply_run)
    if rollback is None:
        rollback = Migration.objects.create(
            title=f"Roll back run {run.number}: {run.migration.title}"[:200],
            source_place=run.place,
            target=run.migration.target,
            rolls_back=run,
            with_dependencies=False,
            verify=False,
            created_by=ctx.job.actor,
            job=ctx.job,
        )
    plan = make_plan(rollback, ctx)
    for _ in range(TRIES):
        answers = {**rollback.answers, **_answers(plan, left)}
        if answers == rollback.answers:
            break
        rollback.answers = answers
        rollback.save(update_fields=["answers"])
        plan = make_plan(rollback, ctx)
    if plan.blocked_count:
        raise RunFailed(f"{plan.blocked_count} assets cannot be put back.", code="rollback_blocked")
    if plan.write_count:
        _apply(rollback, plan, ctx, apply_run)
    else:
        rollback.state = MigrationState.DONE
        rollback.save(update_fields=["state", "updated_at"])
    return _kept(plan)


def _taken_up(
    rollback: Migration, ctx: JobContext, apply_run: Callable[[Run, JobContext], object]
) -> list[str]:
    """Bring a roll back to its end whose worker was lost on the way."""
    undo = rollback.runs.first()
    if undo is not None:
        apply_run(undo, ctx)
    if rollback.plan is None:
        raise RunFailed("The roll back has no plan.", code="rollback_blocked")
    return _kept(rollback.plan)


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
            and not same_for_comparison(left.get(item.target_uuid), present[item.present_id])
        )
        if in_use or is_edited:
            answers[item.uuid] = {"answer": "keep", "value": ""}
        elif item.action == "blocked":
            answers[item.uuid] = {"answer": "take", "value": ""}
    return answers


def _kept(plan: Plan) -> list[str]:
    return [f"{item.kind} “{item.title}”" for item in plan.items.filter(action="keep")]


def _apply(
    rollback: Migration, plan: Plan, ctx: JobContext, apply_run: Callable[[Run, JobContext], object]
) -> None:
    undo = Run.objects.create(migration=rollback, plan=plan, job=ctx.job, created_by=ctx.job.actor)
    rollback.state = MigrationState.APPLYING
    rollback.save(update_fields=["state", "updated_at"])
    apply_run(undo, ctx)
