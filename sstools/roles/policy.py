"""May this user do that? Grants give roles, roles hold permissions; superusers may do everything.

What a user has is read once per user object, that is once per request: one query, two where custom roles are concerned.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.db.models import Q
from django.utils import timezone

from sstools.errors import NotAllowed
from sstools.resources import EVERYTHING, resource_name

from . import denials, places
from .models import CustomRole, Grant, Membership
from .permissions import ROLES, Permission, Role

_CACHE = "_sstools_rights"
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_LIMITS = "_token_limits"
MOST_HOLDERS = 5  # named in a refusal


@dataclass(frozen=True)
class Scopes:
    """Where a user has a permission: on everything, or on the named resources."""

    everything: bool
    resources: frozenset[str]

    def __contains__(self, obj: object) -> bool:
        return self.everything or resource_name(obj) in self.resources

    def __bool__(self) -> bool:
        return self.everything or bool(self.resources)

    def uuids(self, noun: str) -> list[str]:
        """Of the resources "<noun>:<uuid>", for a query. One that is no uuid, put there by hand, gives nothing."""
        prefix = f"{noun}:"
        keys = [name.removeprefix(prefix) for name in self.resources if name.startswith(prefix)]
        return [key for key in keys if _UUID.fullmatch(key)]


@dataclass(frozen=True)
class Holder:
    """Somebody to ask: `name` as people call them, `email` if it is known."""

    name: str
    email: str


@dataclass(frozen=True)
class Explanation:
    """Why a user may or may not. `sentence` is for people.

    `grant` decided, with `role`; both None for superusers and refusals. `expired` would have given it once.
    `roles_that_would`: titles. `holders` costs up to four queries, when asked for: see `who_can`.
    """

    allowed: bool
    sentence: str
    permission: Permission
    place: places.Place
    grant: Grant | None = None
    role: Role | None = None
    expired: tuple[Grant, ...] = ()
    roles_that_would: tuple[str, ...] = ()
    may_ask: bool = field(default=True, repr=False)

    @cached_property
    def holders(self) -> tuple[Holder, ...]:
        """At most one more than MOST_HOLDERS of those who may."""
        return who_can(self.permission, self.place.resource_name) if self.may_ask else ()


class _Rights:
    """The grants of one user, expired ones too, and the roles they name."""

    def __init__(self, user: Any) -> None:
        self.grants = list(Grant.objects.of(user).select_related("group").order_by("id"))

    @cached_property
    def custom(self) -> dict[str, Role]:
        return {row.key: row.role for row in CustomRole.objects.all()}

    def role(self, key: str) -> Role | None:
        """None for one that no longer exists: it gives nothing."""
        return ROLES.get(key) or self.custom.get(key)

    def giving(self, permission: Permission) -> Iterator[tuple[Grant, Role]]:
        """Grants whose role has `permission`, in force or not."""
        for grant in self.grants:
            role = self.role(grant.role)
            if role is not None and permission in role.permissions:
                yield grant, role

    def roles_with(self, permission: Permission) -> tuple[str, ...]:
        known = [*ROLES.values(), *sorted(self.custom.values(), key=lambda role: role.title)]
        return tuple(role.title for role in known if permission in role.permissions)


def _rights(user: Any) -> _Rights:
    cached: _Rights | None = getattr(user, _CACHE, None)
    if cached is None:
        cached = _Rights(user)
        setattr(user, _CACHE, cached)
    return cached


def narrow(user: Any, permissions: Iterable[str], resources: Iterable[str]) -> None:
    """From here on this user object may do no more than these, where it may at all: for requests with a token.

    Empty: as much as the user may. A narrowed superuser is none.
    """
    setattr(user, _LIMITS, (frozenset(permissions), frozenset(resources)))
    forget(user)


def _limits(user: Any) -> tuple[frozenset[str], frozenset[str]]:
    found: tuple[frozenset[str], frozenset[str]] = getattr(user, _LIMITS, (frozenset(), frozenset()))
    return found


def is_narrowed(user: Any) -> bool:
    """Whether this user object acts with a token that may do less than the user."""
    return any(_limits(user))


def _within_limits(user: Any, permission: Permission, where: Scopes) -> Scopes:
    permissions, resources = _limits(user)
    if permissions and str(permission) not in permissions:
        return Scopes(False, frozenset())
    if not resources or EVERYTHING in resources:
        return where
    return Scopes(False, resources if where.everything else where.resources & resources)


def _counts(user: Any) -> bool:
    """False for those who may nothing whatever they were given: not signed in, disabled."""
    return bool(getattr(user, "is_active", False)) and not isinstance(user, AnonymousUser)


def is_superuser(user: Any) -> bool:
    """Not while it acts with a token that was narrowed."""
    return _is_unlimited(user) and not is_narrowed(user)


def _is_unlimited(user: Any) -> bool:
    return _counts(user) and bool(getattr(user, "is_superuser", False))


def grants_of(user: Any) -> list[Grant]:
    """The user's grants that are in force, directly and through groups."""
    if not _counts(user):
        return []
    now = timezone.now()
    return [grant for grant in _rights(user).grants if not grant.has_expired_by(now)]


def forget(user: Any) -> None:
    """Drop what is remembered on this user object, after its grants changed."""
    if hasattr(user, _CACHE):
        delattr(user, _CACHE)


def scopes(user: Any, permission: Permission) -> Scopes:
    """Where `user` has `permission`; what `visible_to` filters by."""
    return _within_limits(user, permission, _scopes(user, permission))


def _scopes(user: Any, permission: Permission) -> Scopes:
    if _is_unlimited(user):
        return Scopes(True, frozenset())
    if not _counts(user):
        return Scopes(False, frozenset())
    now = timezone.now()
    found = {grant.scope for grant, _ in _rights(user).giving(permission) if not grant.has_expired_by(now)}
    return Scopes(EVERYTHING in found, frozenset(found - {EVERYTHING}))


def can(user: Any, permission: Permission, obj: Any = None) -> bool:
    """True if `user` has `permission` on `obj` (an environment, or its resource name); without `obj`: on everything."""
    where = scopes(user, permission)
    return where.everything or (obj is not None and resource_name(obj) in where.resources)


def can_anywhere(user: Any, permission: Permission) -> bool:
    """True if there is anything on which `user` has `permission`: to show or hide what leads there."""
    return bool(scopes(user, permission))


def has_role(user: Any) -> bool:
    """True if `user` has any role anywhere: who has none sees empty lists, and should be told why."""
    return bool(getattr(user, "is_superuser", False)) or bool(grants_of(user))


def require(user: Any, permission: Permission, obj: Any = None) -> None:
    """Raises NotAllowed, saying what is missing, which roles have it and whom to ask, unless `can`."""
    if not can(user, permission, obj):
        raise refusal(user, permission, obj)


def require_anywhere(user: Any, permission: Permission) -> None:
    """Raises NotAllowed unless `can_anywhere`."""
    if not can_anywhere(user, permission):
        raise refusal(user, permission)


def refusal(user: Any, permission: Permission, obj: Any = None) -> NotAllowed:
    """The error that says why not, for `raise`. The attempt is noted: it ends in the history (denials.py).

    Its detail: permission, object (a resource name, "*" for everything), roles, holders as name and email.
    """
    why = explain(user, permission, obj)
    denials.note(user, str(permission), why.place)
    named = why.holders[:MOST_HOLDERS]
    names = ", ".join(holder.name for holder in named)
    if len(why.holders) > MOST_HOLDERS:
        names += " and others"
    detail = {
        "permission": str(permission),
        "object": why.place.resource_name,
        "roles": list(why.roles_that_would),
        "holders": [{"name": holder.name, "email": holder.email} for holder in named],
    }
    remedy = f"Ask somebody who may, or an administrator for the right: {names}." if named else ""
    return NotAllowed(why.sentence, remedy=remedy, detail=detail)


def explain(user: Any, permission: Permission, obj: Any = None) -> Explanation:
    """Why `user` may or may not: the grant that decided, or what is missing, what expired, and which roles have it.

    `obj` as in `can`. Beyond what `can` asks of the database: the custom roles for a refusal, once, and the places for
    an `obj` that is a resource name.
    """
    place = places.named(obj, user)
    if not _counts(user):
        return Explanation(False, _why_nothing(user), permission, place, may_ask=False)
    if is_narrowed(user) and not can(user, permission, obj):
        sentence = f"The token that is used here may not do {permission} on {place}."
        return Explanation(False, sentence, permission, place, may_ask=False)
    if _is_unlimited(user):
        sentence = "Superusers may do everything, whatever roles they have."
        return Explanation(True, sentence, permission, place)
    rights, now = _rights(user), timezone.now()
    fitting = [
        (grant, role)
        for grant, role in rights.giving(permission)
        if grant.scope in (EVERYTHING, place.resource_name)
    ]
    for grant, role in fitting:
        if not grant.has_expired_by(now):
            on = places.ALL if grant.scope == EVERYTHING else place
            sentence = f"Role {role.title} on {on}{_through(grant)}{_until(grant)}."
            return Explanation(True, sentence, permission, place, grant, role)
    roles = rights.roles_with(permission)
    sentence = f"This needs the right {permission} on {place}. Roles with it: {', '.join(roles)}."
    for grant, role in fitting:
        sentence += f" The role {role.title}{_through(grant)} expired on {_day(grant)}."
    expired = tuple(grant for grant, _ in fitting)
    return Explanation(False, sentence, permission, place, expired=expired, roles_that_would=roles)


def who_can(permission: Permission, resource: str) -> tuple[Holder, ...]:
    """Who may, to be asked: at most one more than MOST_HOLDERS. Those first who may do little else.

    Superusers are named only if nobody has it by a role.
    """
    custom = [row.role for row in CustomRole.objects.all()]
    with_it = [role for role in (*ROLES.values(), *custom) if permission in role.permissions]
    few = [role.key for role in with_it if Permission.ACCESS_EDIT not in role.permissions]
    all_of_it = [role.key for role in with_it if Permission.ACCESS_EDIT in role.permissions]
    people = get_user_model()._default_manager.filter(is_active=True)
    found: dict[int, Any] = {}
    for keys in (few, all_of_it):
        grants = Grant.objects.in_force().filter(role__in=keys, scope__in=(EVERYTHING, resource))
        members = Membership.objects.filter(group__in=grants.exclude(group=None).values("group_id"))
        direct = Q(pk__in=grants.exclude(user=None).values("user_id"))
        rows = people.filter(direct | Q(pk__in=members.values("user_id"))).order_by("username")
        if keys and len(found) <= MOST_HOLDERS:
            found |= {user.pk: user for user in rows[: MOST_HOLDERS + 1]}
    if not found:
        found = {user.pk: user for user in people.filter(is_superuser=True).order_by("username")[:2]}
    return tuple(Holder(name_of(user), user.email) for user in found.values())[: MOST_HOLDERS + 1]


def people_with(permission: Permission, obj: Any) -> list[Any]:
    """Active users who have it there by a role, whatever their number; superusers are not looked for. Three queries."""
    keys = [role.key for role in ROLES.values() if permission in role.permissions]
    keys += [row.key for row in CustomRole.objects.all() if permission in row.role.permissions]
    grants = Grant.objects.in_force().filter(role__in=keys, scope__in=(EVERYTHING, resource_name(obj)))
    members = Membership.objects.filter(group__in=grants.exclude(group=None).values("group_id"))
    direct = Q(pk__in=grants.exclude(user=None).values("user_id"))
    people = get_user_model()._default_manager.filter(is_active=True)
    return list(people.filter(direct | Q(pk__in=members.values("user_id"))).order_by("username"))


def name_of(user: Any) -> str:
    """As people call them: the full name, else the user name."""
    return str(user.get_full_name() or user.get_username())


def _why_nothing(user: Any) -> str:
    if isinstance(user, AnonymousUser) or user is None:
        return "Nobody is signed in."
    return "This account is switched off: it may do nothing."


def _through(grant: Grant) -> str:
    return f" through group {grant.group}" if grant.group else ""


def _until(grant: Grant) -> str:
    return f", until {_day(grant)}" if grant.expires_at else ""


def _day(grant: Grant) -> str:
    return f"{timezone.localtime(grant.expires_at):%Y-%m-%d %H:%M %Z}" if grant.expires_at else ""
