"""Roles: what they allow, who has them, and those of one's own making."""

from typing import Any

from django.contrib import messages
from django.db.models import Count
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_http_methods, require_safe

from sstools.errors import Conflict, Invalid
from sstools.resources import EVERYTHING
from sstools.roles import services
from sstools.roles.forms import RoleForm
from sstools.roles.holdings import Held
from sstools.roles.models import CustomRole, Grant, Membership
from sstools.roles.permissions import MEANING, Permission, Role
from sstools.web.htmx import go_to

from .common import for_editors, for_viewers, holders_of, lines, page, question, seen


def _find(key: str) -> Role:
    role = next((role for role in services.all_roles() if role.key == key), None)
    if role is None:
        raise Http404
    return role


@require_safe
@for_viewers
def role_list(request: HttpRequest) -> HttpResponse:
    shown = seen(request)
    people, roles = _people(), services.all_roles()
    rows = [
        {
            "role": role,
            "everywhere": people.get((role.key, EVERYTHING), 0),
            "cells": [people.get((role.key, place.resource_name), 0) for place in shown],
        }
        for role in roles
    ]
    matrix = [
        (permission, MEANING.get(permission, ""), [permission in role.permissions for role in roles])
        for permission in Permission
    ]
    return page(request, "roles/roles.html", "roles", {"rows": rows, "shown": shown, "matrix": matrix})


def _people() -> dict[tuple[str, str], int]:
    """How many active people have a role on a scope, directly or through groups. Two queries."""
    grants = Grant.objects.in_force()
    found: dict[tuple[str, str], set[int]] = {}
    direct = grants.filter(user__is_active=True).values_list("role", "scope", "user_id")
    through = Membership.objects.filter(group__grants__in=grants, user__is_active=True)
    for role, scope, user in (
        *direct,
        *through.values_list("group__grants__role", "group__grants__scope", "user_id"),
    ):
        found.setdefault((role, scope), set()).add(user)
    return {key: len(users) for key, users in found.items()}


@require_safe
@for_viewers
def role_detail(request: HttpRequest, key: str) -> HttpResponse:
    role = _find(key)
    rows = (
        Grant.objects.visible_to(request.user).filter(role=key).select_related("user", "group", "created_by")
    )
    rows = rows.annotate(member_count=Count("group__memberships")).order_by("scope", "id")
    held = [Held(grant, role, None, grant.is_expired) for grant in rows]
    context = {
        "role": role,
        "rights": [(one, MEANING.get(one, ""), one in role.permissions) for one in Permission],
        "grants": lines(request, held),
    }
    return page(request, "roles/role.html", "roles", context)


@require_http_methods(["GET", "HEAD", "POST"])
@for_editors
def role_new(request: HttpRequest) -> HttpResponse:
    """?from=author starts with another role's rights."""
    start = next((role for role in services.all_roles() if role.key == request.GET.get("from")), None)
    initial = {"permissions": sorted(map(str, start.permissions))} if start else {}
    form = RoleForm(request.POST or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        try:
            role = services.create_role(**form.cleaned_data, actor=request.user)
        except Invalid as exc:
            form.add_invalid(exc)
        else:
            messages.success(request, f"The role {role} is there. Nobody has it yet.")
            return go_to(request, "roles:role", role.key)
    return page(request, "roles/role_form.html", "roles", {"form": form}, status=422 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@for_editors
def role_edit(request: HttpRequest, key: str) -> HttpResponse:
    """Says who loses what before it saves."""
    row: CustomRole = get_object_or_404(CustomRole, key=key)
    initial = {"name": row.name, "description": row.description, "permissions": row.permissions}
    form = RoleForm(request.POST or None, initial=initial)
    context: dict[str, Any] = {"form": form, "role": row}
    status = 200
    if request.method == "POST" and form.is_valid():

        def save() -> None:
            services.update_role(CustomRole.objects.get(pk=row.pk), **form.cleaned_data, actor=request.user)

        try:
            context["question"] = question(request, holders_of(row.key), save)
            if context["question"] is None:
                save()
                messages.success(request, f"The role {form.cleaned_data['name']} is saved.")
                return go_to(request, "roles:role", row.key)
        except Invalid as exc:
            form.add_invalid(exc)
        except Conflict as exc:
            context["error"], status = exc, exc.status
    return page(request, "roles/role_form.html", "roles", context, status=422 if form.errors else status)


@require_http_methods(["GET", "HEAD", "POST"])
@for_editors
def role_delete(request: HttpRequest, key: str) -> HttpResponse:
    row = get_object_or_404(CustomRole, key=key)
    error = None
    if request.method == "POST":
        try:
            services.delete_role(row, actor=request.user)
        except Conflict as exc:
            error = exc
        else:
            messages.success(request, f"The role {row.name} is deleted.")
            return go_to(request, "roles:roles")
    context = {
        "title": f"Delete the role {row.name}?",
        "text": "Only a role that nobody has can be deleted.",
        "button": "Delete it",
        "back": ("roles:role", row.key),
        "back_label": row.name,
        "error": error,
    }
    return page(request, "roles/confirm.html", "roles", context, status=error.status if error else 200)
