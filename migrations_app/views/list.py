"""The list of migrations, and what is done to one as a whole: opening, naming, discarding."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.utils.http import urlencode
from django.views.decorators.http import require_http_methods, require_safe

from environments.models import Environment
from migrations_app import services
from migrations_app.forms import EditForm, FilterForm
from migrations_app.models import BUSY_STATES, OPEN_STATES, Migration
from sstools.roles import policy
from sstools.roles.permissions import Permission
from sstools.web.htmx import go_to, render_page

from .common import find_migration, page_context, state_of, where_it_stands

PAGE_SIZE = 50


@require_safe
@login_required
def migration_list(request: HttpRequest) -> HttpResponse:
    environments = list(Environment.objects.visible_to(request.user).in_order())
    form = FilterForm(request.GET, environments=environments)
    rows = Migration.objects.visible_to(request.user).select_related(
        "source", "target", "plan", "created_by", "rolls_back"
    )
    total_exists = rows.exists()
    given = form.cleaned_data if form.is_valid() else {}
    if state := given.get("state"):
        groups: dict[str, Any] = {"open": OPEN_STATES, "busy": BUSY_STATES}
        rows = rows.filter(state__in=groups.get(state, [state]))
    if environment := given.get("environment"):
        rows = rows.filter(Q(source__slug=environment) | Q(target__slug=environment))
    if given.get("mine"):
        rows = rows.filter(created_by_id=request.user.pk)
    for word in str(given.get("q") or "").split():
        found = Q(title__icontains=word)
        if word.lstrip("#").isdecimal() and len(word) < 12:
            found |= Q(number=int(word.lstrip("#")))
        rows = rows.filter(found)
    page = Paginator(rows, PAGE_SIZE).get_page(request.GET.get("page"))
    for migration in page.object_list:
        migration.shown_state = state_of(migration)  # type: ignore[attr-defined]
    count = page.paginator.count
    context = {
        "form": form,
        "page": page,
        "filtered": any(given.values()),
        "any": total_exists,
        "chips": _chips(request, form, given),
        "can_create": policy.can_anywhere(request.user, Permission.MIGRATION_PLAN),
        "environment_count": len(environments),
        "live_text": f"{count} migration{'' if count == 1 else 's'}",
    }
    return render_page(request, "migrations_app/list.html", "migrations_app/_list.html", context)


def _chips(request: HttpRequest, form: FilterForm, given: dict[str, Any]) -> list[dict[str, str]]:
    chips = []
    for name, value in given.items():
        if not value:
            continue
        query = request.GET.copy()
        query.pop(name, None)
        query.pop("page", None)
        field = form.fields[name]
        shown = dict(getattr(field, "choices", [])).get(value, value)
        label = str(field.label) if value is True else f"{field.label}: {shown}"
        chips.append({"label": label, "remove_url": f"?{query.urlencode()}" if query else "?"})
    return chips


@require_safe
@login_required
def migration_detail(request: HttpRequest, number: int) -> HttpResponse:
    migration = find_migration(request, number)
    return go_to(request, f"migrations_app:{where_it_stands(migration)}", migration.number)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def migration_edit(request: HttpRequest, number: int) -> HttpResponse:
    """Title and options, which change no plan."""
    migration = find_migration(request, number)
    context = page_context(request, migration, "edit")
    status = 200
    form = EditForm(
        request.POST or None,
        initial={
            "title": migration.title,
            "verify": migration.verify,
            "roll_back_when_red": migration.roll_back_when_red,
        },
    )
    if request.method == "POST":
        if form.is_valid():
            services.update_migration(
                migration,
                actor=request.user,
                title=form.cleaned_data["title"],
                verify=form.cleaned_data["verify"],
                roll_back_when_red=form.cleaned_data["roll_back_when_red"],
            )
            messages.success(request, "Saved.")
            return go_to(request, "migrations_app:detail", migration.number)
        status = 422
    return render_page(request, "migrations_app/edit.html", None, {**context, "form": form}, status=status)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def migration_discard(request: HttpRequest, number: int) -> HttpResponse:
    migration = find_migration(request, number)
    if request.method == "POST":
        services.discard_migration(migration, actor=request.user)
        messages.success(request, f"{migration} is discarded. Nothing was written to {migration.target}.")
        return go_to(request, "migrations_app:list")
    return render_page(
        request, "migrations_app/discard.html", None, page_context(request, migration, "discard")
    )


def query_of(**values: Any) -> str:
    """?a=1&b=2 of what is not empty."""
    given = {name: value for name, value in values.items() if value}
    return f"?{urlencode(given)}" if given else ""
