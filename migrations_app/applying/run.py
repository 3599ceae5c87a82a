"""The way of a run, from the check to its end."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from typing import Any

from django.utils import timezone

from migrations_app.errors import RunFailed
from migrations_app.models import MigrationState, Run, RunState
from migrations_app.verification import is_red, verify_alone, verify_run
from sstools.errors import JobCancelled
from sstools.jobs.runner import JobContext, NeedsInput

from .around import ask_bystanders, ask_bystanders_again
from .attempt import FINISH, ROLL_BACK, Attempt
from .carrying import carry, remove_before_assets
from .checking import check, take_restore_point
from .ending import NOT_VERIFIED, finish, stopped, undo
from .errors import RollBackWanted, describe, recorded
from .proving import read_back
from .reading import fresh_reading
from .settling import settle_lost_writes
from .writing import remove, write

logger = logging.getLogger(__name__)


def apply_run(run: Run, ctx: JobContext) -> dict[str, Any]:
    """Bring a run to its end: applied, rolled back, stopped before writing, or needs attention. Returns a summary.

    May be called again after a worker was lost, or somebody was asked: it goes on from what the target says. Raises
    StalePlan, SupersetError and JobCancelled where nothing was written, RunFailed (JobCancelled where somebody wanted
    it undone) where something was and the run did not succeed.
    """
    with ExitStack() as stack:
        return _execute(Attempt(run, ctx, stack))


def _execute(attempt: Attempt) -> dict[str, Any]:
    if attempt.row.is_finished:
        return _ended_before(attempt)
    if attempt.row.started_at is None:
        attempt.save(started_at=timezone.now())
    attempt.close_interrupted_steps()
    if attempt.row.error is not None and attempt.may_have_written:
        return undo(attempt, recorded(attempt.row.error))  # an attempt before had decided so
    try:
        settle_lost_writes(attempt)
        check(attempt)
        if attempt.was_read_back:
            attempt.after = attempt.before  # what is otherwise by now, somebody edited after it was proven
        else:
            take_restore_point(attempt)
            ask_bystanders(attempt)
            write(attempt)
            remove_before_assets(attempt)
            remove(attempt)
            read_back(attempt)
        carry(attempt)
    except NeedsInput:
        raise
    except (Exception, JobCancelled) as error:
        return stopped(attempt, error)
    return _verified(attempt)


def _ended_before(attempt: Attempt) -> dict[str, Any]:
    """The run was closed, and the worker lost before its job was: end the job as the run ended."""
    if attempt.row.state == RunState.APPLIED:
        return attempt.summary()
    error = attempt.row.error or {}
    if attempt.row.state == RunState.NEEDS_ATTENTION:
        error = {**error, "code": "needs_attention"}
    raise recorded(error)


def _verified(attempt: Attempt) -> dict[str, Any]:
    """Ask the charts, and end as they say. It only reads: what was written is proven, whatever happens here."""
    try:
        red = _verify(attempt)
    except (Exception, JobCancelled) as error:
        attempt.ctx.abandon_on_outage(error)
        if isinstance(error, JobCancelled) and attempt.ctx.cancel_choice == ROLL_BACK:
            return undo(attempt, RollBackWanted())
        described = describe(error)
        if described["code"] == "unexpected":
            logger.exception("Verification of run %s failed unexpectedly", attempt.row.number)
        attempt.ctx.log("warning", f"Verification did not finish: {described['message']}")
        finish(
            attempt,
            {
                "code": NOT_VERIFIED,
                "message": f"Applied and read back, but not verified: {described['message']}",
                "remedy": "Verify again.",
            },
        )
        return attempt.summary()
    if red and attempt.migration.roll_back_when_red:
        return undo(attempt, RunFailed(_why_red(attempt, red), code="verification_red"))
    if attempt.may_have_written and _wanted(attempt) == ROLL_BACK:
        return undo(attempt, RollBackWanted())
    finish(attempt, None)
    return attempt.summary()


def _wanted(attempt: Attempt) -> str:
    """What somebody who cancelled wants to become of the run, "" if nobody did or said."""
    wants_end = not attempt.migration.is_rollback and attempt.ctx.cancel_requested
    return attempt.ctx.cancel_choice if wants_end else ""


def _why_red(attempt: Attempt, red: tuple[int, int]) -> str:
    target, (planned, outside) = attempt.migration.target.name, red
    where = "now" if attempt.migration.changes_own else "outside the plan"
    parts = [
        f"{planned} {_charts(planned)} on {target} that work on the source" if planned else "",
        f"{outside} {_charts(outside)} {where} that ran on {target} before" if outside else "",
    ]
    return " and ".join(part for part in parts if part) + "."


def _charts(number: int) -> str:
    return "chart fails" if number == 1 else "charts fail"


def _verify(attempt: Attempt) -> tuple[int, int] | None:
    """Numbers of charts that are red, None if there are none: of the plan, which work on the source and fail on the
    target; and outside of it, which ran on the target before. Raises JobCancelled, which ends no more than the
    verification.
    """
    own = attempt.migration.changes_own
    if not attempt.migration.verify or (attempt.migration.maps_nothing and not own):
        return None
    assert attempt.after is not None
    attempt.enter(RunState.VERIFYING, MigrationState.VERIFYING)
    ctx = attempt.ctx.without_cancel() if _wanted(attempt) == FINISH else attempt.ctx
    ctx.checkpoint(look=True)
    alone = not attempt.migration.has_live_source
    where = "of what was changed" if own else "on the target" if alone else "on source and target"
    with attempt.step("verify", f"Verify each chart {where}", asks=False) as step:
        if own:
            counts = {}  # its charts are held against themselves, below
        elif alone:
            counts = verify_alone(attempt.row, ctx, attempt.target, attempt.after)
        else:
            counts = _ask_both_sides(attempt, ctx)
        step.result |= counts
        attempt.save(verdict_counts=counts)
        outside = ask_bystanders_again(attempt)
        if outside:
            step.result |= {"outside": outside}
        red, red_outside = (
            sum(number for status, number in found.items() if is_red(status)) for found in (counts, outside)
        )
        return (red, red_outside) if red or red_outside else None


def _ask_both_sides(attempt: Attempt, ctx: JobContext) -> dict[str, int]:
    """How many charts of the plan have which verdict."""
    source = attempt.migration.source
    assert source is not None
    assert attempt.after is not None
    if attempt.source is None or attempt.source_reading is None:  # resumed: an attempt before had checked it
        attempt.source = attempt.connect(source)
        attempt.source_reading = fresh_reading(attempt.source, source, attempt.source_ids())
    return verify_run(attempt.row, ctx, attempt.source, attempt.source_reading, attempt.target, attempt.after)
