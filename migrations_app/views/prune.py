"""Switching on that a migration also removes what its source no longer has."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_POST

from migrations_app import services
from sstools.roles import policy
from sstools.roles.permissions import Permission
from sstools.web.htmx import go_to

from .common import find_migration


@require_POST
@login_required
def migration_prune(request: HttpRequest, number: int) -> HttpResponse:
    """`do=on` or `do=off`, and plan again."""
    migration = find_migration(request, number)
    policy.require(request.user, Permission.MIGRATION_PRUNE, migration.target)
    is_on = request.POST.get("do") == "on"
    migration = services.update_migration(migration, actor=request.user, prune=is_on)
    if migration.plan is None:
        services.request_plan(migration, actor=request.user)
    what = "what came later" if migration.is_of_backup else "what the source no longer has"
    word = f"It also removes {what}" if is_on else "Nothing is removed"
    messages.success(request, f"{word}. The plan is made again.")
    return go_to(request, "migrations_app:plan", migration.number)
