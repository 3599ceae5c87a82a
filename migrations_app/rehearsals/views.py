"""Pages: all rehearsals with the way to another one, and what came of one."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_http_methods, require_safe

from environments.models import Environment
from sstools.errors import Invalid, SSToolsError
from sstools.jobs.models import Job
from sstools.roles import policy
from sstools.roles.permissions import Permission
from sstools.web.htmx import go_to, render_page

from . import services
from .filters import RehearsalFilter
from .models import Rehearsal

PAGE_SIZE = 50


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def rehearsal_list(request: HttpRequest) -> HttpResponse:
    """POST asks for one: `environment` and `scratch` (slugs), `backup` (a number; empty: the latest good one)."""
    policy.require_anywhere(request.user, Permission.BACKUP_VIEW)
    problem: SSToolsError | None = None
    if request.method == "POST":
        try:
            return _begin(request)
        except SSToolsError as error:
            if error.status in (403, 404):
                raise
            problem = error
    rows = Rehearsal.objects.visible_to(request.user).select_related("environment", "scratch", "created_by")
    found = RehearsalFilter(request.GET, queryset=rows, request=request)
    page = Paginator(found.qs, PAGE_SIZE).get_page(request.GET.get("page"))
    total = page.paginator.count
    scratches = services.scratches(request.user)
    context = {
        "filter": found,
        "filtered": any(request.GET.get(name) for name in found.form.fields),
        "page": page,
        "scratches": scratches,
        "environments": _sources(request.user),
        "why_not": "" if scratches else _why_not(request.user),
        "chosen": request.POST or request.GET,
        "problem": problem,
        "live_text": f"{total} rehearsal{'' if total == 1 else 's'}",
    }
    status = problem.status if problem else 200
    return render_page(request, "rehearsals/list.html", "rehearsals/_table.html", context, status=status)


def _sources(user: Any) -> list[Environment]:
    rows = Environment.objects.visible_to(user).filter(scratch=False).in_order()
    return [row for row in rows if policy.can(user, Permission.BACKUP_VIEW, row)]


def _why_not(user: Any) -> str:
    """Why somebody can rehearse nowhere."""
    if not Environment.objects.visible_to(user).filter(scratch=True).exists():
        return "No environment is marked as scratch yet: one in which everything may be replaced at any time."
    return "You may not write to any scratch environment; Release leads and Admins of one may."


def _begin(request: HttpRequest) -> HttpResponse:
    visible = Environment.objects.visible_to(request.user)
    chosen, errors = [], {}
    for name in ("environment", "scratch"):
        row = visible.filter(slug=request.POST.get(name, "")).first()
        if row is None:
            errors[name] = ["Choose one."]
        chosen.append(row)
    if errors:
        raise Invalid("Say which environment is restored, and where.", errors=errors)
    environment, scratch = chosen
    assert environment is not None
    assert scratch is not None
    number = request.POST.get("backup", "").strip().removeprefix("backup:")
    backup = services.find_backup(environment, number, request.user) if number else None
    job = services.request_rehearsal(environment, scratch, actor=request.user, backup=backup)
    messages.success(request, f"{job.title}: asked for.")
    return go_to(request, "jobs:detail", job.uuid)


@require_safe
@login_required
def rehearsal_detail(request: HttpRequest, number: int) -> HttpResponse:
    row = services.find_rehearsal(number, request.user)
    context = {
        "rehearsal": row,
        "may_see_migration": policy.can(request.user, Permission.MIGRATION_VIEW, row.scratch),
        "may_see_job": Job.objects.visible_to(request.user).filter(pk=row.job_id or 0).exists(),
    }
    return render_page(request, "rehearsals/detail.html", "rehearsals/_detail.html", context)
