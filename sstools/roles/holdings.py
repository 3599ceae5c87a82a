"""What many people have at once, in a constant number of queries; and what a change would take from whom."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from django.db import transaction
from django.utils import timezone

from sstools.resources import EVERYTHING

from . import services
from .models import Grant, Group, Membership
from .permissions import Permission, Role

Right = tuple[Permission, str]  # on which resource


@dataclass(frozen=True)
class Held:
    """One grant as one person has it: `group` is what it came through. A role that is gone is None."""

    grant: Grant
    role: Role | None
    group: Group | None
    is_expired: bool

    @property
    def title(self) -> str:
        return self.role.title if self.role else self.grant.role


@dataclass(frozen=True)
class Holding:
    """All that one person has."""

    user: Any
    held: tuple[Held, ...]
    groups: tuple[Group, ...]

    @property
    def rights(self) -> set[Right]:
        """What counts now; nothing for those who are switched off. Superusers may do everything beside this."""
        if not self.user.is_active:
            return set()
        return {
            (permission, held.grant.scope)
            for held in self.held
            if held.role and not held.is_expired
            for permission in held.role.permissions
        }

    def on(self, resource: str) -> list[Held]:
        """What counts now for one resource and was given for exactly that."""
        return [held for held in self.held if held.grant.scope == resource and not held.is_expired]


def holdings(users: Iterable[Any]) -> list[Holding]:
    """In the order of `users`. Three queries, four with custom roles' own."""
    people = list(users)
    roles = {role.key: role for role in services.all_roles()}
    members: dict[int, list[Group]] = {}
    rows = Membership.objects.filter(user__in=[user.pk for user in people]).select_related("group")
    for row in rows.order_by("group__name"):
        members.setdefault(row.user_id, []).append(row.group)
    by_user: dict[int, list[Grant]] = {}
    by_group: dict[int, list[Grant]] = {}
    group_ids = {group.pk for groups in members.values() for group in groups}
    grants = Grant.objects.filter(user__in=[user.pk for user in people]) | Grant.objects.filter(
        group__in=group_ids
    )
    now = timezone.now()
    for grant in grants.select_related("created_by").order_by("id"):
        if grant.user_id is not None:
            by_user.setdefault(grant.user_id, []).append(grant)
        elif grant.group_id is not None:
            by_group.setdefault(grant.group_id, []).append(grant)
    out = []
    for user in people:
        groups = members.get(user.pk, [])
        pairs: list[tuple[Grant, Group | None]] = [(grant, None) for grant in by_user.get(user.pk, [])]
        pairs += [(grant, group) for group in groups for grant in by_group.get(group.pk, [])]
        held = [
            Held(grant, roles.get(grant.role), group, grant.has_expired_by(now)) for grant, group in pairs
        ]
        out.append(Holding(user, tuple(held), tuple(groups)))
    return out


@dataclass(frozen=True)
class Loss:
    """What one person would no longer have."""

    user: Any
    rights: tuple[Right, ...]


class _Rehearsed(Exception):
    """Ends the transaction of a rehearsal."""


def losses(users: Sequence[Any], change: Callable[[], Any]) -> list[Loss]:
    """Who of `users` would lose what by `change`, which is done and undone. Raises what `change` raises.

    The history of what was undone is undone with it. A right on one resource that a right on everything covers, before
    or after, is no loss.
    """
    before = {holding.user.pk: holding.rights for holding in holdings(users)}
    after: dict[int, set[Right]] = {}
    try:
        with transaction.atomic():
            change()
            after = {holding.user.pk: holding.rights for holding in holdings(_again(users))}
            raise _Rehearsed
    except _Rehearsed:
        pass
    out = []
    for user in users:
        kept = after.get(user.pk, set())
        gone = {
            (permission, scope)
            for permission, scope in before[user.pk]
            if (permission, scope) not in kept and (permission, EVERYTHING) not in kept
        }
        if gone and not user.is_superuser:
            out.append(Loss(user, tuple(sorted(gone))))
    return out


def digest(lost: Iterable[Loss]) -> str:
    """What a confirmation confirms: other losses are another text."""
    text = repr([(loss.user.pk, [(str(right), scope) for right, scope in loss.rights]) for loss in lost])
    return sha256(text.encode()).hexdigest()[:16]


def _again(users: Sequence[Any]) -> list[Any]:
    """The same people as the database has them now; who is gone is left out."""
    if not users:
        return []
    found = type(users[0])._default_manager.in_bulk([user.pk for user in users])
    return [found[user.pk] for user in users if user.pk in found]
