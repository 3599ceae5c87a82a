"""What the overview page says about migrations."""

from collections.abc import Collection, Iterable
from typing import Any

from django.urls import reverse

from sstools.roles import policy
from sstools.roles.permissions import Permission
from sstools.web.home import Fact, Section

from .models import BUSY_STATES, OPEN_STATES, Migration, MigrationState, Run, RunState

RECENT = 5


def facts(user: Any) -> Iterable[Fact]:
    if not policy.can_anywhere(user, Permission.MIGRATION_VIEW):
        return
    migrations = Migration.objects.visible_to(user)
    states = list(migrations.values_list("state", flat=True))
    if not states:
        return
    needing = states.count(MigrationState.NEEDS_ATTENTION)
    busy = sum(state in BUSY_STATES for state in states)
    waiting = sum(state in OPEN_STATES for state in states)
    note = f"{needing} need attention" if needing else f"{busy} at work, {waiting} not applied yet"
    url = reverse("migrations_app:list")
    yield Fact("Migrations", len(states), note, url, "failed" if needing else "", order=30)
    last = Run.objects.visible_to(user).exclude(verdict_counts={}).first()
    if last is not None:
        outside = last.bystanders.filter(status="failed").count()
        failed = int(last.verdict_counts.get("failed", 0)) + outside
        ok = int(last.verdict_counts.get("ok", 0))
        url = reverse("migrations_app:verify", args=[last.migration_id])
        yield Fact(
            "Charts verified last", ok, f"{failed} failed, run {last.number}", url, "failed" if failed else ""
        )


def done_steps(user: Any) -> Collection[str]:
    """The first migration was applied."""
    return {"migration"} if Run.objects.visible_to(user).filter(state=RunState.APPLIED).exists() else set()


def sections(user: Any) -> Iterable[Section]:
    recent = Migration.objects.visible_to(user).select_related(
        "source", "target", "created_by", "rolls_back"
    )[:RECENT]
    if recent:
        yield Section("migrations_app/_recent.html", {"recent": recent})
