"""Doing a job in this process, or waiting for the workers to do it, with its log on stderr."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from django.db import connections

from sstools.errors import Conflict
from sstools.jobs import services as jobs
from sstools.jobs.models import Job, JobLog, State
from sstools.jobs.runner import run_job

LOOK_SECONDS = 0.3  # how often progress is looked for
CLAIM_SECONDS = 1.0  # how often a job that waits for a lock is tried again

Say = Callable[[str], None]


class Interrupted(Exception):
    """Stopped a second time: the job is left where it is."""

    def __init__(self, job: Job) -> None:
        super().__init__("interrupted")
        self.job = job


def follow(job: Job, *, here: bool, actor: Any, say: Say) -> Job:
    """Returns the finished job. `here`: this process does it, by the rules of any worker (claim, lease, locks).

    Ctrl-C (or SIGTERM) asks for the job's end and waits for it; a second one raises Interrupted.
    """
    shown = _Shown(job, say)
    stopping = False
    with _terminating_as_interrupt():
        worker = _start(job) if here else None
        while True:
            try:
                job.refresh_from_db()
                shown.update(job)
                if job.is_finished or job.state == State.NEEDS_INPUT:
                    break
                time.sleep(LOOK_SECONDS)
            except KeyboardInterrupt:
                if stopping:
                    raise Interrupted(job) from None
                stopping = True
                say("Asked the job to stop. It ends at its next safe point; once more leaves it as it is.")
                _cancel(job, actor)
        if worker is not None:
            worker.join()
    return job


def _start(job: Job) -> threading.Thread:
    # A thread, so that the main one stays free for signals. A daemon, so that a second Ctrl-C really ends the process:
    # the lease then runs out, and a worker takes over as from any that was lost.
    worker = threading.Thread(target=_work, args=(str(job.uuid),), name=f"job {job.uuid}", daemon=True)
    worker.start()
    return worker


def _work(uuid: str) -> None:
    try:
        while run_job(uuid) == "nothing to claim":
            # Held back by a lock, or a worker of the queue was faster: go on until somebody has ended it.
            if not Job.objects.filter(uuid=uuid, state__in=(State.QUEUED, State.RUNNING)).exists():
                return
            time.sleep(CLAIM_SECONDS)
    finally:
        connections.close_all()


def _cancel(job: Job, actor: Any) -> None:
    with suppress(Conflict):  # it ended at the same moment
        jobs.request_cancel(job, actor=actor, source="command")


@contextmanager
def _terminating_as_interrupt() -> Iterator[None]:
    """CI systems stop a step by SIGTERM: that is a Ctrl-C too. Only the main thread may say so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Shown:
    """What of the job was said already."""

    def __init__(self, job: Job, say: Say) -> None:
        self._say = say
        self._seq = 0
        self._waiting = False
        say(f"{job} (job {job.uuid})")

    def update(self, job: Job) -> None:
        if job.state == State.QUEUED and not self._waiting and (others := job.waits_for()):
            self._waiting = True
            self._say(f"  waits for: {', '.join(str(other) for other in others)}")
        for line in JobLog.objects.filter(job=job, seq__gt=self._seq).order_by("seq"):
            self._seq = line.seq
            mark = "" if line.is_step or line.level == "info" else f"{line.level}: "
            self._say(f"  {'' if line.is_step else '  '}{mark}{line.text}")
