"""System checks: settings that are fine on one's own machine and not where others get to it (`check --deploy`).

Those of the queue are in `jobs/checks.py`.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register

from .web_server import split_bind

LOOPBACK = ("127.0.0.1", "::1", "localhost")
LOCAL_DATABASES = ("", *LOOPBACK)
NETWORK_FILE_SYSTEMS = (
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "afs",
    "glusterfs",
    "ceph",
    "9p",
    "fuse.sshfs",
)
SHORT_LEASE_SECONDS = 10


@register()
def always(app_configs: Any, **kwargs: Any) -> Sequence[CheckMessage]:
    found: list[CheckMessage] = []
    if settings.DEBUG and _is_open():
        found.append(
            Error(
                "SSTOOLS_DEBUG is on, and others can reach this address.",
                hint="Debug pages show settings and code to everybody. Turn it off, or set SSTOOLS_BIND to 127.0.0.1.",
                id="sstools.E001",
            )
        )
    if (system := _network_file_system()) is not None:
        found.append(
            Error(
                f"The SQLite file is on a network file system ({system}).",
                hint="SQLite's log and locks do not work there: data would be lost. Use a local disk, or PostgreSQL.",
                id="sstools.E002",
            )
        )
    return found


@register(Tags.security, deploy=True)
def where_others_get_to_it(app_configs: Any, **kwargs: Any) -> Sequence[CheckMessage]:
    found: list[CheckMessage] = []

    def warn(number: int, text: str, hint: str) -> None:
        found.append(Warning(text, hint=hint, id=f"sstools.W{number:03}"))

    if not settings.HTTPS:
        warn(
            1,
            "ss-tools takes passwords without TLS.",
            "Put a proxy with TLS in front of it and set SSTOOLS_HTTPS=true: secure cookies, redirect and HSTS.",
        )
    if "*" in settings.ALLOWED_HOSTS:
        warn(2, "SSTOOLS_ALLOWED_HOSTS allows any name.", "Name the hosts that people type.")
    if settings.TRUST_PROXY and _is_open():
        warn(
            3,
            "SSTOOLS_TRUST_PROXY believes whoever reaches this address.",
            "Let only the proxy reach it: SSTOOLS_BIND=127.0.0.1:8140, a private network, a firewall.",
        )
    database = _database()
    is_postgres = database["ENGINE"].endswith("postgresql")
    host = database.get("HOST", "")
    secure = database.get("OPTIONS", {}).get("sslmode", "prefer") in ("require", "verify-ca", "verify-full")
    if is_postgres and not secure and host not in LOCAL_DATABASES and not host.startswith("/"):
        warn(
            4,
            "The connection to ss-tools' own database may be without TLS.",
            "Add ?sslmode=verify-full to SSTOOLS_DATABASE_URL, or see that the network between the two is private.",
        )
    for name in ("secret_key", "field_keys"):
        path = Path(settings.DATA_DIR) / name
        if path.exists() and path.stat().st_mode & 0o077:
            warn(5, f"Others on this machine can read {path}.", f"chmod 600 {path}")
    if settings.JOB_LEASE_SECONDS < SHORT_LEASE_SECONDS:
        warn(
            6,
            f"SSTOOLS_JOB_LEASE_SECONDS is below {SHORT_LEASE_SECONDS}.",
            "A hiccup of the database would take running jobs from their workers. 30 is the default.",
        )
    return found


def _is_open() -> bool:
    """Whether other machines get to the address that ss-tools listens on."""
    try:
        return split_bind(settings.BIND)[0] not in LOOPBACK
    except ValueError:
        return False  # `up` says what is wrong with it


def _database() -> dict[str, Any]:
    return dict(settings.DATABASES["default"])


def _network_file_system() -> str | None:
    database = _database()
    if not database["ENGINE"].endswith("sqlite3"):
        return None
    folder = os.path.realpath(Path(str(database["NAME"])).parent)
    mounts = [
        part
        for part in psutil.disk_partitions(all=True)
        if folder == part.mountpoint or folder.startswith(part.mountpoint.rstrip("/") + "/")
    ]
    if not mounts:
        return None
    kind = max(mounts, key=lambda part: len(part.mountpoint)).fstype
    return kind if kind in NETWORK_FILE_SYSTEMS else None
