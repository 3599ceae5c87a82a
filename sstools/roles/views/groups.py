"""Groups: of the directory, whose members come with their sign-ins, and of ss-tools, whose members are chosen here."""

from typing import Any

from django.contrib import messages
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from sstools.errors import Conflict, Invalid
from sstools.roles import services
from sstools.roles.forms import MemberForm, NewGroupForm
from sstools.roles.holdings import Held
from sstools.roles.models import Grant, Group
from sstools.web.htmx import go_to

from .common import (
    User,
    editable,
    for_editors,
    for_viewers,
    labels,
    lines,
    members_of,
    page,
    question,
    suggestions,
)


@require_safe
@for_viewers
def group_list(request: HttpRequest) -> HttpResponse:
    rows = list(Group.objects.annotate(member_count=Count("memberships")))
    titles = {role.key: role.title for role in services.all_roles()}
    known = labels(request)
    given: dict[int | None, list[str]] = {}
    for grant in Grant.objects.visible_to(request.user).in_force().exclude(group=None):
        text = f"{titles.get(grant.role, grant.role)} on {known.get(grant.scope, grant.scope)}"
        given.setdefault(grant.group_id, []).append(text)
    return page(
        request, "roles/groups.html", "groups", {"rows": [(row, given.get(row.pk, [])) for row in rows]}
    )


@require_safe
@for_viewers
def group_detail(request: HttpRequest, pk: int) -> HttpResponse:
    return _page(request, get_object_or_404(Group, pk=pk), MemberForm())


def _page(
    request: HttpRequest, group: Group, form: MemberForm, error: Any = None, **more: Any
) -> HttpResponse:
    roles = {role.key: role for role in services.all_roles()}
    rows = Grant.objects.visible_to(request.user).filter(group=group).select_related("group", "created_by")
    context = {
        "group": group,
        "members": members_of(group),
        "grants": lines(request, [Held(one, roles.get(one.role), None, one.is_expired) for one in rows]),
        "form": form,
        "people": suggestions() if not group.is_directory else [],
        "may_give": bool(editable(request)),
        "error": error,
        **more,
    }
    status = error.status if error else 422 if form.errors else 200
    return page(request, "roles/group.html", "groups", context, status=status)


@require_http_methods(["GET", "HEAD", "POST"])
@for_editors
def group_new(request: HttpRequest) -> HttpResponse:
    form = NewGroupForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            group = services.create_group(**form.cleaned_data, actor=request.user)
        except Invalid as exc:
            form.add_invalid(exc)
        else:
            messages.success(request, f"The group {group} is there. Give it a role.")
            return go_to(request, "roles:group", group.pk)
    return page(
        request, "roles/group_form.html", "groups", {"form": form}, status=422 if form.errors else 200
    )


@require_POST
@for_editors
def group_members(request: HttpRequest, pk: int) -> HttpResponse:
    """`user=<name>` joins, `remove=<id>` leaves, after a question that says what is lost."""
    group = get_object_or_404(Group, pk=pk)
    form = MemberForm(request.POST) if "remove" not in request.POST else MemberForm()
    present = members_of(group)
    try:
        if "remove" in request.POST:
            stay = [user for user in present if str(user.pk) != request.POST["remove"]]

            def remove() -> None:
                services.set_members(group, stay, actor=request.user)

            ask = question(request, [user for user in present if user not in stay], remove)
            if ask is not None:
                return _page(request, group, form, question=ask, removing=request.POST["remove"])
            remove()
        elif form.is_valid():
            services.set_members(group, [*present, form.cleaned_data["user"]], actor=request.user)
        else:
            return _page(request, group, form)
    except Conflict as exc:
        return _page(request, group, form, exc)
    messages.success(request, f"{group} is saved.")
    return go_to(request, "roles:group", group.pk)


@require_http_methods(["GET", "HEAD", "POST"])
@for_editors
def group_delete(request: HttpRequest, pk: int) -> HttpResponse:
    group = get_object_or_404(Group, pk=pk)
    error, ask = None, None
    if request.method == "POST":

        def delete() -> None:
            services.delete_group(Group.objects.get(pk=pk), actor=request.user)

        try:
            ask = question(request, list(User._default_manager.filter(memberships__group=group)), delete)
            if ask is None:
                delete()
                messages.success(request, f"The group {group} is forgotten.")
                return go_to(request, "roles:groups")
        except Conflict as exc:
            error = exc
    context = {
        "title": f"Forget the group {group}?",
        "text": "With the roles it was given. In the directory nothing changes."
        if group.is_directory
        else "With its members and the roles it was given.",
        "button": "Forget it",
        "back": ("roles:group", group.pk),
        "back_label": group.name,
        "question": ask,
        "error": error,
    }
    return page(request, "roles/confirm.html", "groups", context, status=error.status if error else 200)
