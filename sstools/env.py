"""Settings from environment variables, and nothing else.

A missing or malformed value ends the program with one line that names the variable: somebody who starts a container
reads that line, not a traceback. The value itself is never printed, it may be a secret.
"""

import os
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import unquote, urlsplit

T = TypeVar("T")


class _Required:
    """Marks a setting without a default."""


REQUIRED: Final = _Required()
TRUE: Final = frozenset({"1", "true", "yes", "on"})
FALSE: Final = frozenset({"0", "false", "no", "off"})


class SettingError(SystemExit):
    """A setting that ss-tools cannot start with. As a `SystemExit` it prints its one line and ends with status 1."""


def env_str(name: str, default: str | _Required = REQUIRED, *, choices: tuple[str, ...] = ()) -> str:
    """The variable's text, stripped. Empty counts as not set, as compose files and unit files pass empty values.

    Raises SettingError when it is required and absent, or is none of `choices`.
    """
    value = os.environ.get(name, "").strip()
    if not value:
        return _fallback(name, default)
    if choices and value not in choices:
        raise SettingError(f"{name} must be one of: {', '.join(choices)}.")
    return value


def env_bool(name: str, default: bool | _Required = REQUIRED) -> bool:
    """true/false, yes/no, on/off, 1/0 in any case. Raises SettingError for anything else."""
    value = os.environ.get(name, "").strip().lower()
    if not value:
        return _fallback(name, default)
    if value in TRUE:
        return True
    if value in FALSE:
        return False
    raise SettingError(f"{name} must be true or false.")


def env_int(name: str, default: int | _Required = REQUIRED, *, at_least: int = 0) -> int:
    """A whole number, not below `at_least`. Raises SettingError for anything else."""
    value = os.environ.get(name, "").strip()
    if not value:
        return _fallback(name, default)
    try:
        number = int(value)
    except ValueError:
        raise SettingError(f"{name} must be a whole number.") from None
    if number < at_least:
        raise SettingError(f"{name} must be {at_least} or more.")
    return number


def env_list(name: str, default: list[str] | _Required = REQUIRED) -> list[str]:
    """Comma-separated values, stripped, empty ones dropped."""
    value = os.environ.get(name, "")
    items = [item.strip() for item in value.split(",") if item.strip()]
    return items or list(_fallback(name, default))


def env_secret(name: str, default: str | _Required = REQUIRED) -> str:
    """A secret from the variable NAME, or from the file that NAME_FILE points to (Docker and Kubernetes secrets).

    Raises SettingError when both are set, when the file cannot be read or is empty, or when it is required and absent.
    """
    value, path = os.environ.get(name, "").strip(), os.environ.get(f"{name}_FILE", "").strip()
    if value and path:
        raise SettingError(f"Set {name} or {name}_FILE, not both.")
    if path:
        try:
            value = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else "not a text file"
            raise SettingError(f"{name}_FILE cannot be read: {reason}.") from None
        if not value:
            raise SettingError(f"{name}_FILE points to an empty file.")
    return value or _fallback(name, default)


def env_mail_server(name: str) -> dict[str, Any]:
    """A mail server's address as host, port, user, password, starttls, tls; nothing if it is not set.

    smtp:// uses STARTTLS, smtps:// TLS from the start, smtp+plain:// neither. Raises SettingError.
    """
    value = env_secret(name, "")
    if not value:
        return {}
    try:
        url = urlsplit(value)
        port = url.port
    except ValueError:
        raise SettingError(f"{name} must be smtp://user:password@host:port.") from None
    ports = {"smtp": 587, "smtps": 465, "smtp+plain": 25}
    if url.scheme not in ports or not url.hostname:
        raise SettingError(f"{name} must begin with smtp://, smtps:// or smtp+plain:// and name a host.")
    return {
        "host": url.hostname,
        "port": port or ports[url.scheme],
        "user": unquote(url.username or ""),
        "password": unquote(url.password or ""),
        "starttls": url.scheme == "smtp",
        "tls": url.scheme == "smtps",
    }


def _fallback(name: str, default: T | _Required) -> T:
    if isinstance(default, _Required):
        raise SettingError(f"{name} must be set.")
    return default
