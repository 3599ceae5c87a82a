"""Running a job: the one function that the queue calls, and what a handler has in its hands."""

import json
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from django.conf import settings
from django.db import connections, transaction

from sstools import logs
from sstools.errors import JobCancelled, as_expected

from . import registry, services
from .models import Job, Level, State
from .services import LeaseLost

logger = logging.getLogger(__name__)

PROGRESS_SECONDS = (
    1.0  # progress within a step, and looks for a cancel, reach the database at most this often
)
STEP_LENGTH = 300


class NeedsInput(Exception):
    """Raised by `ctx.ask()`; the runner puts the job to rest."""

    def __init__(self, question: dict[str, Any], *, keep_locks: bool = False) -> None:
        super().__init__("needs input")
        self.question = question
        self.keep_locks = keep_locks


class Heartbeat:
    """Renews the lease every third of it, from a thread with a connection of its own."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._stop = threading.Event()
        self._lost = False
        self._renewed = time.monotonic()  # when the last successful renewal began
        self.cancel_requested = False
        self._thread = threading.Thread(target=self._beat, name=f"heartbeat {job.uuid}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(timeout=5)

    @property
    def is_lost(self) -> bool:
        """Somebody else has the job, or may: a lease that could not be renewed in time is over, whoever is to blame."""
        return self._lost or time.monotonic() - self._renewed > settings.JOB_LEASE_SECONDS

    def _beat(self) -> None:
        try:
            while not self._stop.wait(settings.JOB_LEASE_SECONDS / 3):
                started = time.monotonic()
                try:
                    cancel = services.renew(self._job)
                except Exception:  # the database is away: go on trying, `is_lost` keeps the time
                    logger.warning("The lease of job %s could not be renewed", self._job.uuid, exc_info=True)
                    connections.close_all()
                    continue
                if cancel is None:
                    self._lost = True
                    return
                self._renewed = started
                self.cancel_requested = self.cancel_requested or cancel
        finally:
            connections.close_all()


class JobContext:
    """What a handler reports through and asks: `step`, `log`, `checkpoint`, `fenced`, `wait`, `ask`.

    Each of them raises LeaseLost when another worker may have the job by now. It is a BaseException and ends the
    handler; nothing after it may write or send.
    """

    def __init__(self, job: Job, heartbeat: Heartbeat) -> None:
        self.job = job
        self._heartbeat = heartbeat
        self._looked = time.monotonic()
        self._wrote = 0.0
        self._title: str | None = None  # of this attempt: a resumed one logs its steps again
        self._may_end = True

    @property
    def is_resumed(self) -> bool:
        """A worker was lost before this one: see what it had done already before doing it again.

        `job.lost_at` is until when it was believed alive; a request of its may still be on its way some time after.
        """
        return self.job.is_resumed

    @property
    def answer(self) -> Any:
        """What somebody answered to `ask()`; None if nothing was asked yet."""
        return self.job.answer

    def step(
        self, title: str, done: int | None = None, total: int | None = None, *, cancellable: bool = True
    ) -> None:
        """Say what is being done now: shown on the page, and a line in the log when the title is new.

        Also a cancel point: raises JobCancelled if a cancel was asked for, unless `cancellable` is False (between
        writes that belong together). The same title with another `done` may come as often as wanted.
        """
        self.checkpoint(cancellable=cancellable, look=title != self._title)
        title = title[:STEP_LENGTH]
        is_new = title != self._title
        ends = done is not None and done == total
        if not is_new and not ends and time.monotonic() - self._wrote < PROGRESS_SECONDS:
            return
        values: dict[str, Any] = {"current_step": title}
        if done is not None:
            values["progress_done"] = done
        if total is not None:
            values["progress_total"] = total
        with transaction.atomic():
            services.write(self.job, **values)
            if is_new:
                told = {} if total is None else {"done": done or 0, "total": total}  # where its speed is told from
                services.log(self.job, Level.INFO, title, is_step=True, fields=told)
        self._wrote = time.monotonic()
        self._title = title

    def log(self, level: str, text: str, **fields: Any) -> None:
        """Add a line to the job's log: "debug", "info", "warning" or "error". Secrets are taken out."""
        self._still_mine()
        services.log(self.job, level, text, fields=fields)

    def without_cancel(self) -> "JobContext":
        """The same job with no cancel points: for what must come to its end once it was begun."""
        other = JobContext(self.job, self._heartbeat)
        other._may_end = False
        return other

    def checkpoint(self, *, cancellable: bool = True, look: bool = False) -> None:
        """Go on only if this worker still has the job and nobody asked for its end. Cheap: call it before each request.

        The database is asked at most once a second (`look`: in any case). Raises LeaseLost, JobCancelled.
        """
        self._still_mine()
        if look or time.monotonic() - self._looked > PROGRESS_SECONDS:
            self._looked = time.monotonic()
            if services.is_cancel_requested(self.job):
                self._heartbeat.cancel_requested = True
        if cancellable and self._may_end and self._heartbeat.cancel_requested:
            raise JobCancelled

    @property
    def cancel_requested(self) -> bool:
        """Whether a cancel was asked for, without raising; asks the database. Raises LeaseLost."""
        self.checkpoint(cancellable=False, look=True)
        return self._heartbeat.cancel_requested

    @contextmanager
    def fenced(self) -> Iterator[None]:
        """A transaction that commits only if this worker still has the job: for the rows that say what was done.

        Short, and without calls to the outside: it holds the job's row (on SQLite the whole database).
        """
        self._still_mine()
        with transaction.atomic():
            services.write(self.job, current_step=self.job.current_step)  # the row lock, and the question
            yield

    @property
    def cancel_choice(self) -> str:
        """Which of the kind's `cancel_choices` somebody wants, also as the answer to a question with the code
        "cancel_choice"; "" if nobody chose. As fresh as `cancel_requested`; read that first.
        """
        return self.job.cancel_choice

    def result(self, **values: Any) -> None:
        """Show part of the result already; what the handler returns is laid over it."""
        services.write(self.job, result={**(self.job.result or {}), **values})

    def wait(self, seconds: float, *, cancellable: bool = True) -> None:
        """Sleep, but wake for a cancel or a lost lease."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.checkpoint(cancellable=cancellable)
            time.sleep(min(left, PROGRESS_SECONDS))

    def ask(self, question: dict[str, Any], *, keep_locks: bool = False) -> None:
        """Rest until somebody answers (`ctx.answer` in the next run, from the beginning). Never returns.

        question: {"code", "text"} and either "choices": [{"value", "label"[, "effect"]}], of which the answer is one,
            or "url", the page on which to answer.
        keep_locks: while it rests nobody else gets what it has locked: for a job that is half done. A cancel then
            wakes it, with `ctx.cancel_requested`, instead of ending it.
        """
        raise NeedsInput(question, keep_locks=keep_locks)

    def _still_mine(self) -> None:
        if self._heartbeat.is_lost:
            raise LeaseLost


def run_job(uuid: str) -> str:
    """Do the job if it is there to be done. The answer is for the queue's records only; the job's row is the truth."""
    job = services.claim(uuid)
    if job is None:
        return "nothing to claim"
    token = logs.job_id.set(str(job.uuid))
    try:
        with Heartbeat(job) as heartbeat:
            return _run(job, JobContext(job, heartbeat))
    except LeaseLost:
        logger.warning("Job %s: the lease was lost, another worker goes on", job.uuid)
        return "lease lost"
    finally:
        logs.job_id.reset(token)


def _run(job: Job, ctx: JobContext) -> str:
    if job.is_resumed:
        ctx.log(
            Level.WARNING, f"Attempt {job.attempt}: the worker before was lost.", lost_at=str(job.lost_at)
        )
    try:
        result = registry.kind(job.kind).handler(ctx, **job.params) or {}
        json.dumps(result)
    except JobCancelled as exc:
        _finish(job, ctx, State.CANCELLED, Level.WARNING, exc.message, error=exc.as_dict())
    except NeedsInput as exc:
        if not services.ask(job, exc.question, keep_locks=exc.keep_locks):
            raise LeaseLost from None
    except Exception as exc:
        if (expected := as_expected(exc)) is not None:
            _finish(job, ctx, State.FAILED, Level.ERROR, str(expected), error=expected.as_dict())
        else:
            logger.exception("Job %s (%s) failed unexpectedly", job.uuid, job.kind)
            _finish(job, ctx, State.FAILED, Level.ERROR, *_unexpected(job, exc))
    except SystemExit:  # the queue's time limit; it also ends this worker, so let it through after noting it
        text = f"Not done within {settings.JOB_TIMEOUT_SECONDS // 60} minutes, the limit of one attempt."
        error = {
            "code": "timed_out",
            "message": text,
            "remedy": "Raise SSTOOLS_JOB_TIMEOUT_SECONDS, or do less at once.",
        }
        _finish(job, ctx, State.FAILED, Level.ERROR, text, error=error)
        raise
    else:
        _finish(job, ctx, State.SUCCEEDED, None, "", result={**(job.result or {}), **result})
    return job.state


def _unexpected(job: Job, exc: Exception) -> tuple[str, dict[str, Any]]:
    text = f"Unexpected: {type(exc).__name__}. The workers' log has the whole of it under {job.uuid}."
    remedy = "Report it together with that part of the log."
    return text, {"code": "unexpected", "message": text, "remedy": remedy}


def _finish(
    job: Job,
    ctx: JobContext,
    state: State,
    level: Level | None,
    text: str,
    error: dict[str, Any] | None = None,
    result: dict[str, Any] | None = None,
) -> None:
    with transaction.atomic():
        if level is not None:
            services.log(job, level, text)
        if not services.finish(job, state, result=result, error=error):
            raise LeaseLost
