"""A proxy in front of one Superset that numbers the requests and lets some of them go wrong.

HTTP/1.1 with connections that stay open, one thread for each. A request is known by its side ("source" or "target"),
its method, its path without the query, and how often the same came before: an order over both sides would not be the
same twice, because they are read side by side.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import os
import re
import signal
import socket
import struct
import threading
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import urlsplit

#: Seconds that a client waits for a read and for an import: in general, and where it has to give up waiting. Times the
#: pace of the machine (sweep.py): a Superset that is slow by itself must not look like one that does not answer.
TIMEOUTS, IMPATIENT_TIMEOUTS = (10, 2), (1, 2)
HELD = 30.0  # an answer that does not come
LATE = 0.5  # after the client gave up (or was killed), a late request is carried out
REFUSING = 0.1  # shorter than a client goes on trying (with the pauses of inside.py)
RESTARTING = 2.0  # longer than that, shorter than a run waits for its target
PATIENCE = 3  # seconds that a run waits for its target
DRIP_SECONDS = 0.5
RETRY_AFTER = 1

LOGIN_PAGE = (
    b"<!doctype html><html><head><title>Sign in</title></head><body><form action='/login/' method='post'>"
    b"<input name='username'><input name='password' type='password'></form></body></html>"
)
_JSON, _HTML = "application/json; charset=utf-8", "text/html; charset=utf-8"
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "proxy-connection", "te"}


def _page(status: int, title: str) -> tuple[int, str, bytes]:
    text = f"<html><head><title>{status} {title}</title></head><body>{title}</body></html>"
    return status, _HTML, text.encode()


#: What is answered instead: (status, content type, body).
ANSWERS: dict[str, tuple[int, str, bytes]] = {
    "500_json": (500, _JSON, b'{"errors": [{"message": "Something failed", "error_type": "GENERIC_ERROR"}]}'),
    "500_html": _page(500, "Internal Server Error"),
    "502": _page(502, "Bad Gateway"),
    "503": _page(503, "Service Unavailable"),
    "504": _page(504, "Gateway Time-out"),
    "429": (429, _JSON, b'{"message": "50 per 1 second"}'),
    "login_page": (200, _HTML, LOGIN_PAGE),
}
#: Superset's own refusal: not a fault, but a reason for a run to take back what it wrote.
REFUSAL = "refused_by_superset"
_REFUSED = (422, _JSON, b'{"errors": [{"message": "Error importing dashboard", "error_type": "INVALID"}]}')
#: Nothing reached Superset.
BEFORE = ("reset", "timeout", "refused", "restart", *ANSWERS, "kill")
#: Superset did it, and the answer was lost or spoilt.
AFTER = (
    "reset_after",
    "timeout_after",
    "truncated",
    "drip",
    "500_html_after",
    "502_after",
    "504_after",
    "login_page_after",
    "kill_after",
)
#: The client is gone by the time Superset does it.
LATER = ("timeout_late", "kill_late")
#: The worker dies, and before the next one comes, a colleague edits on the target what the run writes.
EDITED = ("kill_then_edit", "kill_after_then_edit")
#: From this request on Superset does not answer any more, until the worker has ended.
LASTING = ("outage",)
#: A read has nothing that could have happened although its answer never came.
FAULTS_OF_READS = (*BEFORE, "reset_after", "truncated", "drip", "kill_after", *LASTING)
FAULTS_OF_WRITES = (*BEFORE, *AFTER, *LATER, *EDITED, *LASTING)
NEVER_ANSWERED = {"reset", "refused", "restart", "timeout", "kill", "timeout_late", "kill_late"}
IMPATIENT = {"timeout", "timeout_after", "timeout_late"}


@dataclass(frozen=True, order=True)
class Key:
    """Which request: the nth (from 1) of this method and path on this side."""

    side: str
    method: str
    path: str
    nth: int

    def __str__(self) -> str:
        return f"{self.side} {self.method} {self.path} #{self.nth}"

    @property
    def writes(self) -> bool:
        """Whether it may change what the Superset holds. Signing in and asking for a chart's data do not."""
        harmless = ("/api/v1/chart/data", "/api/v1/security/login", "/api/v1/security/refresh")
        return self.method != "GET" and not self.path.startswith(harmless)


@dataclass
class Call:
    """One request that came in, and what became of it."""

    number: int
    key: Key
    fault: str = ""
    status: int | None = None  # Superset's own answer; None: the request did not reach it
    digest: str = ""  # of what a write carries, the same if the same is sent again
    done: bool = False

    @property
    def took_effect(self) -> bool:
        return self.key.writes and self.status is not None and self.status < 300


class Script:
    """What goes wrong, what was asked, and the secrets that went by. Shared by the proxies of both sides."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self.calls: list[Call] = []
        self.secrets: set[str] = set()
        self.faults: dict[Key, str] = {}
        self.pid: int | None = None  # who is killed
        self.on_fault: Callable[[], None] | None = None  # called once, just before the first fault
        self.fired = 0
        self.broken: Exception | None = None  # of `on_fault`
        self._seen: dict[tuple[str, str, str], int] = {}
        self._out: set[str] = set()

    def begin(self, faults: dict[Key, str] | None = None, on_fault: Callable[[], None] | None = None) -> None:
        """A new point: nothing asked yet."""
        with self._lock:
            self.calls, self.faults, self._seen, self._out = [], dict(faults or {}), {}, set()
            self.on_fault, self.fired, self.pid, self.broken = on_fault, 0, None, None

    def worker(self, pid: int | None) -> None:
        """A worker starts; with it what ended with the one before: an outage."""
        with self._lock:
            self.pid = pid
            self._out = set()

    def arrives(self, side: str, method: str, path: str, digest: str) -> Call:
        with self._lock:
            nth = self._seen[side, method, path] = self._seen.get((side, method, path), 0) + 1
            call = Call(len(self.calls) + 1, Key(side, method, path, nth), digest=digest)
            call.fault = self.faults.get(call.key, "").removesuffix("_then_edit")
            if side in self._out:
                call.fault = "503"
            if call.fault == "outage":
                self._out.add(side)
            self.calls.append(call)
            tell = self.on_fault if call.key in self.faults else None
            if tell is not None:
                self.on_fault = None
            self.fired += call.key in self.faults
        if tell is not None:
            try:
                tell()
            except Exception as error:  # said where somebody listens; the request goes its way
                self.broken = error
        return call

    def ended(self, call: Call) -> None:
        with self._changed:
            call.done = True
            self._changed.notify_all()

    def kill(self) -> None:
        with self._lock:
            pid, self.pid = self.pid, None
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def keep_secret(self, text: str) -> None:
        if len(text) >= 12:
            with self._lock:
                self.secrets.add(text)

    def wait_until_quiet(self, seconds: float = 60.0) -> None:
        """Returns when Superset has nothing left to do for anybody, also not for one who gave up waiting."""
        with self._changed:
            if not self._changed.wait_for(lambda: all(call.done for call in self.calls), seconds):
                still = [str(call.key) for call in self.calls if not call.done]
                raise TimeoutError(f"Still on their way after {seconds:.0f} s: {still}")

    def carried_out(self) -> list[Call]:
        with self._lock:
            return [call for call in self.calls if call.took_effect]

    def keys(self) -> list[Key]:
        with self._lock:
            return [call.key for call in self.calls]


class Proxy:
    """Listens on a free port of 127.0.0.1 until `close`."""

    def __init__(self, side: str, upstream: str, script: Script) -> None:
        self.side, self.script = side, script
        parts = urlsplit(upstream)
        self.upstream = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._listener = self._listen(0)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._closed = False
        threading.Thread(target=self._accept, name=f"proxy {side}", daemon=True).start()

    @staticmethod
    def _listen(port: int) -> socket.socket:
        return socket.create_server(("127.0.0.1", port), backlog=64)

    def _accept(self) -> None:
        while not self._closed:
            listener = self._listener
            try:
                connection, address = listener.accept()
            except OSError:
                time.sleep(0.02)  # closed for a while, or for good
                continue
            with self._lock:
                self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection, address), daemon=True).start()

    def _serve(self, connection: socket.socket, address: Any) -> None:
        with suppress(OSError, ValueError):
            _Handler(connection, address, self)
        with self._lock:
            self._open.discard(connection)
        with suppress(OSError):
            connection.close()

    def refuse(self, seconds: float) -> None:
        """No connection for some seconds, and those that are open end."""
        # shutdown wakes the thread in accept(); close alone would leave it there, and the port open
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop_connections()

        def listen_again() -> None:
            if not self._closed:
                self._listener = self._listen(self.port)

        timer = threading.Timer(seconds, listen_again)
        timer.daemon = True
        timer.start()

    def wait_until_listening(self) -> None:
        deadline = time.monotonic() + 10
        while self._listener.fileno() < 0 and time.monotonic() < deadline:
            time.sleep(0.02)

    def drop_connections(self) -> None:
        with self._lock:
            connections, self._open = self._open, set()
        for connection in connections:
            reset(connection)

    def close(self) -> None:
        self._closed = True
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop_connections()


def reset(connection: socket.socket) -> None:
    """End a connection with RST, as a firewall or a dying server does."""
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RD)
    with suppress(OSError):
        os.close(connection.detach())  # at once, whatever files still stand on it


@dataclass
class _Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes


@dataclass
class _Request:
    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes = field(repr=False, default=b"")


class _Gone(Exception):
    """The connection was ended on purpose."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def __init__(self, connection: socket.socket, address: Any, proxy: Proxy) -> None:
        self.proxy, self.script = proxy, proxy.script
        super().__init__(connection, address, proxy)  # type: ignore[arg-type]

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def finish(self) -> None:
        with suppress(OSError, ValueError):
            super().finish()

    def _do(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = _Request(self.command, self.path, list(self.headers.items()), body)
        self._note_secrets(request)
        path = urlsplit(self.path).path
        call = self.script.arrives(self.proxy.side, self.command, path, digest(request))
        try:
            self._handle(call, request)
        except (_Gone, OSError):
            self.close_connection = True
        finally:
            self.script.ended(call)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _do

    def _handle(self, call: Call, request: _Request) -> None:
        fault = call.fault
        if fault == "outage":
            fault = "503"
        if fault in NEVER_ANSWERED:
            self._never_answer(fault, call, request)
        if fault in ANSWERS or fault == REFUSAL:
            self._send(_answer(fault))
            return
        answer = self._forward(call, request)
        if fault in ("reset_after", "timeout_after", "kill_after"):
            self._never_answer(fault.removesuffix("_after"), call, request)
        if fault.endswith("_after"):
            answer = _answer(fault.removesuffix("_after"))
        self._send(answer, truncated=fault == "truncated", slowly=fault == "drip")

    def _never_answer(self, fault: str, call: Call, request: _Request) -> None:
        if fault in ("refused", "restart"):
            self.proxy.refuse(REFUSING if fault == "refused" else RESTARTING)
            raise _Gone
        if fault.startswith("kill"):
            self.script.kill()
        if fault.startswith("timeout"):
            self._wait_for_the_end(HELD)
        if fault.endswith("_late"):
            time.sleep(LATE)
            self._forward(call, request)
        reset(self.connection)
        raise _Gone

    def _wait_for_the_end(self, seconds: float) -> None:
        """Until the client hangs up, but no longer than that."""
        self.connection.settimeout(seconds)
        with suppress(OSError, ValueError):
            self.connection.recv(1)

    def _forward(self, call: Call, request: _Request) -> _Answer:
        upstream = http.client.HTTPConnection(*self.proxy.upstream, timeout=120)
        try:
            upstream.putrequest(request.method, request.target, skip_host=True, skip_accept_encoding=True)
            for name, value in request.headers:
                if name.lower() not in _HOP_BY_HOP:
                    upstream.putheader(name, value)
            if request.body or request.method in ("POST", "PUT"):
                upstream.putheader("Content-Length", str(len(request.body)))
            upstream.putheader("Connection", "close")
            upstream.endheaders(request.body or None)
            response = upstream.getresponse()
            body = response.read()
            call.status = response.status
            headers = [pair for pair in response.getheaders() if pair[0].lower() not in _HOP_BY_HOP]
        finally:
            upstream.close()
        answer = _Answer(response.status, headers, body)
        self._note_secrets_of(answer)
        return answer

    def _send(self, answer: _Answer, *, truncated: bool = False, slowly: bool = False) -> None:
        lines = [f"HTTP/1.1 {answer.status} {http.client.responses.get(answer.status, '')}"]
        lines += [f"{name}: {value}" for name, value in answer.headers]
        lines += [f"Content-Length: {len(answer.body)}", "", ""]
        self.wfile.write("\r\n".join(lines).encode("latin-1"))
        body = answer.body if self.command != "HEAD" else b""
        if truncated:
            self.wfile.write(body[: max(1, len(body) // 2)])
            self.wfile.flush()
            # Ended in order: with RST the client may lose also what was sent, and that is another fault.
            self.connection.shutdown(socket.SHUT_WR)
            raise _Gone
        if slowly:
            pieces = 10
            size = max(1, -(-len(body) // pieces))
            for start in range(0, len(body), size):
                self.wfile.write(body[start : start + size])
                self.wfile.flush()
                time.sleep(DRIP_SECONDS / pieces)
            return
        self.wfile.write(body)
        self.wfile.flush()

    def _note_secrets(self, request: _Request) -> None:
        for name, value in request.headers:
            if name.lower() in ("authorization", "x-csrftoken", "cookie"):
                self.script.keep_secret(value.removeprefix("Bearer ").removeprefix("session="))

    def _note_secrets_of(self, answer: _Answer) -> None:
        for name, value in answer.headers:
            if name.lower() == "set-cookie" and (found := re.match(r"session=([^;]+)", value)):
                self.script.keep_secret(found[1])
        if "/security/" in self.path:
            with suppress(ValueError, AttributeError):
                told = json.loads(answer.body)
                for name in ("access_token", "refresh_token", "result"):
                    self.script.keep_secret(str(told.get(name) or ""))


def _answer(name: str) -> _Answer:
    status, content_type, body = ANSWERS.get(name, _REFUSED)
    headers = [("Content-Type", content_type), ("Server", "gunicorn")]
    if name == "429":
        headers.append(("Retry-After", str(RETRY_AFTER)))
    return _Answer(status, headers, body)


def digest(request: _Request) -> str:
    """The same for two writes that carry the same: a bundle counts by its files, without the time in its metadata."""
    if request.method == "GET":
        return ""
    content = hashlib.sha256(urlsplit(request.target).query.encode())
    start = request.body.find(b"PK\x03\x04")
    if start < 0:
        content.update(request.body)
        return content.hexdigest()
    with zipfile.ZipFile(io.BytesIO(request.body[start:])) as bundle:
        for name in sorted(bundle.namelist()):
            if not name.endswith("metadata.yaml"):
                content.update(name.partition("/")[2].encode() + b"\0" + bundle.read(name))
    return content.hexdigest()
