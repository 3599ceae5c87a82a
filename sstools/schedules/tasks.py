"""The job that keeps the installation tidy: it forgets what is older than the settings say."""

import logging
from typing import Any

from sstools.errors import SSToolsError
from sstools.jobs import services as jobs
from sstools.jobs import tidying
from sstools.jobs.models import Job, Level
from sstools.jobs.registry import Schedulable, Subject, job_kind
from sstools.jobs.runner import JobContext
from sstools.outages import is_outage
from sstools.roles import policy
from sstools.roles.permissions import Permission

from .params import ParamsForm

logger = logging.getLogger(__name__)

TIDY_UP = "schedules.tidy_up"
PERMISSION = Permission.ACCESS_EDIT  # that of administrators: it concerns everybody's jobs


def _subjects(many: Any) -> list[Subject | None]:
    return [Subject("this ss-tools")] * len(many)


def _request(params: dict[str, Any], *, actor: Any, source: str, idempotency_key: str | None) -> Job:
    """`actor` None: the schedule that comes with ss-tools."""
    if actor is not None:
        policy.require(actor, PERMISSION)
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
    """Safe to run again: what is gone is gone. What cannot be forgotten keeps nothing else from it."""
    forgotten: dict[str, Any] = {}
    failed: list[str] = []
    for name, function in tidying.registered().items():
        ctx.step(name.capitalize())
        try:
            forgotten[name] = function()
        except Exception as exc:
            if is_outage(exc):
                raise
            logger.exception("Tidying up: %s", name)
            ctx.log(Level.ERROR, f"{name}: {type(exc).__name__}. The workers' log has the whole of it.")
            failed.append(name)
    if failed:
        raise SSToolsError(
            f"Could not forget: {', '.join(failed)}.",
            code="not_tidy",
            remedy="Report it together with the workers' log.",
            detail={"forgotten": forgotten},
        )
    return forgotten
