"""What a plan asks the target's warehouses: tables and columns of what it writes, and which connection could be the
counterpart of one that is not mapped yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from rapidfuzz import fuzz

from environments.canonical.companions import CompanionKind
from environments.canonical.documents import Document, Kind
from environments.models import Asset, Environment
from environments.store import EnvironmentReading
from environments.superset.client import SupersetClient
from environments.superset.errors import SupersetError, SupersetUnreachable
from sstools.jobs.runner import JobContext

from .engine import plan as engine
from .engine.checks import DatabaseFacts
from .mappings import backend_of
from .models import Mapping as PairMapping
from .models import Migration

#: Tables that are asked for at the same time: each question is short, and mostly the way there and back.
ASKED_AT_ONCE = 4
#: Connections that are looked into for a suggestion, at most: each costs a request per schema.
SUGGESTIONS = 3

#: schema -> names of tables; None is the connection's default schema.
Schemas = Mapping[str | None, Iterable[str]]
#: The same by the uuid of the target's database.
NeededTables = Mapping[str, Schemas]


class Warehouses:
    """The databases behind a target's connections. What one plan asked them once it does not ask again.

    Uses no database of ours. `checkpoint` is called between requests and may raise.
    """

    def __init__(self, client: SupersetClient) -> None:
        self._client = client
        self._tables: dict[tuple[int, str | None], frozenset[str]] = {}
        self._columns: dict[tuple[int, str | None, str], frozenset[str] | None] = {}

    def facts(
        self, needed: NeededTables, reading: EnvironmentReading, checkpoint: Callable[[], None]
    ) -> dict[str, DatabaseFacts]:
        """Whether the connections answer, and which tables and columns the datasets to be written will find there.

        One request per schema, and one per table: Superset has no call that tells the columns of several.
        Connections whose ids the reading does not know are left out: see learn_database_ids. Raises SupersetError
        where the Superset itself does not answer.
        """
        facts: dict[str, DatabaseFacts] = {}
        for uuid, schemas in needed.items():
            number = reading.ids.id_of(Kind.DATABASE, uuid)
            name = reading.documents[uuid].title if uuid in reading.documents else uuid
            if number is None:
                continue
            tables: dict[str | None, frozenset[str] | None] = {}
            columns: dict[tuple[str | None, str], frozenset[str] | None] = {}
            error = ""
            for schema, names in schemas.items():
                try:
                    self._ask(number, schema, names, checkpoint)
                except SupersetUnreachable as exc:
                    if exc.code != "server_error":
                        raise
                    error = f"schema “{schema}”: {exc.message}" if schema else exc.message
                    break
                except SupersetError as exc:
                    error = f"schema “{schema}”: {exc.message}" if schema else exc.message
                    break
                tables[schema] = self._tables[number, schema]
                columns |= {(schema, table): self._columns[number, schema, table] for table in names}
            facts[uuid] = DatabaseFacts(uuid, name, error, tables, columns)
        return facts

    def ask_ahead(self, expected: Mapping[int, Schemas], checkpoint: Callable[[], None]) -> None:
        """Ask what will be needed in all likelihood, while there is time. `expected`: by the connection's id."""
        with suppress(SupersetError):  # asked again, it is told with its reason
            for number, schemas in expected.items():
                for schema, names in schemas.items():
                    self._ask(number, schema, names, checkpoint)

    def _ask(
        self, number: int, schema: str | None, names: Iterable[str], checkpoint: Callable[[], None]
    ) -> None:
        if (number, schema) not in self._tables:
            checkpoint()
            rows = self._client.list_tables(number, schema, force=True)
            self._tables[number, schema] = frozenset(row.name for row in rows)
        there = self._tables[number, schema]
        new = [name for name in sorted(names) if (number, schema, name) not in self._columns]
        with ThreadPoolExecutor(max_workers=ASKED_AT_ONCE) as pool:  # the client lets through what it may
            asked = [pool.submit(self._columns_of, number, schema, name) for name in new if name in there]
            try:
                for name in new:
                    self._columns[number, schema, name] = None
                for future in asked:
                    checkpoint()
                    name, columns = future.result()
                    self._columns[number, schema, name] = columns
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _columns_of(self, number: int, schema: str | None, table: str) -> tuple[str, frozenset[str] | None]:
        try:
            found = self._client.table_columns(number, table, schema)
        except SupersetError:
            return table, frozenset()  # not known; the table is there
        return table, None if found is None else frozenset(column.name for column in found)


def expected_tables(migration: Migration) -> Mapping[int, Schemas]:
    """The tables that a plan will have to ask for, as far as the inventories tell: those of selected datasets that
    the target does not have, by the target connection's id.
    """
    source, target = migration.source, migration.target
    if source is None or migration.is_rollback or migration.copy_terms:
        return {}
    datasets = Asset.objects.filter(environment=source, kind=Kind.DATASET.value, is_virtual=False)
    new = datasets.exclude(uuid__in=Asset.objects.filter(environment=target).values("uuid"))
    rows = list(new.values_list("uuid", "title", "schema", "database_uuid"))
    if not rows:
        return {}
    entries = PairMapping.objects.between(source, target).databases
    connections = Asset.objects.filter(environment=target, kind=Kind.DATABASE.value)
    numbers = dict(connections.values_list("uuid", "superset_id"))
    wanted = _selected_datasets(migration, source)
    expected: dict[int, dict[str | None, set[str]]] = {}
    for uuid, title, schema, database in rows:
        entry = entries.get(database)
        number = numbers.get(entry["target"]) if entry else None
        if entry and number is not None and uuid in wanted:
            place = entry.get("schemas", {}).get(schema, schema) or None
            expected.setdefault(number, {}).setdefault(place, set()).add(title)
    return expected


def _selected_datasets(migration: Migration, source: Environment) -> set[str]:
    """uuids of what is selected, and of the datasets under selected charts and dashboards."""
    wanted = set(migration.selection)
    if migration.with_dependencies:
        charts = Asset.objects.filter(environment=source, kind=Kind.CHART.value)
        rows = charts.values_list("uuid", "dataset_uuid", "dashboard_uuids")
        wanted |= {
            dataset
            for chart, dataset, dashboards in rows.iterator(chunk_size=2000)
            if chart in wanted or not wanted.isdisjoint(dashboards)
        }
    return wanted - set(migration.left_out)


def learn_database_ids(
    client: SupersetClient, environment: Environment, reading: EnvironmentReading, uuids: Iterable[str]
) -> None:
    """A full export does not tell the ids of connections (their files are named without). The inventory does,
    for those that it knows and that were just read again under the same uuid; for others, one request.
    """
    missing = {uuid for uuid in uuids if reading.ids.id_of(Kind.DATABASE, uuid) is None}
    if not missing:
        return
    known = Asset.objects.filter(environment=environment, kind=Kind.DATABASE.value, uuid__in=missing)
    for uuid, number in known.values_list("uuid", "superset_id"):
        reading.ids.add(Kind.DATABASE, number, uuid)
        missing.discard(uuid)
    if missing:
        for row in client.list_databases():
            reading.ids.add(Kind.DATABASE, row.id, row.uuid)


def database_rows(
    client: SupersetClient,
    environment: Environment,
    plan: engine.Plan,
    given: engine.PlanInput,
    reading: EnvironmentReading,
    ctx: JobContext,
) -> list[dict[str, Any]]:
    """For each source database of the plan, those of its saved queries included: who needs it, where it goes, and for
    an unmapped one what it might be there.
    """
    members = [
        given.source[item.uuid]
        for item in plan.items
        if item.uuid in given.source and item.action != engine.Action.REMOVE
    ]
    datasets: dict[str, list[Document]] = {}
    for document in members:
        if document.kind == Kind.DATASET and document.body.get("database_uuid"):
            datasets.setdefault(str(document.body["database_uuid"]), []).append(document)
    for (
        item
    ) in plan.companions:  # of a file all are meant, and may stand on connections that no dataset needs
        if item.kind == CompanionKind.SAVED_QUERY and item.source is not None:
            datasets.setdefault(str(item.source.body["database"]), [])
    choices = [document for document in given.target.values() if document.kind == Kind.DATABASE]
    if plan.unmapped_databases:
        learn_database_ids(client, environment, reading, [choice.uuid for choice in choices])
    ids = {choice.uuid: reading.ids.id_of(Kind.DATABASE, choice.uuid) for choice in choices}
    rows: list[dict[str, Any]] = []
    for uuid, needing in sorted(datasets.items()):
        database = given.source.get(uuid)
        target = given.mapping.databases.get(uuid)
        row: dict[str, Any] = {
            "uuid": uuid,
            "name": database.title if database else uuid,
            "backend": backend_of(database) if database else "",
            "dataset_count": len(needing),
            "datasets": sorted(document.title for document in needing)[:20],
            "schemas": sorted({str(document.body.get("schema") or "") for document in needing}),
            "catalogs": sorted({str(document.body.get("catalog") or "") for document in needing}),
            "target": target.uuid if target else "",
            "target_name": given.target[target.uuid].title if target and target.uuid in given.target else "",
            "default_catalog": target.default_catalog if target else None,
            "choices": [
                {"uuid": choice.uuid, "name": choice.title, "backend": backend_of(choice)}
                for choice in sorted(choices, key=lambda item: item.title)
            ],
            "suggestions": [],
        }
        if target is None and database is not None:
            row["suggestions"] = _suggestions(client, database, needing, choices, ids, ctx)
        rows.append(row)
    return rows


def _suggestions(
    client: SupersetClient,
    database: Document,
    datasets: Iterable[Document],
    choices: Iterable[Document],
    ids: Mapping[str, int | None],
    ctx: JobContext,
) -> list[dict[str, Any]]:
    """Connections of the target that may be the counterpart, best first: same engine, alike name, and the
    needed tables are there.
    """
    tables: dict[str | None, set[str]] = {}
    for dataset in datasets:
        if not dataset.body.get("sql"):
            schema = dataset.body.get("schema") or None  # an empty one, as REST makes it, is none
            tables.setdefault(schema, set()).add(str(dataset.body["table_name"]))
    needed = sum(len(names) for names in tables.values())
    ranked = sorted(
        (
            (_likeness(database, choice), choice)
            for choice in choices
            if backend_of(choice) == backend_of(database)
        ),
        key=lambda pair: (-pair[0], pair[1].title),
    )
    suggestions: list[dict[str, Any]] = []
    for likeness, choice in ranked[:SUGGESTIONS]:
        ctx.checkpoint()
        found, reached = _count_tables(client, ids.get(choice.uuid), tables)
        share = found / needed if needed and found is not None else 0.0
        score = round(0.35 * likeness + 65 * share) if reached else round(0.35 * likeness)
        reasons = [
            "same uuid" if choice.uuid == database.uuid else "",
            f"{backend_of(choice)} as the source",
            f"name {round(likeness)} % alike",
        ]
        reasons.append(f"{found} of {needed} tables found" if reached else "does not answer")
        suggestions.append(
            {
                "uuid": choice.uuid,
                "name": choice.title,
                "backend": backend_of(choice),
                "score": min(100, score),
                "reason": ", ".join(reason for reason in reasons if reason),
                "tables_found": found,
                "tables_needed": needed,
                "reached": reached,
            }
        )
    return sorted(suggestions, key=lambda item: -item["score"])


def _likeness(one: Document, other: Document) -> float:
    """0 to 100, by name; words that say which environment it is do not count against."""
    return (
        100.0 if one.uuid == other.uuid else float(fuzz.token_set_ratio(_bare(one.title), _bare(other.title)))
    )


def _bare(name: str) -> str:
    words = [
        word
        for word in name.lower().replace("_", " ").replace("-", " ").split()
        if word not in {"dev", "test", "stage", "staging", "prod", "production"}
    ]
    return " ".join(words) or name.lower()


def _count_tables(
    client: SupersetClient, number: int | None, tables: Mapping[str | None, set[str]]
) -> tuple[int | None, bool]:
    if number is None:
        return None, False
    found = 0
    for schema, names in tables.items():
        try:
            found += len(names & {row.name for row in client.list_tables(number, schema, force=True)})
        except SupersetError:
            return None, False
    return found, True
