"""The words of assets, where the database finds them fast: PostgreSQL's full text, or FTS5 of SQLite.

Both get words that were taken apart and folded here (words.py), so neither's own idea of a language counts, and both
find the same.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from django.db import connection

from .contents import Rank
from .words import BETWEEN, Term

# PostgreSQL keeps no more of a word, and no position beyond: what stands later is found, only not side by side.
MOST_POSITIONS, LAST_POSITION = 100, 16_383
COLUMNS = ("titles", "names", "texts")  # by Rank


@dataclass(frozen=True)
class Words:
    """Those of one asset: what each rank adds."""

    asset: int
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
        for column, wanted in (("environment_id", self.environments), ("kind", self.kinds)):
            if wanted is not None:
                marks = ", ".join(["%s"] * len(wanted)) or "NULL"
                sql += f" AND entry.{column} IN ({marks})"
                values += wanted
        return sql, values


Row = tuple[int, str, str, str]  # asset, kind, uuid, title_key


class Engine(Protocol):
    def write(self, words: Sequence[Words]) -> None:
        """Keep the words of assets that have an Entry, instead of those that were kept."""

    def with_words(self, terms: Sequence[Term], rank: Rank, scope: Scope, limit: int) -> list[Row]:
        """Assets with all of `terms` in texts of this rank or a better one: some `limit` of them."""

    def with_title(self, start: str, scope: Scope, limit: int) -> list[Row]:
        """Assets whose title, folded, begins like this, by title."""


_SELECT = "SELECT entry.asset_id, entry.kind, entry.uuid, entry.title_key FROM"


def _rows(sql: str, values: Sequence[Any]) -> list[Row]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return list(cursor.fetchall())


class Postgres:
    def write(self, words: Sequence[Words]) -> None:
        columns = ", ".join(f"{column} = %s::tsvector" for column in COLUMNS)
        sql = f"UPDATE search_entry SET {columns} WHERE asset_id = %s"  # noqa: S608  names of our own
        rows = []
        for one in words:
            names = [*one.titles, *one.names]
            vectors = (_vector(one.titles), _vector(names), _vector([*names, *one.texts]))
            rows.append((*vectors, one.asset))
        with connection.cursor() as cursor:
            cursor.executemany(sql, rows)

    def with_words(self, terms: Sequence[Term], rank: Rank, scope: Scope, limit: int) -> list[Row]:
        query = " & ".join(f"({_phrase(term)})" for term in terms)
        where, values = scope.where()
        sql = f"{_SELECT} search_entry entry WHERE entry.{COLUMNS[rank]} @@ %s::tsquery{where} LIMIT %s"
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
    words = [f"'{word}'" for word in term.words]
    return " <-> ".join(words) + (":*" if term.is_prefix else "")


class Sqlite:
    def write(self, words: Sequence[Words]) -> None:
        rows = [(one.asset, " ".join(one.titles), " ".join(one.names), " ".join(one.texts)) for one in words]
        with connection.cursor() as cursor:
            cursor.executemany("DELETE FROM search_words WHERE rowid = %s", [(one.asset,) for one in words])
            cursor.executemany(
                "INSERT INTO search_words (rowid, titles, names, texts) VALUES (%s, %s, %s, %s)", rows
            )

    def with_words(self, terms: Sequence[Term], rank: Rank, scope: Scope, limit: int) -> list[Row]:
        quoted = " AND ".join(f'"{" ".join(term.words)}"{" *" if term.is_prefix else ""}' for term in terms)
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


def engine() -> Engine:
    return Postgres() if connection.vendor == "postgresql" else Sqlite()
