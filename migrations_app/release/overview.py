"""What the overview says about approvals."""

from collections.abc import Iterable
from typing import Any

from django.urls import reverse

from migrations_app.models import Migration, MigrationState
from sstools.roles import policy
from sstools.roles.permissions import Permission
from sstools.web.home import Fact, Section

from . import gate
from .models import Decision

SHOWN = 10
LOOKED_AT = 200  # planned migrations, newest first


def waiting_for(user: Any) -> list[Migration]:
    """Plans that `user` may approve and has not said anything about."""
    if not policy.can_anywhere(user, Permission.MIGRATION_APPROVE):
        return []
    rows = (
        Migration.objects.visible_to(user)
        .filter(state=MigrationState.PLANNED, plan__isnull=False)
        .select_related("source", "target", "plan", "created_by", "rolls_back")
        .order_by("-number")[:LOOKED_AT]
    )
    said = set(Decision.objects.filter(user_id=user.pk).values_list("plan_hash", flat=True))
    found = []
    for migration in rows:
        plan = migration.plan
        if (
            plan is None
            or plan.hash in said
            or plan.stale_reason
            or plan.blocked_count
            or not plan.write_count
        ):
            continue
        if not gate.may_decide(user, migration, plan):
            continue
        needs = gate.approval_of(migration, plan).needs
        if any(not need.is_met and gate.is_approver(user, need.rule) for need in needs):
            found.append(migration)
        if len(found) == SHOWN:
            break
    return found


def facts(user: Any) -> Iterable[Fact]:
    """How many plans wait for this user; nothing for those who may approve none."""
    if policy.can_anywhere(user, Permission.MIGRATION_APPROVE):
        number = len(waiting_for(user))
        shown = f"{number}+" if number == SHOWN else number
        url = reverse("migrations_app:list") + "?state=planned"
        yield Fact("To approve", shown, "by you" if number else "nothing waits for you", url, order=20)


def sections(user: Any) -> Iterable[Section]:
    if waiting := waiting_for(user):
        yield Section("release/_waiting.html", {"waiting": waiting}, is_urgent=True)
