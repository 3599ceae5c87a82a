"""A place between ss-tools and small Supersets where one request goes wrong: the n-th, in one of many ways."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx

from sstools.jobs.services import LeaseLost

from .superset import Broken, FakeSuperset
from .superset_bundles import _multipart

NO_REASON = {"errors": [{"message": "OperationalError: server closed the connection unexpectedly"}]}

#: What may happen to one request. `after`: Superset had done it before.
FAULTS = (
    "dies",  # the worker, before it is sent
    "dies_after",
    "dies_late",  # the worker dies, and Superset does it while somebody looks at it already
    "reset",
    "reset_after",
    "reset_late",  # the line breaks, and Superset goes on with it
    "timeout_after",
    "truncated",
    "500",
    "500_after",
    "html_500",
    "502",
    "502_late",
    "504_after",
    "html_200",
    "html_200_after",
    "login",
    "429",
)


@dataclass
class Gate:
    """Counts the requests to all Supersets behind it; `at` is the one to which `fault` happens, `down_from` the first
    of those that find nobody.
    """

    at: int = -1
    fault: str | Callable[[], object] = ""  # a callable is called, then the request is answered as usual
    down_from: int | None = None
    seen: list[str] = field(default_factory=list)  # "POST /api/v1/assets/import/" of all that arrived here
    imports: list[str] = field(default_factory=list)  # digests of the bundles that were carried out
    late: list[Callable[[], object]] = field(default_factory=list)  # what Superset goes on with

    def before(self, superset: FakeSuperset) -> httpx.BaseTransport:
        return _Side(self, superset)

    def time_passes(self) -> None:
        """What was under way comes to its end."""
        while self.late:
            self.late.pop(0)()

    @property
    def writes(self) -> list[int]:
        """Numbers of the requests that change something."""
        return [
            number
            for number, line in enumerate(self.seen)
            if not line.startswith("GET") and "/security/" not in line and "/chart/data" not in line
        ]


class _Side(httpx.BaseTransport):
    def __init__(self, gate: Gate, superset: FakeSuperset) -> None:
        self.gate = gate
        self.superset = superset

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        gate = self.gate
        number = len(gate.seen)
        gate.seen.append(f"{request.method} {request.url.path}")
        if gate.down_from is not None and number >= gate.down_from:
            raise httpx.ConnectError("refused", request=request) from ConnectionRefusedError(111, "refused")
        if number != gate.at:
            return self._do(request)
        if not isinstance(gate.fault, str):
            gate.fault()
            return self._do(request)
        return self._misbehave(request, gate.fault)

    def _misbehave(self, request: httpx.Request, fault: str) -> httpx.Response:
        what, _, when = fault.rpartition("_")
        if when == "after":
            done = self._do(request)
        elif when == "late":
            self.gate.late.append(lambda: self._do(request))
        else:
            what = fault
        if what == "dies":
            raise LeaseLost
        if what == "reset":
            raise httpx.ReadError("connection reset by peer", request=request)
        if what == "timeout":
            raise httpx.ReadTimeout("timed out", request=request)
        if what == "truncated":
            done = self._do(request)
            return httpx.Response(done.status_code, headers=done.headers, stream=Broken(done.content))
        if what == "500":
            return httpx.Response(500, json=NO_REASON)
        if what == "html_500":
            return httpx.Response(500, html="<title>500: Internal server error | Superset</title>")
        if what in ("502", "504"):
            return httpx.Response(int(what), html="<h1>Bad Gateway</h1>")
        if what == "html_200":
            return httpx.Response(200, html="<title>Welcome to nginx!</title>")
        if what == "login":
            return httpx.Response(302, headers={"location": "https://sso.example.org/sign-in"})
        assert what == "429", fault
        return httpx.Response(429, json={"message": "too many"}, headers={"retry-after": "0"})

    def _do(self, request: httpx.Request) -> httpx.Response:
        answer = self.superset.handle_request(request)
        if request.url.path.endswith("/import/") and answer.status_code == 200:
            self.gate.imports.append(_digest(request))
        return answer


def _digest(request: httpx.Request) -> str:
    """Of a bundle's files, without the moment it was made."""
    form = _multipart(request)
    content = form.get("bundle") or form.get("formData") or b""
    with zipfile.ZipFile(io.BytesIO(content)) as bundle:
        files = sorted(
            (name.split("/", 1)[1], bundle.read(name))
            for name in bundle.namelist()
            if not name.endswith("metadata.yaml")
        )
    return hashlib.sha1(repr((request.url.path, files)).encode(), usedforsecurity=False).hexdigest()
