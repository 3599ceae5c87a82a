"""The job that keeps the installation tidy: it forgets what is older than the settings say."""

from typing import Any

from sstools.errors import NotAllowed
from sstools.jobs import services as jobs
from sstools.jobs.models import Job
from sstools.jobs.registry import Schedulable, Subject, job_kind
from sstools.jobs.runner import JobContext
from sstools.roles import policy
from sstools.roles.permissions import Permission

from . import firing
from .params import ParamsForm

TIDY_UP = "schedules.tidy_up"
PERMISSION = Permission.ACCESS_EDIT  # that of administrators: it concerns everybody's jobs


def _subjects(many: Any) -> list[Subject | None]:
    return [Subject("this ss-tools")] * len(many)


def _request(params: dict[str, Any], *, actor: Any, source: str, idempotency_key: str | None) -> Job:
    """`actor` None: the schedule that comes with ss-tools."""
    if actor is not None and not policy.can(actor, PERMISSION):
        raise NotAllowed(policy.explain(actor, PERMISSION).sentence)
    return jobs.enqueue(
        TIDY_UP,
        actor=actor,
        join_key=TIDY_UP,
        idempotency_key=idempotency_key,
        title="Tidy up",
        source=source,
    )


def _summary(job: Job) -> str:
    words = [f"{number:,} {name}" for name, number in (job.result or {}).items() if number]
    return f"{', '.join(words)} forgotten" if words else "nothing was old enough"


@job_kind(
    TIDY_UP,
    title="Tidy up",
    permission=PERMISSION,
    schedulable=Schedulable(
        "Forgets what is older than the settings say.",
        ParamsForm,
        _subjects,
        _request,
        _summary,
        builtin=("Tidy up", "30 3 * * *", {}),
    ),
)
def tidy_up(ctx: JobContext) -> dict[str, Any]:
    """Safe to run again: what is gone is gone."""
    ctx.step("History of schedules")
    return {"runs of schedules": firing.prune()}
