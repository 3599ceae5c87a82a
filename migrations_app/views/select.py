"""The first step: what is part of the migration, what pulled it in, and leaving things out."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_http_methods

from migrations_app import services
from migrations_app.models import Migration
from sstools.errors import Conflict
from sstools.web.htmx import go_to, render_page

from .common import KIND_LABELS, find_migration, page_context, split_list
from .members import members_of

PAGE_SIZE = 100


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def migration_select(request: HttpRequest, number: int) -> HttpResponse:
    """POST: `shown` (uuids of the page), `take` (those ticked), `with_dependencies`; `do=plan` makes the plan, too."""
    migration = find_migration(request, number)
    if request.method == "POST":
        try:
            return _save(request, migration)
        except Conflict as error:
            migration = find_migration(request, number)
            return _page(request, migration, {"problem": error}, status=error.status)
    return _page(request, migration, {})


def _save(request: HttpRequest, migration: Migration) -> HttpResponse:
    shown, taken = set(split_list(request.POST.get("shown", ""))), set(request.POST.getlist("take"))
    left_out = (set(migration.left_out) - shown) | (shown - taken)
    options: dict[str, Any] = {}
    if not migration.maps_nothing and "options" in request.POST:
        options["with_dependencies"] = request.POST.get("with_dependencies") == "on"
    # A "leave out" that was the answer to a conflict is taken back by ticking the asset again.
    answered_out = {uuid for uuid, answer in migration.answers.items() if answer.get("answer") == "leave_out"}
    if again := answered_out & taken:
        services.answer_conflicts(migration, dict.fromkeys(again), actor=request.user)
    left_out -= answered_out & shown - taken
    services.update_migration(migration, actor=request.user, left_out=left_out, **options)
    if request.POST.get("do") == "plan":
        services.request_plan(migration, actor=request.user)
        return go_to(request, "migrations_app:plan", migration.number)
    messages.success(request, "The selection is saved.")
    return go_to(request, "migrations_app:select", migration.number)


def _page(
    request: HttpRequest, migration: Migration, more: dict[str, Any], status: int = 200
) -> HttpResponse:
    members = members_of(migration)
    page = Paginator(members, PAGE_SIZE).get_page(request.GET.get("page"))
    rows = list(page.object_list)
    groups = [
        (kind, label, [member for member in rows if member.kind == kind])
        for kind, label in KIND_LABELS.items()
    ]
    context = {
        **page_context(request, migration, "select"),
        "page": page,
        "groups": [group for group in groups if group[2]],
        "shown": ",".join(member.uuid for member in rows),
        "taken_count": sum(not member.is_out for member in members),
        "out_count": sum(member.is_out for member in members),
        "selected_count": sum(member.is_selected for member in members),
        "pulled_count": sum(not member.is_selected for member in members),
        **more,
    }
    return render_page(
        request, "migrations_app/select.html", "migrations_app/_select.html", context, status=status
    )
