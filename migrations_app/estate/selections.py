"""What somebody ticked: a basket of names on the server, never "what the filter finds now"."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from environments.canonical.documents import Kind, fingerprint_of
from environments.models import Asset, Environment
from migrations_app import services
from migrations_app.models import Migration
from sstools.errors import Conflict, Invalid
from sstools.roles import policy
from sstools.roles.permissions import Permission
from sstools.texts import counted

from .models import Selection, SyncState

#: The same person asking for the same within this time clicked twice.
DOUBLE_CLICK = timedelta(seconds=30)
CHUNK = 500


def selected(user: Any, source: Environment) -> list[str]:
    """ "<kind>:<uuid>" of what `user` selected there."""
    row = Selection.objects.filter(user_id=user.pk, source=source).values_list("rows", flat=True).first()
    return list(row or [])


@transaction.atomic
def change(
    user: Any,
    source: Environment,
    *,
    shown: Iterable[str] = (),
    ticked: Iterable[str] = (),
    clear: bool = False,
) -> list[str]:
    """Of what a page showed exactly what is ticked there; all else stays as it was, or with `clear` is let go."""
    selection, _ = Selection.objects.select_for_update().get_or_create(user_id=user.pk, source=source)
    gone = set(shown)
    kept = [] if clear else [key for key in selection.rows if key not in gone]
    selection.rows = list(dict.fromkeys([*kept, *(key for key in ticked if _is_key(key))]))
    _refuse_too_many(len(selection.rows))
    selection.save()
    return list(selection.rows)


def matching(states: QuerySet[SyncState]) -> list[str]:
    """Keys of all assets of the source that have one of these cells, by title."""
    found = states.exclude(source_uuid="").order_by("sort_key", "source_uuid")
    return list(
        dict.fromkeys(f"{kind}:{uuid}" for kind, uuid in found.values_list("kind", "source_uuid").iterator())
    )


@transaction.atomic
def select_all(user: Any, source: Environment, states: QuerySet[SyncState], *, expected: int) -> list[str]:
    """Select everything that a filter finds, if it still is as many as the page said. Raises Conflict, Invalid."""
    keys = matching(states)
    _refuse_another_number(len(keys), expected)
    return change(user, source, ticked=keys)


def select_found(user: Any, source: Environment, assets: QuerySet[Asset], *, expected: int) -> list[str]:
    """The same of what the inventory lists. Raises Conflict, Invalid."""
    listed = assets.filter(environment=source).exclude(kind=Kind.DATABASE).order_by("sort_key", "pk")
    keys = [f"{kind}:{uuid}" for kind, uuid in listed.values_list("kind", "uuid")]
    _refuse_another_number(len(keys), expected)
    return change(user, source, ticked=keys)


@dataclass(frozen=True)
class Chosen:
    """A selection as it is there now. `missing`: how many of it the source does not have any more."""

    assets: list[Asset]
    missing: int

    @property
    def uuids(self) -> list[str]:
        return [asset.uuid for asset in self.assets]

    @property
    def keys(self) -> list[str]:
        return [f"{asset.kind}:{asset.uuid}" for asset in self.assets]

    @property
    def digest(self) -> str:
        return digest_of(self.uuids)


def chosen(user: Any, source: Environment) -> Chosen:
    """Who may not see the assets of the source any more gets none."""
    keys = selected(user, source)
    uuids = [key.partition(":")[2] for key in keys]
    visible = Asset.objects.visible_to(user).filter(environment=source).exclude(kind=Kind.DATABASE)
    found: dict[str, Asset] = {}
    for start in range(0, len(uuids), CHUNK):
        chunk = visible.filter(uuid__in=uuids[start : start + CHUNK])
        for asset in chunk.only("kind", "uuid", "title", "slug", "sort_key", "environment_id"):
            found[f"{asset.kind}:{asset.uuid}"] = asset
    order = {Kind.DASHBOARD: 0, Kind.CHART: 1, Kind.DATASET: 2}
    assets = sorted(
        (found[key] for key in keys if key in found),
        key=lambda asset: (order[Kind(asset.kind)], asset.sort_key, asset.uuid),
    )
    return Chosen(assets, len(keys) - len(assets))


def digest_of(uuids: Iterable[str]) -> str:
    return fingerprint_of(sorted(uuids))


def migrate(
    user: Any, source: Environment, target: Environment, *, expected: int, digest: str, title: str = ""
) -> Migration:
    """Make a migration of exactly what the confirming page listed, and plan it. The selection is used up by that.

    Raises Conflict if it is another one by now; NotAllowed, Invalid.
    """
    policy.require(user, Permission.MIGRATION_PLAN, target)
    now = chosen(user, source)
    if not now.assets and (made := _just_made(user, source, target, digest)) is not None:
        return made
    if len(now.assets) != expected or now.digest != digest:
        raise Conflict(
            f"The selection has changed: it is {counted(len(now.assets), 'asset')} now, the page listed {expected}. "
            "Nothing was made.",
            code="selection_changed",
            remedy="Look at what is listed now.",
        )
    if not now.assets:
        raise Invalid("Nothing is selected.", remedy="Tick assets on the overview first.")
    with transaction.atomic():
        migration = services.create_migration(
            source, target, selection=now.uuids, actor=user, title=title.strip()
        )
        services.request_plan(migration, actor=user)
        Selection.objects.filter(user_id=user.pk, source=source).delete()
    return migration


def _just_made(user: Any, source: Environment, target: Environment, digest: str) -> Migration | None:
    last = Migration.objects.filter(
        created_by=user, source=source, target=target, created_at__gte=timezone.now() - DOUBLE_CLICK
    ).first()
    return last if last is not None and digest_of(last.selection) == digest else None


def outside(keys: Sequence[str], states: QuerySet[SyncState]) -> int:
    """How many of a selection the filter does not find."""
    return len(set(keys) - set(matching(states))) if keys else 0


def _is_key(key: str) -> bool:
    kind, _, uuid = key.partition(":")
    return kind in (Kind.DASHBOARD, Kind.CHART, Kind.DATASET) and 0 < len(uuid) <= 36


def _refuse_another_number(number: int, expected: int) -> None:
    if number != expected:
        raise Conflict(
            f"{counted(number, 'asset matches', 'assets match')} by now, not {expected}. Nothing was selected.",
            code="count_changed",
            remedy="Look at the list, then select all again.",
        )


def _refuse_too_many(number: int) -> None:
    if number > services.MAX_SELECTION:
        raise Invalid(
            f"{number} assets are too many: a migration takes {services.MAX_SELECTION}.",
            remedy="Select dashboards: the charts and datasets come along with them.",
        )
