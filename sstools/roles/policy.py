"""May this user do that? Grants give roles, roles hold permissions; superusers may do everything."""

from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.db.models import Q

from sstools.errors import NotAllowed
from sstools.resources import EVERYTHING, resource_name

from .models import Grant
from .permissions import ROLES, Permission

_CACHE = "_sstools_grants"


@dataclass(frozen=True)
class Scopes:
    """Where a user has a permission: on everything, or on the named resources."""

    everything: bool
    resources: frozenset[str]

    def __contains__(self, obj: object) -> bool:
        return self.everything or resource_name(obj) in self.resources

    def __bool__(self) -> bool:
        return self.everything or bool(self.resources)


@dataclass(frozen=True)
class Explanation:
    """Why a user may or may not. `sentence` is for people."""

    allowed: bool
    sentence: str
    roles_that_would: tuple[str, ...] = ()


def grants_of(user: Any) -> list[Grant]:
    """The user's grants, directly and through groups; asked once per user object, that is once per request."""
    if not getattr(user, "is_active", False) or isinstance(user, AnonymousUser):
        return []
    cached: list[Grant] | None = getattr(user, _CACHE, None)
    if cached is None:
        mine = Q(user_id=user.pk) | Q(group__in=user.groups.all())
        cached = list(Grant.objects.filter(mine).select_related("group").distinct())
        setattr(user, _CACHE, cached)
    return cached


def forget(user: Any) -> None:
    """Drop what is remembered on this user object, after its grants changed."""
    if hasattr(user, _CACHE):
        delattr(user, _CACHE)


def scopes(user: Any, permission: Permission) -> Scopes:
    """Where `user` has `permission`; what `visible_to` filters by."""
    if getattr(user, "is_active", False) and getattr(user, "is_superuser", False):
        return Scopes(True, frozenset())
    found = {grant.scope for grant in grants_of(user) if permission in _permissions(grant)}
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
    """Raises NotAllowed, saying what is missing and which roles have it, unless `can`."""
    if not can(user, permission, obj):
        raise NotAllowed(explain(user, permission, obj).sentence, detail={"permission": str(permission)})


def explain(user: Any, permission: Permission, obj: Any = None) -> Explanation:
    """Which grant allows it, or which roles would."""
    if getattr(user, "is_active", False) and getattr(user, "is_superuser", False):
        return Explanation(True, "Superusers may do everything.")
    for grant in grants_of(user):
        if permission in _permissions(grant) and (
            grant.scope == EVERYTHING or (obj is not None and grant.scope == resource_name(obj))
        ):
            through = f" through group {grant.group}" if grant.group else ""
            where = "everything" if grant.scope == EVERYTHING else str(obj)
            return Explanation(True, f"Role {ROLES[grant.role].title} on {where}{through}.")
    roles = tuple(role.title for role in ROLES.values() if permission in role.permissions)
    where = f" on {obj}" if obj is not None else ""
    return Explanation(
        False, f"This needs the right {permission}{where}. Roles with it: {', '.join(roles)}.", roles
    )


def _permissions(grant: Grant) -> frozenset[Permission]:
    role = ROLES.get(grant.role)  # a role that no longer exists gives nothing
    return role.permissions if role else frozenset()
