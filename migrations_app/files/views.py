"""Pages: audits of files, a new one, one report."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from environments.models import Environment
from environments.superset.trees import SHAPES
from sstools.errors import Invalid
from sstools.jobs import presenting
from sstools.roles import policy
from sstools.roles.permissions import Permission
from sstools.web.htmx import go_to, render_page, wants_fragment

from . import services
from .forms import AuditForm, FindingForm
from .models import FileAudit
from .reading import MAX_BYTES
from .rendering import MAX_VALUES_BYTES

PAGE_SIZE = 50


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def audit_list(request: HttpRequest) -> HttpResponse:
    """Reports, newest first. POST starts one."""
    policy.require_anywhere(request.user, Permission.ASSET_VIEW)
    visible = Environment.objects.visible_to(request.user).in_order()
    allowed = [item.pk for item in visible if policy.can(request.user, Permission.MIGRATION_PLAN, item)]
    targets = Environment.objects.filter(pk__in=allowed).order_by("-position", "name")
    data = request.POST if request.method == "POST" else None
    files = request.FILES if data is not None else None
    form = AuditForm(data, files, targets=targets, initial={"target": request.GET.get("target")})
    if data is not None and form.is_valid():
        given = form.cleaned_data
        try:
            row = services.request_audit(
                given["file"].read(MAX_BYTES + 1),
                given["file"].name,
                given["target"],
                actor=request.user,
                values=given["values"].read(MAX_VALUES_BYTES + 1) if given["values"] else None,
            )
        except Invalid as error:
            field = next((name for name in error.errors if name in form.fields), None)
            form.add_error(field, f"{error.message} {error.remedy}".strip())
        else:
            return go_to(request, "files:audit", uuid=row.uuid)
    rows = FileAudit.objects.visible_to(request.user).select_related("target", "created_by").defer("findings")
    context = {
        "form": form,
        "can_audit": bool(allowed),
        "page": Paginator(rows, PAGE_SIZE).get_page(request.GET.get("page")),
        "most_mib": MAX_BYTES // 2**20,
    }
    status = 422 if form.errors else 200
    return render_page(request, "files/audits.html", "files/_audits.html", context, status=status)


@require_safe
@login_required
def audit_detail(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """One report; while it is made, its job."""
    row = services.find_audit(uuid, request.user)
    context: dict[str, Any] = {"audit": row, "shape": SHAPES.get(row.shape, "")}
    if row.finished_at is None:
        context |= presenting.state_of(row.job, request.user) if row.job is not None else {}
        return render_page(request, "files/audit.html", None, context)
    codes = sorted({one["code"] for one in row.findings})
    form = FindingForm(request.GET, codes=codes)
    found = form.select(row.findings)
    total = sum(row.finding_counts.values())
    context |= {
        "form": form,
        "page": Paginator(found, PAGE_SIZE).get_page(request.GET.get("page")),
        "filtered": len(found) < len(row.findings),
        "counts": [(name, number) for name, number in row.finding_counts.items() if number],
        "total": total,
        "left_off": total - len(row.findings),
        "may_remove": row.created_by_id == request.user.pk
        or policy.can(request.user, Permission.MIGRATION_PLAN, row.target),
        "live_text": f"{len(found)} finding{'' if len(found) == 1 else 's'}",
    }
    return render_page(request, "files/audit.html", "files/_findings.html", context)


@require_safe
@login_required
def audit_progress(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """The report in the making; leads to it when it is there."""
    row = services.find_audit(uuid, request.user)
    if row.finished_at is not None or row.job is None or not wants_fragment(request):
        return go_to(request, "files:audit", uuid=row.uuid)
    context = {"audit": row, **presenting.state_of(row.job, request.user)}
    return render_page(request, "files/audit.html", "files/_progress.html", context)


@require_POST
@login_required
def audit_remove(request: HttpRequest, uuid: UUID) -> HttpResponse:
    row = services.find_audit(uuid, request.user)
    services.remove_audit(row, actor=request.user)
    messages.success(request, f"The report on {row.name} is removed.")
    return go_to(request, "files:audits")
