"""System checks: queue settings with which jobs would be lost or done twice."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import connection

from .clock import db_now
from .models import Worker

SHORTEST_TIMEOUT = 1_800  # seconds: an import with the standard timeout, thrice


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
    must(
        queue.get("broker_class") == "sstools.jobs.broker.Broker",
        "The queue uses another broker.",
        "Busy clusters would hide messages from idle ones. Set broker_class to sstools.jobs.broker.Broker.",
        7,
    )
    must(
        bool(queue.get("recycle")) and bool(queue.get("max_rss")),
        "Workers are never replaced.",
        "Set recycle and max_rss: what leaks would grow until the machine kills a worker, with its job.",
        8,
    )

    def should(holds: bool, text: str, hint: str, number: int) -> None:
        if not holds:
            found.append(Warning(text, hint=hint, id=f"jobs.W{number:03}"))

    should(
        settings.JOB_GRACE_SECONDS >= 5,
        "SSTOOLS_JOB_GRACE_SECONDS is below 5.",
        "Messages that are just on their way would be sent again and again.",
        1,
    )
    should(
        settings.JOB_WORKERS > 1,
        "There is one worker.",
        "A scheduled job keeps people waiting until it ends. With two or more, one stays free for them.",
        2,
    )
    should(
        settings.JOB_TIMEOUT_SECONDS >= SHORTEST_TIMEOUT,
        f"SSTOOLS_JOB_TIMEOUT_SECONDS is below {SHORTEST_TIMEOUT}.",
        "A run may be cut off while it writes: one import alone may take 600 s, or what its environment allows.",
        3,
    )
    should(
        settings.JOB_SWEEP_SECONDS <= settings.JOB_LEASE_SECONDS,
        "SSTOOLS_JOB_SWEEP_SECONDS is longer than SSTOOLS_JOB_LEASE_SECONDS.",
        "Jobs of workers that died would wait for the sweep, not for the lease.",
        4,
    )
    return found


@register(Tags.database)
def one_machine_on_sqlite(app_configs: Any, databases: Any = None, **kwargs: Any) -> Sequence[CheckMessage]:
    """Looks into the database, so only with `manage.py check --database default` and before `migrate`."""
    if (
        not databases
        or connection.vendor != "sqlite"
        or Worker._meta.db_table not in connection.introspection.table_names()
    ):
        return []
    hosts = set(Worker.objects.alive(db_now()).values_list("host", flat=True))
    if len(hosts) < 2:
        return []
    return [
        Error(
            f"Workers of {len(hosts)} machines use one SQLite file: {', '.join(sorted(hosts))}.",
            hint="SQLite's locks do not reach beyond one machine: jobs would be done twice, and the file damaged. "
            "Use PostgreSQL (SSTOOLS_DATABASE_URL).",
            id="jobs.E009",
        )
    ]
