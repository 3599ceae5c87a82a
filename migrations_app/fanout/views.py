"""Pages: templates, the table of copies, and a fan-out run with all copies side by side."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.db.models import Count, Q
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from migrations_app.errors import PlanChanged
from migrations_app.views.common import right
from sstools.errors import Invalid, SSToolsError
from sstools.roles import policy
from sstools.roles.permissions import Permission
from sstools.web.htmx import go_to, render_page

from . import running, services
from .forms import EMPTY_ROWS, TableForm, TemplateForm, entered_changes
from .models import FanOut, FanOutCopy
from .states import Standing, counts_of, seen_of, standings
from .table import as_csv, parse

PAGE_SIZE = 50
EXAMPLE = "key,target,title,database,schema,tenant\nacme,prod,,Warehouse,t_acme,Acme Ltd\n"
DONE = {
    "plan": "Plans are being made.",
    "apply": "It is being applied, one copy after the other.",
    "roll-back": "It is being rolled back.",
    "halt": "Nothing more is begun; what is at work goes on to its end.",
}


# --- Templates ------------------------------------------------------------------------------------------------------


@require_safe
@login_required
def fan_out_list(request: HttpRequest) -> HttpResponse:
    policy.require_anywhere(request.user, Permission.MIGRATION_VIEW)
    copies = Q(copies__in=FanOutCopy.objects.visible_to(request.user).wanted())
    rows = FanOut.objects.visible_to(request.user).select_related("source")
    counted = rows.annotate(copy_count=Count("copies", filter=copies, distinct=True)).order_by("name")
    page = Paginator(counted, PAGE_SIZE).get_page(request.GET.get("page"))
    can_add = policy.can_anywhere(request.user, Permission.MIGRATION_PLAN)
    why_not = "" if can_add else policy.explain(request.user, Permission.MIGRATION_PLAN).sentence
    context = {"page": page, "can_add": can_add, "why_not": why_not}
    return render_page(request, "fanout/list.html", None, context)


@require_safe
@login_required
def fan_out_detail(request: HttpRequest, uuid: UUID) -> HttpResponse:
    fan_out = services.find(uuid, request.user)
    visible = FanOutCopy.objects.visible_to(request.user).filter(fan_out=fan_out)
    copies = list(visible.wanted().select_related("target"))
    may_plan = any(
        policy.can(request.user, Permission.MIGRATION_PLAN, target)
        for target in {one.target for one in copies}
    )
    why_not = (
        ""
        if may_plan or not copies
        else right(request.user, Permission.MIGRATION_PLAN, copies[0].target).reason
    )
    context = {
        "fan_out": fan_out,
        "copies": copies,
        "names": list(dict.fromkeys(name for copy in copies for name in copy.values)),
        "rows": [(copy, services.row_of(copy)) for copy in copies],
        "unwanted": services.no_longer_wanted(fan_out, request.user),
        "runs": list(fan_out.runs.select_related("actor")[:10]),
        "may_edit": services.may_edit(fan_out, request.user),
        "may_plan": may_plan,
        "why_not": why_not,
    }
    return render_page(request, "fanout/detail.html", None, context)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def fan_out_edit(request: HttpRequest, uuid: UUID | None = None) -> HttpResponse:
    """POST the form, and repeated `find`, `replace`, `where`."""
    fan_out = services.find(uuid, request.user) if uuid is not None else None
    policy.require_anywhere(request.user, Permission.MIGRATION_PLAN)
    form = TemplateForm(request.POST or None, user=request.user, fan_out=fan_out)
    changes = (
        entered_changes(request.POST)
        if request.method == "POST"
        else list(fan_out.changes if fan_out else ())
    )
    status = 200
    if request.method == "POST":
        status = 422
        if form.is_valid():
            given = {**form.fields_given, "changes": changes}
            try:
                if fan_out is None:
                    saved = services.create(form.cleaned_data["source"], actor=request.user, **given)
                else:
                    saved = services.update(fan_out, actor=request.user, **given)
            except Invalid as error:
                _add_errors(form, changes, error)
            else:
                messages.success(request, f"“{saved}” is saved.")
                return go_to(request, "fanout:detail" if fan_out else "fanout:copies", saved.uuid)
    context = {"form": form, "fan_out": fan_out, "changes": [*changes, *({} for _ in range(EMPTY_ROWS))]}
    return render_page(request, "fanout/form.html", None, context, status=status)


def _add_errors(form: TemplateForm, changes: list[dict[str, Any]], error: Invalid) -> None:
    for name, texts in error.errors.items():
        group, _, index = name.partition(".")
        if group == "changes" and index.isdigit() and int(index) < len(changes):
            changes[int(index)]["error"] = " ".join(texts)
        field = {"selection": "assets"}.get(name, name)
        form.add_error(field if field in form.fields else None, texts)
    if not error.errors:
        form.add_error(None, str(error))


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def copies(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """POST `table`, or `file`: the whole table of copies as CSV."""
    fan_out = services.find(uuid, request.user)
    rows = (
        FanOutCopy.objects.visible_to(request.user).filter(fan_out=fan_out).wanted().select_related("target")
    )
    now = as_csv([services.row_of(copy) for copy in rows])
    problem: Invalid | None = None
    form = TableForm(request.POST or None, request.FILES or None, initial={"table": now if rows else EXAMPLE})
    if request.method == "POST" and form.is_valid():
        try:
            counts = services.save_copies(fan_out, parse(form.text), actor=request.user)
        except Invalid as error:
            problem = error
            if form.cleaned_data.get("file"):  # what was wrong is shown to be mended
                form = TableForm({"table": form.text})
        else:
            words = ", ".join(f"{number} {name}" for name, number in counts.items() if number)
            messages.success(request, f"The table of copies is saved: {words or 'nothing changed'}.")
            return go_to(request, "fanout:detail", fan_out.uuid)
    status = 422 if problem or (request.method == "POST" and not form.is_valid()) else 200
    context = {
        "fan_out": fan_out,
        "form": form,
        "problem": problem,
        "may_edit": services.may_edit(fan_out, request.user),
    }
    return render_page(request, "fanout/copies.html", None, context, status=status)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def fan_out_delete(request: HttpRequest, uuid: UUID) -> HttpResponse:
    fan_out = services.find(uuid, request.user)
    policy.require_anywhere(request.user, Permission.MIGRATION_PLAN)
    problem: SSToolsError | None = None
    if request.method == "POST":
        try:
            services.delete(fan_out, actor=request.user)
        except SSToolsError as error:
            if error.status == 403:
                raise
            problem = error
        else:
            messages.success(request, f"“{fan_out}” is forgotten.")
            return go_to(request, "fanout:list")
    context = {"fan_out": fan_out, "problem": problem}
    return render_page(
        request, "fanout/delete.html", None, context, status=problem.status if problem else 200
    )


@require_POST
@login_required
def plan(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """POST repeated `key`; none: all copies."""
    fan_out = services.find(uuid, request.user)
    try:
        run = running.plan(fan_out, actor=request.user, keys=request.POST.getlist("key"))
    except SSToolsError as error:
        if error.status in (403, 404):
            raise
        messages.error(request, str(error))
        return go_to(request, "fanout:detail", fan_out.uuid)
    return go_to(request, "fanout:run", run.number)


# --- A fan-out run ----------------------------------------------------------------------------------------------------


@require_safe
@login_required
def run_detail(request: HttpRequest, number: int) -> HttpResponse:
    return _run(request, number)


def _run(request: HttpRequest, number: int, problem: SSToolsError | None = None) -> HttpResponse:
    run = running.find_run(number, request.user)
    found = standings(running.visible_entries(run, request.user))
    page = Paginator(found, PAGE_SIZE).get_page(request.GET.get("page"))
    green = [one for one in found if running.is_green(one)]
    undoable = [one for one in found if one.can_be_rolled_back]
    context = {
        "run": run,
        "fan_out": run.fan_out,
        "page": page,
        "counts": counts_of(found),
        "total": len(found),
        "settled": sum(one.is_settled for one in found),
        "seen": seen_of(found),
        "green": green,
        "undoable": undoable,
        "protected": running.protected_targets(green),
        "protected_back": running.protected_targets(undoable),
        "why_not_apply": _why_not(request.user, Permission.MIGRATION_APPLY, green),
        "why_not_back": _why_not(request.user, Permission.MIGRATION_ROLLBACK, undoable),
        "why_not_plan": _why_not(request.user, Permission.MIGRATION_PLAN, found),
        "problem": problem,
        "poll": run.is_at_work,
    }
    return render_page(
        request, "fanout/run.html", "fanout/_run.html", context, status=problem.status if problem else 200
    )


def _why_not(user: Any, permission: Permission, found: list[Standing]) -> str:
    """Why somebody may not do it to all of these, in words; "" if they may."""
    targets = {one.entry.copy.target.pk: one.entry.copy.target for one in found}.values()
    return next(
        (refused.reason for target in targets if not (refused := right(user, permission, target))), ""
    )


@require_POST
@login_required
def run_do(request: HttpRequest, number: int, what: str) -> HttpResponse:
    """POST repeated `key` (none: all), and to apply or roll back `confirmation` (the slugs of protected targets, apart
    by spaces); to apply `seen` and `go_on`.
    """
    run = running.find_run(number, request.user)
    data, user = request.POST, request.user
    keys, confirmed = data.getlist("key"), data.get("confirmation", "").replace(",", " ").split()
    try:
        if what == "plan":
            running.plan_again(run, actor=user, keys=keys)
        elif what == "apply":
            running.apply(
                run,
                actor=user,
                seen=data.get("seen", ""),
                confirmed=confirmed,
                stops_at_failure=data.get("go_on") != "1",
                keys=keys,
            )
        elif what == "roll-back":
            running.roll_back(run, actor=user, keys=keys, confirmed=confirmed)
        elif what == "halt":
            running.halt(run, actor=user)
        else:
            raise Http404
    except SSToolsError as error:
        if error.status in (403, 404) and not isinstance(error, PlanChanged):
            raise
        return _run(request, number, error)
    messages.success(request, DONE[what])
    return go_to(request, "fanout:run", run.number)
