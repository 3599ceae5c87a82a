"""Blast radius: who would feel it if an asset, or one column of a dataset, went. On each environment by itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from environments.canonical.documents import Document, Kind
from environments.models import Asset, Environment
from environments.store import get_documents
from environments.words import fold
from migrations_app.engine.columns import (
    ColumnUse,
    column_names,
    uses_in_chart,
    uses_in_dashboard,
    uses_in_dataset,
    uses_in_sql_of,
)

from .families import Family, Member, page_url
from .reach import Edge, Key, Reach, reach_of, rows_of


@dataclass
class User:
    """An asset that would feel it. `steps`: over how many others. `is_maybe`: a text mentions it, no more is known.

    `uses`: of the column that was asked for; `through`: titles of what it uses that is hit itself.
    """

    key: Key
    title: str
    asset: Asset | None
    steps: int
    is_maybe: bool
    uses: tuple[ColumnUse, ...] = ()
    through: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        return self.key[0]

    @property
    def url(self) -> str:
        return page_url(*self.key) if self.asset is not None else ""


@dataclass
class Impact:
    """On one environment. `own`: uses within the dataset itself. `unread`: users whose contents nobody has read, so
    that nothing can be said of them.
    """

    environment: Environment
    member: Member
    users: list[User] = field(default_factory=list)
    own: tuple[ColumnUse, ...] = ()
    unread: int = 0
    has_column: bool = True

    def count(self, kind: str) -> int:
        return sum(user.kind == kind for user in self.users)

    @property
    def certain(self) -> int:
        return sum(not user.is_maybe for user in self.users)


def impacts_of(family: Family, column: str = "", only: str = "") -> list[Impact]:
    """On every environment that has the asset; `only` one if its slug is given. A column makes sense for datasets."""
    members = [member for member in family.present if only in ("", member.environment.slug)]
    return [impact_on(family.kind, member, column) for member in members]


def impact_on(kind: Kind, member: Member, column: str = "") -> Impact:
    reach = reach_of(member.environment, kind.value, member.uuid)
    if column and kind == Kind.DATASET:
        return _column_impact(reach, member, column)
    users = [_user(reach, key, key in reach.maybe) for key in reach.users]
    return Impact(member.environment, member, users)


def columns_of(family: Family) -> list[str]:
    """Names of columns and metrics of a dataset, of all environments that have it."""
    documents = _documents(member.asset for member in family.present)
    return sorted({name for document in documents.values() for name in column_names(document)}, key=fold)


def _user(
    reach: Reach, key: Key, is_maybe: bool, uses: tuple[ColumnUse, ...] = (), hit: Iterable[Key] = ()
) -> User:
    known = set(hit)
    through = tuple(
        reach.title(edge.below)
        for edge in reach.edges
        if edge.above == key
        and edge.below != reach.centre
        and (edge.below in known or not known)
        and reach.steps.get(edge.below, 0) > 0
    )
    return User(key, reach.title(key), reach.assets.get(key), reach.steps[key], is_maybe, uses, through)


def _column_impact(reach: Reach, member: Member, column: str) -> Impact:
    _add_readers_of_the_table(reach, member)
    documents = _documents([member.asset, *reach.assets.values()])
    dataset = documents.get(reach.centre)
    impact = Impact(member.environment, member)
    if dataset is None:
        impact.unread = 1
        return impact
    impact.own = uses_in_dataset(dataset, column)
    impact.has_column = column in column_names(dataset)
    direct = set(reach.direct_users(reach.centre))
    table = str(dataset.body.get("table_name") or "")
    hit: dict[Key, tuple[bool, tuple[ColumnUse, ...]]] = {}
    for key in reach.users:
        document = documents.get(key)
        if document is None:
            impact.unread += key in direct
            continue
        uses = _uses(document, column, dataset, table) if key in direct else ()
        if uses:
            hit[key] = (not any(use.certain for use in uses), uses)
    _spread(reach, hit)
    impact.users = [_user(reach, key, hit[key][0], hit[key][1], hit) for key in reach.users if key in hit]
    return impact


def _spread(reach: Reach, hit: dict[Key, tuple[bool, tuple[ColumnUse, ...]]]) -> None:
    """Whoever stands on what is hit is hit, too, and no more certainly than that."""
    front = list(hit)
    while front:
        below_front = set(front)
        front = []
        for edge in reach.edges:
            if edge.below not in below_front or reach.steps.get(edge.above, 0) <= 0:
                continue
            maybe = hit[edge.below][0] or edge.how != "needs"
            known = hit.get(edge.above)
            if known is None or (known[0] and not maybe):
                hit[edge.above] = (maybe, known[1] if known else ())
                front.append(edge.above)


def _uses(document: Document, column: str, dataset: Document, table: str) -> tuple[ColumnUse, ...]:
    if document.kind == Kind.CHART:
        return uses_in_chart(document, column, dataset)
    if document.kind == Kind.DASHBOARD:
        return uses_in_dashboard(document, column, dataset.uuid)
    return uses_in_sql_of(document, column, table) or _through_a_macro(document, column)


def _through_a_macro(document: Document, column: str) -> tuple[ColumnUse, ...]:
    """A dataset that reads this one by a Jinja macro: its SQL names no table."""
    return tuple(use for use in uses_in_dataset(document, column) if use.where == "its SQL")


def _add_readers_of_the_table(reach: Reach, member: Member) -> None:
    """Virtual datasets of the same connection: their SQL may read the dataset's table without naming the dataset."""
    assert member.asset is not None
    if member.asset.is_virtual or not member.asset.database_uuid:
        return
    rows = Asset.objects.filter(
        environment=member.environment,
        kind=Kind.DATASET,
        is_virtual=True,
        database_uuid=member.asset.database_uuid,
        document__isnull=False,
    ).defer("search_text", "owners")
    others = {(row.kind, row.uuid): row for row in rows if (row.kind, row.uuid) not in reach.steps}
    documents = _documents(others.values())
    for key, document in documents.items():
        if not uses_in_sql_of(document, member.asset.title, member.asset.title):
            continue
        others[key].environment = member.environment
        reach.edges.append(Edge(key, reach.centre, "mentions"))
        reach.steps[key], reach.assets[key] = 1, others[key]
        above = reach_of(member.environment, *key, assets=False)
        new = {one: step + 1 for one, step in above.steps.items() if step > 0 and one not in reach.steps}
        reach.steps |= new
        reach.edges += [edge for edge in above.edges if above.steps.get(edge.above, 0) > 0]
        reach.assets |= rows_of(member.environment, new)


def _documents(rows: Iterable[Asset | None]) -> dict[Key, Document]:
    """Contents of assets, as far as they were read."""
    wanted = {(row.kind, row.uuid): row.document_id for row in rows if row is not None and row.document_id}
    found: Mapping[str, Document] = get_documents(wanted.values())
    return {key: found[sha] for key, sha in wanted.items()}


@dataclass
class Line:
    """One user over all environments: `cells` in the order of the impacts, None where it is no user."""

    kind: str
    title: str
    url: str
    steps: int
    cells: list[User | None]

    @property
    def first(self) -> User:
        return next(cell for cell in self.cells if cell is not None)


def side_by_side(impacts: list[Impact], same: Mapping[int, Mapping[str, str]]) -> list[Line]:
    """Users by environment in one table. `same`: environment -> its uuids -> those of the first, where they differ."""
    lines: dict[Key, Line] = {}
    for index, impact in enumerate(impacts):
        names = same.get(impact.environment.pk, {})
        for user in impact.users:
            key = (user.kind, names.get(user.key[1], user.key[1]))
            line = lines.setdefault(
                key, Line(user.kind, user.title, user.url, user.steps, [None] * len(impacts))
            )
            line.cells[index] = user
            line.url = line.url or user.url
            line.steps = min(line.steps, user.steps)
    order = {kind: index for index, kind in enumerate(("dashboard", "chart", "dataset", "database"))}
    return sorted(lines.values(), key=lambda line: (order[line.kind], fold(line.title), line.url))
