"""The second step: which connection of the target stands for which of the source, and SQL that differs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, QueryDict
from django.views.decorators.http import require_http_methods

from environments.canonical.companions import person_key, person_name
from environments.models import Asset
from migrations_app import services
from migrations_app.carrying import names_in
from migrations_app.carrying_forms import PREFIX, CarryingForm
from migrations_app.engine.carrying import SAVED_QUERIES, Carrying
from migrations_app.models import Mapping, Migration
from sstools.errors import Conflict, Invalid
from sstools.web.htmx import go_to, render_page

from .common import find_migration, new_connection_url, page_context, superset_links
from .members import closure_of

EMPTY_ROWS = 1  # of substitutions, to be filled in
MOST_EMPTY_ROWS = 20
GOOD_ENOUGH = 60  # of 100: the name is alike and the tables are there, or all of the tables are


@dataclass
class Name:
    """A schema or catalog of the source, and what it is called on the target."""

    source: str
    target: str


@dataclass
class DatabaseRow:
    uuid: str
    name: str
    backend: str
    used_by: int | None
    datasets: list[str]
    choices: list[dict[str, Any]]
    suggestions: list[dict[str, Any]]
    target: str = ""
    default_catalog: str = ""
    schemas: list[Name] = field(default_factory=list)
    catalogs: list[Name] = field(default_factory=list)
    is_remembered: bool = False
    is_gone: bool = False  # mapped to a connection that the target no longer has
    error: str = ""
    link: str = ""

    @property
    def best(self) -> dict[str, Any] | None:
        return self.suggestions[0] if self.suggestions else None

    @property
    def proposal(self) -> str:
        """A suggestion that is good enough to stand in the field already; it counts once it is saved."""
        return (
            self.best["uuid"] if not self.target and self.best and self.best["score"] >= GOOD_ENOUGH else ""
        )

    @property
    def score(self) -> dict[str, Any] | None:
        """What was found out about the connection that is chosen, or would be."""
        wanted = self.target or (self.best or {}).get("uuid")
        return next((item for item in self.suggestions if item["uuid"] == wanted), None)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def migration_map(request: HttpRequest, number: int) -> HttpResponse:
    """POST `target:<uuid>`, `schema:<uuid>:<name>`, `catalog:<uuid>:<name>`, repeated `find`, `replace`, `how`;
    `carrying_<option>`, `person:<who>` and `role:<name>`.
    """
    migration = find_migration(request, number)
    if migration.maps_nothing:
        return go_to(request, "migrations_app:plan", migration.number)
    mapping = Mapping.objects.between(migration.terms, migration.target)
    rows = _rows(migration, mapping)
    substitutions = [dict(row) for row in mapping.substitutions]
    beside = _Beside(migration, mapping, request.POST if request.method == "POST" else None)
    page = partial(_page, request, migration, beside, rows)
    if request.method != "POST":
        return page(_with_empty(substitutions, EMPTY_ROWS))
    _take_over(rows, request.POST)
    entered = _entered_substitutions(request.POST)
    do = request.POST.get("do", "")
    if do == "add":
        return page(_with_empty(entered, EMPTY_ROWS + 1))
    if do.startswith("drop:"):
        kept = [row for index, row in enumerate(entered) if str(index) != do.removeprefix("drop:")]
        return page(_with_empty(kept, EMPTY_ROWS))
    if not beside.form.is_valid():
        return page(_with_empty(entered, EMPTY_ROWS), None, 422)
    try:
        services.save_mapping(
            migration.terms,
            migration.target,
            actor=request.user,
            databases=_to_save(rows, mapping),
            substitutions=[{**row, "is_pattern": row["is_pattern"]} for row in entered],
            people=beside.entered("person", mapping.people),
            roles=beside.entered("role", mapping.roles),
        )
        if migration.is_open:
            if beside.was_shown:
                services.update_migration(migration, actor=request.user, carrying=beside.form.carrying)
            services.request_plan(migration, actor=request.user)
    except Invalid as error:
        for row in rows:
            row.error = " ".join(error.errors.get(f"databases.{row.uuid}", []))
        for index, entry in enumerate(entered):
            entry["error"] = " ".join(error.errors.get(f"substitutions.{index}", []))
        for name, texts in error.errors.items():
            if name.startswith("carrying."):
                beside.form.add_error(name.replace("carrying.", PREFIX), texts)
        return page(_with_empty(entered, EMPTY_ROWS), error, error.status)
    except Conflict as error:
        return page(_with_empty(entered, EMPTY_ROWS), error, error.status)
    return go_to(request, "migrations_app:map", migration.number)


def _page(
    request: HttpRequest,
    migration: Migration,
    beside: _Beside,
    rows: list[DatabaseRow],
    substitutions: list[dict[str, Any]],
    problem: Exception | None = None,
    status: int = 200,
) -> HttpResponse:
    links = superset_links(migration.source, [row.uuid for row in rows])
    for row in rows:
        row.link = links.get(row.uuid, "")
    context = {
        **page_context(request, migration, "map"),
        "whose": migration.terms or migration.source_name,
        "rows": rows,
        "open_count": sum(not row.target for row in rows),
        "substitutions": substitutions,
        "form": beside.form,
        "people": beside.people,
        "roles": beside.roles,
        "problem": problem,
        "new_connection_url": new_connection_url(migration.target),
    }
    return render_page(request, "migrations_app/map.html", "migrations_app/_map.html", context, status=status)


@dataclass
class Who:
    """Somebody, or a role, of the source: `key` is what the mapping goes by, `target` who that is on the target.
    `is_nobody`: it was decided that there is none.
    """

    key: str
    name: str
    target: str
    is_nobody: bool


#: What is typed where somebody has no counterpart, and is to have none.
NOBODY = "-"


class _Beside:
    """What comes along beside the assets: the options of this migration, and whose names differ on the target."""

    def __init__(self, migration: Migration, mapping: Mapping, data: QueryDict | None) -> None:
        self.data = data
        self.was_shown = data is not None and any(key.startswith(PREFIX) for key in data)
        chosen = migration.carrying
        only = (SAVED_QUERIES,) if migration.is_of_file else None
        self.form = CarryingForm(data if self.was_shown else None, chosen=chosen, only=only)
        if data is not None and not self.was_shown:
            self.form = CarryingForm(
                {PREFIX + name: value for name, value in Carrying(chosen).to_json().items()}, only=only
            )
        plan = migration.plan or migration.plans.first()
        people, roles = names_in(plan) if plan is not None else ([], [])
        named = {person_key(person): person_name(person) for person in people}
        self.people = self._rows("person", {**{key: key for key in mapping.people}, **named}, mapping.people)
        self.roles = self._rows("role", {name: name for name in (*mapping.roles, *roles)}, mapping.roles)

    def _rows(self, prefix: str, names: dict[str, str], known: dict[str, str]) -> list[Who]:
        rows = []
        for key, name in sorted(names.items()):
            target = NOBODY if known.get(key) == "" else known.get(key, "")
            if self.data is not None:
                target = str(self.data.get(f"{prefix}:{key}", target)).strip()[:256]
            rows.append(Who(key, name, target, target == NOBODY))
        return rows

    def entered(self, prefix: str, known: dict[str, str]) -> dict[str, str | None] | None:
        """For the service: what was typed, "" for nobody, None for what is no longer said."""
        assert self.data is not None
        rows = self.people if prefix == "person" else self.roles
        given = {row.key: row for row in rows if f"{prefix}:{row.key}" in self.data}
        return {key: "" if row.is_nobody else row.target or None for key, row in given.items()} or None


# --- What there is to map -------------------------------------------------------------------------------------------
def _rows(migration: Migration, mapping: Mapping) -> list[DatabaseRow]:
    """The source's databases: of the current plan, else of the one before, else as the inventory knows them."""
    plan = migration.plan or migration.plans.first()
    found = [_of_plan(entry) for entry in plan.databases] if plan else _of_inventory(migration)
    for row in found:
        entry = mapping.databases.get(row.uuid)
        row.is_remembered = entry is not None
        row.target = entry["target"] if entry else row.target if migration.is_put_back else ""
        row.is_gone = bool(row.target) and all(choice["uuid"] != row.target for choice in row.choices)
        for names, kind in ((row.schemas, "schemas"), (row.catalogs, "catalogs")):
            for name in names:
                name.target = (entry or {}).get(kind, {}).get(name.source, "")
    return found


def _of_plan(entry: dict[str, Any]) -> DatabaseRow:
    return DatabaseRow(
        uuid=entry["uuid"],
        name=entry["name"],
        backend=entry["backend"],
        used_by=entry["dataset_count"],
        datasets=entry["datasets"],
        choices=entry["choices"],
        suggestions=entry["suggestions"],
        target=entry["target"],
        default_catalog=entry.get("default_catalog") or "",
        schemas=[Name(name, "") for name in entry["schemas"] if name],
        catalogs=[Name(name, "") for name in entry["catalogs"] if name],
    )


def _of_inventory(migration: Migration) -> list[DatabaseRow]:
    if migration.source is None:
        return []  # of a file the first plan tells
    datasets = [
        member.uuid
        for member in closure_of(migration.source, migration.selection)
        if member.kind == "dataset"
    ]
    used = Counter(
        Asset.objects.filter(environment=migration.source, kind="dataset", uuid__in=datasets)
        .exclude(database_uuid="")
        .values_list("database_uuid", flat=True)
    )
    choices = [
        {"uuid": uuid, "name": title, "backend": backend}
        for uuid, title, backend in Asset.objects.filter(
            environment=migration.target, kind="database"
        ).values_list("uuid", "title", "backend")
    ]
    databases = Asset.objects.filter(environment=migration.source, kind="database", uuid__in=used)
    return [
        DatabaseRow(database.uuid, database.title, database.backend, used[database.uuid], [], choices, [])
        for database in databases
    ]


# --- What was entered -----------------------------------------------------------------------------------------------
def _take_over(rows: list[DatabaseRow], data: QueryDict) -> None:
    for row in rows:
        row.target = str(data.get(f"target:{row.uuid}", row.target)).strip().lower()
        for kind, names in (("schema", row.schemas), ("catalog", row.catalogs)):
            for name in names:
                name.target = str(data.get(f"{kind}:{row.uuid}:{name.source}", name.target)).strip()[:256]


def _to_save(rows: list[DatabaseRow], mapping: Mapping) -> dict[str, Any]:
    """Entries for the service. Names that this plan does not use stay remembered."""
    entries: dict[str, Any] = {}
    for row in rows:
        if not row.target:
            entries[row.uuid] = None
            continue
        before = mapping.databases.get(row.uuid, {})
        entries[row.uuid] = {
            "target": row.target,
            "schemas": _names(before.get("schemas", {}), row.schemas),
            "catalogs": _names(before.get("catalogs", {}), row.catalogs),
        }
    return entries


def _names(before: dict[str, str], names: list[Name]) -> dict[str, str]:
    shown = {name.source for name in names}
    kept = {source: target for source, target in before.items() if source not in shown}
    return {**kept, **{name.source: name.target for name in names if name.target}}


def _entered_substitutions(data: QueryDict) -> list[dict[str, Any]]:
    rows = zip(data.getlist("find"), data.getlist("replace"), data.getlist("how"), strict=False)
    return [{"find": find, "replace": replace, "is_pattern": how == "pattern"} for find, replace, how in rows]


def _with_empty(rows: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    filled = [row for row in rows if row["find"] or row.get("error")]
    empty = min(MOST_EMPTY_ROWS, max(count, len(rows) - len(filled) + count - EMPTY_ROWS))
    return [*filled, *({"find": "", "replace": "", "is_pattern": False} for _ in range(empty))]
