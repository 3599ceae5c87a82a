"""The remembered mapping of a pair of environments: cleaning what people enter, and turning it into the
engine's terms.
"""

from __future__ import annotations

import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from environments.canonical.documents import Document, Documents, Kind
from environments.models import Environment
from sstools.errors import Invalid

from .engine.copies import Copy, copy_mapping, database_entries
from .engine.mapping import AssetMapping, DatabaseTarget, Substitution
from .errors import NotReady
from .models import Mapping as PairMapping
from .pairings import pairs_between

_UUID = re.compile(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
MAX_SUBSTITUTIONS = 100
MAX_CHARACTERS = 1000  # of what is found, and of what replaces it
MAX_NAMES, MAX_NAME = 2000, 256  # of people, and of roles; characters of each
PATTERN_SECONDS = 10.0  # of computing that all patterns of one plan may take together

#: Engines whose datasets carry a catalog (supports_catalog in superset/db_engine_specs, their bases and aliases, read
#: at 4.1.4 and 6.1.0), by SQLAlchemy's name. Redshift, HANA and Netezza share code with PostgreSQL and have none: a
#: catalog written there is in no permission's name.
CATALOG_BACKENDS = frozenset(
    {
        "bigquery",
        "cockroachdb",
        "databricks",
        "datastore",
        "doris",
        "greenplum",
        "hive",
        "motherduck",
        "postgres",
        "postgresql",
        "presto",
        "pydoris",
        "risingwave",
        "snowflake",
        "starrocks",
        "trino",
    }
)
#: Of those, where the path of the URI is the default catalog.
_URI_CATALOG_BACKENDS = frozenset(
    {"cockroachdb", "greenplum", "postgres", "postgresql", "presto", "risingwave", "snowflake", "trino"}
)


def clean_databases(entries: Mapping[str, Any]) -> dict[str, dict[str, Any] | None]:
    """Entries as the model keeps them. Raises Invalid, field by field."""
    cleaned: dict[str, dict[str, Any] | None] = {}
    errors: dict[str, list[str]] = {}
    for source, entry in entries.items():
        if entry is None or entry == "":
            cleaned[source] = None
            continue
        data = {"target": entry} if isinstance(entry, str) else entry
        target = str(data.get("target") or "").lower() if isinstance(data, Mapping) else ""
        if not _UUID.match(str(source)) or not _UUID.match(target):
            errors[f"databases.{source}"] = ["Give the uuid of a connection of the target."]
            continue
        cleaned[source] = {
            "target": target,
            "schemas": _names(data.get("schemas")),
            "catalogs": _names(data.get("catalogs")),
        }
    if errors:
        raise Invalid("Some databases are not mapped right.", code="wrong_mapping", errors=errors)
    return cleaned


def _names(value: Any) -> dict[str, str]:
    return {str(key): str(item or "") for key, item in value.items()} if isinstance(value, Mapping) else {}


def clean_substitutions(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Substitutions as the model keeps them; empty rows are left out. Raises Invalid for a pattern that
    does not compile.
    """
    cleaned: list[dict[str, Any]] = []
    errors: dict[str, list[str]] = {}
    for index, row in enumerate(rows):
        find, replace, is_pattern = (
            str(row.get("find") or ""),
            str(row.get("replace") or ""),
            bool(row.get("is_pattern")),
        )
        if not find:
            continue
        if max(len(find), len(replace)) > MAX_CHARACTERS:  # cut, it would be another pattern
            errors[f"substitutions.{index}"] = [f"At most {MAX_CHARACTERS} characters."]
            continue
        if "\0" in find + replace:
            errors[f"substitutions.{index}"] = ["The NUL character is in no SQL."]
            continue
        if is_pattern:
            try:
                re.compile(find).sub(replace, "")
            except (re.error, IndexError, OverflowError, RecursionError) as error:
                errors[f"substitutions.{index}"] = [f"This pattern does not work: {error}."]
                continue
        cleaned.append({"find": find, "replace": replace, "is_pattern": is_pattern})
    if len(cleaned) > MAX_SUBSTITUTIONS:
        errors["substitutions"] = [f"At most {MAX_SUBSTITUTIONS}."]
    if errors:
        raise Invalid("Some substitutions are not right.", code="wrong_mapping", errors=errors)
    return cleaned


def merged_names(name: str, known: Mapping[str, str], given: Mapping[str, Any]) -> dict[str, str]:
    """Names of people or roles as the model keeps them; None forgets an entry. Raises Invalid."""
    merged = dict(known)
    errors: dict[str, list[str]] = {}
    for source, target in given.items():
        key = str(source).strip()
        if not key or len(key) > MAX_NAME or (target is not None and len(str(target)) > MAX_NAME):
            errors[f"{name}.{key[:50]}"] = [f"A name of at most {MAX_NAME} characters."]
        elif target is None:
            merged.pop(key, None)
        else:
            merged[key] = str(target).strip()
    if len(merged) > MAX_NAMES:
        errors[name] = [f"At most {MAX_NAMES}."]
    if errors:
        raise Invalid("Some names are not mapped right.", code="wrong_mapping", errors=errors)
    return merged


@dataclass(frozen=True)
class LimitedSubstitution(Substitution):
    """A pattern that somebody wrote. Some take longer than the universe lasts ("(a+)+$"): it has to end before that.

    `left`: seconds that remain to all patterns of one plan, shared between them.
    """

    left: list[float] = field(default_factory=lambda: [PATTERN_SECONDS], compare=False)

    def apply(self, sql: str) -> str:
        began = time.thread_time()
        try:
            with cpu_limit(max(0.001, self.left[0])):
                return super().apply(sql)
        except TooLong:
            raise Invalid(
                f"The pattern “{self.find[:100]}” takes too long on the SQL of these assets.",
                code="pattern_too_slow",
                remedy="Write it without repetitions inside of repetitions, then plan again.",
            ) from None
        finally:
            self.left[0] -= time.thread_time() - began


class TooLong(Exception):
    """Raised out of what `cpu_limit` surrounds."""


@contextmanager
def cpu_limit(seconds: float) -> Iterator[None]:
    """Ends what is inside with TooLong after so much computing by this process. Only where signals arrive, that is
    in a main thread, as that of a worker; elsewhere the job's own time limit has to do.

    The virtual timer, because the queue uses the real one for its time limit. `re` looks for signals while it matches.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: object) -> None:
        raise TooLong

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def asset_mapping(
    source: Environment | None,
    target: Environment,
    target_documents: Documents,
    copy: Copy | None = None,
    members: Documents | None = None,
) -> AssetMapping:
    """The engine's mapping for a pair; source None: for files of nobody knows where. Entries whose connection the
    target no longer has are left out: they count as unmapped.

    copy, members: a copy of these documents of the source. Raises NotReady("connection_missing") where it names a
    connection that the target does not have.
    """
    pair = PairMapping.objects.between(source, target)
    entries: Mapping[str, Mapping[str, Any]] = pair.databases
    if copy is not None:
        same = source is not None and source.pk == target.pk
        entries, missing = database_entries(
            entries, members or {}, target_documents, copy, is_same_environment=same
        )
        if missing:
            names = ", ".join(f"“{name}”" for name in missing[:5])
            raise NotReady(
                f"{target.name} has no connection {names}, which the copy “{copy.key}” is to use.",
                code="connection_missing",
                remedy="Mend the name in the table of copies, or make the connection in Superset.",
            )
    there = {uuid for uuid, document in target_documents.items() if document.kind == Kind.DATABASE}
    databases = {
        uuid: database_target(entry["target"], entry, target_documents)
        for uuid, entry in entries.items()
        if entry["target"] in there
    }
    pairs = pairs_between(source, target) if source is not None else {}
    left = [PATTERN_SECONDS]

    def made(find: str, replace: str, is_pattern: bool) -> Substitution:
        return LimitedSubstitution(find, replace, True, left) if is_pattern else Substitution(find, replace)

    mapping = AssetMapping(
        databases,
        tuple(made(row["find"], row["replace"], row["is_pattern"]) for row in pair.substitutions),
        {key: value for key, value in pairs.items() if value in target_documents},
        pair.renames,
    )
    return mapping if copy is None else copy_mapping(mapping, members or {}, copy, made)


def identity_mapping(documents: Documents) -> AssetMapping:
    """Nothing is mapped: the documents are in the target's terms already. Every connection stands for itself."""
    used = {
        str(item.body["database_uuid"])
        for item in documents.values()
        if item.kind == Kind.DATASET and item.body.get("database_uuid")
    }
    return AssetMapping(databases={uuid: DatabaseTarget(uuid) for uuid in used})


def database_target(uuid: str, entry: Mapping[str, Any], target_documents: Documents) -> DatabaseTarget:
    database = target_documents[uuid]
    has_catalogs = backend_of(database) in CATALOG_BACKENDS
    return DatabaseTarget(
        uuid=uuid,
        has_catalogs=has_catalogs,
        default_catalog=default_catalog(database, target_documents.values()) if has_catalogs else None,
        catalogs={key or None: value or None for key, value in entry.get("catalogs", {}).items()},
        schemas={key or None: value or None for key, value in entry.get("schemas", {}).items()},
    )


def backend_of(database: Document) -> str:
    """ "postgresql" out of "postgresql+psycopg2://…"."""
    return str(database.body.get("sqlalchemy_uri") or "").partition("://")[0].partition("+")[0].lower()


def default_catalog(database: Document, documents: Iterable[Document]) -> str | None:
    """The catalog that datasets of a connection carry: what most of its own carry, else what its URI says, else None.

    None is safe for data (the connection's default is read), and leaves permission names without a catalog.
    """
    carried = Counter(
        str(document.body["catalog"])
        for document in documents
        if document.kind == Kind.DATASET
        and document.body.get("database_uuid") == database.uuid
        and document.body.get("catalog")
    )
    backend = backend_of(database)
    named = unquote(urlsplit(str(database.body.get("sqlalchemy_uri") or "")).path.lstrip("/").split("/")[0])
    if backend in _URI_CATALOG_BACKENDS and named:
        # The connection cannot read another one on PostgreSQL, whatever its datasets say (that is the
        # fault of superset-api 9.4).
        return named
    if backend == "bigquery":
        return urlsplit(str(database.body["sqlalchemy_uri"])).hostname or None
    return carried.most_common(1)[0][0] if carried else None


def mapping_to_json(mapping: AssetMapping) -> dict[str, Any]:
    """What a plan keeps of the mapping it was made with."""
    return {
        "databases": {
            uuid: {
                "target": target.uuid,
                "default_catalog": target.default_catalog,
                "has_catalogs": target.has_catalogs,
                "catalogs": {key or "": value or "" for key, value in target.catalogs.items()},
                "schemas": {key or "": value or "" for key, value in target.schemas.items()},
            }
            for uuid, target in mapping.databases.items()
        },
        "substitutions": [
            {"find": item.find, "replace": item.replace, "is_pattern": item.is_pattern}
            for item in mapping.substitutions
        ],
        "pairs": dict(mapping.pairs),
        "renames": {uuid: dict(fields) for uuid, fields in mapping.renames.items()},
    }
