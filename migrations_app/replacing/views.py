"""The page that asks what is to be replaced; from there on it is the pages of a migration."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_http_methods

from environments.models import Environment
from migrations_app.models import Migration
from sstools.errors import Invalid
from sstools.roles import policy
from sstools.roles.permissions import Permission
from sstools.web.htmx import go_to, render_page

from . import services
from .forms import ReplaceForm

LAST = 10


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def replace(request: HttpRequest) -> HttpResponse:
    """GET may fill in fields of the form, and `uuid`s of assets; POST plans."""
    policy.require_anywhere(request.user, Permission.MIGRATION_VIEW)
    form = _form(request)
    status = 200
    if request.method == "POST":
        if form.is_valid():
            try:
                migration = services.create_replacement(
                    form.cleaned_data["environment"], actor=request.user, **form.asked
                )
            except Invalid as error:
                form.say(error.errors or {"": [error.message]})
            else:
                messages.success(
                    request, "The replacement is being planned. Nothing is written before you apply it."
                )
                return go_to(request, "migrations_app:plan", migration.number)
        status = 422
    rows = Migration.objects.visible_to(request.user).filter(source_place__startswith="replace:")
    chosen = form["selection"].value() or ""
    context: dict[str, Any] = {
        "form": form,
        "last": rows.select_related("target", "replacement", "created_by", "plan")[:LAST],
        "selected": len([uuid for uuid in chosen.split(",") if uuid]),
        "can_plan": policy.can_anywhere(request.user, Permission.MIGRATION_PLAN),
    }
    return render_page(request, "replacing/replace.html", None, context, status=status)


def _form(request: HttpRequest) -> ReplaceForm:
    if request.method == "POST":
        return ReplaceForm(request.POST, user=request.user)
    given = request.GET
    initial: dict[str, Any] = {
        name: given[name] for name in ("find", "replace", "how", "title", "database") if given.get(name)
    }
    slug = given.get("environment", "")
    initial["environment"] = Environment.objects.visible_to(request.user).filter(slug=slug).first()
    initial |= {name: given.getlist(key) for name, key in _LISTS if given.getlist(key)}
    initial["selection"] = ",".join(given.getlist("uuid"))
    return ReplaceForm(initial=initial, user=request.user)


_LISTS = (("fields_", "fields"), ("kinds", "kinds"))
