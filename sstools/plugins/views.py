"""Pages of plugins. What a plugin says is text here: templates escape it, and nothing of it is run."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from sstools.errors import Conflict, Invalid
from sstools.resources import EVERYTHING
from sstools.roles import policy
from sstools.roles.permissions import Permission
from sstools.web.htmx import go_to, render_page

from . import presenting, running, services
from .forms import EnableForm, FieldsForm, JobForm
from .models import Plugin

PAGE_SIZE = 25


def _find(request: HttpRequest, name: str) -> Plugin:
    policy.require_anywhere(request.user, Permission.PLUGIN_VIEW)
    plugin: Plugin = get_object_or_404(services.all_plugins(), name=name)
    return plugin


@require_safe
@login_required
def plugin_list(request: HttpRequest) -> HttpResponse:
    policy.require_anywhere(request.user, Permission.PLUGIN_VIEW)
    seen = presenting.Seen(request.user)
    rows = [{"plugin": plugin, "on": seen.where(plugin)} for plugin in services.all_plugins()]
    why = policy.explain(request.user, Permission.PLUGIN_EDIT)
    context = {"rows": rows, "why_no_look": "" if why.allowed else why.sentence}
    return render_page(request, "plugins/list.html", None, context)


@require_POST
@login_required
def look(request: HttpRequest) -> HttpResponse:
    job = services.request_look(actor=request.user)
    return go_to(request, "jobs:detail", uuid=job.uuid)


@require_safe
@login_required
def plugin_detail(request: HttpRequest, name: str) -> HttpResponse:
    plugin = _find(request, name)
    return render_page(request, "plugins/detail.html", None, _detail(request, plugin))


def _detail(request: HttpRequest, plugin: Plugin, **more: Any) -> dict[str, Any]:
    seen = presenting.Seen(request.user)
    results = plugin.results.visible_to(request.user).select_related("actor", "plugin")
    may_edit = policy.can_anywhere(request.user, Permission.PLUGIN_EDIT)
    return {
        "plugin": plugin,
        "on": seen.where(plugin),
        "jobs": presenting.jobs_of(plugin, request.user),
        "settings": presenting.settings_shown(plugin),
        "page": Paginator(results, PAGE_SIZE).get_page(request.GET.get("page")),
        "places": seen.labels,
        "may_edit": may_edit,
        "may_configure": policy.can(request.user, Permission.PLUGIN_EDIT),
        "enable_form": EnableForm(user=request.user) if may_edit and plugin.can_be_used else None,
        "why_no_edit": "" if may_edit else policy.explain(request.user, Permission.PLUGIN_EDIT).sentence,
        **more,
    }


@require_POST
@login_required
def enable(request: HttpRequest, name: str) -> HttpResponse:
    plugin = _find(request, name)
    policy.require_anywhere(request.user, Permission.PLUGIN_EDIT)
    form = EnableForm(request.POST, user=request.user)
    if not form.is_valid():
        context = _detail(request, plugin, enable_form=form)
        return render_page(request, "plugins/detail.html", None, context, status=422)
    try:
        services.enable(
            plugin, form.cleaned_data["scope"], roles=form.cleaned_data["roles"], actor=request.user
        )
    except Conflict as error:
        form.add_error(None, str(error))
        context = _detail(request, plugin, enable_form=form)
        return render_page(request, "plugins/detail.html", None, context, status=error.status)
    messages.success(request, f"{plugin} is on.")
    return go_to(request, plugin)


@require_POST
@login_required
def disable(request: HttpRequest, name: str) -> HttpResponse:
    plugin = _find(request, name)
    scope = services.require_seen(request.POST.get("scope", ""), request.user)
    services.disable(plugin, scope, actor=request.user)
    messages.success(request, f"{plugin} is off there. Its settings and results stay.")
    return go_to(request, plugin)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def configure(request: HttpRequest, name: str) -> HttpResponse:
    plugin = _find(request, name)
    policy.require(request.user, Permission.PLUGIN_EDIT)
    if not plugin.fields:
        raise Http404
    stored = frozenset(plugin.stored_secrets)
    form = FieldsForm(
        plugin.fields,
        request.POST if request.method == "POST" else None,
        initial=plugin.values,
        stored=stored,
    )
    if request.method == "POST" and form.is_valid():
        try:
            services.configure(plugin, form.given(), actor=request.user)
        except Invalid as error:
            form.add_invalid(error)
        else:
            messages.success(request, "Saved. The next call of the plugin gets it.")
            return go_to(request, plugin)
    status = 422 if form.is_bound else 200
    return render_page(
        request, "plugins/settings.html", None, {"plugin": plugin, "form": form}, status=status
    )


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def forget(request: HttpRequest, name: str) -> HttpResponse:
    plugin = _find(request, name)
    policy.require(request.user, Permission.PLUGIN_EDIT)
    problem = None
    if request.method == "POST":
        try:
            services.forget(plugin, actor=request.user)
        except Conflict as error:
            problem = error
        else:
            messages.success(request, f"What {plugin} left is removed.")
            return go_to(request, "plugins:list")
    context = {"plugin": plugin, "left": services.left_by(plugin), "problem": problem}
    return render_page(
        request, "plugins/forget.html", None, context, status=problem.status if problem else 200
    )


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def job(request: HttpRequest, name: str, job: str) -> HttpResponse:
    """A kind of job: its form, its trend, and what it found before."""
    plugin = _find(request, name)
    kind = plugin.item("jobs", job)
    if kind is None:
        raise Http404
    if request.method == "POST":
        policy.require_anywhere(request.user, Permission.PLUGIN_RUN)
    scope = request.GET.get("environment", "")
    form = JobForm(
        plugin, kind, request.POST if request.method == "POST" else None, user=request.user, scope=scope
    )
    if request.method == "POST" and form.is_valid():
        try:
            started = running.request_run(
                plugin, job, scope=form.chosen, values=form.given(), actor=request.user
            )
        except Invalid as error:
            form.add_invalid(error)
        else:
            return go_to(request, "jobs:detail", uuid=started.uuid)
    results = plugin.results.visible_to(request.user).filter(name=job).select_related("actor", "plugin")
    seen = presenting.Seen(request.user)
    context = {
        "plugin": plugin,
        "kind": kind,
        "form": form,
        "why_not": presenting.why_not(request.user, plugin, kind, form.places),
        "page": Paginator(results, PAGE_SIZE).get_page(request.GET.get("page")),
        "places": seen.labels,
        "trends": presenting.trends(results, seen.labels),
        "schedule_kind": running.RUN,
    }
    status = 422 if form.is_bound and form.errors else 200
    return render_page(request, "plugins/job.html", None, context, status=status)


@require_safe
@login_required
def result(request: HttpRequest, name: str, pk: int) -> HttpResponse:
    plugin = _find(request, name)
    rows = plugin.results.visible_to(request.user).select_related("actor", "plugin", "job")
    found = get_object_or_404(rows, pk=pk)
    severity = request.GET.get("severity", "")
    findings = [one for one in found.findings if not severity or one["severity"] == severity]
    seen = presenting.Seen(request.user)
    context = {
        "plugin": plugin,
        "result": found,
        "kind": plugin.item("jobs", found.name),
        "place": seen.labels.get(found.scope, "everything" if found.scope == EVERYTHING else ""),
        "severity": severity,
        "page": Paginator(findings, 50).get_page(request.GET.get("page")),
        "numbers": presenting.numbers(found),
    }
    return render_page(request, "plugins/result.html", None, context)
