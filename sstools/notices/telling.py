"""Notices about jobs, for those that have no event of their own."""

from sstools.jobs.models import Job, State
from sstools.roles.permissions import Permission

from . import events, sending, services

FAILED = events.register("job.failed", "A job failed", Permission.JOB_VIEW, mails_you=False)
ASKS = events.register("job.needs_input", "A job waits for an answer", Permission.JOB_VIEW)

#: Kinds of jobs whose end is told otherwise, or is not worth a notice.
told_otherwise: set[str] = {sending.KIND}


def job_ended(job: Job) -> None:
    if job.state != State.FAILED or job.kind in told_otherwise:
        return
    error = job.error or {}
    services.publish(
        FAILED.key,
        title=f"Failed: {job}",
        text=f"{error.get('message', '')} {error.get('remedy', '')}".strip(),
        path=f"/jobs/{job.uuid}/",
        about=job.concerns,
        people=[job.actor],
        data={"job": str(job.uuid), "kind": job.kind, "code": error.get("code", "")},
    )


def job_asked(job: Job) -> None:
    question = job.question or {}
    services.publish(
        ASKS.key,
        title=f"Waits for an answer: {job}",
        text=str(question.get("text", "")),
        path=f"/jobs/{job.uuid}/",
        about=job.concerns,
        people=[job.actor],
        data={"job": str(job.uuid), "kind": job.kind, "code": question.get("code", "")},
    )
