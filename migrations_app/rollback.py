"""Rolling a run back within the same job, when it failed after its first write."""

from __future__ import annotations

from collections.abc import Callable

from sstools.jobs.runner import JobContext

from .engine.conflicts import ConflictCode
from .errors import RunFailed
from .models import Migration, MigrationState, Plan, Run


def roll_back_now(run: Run, ctx: JobContext) -> list[str]:
    """Plan and apply the roll back of an unfinished run. Returns the names of created assets that others
    use by now, and that stay.

    Raises what planning and applying raise; the roll back's own run then says what it did.
    """
    from .applying import apply_run
    from .planning import make_plan

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
    if plan.blocked_count:
        # Nobody else edited what this run wrote a moment ago: take it all back, but never out of somebody's dashboard.
        answers: dict[str, dict[str, str]] = {}
        for item in plan.items.filter(action="blocked"):
            in_use = item.conflict is not None and item.conflict["code"] == ConflictCode.IN_USE
            answers[item.uuid] = {"answer": "keep" if in_use else "take", "value": ""}
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


def _kept(plan: Plan) -> list[str]:
    return [f"{item.kind} “{item.title}”" for item in plan.items.filter(action="keep")]


def _apply(
    rollback: Migration, plan: Plan, ctx: JobContext, apply_run: Callable[[Run, JobContext], object]
) -> None:
    undo = Run.objects.create(migration=rollback, plan=plan, job=ctx.job, created_by=ctx.job.actor)
    rollback.state = MigrationState.APPLYING
    rollback.save(update_fields=["state", "updated_at"])
    apply_run(undo, ctx)
