"""The words of assets, where the database finds them fast: PostgreSQL's full text, or FTS5 of SQLite.

Both get words that were taken apart and folded here (words.py), so neither's own idea of a language counts, and both
find the same.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from django.db import connection, transaction

from .contents import Rank
from .models import Entry
from .words import BETWEEN, Term

# PostgreSQL keeps no more of a word, and no position beyond: what stands later is found, only not side by side.
MOST_POSITIONS, LAST_POSITION = 100, 16_383
COLUMNS = ("titles", "names", "texts")  # by Rank


ENTRY = ("asset_id", "environment_id", "kind", "uuid", "title_key", "document", "version")


@dataclass(frozen=True)
class Indexed:
    """An asset with its words: what each rank adds."""

    entry: Entry
    titles: Sequence[str]
    names: Sequence[str]
    texts: Sequence[str]


@dataclass(frozen=True)
class Scope:
    """Where to look: ids of environments and kinds, None for all."""

    environments: Sequence[int] | None = None
    kinds: Sequence[str] | None = None

    def where(self) -> tuple[str, list[Any]]:
        """(" AND …", parameters) for the table search_entry, called entry."""
        sql = ""
        values: list[Any] = []
        # "+ 0": words are what an index is for; through that of environments, every asset of one would be looked at.
        for column, wanted in (("environment_id + 0", self.environments), ("kind", self.kinds)):
            if wanted is not None:
                marks = ", ".join(["%s"] * len(wanted)) or "NULL"
                sql += f" AND entry.{column} IN ({marks})"
                values += wanted
        return sql, values


Row = tuple[int, str, str, str]  # asset, kind, uuid, title_key
Either = Sequence[Term]  # one of these is enough


class Engine(Protocol):
    def write(self, rows: Sequence[Indexed]) -> None:
        """Keep assets with their words, instead of what was kept of them."""

    def tidy(self) -> None:
        """After much was written: leave nothing to those who search."""

    def with_words(self, terms: Sequence[Either], rank: Rank, scope: Scope, limit: int) -> list[Row]:
        """Assets with all of `terms` in texts of this rank or a better one: some `limit` of them."""

    def with_title(self, start: str, scope: Scope, limit: int) -> list[Row]:
        """Assets whose title, folded, begins like this, by title."""


_SELECT = "SELECT entry.asset_id, entry.kind, entry.uuid, entry.title_key FROM"


def _rows(sql: str, values: Sequence[Any]) -> list[Row]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return list(cursor.fetchall())


class Postgres:
    def write(self, rows: Sequence[Indexed]) -> None:
        marks = ["%s"] * len(ENTRY) + ["%s::tsvector"] * len(COLUMNS)
        kept = ", ".join(f"{name} = EXCLUDED.{name}" for name in (*ENTRY[1:], *COLUMNS))
        sql = (
            f"INSERT INTO search_entry ({', '.join((*ENTRY, *COLUMNS))}) VALUES ({', '.join(marks)})"  # noqa: S608
            f" ON CONFLICT (asset_id) DO UPDATE SET {kept}"
        )
        values = []
        for row in rows:
            names = [*row.titles, *row.names]
            vectors = (_vector(row.titles), _vector(names), _vector([*names, *row.texts]))
            values.append((*(getattr(row.entry, name) for name in ENTRY), *vectors))
        with connection.cursor() as cursor:
            cursor.executemany(sql, values)

    def tidy(self) -> None:
        with (
            connection.cursor() as cursor
        ):  # what was written lately is in a list that each search goes through
            for column in COLUMNS:
                cursor.execute("SELECT gin_clean_pending_list(%s::regclass)", [f"search_entry_{column}"])

    def with_words(self, terms: Sequence[Either], rank: Rank, scope: Scope, limit: int) -> list[Row]:
        query = " & ".join(f"({' | '.join(f'({_phrase(term)})' for term in either)})" for either in terms)
        where, values = scope.where()
        sql = f"{_SELECT} search_entry entry WHERE entry.{COLUMNS[rank]} @@ %s::tsquery{where} LIMIT %s"
        with transaction.atomic(), connection.cursor() as cursor:
            # With a limit the planner hopes to meet enough rows soon, and unpacks the words of every row on its way.
            cursor.execute("SET LOCAL enable_seqscan = off")
            return _rows(sql, [query, *values, limit])

    def with_title(self, start: str, scope: Scope, limit: int) -> list[Row]:
        where, values = scope.where()
        pattern = start.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        sql = f"{_SELECT} search_entry entry WHERE entry.title_key LIKE %s{where} ORDER BY entry.title_key LIMIT %s"
        return _rows(sql, [pattern, *values, limit])


def _vector(words: Iterable[str]) -> str:
    """A tsvector as text: 'fact':2 'sales':1,7. Words are letters and digits, so nothing needs escaping."""
    places: dict[str, list[str]] = {}
    for position, word in enumerate(words, start=1):
        if word == BETWEEN:
            continue
        known = places.setdefault(word, [])
        if len(known) < MOST_POSITIONS and position <= LAST_POSITION:
            known.append(str(position))
    return " ".join(f"'{word}':{','.join(at)}" if at else f"'{word}'" for word, at in places.items())


def _phrase(term: Term) -> str:
    words = [f"'{word}'" for word in term.indexed]
    return " <-> ".join(words) + (":*" if term.is_prefix else "")


class Sqlite:
    def write(self, rows: Sequence[Indexed]) -> None:
        Entry.objects.bulk_create(
            [row.entry for row in rows],
            update_conflicts=True,
            unique_fields=["asset"],
            update_fields=["environment", "kind", "uuid", "title_key", "document", "version"],
        )
        values = [
            (row.entry.asset_id, " ".join(row.titles), " ".join(row.names), " ".join(row.texts))
            for row in rows
        ]
        with connection.cursor() as cursor:
            cursor.executemany("DELETE FROM search_words WHERE rowid = %s", [value[:1] for value in values])
            cursor.executemany(
                "INSERT INTO search_words (rowid, titles, names, texts) VALUES (%s, %s, %s, %s)", values
            )

    def tidy(self) -> None:
        """FTS5 merges what it has as it goes."""

    def with_words(self, terms: Sequence[Either], rank: Rank, scope: Scope, limit: int) -> list[Row]:
        quoted = " AND ".join(f"({' OR '.join(map(_quoted, either))})" for either in terms)
        query = f"{{{' '.join(COLUMNS[: rank + 1])}}} : ({quoted})"
        where, values = scope.where()
        # CROSS JOIN keeps the order: first the words, then the rows.
        sql = (
            f"{_SELECT} search_words CROSS JOIN search_entry entry ON entry.asset_id = search_words.rowid"
            f" WHERE search_words MATCH %s{where} LIMIT %s"
        )
        return _rows(sql, [query, *values, limit])

    def with_title(self, start: str, scope: Scope, limit: int) -> list[Row]:
        where, values = scope.where()
        sql = (
            f"{_SELECT} search_entry entry WHERE entry.title_key >= %s AND entry.title_key < %s{where}"
            " ORDER BY entry.title_key LIMIT %s"
        )
        return _rows(sql, [start, start + "\U0010ffff", *values, limit])


def _quoted(term: Term) -> str:
    return f'"{" ".join(term.indexed)}"{" *" if term.is_prefix else ""}'


def engine() -> Engine:
    return Postgres() if connection.vendor == "postgresql" else Sqlite()
