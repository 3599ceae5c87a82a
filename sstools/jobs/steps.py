"""How far a job is: its steps, its progress where the end is known, and how long the rest may take."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import zip_longest

from django.utils import timezone

from .models import Job, JobLog, State
from .pages import Step

LEAST_SECONDS = 3.0  # of work, before its speed says anything about the rest
LEAST_DONE = 2


def steps_of(job: Job, lines: list[JobLog] | None = None) -> list[Step]:
    """What `ctx.step` said, one line for each, with the time until the next. `lines`: if they are read already."""
    return list(_steps(job, step_lines(job) if lines is None else lines))


def step_lines(job: Job) -> list[JobLog]:
    return list(job.logs.filter(is_step=True).order_by("seq"))


def _steps(job: Job, lines: list[JobLog]) -> Iterator[Step]:
    for line, after in zip_longest(lines, lines[1:]):
        if line is None:  # none at all before the first step
            return
        state = "done"
        if after is None and not job.is_finished:
            state = "running" if job.state == State.RUNNING else "waiting"
        elif after is None and job.state != State.SUCCEEDED:
            state = "failed" if job.state == State.FAILED else "skipped"
        progress = progress_of(job, lines) if after is None and not job.is_finished else None
        note = f"{progress.done:,} of {progress.total:,}" if progress else ""
        detail = str((job.error or {}).get("message", "")) if state == "failed" else ""
        end = after.at if after else job.finished_at or timezone.now()
        yield Step(line.text, state, note, max(0.0, (end - line.at).total_seconds()), detail, line.seq)


@dataclass(frozen=True)
class Progress:
    """`done` of `total`; `seconds_left` is None as long as nothing can be said about it."""

    done: int
    total: int
    seconds_left: float | None

    @property
    def percent(self) -> int:
        return min(100, round(100 * self.done / self.total))


def progress_of(job: Job, lines: list[JobLog], now: datetime | None = None) -> Progress | None:
    """How far the present step is, or the whole job if its steps share a total. None where the end is not known.

    A step that tells no total says nothing by the numbers of the step before. The rest is estimated from the speed
    since the first step with the same total; `lines` are the job's step lines.
    """
    if not job.progress_total:
        return None
    told = [(line.at, *_told(line)) for line in lines]
    total = job.progress_total
    if told and told[-1][2] is not None and told[-1][2] != total:
        return None
    if told and told[-1][2] is None and any(known is not None for _, _, known in told):
        return None  # what stands there is left over from a step before
    if job.is_finished or job.state != State.RUNNING:
        return Progress(job.progress_done, total, None)
    began: tuple[datetime, int] | None = None
    for at, done, known in reversed(told):
        if known != total:
            break
        began = (at, done)
    left: float | None = None
    if began is not None and job.progress_done < total:
        seconds = ((now or timezone.now()) - began[0]).total_seconds()
        done_since = job.progress_done - began[1]
        if seconds >= LEAST_SECONDS and done_since >= LEAST_DONE:
            left = seconds / done_since * (total - job.progress_done)
    return Progress(job.progress_done, total, left)


def _told(line: JobLog) -> tuple[int, int | None]:
    """(done, total) as the step began; no total if it told none."""
    done, total = line.fields.get("done"), line.fields.get("total")
    return (done if isinstance(done, int) else 0), (total if isinstance(total, int) else None)
