"""/healthz: the process answers. /readyz: it can work; says what cannot, within seconds, also while the database hangs.

All questions to the database are asked by one thread with a connection of its own. When it does not come back in time
nobody waits for it, and nobody else is sent after it: a server that hangs would swallow one thread after the other.
"""

import logging
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from queue import SimpleQueue

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, close_old_connections, connections, transaction
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.clickjacking import xframe_options_deny
from django.views.decorators.http import require_safe

from sstools import secrets
from sstools.jobs import services as jobs
from sstools.jobs.models import Worker
from sstools.outages import (
    OwnDatabaseBusy,
    OwnDatabaseDamaged,
    OwnDatabaseDiskFails,
    OwnDatabaseFull,
    OwnDatabaseOutage,
    OwnDatabaseReadOnly,
    is_outage,
    outage,
)

logger = logging.getLogger(__name__)
QUEUE_SECONDS = 120.0  # a claimable job waits this long and none was begun meanwhile: the queue does not move
ANSWER_SECONDS = 2.0  # so long somebody who asks /readyz, or takes the last thread, waits for the database
LOW_BYTES = 500 * 1024**2  # of free disk below this is said


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
    found = ask(look)
    if found is None:
        parts = {"database": "does not answer", **dict.fromkeys([*list(CHECKS)[1:], "workers"], "not known")}
    else:
        parts = found
    ready = all(parts[name] == "ok" for name in CHECKS)
    parts["disk"] = _look("disk", _disk)  # for information, like the workers: pages work without
    return JsonResponse(
        {"status": "ok" if ready else "not ready", "parts": parts}, status=200 if ready else 503
    )


# --- Asking -------------------------------------------------------------------------------------------------------


Question = Callable[[], dict[str, str]]


class Asker:
    """The one thread that asks the database. A question while the same one is under way gets that one's answer."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._questions: SimpleQueue[tuple[Question, Future[dict[str, str]]]] = SimpleQueue()
        self._under_way: dict[str, tuple[Future[dict[str, str]], float]] = {}

    def __call__(self, question: Question) -> dict[str, str] | None:
        """What `question` finds, or raises; None if that takes longer than ANSWER_SECONDS, or has taken that long."""
        with self._lock:
            if self._thread is None:
                # A daemon: one that hangs must not keep the process from ending.
                self._thread = threading.Thread(target=self._work, name="health", daemon=True)
                self._thread.start()
            future, asked_at = self._under_way.get(question.__name__, (None, 0.0))
            if future is None or future.done():
                future, asked_at = Future(), time.monotonic()
                self._under_way[question.__name__] = future, asked_at
                self._questions.put((question, future))
        try:
            return future.result(max(0.0, asked_at + ANSWER_SECONDS - time.monotonic()))
        except NotInTime:
            return None

    def _work(self) -> None:
        while True:
            question, future = self._questions.get()
            try:
                close_old_connections()
                future.set_result(question())
            except Exception as exc:
                connections.close_all()
                future.set_exception(exc)


ask = Asker()


def look() -> dict[str, str]:
    """Every part with "ok" or what is wrong with it."""
    parts: dict[str, str] = {}
    for name, check in CHECKS.items():
        away = parts.get("database", "ok") in (AWAY, FAILED)
        parts[name] = "not known" if away else _look(name, check)
    parts["workers"] = "not known" if parts["database"] in (AWAY, FAILED) else _look("workers", _workers)
    return parts


AWAY, FAILED = "cannot be reached", "failed"
WORDS: dict[type[OwnDatabaseOutage], str] = {
    OwnDatabaseOutage: AWAY,
    OwnDatabaseFull: "disk is full",
    OwnDatabaseDiskFails: "disk fails",
    OwnDatabaseReadOnly: "cannot be written to",
    OwnDatabaseBusy: "is locked",
    OwnDatabaseDamaged: "is damaged",
}


def _look(name: str, check: Callable[[], str]) -> str:
    try:
        return check()
    except Exception as exc:
        error = outage(exc)
        logger.warning("Readiness: %s failed: %s", name, exc, exc_info=error is None)
        if error is None:
            return FAILED
        connections.close_all()
        return WORDS[type(error)]


def _database() -> str:
    """A write that is taken back: a disk that is full and a standby are found by nothing less."""
    with transaction.atomic(), connections[DEFAULT_DB_ALIAS].cursor() as cursor:
        cursor.execute("DELETE FROM django_session WHERE session_key = ''")
        transaction.set_rollback(True)
    return "ok"


def ping() -> dict[str, str]:
    with connections[DEFAULT_DB_ALIAS].cursor() as cursor:
        cursor.execute("SELECT 1")
    return {"database": "ok"}


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
    """Does it move? Jobs that wait while every worker is busy, or while others are begun, are no fault of it."""
    return "ok" if jobs.stalled_seconds() < QUEUE_SECONDS else "does not move"


def _keys() -> str:
    """Whether the keys fit: the text that was encrypted to see that, and what people stored."""
    if not secrets.keys_are_right():
        return "do not fit the stored secrets"
    return "ok" if secrets.newest_are_readable() else "do not fit all stored secrets"


def _disk() -> str:
    free = shutil.disk_usage(settings.DATA_DIR).free
    return "ok" if free >= LOW_BYTES else f"low, {free // 1024**2} MB free"


CHECKS: dict[str, Callable[[], str]] = {
    "database": _database,
    "migrations": _migrations,
    "keys": _keys,
    "queue": _queue,
}


# --- Around every request -----------------------------------------------------------------------------------------


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


class LastThreadMiddleware:
    """Refuses a page that would take the last thread of this process while the database hangs.

    A query to a server that hangs has no end. Without this all threads would come to wait for it, and /healthz with
    them: the process would be taken for dead, and restarted, which helps nothing.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response
        self._lock = threading.Lock()
        self._inside = 0

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        with self._lock:
            self._inside += 1
            is_last = self._inside >= settings.WEB_THREADS
        try:
            if is_last and not self._database_answers():
                from sstools.api.errors import own_database_away

                return own_database_away(request, OwnDatabaseOutage())
            return self.get_response(request)
        finally:
            with self._lock:
                self._inside -= 1

    def _database_answers(self) -> bool:
        try:
            return ask(ping) is not None
        except Exception as exc:
            return not is_outage(exc)
