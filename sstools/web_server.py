"""Small questions around serving: is the address free, are the static files collected."""

import errno
import hashlib
import socket
from collections.abc import Callable
from pathlib import Path

import django
from django.conf import settings
from django.contrib.staticfiles.finders import get_finders

STAMP = ".stamp"


def split_bind(bind: str) -> tuple[str, int]:
    """("127.0.0.1", 8140) of "127.0.0.1:8140" or "[::1]:8140". Raises ValueError."""
    host, _, port = bind.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"{bind} is not an address like 127.0.0.1:8140")
    return host.strip("[]"), int(port)


def bind_problem(bind: str) -> str:
    """Why nothing can listen on `bind`, for people; "" if it can."""
    try:
        host, port = split_bind(bind)
    except ValueError as exc:
        return f"{exc}. Set SSTOOLS_BIND or --bind."
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as exc:
        reason = (
            "is taken by another program"
            if exc.errno == errno.EADDRINUSE
            else f"cannot be used: {exc.strerror}"
        )
        return f"{bind} {reason}. Choose another address with SSTOOLS_BIND or --bind."
    return ""


def url_of(bind: str) -> str:
    """Where a person on this machine opens it."""
    host, port = split_bind(bind)
    shown = "localhost" if host in ("0.0.0.0", "::", "127.0.0.1", "::1") else host  # noqa: S104
    return f"http://{shown}:{port}/"


def collect_static(collect: Callable[[], object]) -> bool:
    """Call `collect` unless the collected static files are those of the installed packages. True if it was called.

    Collecting compresses some two hundred files, which is most of a start.
    """
    root = Path(settings.STATIC_ROOT)
    digest = hashlib.sha256(django.__version__.encode())
    for finder in get_finders():
        for name, storage in finder.list([]):
            path = Path(storage.path(name))
            info = path.stat()
            digest.update(f"{path}\0{info.st_size}\0{info.st_mtime_ns}\n".encode())
    stamp, value = root / STAMP, digest.hexdigest()
    if stamp.exists() and stamp.read_text() == value and (root / "staticfiles.json").exists():
        return False
    collect()
    root.mkdir(parents=True, exist_ok=True)
    stamp.write_text(value)
    return True
