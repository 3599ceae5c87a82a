"""What the overview says about drift: only where there is some."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import Count, Max

from sstools.roles import policy
from sstools.roles.permissions import Permission
from sstools.web.home import Section

from .models import Finding

SHOWN = 6


def sections(user: Any) -> Iterable[Section]:
    if not policy.can_anywhere(user, Permission.MIGRATION_VIEW):
        return
    open_ones = Finding.objects.visible_to(user).open()
    counts = list(
        open_ones.order_by()
        .values("target__slug", "target__name")
        .annotate(count=Count("pk"), last=Max("updated_at"))
        .order_by("target__name")
    )
    if counts:
        newest = list(open_ones.select_related("target")[:SHOWN])
        yield Section("drift/_section.html", {"counts": counts, "findings": newest})
