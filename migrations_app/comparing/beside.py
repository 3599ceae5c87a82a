"""What goes with the assets of two places, side by side: owners, rules, tags, alerts and more.

Only what was read is compared: backups hold it of everything, restore points of what their run brought. Of an
environment its newest good backup tells. No Superset is asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from environments.backups.models import Backup, BackupState
from environments.canonical.companions import Companion, CompanionKind, Person, mapped, person_key
from environments.models import Snapshot
from environments.store import companions_of, entries_of
from environments.words import fold
from migrations_app.engine.companions import WORDS, People, changed_fields, companion_words, same
from migrations_app.models import Mapping as PairMapping
from migrations_app.models import PlanCompanion

from .listing import Comparison
from .places import PlaceContents

STATES = ("changed", "added", "removed", "same")


@dataclass(frozen=True)
class Held:
    """What one side knows. `kinds`: of which it says all there is, facets for `assets` alone. `label` and `at`: where
    it is from.
    """

    companions: Mapping[str, Companion]
    kinds: frozenset[CompanionKind]
    assets: frozenset[str]
    label: str
    at: datetime


@dataclass(frozen=True)
class BesideRow:
    """One thing that goes with an asset, or stands by itself. `state`: what would become of it on the right."""

    kind: str
    uuid: str
    title: str
    words: str
    state: str
    sentences: tuple[str, ...]

    @property
    def look(self) -> str:
        return "gone" if self.state == "removed" else self.state


@dataclass(frozen=True)
class Beside:
    """`left`, `right`: None where nothing was read of that side. `kinds`: those that both know."""

    left: Held | None
    right: Held | None
    kinds: tuple[str, ...] = ()
    rows: tuple[BesideRow, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        found = Counter(row.state for row in self.rows)
        return {state: found[state] for state in STATES}


def beside_of(comparison: Comparison) -> Beside:
    """Raises StoreDamaged."""
    left, right = held(comparison.left), held(comparison.right)
    if left is None or right is None:
        return Beside(left, right)
    kinds = [kind for kind in CompanionKind if kind in left.kinds & right.kinds]
    here, there = _mapped(comparison, left.companions, right.companions), right.companions
    assets = {comparison.terms.right_of(uuid) for uuid in left.assets} & right.assets
    titles = {row.right_uuid: row.title for row in comparison.rows if row.right_uuid}
    rows = []
    for uuid in sorted({*here, *there}):
        one = here.get(uuid) or there[uuid]
        whose = one.asset[1] if one.asset is not None else ""
        if one.kind not in kinds or (whose and whose not in assets):
            continue
        title = titles.get(whose, whose) if whose else one.title
        was, wanted = there.get(uuid), here.get(uuid)
        state = (
            "same"
            if same(wanted, was)
            else "added"
            if was is None
            else "removed"
            if wanted is None
            else "changed"
        )
        sentences = () if state == "same" else tuple(said for *_, said in changed_fields(was, wanted))
        rows.append(
            BesideRow(one.kind.value, uuid, title, companion_words(one.kind, title), state, sentences)
        )
    order = {kind.value: number for number, kind in enumerate(CompanionKind)}
    rows.sort(key=lambda row: (STATES.index(row.state), order[row.kind], fold(row.title), row.uuid))
    return Beside(left, right, tuple(WORDS[kind] for kind in kinds), tuple(rows))


def held(side: PlaceContents) -> Held | None:
    """What is known of one side, None where nothing was read."""
    backup = side.backup
    if side.is_live and side.environment is not None:
        good = Backup.objects.filter(environment=side.environment, whole=True, state=BackupState.GOOD)
        backup = good.select_related("snapshot", "environment").first()
    if backup is not None:
        known = frozenset(CompanionKind(kind) for kind, why in backup.companions_read.items() if not why)
        return _held(backup.snapshot, known, f"backup {backup.number}")
    if side.run is not None and side.snapshot is not None:
        rows = PlanCompanion.objects.filter(plan=side.run.plan_id).exclude(
            action__in=("leave_out", "blocked")
        )
        known = frozenset(CompanionKind(kind) for kind in rows.values_list("kind", flat=True).distinct())
        return _held(side.snapshot, known, side.label) if known else None
    return None


def _held(snapshot: Snapshot, kinds: frozenset[CompanionKind], label: str) -> Held | None:
    if not kinds:
        return None
    assets = frozenset(entries_of(snapshot).values_list("uuid", flat=True))
    at = snapshot.exported_at or snapshot.created_at
    return Held(companions_of(snapshot), kinds, assets, label, at)


def _mapped(
    comparison: Comparison, here: Mapping[str, Companion], there: Mapping[str, Companion]
) -> Mapping[str, Companion]:
    """The left ones as they would be on the right. Who is who is told by what the right side names; whom it does not
    name stays who it is.
    """
    source, target = comparison.left.environment, comparison.right.environment
    if comparison.terms.mapping is None or source is None or target is None:
        return here
    pair = PairMapping.objects.between(source, target)
    known = {person_key(person): person for one in there.values() for person in one.people}
    people = People(tuple(known.values()), None, pair.people, pair.roles)
    uuids = {asset: comparison.terms.right_of(asset) for one in here.values() for _, asset in one.assets}
    databases = {uuid: entry["target"] for uuid, entry in pair.databases.items()}

    def person(one: Person) -> Person:
        return people.person(one) or one

    found = (
        mapped(one, assets={**uuids, **databases}, person=person, role=people.role) for one in here.values()
    )
    return {one.uuid: one for one in found}
