"""Pages of errors with DEBUG on: with all variables, and without the credentials that are among them."""

import json
import re
from collections.abc import Iterable, Iterator
from html import escape
from types import TracebackType
from typing import Any
from urllib.parse import quote

from django.conf import settings
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.views.debug import ExceptionReporter, SafeExceptionReporterFilter

from sstools.audit.redact import HIDDEN, is_secret_name, redact, redact_text
from sstools.secrets import Secret

SHORTEST = 4  # shorter values would be found in every word
DEPTH = 3
#: Settings that hold credentials under names that do not say so.
SETTINGS = (
    "SECRET_KEY",
    "SECRET_KEY_FALLBACKS",
    "FIELD_KEYS",
    "DATABASE_URL",
    "ADMIN_PASSWORD",
    "EMAIL_HOST_PASSWORD",
)


class Filter(SafeExceptionReporterFilter):
    """Django's own hides nothing of a request with DEBUG on."""

    hidden_settings = re.compile(
        r"API|AUTH|TOKEN|KEY|SECRET|PASS|SIGNATURE|HTTP_COOKIE|DATABASE|MAIL|PROX", flags=re.IGNORECASE
    )

    def is_active(self, request: HttpRequest | None) -> bool:
        return True

    def get_post_parameters(self, request: HttpRequest | None) -> Any:
        if request is None:
            return {}
        return {
            name: HIDDEN if is_secret_name(name) else redact(value) for name, value in request.POST.items()
        }

    def get_traceback_frame_variables(self, request: HttpRequest | None, tb_frame: Any) -> Any:
        return [
            (name, HIDDEN if is_secret_name(name) and isinstance(value, str | bytes) else value)
            for name, value in tb_frame.f_locals.items()
        ]


class Reporter(ExceptionReporter):
    """The report as Django makes it; what is known to be a credential is taken out of it wherever it stands."""

    def get_traceback_html(self) -> SafeString:
        return self._without(super().get_traceback_html())

    def get_traceback_text(self) -> SafeString:
        return self._without(super().get_traceback_text())

    def _without(self, text: str) -> SafeString:
        found = {one for one in self._credentials() if len(one) >= SHORTEST}
        for one in sorted(found, key=len, reverse=True):
            for shape in {
                one,
                escape(one),
                quote(one),
                quote(one, safe=""),
                json.dumps(one)[1:-1],
                repr(one)[1:-1],
            }:
                text = text.replace(shape, HIDDEN)
        return SafeString(redact_text(text))  # as safe as it was: hiding adds no markup

    def _credentials(self) -> Iterator[str]:
        for name in SETTINGS:
            yield from _texts(getattr(settings, name, ""))
        for database in settings.DATABASES.values():
            yield from _texts(database.get("PASSWORD"))
        yield from _texts(getattr(settings, "AUTH_ADFS", {}).get("CLIENT_SECRET"))
        if self.request is not None:
            yield from _of_request(self.request)
        yield from _of_frames(self.tb)


def _of_request(request: HttpRequest) -> Iterator[str]:
    authorization = request.META.get("HTTP_AUTHORIZATION", "")
    yield from (authorization, authorization.partition(" ")[2])
    yield from (
        request.COOKIES.get(settings.SESSION_COOKIE_NAME, ""),
        request.COOKIES.get(settings.CSRF_COOKIE_NAME, ""),
    )
    yield str(getattr(request.session, "session_key", "") or "") if hasattr(request, "session") else ""
    for name, values in request.POST.lists():
        if is_secret_name(name) or name in ("url", "proxy_url"):
            yield from map(str, values)
    try:
        body = json.loads(request.body)
    except Exception:
        return  # no JSON, or read already: then a parsed copy is in a frame
    yield from _secret_values(body)


def _of_frames(tb: TracebackType | None) -> Iterator[str]:
    while tb is not None:
        for name, value in list(tb.tb_frame.f_locals.items()):
            if is_secret_name(name):
                yield from _texts(value)
            yield from _secret_values(value)
        tb = tb.tb_next


def _secret_values(value: Any, depth: int = DEPTH, name: str = "") -> Iterator[str]:
    """What is secret by its type, or by the name that it stands under; also in rows and forms."""
    if isinstance(value, Secret):
        yield str.__str__(value)
    elif isinstance(value, str | bytes):
        if is_secret_name(name) or name in ("url", "proxy_url"):
            yield from _texts(value)
    elif depth > 0:
        for key, item in _items(value):
            yield from _secret_values(item, depth - 1, key or name)


def _items(value: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(value, dict):
        return [(str(key), item) for key, item in list(value.items())[:200]]
    if isinstance(value, list | tuple | set | frozenset):
        return [("", item) for item in list(value)[:200]]
    inner = getattr(value, "__dict__", None)
    return list(inner.items())[:200] if isinstance(inner, dict) and not isinstance(value, type) else []


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, bytes):
        yield value.decode("utf-8", "replace")
    elif isinstance(value, str):
        yield str.__str__(value)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
