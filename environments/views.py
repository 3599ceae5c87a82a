"""Pages of environments and their inventory."""

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from sstools.errors import Conflict, Invalid
from sstools.jobs.models import Job
from sstools.resources import resource_name
from sstools.roles import policy
from sstools.roles.permissions import Permission
from sstools.schedules.models import Schedule
from sstools.web.htmx import go_to, render_page, wants_fragment

from . import damage, services
from .canonical.documents import Kind
from .certificates import Certificate, read_certificates
from .filters import KINDS
from .forms import EnvironmentForm
from .models import Asset, AuthKind, Environment, Reading

BACKUPS_SHOWN = 5
READINGS_SHOWN = 10  # newest first; REST has all that are kept


def _find(request: HttpRequest, slug: str) -> Environment:
    environment: Environment = get_object_or_404(Environment.objects.visible_to(request.user), slug=slug)
    return environment


# --- Environments ---------------------------------------------------------------------------------------------


@require_safe
@login_required
def environment_list(request: HttpRequest) -> HttpResponse:
    rows = list(Environment.objects.visible_to(request.user).in_order())
    can_add = policy.can(request.user, Permission.ENVIRONMENT_EDIT)
    context = {"environments": rows, "can_add": can_add, "why_not": _why_not(request, can_add)}
    return render_page(request, "environments/list.html", None, context)


def _why_not(request: HttpRequest, allowed: bool, environment: Environment | None = None) -> str:
    """Why somebody may not change this environment, or register one: the reason beside a button that is off."""
    return "" if allowed else policy.explain(request.user, Permission.ENVIRONMENT_EDIT, environment).sentence


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def environment_create(request: HttpRequest) -> HttpResponse:
    policy.require(request.user, Permission.ENVIRONMENT_EDIT)
    form = EnvironmentForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            environment = services.register_environment(form.values(), actor=request.user)
        except Invalid as exc:
            form.add_invalid(exc)
        else:
            # Whoever registers one wants to know whether it works, and what is in it.
            services.request_check(environment, actor=request.user)
            services.request_reading(environment, actor=request.user)
            messages.success(request, f"{environment.name} is registered. It is being tested and read.")
            _warn_of_twins(request, environment)
            return go_to(request, environment)
    return _form_page(request, form, None)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def environment_edit(request: HttpRequest, slug: str) -> HttpResponse:
    environment = _find(request, slug)
    policy.require(request.user, Permission.ENVIRONMENT_EDIT, environment)
    form = EnvironmentForm(request.POST or None, environment=environment)
    if request.method == "POST" and form.is_valid():
        try:
            changed = services.update_environment(environment, form.values(), actor=request.user)
        except Invalid as exc:
            form.add_invalid(exc)
        else:
            if changed.last_checked_at is None:
                services.request_check(changed, actor=request.user)
                if changed.inventory_at is None or changed.inventory_error:
                    # What was mended is most often why it could not be read.
                    services.request_reading(changed, actor=request.user)
            messages.success(request, f"{changed.name} is saved.")
            _warn_of_twins(request, changed)
            return go_to(request, changed)
    return _form_page(request, form, environment)


def _warn_of_twins(request: HttpRequest, environment: Environment) -> None:
    """One Superset as two environments would be locked apart, and runs could write into one another's work."""
    others = Environment.objects.visible_to(request.user).exclude(pk=environment.pk)
    if twin := others.filter(url__iexact=environment.url).first():
        messages.warning(
            request, f"{twin.name} has the same address. One Superset should be one environment: is it right?"
        )


def _form_page(request: HttpRequest, form: EnvironmentForm, environment: Environment | None) -> HttpResponse:
    context = {
        "form": form,
        "environment": environment,
        "secret_error": next(iter(form["secret"].errors), ""),
    }
    return render_page(request, "environments/form.html", None, context, status=422 if form.errors else 200)


@require_safe
@login_required
def environment_detail(request: HttpRequest, slug: str) -> HttpResponse:
    environment = _find(request, slug)
    can_edit = policy.can(request.user, Permission.ENVIRONMENT_EDIT, environment)
    context = _state(request, environment) | {
        "can_edit": can_edit,
        "can_back_up": policy.can(request.user, Permission.BACKUP_CREATE, environment),
        "backups": _backups(request, environment),
        "why_not_edit": _why_not(request, can_edit, environment),
        "certificates": _certificates(environment),
        "auth_kind": AuthKind(environment.auth_kind).label,
        "schedules": Schedule.objects.visible_to(request.user).filter(resource=resource_name(environment)),
        "can_schedule": policy.can(request.user, Permission.SCHEDULE_EDIT, environment)
        and policy.can(request.user, Permission.ENVIRONMENT_TEST, environment),
    }
    return render_page(request, "environments/detail.html", "environments/_state.html", context)


def _backups(request: HttpRequest, environment: Environment) -> list[Any] | None:
    """The newest ones; None for who may not see them."""
    if not policy.can(request.user, Permission.BACKUP_VIEW, environment):
        return None
    return list(environment.backups.defer("problems", "verification")[:BACKUPS_SHOWN])


@require_POST
@login_required
def environment_check(request: HttpRequest, slug: str) -> HttpResponse:
    environment = _find(request, slug)
    services.request_check(environment, actor=request.user)
    return _asked(request, environment)


@require_POST
@login_required
def environment_read(request: HttpRequest, slug: str) -> HttpResponse:
    environment = _find(request, slug)
    services.request_reading(environment, actor=request.user)
    return _asked(request, environment)


def _asked(request: HttpRequest, environment: Environment) -> HttpResponse:
    if wants_fragment(request):
        context = _state(request, environment)
        return render_page(request, "environments/detail.html", "environments/_state.html", context)
    return go_to(request, environment)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def environment_remove(request: HttpRequest, slug: str) -> HttpResponse:
    environment = _find(request, slug)
    policy.require(request.user, Permission.ENVIRONMENT_EDIT, environment)
    error: Invalid | Conflict | None = None
    if request.method == "POST":
        try:
            services.remove_environment(
                environment,
                actor=request.user,
                confirm=request.POST.get("confirm", ""),
                backups=request.POST.get("backups"),
            )
        except (Invalid, Conflict) as exc:
            error = exc
        else:
            messages.success(request, f"{environment.name} is removed. Nothing was changed in its Superset.")
            return go_to(request, "environments:list")
    context = {
        "environment": environment,
        "error": error,
        "snapshots": environment.snapshots.count(),
        "assets": environment.assets.count(),
        "backups": services.backups_of(environment),
    }
    return render_page(
        request, "environments/remove.html", None, context, status=error.status if error else 200
    )


def _state(request: HttpRequest, environment: Environment) -> dict[str, Any]:
    """What changes while a job is at work: facts, the last test, databases."""
    jobs = [services.latest_job(environment, kind) for kind in (services.CHECK, services.READING)]
    sees_assets = policy.can(request.user, Permission.ASSET_VIEW, environment)
    at_work = [job for job in jobs if job is not None and not job.is_finished]
    report = environment.check_report
    return {
        "environment": environment,
        "jobs_at_work": at_work,
        "stages": [_stage(stage) for stage in report.get("stages", ())],
        "report": report,
        "counts": _counts(environment) if environment.inventory_at else [],
        "databases": _databases(environment) if sees_assets else None,
        "readings": _readings(request, environment),
        "damage": damage.counts_of(environment) if sees_assets else None,
        "can_test": policy.can(request.user, Permission.ENVIRONMENT_TEST, environment),
        "live_text": ""
        if at_work or not wants_fragment(request)
        else f"{environment.name}: {environment.state_word}.",
    }


def _readings(request: HttpRequest, environment: Environment) -> list[Reading]:
    """The newest ones, each with its job where that is kept and may be seen."""
    rows = list(environment.readings.all()[:READINGS_SHOWN])
    wanted = [row.job for row in rows if row.job]
    known = set(Job.objects.visible_to(request.user).filter(uuid__in=wanted).values_list("uuid", flat=True))
    for row in rows:
        row.job = row.job if row.job in known else None
    return rows


@dataclass(frozen=True)
class Stage:
    """One line of the test as the page shows it."""

    title: str
    state: str  # ok, warning, error, of sstools.web.states
    text: str
    remedy: str
    seconds: float


STAGE_TITLES = {
    "credentials": "Credential",
    "reached": "Network",
    "tls": "Encryption",
    "superset": "Superset",
    "version": "Version",
    "signed_in": "Sign-in",
    "rights": "Rights",
    "bearer": "Visibility",
    "speed": "Speed",
}


def _stage(stage: dict[str, Any]) -> Stage:
    state = {True: "ok", False: "failed", None: "warning"}[stage.get("ok")]
    if stage["name"] == "tls" and stage.get("ok") is None:
        state = "info"
    title = STAGE_TITLES.get(stage["name"], stage["name"])
    return Stage(title, state, stage["text"], stage.get("remedy", ""), stage.get("seconds", 0.0))


def _counts(environment: Environment) -> list[tuple[str, str, int]]:
    """(kind, its plural, number), dashboards first."""
    return [(kind, plural, environment.asset_counts.get(kind, 0)) for kind, plural in KINDS]


def _databases(environment: Environment) -> list[Asset]:
    """The connections, each with the number of datasets and charts that stand on it."""
    rows = list(environment.assets.filter(kind=Kind.DATABASE))
    used = environment.assets.exclude(database_uuid="").values("database_uuid")
    numbers = used.annotate(
        datasets=Count("pk", filter=Q(kind=Kind.DATASET)), charts=Count("pk", filter=Q(kind=Kind.CHART))
    )
    by_uuid = {row["database_uuid"]: (row["datasets"], row["charts"]) for row in numbers}
    for asset in rows:
        datasets, charts = by_uuid.get(asset.uuid, (0, 0))
        asset.dataset_count, asset.chart_count = datasets, charts  # type: ignore[attr-defined]
    return rows


def _certificates(environment: Environment) -> list[Certificate]:
    try:
        return read_certificates(environment.ca_certificate) if environment.ca_certificate else []
    except ValueError:  # expired since it was entered
        return []


# --- Assets ---------------------------------------------------------------------------------------------------


@require_safe
@login_required
def go(request: HttpRequest, slug: str, kind: str, uuid: str) -> HttpResponse:
    """To an asset in its Superset. The id is looked up now, so links in chats outlive a change of it."""
    rows = Asset.objects.visible_to(request.user).select_related("environment")
    asset = get_object_or_404(rows, environment__slug=slug, kind=kind, uuid=uuid.lower())
    return HttpResponseRedirect(asset.environment.url + asset.url_path)
