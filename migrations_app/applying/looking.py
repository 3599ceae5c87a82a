"""Finding out what a run left, when its own worker could not say: the last one was lost, or the target was away."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from environments.store import EnvironmentReading
from environments.superset.errors import SupersetError
from migrations_app.models import Run, RunState
from sstools.jobs import services as jobs
from sstools.jobs.models import Job, State
from sstools.jobs.runner import JobContext

from .attempt import Attempt
from .ending import conclude
from .patience import read_target
from .settling import settle_lost_writes

#: Code of the question that a job asks while the target is away; with `look_at`, when it looks again by itself.
TARGET_AWAY = "target_away"
LOOK, LEAVE = "look", "leave"
#: Minutes between looks at a target that is away; the last one is repeated.
PAUSES = (0.5, 1, 2, 5, 10, 30, 60)


def look_at_run(run: Run, ctx: JobContext) -> dict[str, Any]:
    """Read the target and write down exactly what of the run is there. Writes nothing to it. Safe to run again.

    While the target is away the job rests, with what it has locked: nobody writes to what nobody has looked at.
    """
    if ctx.answer == LEAVE:
        ctx.log("warning", "Somebody ended the looking. What is on the target is not known.")
        return {"run": run.number, "state": run.state, "looked": False}
    with ExitStack() as stack:
        attempt = Attempt(run, ctx, stack, is_looking=True)
        if attempt.row.state != RunState.NEEDS_ATTENTION:
            if _has_concluded(attempt):  # and the worker died before it could say so
                return _seen(attempt)
            return {"run": run.number, "state": attempt.row.state, "looked": False}  # somebody has it in hand
        target = attempt.migration.target.name
        ctx.step(f"Asking {target} what is there")
        try:
            settle_lost_writes(attempt)
            reading = read_target(attempt)
        except SupersetError as away:
            ctx.log("warning", away.message)
            ctx.ask(_question(ctx.job, target, away.message), keep_locks=True)
            raise
        _conclude_undoing(attempt, reading)
        _conclude(attempt, reading)
        return _seen(attempt)


def _seen(attempt: Attempt) -> dict[str, Any]:
    return {
        "run": attempt.row.number,
        "state": attempt.row.state,
        "written": len(attempt.row.written),
        "unwritten": len(attempt.row.unwritten),
        "looked": True,
    }


def _has_concluded(attempt: Attempt) -> bool:
    """A worker of this very job has written down what it saw."""
    begun, seen = attempt.ctx.job.started_at, attempt.row.looked_at
    return begun is not None and seen is not None and seen >= begun


def _conclude(attempt: Attempt, reading: EnvironmentReading) -> None:
    conclude(attempt, reading, (attempt.row.error or {}).get("cause"))


def _conclude_undoing(attempt: Attempt, reading: EnvironmentReading) -> None:
    """The same for runs that were undoing this one within its job."""
    undoing = Run.objects.filter(migration__rolls_back=attempt.row, job=attempt.row.job_id)
    for run in undoing.filter(state=RunState.NEEDS_ATTENTION, looked_at=None):
        _conclude(attempt.of(run), reading)


def _question(job: Job, target: str, reason: str) -> dict[str, Any]:
    tries = int((job.question or {}).get("tries", 0))
    pause = timedelta(minutes=PAUSES[min(tries, len(PAUSES) - 1)])
    return {
        "code": TARGET_AWAY,
        "text": f"{target} cannot be asked what is there: {reason} It is asked again by itself; until then no run "
        f"writes to {target}.",
        "choices": [
            {"value": LOOK, "label": "Look again now"},
            {
                "value": LEAVE,
                "label": "Stop looking",
                "effect": f"Other runs may write to {target} then. What this one left there stays unknown.",
            },
        ],
        "look_at": (jobs.db_now() + pause).isoformat(),
        "tries": tries + 1,
    }


def wake_lookers() -> int:
    """Let jobs look again whose pause is over. Called every few seconds by each supervisor."""
    now = timezone.now()
    resting = Job.objects.filter(state=State.NEEDS_INPUT, question__code=TARGET_AWAY)
    due = [job for job in resting[:100] if _look_at(job) <= now]
    return sum(jobs.wake(job) for job in due)


def _look_at(job: Job) -> datetime:
    return datetime.fromisoformat((job.question or {})["look_at"])
