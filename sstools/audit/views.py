"""The page of the history, and the same as files."""

from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from sstools.roles import policy
from sstools.roles.permissions import Permission
from sstools.web.htmx import render_page

from . import exporting, services
from .filters import AuditFilter
from .models import AuditEvent

PAGE_SIZE = 50
FORMATS = {
    "csv": ("text/csv; charset=utf-8", exporting.csv_lines),
    "jsonl": ("application/x-ndjson", exporting.json_lines),
}


@require_safe
@login_required
def audit_list(request: HttpRequest) -> HttpResponse:
    policy.require_anywhere(request.user, Permission.AUDIT_VIEW)
    found = AuditFilter(request.GET, queryset=AuditEvent.objects.visible_to(request.user), request=request)
    page = Paginator(found.qs, PAGE_SIZE).get_page(request.GET.get("page"))
    events: list[Any] = list(page.object_list)
    for event in events:
        event.changes, event.facts = _told(event.data)
    query = request.GET.copy()
    query.pop("page", None)
    context = {
        "filter": found,
        "page": page,
        "events": events,
        "filtered": any(found.form[name].value() for name in found.form.fields),
        "query": query.urlencode(),
        "head": services.head() if policy.can(request.user, Permission.AUDIT_VIEW) else None,
        "live_text": f"{page.paginator.count:,} events",
    }
    return render_page(request, "audit/list.html", "audit/_table.html", context)


@require_safe
@login_required
def audit_export(request: HttpRequest, kind: str) -> StreamingHttpResponse:
    """What the filters leave, oldest first. That it was taken is an event too."""
    policy.require_anywhere(request.user, Permission.AUDIT_VIEW)
    found = AuditFilter(request.GET, queryset=AuditEvent.objects.visible_to(request.user), request=request)
    content_type, lines = FORMATS[kind]
    asked = {name: value for name, value in request.GET.items() if value and name in found.filters}
    services.record(
        "audit:export",
        "audit:chain",
        actor=request.user,
        data={"format": kind, "filters": asked},
        source="page",
    )
    response = StreamingHttpResponse(lines(found.qs.order_by("number")), content_type=content_type)
    name = f"ss-tools-audit-{timezone.now():%Y%m%d-%H%M}.{kind}"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["Cache-Control"] = "no-store"
    return response


def _told(data: dict[str, Any]) -> tuple[list[tuple[str, Any, Any]], list[tuple[str, Any]]]:
    """(changes, other facts): fields with before and after where an event has both, and what else it says."""
    before, after = data.get("before"), data.get("after")
    if not isinstance(before, dict) or not isinstance(after, dict):
        return [], [(name, _words(value)) for name, value in data.items()]
    changes = [
        (name, _words(before.get(name)), _words(after.get(name)))
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]
    return changes, [(name, _words(value)) for name, value in data.items() if name not in ("before", "after")]


def _words(value: Any) -> str:
    if value is None or value == "":
        return ""
    if isinstance(value, list):
        return ", ".join(_words(one) for one in value)
    if isinstance(value, dict):
        return "; ".join(f"{name}: {_words(one)}" for name, one in value.items())
    return str(value)
