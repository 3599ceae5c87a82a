"""Damage in dashboards, as the inventory knows it: looked for after each reading, where something may have changed.

An export hides some of it, so each dashboard is asked for singly, once for each state that it was in; who belongs to
it is known from the lists. At most LOOKS of one reading, those changed last first: the rest is for the next ones.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict
from typing import Any

from django.db.models import Q, QuerySet

from .canonical.damage import BROKEN, MEANINGS, Damage, Examined, Stored, examine, parsed
from .canonical.documents import Kind
from .canonical.ids import IdTable
from .models import Asset, Environment
from .superset.client import SupersetClient
from .superset.errors import SupersetError, SupersetRefused
from .superset.rows import ChartRow
from .words import clean

logger = logging.getLogger(__name__)

LOOKS = 300  # single requests of one reading, some 20 ms each on Superset 6.1.0
KEPT = 50  # findings kept of one dashboard; all are found again when it is mended

#: Values of the filter `damage`: any of it, what people see, or a code, in few words.
CHOICES = [
    ("any", "any"),
    ("broken", "seen by people"),
    *((code, code.replace("_", " ")) for code in MEANINGS),
]

Members = Mapping[str, frozenset[str]]


def narrow(rows: QuerySet[Asset], value: str) -> QuerySet[Asset]:
    """Those of `rows` with this damage (CHOICES)."""
    if value == "any":
        return rows.exclude(damage_codes="")
    codes = BROKEN if value == "broken" else {value}
    wanted = Q()
    for code in codes:
        wanted |= Q(damage_codes__contains=f",{code},")
    return rows.filter(wanted)


def counts_of(environment: Environment) -> dict[str, int]:
    """How many dashboards are damaged (`any`), visibly (`broken`), and not looked at yet (`unseen`). One query."""
    rows = environment.assets.filter(kind=Kind.DASHBOARD.value).values_list("damage_codes", "damage_seen")
    counts = {"any": 0, "broken": 0, "unseen": 0}
    for codes, seen in rows:
        found = set(codes.strip(",").split(",")) - {""}
        counts["any"] += bool(found)
        counts["broken"] += bool(found & BROKEN)
        counts["unseen"] += not seen
    return counts


def look(environment: Environment, client: SupersetClient, progress: Callable[[str, int, int], None]) -> int:
    """Look at the dashboards that are otherwise than when they were last looked at. Returns how many were.

    What one of them answers wrongly is not told of another. Raises SupersetError where the instance is away.
    """
    members, titles, ids = _known(environment)
    due: list[tuple[Asset, str]] = []
    rows = environment.assets.filter(kind=Kind.DASHBOARD.value).order_by("-changed_on", "pk")
    for asset in rows.only("uuid", "superset_id", "document_id", "changed_on", "damage_seen"):
        state = _state(asset, members.get(asset.uuid, frozenset()))
        if state != asset.damage_seen:
            due.append((asset, state))
    looked = []
    for done, (asset, state) in enumerate(due[:LOOKS]):
        progress("Looking for damage", done, min(len(due), LOOKS))
        try:
            found = examine_one(client, asset.superset_id, asset.uuid, members, ids, titles)
        except SupersetRefused:
            continue  # gone since, or not for this account: the next reading tells
        kept = found.damage[:KEPT]
        asset.damage = [{name: clean(text, 500) for name, text in asdict(one).items()} for one in kept]
        asset.damage_codes = f",{','.join(sorted(found.codes))}," if found.codes else ""
        asset.damage_seen = state
        looked.append(asset)
    Asset.objects.bulk_update(looked, ["damage", "damage_codes", "damage_seen"], batch_size=100)
    return len(looked)


def look_if_it_answers(
    environment: Environment, client: SupersetClient, progress: Callable[[str, int, int], None]
) -> int:
    """The same; a Superset that is away by now does not spoil the reading that was made of it."""
    try:
        return look(environment, client, progress)
    except SupersetError as error:
        logger.warning("Damage in %s was not looked for: %s", environment, error.message)
        return 0


def examine_one(
    client: SupersetClient,
    number: int,
    uuid: str,
    members: Members,
    ids: IdTable,
    titles: Mapping[str, str],
    choice: str = "",
) -> Examined:
    """One dashboard as its instance stores it now: one request. Raises SupersetError."""
    found = client.get("dashboard", number)
    stored = Stored(
        parsed(found.get("position_json")),
        parsed(found.get("json_metadata")),
        members.get(uuid, frozenset()),
        ids,
        titles,
    )
    try:
        return examine(stored, choice)
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        damage = Damage("unreadable", f"Layout or settings cannot be read: {type(error).__name__}.")
        return Examined(stored, (), (damage,), "")


def members_of(charts: Iterable[ChartRow], ids: IdTable) -> dict[str, frozenset[str]]:
    """Dashboard uuid -> uuids of the charts that belong to it, out of the list of charts."""
    found: dict[str, set[str]] = {}
    for row in charts:
        for number in row.dashboard_ids:
            if (dashboard := ids.uuid_of(Kind.DASHBOARD, number)) is not None:
                found.setdefault(dashboard, set()).add(row.uuid)
    return {uuid: frozenset(charts) for uuid, charts in found.items()}


def _known(environment: Environment) -> tuple[Members, dict[str, str], IdTable]:
    """Members of each dashboard, titles of charts, and all ids, as the lists said."""
    ids = IdTable()
    titles: dict[str, str] = {}
    members: dict[str, set[str]] = {}
    columns = ("kind", "uuid", "superset_id", "title", "dashboard_uuids")
    for kind, uuid, number, title, dashboards in environment.assets.values_list(*columns).iterator(2000):
        ids.add(Kind(kind), number, uuid)
        if kind == Kind.CHART.value:
            titles[uuid] = title
            for dashboard in dashboards:
                members.setdefault(dashboard, set()).add(uuid)
    return {uuid: frozenset(charts) for uuid, charts in members.items()}, titles, ids


def _state(asset: Asset, members: Collection[str]) -> str:
    parts: list[Any] = [asset.document_id, asset.changed_on.isoformat() if asset.changed_on else ""]
    return hashlib.sha256(repr([*parts, sorted(members)]).encode()).hexdigest()
