from typing import Any

from sstools.jobs.registry import job_kind
from sstools.jobs.runner import JobContext

from . import sending


@job_kind(sending.KIND, title="Send notices", can_retry=False)
def send(ctx: JobContext) -> dict[str, Any]:
    """Safe to run again: each delivery is taken before it is sent."""
    return sending.send_due(ctx)
