"""Plan, and apply if nothing is open: for those who know what comes, and do not want to wait for the plan."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_http_methods

from migrations_app import promoting
from sstools.errors import Conflict, Invalid
from sstools.jobs.models import Source
from sstools.web.htmx import go_to, render_page

from .common import find_migration, page_context


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def migration_promote(request: HttpRequest, number: int) -> HttpResponse:
    """GET says what it does; POST asks for it, with `confirmation` (the target's slug) where that is protected."""
    migration = find_migration(request, number)
    if request.method == "POST":
        try:
            job = promoting.request_promotion(
                migration,
                actor=request.user,
                confirmation=request.POST.get("confirmation", ""),
                source=Source.PAGE,
            )
        except (Conflict, Invalid) as error:
            context = {
                **page_context(request, find_migration(request, number), "promote"),
                "problem": error,
                "typed": request.POST.get("confirmation", ""),
            }
            return render_page(
                request,
                "migrations_app/promote.html",
                "migrations_app/_promote.html",
                context,
                status=error.status,
            )
        return go_to(request, "jobs:detail", uuid=job.uuid)
    if not migration.is_open:
        return go_to(request, "migrations_app:detail", migration.number)
    context = page_context(request, migration, "promote")
    return render_page(request, "migrations_app/promote.html", "migrations_app/_promote.html", context)
