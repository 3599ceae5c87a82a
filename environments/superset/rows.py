"""What Superset's lists answer, as values. Times are aware and in UTC; ids are of this one instance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Owner:
    """A person as lists show one. `email` is None before 6.1, where only related/owners tells it."""

    id: int
    name: str
    email: str | None = None


@dataclass(frozen=True, slots=True)
class DashboardRow:
    id: int
    uuid: str
    title: str
    slug: str | None
    published: bool
    changed_on: datetime | None
    changed_by: str
    owners: tuple[Owner, ...]
    url: str
    roles: tuple[str, ...]
    tags: tuple[str, ...]
    certified_by: str | None


@dataclass(frozen=True, slots=True)
class ChartRow:
    """`dataset_id` is None for a chart without one."""

    id: int
    uuid: str
    name: str
    viz_type: str
    dataset_id: int | None
    dashboard_ids: tuple[int, ...]
    changed_on: datetime | None
    changed_by: str
    owners: tuple[Owner, ...]
    url: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DatasetRow:
    """`sql` is the query of a virtual dataset, None for a physical one."""

    id: int
    uuid: str
    name: str
    schema: str | None
    catalog: str | None
    database_id: int
    is_virtual: bool
    changed_on: datetime | None
    changed_by: str
    owners: tuple[Owner, ...]
    sql: str | None


@dataclass(frozen=True, slots=True)
class DatabaseRow:
    """`changed_on` is None: the list has only the server's local time without its offset (4.1.4 to 6.1.0).

    That text is `changed_on_local`: good for nothing but to see whether it is still the same.
    """

    id: int
    uuid: str
    name: str
    backend: str
    changed_on: datetime | None
    allow_multi_catalog: bool
    changed_by: str = ""
    allow_run_async: bool = False
    expose_in_sqllab: bool = False
    extra: str = ""
    changed_on_local: str = ""


@dataclass(frozen=True, slots=True)
class TableRow:
    """A table or view of a connection; `type` is "table", "view" or "materialized_view"."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class ColumnRow:
    name: str
    type: str


@dataclass(frozen=True, slots=True)
class QueryResult:
    """The answer to one query of a chart.

    `status` is "success" or "failed" (then `error` says why, in the database's or Superset's words). `types`
    are Superset's generic types by column: 0 number, 1 text, 2 time, 3 boolean. `seconds` is the time of the
    whole request, as seen from here. `sql` is None where the account may not see it. `rejected_filters` are
    columns whose filters Superset dropped without an error, because the dataset has no such column
    (`rejected_filters` of chart/data, 4.1 to 6.1): the chart answers, with rows it should not show.
    """

    status: str
    error: str | None = None
    columns: tuple[str, ...] = ()
    types: tuple[int, ...] = ()
    rows: list[dict[str, Any]] = field(default_factory=list)
    rowcount: int = 0
    seconds: float = 0.0
    sql: str | None = None
    is_cached: bool = False
    cached_at: datetime | None = None
    error_type: str | None = None
    rejected_filters: tuple[str, ...] = ()


def moment(value: Any) -> datetime | None:
    """An aware UTC time out of Superset's `…_utc` text ("2026-11-22T04:30:45.123456+0000", or without an offset)."""
    if not isinstance(value, str) or not value:
        return None
    try:
        parsed = datetime.fromisoformat(value)
        parsed = parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return parsed if 1990 <= parsed.year <= 9000 else None  # beyond, no arithmetic is possible


# The `columns` of each list: only what the rows need. A page of default columns costs four to sixteen times as much
# (`superset-api.md` 15). Unknown names are dropped by the server without an error, so one list serves all versions.
_OWNERS = ("owners.id", "owners.first_name", "owners.last_name", "owners.email")
_CHANGED = ("changed_on_utc", "changed_by.first_name", "changed_by.last_name")
COLUMNS: dict[str, tuple[str, ...]] = {
    "dashboard": (
        "id",
        "uuid",
        "dashboard_title",
        "slug",
        "published",
        *_CHANGED,
        *_OWNERS,
        "url",
        "roles.name",
        "tags.name",
        "tags.type",
        "certified_by",
    ),
    "chart": (
        "id",
        "uuid",
        "slice_name",
        "viz_type",
        "datasource_id",
        "datasource_type",
        "dashboards.id",
        *_CHANGED,
        *_OWNERS,
        "url",
        "tags.name",
        "tags.type",
    ),
    "dataset": (
        "id",
        "uuid",
        "table_name",
        "schema",
        "catalog",
        "database.id",
        "kind",
        *_CHANGED,
        *_OWNERS,
        "sql",
    ),
    "database": (
        "id",
        "uuid",
        "database_name",
        "backend",
        "changed_on",
        "allow_multi_catalog",
        "allow_run_async",
        "expose_in_sqllab",
        "extra",
        "changed_by.first_name",
        "changed_by.last_name",
    ),
}


def person(value: Any) -> str:
    if not isinstance(value, Mapping):
        return ""
    return " ".join(str(value[key]) for key in ("first_name", "last_name") if value.get(key))


def _owners(value: Any) -> tuple[Owner, ...]:
    return tuple(
        Owner(int(item["id"]), person(item), item.get("email"))
        for item in value or ()
        if isinstance(item, Mapping) and item.get("id") is not None
    )


def _names(value: Any) -> tuple[str, ...]:
    """Names of related rows; of tags only the custom ones (type 1), not Superset's own "owner:1", "type:chart"."""
    return tuple(
        sorted(
            str(item["name"])
            for item in value or ()
            if item.get("name") and item.get("type", 1) in (1, "custom")
        )
    )


def _text(value: Any) -> str | None:
    return str(value) if value not in (None, "") else None


def dashboard_row(data: Mapping[str, Any]) -> DashboardRow:
    return DashboardRow(
        id=int(data["id"]),
        uuid=str(data.get("uuid") or "").lower(),
        title=str(data.get("dashboard_title") or ""),
        slug=_text(data.get("slug")),
        published=bool(data.get("published")),
        changed_on=moment(data.get("changed_on_utc")),
        changed_by=person(data.get("changed_by")),
        owners=_owners(data.get("owners")),
        url=str(data.get("url") or ""),
        roles=_names(data.get("roles")),
        tags=_names(data.get("tags")),
        certified_by=_text(data.get("certified_by")),
    )


def chart_row(data: Mapping[str, Any]) -> ChartRow:
    has_dataset = data.get("datasource_id") is not None and data.get("datasource_type", "table") == "table"
    return ChartRow(
        id=int(data["id"]),
        uuid=str(data.get("uuid") or "").lower(),
        name=str(data.get("slice_name") or ""),
        viz_type=str(data.get("viz_type") or ""),
        dataset_id=int(data["datasource_id"]) if has_dataset else None,
        dashboard_ids=tuple(sorted(int(item["id"]) for item in data.get("dashboards") or ())),
        changed_on=moment(data.get("changed_on_utc")),
        changed_by=person(data.get("changed_by")),
        owners=_owners(data.get("owners")),
        url=str(data.get("url") or ""),
        tags=_names(data.get("tags")),
    )


def dataset_row(data: Mapping[str, Any]) -> DatasetRow:
    sql = _text(data.get("sql"))
    return DatasetRow(
        id=int(data["id"]),
        uuid=str(data.get("uuid") or "").lower(),
        name=str(data.get("table_name") or ""),
        schema=_text(data.get("schema")),
        catalog=_text(data.get("catalog")),
        database_id=int((data.get("database") or {}).get("id") or 0),
        is_virtual=sql is not None,
        changed_on=moment(data.get("changed_on_utc")),
        changed_by=person(data.get("changed_by")),
        owners=_owners(data.get("owners")),
        sql=sql,
    )


def database_row(data: Mapping[str, Any]) -> DatabaseRow:
    return DatabaseRow(
        id=int(data["id"]),
        uuid=str(data.get("uuid") or "").lower(),
        name=str(data.get("database_name") or ""),
        backend=str(data.get("backend") or ""),
        changed_on=None,
        allow_multi_catalog=bool(data.get("allow_multi_catalog")),
        changed_by=person(data.get("changed_by")),
        allow_run_async=bool(data.get("allow_run_async")),
        expose_in_sqllab=bool(data.get("expose_in_sqllab")),
        extra=str(data.get("extra") or ""),
        changed_on_local=str(data.get("changed_on") or ""),
    )
