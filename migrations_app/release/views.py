"""Pages: the approval of a plan, routes, the rules of an environment."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from environments.models import Environment
from migrations_app import services as migrations
from migrations_app.models import MigrationState
from migrations_app.views.common import find_migration, page_context, right
from sstools.errors import Invalid, SSToolsError
from sstools.roles import policy
from sstools.roles.permissions import Permission
from sstools.web.htmx import go_to, render_page

from . import gate, services
from .forms import PREFIX, FreezeForm, ProtectionForm, RouteForm
from .models import FreezePeriod, Route

# --- The approval of a plan ---------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def approve(request: HttpRequest, number: int) -> HttpResponse:
    """POST `plan` (the hash that was looked at), `verdict` (approved, rejected) and `comment`."""
    migration = find_migration(request, number)
    problem: SSToolsError | None = None
    if request.method == "POST":
        try:
            decision = services.decide(
                migration,
                verdict=request.POST.get("verdict", ""),
                plan_hash=request.POST.get("plan", ""),
                actor=request.user,
                comment=request.POST.get("comment", ""),
            )
        except SSToolsError as error:
            if error.status in (403, 404) and not isinstance(error, services.OwnPlan):
                raise
            problem, migration = error, find_migration(request, number)
        else:
            messages.success(request, f"You {decision.get_verdict_display()} this plan.")
            return go_to(request, "release:approve", migration.number)
    context = {
        **page_context(request, migration, "approve"),
        **_state(request, migration),
        "problem": problem,
    }
    context["typed"] = request.POST.get("comment", "") if problem else ""
    return render_page(
        request, "release/approve.html", None, context, status=problem.status if problem else 200
    )


def _state(request: HttpRequest, migration: Any) -> dict[str, Any]:
    plan, user = migration.plan, request.user
    if plan is None:
        return {"approval": None}
    approval = gate.approval_of(migration, plan)
    state = gate.protection_of(migration.target).opening(timezone.now())
    may = policy.explain(user, Permission.MIGRATION_APPROVE, migration.target)
    return {
        "approval": approval,
        "routes": gate.routes_of(migration),
        "decisions": gate.decisions_on(plan),
        "is_own": gate.is_own(user, migration, plan),
        "may_approve": may,
        "is_named": any(gate.is_approver(user, need.rule) for need in approval.needs) or not approval.needs,
        "waits": migration.state == MigrationState.PLANNED,
        "window": state,
        "why_not": migrations.why_not_applicable(migration, with_gates=False),
        "people": gate.approvers(migration, plan) if approval.is_needed and not approval.is_given else [],
    }


@require_POST
@login_required
def ask(request: HttpRequest, number: int) -> HttpResponse:
    migration = find_migration(request, number)
    people = services.ask_for_approval(migration, actor=request.user)
    names = ", ".join(policy.name_of(user) for user in people[:5])
    messages.success(
        request, f"Asked: {names}." if people else "There is nobody to ask: nobody else may approve it."
    )
    return go_to(request, "release:approve", migration.number)


# --- Routes -------------------------------------------------------------------------------------------------------


@require_safe
@login_required
def route_list(request: HttpRequest) -> HttpResponse:
    policy.require_anywhere(request.user, Permission.MIGRATION_VIEW)
    routes = Route.objects.visible_to(request.user).select_related("source", "target")
    can_add = policy.can_anywhere(request.user, Permission.ROUTE_EDIT)
    why_not = "" if can_add else policy.explain(request.user, Permission.ROUTE_EDIT).sentence
    context = {"routes": routes, "can_add": can_add, "why_not": why_not}
    return render_page(request, "release/routes.html", None, context)


def _find(request: HttpRequest, slug: str) -> Route:
    return get_object_or_404(
        Route.objects.visible_to(request.user).select_related("source", "target"), slug=slug
    )


@require_safe
@login_required
def route_detail(request: HttpRequest, slug: str) -> HttpResponse:
    route = _find(request, slug)
    uses = route.uses.select_related("migration__target", "migration__source").order_by("-migration__number")[
        :20
    ]
    context = {
        "route": route,
        "uses": uses,
        "protection": gate.protection_of(route.target),
        "can_edit": right(request.user, Permission.ROUTE_EDIT, route.target),
        "can_plan": right(request.user, Permission.MIGRATION_PLAN, route.target),
    }
    return render_page(request, "release/route.html", None, context)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def route_edit(request: HttpRequest, slug: str = "") -> HttpResponse:
    route = _find(request, slug) if slug else None
    if route is not None:
        policy.require(request.user, Permission.ROUTE_EDIT, route.target)
    else:
        policy.require_anywhere(request.user, Permission.ROUTE_EDIT)
    form = RouteForm(request.POST or None, user=request.user, route=route)
    if request.method == "POST" and form.is_valid():
        try:
            values = {**form.cleaned_data, "carrying": form.carrying}
            saved = services.save_route(route, values, actor=request.user)
        except Invalid as error:
            _add_errors(form, error)
        else:
            messages.success(request, f"{saved} is saved.")
            return go_to(request, "release:route", saved.slug)
    context = {"form": form, "route": route}
    return render_page(
        request, "release/route_form.html", None, context, status=422 if form.is_bound else 200
    )


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def route_delete(request: HttpRequest, slug: str) -> HttpResponse:
    route = _find(request, slug)
    if request.method != "POST":
        policy.require(request.user, Permission.ROUTE_EDIT, route.target)
        return render_page(request, "release/route_delete.html", None, {"route": route})
    services.delete_route(route, actor=request.user)
    messages.success(request, f"{route} is deleted.")
    return go_to(request, "release:routes")


# --- The rules of an environment ----------------------------------------------------------------------------------


def _environment(request: HttpRequest, slug: str) -> Environment:
    found: Environment = get_object_or_404(Environment.objects.visible_to(request.user), slug=slug)
    return found


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def rules(request: HttpRequest, slug: str) -> HttpResponse:
    environment = _environment(request, slug)
    protection = gate.protection_of(environment)
    can_edit = policy.explain(request.user, Permission.ENVIRONMENT_EDIT, environment)
    form = ProtectionForm(request.POST or None, protection=protection)
    if request.method == "POST":
        policy.require(request.user, Permission.ENVIRONMENT_EDIT, environment)
        if form.is_valid():
            try:
                services.save_protection(environment, form.values(), actor=request.user)
            except Invalid as error:
                _add_errors(form, error)
            else:
                messages.success(request, f"The rules of {environment} are saved.")
                return go_to(request, "release:rules", environment.slug)
    context = {
        "environment": environment,
        "form": form,
        "freeze_form": FreezeForm(),
        "can_edit": can_edit,
        "window": protection.opening(timezone.now()),
        "freezes": FreezePeriod.objects.filter(
            environment=environment, until__gt=timezone.now()
        ).select_related("created_by"),
    }
    return render_page(request, "release/rules.html", None, context, status=422 if form.is_bound else 200)


@require_POST
@login_required
def freeze_add(request: HttpRequest, slug: str) -> HttpResponse:
    environment = _environment(request, slug)
    policy.require(request.user, Permission.ENVIRONMENT_EDIT, environment)
    form = FreezeForm(request.POST)
    if form.is_valid():
        try:
            services.add_freeze(environment, actor=request.user, **form.cleaned_data)
        except Invalid as error:
            _add_errors(form, error)
        else:
            messages.success(request, f"{environment} is frozen.")
            return go_to(request, "release:rules", environment.slug)
    protection = gate.protection_of(environment)
    context = {
        "environment": environment,
        "form": ProtectionForm(protection=protection),
        "freeze_form": form,
        "can_edit": policy.explain(request.user, Permission.ENVIRONMENT_EDIT, environment),
        "window": protection.opening(timezone.now()),
        "freezes": FreezePeriod.objects.filter(environment=environment, until__gt=timezone.now()),
    }
    return render_page(request, "release/rules.html", None, context, status=422)


@require_POST
@login_required
def freeze_end(request: HttpRequest, uuid: Any) -> HttpResponse:
    environments = Environment.objects.visible_to(request.user)
    freeze = get_object_or_404(FreezePeriod.objects.filter(environment__in=environments), uuid=uuid)
    services.end_freeze(freeze, actor=request.user)
    messages.success(request, "The freeze has ended.")
    return go_to(request, "release:rules", freeze.environment.slug)


def _add_errors(form: Any, error: Invalid) -> None:
    for key, texts in (error.errors or {"": [error.message]}).items():
        name = key.replace("carrying.", PREFIX)
        for text in texts:
            form.add_error(name if name in form.fields else None, text)
