"""System checks: queue settings with which jobs would be lost or done twice."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register


@register()
def queue_settings(app_configs: Any, **kwargs: Any) -> Sequence[CheckMessage]:
    queue: dict[str, Any] = settings.Q_CLUSTER
    found: list[CheckMessage] = []

    def must(holds: bool, text: str, hint: str, number: int) -> None:
        if not holds:
            found.append(Error(text, hint=hint, id=f"jobs.E{number:03}"))

    must(
        queue.get("orm") == "default",
        "The queue is not in the default database.",
        "Job and message are written in one transaction only with orm = 'default'.",
        1,
    )
    must(
        queue.get("retry", 60) > (queue.get("timeout") or 0),
        "The queue's retry is not longer than its timeout.",
        "A job that runs longer than retry would be delivered a second time while it runs.",
        2,
    )
    must(
        queue.get("queue_limit", 99) <= queue.get("workers", 1),
        "The queue fetches more messages than it has workers.",
        "What waits in a cluster's memory counts as delivered. Set queue_limit to the number of workers.",
        3,
    )
    must(
        bool(queue.get("ack_failures")),
        "The queue delivers failed messages again and again.",
        "Set ack_failures.",
        4,
    )
    must(
        queue.get("save_limit") == -1,
        "The queue keeps results of successful messages.",
        "Set save_limit to -1: any other value reads all old results at each end of a task.",
        5,
    )
    database = settings.DATABASES["default"]
    must(
        not database.get("OPTIONS", {}).get("pool"),
        "The database connections are pooled.",
        "A pool does not survive the fork of the workers. Use CONN_MAX_AGE.",
        6,
    )
    if settings.JOB_GRACE_SECONDS < settings.JOB_LEASE_SECONDS:
        found.append(
            Warning(
                "SSTOOLS_JOB_GRACE_SECONDS is shorter than SSTOOLS_JOB_LEASE_SECONDS.",
                hint="Jobs that merely wait would be sent again and again.",
                id="jobs.W001",
            )
        )
    return found
