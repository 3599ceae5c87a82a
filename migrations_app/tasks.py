"""The job kinds of migrations."""

from __future__ import annotations

from typing import Any

from django.urls import reverse

from sstools.jobs.models import Job
from sstools.jobs.registry import job_kind
from sstools.jobs.runner import JobContext
from sstools.roles.permissions import Permission

from . import applying, planning, promoting, scheduling, verification
from .models import BUSY_STATES, FINISHED_RUNS, Migration, MigrationState, Run, RunState
from .promotions import PROMOTE


def _link_to_migration(job: Job) -> tuple[str, str] | None:
    migration = Migration.objects.filter(uuid=job.params.get("migration")).first()
    return (str(migration), reverse("migrations_app:detail", args=[migration.number])) if migration else None


def _link_to_run(job: Job) -> tuple[str, str] | None:
    run = Run.objects.filter(number=job.params.get("run")).first()
    return (str(run), reverse("migrations_app:verify", args=[run.migration_id])) if run else None


@job_kind(
    "migrations_app.make_plan",
    title="Make a plan",
    permission=Permission.MIGRATION_PLAN,
    link=_link_to_migration,
    schedulable=scheduling.PLAN,
)
def make_plan(ctx: JobContext, *, migration: str) -> dict[str, Any]:
    """Safe to run again: every plan is a new row, and the newest counts."""
    found = Migration.objects.select_related("source", "target", "rolls_back").get(uuid=migration)
    plan = planning.make_plan(found, ctx)
    return {"migration": found.number, "plan": plan.hash, "counts": plan.counts, "errors": len(plan.errors)}


@job_kind(
    PROMOTE,
    title="Plan and apply",
    permission=Permission.MIGRATION_PLAN,
    can_retry=False,  # the typed name was meant for that one time
    link=_link_to_migration,
    on_answer=promoting.take_answer,
)
def promote(ctx: JobContext, *, migration: str, confirmation: str = "") -> dict[str, Any]:
    """Safe to run again: it plans anew, and what it handed over to a run is found by its key."""
    return promoting.promote(ctx, migration, confirmation)


def _run_ended(job: Job) -> None:
    """A job that ended without bringing its run to an end (cancelled before its start, worker lost too
    often): say so on the run.
    """
    run = Run.objects.select_related("migration").filter(number=job.params.get("run")).first()
    if run is None or run.state in FINISHED_RUNS:
        return
    for undo in Run.objects.unfinished().filter(migration__rolls_back=run).select_related("migration"):
        _close(undo, job)
    _close(run, job)


def _close(run: Run, job: Job) -> None:
    touched = run.steps.filter(name__in=("write", "remove")).exists()
    run.state = RunState.NEEDS_ATTENTION if touched else RunState.STOPPED
    run.finished_at = job.finished_at
    decided = run.error or {}  # it was being undone
    message = (
        "The run ended in the middle of writing; what is on the target is not known."
        if touched
        else "The run ended before anything was written."
    )
    if decided and touched:
        message = (
            f"{decided['message']} Undoing it did not come to its end; what is on the target is not known."
        )
    run.error = {
        "code": decided.get("code") or (job.error or {}).get("code", job.state),
        "message": message,
        "remedy": "Roll back from the restore point, or plan again to see what is there."
        if touched
        else "Apply again.",
    }
    run.save(update_fields=["state", "finished_at", "error"])
    if run.migration.state in BUSY_STATES:
        run.migration.state = MigrationState.NEEDS_ATTENTION if touched else MigrationState.PLANNED
        run.migration.save(update_fields=["state", "updated_at"])


@job_kind(
    "migrations_app.apply_plan",
    title="Apply a plan",
    permission=Permission.MIGRATION_APPLY,
    can_retry=False,
    on_end=_run_ended,
    link=_link_to_run,
)
def apply_plan(ctx: JobContext, *, run: int) -> dict[str, Any]:
    """Safe to run again: what the target holds already is no longer pending."""
    return applying.apply_run(Run.objects.get(number=run), ctx)


@job_kind(
    "migrations_app.verify_run",
    title="Verify a run",
    permission=Permission.MIGRATION_PLAN,
    link=_link_to_run,
    schedulable=scheduling.VERIFICATION,
)
def verify_run(ctx: JobContext, *, run: int) -> dict[str, Any]:
    """Safe to run again: verdicts are replaced chart by chart."""
    return verification.verify_again(
        Run.objects.select_related("migration__source", "migration__target").get(number=run), ctx
    )
