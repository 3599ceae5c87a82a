"""Pages: branches that are followed, what holds them, the repository's webhook, pull requests."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from environments.models import Environment
from sstools.errors import Conflict, Invalid, NotAllowed, SSToolsError
from sstools.roles import policy
from sstools.roles.permissions import Permission
from sstools.web.htmx import go_to, render_page

from . import following, holds, services, webhooks
from .forms import FollowForm
from .models import Follow, Hold, Repository

HOLDS_SHOWN = 20


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def follows(request: HttpRequest, slug: str) -> HttpResponse:
    """What is followed and held. POST follows one more branch."""
    row = services.find_repository(slug, request.user)
    targets = _targets(request.user, Permission.MIGRATION_PLAN)
    data = request.POST if request.method == "POST" else None
    form = FollowForm(data, targets=targets, initial={"branch": row.branch, "roll_back_when_red": True})
    if data is not None:
        policy.require_anywhere(request.user, Permission.MIGRATION_PLAN)
    if data is not None and form.is_valid():
        given = dict(form.cleaned_data)
        try:
            made = following.create_follow(
                row, given.pop("target"), actor=request.user, policy_=given.pop("policy"), **given
            )
        except NotAllowed:
            raise
        except SSToolsError as error:
            _add(form, error)
        else:
            following.request_look(made, actor=request.user)
            messages.success(request, f"{made.branch} is followed. It is being looked at.")
            return go_to(request, "git:follows", row.slug)
    return _page(request, row, form, status=422 if form.errors else 200)


def _add(form: FollowForm, error: SSToolsError) -> None:
    found = error.errors if isinstance(error, Invalid) else {}
    for name, words in found.items():
        form.add_error(name if name in form.fields else None, words)
    if not found:
        form.add_error(None, f"{error.message} {error.remedy}".strip())


def _page(
    request: HttpRequest,
    row: Repository,
    form: FollowForm | None = None,
    *,
    secret: str = "",
    status: int = 200,
) -> HttpResponse:
    targets = _targets(request.user, Permission.MIGRATION_PLAN)
    form = form or FollowForm(targets=targets, initial={"branch": row.branch, "roll_back_when_red": True})
    writable = {one.pk for one in _targets(request.user, Permission.MIGRATION_APPLY)}
    planned = {one.pk for one in targets}
    seen = Hold.objects.visible_to(request.user).filter(repository=row)
    seen = seen.select_related("target", "created_by", "lifted_by", "run")
    held: list[Any] = list(seen.standing())
    for hold_ in held:
        hold_.may_lift = hold_.target_id in writable
    standing = {hold_.target_id: hold_ for hold_ in held}
    rows: list[Any] = list(
        Follow.objects.visible_to(request.user)
        .filter(repository=row)
        .select_related("target", "owner", "migration")
    )
    for follow in rows:
        follow.hold = standing.get(follow.target_id)
        follow.may_change = follow.target_id in planned
    context = {
        "repository": row,
        "tab": "follow",
        "follows": rows,
        "holds": held,
        "lifted": list(seen.exclude(lifted_at=None)[:HOLDS_SHOWN]),
        "form": form,
        "can_follow": bool(planned),
        "holdable": [one for one in targets if one.pk in writable and one.pk not in standing],
        "can_edit": policy.can(request.user, Permission.REPOSITORY_EDIT),
        "hook_url": webhooks.address_of(row, request.build_absolute_uri("/")),
        "secret": secret,
    }
    return render_page(request, "git/follows.html", None, context, status=status)


def _targets(user: Any, permission: Permission) -> Any:
    visible = Environment.objects.visible_to(user)
    allowed = [item.pk for item in visible if policy.can(user, permission, item)]
    return Environment.objects.filter(pk__in=allowed).order_by("position", "name")


@require_POST
@login_required
def look(request: HttpRequest, uuid: UUID) -> HttpResponse:
    found = following.find_follow(uuid, request.user)
    return go_to(request, "jobs:detail", uuid=following.request_look(found, actor=request.user).uuid)


@require_POST
@login_required
def change(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Pauses, or goes on: POST `enabled`, "1" or "0"."""
    found = following.find_follow(uuid, request.user)
    enabled = request.POST.get("enabled") == "1"
    confirmation = request.POST.get("confirmation", "")
    try:
        following.update_follow(found, actor=request.user, is_enabled=enabled, confirmation=confirmation)
    except (Invalid, Conflict) as error:
        messages.error(request, f"{error.message} {error.remedy}".strip())
    return go_to(request, "git:follows", found.repository.slug)


@require_POST
@login_required
def remove(request: HttpRequest, uuid: UUID) -> HttpResponse:
    found = following.find_follow(uuid, request.user)
    following.remove_follow(found, actor=request.user)
    messages.success(request, f"{found.branch} is no longer followed. What was planned of it stays.")
    return go_to(request, "git:follows", found.repository.slug)


@require_POST
@login_required
def hold(request: HttpRequest, slug: str) -> HttpResponse:
    """POST `target`, `reason`."""
    row = services.find_repository(slug, request.user)
    targets = _targets(request.user, Permission.MIGRATION_APPLY)
    policy.require_anywhere(request.user, Permission.MIGRATION_APPLY)
    target = targets.filter(slug=request.POST.get("target", "")).first()
    try:
        if target is None:
            raise Invalid("Choose a target.")
        holds.put_on_hold(row, target, reason=request.POST.get("reason", ""), actor=request.user)
    except (Invalid, Conflict) as error:
        messages.error(request, error.message)
    return go_to(request, "git:follows", row.slug)


@require_POST
@login_required
def lift(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """POST `reason`."""
    found = holds.find_hold(uuid, request.user)
    try:
        holds.lift(found, actor=request.user, reason=request.POST.get("reason", ""))
    except Conflict as error:
        messages.error(request, error.message)
    else:
        messages.success(request, f"The hold for {found.target} is lifted. What is followed there goes on.")
    return go_to(request, "git:follows", found.repository.slug)


@require_POST
@login_required
@never_cache
def webhook(request: HttpRequest, slug: str) -> HttpResponse:
    """A new secret, shown in this answer and never again; with `off` none are taken any more."""
    row = services.find_repository(slug, request.user)
    if request.POST.get("off"):
        webhooks.forget_secret(row, actor=request.user)
        messages.success(request, "Webhooks are not taken any more.")
        return go_to(request, "git:follows", row.slug)
    secret = webhooks.make_secret(row, actor=request.user)
    return _page(request, row, secret=secret)


@require_POST
@login_required
def pull(request: HttpRequest, slug: str) -> HttpResponse:
    """Opens a pull request of `branch` into the repository's."""
    row = services.find_repository(slug, request.user)
    try:
        job = services.request_pull(row, request.POST.get("branch", ""), actor=request.user)
    except Invalid as error:
        messages.error(request, f"{error.message} {error.remedy}".strip())
        return go_to(request, row)
    return go_to(request, "jobs:detail", uuid=job.uuid)
