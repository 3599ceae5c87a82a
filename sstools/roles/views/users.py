"""People: the list with their roles on each environment, one person, local users, choosing a password."""

from typing import Any

from django.contrib import messages
from django.contrib.auth import views as auth_views
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse_lazy
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from sstools.audit import services as audit
from sstools.errors import Conflict, Invalid
from sstools.resources import EVERYTHING
from sstools.roles import accounts, policy, shown_once
from sstools.roles.forms import NamesForm, NewUserForm, UserFilterForm, people_like
from sstools.roles.holdings import Holding, holdings
from sstools.roles.models import Account, Grant, Membership, Source
from sstools.signin import sessions
from sstools.web.htmx import go_to, wants_fragment
from sstools.web.templatetags.web import count

from .common import (
    PAGE_SIZE,
    User,
    editable,
    for_editors,
    for_viewers,
    holding_of,
    lines,
    page,
    question,
    rights_table,
    seen,
)

MOST_SESSIONS = 20
LINK = "roles_password_link"


def _find(pk: int) -> Any:
    return get_object_or_404(User._default_manager.select_related("account"), pk=pk)


@require_safe
@for_viewers
def user_list(request: HttpRequest) -> HttpResponse:
    form = UserFilterForm(request.GET)
    rows = _filtered(User._default_manager.select_related("account").order_by("username"), form)
    found = Paginator(rows, PAGE_SIZE).get_page(request.GET.get("page"))
    shown = seen(request)
    people = [_row(holding, shown) for holding in holdings(found.object_list)]
    total = found.paginator.count
    context = {
        "form": form,
        "page": found,
        "people": people,
        "shown": shown,
        "is_filtered": any(request.GET.get(name) for name in form.fields),
        "live_text": f"{total} {'person' if total == 1 else 'people'}" if wants_fragment(request) else "",
    }
    return page(request, "roles/users.html", "users", context, "roles/_users.html")


def _filtered(rows: QuerySet[Any], form: UserFilterForm) -> QuerySet[Any]:
    given = form.cleaned_data if form.is_valid() else {}
    if text := given.get("q"):
        rows = rows.filter(people_like(text))
    if state := given.get("state"):
        rows = rows.filter(is_active=state == "on")
    if source := given.get("source"):
        is_local = Q(account__source=Source.LOCAL) | Q(account=None)
        rows = rows.filter(is_local if source == Source.LOCAL else Q(account__source=source))
    if role := given.get("role"):
        grants = Grant.objects.in_force() if role == "none" else Grant.objects.in_force().filter(role=role)
        members = Membership.objects.filter(group__in=grants.exclude(group=None).values("group_id"))
        has = Q(pk__in=grants.exclude(user=None).values("user_id")) | Q(pk__in=members.values("user_id"))
        rows = rows.filter(~has, is_superuser=False) if role == "none" else rows.filter(has)
    return rows


def _row(holding: Holding, shown: list[Any]) -> dict[str, Any]:
    titles = [
        _titles(holding, resource) for resource in (EVERYTHING, *(place.resource_name for place in shown))
    ]
    return {"user": holding.user, "groups": holding.groups, "everywhere": titles[0], "cells": titles[1:]}


def _titles(holding: Holding, resource: str) -> list[str]:
    return sorted({held.title for held in holding.on(resource)})


@require_safe
@for_viewers
def user_detail(request: HttpRequest, pk: int) -> HttpResponse:
    person = _find(pk)
    holding, shown = holding_of(person), seen(request)
    is_mine = person.pk == request.user.pk
    stands_above = person.is_superuser and not policy.is_superuser(request.user)
    context = {
        "person": person,
        "is_local": accounts.source_of(person) == Source.LOCAL,
        "is_program": accounts.source_of(person) == Source.PROGRAM,
        "account": Account.objects.filter(user=person).first(),
        "grants": lines(request, holding.held),
        "groups": holding.groups,
        "shown": shown,
        "rights": rights_table(person, shown),
        "link": shown_once.take(request, LINK) if shown_once.peek(request, LINK) == person.pk else "",
        "is_mine": is_mine,
        "stands_above": stands_above,
        "may_give": bool(editable(request)),
        "sessions": list(sessions.of_user(person)[:MOST_SESSIONS]),
    }
    return page(request, "roles/user.html", "users", context)


def _keep_link(request: HttpRequest, person: Any) -> None:
    path = accounts.password_link(person, actor=request.user)
    shown_once.keep(request, LINK, person.pk, request.build_absolute_uri(path))


@require_http_methods(["GET", "HEAD", "POST"])
@for_editors
def user_new(request: HttpRequest) -> HttpResponse:
    form = NewUserForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            person = accounts.create_user(**form.cleaned_data, actor=request.user)
        except Invalid as exc:
            form.add_invalid(exc)
        else:
            _keep_link(request, person)
            messages.success(request, f"{person} is there. Give the link on, and roles.")
            return go_to(request, "roles:user", person.pk)
    return page(request, "roles/user_form.html", "users", {"form": form}, status=422 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@for_editors
def user_edit(request: HttpRequest, pk: int) -> HttpResponse:
    person = _find(pk)
    names = {name: getattr(person, name) for name in accounts.NAME_FIELDS}
    form = NamesForm(request.POST or None, initial=names)
    if request.method == "POST" and form.is_valid():
        try:
            accounts.update_user(person, **form.cleaned_data, actor=request.user)
        except Invalid as exc:
            form.add_invalid(exc)
        else:
            messages.success(request, f"{person} is saved.")
            return go_to(request, "roles:user", person.pk)
    context = {"form": form, "person": person}
    return page(request, "roles/user_form.html", "users", context, status=422 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@for_editors
def user_switch(request: HttpRequest, pk: int) -> HttpResponse:
    """Switch somebody off, after a question that says what they lose; or on, at once."""
    person = _find(pk)
    on, error = not person.is_active, None
    ask = None
    if request.method == "POST":
        try:
            if not on:
                ask = question(
                    request, [person], lambda: accounts.set_active(_find(pk), False, actor=request.user)
                )
            if ask is None:
                accounts.set_active(person, on, actor=request.user)
                messages.success(request, f"{person} is switched {'on' if on else 'off'}.")
                return go_to(request, "roles:user", person.pk)
        except Conflict as exc:
            error = exc
    context = {
        "title": f"Switch {policy.name_of(person)} {'on' if on else 'off'}?",
        "text": "They can sign in again, with the roles they have."
        if on
        else "Their sessions and tokens end at once. Roles stay, and count for nothing until then.",
        "button": "Switch on" if on else "Switch off",
        "back": ("roles:user", person.pk),
        "back_label": str(person),
        "question": ask,
        "error": error,
    }
    return page(request, "roles/confirm.html", "users", context, status=error.status if error else 200)


@require_POST
@for_editors
def user_link(request: HttpRequest, pk: int) -> HttpResponse:
    """A new link for choosing a password, shown once."""
    person = _find(pk)
    try:
        _keep_link(request, person)
    except Conflict as exc:
        messages.error(request, str(exc))
    return go_to(request, "roles:user", person.pk)


@require_POST
@for_editors
def user_sessions_end(request: HttpRequest, pk: int) -> HttpResponse:
    """Sign somebody out everywhere."""
    person = _find(pk)
    keep = request.session.session_key if person.pk == request.user.pk else None
    number = accounts.end_sessions(person, actor=request.user, keep=keep)
    messages.success(request, f"{person} is signed out in {count(number, 'place')}.")
    return go_to(request, "roles:user", person.pk)


class Password(auth_views.PasswordResetConfirmView):
    """Where somebody chooses a password by the link that an administrator made. Without signing in."""

    template_name = "roles/password.html"
    http_method_names = ["get", "head", "post", "options"]
    success_url = reverse_lazy("web:login")

    def get_user(self, uidb64: str) -> Any:
        user = super().get_user(uidb64)
        if user is None or not user.is_active or accounts.source_of(user) != Source.LOCAL:
            return None
        return user

    def form_valid(self, form: Any) -> HttpResponse:
        response = super().form_valid(form)
        sessions.end_all(self.user, actor=self.user, why="password")
        audit.record("user:password", self.user, actor=self.user, source="page")
        messages.success(self.request, "The password is set. Sign in with it.")
        return response

    def form_invalid(self, form: Any) -> HttpResponse:
        return self.render_to_response(self.get_context_data(form=form), status=422)
