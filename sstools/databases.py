"""DATABASES from one address. SQLite is tuned for several processes, PostgreSQL for threads that keep connections."""

import fcntl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from .env import SettingError

# WAL lets readers go on beside the one writer; IMMEDIATE takes the write lock at the start of a transaction, so that a
# read-then-write transaction waits instead of failing at once with "database is locked".
SQLITE_INIT = (
    "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA busy_timeout=20000; PRAGMA cache_size=-20000; "
    "PRAGMA temp_store=MEMORY; PRAGMA mmap_size=134217728; PRAGMA journal_size_limit=27103364;"
)

# A server that vanished without a word (network, power) is noticed within a minute instead of two hours.
POSTGRES_OPTIONS: dict[str, Any] = {
    "connect_timeout": 10,
    "keepalives_idle": 20,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 45_000,  # ms
}
START_LOCK = 0x55700150  # any number that no other program on this database locks


def sqlite(path: Path | str) -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(path),
        "CONN_MAX_AGE": 60,  # the queue closes old connections before each of its operations
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20, "init_command": SQLITE_INIT},
    }


def postgresql(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    options: dict[str, Any] = dict(parse_qsl(parts.query))
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": options.pop("host", unquote(parts.hostname or "")),  # ?host=/run/postgresql for a socket
        "PORT": str(parts.port or options.pop("port", "")),
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {**POSTGRES_OPTIONS, **options},
    }


def from_url(url: str, *, setting: str = "SSTOOLS_DATABASE_URL") -> dict[str, Any]:
    """Django's settings for `postgresql://user:password@host:port/name?sslmode=…` or `sqlite:////absolute/path`.

    Raises SettingError naming `setting`; the address, which may hold a password, is not repeated.
    """
    try:
        parts = urlsplit(url)
        if parts.scheme in ("postgresql", "postgres") and parts.path.strip("/"):
            return postgresql(url)
        if parts.scheme == "sqlite" and not parts.netloc and parts.path.strip("/"):
            return sqlite(unquote(parts.path[1:] if parts.path.startswith("//") else parts.path))
    except ValueError:  # a port that is no number, an unclosed bracket
        pass
    raise SettingError(
        f"{setting} must look like postgresql://user:password@host:5432/name or sqlite:////path/file."
    )


@contextmanager
def alone_at_start() -> Iterator[None]:
    """One start at a time brings the database up to date and collects files: of those that share a data folder, and
    of those that share a PostgreSQL. The others wait, and find it done.

    Raises OSError for a data folder that cannot be written, where something would be written there.
    """
    from django.conf import settings
    from django.db import connection

    with ExitStack() as stack:
        is_postgres = connection.vendor == "postgresql"
        with suppress(OSError) if is_postgres and settings.STATIC_DIR else nullcontext():
            file = stack.enter_context((Path(settings.DATA_DIR) / "start.lock").open("w"))
            fcntl.flock(file, fcntl.LOCK_EX)
        if is_postgres:
            stack.callback(connection.close)  # and with it the lock, whatever state the session is in
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_lock(%s)", [START_LOCK])
        yield
