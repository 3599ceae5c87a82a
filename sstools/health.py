"""/healthz: the process answers. /readyz: it can work; says what cannot."""

import logging
from collections.abc import Callable

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.clickjacking import xframe_options_deny
from django.views.decorators.http import require_safe

from sstools import secrets
from sstools.jobs import services as jobs
from sstools.jobs.models import Worker

logger = logging.getLogger(__name__)
QUEUE_SECONDS = 120.0  # a claimable job waits this long: the queue does not move


@require_safe
@never_cache
@xframe_options_deny
def healthz(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": "ok"})


@require_safe
@never_cache
@xframe_options_deny
def readyz(request: HttpRequest) -> JsonResponse:
    """200 if every part works, else 503. The answer names the parts, and holds no details: anybody may ask."""
    parts = {name: _look(name, look) for name, look in CHECKS.items()}
    ready = all(value == "ok" for value in parts.values())
    parts["workers"] = _look("workers", _workers)  # for information: pages work without workers
    return JsonResponse(
        {"status": "ok" if ready else "not ready", "parts": parts}, status=200 if ready else 503
    )


def _look(name: str, look: Callable[[], str]) -> str:
    try:
        return look()
    except Exception:
        logger.warning("Readiness: %s failed", name, exc_info=True)
        return "failed"


def _database() -> str:
    with connections[DEFAULT_DB_ALIAS].cursor() as cursor:
        cursor.execute("SELECT 1")
        cursor.fetchone()
    return "ok"


_migrated = False  # once they are applied they stay applied: the plan is read from some fifty files


def _migrations() -> str:
    global _migrated
    if not _migrated:
        executor = MigrationExecutor(connections[DEFAULT_DB_ALIAS])
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            return "not applied"
        _migrated = True
    return "ok"


def _workers() -> str:
    return "ok" if Worker.objects.alive(jobs.db_now()).exists() else "none seen"


def _queue() -> str:
    return "ok" if jobs.oldest_wait_seconds() < QUEUE_SECONDS else "does not move"


def _keys() -> str:
    return "ok" if secrets.keys_are_right() else "do not fit the stored secrets"


CHECKS: dict[str, Callable[[], str]] = {
    "database": _database,
    "migrations": _migrations,
    "keys": _keys,
    "queue": _queue,
}


class ProbeMiddleware:
    """Answers the two before anything looks at the host name: load balancers and Kubernetes ask by IP address, which
    is in nobody's SSTOOLS_ALLOWED_HOSTS, and would take the 400 for a dead process.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        probe = PROBES.get(request.path_info)
        return probe(request) if probe else self.get_response(request)


PROBES: dict[str, Callable[[HttpRequest], HttpResponseBase]] = {"/healthz": healthz, "/readyz": readyz}
