"""Pages: a file as the source of a migration."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_http_methods

from environments.models import Environment
from migrations_app import services as migrations
from migrations_app.comparing import uploads
from migrations_app.comparing.models import UploadedBundle
from sstools.errors import Invalid, NotAllowed, SSToolsError
from sstools.roles import policy
from sstools.roles.permissions import Permission
from sstools.web.htmx import go_to, render_page

from . import sources
from .forms import FromFileForm, MigrateForm
from .reading import MAX_BYTES
from .rendering import MAX_VALUES_BYTES

SHOWN = 500


def _where(user: Any, permission: Permission) -> Any:
    visible = Environment.objects.visible_to(user)
    allowed = [item.pk for item in visible if policy.can(user, permission, item)]
    return Environment.objects.filter(pk__in=allowed).order_by("-position", "name")


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def file_upload(request: HttpRequest) -> HttpResponse:
    """Which file: a new one, or one that is there."""
    policy.require_anywhere(request.user, Permission.ASSET_VIEW)
    data = request.POST if request.method == "POST" else None
    files = request.FILES if data is not None else None
    form = FromFileForm(data, files, origins=_where(request.user, Permission.ASSET_VIEW))
    if data is not None and form.is_valid():
        given = form.cleaned_data
        try:
            kept = uploads.store_upload(
                given["file"],
                given["file"].name,
                actor=request.user,
                origin=given["origin"],
                values=given["values"].read(MAX_VALUES_BYTES + 1) if given["values"] else None,
            )
        except Invalid as error:
            field = next((name for name in error.errors if name in form.fields), None)
            form.add_error(field, f"{error.message} {error.remedy}".strip())
        else:
            return go_to(request, "files:migrate", uuid=kept.uuid)
    bundles = UploadedBundle.objects.visible_to(request.user).select_related("origin", "uploaded_by")
    context = {"form": form, "bundles": bundles, "most_mib": MAX_BYTES // 2**20}
    return render_page(request, "files/upload.html", None, context, status=422 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def file_migrate(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """What of a file goes where. POST `what=all`, or the uuids of `pick`; makes the migration and asks for its plan."""
    file = sources.find_file(uuid, request.user)
    targets = _where(request.user, Permission.MIGRATION_PLAN)
    data = request.POST if request.method == "POST" else None
    usual = {"with_dependencies": True, "verify": True, "target": request.GET.get("target")}
    form = MigrateForm(data, targets=targets, initial=usual)
    problem: SSToolsError | None = None
    if data is not None and form.is_valid():
        given = dict(form.cleaned_data)
        picked = data.getlist("pick")
        try:
            if data.get("what") != "all" and not picked:
                raise Invalid(
                    "Nothing is ticked.",
                    code="empty_selection",
                    remedy="Tick what to bring, or bring everything.",
                )
            migration = sources.create_migration(
                file,
                given.pop("target"),
                actor=request.user,
                selection=() if data.get("what") == "all" else picked,
                **given,
            )
            migrations.request_plan(migration, actor=request.user)
        except NotAllowed:
            raise
        except SSToolsError as error:
            problem = error
        else:
            return go_to(request, "migrations_app:plan", migration.number)
    rows = sources.assets_of(file)
    context = {
        "file": file,
        "form": form,
        "problem": problem,
        "can_plan": targets.exists(),
        "page": Paginator(rows, SHOWN).get_page(1),
        "total": len(rows),
        "query_count": file.queries.count(),
        "left_off": max(0, len(rows) - SHOWN),
        "picked": set(data.getlist("pick")) if data is not None else set(),
        "everything": data is None or data.get("what") == "all",
    }
    return render_page(
        request, "files/migrate.html", None, context, status=422 if form.errors or problem else 200
    )
