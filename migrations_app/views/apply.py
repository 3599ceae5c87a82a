"""The fourth step: saying what will be written, and starting it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_http_methods

from migrations_app import gates, services
from migrations_app.models import Migration, MigrationState
from sstools.errors import Conflict, Invalid
from sstools.jobs.models import Source
from sstools.roles import policy
from sstools.roles.permissions import Permission
from sstools.web.htmx import go_to, render_page

from .common import KIND_LABELS, find_migration, page_context

SHOWN = 30  # names of a kind on the page; the plan has all


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def migration_apply(request: HttpRequest, number: int) -> HttpResponse:
    """POST `plan` (the hash that was looked at) and, for a protected target, `confirmation` (its slug)."""
    migration = find_migration(request, number)
    if request.method == "POST":
        try:
            services.request_apply(
                migration,
                plan_hash=request.POST.get("plan", ""),
                actor=request.user,
                confirmation=request.POST.get("confirmation", ""),
                bypass_reason=request.POST.get("bypass_reason", ""),
                source=Source.PAGE,
            )
        except (Conflict, Invalid) as error:
            migration = find_migration(request, number)
            return _page(
                request,
                migration,
                {"problem": error, "typed": request.POST.get("confirmation", "")},
                error.status,
            )
        return go_to(request, "migrations_app:verify", migration.number)
    if migration.is_busy or migration.state not in (MigrationState.PLANNED, MigrationState.DRAFT):
        return go_to(request, "migrations_app:detail", migration.number)
    return _page(request, migration, {})


def _page(
    request: HttpRequest, migration: Migration, more: dict[str, Any], status: int = 200
) -> HttpResponse:
    context = {**page_context(request, migration, "apply"), **more}
    plan = migration.plan
    if plan is not None:
        writing = plan.items.filter(action__in=("create", "update", "remove")).order_by("position")
        names: dict[str, list[tuple[str, str, str]]] = {}
        numbers: Counter[str] = Counter()
        for kind, uuid, title, action in writing.values_list("kind", "uuid", "title", "action"):
            numbers[kind] += 1
            if len(names.setdefault(kind, [])) < SHOWN:
                names[kind].append((uuid, title, action))
        in_the_way = gates.obstacles(migration, plan)
        context |= {
            "why_not": services.why_not_applicable(migration, with_gates=False),
            "obstacles": in_the_way,
            "may_bypass": bool(in_the_way)
            and all(obstacle.can_bypass for obstacle in in_the_way)
            and policy.can(request.user, Permission.MIGRATION_BYPASS, migration.target),
            "writes": [
                {
                    "label": label,
                    "count": numbers[kind],
                    "rows": names[kind],
                    "more": numbers[kind] - len(names[kind]),
                }
                for kind, label in KIND_LABELS.items()
                if kind in names
            ],
            "beside_count": plan.write_count - plan.asset_write_count,
            "write_count": plan.counts.get("create", 0) + plan.counts.get("update", 0),
            "remove_count": plan.counts.get("remove", 0),
            "error_count": len(plan.errors),
        }
    return render_page(
        request, "migrations_app/apply.html", "migrations_app/_apply.html", context, status=status
    )
