"""Giving and taking roles; custom roles; groups. People are in accounts.py, tokens in tokens.py.

Every change of access runs within `guard.keeps_an_administrator()`, and asks for the right once more inside of it: who
lost it a moment ago changes nothing any more.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.text import slugify

from sstools.audit import services as audit
from sstools.errors import Conflict, Invalid
from sstools.resources import EVERYTHING

from . import places, policy
from .guard import keeps_an_administrator
from .models import CustomRole, Grant, Group, Membership, Source
from .permissions import ROLES, Permission, Role

REASON_LENGTH = 500


def require_edit(actor: Any, on: Any = EVERYTHING) -> None:
    """Raises NotAllowed unless `actor` may change who may do what on `on`. Asks anew, not what was remembered."""
    policy.forget(actor)
    policy.require(actor, Permission.ACCESS_EDIT, None if on == EVERYTHING else on)


# --- Grants -----------------------------------------------------------------------------------------------------------


def grant(
    role: str,
    *,
    actor: Any,
    user: Any = None,
    group: Group | None = None,
    on: Any = EVERYTHING,
    expires_at: datetime | None = None,
    reason: str = "",
    source: str = "page",
) -> Grant:
    """Give `role` (its key) to a user or a group on `on` (an environment, its resource name, or "*").

    It ends at `expires_at`, or never. Giving it again changes its end, or nothing. Raises NotAllowed; Invalid for an
    unknown role, an end that has passed, or if not exactly one of `user`, `group` is given; LastAdministrator.
    """
    place = places.named(on)
    with keeps_an_administrator():
        require_edit(actor, place)
        _must_be_a_role(role)
        _must_be_ahead(expires_at)
        if (user is None) == (group is None):
            raise Invalid("A role is given to a user or to a group.", errors={"user": ["A user or a group."]})
        row, made = Grant.objects.get_or_create(
            role=role,
            user=user,
            group=group,
            scope=place.resource_name,
            defaults={
                "created_by": _row_of(actor),
                "expires_at": expires_at,
                "reason": reason[:REASON_LENGTH],
            },
        )
        if user is not None:
            policy.forget(user)
        if made:
            audit.record("role:grant", row.holder, actor=actor, data=_facts(row), source=source)
            return row
        return _change(row, expires_at, reason or row.reason, actor, source)


def change_grant(
    row: Grant, *, actor: Any, expires_at: datetime | None, reason: str = "", source: str = "page"
) -> Grant:
    """Let a grant end at `expires_at`, or never.

    Raises NotAllowed; Invalid for an end that has passed; LastAdministrator.
    """
    with keeps_an_administrator():
        require_edit(actor, row.scope)
        if expires_at != row.expires_at:
            _must_be_ahead(expires_at)
        return _change(row, expires_at, reason, actor, source)


def revoke(row: Grant, *, actor: Any, source: str = "page") -> None:
    """Take a role back. Raises NotAllowed; LastAdministrator."""
    with keeps_an_administrator():
        require_edit(actor, row.scope)
        audit.record("role:revoke", row.holder, actor=actor, data=_facts(row), source=source)
        if row.user is not None:
            policy.forget(row.user)
        row.delete()


def _change(row: Grant, expires_at: datetime | None, reason: str, actor: Any, source: str) -> Grant:
    reason = reason.strip()[:REASON_LENGTH]
    if (row.expires_at, row.reason) == (expires_at, reason):
        return row
    before = _facts(row)
    row.expires_at, row.reason = expires_at, reason
    row.save(update_fields=["expires_at", "reason"])
    if row.user is not None:
        policy.forget(row.user)
    data = {"before": before, "after": _facts(row)}
    audit.record("role:change", row.holder, actor=actor, data=data, source=source)
    return row


def _facts(row: Grant) -> dict[str, Any]:
    until = row.expires_at.isoformat() if row.expires_at else None
    return {"role": row.role, "scope": row.scope, "until": until, "reason": row.reason}


def _must_be_a_role(key: str) -> None:
    if key not in ROLES and not CustomRole.objects.filter(key=key).exists():
        known = ", ".join(role.key for role in all_roles())
        raise Invalid(f"There is no role {key}.", errors={"role": [f"One of: {known}."]})


def _must_be_ahead(expires_at: datetime | None) -> None:
    if expires_at is not None and expires_at <= timezone.now():
        raise Invalid("The end has passed already.", errors={"expires_at": ["Choose a moment to come."]})


def _row_of(actor: Any) -> Any:
    return actor if getattr(actor, "pk", None) else None


# --- Roles ------------------------------------------------------------------------------------------------------------


def all_roles() -> list[Role]:
    """The built-in ones, then the custom ones by name."""
    return [*ROLES.values(), *(row.role for row in CustomRole.objects.order_by("name"))]


def create_role(
    *, name: str, permissions: Iterable[str], description: str = "", actor: Any, source: str = "page"
) -> CustomRole:
    """A custom role; its key follows from its name and stays. Raises NotAllowed; Invalid with the errors by field."""
    with keeps_an_administrator():
        require_edit(actor)
        row = CustomRole(created_by=_row_of(actor))
        _fill(row, name, permissions, description)
        row.key = _new_key(row.name)
        _save_once(row, "name", "Another role has this name.")
        audit.record("role:create", row, actor=actor, data=_content(row), source=source)
        return row


def update_role(
    row: CustomRole,
    *,
    name: str | None = None,
    permissions: Iterable[str] | None = None,
    description: str | None = None,
    actor: Any,
    source: str = "page",
) -> CustomRole:
    """Change a custom role, for everybody who has it. Raises NotAllowed; Invalid; LastAdministrator."""
    with keeps_an_administrator():
        require_edit(actor)
        row = CustomRole.objects.select_for_update().get(pk=row.pk)
        before = _content(row)
        _fill(
            row,
            row.name if name is None else name,
            row.permissions if permissions is None else permissions,
            row.description if description is None else description,
        )
        after = _content(row)
        if before != after:
            _save_once(row, "name", "Another role has this name.")
            data = {"before": before, "after": after}
            audit.record("role:update", row, actor=actor, data=data, source=source)
        policy.forget(actor)
        return row


def delete_role(row: CustomRole, *, actor: Any, source: str = "page") -> None:
    """Forget a custom role that nobody has. Raises NotAllowed; Conflict("in_use")."""
    with keeps_an_administrator():
        require_edit(actor)
        if count := Grant.objects.filter(role=row.key).count():
            raise Conflict(
                f"{row.name} is given {count} time{'' if count == 1 else 's'}.",
                code="in_use",
                remedy="Take it back everywhere first.",
            )
        audit.record("role:delete", row, actor=actor, data=_content(row), source=source)
        row.delete()


def _fill(row: CustomRole, name: str, permissions: Iterable[str], description: str) -> None:
    name, wanted = " ".join(name.split()), set(permissions)
    errors: dict[str, list[str]] = {}
    taken = {role.title.casefold() for role in all_roles() if role.key != row.key}
    if not name or len(name) > 100:
        errors["name"] = ["From 1 to 100 characters."]
    elif name.casefold() in taken:
        errors["name"] = ["Another role has this name."]
    if unknown := sorted(wanted - {str(permission) for permission in Permission}):
        errors["permissions"] = [f"No such right: {', '.join(unknown)}."]
    elif not wanted:
        errors["permissions"] = ["At least one right."]
    if errors:
        raise Invalid("Some values are not right.", errors=errors)
    row.name, row.permissions, row.description = name, sorted(wanted), description.strip()[:500]


def _new_key(name: str) -> str:
    stem = slugify(name)[:40] or "role"
    taken = {role.key for role in all_roles()}
    keys = (stem if number == 1 else f"{stem}-{number}" for number in range(1, len(taken) + 2))
    return next(key for key in keys if key not in taken)


def _content(row: CustomRole) -> dict[str, Any]:
    return {"name": row.name, "permissions": row.permissions, "description": row.description}


# --- Groups -----------------------------------------------------------------------------------------------------------


def create_group(
    *, name: str, origin: str = Source.LOCAL, description: str = "", actor: Any, source: str = "page"
) -> Group:
    """A group: of `origin` "local", with members chosen here, or of a directory, with the name it has there.

    Raises NotAllowed; Invalid for a name that is empty, too long or taken.
    """
    with keeps_an_administrator():
        require_edit(actor)
        name = name.strip()
        if not name or len(name) > 255:
            raise Invalid("A group needs a name.", errors={"name": ["From 1 to 255 characters."]})
        if origin not in Source.values:
            raise Invalid("No such source.", errors={"source": [f"One of: {', '.join(Source.values)}."]})
        row = Group(name=name, source=origin, description=description.strip()[:500])
        _save_once(row, "name", "There is such a group already.")
        audit.record("group:create", row, actor=actor, data={"source": row.source}, source=source)
        return row


def delete_group(row: Group, *, actor: Any, source: str = "page") -> None:
    """Forget a group and what it was given. Raises NotAllowed; LastAdministrator."""
    with keeps_an_administrator():
        require_edit(actor)
        data = {"source": row.source, "grants": [_facts(one) for one in row.grants.all()]}
        audit.record("group:delete", row, actor=actor, data=data, source=source)
        row.delete()


def set_members(row: Group, users: Iterable[Any], *, actor: Any, source: str = "page") -> None:
    """Make `users` the members of a local group.

    Raises NotAllowed; Conflict("directory_group") for a directory's; LastAdministrator.
    """
    with keeps_an_administrator():
        require_edit(actor)
        if row.is_directory:
            raise Conflict(
                f"Who is in {row.name} is decided by the directory.",
                code="directory_group",
                remedy="Change it there: it counts from the next sign-in on. Or use a group of ss-tools.",
            )
        wanted = {user.pk: user for user in users}
        present = {member.user_id: member for member in row.memberships.select_related("user")}
        gone = [member for pk, member in present.items() if pk not in wanted]
        new = [user for pk, user in wanted.items() if pk not in present]
        Membership.objects.filter(pk__in=[member.pk for member in gone]).delete()
        Membership.objects.bulk_create(Membership(group=row, user=user) for user in new)
        if gone or new:
            data = {
                "added": sorted(user.get_username() for user in new),
                "removed": sorted(member.user.get_username() for member in gone),
            }
            audit.record("group:members", row, actor=actor, data=data, source=source)


def _save_once(row: Any, field: str, message: str) -> None:
    try:
        with transaction.atomic():
            row.save()
    except IntegrityError:
        raise Invalid(message, errors={field: [message]}) from None
