"""Which asset here is which asset there, where the uuids differ: kept per pair of environments, decided by people.

Without a pairing the same uuid means the same asset. A pairing counts in both directions. See docs/adr/0001.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

from django.db import transaction
from django.db.models import Q

from environments.canonical.documents import Kind
from environments.models import Asset, Environment
from sstools.audit import services as audit
from sstools.errors import Invalid, NotFoundError
from sstools.roles import policy
from sstools.roles.permissions import Permission

from .models import Pairing

logger = logging.getLogger(__name__)

#: Called as `receiver(source, target, {(kind, uuid), …})` after a pairing was made, changed or removed, once that is
#: committed; the uuids are those of both sides. A receiver that fails is logged and fails nothing else.
Receiver = Callable[[Environment, Environment, frozenset[tuple[str, str]]], None]
_receivers: list[Receiver] = []

#: Databases are mapped, not paired: what is written into them is another matter (docs/adr/0002).
PAIRED_KINDS = (Kind.DASHBOARD, Kind.CHART, Kind.DATASET)


def after_change(receiver: Receiver) -> Receiver:
    """Register in the `ready()` of an app."""
    if receiver not in _receivers:
        _receivers.append(receiver)
    return receiver


def pairs_between(source: Environment | int, target: Environment | int, kind: str = "") -> dict[str, str]:
    """uuid on the source -> uuid on the target, of what is paired there, in whichever direction it was entered."""
    here, there = (one if isinstance(one, int) else one.pk for one in (source, target))
    rows = Pairing.objects.filter(Q(source=here, target=there) | Q(source=there, target=here))
    if kind:
        rows = rows.filter(kind=kind)
    back: dict[str, str] = {}
    forth: dict[str, str] = {}
    for source_id, one, other in rows.values_list("source_id", "source_uuid", "target_uuid"):
        if source_id == here:
            forth[one] = other
        else:
            back[other] = one
    taken = set(forth.values())
    return {**{one: other for one, other in back.items() if other not in taken}, **forth}


def right_to_pair(user: Any, source: Environment, target: Environment) -> policy.Explanation:
    """It says what a migration writes over: who may plan migrations to the target may pair, if they see the source."""
    seen = policy.explain(user, Permission.ASSET_VIEW, source)
    return policy.explain(user, Permission.MIGRATION_PLAN, target) if seen.allowed else seen


def pair(
    source: Environment,
    target: Environment,
    kind: str,
    source_uuid: str,
    target_uuid: str,
    *,
    actor: Any,
    via: str = "",
) -> Pairing | None:
    """From now on these two are one asset. What either was paired with between the two environments is not any more.

    Equal uuids need no pairing: then one that is in the way is removed, and the answer is None.
    Raises Invalid (unknown assets, the same environment), NotAllowed.
    """
    _require(actor, source, target)
    kind = _kind(kind)
    if source.pk == target.pk:
        raise Invalid("An asset is paired with one of another environment.", code="same_environment")
    here, there = (
        _asset(source, kind, source_uuid, "source_uuid"),
        _asset(target, kind, target_uuid, "target_uuid"),
    )
    with transaction.atomic():
        before: list[Pairing] = list(_rows(source, target, kind, here.uuid, there.uuid).select_for_update())
        old = [_shown(row) for row in before]
        kept = next(
            (
                row
                for row in before
                if (row.source_id, row.source_uuid, row.target_uuid) == (source.pk, here.uuid, there.uuid)
            ),
            None,
        )
        if kept is not None and len(before) == 1:
            return kept
        Pairing.objects.filter(pk__in=[row.pk for row in before]).delete()
        made = None
        if here.uuid != there.uuid:
            made = Pairing.objects.create(
                source=source,
                target=target,
                kind=kind,
                source_uuid=here.uuid,
                target_uuid=there.uuid,
                created_by=actor if getattr(actor, "pk", None) else None,
            )
        elif not before:
            return None
        audit.record(
            "pairing:set",
            target,
            actor=actor,
            source=via,
            data={
                "kind": kind,
                "asset": here.title,
                "source": source.slug,
                "target": target.slug,
                "before": old,
                "after": {"source_uuid": here.uuid, "target_uuid": there.uuid},
            },
        )
        _tell(source, target, before, (kind, here.uuid), (kind, there.uuid))
    return made


def unpair(row: Pairing, *, actor: Any, via: str = "") -> None:
    """From now on the same uuid means the same asset again. Raises NotAllowed."""
    _require(actor, row.source, row.target)
    with transaction.atomic():
        if not Pairing.objects.filter(pk=row.pk).delete()[0]:
            raise NotFoundError("This pairing is not there any more.")
        audit.record(
            "pairing:remove",
            row.target,
            actor=actor,
            source=via,
            data={
                "kind": row.kind,
                "source": row.source.slug,
                "target": row.target.slug,
                "before": [_shown(row)],
                "after": None,
            },
        )
        _tell(row.source, row.target, [row])


def _require(actor: Any, source: Environment, target: Environment) -> None:
    policy.require(actor, Permission.ASSET_VIEW, source)
    policy.require(actor, Permission.MIGRATION_PLAN, target)


def _kind(kind: str) -> str:
    if kind not in {one.value for one in PAIRED_KINDS}:
        raise Invalid(
            "Dashboards, charts and datasets are paired; connections are mapped.",
            code="wrong_kind",
            errors={"kind": ["dashboard, chart or dataset"]},
        )
    return kind


def _asset(environment: Environment, kind: str, uuid: str, field: str) -> Asset:
    found = Asset.objects.filter(environment=environment, kind=kind, uuid=str(uuid).strip().lower()).first()
    if found is None:
        raise Invalid(
            f"{environment.name} has no {kind} with the uuid {str(uuid)[:60]}.",
            code="unknown_asset",
            remedy="Read the environment again if it was made just now.",
            errors={field: [f"Unknown in {environment.name}."]},
        )
    return found


def _rows(source: Environment, target: Environment, kind: str, here: str, there: str) -> Any:
    """All pairings between the two environments that speak of either asset."""
    return Pairing.objects.filter(
        Q(source=source, target=target) & (Q(source_uuid=here) | Q(target_uuid=there))
        | Q(source=target, target=source) & (Q(source_uuid=there) | Q(target_uuid=here)),
        kind=kind,
    )


def _shown(row: Pairing) -> dict[str, Any]:
    return {
        "source": row.source.slug,
        "target": row.target.slug,
        "source_uuid": row.source_uuid,
        "target_uuid": row.target_uuid,
    }


def _tell(source: Environment, target: Environment, rows: Iterable[Pairing], *more: tuple[str, str]) -> None:
    assets = {(row.kind, uuid) for row in rows for uuid in (row.source_uuid, row.target_uuid)} | set(more)

    def tell() -> None:
        for receiver in list(_receivers):
            try:
                receiver(source, target, frozenset(assets))
            except Exception:
                logger.exception("After a pairing, %s.%s failed.", receiver.__module__, receiver.__qualname__)

    transaction.on_commit(tell)
