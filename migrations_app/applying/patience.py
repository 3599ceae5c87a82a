"""A target that is away for a while: waited for, once half of the work is done."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from django.conf import settings

from environments.store import EnvironmentReading
from environments.superset.errors import SupersetError, SupersetRefused, SupersetUnreachable
from sstools.jobs.runner import JobContext

from .attempt import Attempt
from .beside import add_companions
from .reading import fresh_reading

T = TypeVar("T")

#: Seconds between looks at the target; the last one is repeated.
PAUSES = (1, 2, 5, 10, 20, 30)


def read_target(attempt: Attempt) -> EnvironmentReading:
    """Everything the plan touches, with the companions that it carries. Raises SupersetError."""
    reading = fresh_reading(attempt.target, attempt.migration.target, attempt.target_ids(), attempt.mends)
    add_companions(attempt, reading)
    return reading


def patiently(
    attempt: Attempt,
    call: Callable[[], T],
    *,
    waits: bool | None = None,
    unless: Callable[[SupersetError], bool] = lambda error: False,
) -> T:
    """`call()`, tried again while the target is away: once something was written, a restart of Superset is waited for
    rather than answered with an undo that it would not answer either.

    `waits`: whether to; None: where the run must come to an end. `unless`: after which errors it is not tried again.
    Raises what `call` raises at last.
    """
    waits = attempt.must_end if waits is None else waits
    if not waits or attempt.is_looking:
        return call()
    return wait_for(attempt.migration.target.name, attempt.ctx, call, unless=unless)


def wait_for(
    name: str,
    ctx: JobContext,
    call: Callable[[], T],
    *,
    unless: Callable[[SupersetError], bool] = lambda error: False,
) -> T:
    """`call()`, tried again for `TARGET_PATIENCE_SECONDS` while Superset `name` is away."""
    left = float(settings.TARGET_PATIENCE_SECONDS)
    step = 0
    while True:
        try:
            return call()
        except SupersetError as error:
            if unless(error) or not _may_come_back(error) or left <= 0:
                raise
            if step == 0:
                ctx.log("warning", f"{error.message} Waiting for {name}, as half of the work is done.")
            pause = min(left, PAUSES[min(step, len(PAUSES) - 1)])
            left, step = left - pause, step + 1
            ctx.wait(pause, cancellable=False)


def _may_come_back(error: SupersetError) -> bool:
    """Away, or hidden behind somebody's page: a maintenance notice, a sign-in of a proxy, a server that restarts."""
    return isinstance(error, SupersetUnreachable) or (
        isinstance(error, SupersetRefused)
        and (error.code in ("not_superset", "csrf") or (error.status is not None and error.status >= 500))
    )
