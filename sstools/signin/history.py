"""Sign-ins and sign-outs in the history. A wrong password is noted for users that exist: what else is typed into that
field may be a password.
"""

from __future__ import annotations

import logging
from typing import Any

from django.contrib.auth import BACKEND_SESSION_KEY, get_user_model
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.http import HttpRequest

from sstools.audit import services as audit
from sstools.logs import client_address

from . import sessions

logger = logging.getLogger(__name__)


def connect() -> None:
    user_logged_in.connect(_signed_in, dispatch_uid="signin.history")
    user_logged_out.connect(_signed_out, dispatch_uid="signin.history")
    user_login_failed.connect(_failed, dispatch_uid="signin.history")


def _signed_in(sender: Any, request: HttpRequest, user: Any, **kwargs: Any) -> None:
    session = getattr(request, "session", None)
    if session is not None:
        sessions.begin(request)
    backend = str(session.get(BACKEND_SESSION_KEY, "")) if session is not None else ""
    data = {"with": "directory" if backend.endswith("DirectoryBackend") else "password"}
    audit.record("session:start", user, actor=user, data=data, source="page")


def _signed_out(sender: Any, request: HttpRequest, user: Any, **kwargs: Any) -> None:
    if user is not None:
        audit.record("session:end", user, actor=user, source="page")


def _failed(
    sender: Any, credentials: dict[str, Any], request: HttpRequest | None = None, **kwargs: Any
) -> None:
    name = str(credentials.get("username") or "")
    user = get_user_model()._default_manager.filter(username=name).first() if name else None
    if user is None or request is None or getattr(request, "axes_locked_out", False):
        return  # once locked out each further attempt would be a line: whoever guesses must not write history
    audit.record("session:refused", user, actor=None, data={"why": "password"}, source="page")


def refused(request: HttpRequest, user: Any, why: str) -> None:
    """Somebody of the directory was not let in as `user`. Outside of the transaction that was undone for it."""
    audit.record("session:refused", user, actor=None, data={"why": why}, source="page")


def locked_out(request: HttpRequest, credentials: dict[str, Any]) -> None:
    logger.warning("Sign-in from %s is closed for a while: too many wrong passwords", client_address(request))
