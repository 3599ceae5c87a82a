"""One Superset: its configuration file, its start, its end."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from environments.lab.errors import LabError
from environments.lab.install import Installed
from environments.lab.processes import Process, inherited_environment, spawn

_READY_SECONDS = 180  # 10 s alone on two cores, several times that when everything starts at once
_HEADER = "# Written by environments.lab for every start; changes are lost.\n"


@dataclass(frozen=True)
class InstanceSpec:
    """What instance is wanted.

    `contents` names the template: "empty" (no connection at all), "prod" (the connection Warehouse PROD, nothing
    else) or "examples" (the nine example dashboards over the connection `examples`). Created assets get ids above
    `id_offset`, so that the ids of two instances do not overlap. `settings` are further lines of
    superset_config.py; their values must be plain (JSON). `own_warehouse`: a copy of the example data for this
    instance alone, to be changed at will; else all instances of a lab with the same contents read the same file.
    """

    name: str
    version: str
    contents: str = "empty"
    port: int = 0  # 0: a free one
    username: str = "admin"
    password: str = "admin"
    id_offset: int = 0
    own_warehouse: bool = False
    feature_flags: Mapping[str, bool] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RunningSuperset:
    """An instance that answers: all that somebody who uses it needs to know."""

    name: str
    version: str
    contents: str
    url: str
    username: str
    password: str
    metadata_url: str  # SQLAlchemy URL of its metadata database, owner's account
    warehouse: str  # the SQLite file behind its connection, "" if it has none
    log: str
    pid: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunningSuperset:
        return cls(**values)


def render_config(
    *,
    secret_key: str,
    metadata_url: str,
    feature_flags: Mapping[str, bool],
    settings: Mapping[str, Any],
    examples_url: str = "",
) -> str:
    """superset_config.py as text. Raises LabError for a value or name that does not belong there."""
    lines: dict[str, Any] = {
        "SECRET_KEY": secret_key,
        "SQLALCHEMY_DATABASE_URI": metadata_url,
        # pre-ping: a test may have replaced the database under a running instance. No pool limit to run into.
        "SQLALCHEMY_ENGINE_OPTIONS": {"pool_pre_ping": True, "pool_size": 10, "max_overflow": 20},
        "TALISMAN_ENABLED": False,  # it would redirect to https
        "CONTENT_SECURITY_POLICY_WARNING": False,
        "PREVENT_UNSAFE_DB_CONNECTIONS": False,  # the example warehouse is a SQLite file
        "FAB_ADD_SECURITY_API": True,
        "WTF_CSRF_ENABLED": True,
        "SQLLAB_TIMEOUT": 30,
        "FEATURE_FLAGS": dict(feature_flags),
    }
    if examples_url:
        lines["SQLALCHEMY_EXAMPLES_URI"] = examples_url
    for name, value in settings.items():
        if not name.isidentifier() or not name.isupper():
            raise LabError(f"{name!r} is no name of a Superset setting.")
        lines[name] = value
    for name, value in lines.items():
        try:
            json.dumps(value)
        except TypeError:
            raise LabError(
                f"The setting {name} must be made of plain values, not {type(value).__name__}."
            ) from None
    return _HEADER + "".join(f"{name} = {value!r}\n" for name, value in lines.items())


def password_hash(password: str) -> str:
    """As Werkzeug stores it (werkzeug/security.py, read at 3.1.3: scrypt with its default cost)."""
    salt = secrets.token_hex(8)
    digest = hashlib.scrypt(password.encode(), salt=salt.encode(), n=2**15, r=8, p=1, maxmem=2**26)
    return f"scrypt:32768:8:1${salt}${digest.hex()}"


def superset_environment(home: Path, config: Path) -> dict[str, str]:
    return inherited_environment(
        SUPERSET_CONFIG_PATH=str(config),
        SUPERSET_HOME=str(home),
        FLASK_APP="superset.app:create_app()",
        HOME=str(home),
        PYTHONUNBUFFERED="1",
        TZ="UTC",
    )


def start_gunicorn(installed: Installed, home: Path, config: Path, port: int, name: str) -> Process:
    """Starts the web server of one Superset; it answers some 10 s later, see `wait_ready`."""
    # Threads, timeouts and no limit on request lines: as Superset's own image starts it (docker/run-server.sh).
    command = [str(installed.gunicorn), "--workers", "1", "--threads", "8", "--worker-class", "gthread"]
    command += ["--timeout", "300", "--graceful-timeout", "3", "--limit-request-line", "0"]
    # Heartbeat file in memory: a slow disk must not get the worker killed.
    command += ["--worker-tmp-dir", "/dev/shm"] if Path("/dev/shm").is_dir() else []
    command += ["--bind", f"127.0.0.1:{port}", "superset.app:create_app()"]
    env = superset_environment(home, config)
    return spawn(f"Superset {name}", command, log=home / "superset.log", cwd=home, env=env)


def wait_ready(process: Process, url: str) -> None:
    """Returns when Superset answers; raises LabError with the end of its log if it ends or takes too long."""
    deadline = time.monotonic() + _READY_SECONDS
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < deadline:
        if not process.is_running:
            raise LabError(f"{process.name} ended while starting:\n{process.last_words()}")
        try:
            with opener.open(f"{url}/health", timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise LabError(f"{process.name} did not answer within {_READY_SECONDS} s:\n{process.last_words()}")
