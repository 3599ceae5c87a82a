"""The metadata database of a Superset, seen from below: kept, restored within milliseconds, compared row by row.

What was kept is in a schema of its own beside Superset's. Restoring replaces the rows of those tables that are not as
they were; Superset goes on running.
"""

from __future__ import annotations

import hashlib
import re
import time
from typing import Any

import psycopg
from psycopg import sql

#: Rows that are there for other reasons than what an environment holds.
UNIMPORTANT = {"ab_user", "cache_keys", "key_value"}  # ab_user: when somebody signed in last
#: Where assets and connections are.
ASSETS = (
    "dashboards",
    "slices",
    "tables",
    "table_columns",
    "sql_metrics",
    "dbs",
    "dashboard_slices",
)
_VOLATILE = {
    "changed_on",
    "created_on",
    "last_saved_at",
    "changed_by_fk",
    "created_by_fk",
    "last_saved_by_fk",
}


class Ground:
    def __init__(self, metadata_url: str) -> None:
        self._connection = psycopg.connect(
            re.sub(r"^postgresql\+\w+", "postgresql", metadata_url), autocommit=True
        )
        self._connection.execute("set lock_timeout = '5s'")
        self._connection.execute("set session_replication_role = replica")  # no foreign keys in our way
        self._tables = self._names("public")

    def close(self) -> None:
        self._connection.close()

    def _names(self, schema: str) -> list[str]:
        rows = self._connection.execute(
            "select tablename from pg_tables where schemaname = %s order by 1", [schema]
        )
        return [name for (name,) in rows if name != "logs"]

    def keep(self, label: str) -> None:
        """What is there now, to be restored by that name."""
        schema = sql.Identifier(f"kept_{label}")
        with self._connection.transaction():
            self._run("drop schema if exists {0} cascade", schema)
            self._run("create schema {0}", schema)
            for table in self._tables:
                self._run("create table {0}.{1} as table public.{1}", schema, sql.Identifier(table))
            self._run(
                "create table {0}.kept_sequences as select sequencename, last_value from pg_sequences"
                " where schemaname = 'public'",
                schema,
            )

    def changed(self, label: str) -> list[str]:
        """Tables that hold other rows than were kept."""
        return [name for name in self._tables if name not in UNIMPORTANT and self._differs(label, name)]

    def _differs(self, label: str, table: str) -> bool:
        schema, name = sql.Identifier(f"kept_{label}"), sql.Identifier(table)
        row = self._run(
            "select exists ((select t::text from public.{1} t except all select t::text from {0}.{1} t)"
            " union all (select t::text from {0}.{1} t except all select t::text from public.{1} t))",
            schema,
            name,
        ).fetchone()
        assert row is not None
        return bool(row[0])

    def restore(self, label: str) -> None:
        """Everything as kept. Superset must have no request under way."""
        schema = sql.Identifier(f"kept_{label}")
        deadline = time.monotonic() + 30
        while True:
            try:
                with self._connection.transaction():
                    for table in self._tables:
                        if self._differs(label, table):
                            name = sql.Identifier(table)
                            self._run("delete from public.{0}", name)
                            self._run("insert into public.{1} select * from {0}.{1}", schema, name)
                    self._run("truncate public.logs")
                    self._run(
                        "select setval(format('public.%I', sequencename)::regclass, last_value)"
                        " from {0}.kept_sequences where last_value is not null",
                        schema,
                    )
                return
            except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
                if time.monotonic() > deadline:
                    raise

    def digest(self) -> str:
        """Of all assets and connections with their ids, without times and who changed them."""
        content = hashlib.sha256()
        for table in ASSETS:
            for row in self.rows(table):
                content.update(repr(sorted((k, v) for k, v in row.items() if k not in _VOLATILE)).encode())
        return content.hexdigest()

    def rows(self, table: str, kept: str = "") -> list[dict[str, Any]]:
        """All rows of a table in a stable order: as they are, or as they were kept."""
        schema = sql.Identifier(f"kept_{kept}" if kept else "public")
        cursor = self._run(
            "select to_jsonb(t) from {0}.{1} t order by to_jsonb(t)::text", schema, sql.Identifier(table)
        )
        return [row[0] for row in cursor.fetchall()]

    def _run(self, query: str, *names: sql.Identifier) -> psycopg.Cursor[Any]:
        return self._connection.execute(sql.SQL(query).format(*names))
