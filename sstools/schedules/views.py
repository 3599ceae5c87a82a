"""Pages of schedules."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from sstools.errors import Conflict, Invalid
from sstools.jobs import registry
from sstools.jobs.models import Worker
from sstools.jobs.services import db_now
from sstools.roles import policy
from sstools.roles.permissions import Permission
from sstools.web.htmx import go_to, render_page, wants_fragment

from . import services
from .filters import ScheduleFilter
from .forms import PRESETS, ScheduleForm
from .models import Schedule, with_subjects
from .preview import preview, shown

PAGE_SIZE = 50
HISTORY_SIZE = 25


def _find(request: HttpRequest, uuid: Any) -> Schedule:
    rows = Schedule.objects.visible_to(request.user).with_state()
    return get_object_or_404(rows.select_related("owner", "paused_by", "last_firing__job"), uuid=uuid)


@require_safe
@login_required
def schedule_list(request: HttpRequest) -> HttpResponse:
    rows = Schedule.objects.visible_to(request.user).with_state()
    found = ScheduleFilter(
        request.GET, queryset=rows.select_related("owner", "last_firing__job"), request=request
    )
    page = Paginator(found.qs.order_by("name", "pk"), PAGE_SIZE).get_page(request.GET.get("page"))
    page.object_list = with_subjects(list(page.object_list))
    total = page.paginator.count
    context = {
        "filter": found,
        "filtered": any(request.GET.get(name) for name in found.form.fields),
        "page": page,
        "can_add": bool(services.kinds_of(request.user)),
        "why_not": services.why_no_new(request.user),
        "live_text": f"{total} schedule{'' if total == 1 else 's'}" if wants_fragment(request) else "",
    }
    return render_page(request, "schedules/list.html", "schedules/_table.html", context)


@require_safe
@login_required
def schedule_detail(request: HttpRequest, uuid: Any) -> HttpResponse:
    return render_page(
        request, "schedules/detail.html", "schedules/_state.html", _state(request, _find(request, uuid))
    )


def _state(request: HttpRequest, schedule: Schedule) -> dict[str, Any]:
    firings = schedule.firings.select_related("job", "actor")
    last = schedule.last_firing
    try:
        runs, zone, broken = tuple(shown(schedule.next_runs(), schedule.zone)), schedule.zone, ""
    except ValueError as exc:  # edited by hand in the database
        runs, zone, broken = (), None, str(exc)
    return {
        "schedule": schedule,
        "state": schedule.current_state,
        "subject": schedule.subject,
        "zone": zone,
        "broken": broken,
        "runs": runs,
        "page": Paginator(firings, HISTORY_SIZE).get_page(request.GET.get("page")),
        "at_work": last.job if last and last.started and not last.result else None,
        "no_worker": not Worker.objects.alive(db_now()).exists(),
        "owner_problem": services.owner_problem(schedule),
        "can_edit": services.may_edit(schedule, request.user),
        "can_run": services.may_run(schedule, request.user),
        "permission": services.asked(schedule).permission,
    }


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def schedule_create(request: HttpRequest) -> HttpResponse:
    """First the kind of work (?kind=…), then the rest."""
    kinds = services.kinds_of(request.user)
    if not kinds:
        policy.require(request.user, Permission.SCHEDULE_EDIT)
    name = request.GET.get("kind", "")
    if not name:
        return render_page(request, "schedules/new.html", None, {"kinds": kinds})
    kind = next((kind for kind in kinds if kind.name == name), None)
    if kind is None:
        raise Http404
    initial = {key: value for key, value in request.GET.items() if key != "kind"}
    form = ScheduleForm(request.POST or None, kind=kind, user=request.user, initial=initial)
    return _edited(request, form, kind)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def schedule_edit(request: HttpRequest, uuid: Any) -> HttpResponse:
    schedule = _find(request, uuid)
    needed = services.asked(schedule)
    policy.require(request.user, Permission.SCHEDULE_EDIT, needed.obj)
    try:
        kind = registry.kind(schedule.kind)
    except registry.UnknownKind as exc:
        raise Conflict(str(exc), code="unknown_kind", remedy="It can only be deleted.") from None
    form = ScheduleForm(request.POST or None, kind=kind, user=request.user, schedule=schedule)
    return _edited(request, form, kind, schedule)


def _edited(
    request: HttpRequest, form: ScheduleForm, kind: registry.Kind, schedule: Schedule | None = None
) -> HttpResponse:
    """The form, or what it saved. A preset without JavaScript only fills the form in."""
    preset = request.POST.get("preset", "")
    if preset:
        form = _filled_in(request, form, kind, schedule, preset)
    elif request.method == "POST" and form.is_valid():
        try:
            if schedule is None:
                data = {**form.values(), "kind": kind.name}
                saved = services.create_schedule(data, actor=request.user)
            else:
                saved = services.update_schedule(schedule, form.values(), actor=request.user)
        except Invalid as exc:
            form.add_invalid(exc)
        else:
            messages.success(request, f"{saved} is saved.")
            return go_to(request, saved)
    cron, zone = _value(form, "cron"), _value(form, "time_zone")
    context = {
        "form": form,
        "kind": kind,
        "schedule": schedule,
        "presets": PRESETS,
        "preview": preview(cron, zone),
        "takes_over": schedule is not None and not schedule.is_builtin and schedule.owner != request.user,
    }
    failed = not preset and (form.errors or form.params.errors)
    return render_page(request, "schedules/form.html", None, context, status=422 if failed else 200)


def _filled_in(
    request: HttpRequest, form: ScheduleForm, kind: registry.Kind, schedule: Schedule | None, preset: str
) -> ScheduleForm:
    again = ScheduleForm(None, kind=kind, user=request.user, schedule=schedule)
    again.initial = {name: form[name].data for name in form.fields} | {"cron": preset}
    again.params.initial = {name: form.params[name].data for name in form.params.fields}
    return again


def _value(form: ScheduleForm, name: str) -> str:
    return str(form[name].value() or "")


@require_safe
@login_required
def schedule_preview(request: HttpRequest) -> HttpResponse:
    """What an expression means, while it is typed; with ?preset=… also the input itself."""
    preset = request.GET.get("preset", "")
    cron, zone = preset or request.GET.get("cron", ""), request.GET.get("time_zone", "")
    context = {"preview": preview(cron[:1000], zone[:100]), "cron": cron, "presets": PRESETS}
    template = "schedules/_timing.html" if preset else "schedules/_preview.html"
    return render_page(request, template, template, context)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def schedule_pause(request: HttpRequest, uuid: Any) -> HttpResponse:
    schedule = _find(request, uuid)
    if request.method != "POST":
        policy.require(request.user, Permission.SCHEDULE_EDIT, services.asked(schedule).obj)
        return render_page(request, "schedules/pause.html", None, {"schedule": schedule})
    services.pause(schedule, actor=request.user, reason=request.POST.get("reason", ""))
    messages.success(request, f"{schedule} is paused.")
    return go_to(request, schedule)


@require_POST
@login_required
def schedule_resume(request: HttpRequest, uuid: Any) -> HttpResponse:
    schedule = services.resume(_find(request, uuid), actor=request.user)
    messages.success(request, f"{schedule} goes on.")
    return go_to(request, schedule)


@require_POST
@login_required
def schedule_take_over(request: HttpRequest, uuid: Any) -> HttpResponse:
    schedule = services.take_over(_find(request, uuid), actor=request.user)
    messages.success(request, f"{schedule} acts in your name from now on.")
    return go_to(request, schedule)


@require_POST
@login_required
def schedule_run(request: HttpRequest, uuid: Any) -> HttpResponse:
    schedule = _find(request, uuid)
    job = services.run_now(schedule, actor=request.user)
    if job.joined:
        messages.info(request, "Its job was at work already.")
    return go_to(request, "jobs:detail", uuid=job.uuid)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def schedule_delete(request: HttpRequest, uuid: Any) -> HttpResponse:
    schedule = _find(request, uuid)
    policy.require(request.user, Permission.SCHEDULE_EDIT, services.asked(schedule).obj)
    if request.method == "POST":
        services.delete_schedule(schedule, actor=request.user)
        messages.success(request, f"{schedule} is deleted.")
        return go_to(request, "schedules:list")
    context = {"schedule": schedule, "runs": schedule.firings.count()}
    return render_page(request, "schedules/delete.html", None, context)
