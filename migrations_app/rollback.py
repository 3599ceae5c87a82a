"""Rolling a run back within the same job, when it failed after its first write."""

from __future__ import annotations

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

    ctx.log("warning", f"Rolling back run {run.number} from its restore point.")
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
    kept: list[str] = []
    if plan.blocked_count:
        # Nobody else edited what this run wrote a moment ago: take it all back, but never out of somebody's dashboard.
        answers: dict[str, dict[str, str]] = {}
        for item in plan.items.filter(action="blocked"):
            in_use = item.conflict is not None and item.conflict["code"] == ConflictCode.IN_USE
            answers[item.uuid] = {"answer": "keep" if in_use else "take", "value": ""}
            if in_use:
                kept.append(f"{item.kind} “{item.title}”")
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
    return kept


def _apply(rollback: Migration, plan: Plan, ctx: JobContext, apply_run: object) -> None:
    assert callable(apply_run)
    undo = Run.objects.create(migration=rollback, plan=plan, job=ctx.job, created_by=ctx.job.actor)
    rollback.state = MigrationState.APPLYING
    rollback.save(update_fields=["state", "updated_at"])
    apply_run(undo, ctx)
