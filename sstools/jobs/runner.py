"""Running a job: the one function that the queue calls, and what a handler has in its hands."""

import json
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self, TypeVar

from django.conf import settings
from django.db import (
    DatabaseError,
    InterfaceError,
    close_old_connections,
    connection,
    connections,
    transaction,
)

from sstools import logs
from sstools.errors import JobCancelled, as_expected
from sstools.outages import OwnDatabaseDiskFails, OwnDatabaseFull, outage
from sstools.roles import denials

from . import registry, services
from .models import Job, Level, State
from .services import LeaseLost

logger = logging.getLogger(__name__)

PROGRESS_SECONDS = (
    1.0  # progress within a step, and looks for a cancel, reach the database at most this often
)
STEP_LENGTH = 300
OUTAGE_PAUSE_SECONDS = 1.0  # between two looks whether our own database is back
STOP_SIGNAL = signal.SIGUSR1  # to workers: give up what you do, we are being stopped. All others ignore it

T = TypeVar("T")


class Abandoned(LeaseLost):
    """This worker gives the job up although nobody took it away: the next one resumes it, `at_once` or after the
    lease, where trying again at once would meet the same and read the same again from a Superset.
    """

    def __init__(self, why: str, *, at_once: bool = True) -> None:
        super().__init__(why)
        self.at_once = at_once


class _Stopping:
    """Whether the supervisor asked this worker to give up its job."""

    is_set = False

    def watch(self) -> None:
        """In a worker of a supervisor, which has its children ignore the signal; elsewhere nothing is changed."""
        if (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(STOP_SIGNAL) == signal.SIG_IGN
        ):
            signal.signal(STOP_SIGNAL, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.is_set = True


_stopping = _Stopping()


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
    def seconds_left(self) -> float:
        """Until the lease is over, unless it is renewed."""
        return 0.0 if self._lost else self._renewed + settings.JOB_LEASE_SECONDS - time.monotonic()

    @property
    def is_lost(self) -> bool:
        """Somebody else has the job, or may: a lease that could not be renewed in time is over, whoever is to blame."""
        return self.seconds_left <= 0

    def _beat(self) -> None:
        pause = regular = settings.JOB_LEASE_SECONDS / 3
        try:
            while not self._stop.wait(pause):
                started = time.monotonic()
                try:
                    cancel = services.renew(self._job)
                except Exception as exc:  # the database is away: go on trying, `is_lost` keeps the time
                    if pause == regular:
                        logger.warning("The lease of job %s could not be renewed: %s", self._job.uuid, exc)
                    connections.close_all()
                    pause = min(regular, OUTAGE_PAUSE_SECONDS)
                    continue
                pause = regular
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
        # Where the speed of the step is told from.
        told = {} if total is None else {"done": done or 0, "total": total}

        def write() -> None:
            with transaction.atomic():
                services.write(self.job, **values)
                if is_new:
                    services.log(self.job, Level.INFO, title, is_step=True, fields=told)

        self.patiently(write)
        self._wrote = time.monotonic()
        self._title = title

    def log(self, level: str, text: str, **fields: Any) -> None:
        """Add a line to the job's log: "debug", "info", "warning" or "error". Secrets are taken out."""
        self.patiently(lambda: services.log(self.job, level, text, fields=fields))

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
            if self.patiently(lambda: services.is_cancel_requested(self.job)):
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
        self.patiently(_reach_database)
        try:
            with transaction.atomic():
                services.write(self.job, current_step=self.job.current_step)  # the row lock, and the question
                yield
        except (DatabaseError, InterfaceError) as exc:
            if not isinstance(outage(exc), OwnDatabaseFull):  # that it is full may still be written down
                self.abandon_on_outage(exc)
            raise

    @property
    def cancel_choice(self) -> str:
        """Which of the kind's `cancel_choices` somebody wants, also as the answer to a question with the code
        "cancel_choice"; "" if nobody chose. As fresh as `cancel_requested`; read that first.
        """
        return self.job.cancel_choice

    def result(self, **values: Any) -> None:
        """Show part of the result already; what the handler returns is laid over it."""
        self.patiently(lambda: services.write(self.job, result={**(self.job.result or {}), **values}))

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

    def abandon_on_outage(self, error: BaseException) -> None:
        """Raises Abandoned if our own database failed the job: what it did is not known here, and the next worker asks
        the target. For handlers that would answer an error by undoing what they wrote.
        """
        if (away := outage(error)) is not None and not connection.in_atomic_block:
            lasts = isinstance(away, OwnDatabaseFull | OwnDatabaseDiskFails)
            raise Abandoned(away.what, at_once=not lasts) from error

    def still_mine(self) -> None:
        """Go on only if this worker still has the job, as far as this process knows. Asks no database, so threads that
        have no connection may ask too. Raises LeaseLost.
        """
        self._still_mine()

    def _still_mine(self, *, may_stop: bool = True) -> None:
        if self._heartbeat.is_lost:
            raise LeaseLost
        if may_stop and _stopping.is_set:
            raise Abandoned("ss-tools is being stopped.")

    def patiently(self, call: Callable[[], T], *, may_stop: bool = True) -> T:
        """`call()`, again and again while our own database is away and the lease lasts. Raises LeaseLost."""
        while True:
            self._still_mine(may_stop=may_stop)
            if not connection.in_atomic_block:
                close_old_connections()  # one that the server has closed meanwhile is noticed here
            try:
                return call()
            except (DatabaseError, InterfaceError) as exc:
                if connection.in_atomic_block or outage(exc) is None:
                    raise
                logger.warning("Job %s waits for our own database: %s", self.job.uuid, exc)
                connections.close_all()
            time.sleep(OUTAGE_PAUSE_SECONDS)


def _reach_database() -> None:
    connection.close_if_health_check_failed()
    connection.ensure_connection()


def run_next(hint: str) -> str:
    """What the queue calls: do the job that is first in line, which need not be the one that the message names.

    The answer is for the queue's records only; the job's row is the truth.
    """
    return _take(services.claim_next, hint)


def run_job(uuid: str) -> str:
    """Do this job if it is there to be done. For a command that does its own job, without a worker."""
    return _take(lambda: services.claim(uuid), uuid)


def _take(claim: Callable[[], Job | None], uuid: str) -> str:
    _stopping.watch()
    if _stopping.is_set:  # it was fetched before: another worker, or the next start, takes it
        services.send_again(uuid)
        return "stopping"
    job = claim()
    if job is None:
        return "nothing to claim"
    token = logs.job_id.set(str(job.uuid))
    heartbeat = Heartbeat(job)
    try:
        with heartbeat:
            return _run(job, JobContext(job, heartbeat))
    except Abandoned as exc:
        logger.warning("Job %s is given up for now: %s", job.uuid, exc)
        return "handed back" if exc.at_once and _hand_back(job, heartbeat, str(exc)) else "lease lost"
    except LeaseLost:
        logger.warning("Job %s: the lease was lost, another worker goes on", job.uuid)
        return "lease lost"
    finally:
        logs.job_id.reset(token)


def _hand_back(job: Job, heartbeat: Heartbeat, why: str) -> bool:
    """Let the next worker resume the job at once; while the database is away, as long as the lease lasts."""
    while not heartbeat.is_lost:
        try:
            if not connection.in_atomic_block:
                close_old_connections()
            return services.hand_back(job, why)
        except (DatabaseError, InterfaceError):
            connections.close_all()
        time.sleep(OUTAGE_PAUSE_SECONDS)
    return False


def _run(job: Job, ctx: JobContext) -> str:
    if job.is_resumed:
        ctx.log(
            Level.WARNING, f"Attempt {job.attempt}: the worker before was lost.", lost_at=str(job.lost_at)
        )
    try:
        with denials.collected("job", kind=job.kind):
            result = registry.kind(job.kind).handler(ctx, **job.params) or {}
        json.dumps(result)
    except JobCancelled as exc:
        _finish(job, ctx, State.CANCELLED, Level.WARNING, exc.message, error=exc.as_dict())
    except NeedsInput as exc:
        if not services.ask(job, exc.question, keep_locks=exc.keep_locks):
            raise LeaseLost from None
    except Exception as exc:
        if (away := outage(exc)) is not None and not isinstance(away, OwnDatabaseFull):
            ctx.abandon_on_outage(exc)
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
    def finish() -> None:
        with transaction.atomic():
            if level is not None:
                services.log(job, level, text)
            if not services.finish(job, state, result=result, error=error):
                raise LeaseLost

    ctx.patiently(finish, may_stop=False)
