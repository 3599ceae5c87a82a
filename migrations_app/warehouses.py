"""What a plan asks the target's warehouses: tables and columns of what it writes, and which connection could be the
counterpart of one that is not mapped yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from rapidfuzz import fuzz

from environments.canonical.documents import Document, Kind
from environments.models import Asset, Environment
from environments.store import EnvironmentReading
from environments.superset.client import SupersetClient
from environments.superset.errors import SupersetError, SupersetUnreachable
from sstools.jobs.runner import JobContext

from .engine import plan as engine
from .engine.checks import DatabaseFacts
from .mappings import backend_of

#: Tables that are asked for at the same time: each question is short, and mostly the way there and back.
ASKED_AT_ONCE = 4
#: Connections that are looked into for a suggestion, at most: each costs a request per schema.
SUGGESTIONS = 3

NeededTables = Mapping[str, Mapping[str | None, Iterable[str]]]


def warehouse_facts(
    client: SupersetClient, needed: NeededTables, reading: EnvironmentReading, checkpoint: Callable[[], None]
) -> dict[str, DatabaseFacts]:
    """Whether the connections answer, and which tables and columns the datasets to be written will find there.

    `needed`: target's database uuid -> schema -> table names. One request per schema, and one per table: Superset has
    no call that tells the columns of several. Uses no database of ours; `checkpoint` is called between requests and
    may raise. Connections whose ids the reading does not know are left out: see learn_database_ids.
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
        for schema, wanted in schemas.items():
            checkpoint()
            try:
                tables[schema] = frozenset(row.name for row in client.list_tables(number, schema, force=True))
            except SupersetUnreachable as exc:
                if exc.code != "server_error":
                    raise
                error = f"schema “{schema}”: {exc.message}" if schema else exc.message
                break
            except SupersetError as exc:
                error = f"schema “{schema}”: {exc.message}" if schema else exc.message
                break
            names = sorted(wanted)
            with ThreadPoolExecutor(max_workers=ASKED_AT_ONCE) as pool:  # the client lets through what it may
                found = pool.map(
                    partial(_columns, client, number, schema=schema, known=tables[schema]), names
                )
                for table, known in zip(names, found, strict=True):
                    checkpoint()
                    columns[schema, table] = known
        facts[uuid] = DatabaseFacts(uuid, name, error, tables, columns)
    return facts


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


def _columns(
    client: SupersetClient, number: int, table: str, *, schema: str | None, known: frozenset[str] | None
) -> frozenset[str] | None:
    if known is not None and table not in known:
        return None
    try:
        found = client.table_columns(number, table, schema)
    except SupersetError:
        return frozenset()  # not known; the table is there
    return None if found is None else frozenset(column.name for column in found)


def database_rows(
    client: SupersetClient,
    environment: Environment,
    plan: engine.Plan,
    given: engine.PlanInput,
    reading: EnvironmentReading,
    ctx: JobContext,
) -> list[dict[str, Any]]:
    """For each source database of the plan: who needs it, where it goes, and for an unmapped one what it
    might be there.
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
            tables.setdefault(dataset.body.get("schema"), set()).add(str(dataset.body["table_name"]))
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
