"""What other tools damaged on an environment, and the migration that mends it."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_http_methods

from environments import damage
from environments.canonical.damage import MEANINGS, NOT_MENDED
from environments.models import Asset, Environment
from migrations_app import repairs
from sstools.errors import NotAllowed, SSToolsError
from sstools.roles import policy
from sstools.roles.permissions import Permission
from sstools.web.htmx import go_to, render_page

from .common import right

PAGE_SIZE = 50


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def environment_damage(request: HttpRequest, slug: str) -> HttpResponse:
    """GET lists damaged dashboards; POST with repeated `uuid`, or none for all of them, plans their repair."""
    environment = Environment.objects.visible_to(request.user).filter(slug=slug).first()
    if environment is None:
        raise Http404
    policy.require(request.user, Permission.ASSET_VIEW, environment)
    problem: SSToolsError | None = None
    if request.method == "POST":
        try:
            migration = repairs.create_repair(environment, request.POST.getlist("uuid"), actor=request.user)
        except NotAllowed:
            raise
        except SSToolsError as error:
            problem = error
        else:
            messages.success(request, "The repair is being planned. Nothing is written before you apply it.")
            return go_to(request, "migrations_app:plan", migration.number)
    rows = Asset.objects.filter(environment=environment).exclude(damage_codes="").order_by("sort_key", "pk")
    context = {
        "environment": environment,
        "page": Paginator(rows, PAGE_SIZE).get_page(request.GET.get("page")),
        "counts": damage.counts_of(environment),
        "can_plan": right(request.user, Permission.MIGRATION_PLAN, environment),
        "meanings": sorted(
            {
                code: text
                for row in rows
                for code in row.damage_codes.strip(",").split(",")
                if (text := MEANINGS.get(code))
            }.items()
        ),
        "not_mended": NOT_MENDED,
        "problem": problem,
    }
    return render_page(
        request, "migrations_app/damage.html", None, context, status=problem.status if problem else 200
    )
