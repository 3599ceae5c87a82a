"""What the search finds of people: for those who may see access."""

from collections.abc import Iterable

from django.contrib.auth import get_user_model
from django.urls import reverse

from sstools.web.search import FEW, Ask, Group, Item

from . import policy
from .forms import people_like
from .permissions import Permission


def find(ask: Ask) -> Iterable[Group]:
    if not policy.can_anywhere(ask.user, Permission.ACCESS_VIEW):
        return
    rows = get_user_model()._default_manager.filter(people_like(ask.text)).order_by("username")[:FEW]
    people = (
        Item(policy.name_of(one), reverse("roles:user", args=[one.pk]), "person", one.get_username())
        for one in rows
    )
    yield Group("People", tuple(people), order=40)
