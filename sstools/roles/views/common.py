"""What the pages of access have in common: who may open them, tabs, the table of rights, asking before taking away."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from sstools.roles import places, policy
from sstools.roles.holdings import Holding, Loss, digest, holdings, losses
from sstools.roles.models import Grant, Group, Membership
from sstools.roles.permissions import MEANING, Permission
from sstools.web.htmx import render_page

User = get_user_model()
PAGE_SIZE = 50
MOST_SUGGESTED = 300  # names in a <datalist>; a longer list is typed


def for_viewers(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """For those who have `access:view` anywhere; raises NotAllowed for others."""

    @login_required
    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        policy.require_anywhere(request.user, Permission.ACCESS_VIEW)
        return view(request, *args, **kwargs)

    return guarded


def for_editors(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """For those who have `access:edit` on everything: people, groups and roles concern all environments."""

    @for_viewers
    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        policy.require(request.user, Permission.ACCESS_EDIT)
        return view(request, *args, **kwargs)

    return guarded


@dataclass(frozen=True)
class Tab:
    label: str
    url: str
    is_current: bool


def page(
    request: HttpRequest,
    template: str,
    tab: str,
    context: dict[str, Any],
    partial: str | None = None,
    status: int = 200,
) -> HttpResponse:
    """Render a page of access with its tabs. `can_edit` and `why_not` are about people, groups and roles."""
    labels = {
        "list": "You",
        "users": "People",
        "roles": "Roles",
        "groups": "Groups",
        "grants": "Grants",
        "try": "Try a person",
    }
    sees = policy.can_anywhere(request.user, Permission.ACCESS_VIEW)
    can_edit = policy.can(request.user, Permission.ACCESS_EDIT)
    more = {
        "tabs": [
            Tab(label, reverse(f"roles:{name}"), name == tab)
            for name, label in labels.items()
            if sees or name == "list"
        ],
        "sees_access": sees,
        "can_edit": can_edit,
        "why_not": "" if can_edit else policy.explain(request.user, Permission.ACCESS_EDIT).sentence,
    }
    return render_page(request, template, partial, {**more, **context}, status=status)


def seen(request: HttpRequest) -> list[places.Place]:
    """The environments whose access the reader may look at."""
    where = policy.scopes(request.user, Permission.ACCESS_VIEW)
    return [place for place in places.seen_by(request.user) if place in where]


def editable(request: HttpRequest) -> list[places.Place]:
    """On what the reader may give roles, "everything" included where that is so."""
    where = policy.scopes(request.user, Permission.ACCESS_EDIT)
    known = [place for place in places.seen_by(request.user) if place in where]
    return [places.ALL, *known] if where.everything else known


def labels(request: HttpRequest) -> dict[str, places.Place]:
    """Places by resource name, for grants."""
    return {place.resource_name: place for place in (places.ALL, *places.seen_by(request.user))}


@dataclass(frozen=True)
class Line:
    """A grant as tables show it."""

    grant: Grant
    role: str
    place: places.Place
    group: Group | None
    is_expired: bool
    may_change: bool


def lines(request: HttpRequest, held: Iterable[Any]) -> list[Line]:
    """Grants (Held, see holdings.py) of which the reader may know, with whether they may be changed."""
    known, sees = labels(request), policy.scopes(request.user, Permission.ACCESS_VIEW)
    edits = policy.scopes(request.user, Permission.ACCESS_EDIT)
    out = []
    for one in held:
        scope = one.grant.scope
        place = known.get(scope, places.named(scope))
        if place is places.ALL or place in sees:
            may_change = edits.everything or (place is not places.ALL and place in edits)
            out.append(Line(one.grant, one.title, place, one.group, one.is_expired, may_change))
    return out


@dataclass(frozen=True)
class RightRow:
    """One right of one person: `cells` say yes or no, and why, for everything and for each environment."""

    permission: Permission
    meaning: str
    cells: list[tuple[places.Place, policy.Explanation]]


def rights_table(user: Any, shown: Sequence[places.Place]) -> list[RightRow]:
    """Every right on everything and on each of `shown`. Costs what one `explain` costs."""
    return [
        RightRow(
            one,
            MEANING.get(one, ""),
            [(place, policy.explain(user, one, place)) for place in (places.ALL, *shown)],
        )
        for one in Permission
    ]


# --- Asking before taking away --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Question:
    """What a change would take from whom; `token` comes back with the confirmation."""

    people: list[tuple[Any, str]]
    token: str


def question(request: HttpRequest, users: Sequence[Any], change: Callable[[], Any]) -> Question | None:
    """What the reader has to confirm before `change`; None if it takes nothing, or if exactly this was confirmed.

    Raises what `change` raises.
    """
    lost: list[Loss] = losses(users, change)
    token = digest(lost)
    if not lost or request.POST.get("confirmed") == token:
        return None
    known = labels(request)

    def words(loss: Loss) -> str:
        return ", ".join(f"{right} on {known.get(scope, scope)}" for right, scope in loss.rights)

    return Question([(loss.user, words(loss)) for loss in lost], token)


def holders_of(role: str) -> list[Any]:
    """Everybody who has a role, directly or through a group."""
    grants = Grant.objects.filter(role=role)
    members = Membership.objects.filter(group__in=grants.exclude(group=None).values("group_id"))
    direct = User._default_manager.filter(pk__in=grants.exclude(user=None).values("user_id"))
    return list((direct | User._default_manager.filter(pk__in=members.values("user_id"))).distinct())


def members_of(group: Group) -> list[Any]:
    return list(group.members.order_by("username"))


def holding_of(user: Any) -> Holding:
    return holdings([user])[0]


def suggestions() -> list[Any]:
    """People for a <datalist>."""
    return list(User._default_manager.filter(is_active=True).order_by("username")[:MOST_SUGGESTED])
