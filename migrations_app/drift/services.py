"""Asking for a check, doing it, and watching routes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import transaction
from django.utils import timezone

from environments.models import Environment
from environments.services import run_reading
from migrations_app.errors import NotReady
from migrations_app.release.models import Route
from sstools.audit import services as audit
from sstools.errors import NotFoundError
from sstools.jobs import services as jobs
from sstools.jobs.models import Job, Source
from sstools.roles import policy
from sstools.roles.permissions import Permission

from . import beside
from .detecting import look
from .models import Finding, Watch

CHECK = "drift.check"


def find(uuid: Any, user: Any) -> Finding:
    """Raises NotFoundError for what is absent or not visible."""
    rows = Finding.objects.visible_to(user).select_related(
        "target", "source", "run__migration", "closed_by", "migration__target", "answered_by"
    )
    if (finding := rows.filter(uuid=uuid).first()) is None:
        raise NotFoundError()
    return finding


@transaction.atomic
def request_check(
    route: Route, *, actor: Any, source: str = Source.PAGE, idempotency_key: str | None = None
) -> Job:
    """Read the target of a route and hold it against what was left there, in the background. Asking while that runs
    gives the same job. Raises NotAllowed; NotReady for a route that is switched off.
    """
    policy.require(actor, Permission.ENVIRONMENT_TEST, route.target)
    if not route.is_enabled:
        raise NotReady(f"The route {route} is switched off.", remedy="Switch it on to check its target.")
    return jobs.enqueue(
        CHECK,
        {"route": str(route.uuid)},
        actor=actor,
        about=[route.target],
        join_key=f"{CHECK}:{route.target.uuid}",
        idempotency_key=idempotency_key,
        title=f"Check {route.target.name} for drift",
        source=source,
    )


def check(
    target: Environment,
    progress: Callable[[str, int, int], None] | None = None,
    log: Callable[[str, str], None] = lambda level, text: None,
    **reading: Any,
) -> dict[str, Any]:
    """Read a target now and look for drift. Returns numbers: open, new, edited, closed. Raises SupersetError.

    reading: what else the reading takes, as of a job. log: takes what could not be read.
    """
    began = timezone.now()
    run_reading(target, progress, **reading)
    target.refresh_from_db()
    look(target)  # most likely done by the reading itself; this one is sure
    for reason in beside.check(target, reading.get("before_request")):
        log("warning", f"{target.name}: what goes with the assets could not be read in full. {reason}")
    found = Finding.objects.filter(target=target)
    return {
        "open": found.open().count(),
        "new": found.open().filter(found_at__gte=began).count(),
        "edited": found.open().filter(updated_at__gte=began, found_at__lt=began).count(),
        "closed": found.filter(closed_at__gte=began).count(),
    }


def is_watched(route: Route, user: Any) -> bool:
    return Watch.objects.filter(route=route, user_id=user.pk).exists()


@transaction.atomic
def set_watch(route: Route, is_on: bool, *, actor: Any, source: str = Source.PAGE) -> bool:
    """Have `actor` mailed of drift on this route, or not any more. Returns whether anything changed."""
    policy.require(actor, Permission.MIGRATION_VIEW, route.target)
    if is_on:
        _, changed = Watch.objects.get_or_create(route=route, user=actor)
    else:
        changed = bool(Watch.objects.filter(route=route, user=actor).delete()[0])
    if changed:
        audit.record(f"route:{'watch' if is_on else 'unwatch'}", route, actor=actor, source=source)
    return changed
