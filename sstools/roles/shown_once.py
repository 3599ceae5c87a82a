"""What a page shows once after its redirect: an address or a log would keep it.

Sessions are rows of the database, so it is sealed there.
"""

from __future__ import annotations

from django.http import HttpRequest

from sstools.secrets import SecretUnreadable, decrypt, encrypt

NEW_TOKEN = "roles_token"  # noqa: S105  the name it is kept under


def keep(request: HttpRequest, name: str, pk: int, text: str) -> None:
    """Keep `text`, which belongs to the row `pk`, for the next page that asks for `name`."""
    request.session[name] = {"pk": pk, "sealed": encrypt(text)}


def peek(request: HttpRequest, name: str) -> int | None:
    """The row that something is kept for, None if nothing is."""
    kept = request.session.get(name) or {}
    return kept.get("pk")


def take(request: HttpRequest, name: str) -> str:
    """What was kept, which is gone after that. Empty if nothing was, or the keys changed in between."""
    sealed = (request.session.pop(name, None) or {}).get("sealed", "")
    try:
        return str(decrypt(sealed)) if sealed else ""
    except SecretUnreadable:
        return ""
