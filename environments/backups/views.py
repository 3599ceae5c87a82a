"""Pages of backups: which there are, what is in one, taking, keeping and removing them."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import (
    FileResponse,
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseRedirect,
)
from django.shortcuts import get_object_or_404
from django.urls import NoReverseMatch, reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from environments.models import Asset, Environment
from sstools.errors import Conflict, Invalid, NotAllowed, SSToolsError
from sstools.jobs.models import Job
from sstools.roles import policy
from sstools.roles.permissions import Permission
from sstools.schedules import services as schedule_services
from sstools.schedules.models import Schedule
from sstools.texts import counted
from sstools.web.htmx import go_to, render_page, wants_fragment

from . import choices, contents, downloads, late, origins, retention, services
from .filters import BackupFilter
from .forms import STORAGES, EditBackupForm, NewBackupForm, PolicyForm
from .models import Backup, BackupReason, BackupState

PAGE_SIZE = 50
ENTRIES_SIZE = 100
CHOSEN_SHOWN = 50
RESTORE = "restoring:restore"  # takes the number; ?asset=<kind>:<uuid>, repeated


def _find(request: HttpRequest, number: int) -> Backup:
    return services.find_backup(number, request.user)


def _allowed(user: Any, permission: Permission) -> Any:
    visible = Environment.objects.visible_to(user).in_order()
    return visible.filter(pk__in=[row.pk for row in visible if policy.can(user, permission, row)])


def _why_not(user: Any, permission: Permission, environment: Environment | None = None) -> str:
    """Why somebody may not do this, for beside a button that is off; "" where they may."""
    found = policy.explain(user, permission, environment)
    return "" if found.allowed else str(found.sentence)


# --- The list -------------------------------------------------------------------------------------------------------


@require_safe
@login_required
def backup_list(request: HttpRequest) -> HttpResponse:
    policy.require_anywhere(request.user, Permission.BACKUP_VIEW)
    rows = Backup.objects.visible_to(request.user).select_related("environment", "snapshot")
    rows = rows.defer("problems", "verification", "selection", "notes", "snapshot__notes")
    found = BackupFilter(request.GET, queryset=rows, request=request)
    found.offer_environments()
    page = Paginator(found.qs, PAGE_SIZE).get_page(request.GET.get("page"))
    page.object_list = list(page.object_list)
    _add_origins(page.object_list)
    filtered = any(request.GET.get(name) for name in found.form.fields)
    own = Schedule.objects.visible_to(request.user).filter(kind=services.TAKE)
    total = page.paginator.count
    context = {
        "filter": found,
        "filtered": filtered,
        "page": page,
        "at_work": next((row for row in page.object_list if row.state == BackupState.RUNNING), None),
        "overdue": _overdue(request),
        "schedule_count": own.count(),
        "can_create": policy.can_anywhere(request.user, Permission.BACKUP_CREATE),
        "can_schedule": bool(schedule_services.kinds_of(request.user)),
        "why_not": _why_not(request.user, Permission.BACKUP_CREATE),
        "live_text": counted(total, "backup") if wants_fragment(request) and "page" in request.GET else "",
    }
    return render_page(request, "backups/list.html", "backups/_table.html", context)


def _overdue(request: HttpRequest) -> list[late.Overdue]:
    """Late and failing schedules stand above the list, unless it is asked for something else."""
    asked = request.GET.get("env", "")
    found = late.overdue(request.user)
    return [one for one in found if not asked or one.environment.slug == asked]


def _add_origins(backups: list[Backup]) -> None:
    known = origins.of(row.pk for row in backups if row.reason == BackupReason.RESTORE_POINT)
    for row in backups:
        row.origin = known.get(row.pk)  # type: ignore[attr-defined]


@require_safe
@login_required
def schedules(request: HttpRequest) -> HttpResponse:
    """The schedules that take backups, on the page of schedules."""
    return HttpResponseRedirect(f"{reverse('schedules:list')}?kind={services.TAKE}")


# --- A new one ------------------------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def backup_new(request: HttpRequest) -> HttpResponse:
    """?env=prod &asset=dashboard:<uuid>, repeated; also <env>:<kind>:<uuid>, as lists name them; or ?chosen=prod: what
    another page remembered. POST `do=take` takes it; a POST without it is a choice that was
    made elsewhere.
    """
    allowed = _allowed(request.user, Permission.BACKUP_CREATE)
    if not allowed.exists():
        policy.require(request.user, Permission.BACKUP_CREATE)
    given = request.POST if request.method == "POST" else request.GET
    kept = choices.kept(request)
    if kept is None:
        env, chosen, elsewhere = _chosen(given.getlist("asset"), given.get("env", ""))
    else:
        env, chosen, elsewhere = _chosen(kept, request.GET["chosen"])
    asked = request.method == "POST" and request.POST.get("do") == "take"
    initial = {"environment": env, "title": given.get("title", "")}
    form = NewBackupForm(request.POST if asked else None, environments=allowed, initial=initial)
    problem: SSToolsError | None = None
    if asked and form.is_valid():
        values = form.cleaned_data
        try:
            job = services.request_backup(
                values["environment"],
                actor=request.user,
                title=values["title"],
                notes=values["notes"],
                storage=values.get("storage") or None,
                selection=chosen or None,
            )
        except NotAllowed:
            raise
        except (Invalid, Conflict) as error:
            problem = error
        else:
            if job.joined:
                messages.info(request, "A backup of it was under way already.")
            return go_to(request, "jobs:detail", uuid=job.uuid)
    environment = allowed.filter(slug=env).first() if env else None
    context = {
        "form": form,
        "problem": problem,
        "chosen": chosen,
        "is_kept": kept is not None,
        "assets": _titles(environment, chosen[:CHOSEN_SHOWN]) if environment else [],
        "more": max(0, len(chosen) - CHOSEN_SHOWN),
        "elsewhere": elsewhere,
        "environment": environment,
        "quota": _quota(environment or allowed.first()),
    }
    status = 422 if form.errors else problem.status if problem else 200
    return render_page(request, "backups/new.html", None, context, status=status)


def _chosen(keys: list[str], env: str) -> tuple[str, list[str], int]:
    """(slug, "kind:uuid" of what is chosen there, how many are elsewhere): one backup is of one environment."""
    chosen: list[str] = []
    elsewhere = 0
    for key in keys[: services.MOST_CHOSEN + 1]:
        parts = key.split(":")
        if len(parts) == 3:
            env = env or parts[0]
            if parts[0] != env:
                elsewhere += 1
                continue
        chosen.append(":".join(parts[-2:]))
    return env, list(dict.fromkeys(chosen)), elsewhere


def _titles(environment: Environment, keys: list[str]) -> list[Asset]:
    uuids = [key.partition(":")[2] for key in keys]
    return list(environment.assets.filter(uuid__in=uuids).only("kind", "uuid", "title", "environment_id"))


def _quota(environment: Environment | None) -> retention.Usage | None:
    if environment is None or services.policy_of(environment).quota_bytes is None:
        return None
    return retention.usage(environment)


# --- One of them ----------------------------------------------------------------------------------------------------


@require_safe
@login_required
def backup_detail(request: HttpRequest, number: int) -> HttpResponse:
    """?kind=chart &state=differs &q=words: what is in it."""
    return _detail(request, _find(request, number))


def _detail(request: HttpRequest, backup: Backup, problem: SSToolsError | None = None) -> HttpResponse:
    user, environment = request.user, backup.environment
    _add_origins([backup])
    job = Job.objects.visible_to(user).filter(uuid=backup.job).first() if backup.job else None
    schedule = (
        Schedule.objects.visible_to(user).filter(uuid=backup.schedule).first() if backup.schedule else None
    )
    context: dict[str, Any] = {
        "backup": backup,
        "environment": environment,
        "storage": STORAGES.get(backup.storage, backup.storage),
        "job": job,
        "schedule": schedule,
        "problem": problem,
        "verified_problems": (backup.verification or {}).get("problems", []),
        "unread_kinds": [
            (contents.KINDS.get(kind, kind), why) for kind, why in backup.companions_read.items() if why
        ],
        "at_work": backup if backup.state == BackupState.RUNNING else None,
        "can_verify": policy.can(user, Permission.BACKUP_CREATE, environment),
        "can_pin": policy.can(user, Permission.BACKUP_PIN, environment),
        "why_not_edit": _why_not(user, Permission.BACKUP_EDIT, environment),
    }
    if backup.is_readable:
        context |= _browse(request, backup)
    status = problem.status if problem else 200
    partial = "backups/_contents.html" if backup.is_readable else None
    return render_page(request, "backups/detail.html", partial, context, status=status)


def _browse(request: HttpRequest, backup: Backup) -> dict[str, Any]:
    held = contents.contents_of(backup)
    kind, state = request.GET.get("kind", ""), request.GET.get("state", "")
    kind = kind if kind in contents.KINDS else ""
    state = state if state in (*contents.STATES, "different") else ""
    words = request.GET.get("q", "").strip()[:200]
    found = list(contents.select(held.items, kind=kind, state=state, words=words))
    page = Paginator(found, ENTRIES_SIZE).get_page(request.GET.get("page"))
    rows = list(page.object_list)
    groups = [
        contents.Group(name, label, held.by_kind[name], tuple(item for item in rows if item.kind == name))
        for name, label in contents.KINDS.items()
    ]
    return {
        "held": held,
        "groups": [group for group in groups if group.rows],
        "kinds": [
            (name, label, held.by_kind[name]) for name, label in contents.KINDS.items() if held.by_kind[name]
        ],
        "page": page,
        "kind": kind,
        "state": state,
        "q": words,
        "filtered": bool(kind or state or words),
        "states": [(name, held.counts[name]) for name in contents.STATES],
        "offers": downloads.offers(held.by_kind),
        "compare_url": _compare_url(backup),
        "restore_url": _url(RESTORE, backup.pk),
        "live_text": f"{len(found)} found" if wants_fragment(request) else "",
    }


def _compare_url(backup: Backup, kind: str = "", uuid: str = "") -> str:
    """The comparison with the environment as it is now, of all or of one asset."""
    page = _url("comparing:asset", kind, uuid) if uuid else _url("comparing:list")
    return f"{page}?left={backup.place}&right=env:{backup.environment.slug}" if page else ""


def _url(name: str, *args: Any) -> str:
    """Pages of packages above this one: named, and left out where they are not."""
    try:
        return reverse(name, args=args)
    except NoReverseMatch:
        return ""


@require_safe
@login_required
def backup_entry(request: HttpRequest, number: int, kind: str, uuid: str) -> HttpResponse:
    """One thing in a backup, as YAML."""
    if kind not in contents.KINDS:
        raise Http404
    backup = _find(request, number)
    services.must_be_readable(backup)
    problem: SSToolsError | None = None
    entry: contents.Entry | None = None
    try:
        entry = contents.entry_of(backup, kind, uuid.lower())
    except SSToolsError as error:
        if error.status == 404:
            raise
        problem = error
    is_asset = kind in dict(contents.ASSET_KINDS)
    comparable = is_asset and kind != "database"
    context = {
        "backup": backup,
        "environment": backup.environment,
        "entry": entry,
        "item": entry.item if entry else contents.Item(kind, uuid, uuid, "", ""),
        "label": contents.WORDS[kind],
        "icon_name": contents.icon_of(kind),
        "problem": problem,
        "compare_url": _compare_url(backup, kind, uuid) if comparable else "",
        "restore_url": _url(RESTORE, backup.pk) if comparable else "",
        "asset_url": _url("assets:backups", kind, uuid) if is_asset else "",
    }
    status = problem.status if problem else 200
    return render_page(request, "backups/entry.html", None, context, status=status)


@require_safe
@login_required
def backup_download(request: HttpRequest, number: int) -> HttpResponseBase:
    """?as=dashboards, charts, datasets or tree."""
    backup = _find(request, number)
    file, name = downloads.download(backup, request.GET.get("as", ""), actor=request.user)
    answer = FileResponse(file, as_attachment=True, filename=name, content_type="application/zip")
    answer["Cache-Control"] = "no-store"
    return answer


# --- Deeds ----------------------------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def backup_edit(request: HttpRequest, number: int) -> HttpResponse:
    """Its title, its notes, and until when it is kept at least."""
    backup = _find(request, number)
    policy.require(request.user, Permission.BACKUP_EDIT, backup.environment)
    form = EditBackupForm(request.POST or None, backup=backup)
    if request.method == "POST" and form.is_valid():
        try:
            services.edit_backup(backup, form.values(), actor=request.user)
        except Invalid as exc:
            for name, texts in exc.errors.items():
                form.add_error(name, texts)
        else:
            messages.success(request, f"Backup {backup.pk} is saved.")
            return go_to(request, "backups:detail", backup.pk)
    context = {"backup": backup, "environment": backup.environment, "form": form}
    return render_page(request, "backups/edit.html", None, context, status=422 if form.errors else 200)


@require_POST
@login_required
def backup_pin(request: HttpRequest, number: int) -> HttpResponse:
    """POST `reason`."""
    backup = _find(request, number)
    services.pin(backup, actor=request.user, reason=request.POST.get("reason", ""))
    messages.success(request, f"Backup {backup.pk} is pinned: no rule removes it.")
    return go_to(request, "backups:detail", backup.pk)


@require_POST
@login_required
def backup_unpin(request: HttpRequest, number: int) -> HttpResponse:
    backup = _find(request, number)
    services.unpin(backup, actor=request.user)
    messages.success(request, f"Backup {backup.pk} is not pinned any more: the rules decide when it goes.")
    return go_to(request, "backups:detail", backup.pk)


@require_POST
@login_required
def backup_verify(request: HttpRequest, number: int) -> HttpResponse:
    job = services.request_verification(_find(request, number), actor=request.user)
    return go_to(request, "jobs:detail", uuid=job.uuid)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def backup_delete(request: HttpRequest, number: int) -> HttpResponse:
    """POST `confirm`: the slug of the environment."""
    backup = _find(request, number)
    policy.require(request.user, Permission.BACKUP_EDIT, backup.environment)
    error: SSToolsError | None = None
    if request.method == "POST":
        try:
            services.delete_backup(backup, actor=request.user, confirm=request.POST.get("confirm", ""))
        except (Invalid, Conflict) as exc:
            error = exc
        else:
            messages.success(request, f"Backup {number} is deleted. Nothing was changed in Superset.")
            return go_to(request, "backups:list")
    newest = services.latest_good(backup.environment)
    context = {
        "backup": backup,
        "environment": backup.environment,
        "error": error,
        "is_last": newest is not None and newest.pk == backup.pk,
        "frees": retention.would_free(backup.environment, [backup]),
    }
    return render_page(request, "backups/delete.html", None, context, status=error.status if error else 200)


# --- For how long they are kept -------------------------------------------------------------------------------------


@require_safe
@login_required
def retention_list(request: HttpRequest) -> HttpResponse:
    """The rules of every environment, and what its backups take."""
    policy.require_anywhere(request.user, Permission.BACKUP_VIEW)
    rows = [
        (row, services.policy_of(row), retention.usage(row), row.backups.count())
        for row in _allowed(request.user, Permission.BACKUP_VIEW)
    ]
    return render_page(request, "backups/retention_list.html", None, {"rows": rows})


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def retention_edit(request: HttpRequest, slug: str) -> HttpResponse:
    """POST `do=save` keeps the rules, `do=preview` only shows what they would remove."""
    environment = get_object_or_404(_allowed(request.user, Permission.BACKUP_VIEW), slug=slug)
    why_not = _why_not(request.user, Permission.BACKUP_EDIT, environment)
    row = services.policy_of(environment)
    asked = row
    form = PolicyForm(request.POST or None, instance=row)
    if request.method == "POST":
        policy.require(request.user, Permission.BACKUP_EDIT, environment)
        if form.is_valid():
            try:
                if request.POST.get("do") == "save":
                    services.set_policy(environment, form.values(), actor=request.user)
                    messages.success(request, f"The rules of {environment.name} are saved.")
                    return go_to(request, "backups:retention", slug)
                asked = services.changed_policy(environment, form.values())
            except Invalid as exc:
                for name, texts in exc.errors.items():
                    form.add_error("quota" if name == "quota_bytes" else name, texts)
    preview = retention.preview(environment, asked) if not form.errors else None
    decisions = list(preview.decisions) if preview else []
    page = Paginator(decisions, PAGE_SIZE).get_page(request.GET.get("page"))
    _add_origins([one.backup for one in page.object_list])
    context = {
        "environment": environment,
        "form": form,
        "why_not": why_not,
        "is_trial": request.method == "POST" and not form.errors,
        "preview": preview,
        "page": page,
        "removed": len(preview.removed) if preview else 0,
        "usage": retention.usage(environment),
    }
    return render_page(request, "backups/retention.html", None, context, status=422 if form.errors else 200)
