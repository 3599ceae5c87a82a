"""Asking for a repair: a migration that mends damaged dashboards of an environment."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import transaction

from environments.canonical.documents import Kind
from environments.models import Asset, Environment
from sstools.audit import services as audit
from sstools.errors import Invalid
from sstools.jobs.models import Source
from sstools.roles import policy
from sstools.roles.permissions import Permission

from . import services
from .models import OPEN_STATES, Migration

MOST = 500  # dashboards of one repair: each is asked for singly, three times until it is proven mended


@transaction.atomic
def create_repair(
    environment: Environment, selection: Iterable[str] = (), *, actor: Any, via: str = Source.PAGE
) -> Migration:
    """A migration that mends these dashboards, with a plan under way; without any, all that the last reading found
    damaged. Asking twice gives the same one while it is open.

    Raises NotAllowed; Invalid where nothing is damaged, or for what is no dashboard of it.
    """
    policy.require(actor, Permission.MIGRATION_PLAN, environment)
    rows = Asset.objects.filter(environment=environment, kind=Kind.DASHBOARD.value)
    wanted = {str(uuid).lower() for uuid in selection}
    chosen = rows.filter(uuid__in=wanted) if wanted else rows.exclude(damage_codes="")
    titles = dict(chosen.order_by("sort_key").values_list("uuid", "title")[: MOST + 1])
    if not titles or wanted - titles.keys():
        raise Invalid(
            "Nothing that is known of it is damaged."
            if not wanted
            else f"{environment.name} has no such dashboard.",
            code="nothing_to_repair",
            remedy="Read the environment, then look again.",
            errors={"selection": ["No dashboard to mend."]},
        )
    if len(titles) > MOST:
        raise Invalid(f"At most {MOST} dashboards at a time.", code="selection_too_large")
    place = f"repair:{environment.slug}"
    same = Migration.objects.filter(source_place=place, target=environment, state__in=OPEN_STATES)
    known = next((one for one in same if one.selection == sorted(titles)), None)
    if known is not None:
        return known
    first = next(iter(titles.values()))
    more = f" and {len(titles) - 1} more" if len(titles) > 1 else ""
    migration = Migration.objects.create(
        title=f"Repair on {environment.tag}: {first}{more}"[:200],
        source_place=place,
        target=environment,
        selection=sorted(titles),
        with_dependencies=False,
        created_by=actor,
    )
    audit.record(
        "migration:create",
        migration,
        actor=actor,
        source=via,
        data={"source": place, "target": environment.slug, "assets": len(titles)},
    )
    migration.job = services.request_plan(migration, actor=actor, source=via)
    return migration
