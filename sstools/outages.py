"""When ss-tools' own database cannot be used: told apart from bugs, and said to people.

An outage is nobody's mistake and passes: pages answer 503, a job waits for the end of it as long as its lease allows.
"""

import sqlite3

from django.db import DatabaseError, InterfaceError

from .errors import Unavailable, translates

NOTHING_WRITTEN = "Nothing was written to any Superset."


class OwnDatabaseOutage(Unavailable):
    """ss-tools' own database cannot be used at the moment.

    `what` is that alone: whoever asks for something (a page, a plan) may add that no Superset was written to, which a
    job in the middle of its work may not.
    """

    code = "own_database_unreachable"
    what = "ss-tools' own database cannot be reached."
    message = f"{what} {NOTHING_WRITTEN}"
    remedy = (
        "Try again in a moment. If it stays, look at the database server and at its address in "
        "SSTOOLS_DATABASE_URL. Jobs go on by themselves when it is back."
    )


class OwnDatabaseFull(OwnDatabaseOutage):
    code = "own_database_full"
    what = "The disk of ss-tools is full: its own database takes nothing more."
    message = f"{what} {NOTHING_WRITTEN}"
    remedy = "Make room on the disk that holds the database of ss-tools. Jobs go on by themselves then."


class OwnDatabaseReadOnly(OwnDatabaseOutage):
    code = "own_database_read_only"
    what = "ss-tools' own database can be read, and not written."
    message = f"{what} {NOTHING_WRITTEN}"
    remedy = (
        "With SQLite: the file and its folder must belong to the account that ss-tools runs as. With "
        "PostgreSQL: the address may be that of a standby."
    )


class OwnDatabaseBusy(OwnDatabaseOutage):
    code = "own_database_busy"
    what = "ss-tools' own database was locked for too long."
    message = f"{what} {NOTHING_WRITTEN}"
    remedy = "Try again. If it stays, another program holds the database: a backup, a shell, a long report."


class OwnDatabaseDiskFails(OwnDatabaseOutage):
    code = "own_database_disk_fails"
    what = "The disk that holds ss-tools' own database fails, or gives no more room."
    message = f"{what} {NOTHING_WRITTEN}"
    remedy = "Look at the disk, its quota and the system's log. Jobs go on by themselves when it works again."


class OwnDatabaseDamaged(OwnDatabaseOutage):
    code = "own_database_damaged"
    what = "ss-tools' own database is damaged: what was read from it is not a database."
    message = f"{what} {NOTHING_WRITTEN}"
    remedy = "Stop ss-tools and restore its database from a backup."


# https://www.sqlite.org/rescode.html
_SQLITE: dict[int, type[OwnDatabaseOutage]] = {
    sqlite3.SQLITE_BUSY: OwnDatabaseBusy,
    sqlite3.SQLITE_LOCKED: OwnDatabaseBusy,
    sqlite3.SQLITE_READONLY: OwnDatabaseReadOnly,
    sqlite3.SQLITE_IOERR: OwnDatabaseDiskFails,
    sqlite3.SQLITE_CANTOPEN: OwnDatabaseOutage,
    sqlite3.SQLITE_FULL: OwnDatabaseFull,
    sqlite3.SQLITE_CORRUPT: OwnDatabaseDamaged,
    sqlite3.SQLITE_NOTADB: OwnDatabaseDamaged,
}
# https://www.postgresql.org/docs/16/errcodes-appendix.html: whole states, then classes.
_POSTGRES: dict[str, type[OwnDatabaseOutage]] = {
    "25006": OwnDatabaseReadOnly,  # read_only_sql_transaction
    "53100": OwnDatabaseFull,  # disk_full
    "53": OwnDatabaseOutage,  # out of memory, too many connections
    "55P03": OwnDatabaseBusy,  # lock_not_available
    "57P": OwnDatabaseOutage,  # shut down, starting up, crashed
    "08": OwnDatabaseOutage,  # connections
    "58": OwnDatabaseDiskFails,  # errors of its operating system
    "XX001": OwnDatabaseDamaged,
    "XX002": OwnDatabaseDamaged,
}
# Django's and psycopg's own words for a connection that went away earlier; they carry no state.
_GONE = ("connection is closed", "connection already closed", "Cannot open a new connection", "is lost")


def outage(exc: BaseException) -> OwnDatabaseOutage | None:
    """The outage that `exc` tells of, or None: another error of the database is a bug, or a rule of the data."""
    if isinstance(exc, OwnDatabaseOutage):
        return exc
    if not isinstance(exc, DatabaseError | InterfaceError):
        return None
    driver = exc.__cause__
    if isinstance(driver, sqlite3.Error):
        kind = _SQLITE.get((getattr(driver, "sqlite_errorcode", None) or 0) & 0xFF)
        return kind() if kind else None
    state = getattr(driver, "sqlstate", None)
    if state:
        found = next((kind for prefix, kind in _POSTGRES.items() if state.startswith(prefix)), None)
        return found() if found else None
    words = str(exc)
    no_answer = (
        type(exc).__name__ == "OperationalError" and driver is not None
    )  # libpq: no server to give a state
    return OwnDatabaseOutage() if no_answer or any(text in words for text in _GONE) else None


def is_outage(exc: BaseException) -> bool:
    return outage(exc) is not None


translates(DatabaseError)(outage)
translates(InterfaceError)(outage)
