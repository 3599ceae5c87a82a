"""The fake Superset's sign-in: tokens, session cookies, CSRF (superset-api.md 2)."""

from __future__ import annotations

import base64
import html
import itertools
import json
import re
import time
from typing import Any
from urllib.parse import parse_qs

import httpx

from .superset_bundles import Refusal


class Sessions:
    """What FakeSuperset has of sign-in; the attributes are FakeSuperset's."""

    base_path: str
    users: dict[str, str]
    tokens: dict[str, float]
    token_seconds: int
    auth_type: int
    feature_flags: dict[str, bool]
    version: str
    _csrf: dict[str, str]
    _sessions: set[str]
    _serial: itertools.count[int]

    @property
    def number(self) -> tuple[int, ...]:
        raise NotImplementedError

    def _new_token(self) -> str:
        now = int(time.time())
        claims = {"iat": now, "exp": now + self.token_seconds, "jti": next(self._serial)}
        payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
        token = f"eyJhbGciOiJIUzI1NiJ9.{payload}.c2lnbmF0dXJl"
        self.tokens[token] = time.time() + self.token_seconds
        return token

    def _login(self, body: dict[str, Any]) -> httpx.Response:
        if body.get("provider") != {1: "db", 2: "ldap"}.get(self.auth_type):
            raise Refusal(
                400, {"message": {"provider": ["Alternative authentication provider is not allowed"]}}
            )
        if self.users.get(body["username"]) != body["password"]:
            raise Refusal(401, {"message": "Not authorized"})
        answer = {"access_token": self._new_token()}
        if body.get("refresh"):
            answer["refresh_token"] = f"refresh-{next(self._serial)}"
            self.tokens[answer["refresh_token"]] = time.time() + 30 * 86400
        return httpx.Response(200, json=answer)

    def _login_page(self, request: httpx.Request) -> httpx.Response:
        cookie = session_cookie(request)
        if request.method == "POST":
            form = {key: values[0] for key, values in parse_qs(request.content.decode()).items()}
            if form.get("csrf_token") != self._csrf.get(cookie or ""):
                return httpx.Response(400, html="<h1>Bad Request</h1>")
            if self.users.get(form.get("username", "")) != form.get("password"):
                return httpx.Response(302, headers={"location": f"{self.base_path}/login/"})
            fresh = f"signed-in-{next(self._serial)}"
            self._sessions.add(fresh)
            headers = {"location": f"{self.base_path}/", "set-cookie": f"session={fresh}; Path=/; HttpOnly"}
            return httpx.Response(302, headers=headers)
        if cookie in self._sessions:
            return httpx.Response(302, headers={"location": f"{self.base_path}/"})
        common: dict[str, Any] = {
            "feature_flags": self.feature_flags,
            "conf": {"SQL_MAX_ROW": 100000}
            | ({"AUTH_TYPE": self.auth_type} if self.number >= (6, 1) else {}),
            "menu_data": {"navbar_right": {"version_string": self.version}},
        }
        token, headers = self._csrf_for(None)
        page = (
            f'<html><title>Superset</title><body><div id="app" data-bootstrap="'
            f'{html.escape(json.dumps({"user": {}, "common": common}))}"></div>'
            f'<input type="hidden" name="csrf_token" value="{token}"><input type="password"></body></html>'
        )
        return httpx.Response(200, html=page, headers=headers)

    def _csrf_for(self, cookie: str | None) -> tuple[str, dict[str, str]]:
        cookie = cookie or f"session-{next(self._serial)}"
        token = self._csrf.setdefault(cookie, f"csrf-of-{cookie}-{next(self._serial)}")
        return token, {"set-cookie": f"session={cookie}; Path=/; HttpOnly"}

    def _bearer(self, request: httpx.Request, prefix: str = "") -> None:
        if not prefix and session_cookie(request) in self._sessions:
            return
        header = request.headers.get("authorization", "")
        if not header:
            raise Refusal(401, {"msg": "Missing Authorization Header"})
        token = header.removeprefix("Bearer ")
        if token not in self.tokens and not token.startswith(("eyJ", "refresh-", "sst_")):
            raise Refusal(422, {"msg": "Not enough segments"})
        if not token.startswith(prefix) or self.tokens.get(token, 0) < time.time():
            raise Refusal(401, {"msg": "Token has expired"})

    def _check_csrf(self, request: httpx.Request) -> None:
        """Flask-WTF's: a multipart request is sent to the login page instead of being told (superset-api.md 2.3, 5)."""
        cookie, token = session_cookie(request), request.headers.get("x-csrftoken")
        if cookie in self._csrf and token == self._csrf[cookie]:
            return
        if "json" in request.headers.get("content-type", "") or request.method == "DELETE":
            problem = "The CSRF token is missing." if not token else "The CSRF session token is missing."
            raise Refusal(
                400, {"errors": [{"message": f"400 Bad Request: {problem}", "error_type": "GENERIC"}]}
            )
        refusal = Refusal(302, {})
        refusal.response = httpx.Response(302, headers={"location": f"{self.base_path}/login/"})
        raise refusal


def session_cookie(request: httpx.Request) -> str | None:
    found = re.search(r"(?:^|;\s*)session=([^;]+)", request.headers.get("cookie", ""))
    return found.group(1) if found else None
