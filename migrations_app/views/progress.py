"""What pages poll while a job works for them, and stopping that job."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_POST, require_safe

from migrations_app import restore_points, run_page
from migrations_app.models import Migration, Run
from sstools.errors import Conflict
from sstools.jobs import presenting
from sstools.jobs import services as jobs
from sstools.jobs.models import Source
from sstools.web.htmx import go_to, render_page, wants_fragment

from .common import find_migration, planning_context, planning_job, right_to_apply, where_it_stands

LOG_LINES = 100


@require_safe
@login_required
def plan_progress(request: HttpRequest, number: int) -> HttpResponse:
    """The plan in the making; leads on to the plan when it is there, or to what has to be mapped first."""
    migration = find_migration(request, number)
    job = planning_job(migration)
    if job is None or not wants_fragment(request):
        return go_to(request, f"migrations_app:{where_it_stands(migration)}", migration.number)
    context = {
        "migration": migration,
        "target": migration.target,
        "can_apply": right_to_apply(request.user, migration),
        **planning_context(request, migration),
    }
    if job.is_finished:
        context["live_text"] = "The plan could not be made."
    return render_page(request, "migrations_app/plan.html", "migrations_app/_planning.html", context)


@require_safe
@login_required
def run_progress(request: HttpRequest, number: int, run: int) -> HttpResponse:
    """The steps of a run at work; leads to its result when it has ended."""
    migration = find_migration(request, number)
    found = find_run(migration, run)
    if found.is_finished or not wants_fragment(request):
        return go_to(request, "migrations_app:verify", migration.number)
    return render_page(
        request,
        "migrations_app/verify.html",
        "migrations_app/_run_progress.html",
        run_context(request, migration, found),
    )


@require_POST
@login_required
def migration_cancel(request: HttpRequest, number: int) -> HttpResponse:
    """Ask the migration's job to end at its next safe point."""
    migration = find_migration(request, number)
    job = migration.job
    if job is None:
        raise Conflict("Nothing is at work for this migration.", code="already_finished")
    jobs.request_cancel(job, actor=request.user, source=Source.PAGE)
    messages.info(request, "It ends at its next safe point.")
    return go_to(request, "migrations_app:detail", migration.number)


def find_run(migration: Migration, number: int | None) -> Run:
    """A run of this migration, its last one without a number."""
    rows = migration.runs.select_related("job", "plan", "created_by", "restore_point", "migration__target")
    if number is None:
        run = rows.order_by("-number").first()
        if run is not None:
            return run
    run = get_object_or_404(rows, number=number)
    return run


def run_context(request: HttpRequest, migration: Migration, run: Run) -> dict[str, Any]:
    """A run with its steps, and its job as it is now."""
    job = run.job
    return {
        **(presenting.state_of(job, request.user) if job is not None else {}),
        "migration": migration,
        "target": migration.target,
        "run": run,
        "job": job,
        "run_steps": run_page.run_steps(run),
        "restore_point_gone": restore_points.gone_of(run),
    }


def log_context(run: Run) -> dict[str, Any]:
    """As `jobs/_log.html` wants it: the last lines, and where to go on."""
    job = run.job
    if job is None:
        return {"lines": [], "older": 0, "first_seq": 0, "last_seq": 0, "polls": False}
    lines = list(job.logs.order_by("-seq")[:LOG_LINES])[::-1]
    first = lines[0].seq if lines else 0
    return {
        "lines": lines,
        "older": max(0, first - 1),
        "first_seq": first,
        "last_seq": lines[-1].seq if lines else 0,
        "polls": not job.is_finished,
    }
