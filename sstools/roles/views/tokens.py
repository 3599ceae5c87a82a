"""Tokens: one's own, and those of service accounts."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_http_methods, require_POST

from sstools.errors import Invalid, NotFoundError
from sstools.roles import accounts, places, shown_once, tokens
from sstools.roles.forms import ServiceForm
from sstools.roles.models import ApiToken, Source
from sstools.roles.permissions import MEANING, Permission
from sstools.web.htmx import go_to

from .common import User, for_editors, page


class TokenForm(ServiceForm):
    name = forms.CharField(max_length=100, help_text="What uses it: you will want to know when you end it.")
    days = forms.ChoiceField(choices=tokens.LIVES, initial="90", required=False, label="It lives")
    permissions = forms.MultipleChoiceField(
        required=False,
        choices=[(str(one), f"{one} – {MEANING[one]}") for one in Permission],
        widget=forms.CheckboxSelectMultiple,
        label="It may",
        help_text="Nothing ticked: whatever its user may. A token never may more than its user.",
    )
    scopes = forms.MultipleChoiceField(
        required=False,
        widget=forms.CheckboxSelectMultiple,
        label="On",
        help_text="Nothing ticked: on whatever its user may.",
    )

    def __init__(self, *args: Any, reader: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["scopes"]
        assert isinstance(field, forms.MultipleChoiceField)
        field.choices = [(place.resource_name, place.label) for place in places.seen_by(reader)]


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def own_tokens(request: HttpRequest) -> HttpResponse:
    """One's own tokens, and making one."""
    return _tokens(request, request.user, "list", "roles:own_tokens")


@require_http_methods(["GET", "HEAD", "POST"])
@for_editors
def user_tokens(request: HttpRequest, pk: int) -> HttpResponse:
    """Those of a service account."""
    person = get_object_or_404(User._default_manager, pk=pk)
    if accounts.source_of(person) != Source.PROGRAM and person.pk != request.user.pk:
        raise NotFoundError()
    return _tokens(request, person, "users", "roles:user_tokens", person.pk)


def _tokens(request: HttpRequest, person: Any, tab: str, name: str, *args: Any) -> HttpResponse:
    form = TokenForm(request.POST or None, reader=request.user)
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        try:
            row, text = tokens.create_token(
                person,
                name=given["name"],
                days=int(given["days"]) if given["days"] else None,
                permissions=given["permissions"],
                scopes=given["scopes"],
                actor=request.user,
            )
        except Invalid as error:
            form.add_invalid(error)
        else:
            shown_once.keep(request, shown_once.NEW_TOKEN, row.pk, text)
            return go_to(request, name, *args)
    labels = {place.resource_name: place.label for place in places.seen_by(request.user)}
    rows: list[Any] = list(ApiToken.objects.filter(user=person, revoked_at=None).select_related("created_by"))
    for row in rows:
        row.places = [labels.get(scope, scope) for scope in row.scopes]
    kept_for = shown_once.peek(request, shown_once.NEW_TOKEN)
    text = shown_once.take(request, shown_once.NEW_TOKEN)
    shown = text if any(row.pk == kept_for for row in rows) else ""
    context = {
        "person": person,
        "is_mine": person.pk == request.user.pk,
        "tokens": rows,
        "form": form,
        "shown": shown,
    }
    status = 422 if form.errors else 200
    return page(request, "roles/tokens.html", tab, context, status=status)


@require_POST
@login_required
def token_end(request: HttpRequest, pk: int) -> HttpResponse:
    row = ApiToken.objects.filter(pk=pk).first()
    tokens.revoke_token(pk, actor=request.user)
    messages.success(request, "The token has ended.")
    if row is not None and row.user_id != request.user.pk:
        return go_to(request, "roles:user_tokens", row.user_id)
    return go_to(request, "roles:own_tokens")


class ProgramForm(ServiceForm):
    username = forms.CharField(max_length=150, label="Name", help_text="How it is called in the history.")
    description = forms.CharField(max_length=150, required=False, label="What it does")


@require_http_methods(["GET", "HEAD", "POST"])
@for_editors
def program_new(request: HttpRequest) -> HttpResponse:
    """A service account."""
    form = ProgramForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            person = accounts.create_service_account(
                form.cleaned_data["username"],
                description=form.cleaned_data["description"],
                actor=request.user,
            )
        except Invalid as error:
            form.add_invalid(error)
        else:
            messages.success(request, f"{person} is there. Give it roles, and a token.")
            return go_to(request, "roles:user", person.pk)
    return page(
        request, "roles/program_form.html", "users", {"form": form}, status=422 if form.errors else 200
    )
