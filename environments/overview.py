"""What the overview page says about environments, and the pages of access call them."""

from collections.abc import Collection, Iterable
from typing import Any

from django.urls import reverse

from sstools.resources import resource_name
from sstools.roles import policy
from sstools.roles.permissions import Permission
from sstools.roles.places import Place
from sstools.web.home import Fact

from .models import Asset, CheckState, Environment


def facts(user: Any) -> Iterable[Fact]:
    if not policy.can_anywhere(user, Permission.ENVIRONMENT_VIEW):
        return
    states = list(Environment.objects.visible_to(user).values_list("check_state", flat=True))
    if not states:
        return
    failed = states.count(CheckState.FAILED)
    note = f"{failed} not reached at the last test" if failed else "none failed its last test"
    yield Fact("Environments", len(states), note, reverse("environments:list"), "failed" if failed else "")
    yield Fact(
        "Assets", Asset.objects.visible_to(user).count(), "in all inventories", reverse("environments:assets")
    )


def done_steps(user: Any) -> Collection[str]:
    """Two environments, and both read."""
    read_at = list(Environment.objects.visible_to(user).values_list("inventory_at", flat=True))
    done = set()
    if len(read_at) >= 2:
        done.add("environments")
    if sum(moment is not None for moment in read_at) >= 2:
        done.add("reading")
    return done


def places(user: Any) -> Iterable[Place]:
    """The environments that `user` may see: what roles can be given on."""
    for row in Environment.objects.visible_to(user).in_order():
        yield Place(resource_name(row), row.slug, row.name, row)
