"""One notice for what a check found that nobody was told of."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from typing import Any

from django.urls import reverse

from environments.models import Environment
from migrations_app.release.models import Route
from sstools.notices import events, services
from sstools.notices.models import Webhook
from sstools.roles import policy
from sstools.roles.permissions import Permission

from .models import Finding, Watch

FOUND = events.register("drift.found", "Somebody edited a target by hand", Permission.MIGRATION_VIEW)
NAMED = 20  # findings in one notice
SAID = 3  # sentences of each


def register() -> None:
    """They are registered by being imported."""


def tell(target: Environment, findings: Sequence[Finding]) -> None:
    """Tell the watchers and webhooks of the routes to `target`, in the transaction that found it."""
    if not findings:
        return
    routes = list(Route.objects.filter(target=target, is_enabled=True))
    watches = Watch.objects.filter(route__in=routes).select_related("user")
    people = {
        watch.user_id: watch.user
        for watch in watches
        if policy.can(watch.user, Permission.MIGRATION_VIEW, target)
    }
    number = len(findings)
    noun = "things" if any(finding.is_beside for finding in findings) else "assets"
    what = f"{number} {noun} of {target} are" if number > 1 else f"{_named(findings[0])} on {target} is"
    services.publish(
        FOUND.key,
        title=f"Drift: {what} not as the last run left {'them' if number > 1 else 'it'}",
        text="\n".join(
            [
                *(_line(finding) for finding in findings[:NAMED]),
                *([f"And {number - NAMED} more."] if number > NAMED else []),
            ]
        ),
        path=findings[0].get_absolute_url()
        if number == 1
        else f"{reverse('drift:list')}?target={target.slug}",
        about=[target],
        people=list(people.values()),
        webhooks=list(Webhook.objects.filter(is_enabled=True, pk__in=_hooks(routes))),
        data={"target": target.slug, "count": number, "findings": [_data(one) for one in findings[:NAMED]]},
    )


def _hooks(routes: Sequence[Route]) -> list[Any]:
    return list(Route.webhooks.through.objects.filter(route__in=routes).values_list("webhook_id", flat=True))


def _named(finding: Finding) -> str:
    return finding.words


def _line(finding: Finding) -> str:
    by = f" by {finding.changed_by}" if finding.changed_by else ""
    at = f" on {finding.changed_on.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if finding.changed_on else ""
    said = [*finding.sentences[:SAID]]
    if len(finding.changes) > SAID:
        said.append(f"and {len(finding.changes) - SAID} more changes")
    return f"{_named(finding)} was {finding.get_how_display()}{by}{at}" + (
        f": {'; '.join(said)}" if said else ""
    )


def _data(finding: Finding) -> dict[str, Any]:
    return {
        "finding": str(finding.uuid),
        "kind": finding.kind,
        "uuid": finding.asset_uuid,
        "title": finding.title,
        "how": finding.how,
        "changed_by": finding.changed_by,
        "changed_on": finding.changed_on.isoformat() if finding.changed_on else None,
        "changes": finding.sentences[:SAID],
        "change_count": len(finding.changes),
    }
