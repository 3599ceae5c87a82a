"""Somebody must always be able to give roles: changes of access take turns, and one that would end this is refused."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import Q

from sstools.errors import Conflict
from sstools.resources import EVERYTHING

from .models import AccessLock, CustomRole, Grant, Membership
from .permissions import ROLES, Permission


class LastAdministrator(Conflict):
    """Nobody would be left who may give roles."""

    code = "last_administrator"
    message = "Nobody would be left who may give roles, so nothing was changed."
    remedy = (
        "First give somebody else who is active a role with access:edit on everything, without an end. "
        "Without anybody: manage.py make_admin."
    )


@contextmanager
def keeps_an_administrator() -> Iterator[None]:
    """A transaction that no other change of access runs beside. Raises LastAdministrator, undoing the block.

    The rule: an active superuser, or an active user with access:edit on everything through a grant without an end,
    directly or through a group. Where nobody was before, nothing is refused.
    """
    with transaction.atomic():
        take_turn()
        was_there = has_administrator()
        yield
        if was_there and not has_administrator():
            raise LastAdministrator()


def take_turn() -> None:
    """Wait until no other transaction changes access, and keep them waiting until this one ends."""
    AccessLock.objects.get_or_create(pk=1)
    AccessLock.objects.select_for_update().get(pk=1)


def has_administrator() -> bool:
    """True while somebody may give roles, and will tomorrow."""
    people = get_user_model()._default_manager.filter(is_active=True)
    roles = [*ROLES.values(), *(row.role for row in CustomRole.objects.all())]
    keys = [role.key for role in roles if Permission.ACCESS_EDIT in role.permissions]
    grants = Grant.objects.filter(role__in=keys, scope=EVERYTHING, expires_at=None)
    members = Membership.objects.filter(group__in=grants.exclude(group=None).values("group_id"))
    by_role = Q(pk__in=grants.exclude(user=None).values("user_id")) | Q(pk__in=members.values("user_id"))
    return people.filter(by_role | Q(is_superuser=True)).exists()
