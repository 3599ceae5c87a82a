"""DATABASES from one address. SQLite is tuned for several processes, PostgreSQL for threads that keep connections."""

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
