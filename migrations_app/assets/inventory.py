"""What the inventory shows of states: environments/extras.py asks this module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.db.models import Exists, OuterRef, QuerySet

from environments.extras import Standing
from environments.models import Asset
from migrations_app.engine.sync import Sync
from migrations_app.estate.models import ATTENTION, SyncState
from sstools.web.states import look

#: "differs": from any other environment, whichever way.
DIFFERENT = ("behind", "drifted", "diverged", "differs")
STATE_CHOICES = (
    ("differing", "differs somewhere"),
    ("missing", "missing somewhere"),
    ("in_sync", "in sync everywhere"),
    *((state, look(state).word) for state in DIFFERENT),
)


def narrow(rows: QuerySet[Asset], state: str, user: Any) -> QuerySet[Asset]:
    """By what was found of the asset as the source of a comparison; the other way round has the same rows."""
    mine = SyncState.objects.visible_to(user).filter(
        source=OuterRef("environment"), kind=OuterRef("kind"), row=OuterRef("uuid")
    )
    if state == "in_sync":
        return rows.filter(Exists(mine), ~Exists(mine.exclude(state="in_sync")))
    wanted = DIFFERENT if state == "differing" else ("absent",) if state == "missing" else (state,)
    return rows.filter(Exists(mine.filter(state__in=wanted)))


def standings(assets: Sequence[Asset], user: Any) -> Mapping[int, Standing]:
    """The state of each against the environment where it needs most attention. One query."""
    by_place = {(asset.environment_id, asset.kind, asset.uuid): asset.pk for asset in assets}
    rows = (
        SyncState.objects.visible_to(user)
        .filter(
            source__in={place[0] for place in by_place},
            kind__in={place[1] for place in by_place},
            row__in={place[2] for place in by_place},
        )
        .values_list("source", "kind", "row", "state", "changes", "target__name")
    )
    worst: dict[int, tuple[int, Standing]] = {}
    for source, kind, row, state, changes, target in rows:
        pk = by_place.get((source, kind, row))
        if pk is None:
            continue
        weight = ATTENTION.get(Sync(state), 0)
        if pk not in worst or weight > worst[pk][0]:
            worst[pk] = (weight, Standing(state, changes, target))
    return {pk: standing for pk, (_, standing) in worst.items()}
