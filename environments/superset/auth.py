"""Ways to sign in. They hold the secrets, give them to one request at a time and show them to nobody.

A sign-in asks the client to send its requests (`Sender`), so that there is one door for these too.
"""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from collections.abc import Mapping
from typing import Any, Protocol

from .answer import Answer
from .errors import SupersetRefused, SupersetUnreachable, is_login_page, message_of

LOGIN = "/api/v1/security/login"
REFRESH = "/api/v1/security/refresh"

UNKNOWN_LIFETIME = (
    600.0  # seconds; Superset's default is 900 (superset-api.md 2.2), used when the token does not tell
)


class Sender(Protocol):
    """What a sign-in may use of the client: one request without credentials. `form` posts as a browser would."""

    def send_plain(
        self,
        method: str,
        path: str,
        *,
        json: Mapping[str, Any] | None = None,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer: ...

    def forget_session(self) -> None: ...


class Auth(Protocol):
    """`headers` may sign in; `rejected` is told of a 401 and answers whether asking again makes sense."""

    is_bearer: bool

    def headers(self, sender: Sender, *, lasting: float) -> dict[str, str]: ...

    def rejected(self, headers: Mapping[str, str]) -> bool: ...

    def secrets(self) -> tuple[str, ...]: ...

    @property
    def who(self) -> str: ...


def token_lifetime(token: str) -> tuple[float | None, float | None]:
    """(issued at, expires at) of a JWT as Unix times by the server's clock; None where it does not say or is no JWT."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (IndexError, ValueError):
        return (None, None)
    if not isinstance(claims, dict):
        return (None, None)
    issued, expires = claims.get("iat"), claims.get("exp")
    return (
        float(issued) if isinstance(issued, int | float) else None,
        float(expires) if isinstance(expires, int | float) else None,
    )


class PasswordAuth:
    """User and password through Superset's login API; `provider` is "db" or "ldap" and must be the configured one.

    Access tokens are renewed before they expire, by the refresh token while it lives, else by signing in again.
    """

    is_bearer = True

    def __init__(self, username: str, password: str, provider: str = "db") -> None:
        if provider not in ("db", "ldap"):
            raise ValueError(f"No login provider: {provider}")  # Superset's API knows only these two
        self.username = username
        self.provider = provider
        self._password = password
        self._access: str | None = None
        self._refresh: str | None = None
        self._good_until = 0.0  # by our monotonic clock, so that neither machine's wall clock matters
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        return f"PasswordAuth({self.username!r}, provider={self.provider!r})"

    @property
    def who(self) -> str:
        return self.username

    def is_like(self, other: PasswordAuth) -> bool:
        """Whether both sign in the same account with the same password."""
        return (self.username, self.provider, self._password) == (
            other.username,
            other.provider,
            other._password,
        )

    def secrets(self) -> tuple[str, ...]:
        tokens = tuple(token for token in (self._access, self._refresh) if token)
        return (*_password_as_secret(self.username, self._password), *tokens)

    def headers(self, sender: Sender, *, lasting: float) -> dict[str, str]:
        """The bearer header, good for at least `lasting` seconds. Signs in or refreshes when needed.

        Raises SupersetRefused: unauthorized (wrong user or password), login_provider, not_superset; SupersetUnreachable
        (server_error) for an error page.
        """
        with self._lock:
            if self._access is None or time.monotonic() + lasting > self._good_until:
                self._renew(sender)
            return {"Authorization": f"Bearer {self._access}"}

    def rejected(self, headers: Mapping[str, str]) -> bool:
        """A token refused before its time (restart with another key, user deactivated): sign in once more."""
        with self._lock:
            if headers.get("Authorization") == f"Bearer {self._access}":
                self._access = self._refresh = None
            return True

    def _renew(self, sender: Sender) -> None:
        if self._refresh is not None:
            answer = sender.send_plain("POST", REFRESH, headers={"Authorization": f"Bearer {self._refresh}"})
            if answer.status == 200 and self._take(answer):
                return
            self._refresh = None  # expired after 30 days, or the server's key changed
        answer = sender.send_plain(
            "POST",
            LOGIN,
            json={
                "username": self.username,
                "password": self._password,
                "provider": self.provider,
                "refresh": True,
            },
        )
        if answer.status != 200 or not self._take(answer):
            raise _sign_in_refused(answer, self.username, self.provider, self.secrets())

    def _take(self, answer: Answer) -> bool:
        body = answer.json
        token = body.get("access_token") if isinstance(body, dict) else None
        if not isinstance(token, str):
            return False
        issued, expires = token_lifetime(token)
        lifetime = expires - issued if issued is not None and expires is not None else UNKNOWN_LIFETIME
        self._access, self._good_until = token, time.monotonic() + lifetime
        refresh = body.get("refresh_token")
        if isinstance(refresh, str):
            self._refresh = refresh
        return True


class TokenAuth:
    """A bearer token or an API key (`sst_…`) made by somebody else. It cannot be renewed from here."""

    is_bearer = True

    def __init__(self, token: str) -> None:
        token = token.strip()
        if token.lower().startswith("bearer "):
            token = token[7:].strip()
        if not token or not token.isascii() or any(character.isspace() for character in token):
            raise ValueError("A token is one word without spaces.")
        self._token = token
        self._expires_at = token_lifetime(token)[1]

    def __repr__(self) -> str:
        return f"TokenAuth({'API key' if self._token.startswith('sst_') else 'bearer token'})"

    @property
    def who(self) -> str:
        return "the given API key" if self._token.startswith("sst_") else "the given token"

    def secrets(self) -> tuple[str, ...]:
        return (self._token,)

    def headers(self, sender: Sender, *, lasting: float) -> dict[str, str]:
        """Raises SupersetRefused(unauthorized) when the token says itself that it is no longer good."""
        if self._expires_at is not None and time.time() > self._expires_at + 60:  # clocks differ by seconds
            raise SupersetRefused(
                "The token has expired. Give a new one, or sign in by user and password.",
                code="unauthorized",
                status=401,
            )
        return {"Authorization": f"Bearer {self._token}"}

    def rejected(self, headers: Mapping[str, str]) -> bool:
        return False


class SessionAuth:
    """User and password through the sign-in page, as a browser does: the cookie is the identity.

    Slower to sign in than PasswordAuth, and the only way where the Public role may read lists: such an instance ignores
    bearer tokens there and shows everybody what Public sees (superset-api.md 2.6, seen on 6.1.0).
    """

    is_bearer = False
    RENEW_AFTER = 12 * 3600.0  # seconds; Superset's sessions last 31 days unless configured shorter

    def __init__(self, username: str, password: str) -> None:
        self.username = username
        self._password = password
        self._good_until = 0.0
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        return f"SessionAuth({self.username!r})"

    @property
    def who(self) -> str:
        return self.username

    def secrets(self) -> tuple[str, ...]:
        return _password_as_secret(self.username, self._password)

    def headers(self, sender: Sender, *, lasting: float) -> dict[str, str]:
        """No header: the client's cookie jar carries the session. Raises as PasswordAuth does."""
        with self._lock:
            if time.monotonic() + lasting > self._good_until:
                self._sign_in(sender)
                self._good_until = time.monotonic() + self.RENEW_AFTER
            return {}

    def rejected(self, headers: Mapping[str, str]) -> bool:
        with self._lock:
            self._good_until = 0.0
            return True

    def _sign_in(self, sender: Sender) -> None:
        sender.forget_session()
        page = sender.send_plain("GET", "/login/", headers={"Accept": "text/html"})
        token = login_form_token(page.text)
        if page.status != 200 or token is None:
            raise SupersetRefused(
                "The sign-in page has no form for user and password. Is single sign-on configured there?",
                code="login_provider",
                status=page.status,
            )
        form = {"username": self.username, "password": self._password, "csrf_token": token}
        answer = sender.send_plain("POST", "/login/", form=form, headers={"Accept": "text/html"})
        if answer.status not in (301, 302, 303) or "/login" in answer.location:
            raise _wrong_password(self.username)


def _password_as_secret(username: str, password: str) -> tuple[str, ...]:
    """Nothing when it is the user's name (admin, admin): hiding it would only make the name unreadable."""
    return () if not password or password.lower() == username.lower() else (password,)


def login_form_token(page: str) -> str | None:
    """The CSRF token of Superset's sign-in form (4.1.4 and 6.1.0 both render it as a hidden input)."""
    for tag in re.findall(r"<input\b[^>]*>", page):
        if re.search(r"name=[\"']?csrf_token\b", tag) and (
            found := re.search(r"value=[\"']([^\"']+)[\"']", tag)
        ):
            return found.group(1)
    return None


def _wrong_password(username: str) -> SupersetRefused:
    return SupersetRefused(
        f"Superset does not let {username} in: wrong user name or password, or the account is switched off.",
        code="unauthorized",
        status=401,
    )


def _sign_in_refused(
    answer: Answer, username: str, provider: str, secrets: tuple[str, ...]
) -> SupersetRefused | SupersetUnreachable:
    message, _ = message_of(answer)
    if answer.status == 401:
        return _wrong_password(username)
    if answer.status == 400 and "lternative authentication provider" in message:
        return SupersetRefused(
            f"This Superset does not sign in by provider {provider!r}. Choose the other one (db or ldap); with single "
            "sign-on its operator has to set AUTH_API_LOGIN_ALLOW_MULTIPLE_PROVIDERS, or give a token instead.",
            code="login_provider",
            status=400,
        )
    if (
        answer.json is None and answer.status >= 500
    ):  # a proxy before a Superset that is away, or Superset's own page
        return SupersetUnreachable(
            f"The sign-in was answered with an error page (status {answer.status}).",
            code="server_error",
            status=answer.status,
        )
    if answer.json is None:
        what = "a sign-in page" if is_login_page(answer.text) else "something else than data"
        return SupersetRefused(
            f"The address answers the sign-in with {what} (status {answer.status}). Is this a Superset?",
            code="not_superset",
            status=answer.status,
        )
    code = "forbidden" if answer.status == 403 else "unauthorized" if answer.status < 500 else "invalid"
    shown = message or f"status {answer.status}"
    for secret in secrets:
        shown = shown.replace(secret, "…")
    return SupersetRefused(
        f"Superset refuses the sign-in of {username}: {shown}", code=code, status=answer.status
    )
