"""What pages poll while a job works for them, and stopping that job."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from migrations_app.models import Migration, Run, StepState
from sstools.errors import Conflict
from sstools.jobs import services as jobs
from sstools.jobs.models import Source
from sstools.web.htmx import go_to, render_page, wants_fragment

from .common import find_migration, planning_context, planning_job, where_it_stands

LOG_LINES = 100
#: What of a step's result is worth a word, with the noun where the number needs one.
SAID = {
    "read": "read",
    "moved": "moved",
    "assets": "asset",
    "imported": "imported",
    "removed": "removed",
    "equal": "equal",
    "different": "different",
    "ok": "ok",
    "differs": "differ",
    "failed": "failed",
    "failed_on_both": "failed on both sides",
    "not_checkable": "not checkable",
}
#: The steps of every run, by name; rows come into being as steps begin.
OUTLINE = (
    ("check", "Check that nothing moved since the plan"),
    ("restore_point", "Take the restore point"),
    ("write", "Write"),
    ("read_back", "Read back and compare with the plan"),
    ("verify", "Verify each chart on source and target"),
)
CUT_OFF = "Its worker was lost. The next one asked the target what was written, and went on from there."
STEP_STATES = {
    StepState.PENDING: "waiting",
    StepState.RUNNING: "running",
    StepState.DONE: "done",
    StepState.FAILED: "failed",
    StepState.SKIPPED: "skipped",
}


@require_safe
@login_required
def plan_progress(request: HttpRequest, number: int) -> HttpResponse:
    """The plan in the making; leads on to the plan when it is there, or to what has to be mapped first."""
    migration = find_migration(request, number)
    job = planning_job(migration)
    if job is None or not wants_fragment(request):
        return go_to(request, f"migrations_app:{where_it_stands(migration)}", migration.number)
    context = {"migration": migration, "target": migration.target, **planning_context(request, migration)}
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
    """Steps, progress and the last log lines of a run."""
    job = run.job
    return {
        "migration": migration,
        "target": migration.target,
        "run": run,
        "job": job,
        "run_steps": _run_steps(run),
        "may_cancel": job is not None and not job.is_finished and jobs.may_cancel(job, request.user),
        "waits_for": job.waits_for() if job is not None else [],
    }


def _said(key: str, value: int) -> str:
    word = SAID[key]
    return f"{value:,} {word}s" if word == "asset" and value != 1 else f"{value:,} {word}"


def _run_steps(run: Run) -> list[dict[str, Any]]:
    """What was begun, and while the run is at work what is still to come."""
    begun = list(run.steps.all())
    steps = [_step(step, run.job) for step in begun]
    for step in steps[: None if run.is_finished else -1]:
        if step["state"] == "running":  # only the last one can be: its worker was lost, another one went on
            step |= {"state": "skipped", "seconds": None, "note": "cut off", "detail": CUT_OFF}
    if not run.is_finished and all(step.state != StepState.FAILED for step in begun):
        seen = {step.name for step in begun}
        last = max((place for place, (name, _) in enumerate(OUTLINE) if name in seen), default=-1)
        steps += [
            {"title": title, "state": "waiting", "note": "", "seconds": None, "detail": ""}
            for name, title in OUTLINE[last + 1 :]
            if name != "verify" or run.migration.verify
        ]
    return steps


def _step(step: Any, job: Any) -> dict[str, Any]:
    state, note, seconds = STEP_STATES[StepState(step.state)], "", step.seconds
    if state == "running":
        if step.started_at:
            seconds = (timezone.now() - step.started_at).total_seconds()
        if job is not None and job.progress_total:
            note = f"{job.progress_done} of {job.progress_total}"
    result = step.result if isinstance(step.result, dict) else {}
    said = result.get("error") or result.get("message") or ""
    if state == "done":
        note = ", ".join(_said(key, value) for key, value in result.items() if key in SAID and value)
    return {
        "title": step.title,
        "state": state,
        "note": note,
        "seconds": seconds,
        "detail": said if isinstance(said, str) else "",
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
