"""The job kinds of migrations."""

from __future__ import annotations

from typing import Any

from django.urls import reverse

from sstools.jobs.models import Job
from sstools.jobs.registry import job_kind
from sstools.jobs.runner import JobContext
from sstools.roles.permissions import Permission

from . import applying, leftovers, planning, promoting, scheduling, verification
from .applying.attempt import CANCEL_CHOICES
from .models import Migration, Run
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


@job_kind(
    "migrations_app.apply_plan",
    title="Apply a plan",
    permission=Permission.MIGRATION_APPLY,
    can_retry=False,
    on_end=leftovers.apply_ended,
    link=_link_to_run,
    cancel_choices=CANCEL_CHOICES,
)
def apply_plan(ctx: JobContext, *, run: int) -> dict[str, Any]:
    """Safe to run again: what the target holds already is no longer pending."""
    return applying.apply_run(Run.objects.get(number=run), ctx)


@job_kind(
    leftovers.LOOK,
    title="See what a run left",
    permission=Permission.MIGRATION_APPLY,
    on_end=leftovers.look_ended,
    link=_link_to_run,
)
def settle_run(ctx: JobContext, *, run: int) -> dict[str, Any]:
    """Safe to run again: it only reads the target."""
    return applying.look_at_run(Run.objects.select_related("migration").get(number=run), ctx)


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
