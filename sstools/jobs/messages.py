"""Messages of the queue. They are hints that there is work, not orders: a worker that gets one takes the job that is
first in line, whichever that is. One too many is nothing, one too few waits for the sweep.
"""

from datetime import timedelta

from django.conf import settings
from django_q.tasks import async_task

from .clock import db_now
from .models import Job, Priority, State

RUNNER = "sstools.jobs.runner.run_next"
# A message may be lost with the machine that fetched it, or wait in its memory behind a long job. A person is not to
# wait for long on that account.
INTERACTIVE_GRACE_SECONDS = 5


def send(job: Job) -> None:
    """Say that a queued job waits for nothing but a worker. The stamp says when the sweep may take that for lost."""
    now = db_now()
    until = now + grace(job)
    Job.objects.filter(pk=job.pk, state=State.QUEUED).update(ready_at=now, resend_at=until)
    job.ready_at, job.resend_at = now, until
    send_again(str(job.uuid))


def send_again(uuid: str) -> None:
    """Put another message for a job into the queue."""
    async_task(RUNNER, uuid)


def grace(job: Job) -> timedelta:
    """How long a message may take before the sweep sends another."""
    seconds = settings.JOB_GRACE_SECONDS
    if job.priority == Priority.INTERACTIVE and job.state == State.QUEUED:
        seconds = min(seconds, INTERACTIVE_GRACE_SECONDS)
    return timedelta(seconds=seconds)
