"""The matrix of assets and environments: which rows, which cells, which columns. A fixed number of queries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from django.core.paginator import Page, Paginator
from django.db.models import Count, Q, QuerySet
from django.http import QueryDict
from django.urls import NoReverseMatch, reverse
from django.utils import timezone

from environments.canonical.documents import Kind
from environments.models import Asset, AssetReference, CheckState, Document, Environment

from .filters import DEFAULT_SORT, SyncStateFilter, row_ordering, rows_of
from .models import NEEDS_ATTENTION, SyncState

PAGE_SIZES = (25, 50, 100, 250)
PAGE_SIZE = 50
WEEKS = 12


@dataclass(frozen=True)
class Column:
    """An environment of the matrix. `is_old`: what is shown is of an earlier reading, `state` says why."""

    environment: Environment
    is_reference: bool = False

    @property
    def state(self) -> str:
        if self.environment.inventory_at is None:
            return "unknown"
        if self.environment.check_state == CheckState.FAILED:
            return self.environment.state  # unreachable, refused
        return "read_failed" if self.environment.inventory_error else ""

    @property
    def is_old(self) -> bool:
        return bool(self.state)


class CellState(NamedTuple):
    """What a cell shows of a SyncState. No instance of the model: there are a thousand on a page of 250 rows."""

    kind: str
    row: str
    target_id: int
    title: str
    state: str
    attention: int
    is_settled: bool
    changes: int
    sentences: list[str]
    changed_by: str

    @property
    def needs_attention(self) -> bool:
        return self.attention >= NEEDS_ATTENTION


@dataclass(frozen=True, slots=True)
class Cell:
    column: Column
    state: CellState | None = None
    url: str = ""

    @property
    def count(self) -> int | None:
        """The number that stands beside the word: of changes, where there are any."""
        return (self.state.changes or None) if self.state is not None else None


@dataclass
class Row:
    """One asset. `uuid` is the source's, or the target's where the source has none (`is_on_reference` is False)."""

    kind: str
    row: str
    title: str = ""
    cells: list[Cell] = field(default_factory=list)
    asset: Asset | None = None
    charts: int | None = None
    weeks: list[int] = field(default_factory=list)
    is_chosen: bool = False
    url: str = ""

    @property
    def uuid(self) -> str:
        return self.row.removeprefix("~")

    @property
    def is_on_reference(self) -> bool:
        return not self.row.startswith("~")

    @property
    def key(self) -> str:
        """How a selection names it."""
        return f"{self.kind}:{self.uuid}"


@dataclass
class Matrix:
    """What the overview shows. `matching`: rows of the filter that are on the reference, and can be selected."""

    reference: Environment
    columns: list[Column]
    filter: SyncStateFilter
    states: QuerySet[SyncState]  # cells that meet the filter
    page: Page[Any]
    rows: list[Row]
    matching: int
    urgent: int
    sort: str
    problems: list[str]


def choose_reference(environments: Sequence[Environment], slug: str) -> tuple[Environment | None, str]:
    """The environment that others are held against, and what to say if it is not the one that was asked for."""
    read = [environment for environment in environments if environment.inventory_at is not None]
    first = next(iter(read), None)
    if not slug:
        return first, ""
    asked = next((environment for environment in read if environment.slug == slug), None)
    if asked is not None or first is None:
        return asked or first, ""
    return first, f"There is no environment “{slug[:50]}” that was read: this is {first.name}."


def cells_of(user: Any, reference: Environment, environments: Sequence[Environment]) -> QuerySet[SyncState]:
    """All cells of the matrix of a reference, before any filter. Only what `user` may see on both sides."""
    others = [environment for environment in environments if environment != reference]
    return SyncState.objects.visible_to(user).between(reference, others)


def build(user: Any, environments: Sequence[Environment], query: QueryDict) -> Matrix | None:
    """The matrix that an address asks for; None before two environments were read."""
    reference, problem = choose_reference(environments, query.get("ref", ""))
    if reference is None or sum(item.inventory_at is not None for item in environments) < 2:
        return None
    data = filter_data(query, reference)
    everything = cells_of(user, reference, environments)
    found = SyncStateFilter(data, queryset=everything)
    problems = [problem] if problem else []
    if not found.form.is_valid():
        wrong = [name for name in found.form.errors if name in data]
        problems += [
            f"“{data[name][:50]}” is no {found.form.fields[name].label.lower()}: left out." for name in wrong
        ]
        for name in wrong:
            data.pop(name)
        data.setdefault("type", Kind.DASHBOARD.value)
        found = SyncStateFilter(data, queryset=everything)
    states = found.qs
    sort = data.get("sort", "") or DEFAULT_SORT
    numbers = rows_of(states).aggregate(
        rows=Count("row"),
        on_reference=Count("row", filter=~Q(row__startswith="~")),
        urgent=Count("row", filter=Q(top__gte=NEEDS_ATTENTION)),
    )
    if data.get("state"):  # the chip counts without that filter
        rest = SyncStateFilter(_without(data, "state"), queryset=everything).qs
        numbers |= rows_of(rest.filter(attention__gte=NEEDS_ATTENTION)).aggregate(urgent=Count("row"))
    rows = rows_of(states, sort).order_by(*row_ordering(sort))
    page = _Counted(rows, page_size(query), numbers["rows"]).get_page(query.get("page"))
    columns = [Column(item, item == reference) for item in environments]
    return Matrix(
        reference=reference,
        columns=columns,
        filter=found,
        states=states,
        page=page,
        rows=_rows(everything, reference, columns, page),
        matching=numbers["on_reference"],
        urgent=numbers["urgent"],
        sort=sort,
        problems=problems,
    )


def filter_data(query: QueryDict, reference: Environment) -> QueryDict:
    """What an address asks for, with what it leaves open: dashboards, against the first environment on the way."""
    data = query.copy()
    data["ref"] = reference.slug
    if not data.get("type"):
        data["type"] = Kind.DASHBOARD.value
    return data


def page_size(query: QueryDict) -> int:
    size = query.get("per_page", "")
    return int(size) if size.isdigit() and int(size) in PAGE_SIZES else PAGE_SIZE


def _without(data: QueryDict, name: str) -> QueryDict:
    rest = data.copy()
    rest.pop(name, None)
    return rest


class _Counted(Paginator):  # type: ignore[type-arg]
    """Of rows that were counted already, with what else there is to count."""

    def __init__(self, rows: Any, per_page: int, total: int) -> None:
        super().__init__(rows, per_page)
        self.__dict__["count"] = total


def _rows(
    everything: QuerySet[SyncState], reference: Environment, columns: Iterable[Column], page: Page[Any]
) -> list[Row]:
    rows = [Row(item["kind"], item["row"]) for item in page.object_list]
    names, kinds = [row.row for row in rows], {row.kind for row in rows}  # with the kinds an index finds them
    cells: dict[tuple[str, str], dict[int, CellState]] = {}
    states = everything.filter(kind__in=kinds, row__in=names).order_by()
    for state in map(CellState._make, states.values_list(*CellState._fields)):
        cells.setdefault((state.kind, state.row), {})[state.target_id] = state
    assets = {
        (asset.kind, asset.uuid): asset
        for asset in Asset.objects.filter(environment=reference, kind__in=kinds, uuid__in=names).only(
            "kind", "uuid", "title", "slug", "changed_on", "changed_by", "owners", "environment_id"
        )
    }
    charts = _charts(reference, names)
    weeks = _weeks([row.uuid for row in rows])
    sides = {
        column.environment.pk: _sides(reference, column.environment)
        for column in columns
        if column.environment != reference
    }
    addresses = {
        kind: (_addresses("comparing:asset", kind), _addresses("assets:detail", f"{kind}s")) for kind in kinds
    }
    for row in rows:
        compared, detail = addresses[row.kind]
        row.url = detail(row.uuid)
        address = compared(row.uuid)
        of_row = cells.get((row.kind, row.row), {})
        row.asset = assets.get((row.kind, row.row))
        any_state = next(iter(of_row.values()), None)
        row.title = any_state.title if any_state is not None else row.uuid
        row.charts = charts.get(row.uuid, 0) if row.kind == Kind.DASHBOARD and row.is_on_reference else None
        row.weeks = weeks.get(row.uuid, [])
        for column in columns:
            cell = of_row.get(column.environment.pk)
            url = _with(address, sides[column.environment.pk]) if cell else ""
            row.cells.append(Cell(column, cell, url))
    return rows


def _charts(reference: Environment, names: list[str]) -> dict[str, int]:
    """Charts of each of these dashboards."""
    found = AssetReference.objects.filter(
        environment=reference, from_kind=Kind.DASHBOARD, from_uuid__in=names, to_kind=Kind.CHART, how="needs"
    )
    return dict(found.order_by().values_list("from_uuid").annotate(number=Count("pk")))


def _weeks(uuids: list[str]) -> dict[str, list[int]]:
    """How many contents of each were seen for the first time, week by week, the last one last."""
    now = timezone.now()
    seen = Document.objects.filter(uuid__in=uuids, created_at__gt=now - timedelta(weeks=WEEKS))
    counts: dict[str, Counter[int]] = {}
    for uuid, at in seen.values_list("uuid", "created_at"):
        counts.setdefault(uuid, Counter())[(now - at).days // 7] += 1
    return {uuid: [number[week] for week in reversed(range(WEEKS))] for uuid, number in counts.items()}


# --- Addresses ------------------------------------------------------------------------------------------------------
def _sides(left: Environment, right: Environment) -> str:
    return urlencode({"left": f"env:{left.slug}", "right": f"env:{right.slug}"}, safe=":")


def overview_url(**query: Any) -> str:
    """The overview with these filters; what is empty is left out."""
    return _with(reverse("web:home"), urlencode({name: value for name, value in query.items() if value}))


ANY_UUID = "00000000-0000-4000-8000-000000000000"


def _addresses(name: str, kind: str) -> Callable[[str], str]:
    """The addresses of many assets, for one look at the routes."""
    pattern = _address(name, kind, ANY_UUID)
    return lambda uuid: pattern.replace(ANY_UUID, quote(uuid, safe=""))


def _address(name: str, *args: str) -> str:
    """ "" where this installation has no such page."""
    try:
        return reverse(name, args=args)
    except NoReverseMatch:
        return ""


def _with(address: str, query: str) -> str:
    return f"{address}?{query}" if address and query else address
