"""Reading an environment for a run: fresh, whatever was stored."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from environments.canonical.documents import Kind
from environments.models import Asset, Environment
from environments.reading import SMALL_ESTATE, read_everything, read_selected
from environments.store import EnvironmentReading
from environments.superset.client import SupersetClient
from migrations_app.repairing import with_marks


def fresh_reading(
    client: SupersetClient,
    environment: Environment,
    ids: Mapping[Kind, set[int]],
    mends: Mapping[str, str] | None = None,
) -> EnvironmentReading:
    """Export now, believing no list: everything where the estate is small, else what is named with all it stands on.

    `mends`: of a repair, the dashboards whose damage is to be marked, each with what somebody said is meant, or "".
    """
    if not is_large(environment):
        reading = read_everything(client, environment, fresh=True)
    else:
        reading = read_selected(client, environment, ids)
    return with_marks(client, reading, mends, mends) if mends else reading


def is_large(environment: Environment) -> bool:
    total = environment.asset_total
    return total is not None and total > SMALL_ESTATE


def inventory_ids(environment: Environment, uuids: Collection[str]) -> dict[Kind, set[int]]:
    """The ids that assets have on an environment, as far as its inventory knows them."""
    ids: dict[Kind, set[int]] = {kind: set() for kind in Kind}
    rows = Asset.objects.filter(environment=environment).values_list("uuid", "kind", "superset_id")
    for uuid, kind, number in rows.iterator(chunk_size=5000):  # a plan may name more than a query takes
        if uuid in uuids:
            ids[Kind(kind)].add(number)
    return ids


def connection_ids(
    environment: Environment, uuids: Collection[str], datasets: Collection[int]
) -> dict[Kind, set[int]]:
    """What to export so that these connections come with it: one dataset of each, of `datasets` if it is among them,
    as a connection's own export carries all it has; the connection itself where it has none.
    """
    assets = Asset.objects.filter(environment=environment)
    rows = assets.filter(kind=Kind.DATASET.value, database_uuid__in=uuids).order_by("superset_id")
    through: dict[str, int] = {}
    for uuid, number in rows.values_list("database_uuid", "superset_id").iterator(chunk_size=5000):
        if uuid not in through or number in datasets:
            through[uuid] = number
    bare = assets.filter(kind=Kind.DATABASE.value, uuid__in=set(uuids) - through.keys())
    return {
        Kind.DATASET: set(through.values()),
        Kind.DATABASE: set(bare.values_list("superset_id", flat=True)),
    }
