"""The same asset on several environments: by its uuid, or by a pairing where the uuids differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from django.db.models import Q
from django.urls import reverse

from environments.canonical.documents import Kind
from environments.models import Asset, Environment, GoneAsset
from migrations_app.models import Pairing
from sstools.roles import policy
from sstools.roles.permissions import Permission

#: Uuids of one family that are followed: more would be a mistake of people, and a query without end.
MOST_UUIDS = 50


@dataclass
class Member:
    """What an environment has of a family. `asset`: there now; `gone`: there once. Neither: never seen there.

    `others`: uuids of further assets of this environment that belong to the family by uuid, while pairings chose
    `uuid`. `pairing`: what was decided about it by a person.
    """

    environment: Environment
    uuid: str = ""
    asset: Asset | None = None
    gone: GoneAsset | None = None
    pairing: Pairing | None = None
    others: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        found = self.asset or self.gone
        return found.title if found else ""

    @property
    def is_there(self) -> bool:
        return self.asset is not None

    @property
    def go_url(self) -> str:
        if self.asset is None:
            return ""
        return reverse("environments:go", args=[self.environment.slug, self.asset.kind, self.asset.uuid])


@dataclass
class Family:
    """An asset over all environments that somebody may see. `key`: the uuid that was seen first, its name in addresses.

    `members`: one for each environment, on the way to production.
    """

    kind: Kind
    key: str
    members: list[Member]
    all_uuids: frozenset[str] = field(default_factory=frozenset)

    @cached_property
    def present(self) -> list[Member]:
        return [member for member in self.members if member.is_there]

    @cached_property
    def by_slug(self) -> dict[str, Member]:
        return {member.environment.slug: member for member in self.members}

    @property
    def title(self) -> str:
        known = self.present or [member for member in self.members if member.gone]
        return known[0].title if known else self.key

    @property
    def is_gone(self) -> bool:
        """Nowhere any more."""
        return not self.present

    def reference(self, slug: str = "") -> Member | None:
        """The member that the others are held against: the one asked for, else the first on the way to production."""
        asked = self.by_slug.get(slug)
        if asked is not None and asked.is_there:
            return asked
        return self.present[0] if self.present else None

    def get_absolute_url(self) -> str:
        return page_url(self.kind, self.key)


def page_url(kind: str, uuid: str, tab: str = "") -> str:
    """The page of an asset, by any of its uuids."""
    name = f"assets:{tab}" if tab else "assets:detail"
    return reverse(name, args=[Kind(kind).plural, uuid])


def visible_environments(user: Any) -> list[Environment]:
    """Those whose assets `user` may see, on the way to production."""
    scopes = policy.scopes(user, Permission.ASSET_VIEW)
    rows = Environment.objects.all()
    if not scopes.everything:
        rows = rows.filter(uuid__in=scopes.uuids("environment"))
    return list(rows.in_order())


def find_family(kind: Kind, uuid: str, environments: Sequence[Environment]) -> Family | None:
    """The family of an asset with this uuid, among these environments; None if none of them ever had it. Some three
    queries, however large the environments are.
    """
    by_pk = {environment.pk: environment for environment in environments}
    pairings = _pairings(kind, {uuid}, by_pk)
    uuids = {uuid, *(one for row in pairings for one in (row.source_uuid, row.target_uuid))}
    mine = Q(kind=kind.value, uuid__in=uuids, environment__in=by_pk)
    assets = {
        (row.environment_id, row.uuid): row
        for row in Asset.objects.filter(mine)
        .select_related("document")
        .defer("search_text", "document__body")
    }
    gone = {(row.environment_id, row.uuid): row for row in GoneAsset.objects.filter(mine)}
    places = [place for place in {**assets, **gone} if place[0] in by_pk]
    order = {pk: index for index, pk in enumerate(by_pk)}
    places.sort(key=lambda place: (order[place[0]], place[1]))
    starts = [place for place in places if place[1] == uuid]
    if not starts:
        return None
    start = next((place for place in starts if place in assets), starts[0])
    links = Links(pairings)
    reached = _component(start, places, links)
    chosen: dict[int, str] = {}
    for pk, one in reached:  # nearest first
        if pk not in chosen or ((pk, one) in assets and (pk, chosen[pk]) not in assets):
            chosen[pk] = one
    members = []
    for environment in environments:
        one = chosen.get(environment.pk, "")
        place = (environment.pk, one)
        others = {
            other for pk, other in places if pk == environment.pk and other != one and (pk, other) in assets
        }
        row = links.row_of(*place) if one else None
        members.append(
            Member(environment, one, assets.get(place), gone.get(place), row, tuple(sorted(others)))
        )
    key = min(reached, key=lambda place: (_first_seen(assets.get(place), gone.get(place)), place[1]))[1]
    return Family(kind, key, members, frozenset(one for _, one in reached))


class Links:
    """Which uuid of one environment is which of another, by pairings in either direction."""

    def __init__(self, pairings: Iterable[Pairing]) -> None:
        self._to: dict[tuple[int, int, str], str] = {}
        self._rows: dict[tuple[int, str], Pairing] = {}
        for row in pairings:
            self._to[row.source_id, row.target_id, row.source_uuid] = row.target_uuid
            self._to.setdefault((row.target_id, row.source_id, row.target_uuid), row.source_uuid)
            self._rows.setdefault((row.target_id, row.target_uuid), row)
            self._rows.setdefault((row.source_id, row.source_uuid), row)

    def counterpart(self, here: int, there: int, uuid: str) -> str:
        """The uuid of `there` that is `uuid` of `here`; "" where that uuid of `there` is paired with another one."""
        if found := self._to.get((here, there, uuid)):
            return found
        return "" if (there, here, uuid) in self._to else uuid

    def row_of(self, environment: int, uuid: str) -> Pairing | None:
        return self._rows.get((environment, uuid))


def _pairings(kind: Kind, uuids: set[str], by_pk: Mapping[int, Environment]) -> list[Pairing]:
    """All pairings that a family may consist of: those of these uuids, of what these are paired with, and so on."""
    known = set(uuids)
    rows: dict[int, Pairing] = {}
    asked: set[str] = set()
    while (new := known - asked) and len(known) <= MOST_UUIDS:
        asked |= new
        found = Pairing.objects.filter(
            Q(source_uuid__in=new) | Q(target_uuid__in=new),
            kind=kind.value,
            source__in=by_pk,
            target__in=by_pk,
        ).select_related("created_by", "source", "target")
        for row in found:
            rows[row.pk] = row
            known |= {row.source_uuid, row.target_uuid}
        if not rows:
            break
    return list(rows.values())


def _component(
    start: tuple[int, str], places: Sequence[tuple[int, str]], links: Links
) -> list[tuple[int, str]]:
    """What is the same as `start`, nearest first."""
    reached = [start]
    for here, uuid in reached:  # grows while it is walked
        for place in places:
            if (
                place[0] != here
                and place not in reached
                and links.counterpart(here, place[0], uuid) == place[1]
            ):
                reached.append(place)
    return reached


def _first_seen(asset: Asset | None, gone: GoneAsset | None) -> datetime:
    if asset is not None:
        return asset.first_seen_at
    assert gone is not None
    return gone.last_seen_at
