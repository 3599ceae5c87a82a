"""Grants: the list, giving one, letting one end, taking one back."""

from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_http_methods, require_safe

from sstools.errors import Conflict, Invalid
from sstools.resources import EVERYTHING
from sstools.roles import places, policy, services
from sstools.roles.forms import EndForm, GrantFilterForm, GrantForm
from sstools.roles.holdings import Held
from sstools.roles.models import Grant, Group
from sstools.roles.permissions import Permission
from sstools.web.htmx import go_to, wants_fragment

from .common import (
    PAGE_SIZE,
    User,
    editable,
    for_viewers,
    labels,
    lines,
    members_of,
    page,
    question,
    seen,
    suggestions,
)


def _find(request: HttpRequest, pk: int) -> Grant:
    rows = Grant.objects.visible_to(request.user).select_related("user", "group", "created_by")
    return get_object_or_404(rows, pk=pk)


@require_safe
@for_viewers
def grant_list(request: HttpRequest) -> HttpResponse:
    shown = [places.ALL, *seen(request)]
    form = GrantFilterForm(request.GET, seen=shown)
    rows = (
        Grant.objects.visible_to(request.user).select_related("user", "group", "created_by").order_by("-id")
    )
    found = Paginator(_filtered(rows, form, shown), PAGE_SIZE).get_page(request.GET.get("page"))
    roles = {role.key: role for role in services.all_roles()}
    held = [Held(one, roles.get(one.role), None, one.is_expired) for one in found.object_list]
    total = found.paginator.count
    context = {
        "form": form,
        "page": found,
        "grants": lines(request, held),
        "may_give": bool(editable(request)),
        "is_filtered": any(request.GET.get(name) for name in form.fields),
        "live_text": f"{total} grant{'' if total == 1 else 's'}" if wants_fragment(request) else "",
    }
    return page(request, "roles/grants.html", "grants", context, "roles/_grants_page.html")


def _filtered(rows: QuerySet[Grant], form: GrantFilterForm, shown: list[places.Place]) -> QuerySet[Grant]:
    given = form.cleaned_data if form.is_valid() else {}
    for word in given.get("q", "").split():
        rows = rows.filter(
            Q(user__username__icontains=word)
            | Q(user__first_name__icontains=word)
            | Q(user__last_name__icontains=word)
            | Q(group__name__icontains=word)
            | Q(reason__icontains=word)
        )
    if role := given.get("role"):
        rows = rows.filter(role=role)
    if on := given.get("on"):
        rows = rows.filter(scope__in=[place.resource_name for place in shown if place.slug == on])
    if state := given.get("state"):
        in_force = Q(pk__in=Grant.objects.in_force().values("pk"))
        rows = rows.filter(in_force if state == "in_force" else ~in_force)
    return rows


@require_http_methods(["GET", "HEAD", "POST"])
@for_viewers
def grant_new(request: HttpRequest) -> HttpResponse:
    """?user=<name>, ?group=<id>, ?role=, ?on= fill the form."""
    where = editable(request)
    if not where:
        raise policy.refusal(request.user, Permission.ACCESS_EDIT)
    initial = {name: request.GET[name] for name in ("user", "group", "role", "on") if name in request.GET}
    form = GrantForm(request.POST or None, seen=where, initial=initial)
    if request.method == "POST" and form.is_valid():
        data = dict(form.cleaned_data)
        role, slug = data.pop("role"), data.pop("on")
        place = next(place for place in where if place.slug == slug)
        try:
            row = services.grant(role, on=place, actor=request.user, **data)
        except (Invalid, Conflict) as exc:
            form.add_invalid(exc) if isinstance(exc, Invalid) else form.add_error(None, str(exc))
        else:
            messages.success(request, f"{row.holder} has the role now.")
            return _back_to(request, row)
    context = {"form": form, "people": suggestions()}
    return page(request, "roles/grant_form.html", "grants", context, status=422 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@for_viewers
def grant_edit(request: HttpRequest, pk: int) -> HttpResponse:
    """When it ends, and why it is there. To look at for those who may not change it."""
    row = _find(request, pk)
    may_change = _may_change(request, row)
    if request.method == "POST" and not may_change:
        raise policy.refusal(request.user, Permission.ACCESS_EDIT, _place(request, row))
    form = EndForm(request.POST or None, initial={"expires_at": row.expires_at, "reason": row.reason})
    if request.method == "POST" and form.is_valid():
        try:
            services.change_grant(row, actor=request.user, **form.cleaned_data)
        except (Invalid, Conflict) as exc:
            form.add_invalid(exc) if isinstance(exc, Invalid) else form.add_error(None, str(exc))
        else:
            messages.success(request, "The grant is saved.")
            return _back_to(request, row)
    context = _context(request, row) | {"form": form, "may_change": may_change}
    if not may_change:
        why = policy.explain(request.user, Permission.ACCESS_EDIT, _place(request, row))
        context["why_not_grant"] = why.sentence
    return page(request, "roles/grant_form.html", "grants", context, status=422 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@for_viewers
def grant_take(request: HttpRequest, pk: int) -> HttpResponse:
    """Take a role back, after a question that says who loses what."""
    row = _find(request, pk)
    policy.require(request.user, Permission.ACCESS_EDIT, _place(request, row))
    error, ask = None, None
    if request.method == "POST":
        people = [row.user] if row.user is not None else members_of(row.group or Group())

        def take() -> None:
            services.revoke(_find(request, pk), actor=request.user)

        try:
            ask = question(request, [user for user in people if isinstance(user, User)], take)
            if ask is None:
                take()
                messages.success(request, "The role is taken back.")
                return _back_to(request, row)
        except Conflict as exc:
            error = exc
    shown = _context(request, row)
    context = {
        "title": f"Take {shown['role']} on {shown['place']} from {row.holder}?",
        "text": "It counts at once, for people who are signed in too.",
        "button": "Take it back",
        "back": ("roles:grant", row.pk),
        "back_label": f"{shown['role']} of {row.holder}",
        "question": ask,
        "error": error,
    }
    return page(request, "roles/confirm.html", "grants", context, status=error.status if error else 200)


def _context(request: HttpRequest, row: Grant) -> dict[str, Any]:
    titles = {role.key: role.title for role in services.all_roles()}
    return {"grant": row, "role": titles.get(row.role, row.role), "place": _place(request, row)}


def _place(request: HttpRequest, row: Grant) -> places.Place:
    return labels(request).get(row.scope, places.named(row.scope))


def _may_change(request: HttpRequest, row: Grant) -> bool:
    on = None if row.scope == EVERYTHING else row.scope
    return policy.can(request.user, Permission.ACCESS_EDIT, on)


def _back_to(request: HttpRequest, row: Grant) -> HttpResponse:
    """To whoever has it: there the effect is seen."""
    if row.user_id is not None:
        return go_to(request, "roles:user", row.user_id)
    return go_to(request, "roles:group", row.group_id)
