"""What the reader may do, and trying out what somebody else may."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_POST, require_safe

from sstools.resources import EVERYTHING
from sstools.roles import accounts, places, policy, services
from sstools.roles.forms import TryForm
from sstools.roles.permissions import Permission
from sstools.signin import sessions
from sstools.web.htmx import go_to
from sstools.web.templatetags.web import count

from .common import for_viewers, holding_of, labels, page, rights_table, seen, suggestions

MOST_SESSIONS = 20


@require_POST
@login_required
def own_sessions_end(request: HttpRequest) -> HttpResponse:
    """Sign oneself out in every other browser."""
    number = accounts.end_sessions(request.user, actor=request.user, keep=request.session.session_key)
    messages.success(
        request, f"You are signed out in {count(number, 'other place')}, and stay signed in here."
    )
    return go_to(request, "roles:list")


@require_safe
@login_required
def own(request: HttpRequest) -> HttpResponse:
    """One's own roles and rights: for everybody, as nobody should have to guess."""
    known = labels(request)
    holding = holding_of(request.user)
    context = {
        "person": request.user,
        "grants": [(held, known.get(held.grant.scope)) for held in holding.held if held.grant.scope in known],
        "groups": holding.groups,
        "shown": places.seen_by(request.user),
        "rights": rights_table(request.user, places.seen_by(request.user)),
        "roles_with_view": [
            role.title for role in services.all_roles() if Permission.ACCESS_VIEW in role.permissions
        ],
        "sessions": list(sessions.of_user(request.user)[:MOST_SESSIONS]),
        "this_session": request.session.session_key,
        "administrators": policy.who_can(Permission.ACCESS_EDIT, EVERYTHING)[: policy.MOST_HOLDERS],
    }
    return page(request, "roles/own.html", "list", context)


@require_safe
@for_viewers
def try_user(request: HttpRequest) -> HttpResponse:
    """?user=j.doe&permission=migration:apply&on=prod: yes or no, why, and everything else that the person may."""
    shown = seen(request)
    sees_all = policy.can(request.user, Permission.ACCESS_VIEW)
    form = TryForm(request.GET or None, seen=[*([places.ALL] if sees_all else []), *shown])
    context = {"form": form, "people": suggestions(), "shown": shown}
    status = 200
    if form.is_valid():
        user, place = form.cleaned_data["user"], places.find(form.cleaned_data["on"], request.user)
        titles = {role.key: role.title for role in services.all_roles()}
        why = policy.explain(user, Permission(form.cleaned_data["permission"]), place)
        context |= {
            "person": user,
            "why": why,
            "expired": [(one, titles.get(one.role, one.role)) for one in why.expired],
            "groups": holding_of(user).groups,
            "rights": rights_table(user, shown),
        }
    elif form.is_bound and request.GET.get("permission"):
        status = 422
    return page(request, "roles/try.html", "try", context, status=status)
