"""The one door: every request to a Superset goes out here, with its rules.

What the rules stand on is in `superset-api.md` 2 and 5: always ask for JSON, never follow a redirect (a lost CSRF token
answers an import with one), keep the session cookie beside the bearer, send a Referer.
"""

from __future__ import annotations

import logging
import os
import random
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any, Protocol, TypeVar
from urllib.parse import quote, urlsplit

import httpx

from .answer import Answer, RequestRecord
from .auth import Auth
from .errors import SupersetError, SupersetRefused, SupersetUnreachable, cut_off, redact, unreachable
from .explain import ambiguous, error_of, is_csrf_failure, is_unauthorized, may_pass, not_superset
from .rison import rison

logger = logging.getLogger(__name__)

CSRF = "/api/v1/security/csrf_token/"

READ_RETRIES = 3  # repeats of a read after the first try
TIMEOUT_RETRIES = (
    1  # repeats after a whole read timeout: the server is busy, and each repeat adds a request to it
)
LONG_SECONDS = 120.0  # after a timeout longer than this nothing is repeated at all
REFUSED_RETRIES = 2  # repeats of a write whose connection was refused: nothing can have been sent
BACKOFF_SECONDS = 0.4  # doubled each time, times a random factor: many workers must not come back in step
LIMIT_RETRIES = 3  # repeats of anything that was answered with a 429
MAX_WAIT_SECONDS = 120.0  # longest Retry-After that is waited for; beyond it the caller is told
WRITE_TOKEN_SECONDS = (
    120.0  # a token must live this long when a write starts: it is checked after the body arrived
)
READ_TOKEN_SECONDS = 15.0
KEEPALIVE_SECONDS = (
    1.5  # gunicorn closes idle connections after 2 s; a write must not meet one that is closing
)
CSRF_SECONDS = 12 * 3600.0  # Superset's tokens are good for 7 days (WTF_CSRF_TIME_LIMIT)
MAX_ANSWER_BYTES = 768 * 2**20  # a full export of 10,000 charts has 35 MB; nothing may fill the memory
SLOW_DRIP_SECONDS = 300.0  # an answer that has begun must be complete this long after the read timeout
LOG_LENGTH = 5_000  # requests remembered by one client

ErrorType = TypeVar("ErrorType", bound=SupersetError)


def parse_url(url: str) -> tuple[str, str]:
    """(origin, base path) of an address: "https://host:8088" and "" or "/superset-a".

    Pages that people copy from the browser (…/login/, …/superset/welcome/) lose their ending. Raises
    SupersetRefused(bad_url) with what is wrong; credentials in an address are refused, because addresses are shown.
    """
    text = url.strip()
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as exc:
        raise SupersetRefused("The address is not a URL.", code="bad_url") from exc
    if parts.scheme not in ("http", "https") or not host:
        raise SupersetRefused(
            "The address must start with https:// or http:// and name a host.", code="bad_url"
        )
    if "@" in parts.netloc:
        raise SupersetRefused(
            "The address must not hold a user or a password; give them separately.", code="bad_url"
        )
    if any(ord(character) <= 32 for character in text) or "\\" in text:
        raise SupersetRefused("The address must not hold spaces or backslashes.", code="bad_url")
    path = parts.path.rstrip("/")
    for page in ("/superset/welcome", "/dashboard/list", "/chart/list", "/login", "/api/v1"):
        path = path.removesuffix(page).rstrip("/")
    if ".." in path.split("/"):
        raise SupersetRefused("The address must not hold '..'.", code="bad_url")
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}{f':{port}' if port is not None else ''}", path


def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """Always verifying; `ca_file` (PEM) is trusted in addition to the system's authorities.

    Made once for each state of these files: reading the authorities of a system takes 30 ms.
    Raises SupersetRefused(bad_ca_file).
    """
    paths = ssl.get_default_verify_paths()
    return _tls_context(ca_file, tuple(_changed(path) for path in (paths.cafile, paths.capath, ca_file)))


def _changed(path: str | None) -> int:
    try:
        return os.stat(path).st_mtime_ns if path else 0
    except OSError:
        return 0


@lru_cache(maxsize=64)
def _tls_context(ca_file: str | None, changed: tuple[int, ...]) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not context.get_ca_certs():  # a system without a bundle of its own
        import certifi  # comes with httpx

        context.load_verify_locations(certifi.where())
    if ca_file:
        try:
            context.load_verify_locations(ca_file)
        except (OSError, ssl.SSLError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else "not a PEM certificate"
            raise SupersetRefused(
                f"The CA file {ca_file} cannot be used: {reason}.", code="bad_ca_file"
            ) from exc
    return context


class Pace(Protocol):
    """How much this client may send while others use the same Superset; called from several threads."""

    def enter(self) -> None:
        """Wait until one more request may go out."""

    def leave(self) -> None:
        """It is over."""

    def pause(self, seconds: float) -> None:
        """The server asks everybody to send nothing for so long: `enter` waits that long from now on."""

    def close(self) -> None:
        """This client sends nothing more."""


class _Unshared:
    """The pace of a client that knows of no others."""

    def __init__(self, sleep: Callable[[float], None]) -> None:
        self._sleep = sleep

    def enter(self) -> None:
        pass

    def leave(self) -> None:
        pass

    def pause(self, seconds: float) -> None:
        self._sleep(seconds)

    def close(self) -> None:
        pass


class Door:
    """Sends requests of one client, at most `max_parallel` at a time; may be used from several threads.

    `pace` knows of the other clients of this Superset, None of none.

    `before_request(method, path)` is called right before each request leaves, in the thread that sends it; what it
    raises goes to the caller, and nothing is sent. `on_request` hears of each request after it.
    """

    def __init__(
        self,
        url: str,
        auth: Auth,
        *,
        ca_file: str | None = None,
        proxy: str | None = None,
        connect_timeout: float = 5,
        read_timeout: float = 60,
        import_timeout: float = 600,
        max_parallel: int = 2,
        pace: Pace | None = None,
        transport: httpx.BaseTransport | None = None,
        on_request: Callable[[RequestRecord], None] | None = None,
        before_request: Callable[[str, str], None] | None = None,
    ) -> None:
        origin, self._base_path = parse_url(url)
        self.url = origin + self._base_path
        self.auth = auth
        self.log: deque[RequestRecord] = deque(maxlen=LOG_LENGTH)
        self.sent = 0  # requests, all of them
        self._where = urlsplit(origin).netloc
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._import_timeout = import_timeout
        self._most_retries = READ_RETRIES
        self._max_parallel = max(1, max_parallel)
        self._slots = threading.BoundedSemaphore(self._max_parallel)
        self._on_request = on_request
        self._before_request = before_request
        self._sleep: Callable[[float], None] = time.sleep
        self._pace: Pace = pace or _Unshared(lambda seconds: self._sleep(seconds))
        self._csrf_lock = threading.RLock()
        self._csrf_token: str | None = None
        self._csrf_until = 0.0
        proxy_url = urlsplit(proxy) if proxy else None
        self._proxy_secret = proxy_url.password if proxy_url is not None else None
        self._proxy = proxy_url.hostname if proxy_url is not None else None
        if transport is None:
            try:
                transport = httpx.HTTPTransport(
                    verify=tls_context(ca_file),
                    proxy=proxy,
                    trust_env=False,
                    limits=httpx.Limits(
                        max_connections=self._max_parallel + 1,
                        max_keepalive_connections=self._max_parallel,
                        keepalive_expiry=KEEPALIVE_SECONDS,
                    ),
                )
            except ValueError as exc:
                raise SupersetRefused(
                    "The proxy must be an http:// or https:// address.", code="bad_url"
                ) from exc
        self._http = self._new_client(transport)
        # Shares the connections and has cookies of its own: a page that is open to all sets a session cookie too,
        # which would replace the one that our CSRF token, or our sign-in, belongs to.
        self._anonymous_http = self._new_client(transport)

    def _new_client(self, transport: httpx.BaseTransport) -> httpx.Client:
        return httpx.Client(
            transport=transport,
            trust_env=False,  # no proxies, CA files, .netrc passwords from the environment: they are settings here
            follow_redirects=False,
            headers={"Accept": "application/json", "User-Agent": "ss-tools", "Referer": f"{self.url}/"},
        )

    def close(self) -> None:
        self._http.close()  # and with it the transport of both
        self._pace.close()

    # -- sending -----------------------------------------------------------------------------------

    def _request(
        self,
        method: str,
        path: str,
        *,
        q: Any = None,
        params: Mapping[str, str | int] | None = None,
        json: Any = None,
        form: Mapping[str, str] | None = None,
        files: Mapping[str, tuple[str, bytes, str]] | None = None,
        timeout: float | None = None,
        retries: int = READ_RETRIES,
        writes: bool | None = None,
        checked: bool = True,
    ) -> Answer:
        """Send and return the answer, 2xx unless `checked` is False (then any status of a complete answer).

        `q` is written in rison. `writes` says whether it can change the target (default: all but GET): then it is sent
        once, except after a refused connection, a 401, a CSRF refusal or a 429, which all come before anything is done:
        Superset's limiter answers before the view is called (flask-limiter; no view that we write to gives a 429
        itself, read in 4.1.4 to 6.1.0), and a proxy's limiter before it passes the request on.
        Raises SupersetUnreachable, SupersetRefused, AmbiguousWrite.
        """
        writes = method != "GET" if writes is None else writes
        retries = min(retries, self._most_retries)
        target = path + _query(q, params)
        signed_in_again = csrf_renewed = False
        attempt = 0
        while True:
            attempt += 1
            sent: dict[str, str] = {}
            try:
                lasting = WRITE_TOKEN_SECONDS if method != "GET" else READ_TOKEN_SECONDS
                sent = self.auth.headers(self, lasting=lasting)
                headers = dict(sent)
                if method != "GET":
                    headers |= self._csrf_header(needed=writes or csrf_renewed or not self.auth.is_bearer)
                answer = self._send(
                    method,
                    target,
                    json=json,
                    form=form,
                    files=files,
                    headers=headers,
                    timeout=timeout,
                    attempt=attempt,
                )
            except _Broken as broken:
                failure = broken.error
                if writes and broken.sent:
                    raise self._cleaned(ambiguous(method, path, self.url, failure)) from None
                allowed = retries
                if failure.code == "timeout":
                    waited_long = (timeout or self._read_timeout) > LONG_SECONDS
                    allowed = 0 if waited_long else min(allowed, TIMEOUT_RETRIES)
                elif failure.code == "tls_failed":
                    allowed = 0  # a certificate does not change within seconds
                if method != "GET":
                    allowed = min(retries, REFUSED_RETRIES) if not broken.sent else 0
                    if broken.is_cut and failure.code == "timeout":
                        allowed = 0  # so slow a line takes the next one no faster
                if attempt > allowed:
                    raise failure from None
                self._sleep(_backoff(attempt))
                continue
            if not signed_in_again and is_unauthorized(answer) and self.auth.rejected(sent):
                signed_in_again = True
                self._forget_csrf()
                continue
            if method != "GET" and not csrf_renewed and is_csrf_failure(answer):
                csrf_renewed = True
                self._forget_csrf()
                continue
            if answer.status == 429:
                if self._pauses(answer, attempt) and attempt <= min(self._most_retries, LIMIT_RETRIES):
                    continue
            elif not writes and method == "GET" and attempt <= retries and may_pass(answer, attempt):
                wait = _retry_after(answer)
                if wait is None or wait <= MAX_WAIT_SECONDS:
                    self._sleep(wait if wait is not None else _backoff(attempt))
                    continue
            if 200 <= answer.status < 300 or not checked:
                return answer
            raise self._error(method, path, answer, writes)

    def send_plain(
        self,
        method: str,
        path: str,
        *,
        json: Mapping[str, Any] | None = None,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        retries: int = REFUSED_RETRIES,
        anonymous: bool = False,
    ) -> Answer:
        """One request without our token, any status; with `anonymous` without our cookies too, as strangers send it."""
        client = self._anonymous_http if anonymous else self._http
        retries = min(retries, self._most_retries)
        attempt = 0
        while True:
            attempt += 1
            try:
                answer = self._send(
                    method,
                    path,
                    json=json,
                    form=form,
                    headers=headers,
                    timeout=timeout,
                    attempt=attempt,
                    client=client,
                )
            except _Broken as broken:
                if attempt > retries or broken.error.code in ("timeout", "tls_failed"):
                    raise broken.error from None
                self._sleep(_backoff(attempt))
                continue
            if answer.status == 429:
                if attempt <= retries and self._pauses(answer, attempt):
                    continue
            elif attempt <= retries and answer.status in (502, 503, 504):
                wait = _retry_after(answer)
                if wait is None or wait <= MAX_WAIT_SECONDS:
                    self._sleep(wait if wait is not None else _backoff(attempt))
                    continue
            return answer

    def _pauses(self, answer: Answer, attempt: int) -> bool:
        """Have everybody wait as long as a 429 asks, or a little where it says nothing. False if that is too long for
        the caller; the others wait as long as they are willing to.
        """
        wait = _retry_after(answer)
        self._pace.pause(min(wait if wait is not None else _backoff(attempt), MAX_WAIT_SECONDS))
        return wait is None or wait <= MAX_WAIT_SECONDS

    def _send(
        self,
        method: str,
        target: str,
        *,
        json: Any = None,
        form: Mapping[str, str] | None = None,
        files: Mapping[str, tuple[str, bytes, str]] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        attempt: int = 1,
        client: httpx.Client | None = None,
    ) -> Answer:
        """One attempt. Raises _Broken when no complete answer came."""
        read = timeout if timeout is not None else self._read_timeout
        limits = httpx.Timeout(read, connect=self._connect_timeout, pool=read + self._import_timeout)
        http = client or self._http
        request = http.build_request(
            method,
            self.url + target,
            json=json,
            data=dict(form) if form else None,
            files=files,
            headers=dict(headers or {}),
            timeout=limits,
        )
        sent_bytes = int(request.headers.get("content-length", 0))
        status: int | None = None
        size = 0
        error: str | None = None
        with self._slots, self._turn():
            if self._before_request is not None:  # the last word before anything leaves, after all waiting
                self._before_request(method, target)
            started = time.monotonic()
            progress = _Progress()
            request.extensions = {**request.extensions, "trace": progress}
            try:
                response = http.send(request, stream=True)
                try:
                    status = response.status_code
                    chunks = []
                    for chunk in response.iter_bytes():
                        chunks.append(chunk)
                        size += len(chunk)
                        if size > MAX_ANSWER_BYTES:
                            raise httpx.ReadError("the answer does not end", request=request)
                        if time.monotonic() - started > read + SLOW_DRIP_SECONDS:
                            raise httpx.ReadTimeout("the answer drips", request=request)
                finally:
                    response.close()
                content = b"".join(chunks)
                seconds = time.monotonic() - started
                names = {name.lower(): value for name, value in response.headers.items()}
                return Answer(response.status_code, names, content, seconds)
            except (
                httpx.HTTPError,
                httpx.InvalidURL,
                httpx.CookieConflict,
                httpx.StreamError,
                OSError,
            ) as exc:
                failure = unreachable(exc, self._where, self._proxy)
                if progress.is_cut:
                    failure = cut_off(failure, self._where)
                broken = _Broken(
                    self._cleaned(failure),
                    sent=_may_have_been_sent(exc) and not progress.is_cut,
                    is_cut=progress.is_cut,
                )
                error = broken.error.code
                status = None
                raise broken from None
            finally:
                shown = redact(target, self._secrets())[:300]
                elapsed = time.monotonic() - started
                record = RequestRecord(method, shown, status, elapsed, size, sent_bytes, attempt, error)
                self.log.append(record)
                self.sent += 1
                logger.debug("%s %s %s %.3fs %d B", method, shown, status or error, elapsed, size)
                if self._on_request is not None:
                    self._on_request(record)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        self._pace.enter()
        try:
            yield
        finally:
            self._pace.leave()

    # -- tokens ------------------------------------------------------------------------------------

    def _csrf_header(self, *, needed: bool) -> dict[str, str]:
        """The CSRF header; its cookie is in the jar. Fetched when `needed` (chart queries are exempt) and not there."""
        with self._csrf_lock:
            if self._csrf_token is None or time.monotonic() > self._csrf_until:
                if not needed:
                    return {}
                answer = self._request("GET", CSRF)
                token = answer.json.get("result") if isinstance(answer.json, dict) else None
                if not isinstance(token, str):
                    raise self._not_superset(answer)
                self._csrf_token, self._csrf_until = token, time.monotonic() + CSRF_SECONDS
            return {"X-CSRFToken": self._csrf_token}

    def _forget_csrf(self) -> None:
        with self._csrf_lock:
            self._csrf_token = None
            if self.auth.is_bearer:  # with SessionAuth the same cookie is the sign-in
                self._http.cookies.clear()

    def forget_session(self) -> None:
        with self._csrf_lock:
            self._csrf_token = None
            self._http.cookies.clear()

    # -- errors ------------------------------------------------------------------------------------

    def _secrets(self) -> tuple[str, ...]:
        secrets = self.auth.secrets()
        if self._proxy_secret:
            secrets += (self._proxy_secret,)
        token = self._csrf_token
        return (*secrets, token) if token else secrets

    def _cleaned(self, error: ErrorType) -> ErrorType:
        """Without any secret: Superset and database drivers quote addresses and settings in their words."""
        error.message = self._clean(error.message)
        error.args = (error.message,)
        error.detail = self._clean_detail(error.detail)
        return error

    def _clean(self, text: str) -> str:
        return redact(text, self._secrets())

    def _clean_detail(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._clean(value)
        if isinstance(value, dict):
            return {self._clean(str(key)): self._clean_detail(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._clean_detail(item) for item in value]
        return value

    def _not_superset(self, answer: Answer) -> SupersetRefused:
        return self._cleaned(not_superset(answer, self.url))

    def _error(self, method: str, path: str, answer: Answer, writes: bool) -> SupersetError:
        return self._cleaned(
            error_of(answer, method=method, path=path, url=self.url, who=self.auth.who, writes=writes)
        )


class _Broken(Exception):
    """No complete answer came. `sent`: the server may have seen the whole request; `is_cut`: a part of it, not all."""

    def __init__(self, error: SupersetUnreachable, *, sent: bool, is_cut: bool = False) -> None:
        super().__init__(error.message)
        self.error = error
        self.sent = sent
        self.is_cut = is_cut


class _Progress:
    """How far a request got on its way out, by the events of httpcore (its "trace" extension).

    `send_request_body.complete` comes when the operating system has taken the last byte. Where the sending began and
    that never came, no server can have the whole body; and half a body is none to Superset: what is shorter than its
    Content-Length is neither a form with a file nor JSON, and gets a 400 (superset/dashboards/api.py, import_; seen on
    4.1.4 and 6.1.0, tests/live/test_lost_answers.py). A failed write alone says nothing: httpcore goes on to read an
    answer then, and reports what comes of that.
    """

    def __init__(self) -> None:
        self._begun = self._complete = False

    def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        self._begun |= event.endswith("send_request_headers.started")
        self._complete |= event.endswith("send_request_body.complete")

    @property
    def is_cut(self) -> bool:
        return self._begun and not self._complete


def _may_have_been_sent(error: Exception) -> bool:
    before = (
        httpx.ConnectError,
        httpx.ConnectTimeout,
        httpx.PoolTimeout,
        httpx.ProxyError,
        httpx.UnsupportedProtocol,
    )
    return not isinstance(error, (*before, httpx.InvalidURL))


def _query(q: Any, params: Mapping[str, str | int] | None) -> str:
    pairs = [f"{quote(name)}={quote(str(value), safe='')}" for name, value in (params or {}).items()]
    if q is not None:
        # Rison's own characters stay as they are: 15 % shorter, and web servers cap the line at 4 KB.
        pairs.insert(0, "q=" + quote(rison(q), safe="!'(),:*~$-_./"))
    return "?" + "&".join(pairs) if pairs else ""


def _retry_after(answer: Answer) -> float | None:
    value = answer.headers.get("retry-after", "")
    if value.isascii() and value.isdecimal():
        return float(value)
    try:
        until = parsedate_to_datetime(value)
    except (ValueError, TypeError):
        return None
    now = answer.date or until
    return max(0.0, (until - now).total_seconds()) if until.tzinfo else None


def _backoff(attempt: int) -> float:
    return float(BACKOFF_SECONDS * 2 ** (attempt - 1) * random.uniform(0.5, 1.5))  # noqa: S311
