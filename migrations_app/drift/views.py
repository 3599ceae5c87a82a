"""Pages: what was edited by hand, one finding with its three answers, checking and watching a route."""

from __future__ import annotations

from typing import Any
from urllib.parse import urljoin
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_POST, require_safe

from environments.models import Asset, Environment
from migrations_app.engine.drift import How
from migrations_app.release.models import Route
from sstools.errors import Invalid, SSToolsError
from sstools.roles import policy
from sstools.roles.permissions import Permission
from sstools.web.htmx import go_to, render_page

from . import answers, services
from .filters import FindingFilter
from .models import Check, Finding

PAGE_SIZE = 50


@require_safe
@login_required
def finding_list(request: HttpRequest) -> HttpResponse:
    policy.require_anywhere(request.user, Permission.MIGRATION_VIEW)
    return _list(request)


def _list(request: HttpRequest, more: dict[str, Any] | None = None, status: int = 200) -> HttpResponse:
    rows = Finding.objects.visible_to(request.user).select_related("target", "source", "run", "migration")
    found = FindingFilter(request.GET, queryset=rows, request=request)
    page = Paginator(found.qs, PAGE_SIZE).get_page(request.GET.get("page"))
    total = page.paginator.count
    routes = list(Route.objects.visible_to(request.user).select_related("source", "target"))
    checks = dict(
        Check.objects.filter(target__in=[route.target_id for route in routes]).values_list("target", "at")
    )
    open_now = page.object_list and any(one.is_open for one in page.object_list)
    context = {
        "filter": found,
        "filtered": any(request.GET.get(name) for name in found.form.fields),
        "page": page,
        "routes": [(route, checks.get(route.target_id)) for route in routes],
        "can_answer": bool(open_now) and policy.can_anywhere(request.user, Permission.MIGRATION_PLAN),
        "can_accept": bool(open_now) and policy.can_anywhere(request.user, Permission.DRIFT_ACCEPT),
        "live_text": f"{total} finding{'' if total == 1 else 's'}",
        **(more or {}),
    }
    return render_page(request, "drift/list.html", "drift/_table.html", context, status=status)


@require_POST
@login_required
def answer_many(request: HttpRequest) -> HttpResponse:
    """POST `finding` (uuids), `do` (take, revert, accept) and, to accept, `reason`."""
    policy.require_anywhere(request.user, Permission.MIGRATION_VIEW)
    rows = Finding.objects.visible_to(request.user).select_related("target")
    uuids = [uuid for text in request.POST.getlist("finding") if (uuid := _uuid(text)) is not None]
    findings = list(rows.filter(uuid__in=uuids[: answers.MOST_AT_ONCE + 1]))
    try:
        if not findings:
            raise Invalid("Nothing is ticked.", remedy="Tick what to answer.")
        return _do(request, request.POST.get("do", ""), findings)
    except SSToolsError as error:
        if error.status in (403, 404):
            raise
        return _list(request, {"problem": error}, status=error.status)


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _do(request: HttpRequest, what: str, findings: list[Finding]) -> HttpResponse:
    if what == "accept":
        accepted = answers.accept(findings, reason=request.POST.get("reason", ""), actor=request.user)
        messages.success(request, f"Accepted: {len(accepted)}. They are no drift any more.")
        return go_to(request, "drift:list")
    if what == "take":
        source = (
            Environment.objects.visible_to(request.user).filter(slug=request.POST.get("source", "")).first()
        )
        migration = answers.take(findings, actor=request.user, source=source)
    elif what == "revert":
        migration = answers.revert(findings, actor=request.user)
    else:
        raise Invalid("Take, revert or accept.", errors={"do": ["One of take, revert, accept."]})
    return go_to(request, "migrations_app:plan", migration.number)


# --- One finding ------------------------------------------------------------------------------------------------------


@require_safe
@login_required
def finding_detail(request: HttpRequest, uuid: Any) -> HttpResponse:
    return _detail(request, services.find(uuid, request.user))


def _detail(
    request: HttpRequest, finding: Finding, problem: SSToolsError | None = None, typed: str = ""
) -> HttpResponse:
    user, target = request.user, finding.target
    sources = []
    if finding.source is None:
        seen = Environment.objects.visible_to(user)
        sources = list(seen.filter(routes_from__target=target).distinct())
    where = finding.source or (sources[0] if len(sources) == 1 else None)
    asset = Asset.objects.filter(environment=target, uuid=finding.asset_uuid).exclude(url_path="").first()
    migration = finding.migration
    is_seen = migration is not None and policy.can(user, Permission.MIGRATION_VIEW, migration.target)
    context = {
        "finding": finding,
        "target": target,
        "where": where,
        "sources": sources,
        "link": urljoin(f"{target.url.rstrip('/')}/", asset.url_path.lstrip("/"))
        if asset is not None
        else "",
        "at_work": migration if migration is not None and (migration.is_open or migration.is_busy) else None,
        "migration": migration if is_seen else None,
        "why_not_take": answers.why_not_take(finding)
        or _lacks(user, Permission.MIGRATION_PLAN, where)
        or (_lacks(user, Permission.MIGRATION_PRUNE, where) if finding.how == How.DELETED else ""),
        "why_not_revert": answers.why_not_revert(finding) or _lacks(user, Permission.MIGRATION_PLAN, target),
        "why_not_accept": _lacks(user, Permission.DRIFT_ACCEPT, target),
        "problem": problem,
        "typed": typed,
    }
    return render_page(
        request, "drift/finding.html", None, context, status=problem.status if problem else 200
    )


def _lacks(user: Any, permission: Permission, environment: Environment | None) -> str:
    if environment is None:
        return ""
    found = policy.explain(user, permission, environment)
    return "" if found.allowed else found.sentence


def _answer(request: HttpRequest, uuid: Any, what: str) -> HttpResponse:
    finding = services.find(uuid, request.user)
    try:
        if what == "accept":
            seen = {str(finding.uuid): request.POST.get("content", finding.content)}
            reason = request.POST.get("reason", "")
            answers.accept([finding], reason=reason, actor=request.user, seen=seen)
            messages.success(request, f"{finding} is accepted: it is no drift any more.")
            return go_to(request, "drift:finding", finding.uuid)
        return _do(request, what, [finding])
    except SSToolsError as error:
        if error.status in (403, 404):
            raise
        fresh = services.find(uuid, request.user)
        return _detail(request, fresh, error, request.POST.get("reason", ""))


@require_POST
@login_required
def take(request: HttpRequest, uuid: Any) -> HttpResponse:
    """POST `source` (a slug) for what no run brought."""
    return _answer(request, uuid, "take")


@require_POST
@login_required
def revert(request: HttpRequest, uuid: Any) -> HttpResponse:
    return _answer(request, uuid, "revert")


@require_POST
@login_required
def accept(request: HttpRequest, uuid: Any) -> HttpResponse:
    """POST `reason`, and `content` (what was looked at)."""
    return _answer(request, uuid, "accept")


# --- Routes -----------------------------------------------------------------------------------------------------------


def _route(request: HttpRequest, slug: str) -> Route:
    rows = Route.objects.visible_to(request.user).select_related("source", "target")
    return get_object_or_404(rows, slug=slug)


@require_POST
@login_required
def check(request: HttpRequest, slug: str) -> HttpResponse:
    job = services.request_check(_route(request, slug), actor=request.user)
    return go_to(request, "jobs:detail", uuid=job.uuid)


@require_POST
@login_required
def watch(request: HttpRequest, slug: str) -> HttpResponse:
    """POST `on`: "1" to be mailed, else not any more."""
    route = _route(request, slug)
    is_on = request.POST.get("on") == "1"
    services.set_watch(route, is_on, actor=request.user)
    messages.success(request, f"You {'watch' if is_on else 'no longer watch'} {route}.")
    return go_to(request, "release:route", route.slug)
