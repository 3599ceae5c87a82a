"""What can go wrong with a Superset: later may help (`SupersetUnreachable`), or it will not (`SupersetRefused`).

Nothing in here holds a secret: the client cleans every text with `redact` before it makes an error of it.
"""

from __future__ import annotations

import html
import re
import socket
import ssl
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

import httpx

from .answer import Answer

MAX_MESSAGE = 2_000  # characters kept of what a Superset said: enough for a database error with its SQL
MAX_DETAIL_FILES = (
    200  # per-file messages kept of a 422: a bundle of thousands with one common fault would fill a page
)


class SupersetError(Exception):
    """A request to a Superset that did not do what was asked.

    `code` is stable, `message` is for people, `status` the HTTP status where there was one, `detail` Superset's own
    per-file or per-field messages. `written` says whether the target may have changed: False (proven not), None
    (nobody knows: read the target and decide).
    """

    code = "superset_error"
    written: bool | None = False

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        status: int | None = None,
        detail: Mapping[str, Any] | None = None,
        written: bool | None = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.status = status
        self.detail: dict[str, Any] = dict(detail or {})
        self.written = written

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions with keyword arguments do not survive pickling by themselves, and job queues pickle errors.
        return (_rebuild, (type(self), self.message, self.code, self.status, self.detail, self.written))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.code}, {self.message!r})"


def _rebuild(
    kind: type[SupersetError],
    message: str,
    code: str,
    status: int | None,
    detail: dict[str, Any],
    written: bool | None,
) -> SupersetError:
    return kind(message, code=code, status=status, detail=detail, written=written)


class SupersetUnreachable(SupersetError):
    """Later may help.

    Codes: name_not_resolved, connection_refused, host_unreachable, tls_failed, proxy_failed, timeout,
    connection_lost, server_error (5xx without a meaning), rate_limited. `detail["tls"]` of tls_failed is one of
    expired, not_yet_valid, unknown_ca, hostname_mismatch, not_tls, other.
    """

    code = "unreachable"


class SupersetRefused(SupersetError):
    """It will not, however often it is asked. Codes: unauthorized, forbidden, not_found, invalid (400, 422, or a 500
    that says why), too_large, not_superset (HTML or another service), csrf, conflict, bundle_invalid,
    unsupported_version, login_provider, bad_url.
    """

    code = "refused"


class AmbiguousWrite(SupersetUnreachable):
    """A write whose answer never came: a timeout, a reset, a 502 to 504 after the bytes were sent, half an answer.

    The target may have done it. `written` is None; `detail["cause"]` is the code of what happened, and
    `detail["answered"]` is True where Superset itself answered: then the write is over. Superset usually finishes a
    request whose client went away (seen on 4.1.4 and 6.1.0), so read the target before doing anything else.
    """

    code = "ambiguous_write"
    written: bool | None = None

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        status: int | None = None,
        detail: Mapping[str, Any] | None = None,
        written: bool | None = None,
    ) -> None:
        super().__init__(message, code=code, status=status, detail=detail, written=written)


# -- text ------------------------------------------------------------------------------------------

_USERINFO = re.compile(r"(?<=://)[^\s/@'\"<>]*@")
_BEARER = re.compile(r"(?i)\b(bearer\s+)[\w.~+/=-]{8,}")
_JWT = re.compile(r"\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*")
_ASSIGNED = re.compile(
    r"(?i)\b(password|passwd|pwd|secret|access_token|refresh_token|api_key)(\s*[=:]\s*)([^\s&,;'\"]+)"
)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """`text` without the given secrets, credentials in URLs, bearer tokens and `password=…` pairs.

    Superset and database drivers quote connection strings in their errors, so this is needed for their words as well.
    What no database keeps (NUL, halves of surrogate pairs) goes too: an error is told where it must be written down.
    """
    text = text.replace("\0", "").encode("utf-8", "replace").decode()
    for secret in secrets:
        if not secret:
            continue
        for spelling in dict.fromkeys((secret, quote(secret, safe=""))):
            # A short one only where it stands alone, or the password "a" would blank out half of every sentence.
            alone = len(secret) < 8
            text = re.sub(rf"(?<!\w){re.escape(spelling)}(?!\w)" if alone else re.escape(spelling), "…", text)
    text = _USERINFO.sub("…@", text)
    text = _BEARER.sub(r"\1…", text)
    text = _JWT.sub("…", text)
    return _ASSIGNED.sub(r"\1\2…", text)


def message_of(answer: Answer) -> tuple[str, dict[str, Any]]:
    """Superset's own words out of an answer: (message, details by file or field). Either may be empty.

    Three JSON shapes are in use at once: Flask-AppBuilder's {"message": text or object}, Superset's
    {"errors": [{"message", "error_type", "extra"}]}, the JWT library's {"msg"}; some old views answer {"error"}
    (superset/views/error_handling.py, 4.1.4 and 6.1.0). HTML gives its title, first heading or text.
    """
    body = answer.json
    if isinstance(body, dict):
        return _message_of_json(body)
    if answer.is_html:
        return html_text(answer.text), {}
    if isinstance(body, str):
        return body[:MAX_MESSAGE], {}
    return ("" if body is not None else answer.text[:MAX_MESSAGE].strip()), {}


def _message_of_json(body: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    messages: list[str] = []
    detail: dict[str, Any] = {}
    errors = body.get("errors")
    for error in errors if isinstance(errors, list) else []:
        if isinstance(error, str):
            messages.append(error)
        elif isinstance(error, dict):
            if isinstance(error.get("message"), str):
                messages.append(error["message"])
            extra = error.get("extra")
            for name, value in extra.items() if isinstance(extra, dict) else ():
                if name not in ("issue_codes", "engine_name", "level") and len(detail) < MAX_DETAIL_FILES:
                    detail[str(name)] = value
    for key in ("message", "msg", "error"):
        value = body.get(key)
        if isinstance(value, str) and value and value not in messages:
            messages.append(value)
        elif isinstance(value, dict):  # marshmallow's messages by field
            detail.update({str(name): text for name, text in list(value.items())[:MAX_DETAIL_FILES]})
            messages.append("; ".join(f"{name}: {_flat(text)}" for name, text in value.items()))
        elif isinstance(value, list) and value:
            messages.append(_flat(value))
    text = " ".join(dict.fromkeys(messages)).strip()
    missing = [name for name in detail if name not in text]
    if (
        missing
    ):  # before 6.0 the message of a 422 is only "Error importing dashboard"; the reason is in `extra`
        text = f"{text} ({'; '.join(f'{name}: {_flat(detail[name])}' for name in missing[:5])})".strip()
    return text[:MAX_MESSAGE], detail


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_flat(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(_flat(item) for item in value)
    return str(value)


_TAGS_WITHOUT_TEXT = re.compile(r"(?is)<(script|style|head)\b.*?</\1\s*>|<!--.*?-->")


def html_text(page: str) -> str:
    """What a person would read first on a page: its heading, else its title, else its first words."""
    page = page[:100_000]
    for tag in ("h1", "title"):
        found = re.search(rf"(?is)<{tag}\b[^>]*>(.*?)</{tag}\s*>", page)
        if found and (text := _plain(found.group(1))):
            return text[:300]
    return _plain(_TAGS_WITHOUT_TEXT.sub(" ", page))[:300]


def _plain(fragment: str) -> str:
    return " ".join(html.unescape(re.sub(r"(?s)<[^>]*>", " ", fragment)).split())


def is_login_page(page: str) -> bool:
    """Whether an HTML page asks for a sign-in: Superset's own or that of a proxy in front of it."""
    lowered = page[:200_000].lower()
    return 'type="password"' in lowered or 'name="password"' in lowered or "/login/" in lowered[:20_000]


# -- transport errors ------------------------------------------------------------------------------

# OpenSSL's verify codes: x509_vfy.h
_TLS_KINDS = {
    9: "not_yet_valid",
    10: "expired",
    62: "hostname_mismatch",
    64: "hostname_mismatch",
} | dict.fromkeys((2, 18, 19, 20, 21, 24), "unknown_ca")
_TLS_WORDS = {
    "expired": "its certificate has expired; renew it there",
    "not_yet_valid": "its certificate is not valid yet; check the clocks of both machines",
    "unknown_ca": "its certificate is signed by an authority unknown here; give that authority's file as CA file",
    "hostname_mismatch": "its certificate is for another name; use the name in the certificate as address",
    "not_tls": "it does not speak TLS on this port; use http:// or the TLS port",
    "other": "the TLS handshake failed",
}


def causes(error: BaseException | None) -> Iterable[BaseException]:
    """An exception and what led to it, outermost first."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def unreachable(error: Exception, where: str, proxy: str | None = None) -> SupersetUnreachable:
    """The kind of a failed connection, told apart: name, refusal, TLS (and why), proxy, time, broken line."""
    chain = list(causes(error))
    detail: dict[str, Any] = {}
    host = re.sub(r":\d+$", "", where)
    tls = next((cause for cause in chain if isinstance(cause, ssl.SSLError)), None)
    if isinstance(error, httpx.ProxyError):
        code, text = "proxy_failed", f"The proxy {proxy} on the way to {where} refuses: {error}."
    elif proxy is not None and tls is None and isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        code, text = "proxy_failed", f"The proxy {proxy} on the way to {where} cannot be reached."
    elif isinstance(error, httpx.PoolTimeout):
        code, text = "timeout", f"No free connection to {where}: too many requests are waiting for it."
    elif any(isinstance(cause, socket.gaierror) for cause in chain):
        code = "name_not_resolved"
        text = f"The name {host} cannot be resolved. Check the address, and the DNS of this machine."
    elif tls is not None:
        kind = _tls_kind(tls)
        code, detail = "tls_failed", {"tls": kind}
        text = f"No secure connection to {where}: {_TLS_WORDS[kind]}"
        text += f" ({_tls_reason(tls)})." if kind == "other" else "."
    elif isinstance(error, httpx.ConnectTimeout):
        code, text = "timeout", f"{where} did not take the connection in time. Is a firewall in between?"
    elif isinstance(error, httpx.TimeoutException):
        code, text = "timeout", f"{where} did not answer in time."
    elif any(isinstance(cause, ConnectionRefusedError) for cause in chain):
        code, text = (
            "connection_refused",
            f"{where} refuses connections. Is Superset running there, on this port?",
        )
    elif isinstance(error, httpx.ConnectError):
        code, text = "host_unreachable", f"There is no way to {where}: {_os_reason(chain)}."
    else:
        code, text = "connection_lost", f"The connection to {where} broke before the answer was complete."
    return SupersetUnreachable(redact(text), code=code, detail=detail)


def cut_off(error: SupersetUnreachable, where: str) -> SupersetUnreachable:
    """The same, of a request that did not leave as a whole: whatever it was to do, it was not done."""
    how = "took no more of" if error.code == "timeout" else "broke in the middle of"
    text = f"The connection to {where} {how} the request: {where} has only a part of it, and does nothing with that."
    return SupersetUnreachable(redact(text), code=error.code, detail=error.detail)


def _tls_kind(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _TLS_KINDS.get(error.verify_code, "other")
    reason = (error.reason or "").upper()
    return "not_tls" if reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL") else "other"


def _tls_reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    return (error.reason or "no reason given").replace("_", " ").lower()


def _os_reason(chain: list[BaseException]) -> str:
    for cause in chain:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror.lower()
    return "the network gives no reason"
