"""Asking for a replacement: a migration of an environment onto itself."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from environments.canonical.documents import Kind
from environments.models import Asset, Environment
from migrations_app import services as migrations
from migrations_app.models import OPEN_STATES, Migration
from sstools.audit import services as audit
from sstools.errors import Invalid
from sstools.jobs.models import Source
from sstools.roles import policy
from sstools.roles.permissions import Permission

from .models import Replacement
from .terms import Terms, checked


@transaction.atomic
def create_replacement(
    environment: Environment,
    *,
    actor: Any,
    via: str = Source.PAGE,
    verify: bool = True,
    roll_back_when_red: bool = False,
    **asked: Any,
) -> Migration:
    """A migration that replaces texts, with a plan under way: the plan shows every place, and nothing is written before
    it is applied. `asked`: as `terms.checked` takes it. Asking twice gives the same one while it is open.

    Raises NotAllowed; Invalid by field.
    """
    policy.require(actor, Permission.ASSET_VIEW, environment)
    policy.require(actor, Permission.MIGRATION_PLAN, environment)
    terms = checked(**asked)
    _must_be_there(environment, terms)
    place = f"replace:{environment.slug}"
    same = Migration.objects.filter(
        source_place=place,
        target=environment,
        state__in=OPEN_STATES,
        verify=verify,
        roll_back_when_red=roll_back_when_red,
    )
    known = next((one for one in same.select_related("replacement") if one.replacement.asked == terms), None)
    if known is not None:
        return known
    migration = Migration.objects.create(
        title=f"Replace on {environment.tag}: {terms.words}"[:200],
        source_place=place,
        target=environment,
        with_dependencies=False,
        verify=verify,
        roll_back_when_red=roll_back_when_red,
        created_by=actor,
    )
    Replacement.objects.create(migration=migration, terms=terms.to_json())
    audit.record(
        "migration:create",
        migration,
        actor=actor,
        source=via,
        data={
            "source": place,
            "target": environment.slug,
            "find": terms.find[:200],
            "replace": terms.replace[:200],
            "how": terms.how.value,
            "fields": [one.value for one in terms.fields],
        },
    )
    migration.job = migrations.request_plan(migration, actor=actor, source=via)
    return migration


def _must_be_there(environment: Environment, terms: Terms) -> None:
    """Raises Invalid for what the inventory does not know."""
    rows = Asset.objects.filter(environment=environment)
    errors: dict[str, list[str]] = {}
    if terms.database and not rows.filter(kind=Kind.DATABASE.value, uuid=terms.database).exists():
        errors["database"] = [f"{environment.name} has no such connection."]
    known: set[str] = set()
    for start in range(0, len(terms.selection), 500):
        known |= set(
            rows.filter(uuid__in=terms.selection[start : start + 500]).values_list("uuid", flat=True)
        )
    if unknown := set(terms.selection) - known:
        errors["selection"] = [f"{environment.name} does not have {len(unknown)} of these assets."]
    if errors:
        raise Invalid(
            "What is to be replaced is not right.",
            code="wrong_replacement",
            remedy="Read the environment, then ask again.",
            errors=errors,
        )
