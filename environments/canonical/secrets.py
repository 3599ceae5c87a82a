"""Secrets in files that people keep: where they are, and the same data without them.

An export of Superset masks passwords; people write them into trees by hand, and database and assets exports of 6.1 hold
`encrypted_extra` in clear text where the engine names no secret part of it (superset-api.md 7.4).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from .datasets import MASK, masked
from .documents import Kind

#: Of connections these hold nothing but secrets, or mostly.
_SECRET_FIELDS = ("password", "encrypted_extra", "masked_encrypted_extra", "ssh_tunnel")
#: A tunnel's address and user are no secrets.
_OF_TUNNEL = frozenset({"password", "private_key", "private_key_password"})
# Elsewhere many fields are called key or token without being one: only names that can mean nothing else.
_NAME = re.compile(
    r"(?:^|[_\-. ])(?:password|passwd|pwd|secret|(?:access|auth|api|bearer|refresh)[_-]?token|token"
    r"|(?:api|access|private|secret)[_-]?key|credentials?)$",
    re.IGNORECASE,
)
_IN_ADDRESS = re.compile(r"(://[^\s/@:]+:)([^\s/@]+)(@[^\s/@])")
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")
_TEMPLATE = re.compile(r"\s*\{\{[^{}]*\}\}\s*")

Keys = tuple[str | int, ...]


def find_secrets(kind: str, data: Mapping[str, Any]) -> list[Keys]:
    """The keys that lead to each text in clear that looks like a secret: ("extra", "engine_params", "password").

    Masks of Superset and templates that stand for a value are none.
    """
    return [keys for keys, value, clean in _walk(kind, data, ()) if value != clean]


def without_secrets(kind: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """The data with a mask in place of each of them."""
    found = _rebuilt(kind, data, ())
    assert isinstance(found, dict)
    return found


def _walk(kind: str, value: Any, keys: Keys) -> Iterator[tuple[Keys, Any, Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _walk(kind, item, (*keys, str(key)))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _walk(kind, item, (*keys, index))
    else:
        yield keys, value, _clean(kind, value, keys)


def _rebuilt(kind: str, value: Any, keys: Keys) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _rebuilt(kind, item, (*keys, str(key))) for key, item in value.items()}
    if isinstance(value, list):
        return [_rebuilt(kind, item, (*keys, index)) for index, item in enumerate(value)]
    return _clean(kind, value, keys)


def _clean(kind: str, value: Any, keys: Keys) -> Any:
    """One value without what is secret of it."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        # `password: 20241123` is a password as well; a port or a limit has a name of its own
        return (
            MASK if _NAME.search(next((key for key in reversed(keys) if isinstance(key, str)), "")) else value
        )
    if (
        not isinstance(value, str)
        or not value.strip()
        or value.strip("X*") == ""
        or _TEMPLATE.fullmatch(value)
    ):
        return value
    names = [str(key) for key in keys if isinstance(key, str)]
    name = names[-1] if names else ""
    if _PRIVATE_KEY.search(value):
        return MASK
    if kind == Kind.DATABASE:
        return _clean_of_database(value, names, name)
    if _NAME.search(name):
        return MASK
    return _IN_ADDRESS.sub(_masked_address, value) if "://" in value else value


def _clean_of_database(value: str, names: list[str], name: str) -> Any:
    top = names[0] if names else ""
    if top == "ssh_tunnel":
        return MASK if name in _OF_TUNNEL else value
    if top in _SECRET_FIELDS:
        return _clean_json(value)
    if name in ("uuid", "database_name", "version"):
        return value
    if top == "sqlalchemy_uri":
        # With a template for its password an address holds no secret.
        return value if re.search(r":\{\{[^{}]*\}\}@", value) else masked(value)
    return masked(value, name)


def _clean_json(value: str) -> Any:
    """`masked_encrypted_extra` is a JSON text, in which the secret parts alone are masked."""
    try:
        data = json.loads(value)
    except ValueError:
        return MASK
    if not isinstance(data, dict | list):
        return MASK
    clean = masked(data)
    return value if clean == data else json.dumps(clean)


def _masked_address(match: re.Match[str]) -> str:
    secret = match[2]
    return match[0] if not secret.strip("X*") or "{{" in secret else f"{match[1]}{MASK}{match[3]}"
