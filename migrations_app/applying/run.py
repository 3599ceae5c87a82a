"""The way of a run, from the check to its end."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from typing import Any

from django.utils import timezone

from migrations_app.errors import RunFailed
from migrations_app.models import MigrationState, Run, RunState
from migrations_app.verification import is_red, verify_run
from sstools.errors import JobCancelled
from sstools.jobs.runner import JobContext

from .attempt import Attempt
from .checking import check, take_restore_point
from .ending import finish, stopped, undo
from .errors import describe, recorded
from .proving import read_back
from .writing import remove, write

logger = logging.getLogger(__name__)


def apply_run(run: Run, ctx: JobContext) -> dict[str, Any]:
    """Bring a run to its end: applied, rolled back, stopped before writing, or needs attention. Returns a summary.

    Raises StalePlan and SupersetError where nothing was written, RunFailed where something was and the run
    did not succeed.
    """
    with ExitStack() as stack:
        return _execute(Attempt(run, ctx, stack))


def _execute(attempt: Attempt) -> dict[str, Any]:
    if attempt.row.is_finished:
        return _ended_before(attempt)
    if attempt.row.started_at is None:
        attempt.save(started_at=timezone.now())
    interrupted = attempt.close_interrupted_steps()
    if attempt.row.error is not None and attempt.may_have_written:
        return undo(attempt, recorded(attempt.row.error))  # an attempt before had decided so
    try:
        check(attempt, interrupted)
        take_restore_point(attempt)
        write(attempt)
        remove(attempt)
        read_back(attempt)
    except (Exception, JobCancelled) as error:
        return stopped(attempt, error)
    try:
        red = _verify(attempt)
    except (Exception, JobCancelled) as error:
        # Verification reads only: what was written is proven by the re-read; what was not verified is said.
        described = describe(error)
        if described["code"] == "unexpected":
            logger.exception("Verification of run %s failed unexpectedly", attempt.row.number)
        attempt.ctx.log("warning", f"Verification did not finish: {described['message']}")
        finish(
            attempt,
            {
                "code": "verification_incomplete",
                "message": f"Applied and read back, but not verified: {described['message']}",
                "remedy": "Verify again.",
            },
        )
        return attempt.summary()
    if red and attempt.migration.roll_back_when_red:
        failure = RunFailed(
            f"{red} charts fail on {attempt.migration.target.name} that work on the source.",
            code="verification_red",
        )
        return undo(attempt, failure)
    finish(attempt, None)
    return attempt.summary()


def _ended_before(attempt: Attempt) -> dict[str, Any]:
    """The run was closed, and the worker lost before its job was: end the job as the run ended."""
    if attempt.row.state == RunState.APPLIED:
        return attempt.summary()
    raise recorded(attempt.row.error or {})


def _verify(attempt: Attempt) -> int:
    """Number of charts that are red: they work on the source and fail on the target."""
    if not attempt.migration.verify or attempt.migration.is_rollback:
        return 0
    assert attempt.after is not None
    attempt.enter(RunState.VERIFYING, MigrationState.VERIFYING)
    with attempt.step("verify", "Verify each chart on source and target") as result:
        assert attempt.source is not None
        assert attempt.source_reading is not None
        counts = verify_run(
            attempt.row, attempt.ctx, attempt.source, attempt.source_reading, attempt.target, attempt.after
        )
        result.update(counts)
        attempt.save(verdict_counts=counts)
        return sum(count for status, count in counts.items() if is_red(status))
