"""What becomes of a run whose import was sent and whose answer never came, on a real Superset."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from environments.connections import connecting_through
from environments.lab.instance import RunningSuperset
from environments.models import Environment
from tests.live.product import Product, fingerprints, product

pytestmark = [pytest.mark.live]
__all__ = ["product"]

Lease = Callable[..., RunningSuperset]


class LosingTransport(httpx.BaseTransport):
    """Passes everything on, but loses answers to imports: before they were sent, or after they were carried out.

    The first of these is the `on_import`-th; `times` of them follow each other.
    """

    def __init__(
        self, *, after_effect: bool, on_import: int = 1, status: int | None = None, times: int = 1
    ) -> None:
        self._real = httpx.HTTPTransport()
        self._after_effect, self._status = after_effect, status
        self._lost = range(on_import, on_import + times)
        self.imports = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST" and "/import/" in request.url.path:
            self.imports += 1
            if self.imports in self._lost:
                if self._after_effect:
                    self._real.handle_request(request).read()
                if self._status is not None:
                    return httpx.Response(
                        self._status, text="<html><body>Bad gateway</body></html>", request=request
                    )
                raise httpx.ReadTimeout("lost", request=request)
        return self._real.handle_request(request)


class CuttingTransport(httpx.BaseTransport):
    """Sends half of the first import and closes its side, as a line that breaks; tells it as httpcore does.

    `answers`: what Superset makes of that half. `assets`: datasets and charts before and after it.
    """

    def __init__(self) -> None:
        self._real = httpx.HTTPTransport()
        self.imports = 0
        self.answers: list[bytes] = []
        self.assets: list[list[int]] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST" and "/import/" in request.url.path:
            self.imports += 1
            if self.imports == 1:
                self.assets.append(self._count(request))
                self._send_half(request)
                self.assets.append(self._count(request))
                raise httpx.ReadError("connection reset by peer", request=request)
        return self._real.handle_request(request)

    def _count(self, request: httpx.Request) -> list[int]:
        headers = {"Authorization": request.headers["authorization"]}
        lists = [request.url.copy_with(path=f"/api/v1/{kind}/", query=None) for kind in ("dataset", "chart")]
        return [int(httpx.get(url, headers=headers, trust_env=False).json()["count"]) for url in lists]

    def _send_half(self, request: httpx.Request) -> None:
        trace, body = request.extensions["trace"], request.read()
        head = [f"{request.method} {request.url.raw_path.decode()} HTTP/1.1".encode()]
        head += [name + b": " + value for name, value in request.headers.raw]
        with socket.create_connection((request.url.host, request.url.port or 80), timeout=60) as line:
            trace("http11.send_request_headers.started", {})
            line.sendall(b"\r\n".join(head) + b"\r\n\r\n" + body[: len(body) // 2])
            line.shutdown(socket.SHUT_WR)
            self.answers.append(line.recv(65536))


@pytest.fixture(autouse=True)
def bound(settings: Any) -> None:
    settings.WRITE_ENDS_PERCENT = 30  # of 30 s, the shortest import timeout


def short(environment: Environment) -> Environment:
    environment.import_timeout_seconds = 30
    environment.save()
    return environment


@pytest.mark.parametrize("on_import", [1, 2])
@pytest.mark.parametrize("status", [None, 502])
def test_an_import_that_was_carried_out_is_found_and_not_sent_again(
    product: Product,
    dev: RunningSuperset,
    fresh_target: Lease,
    on_import: int,
    status: int | None,
) -> None:
    source, target = product.register("dev", dev), short(product.register("prod", fresh_target()))
    games = product.uuids(source, "dashboard", title="Video Game Sales")
    migration = product.migrate(source, target, games, verify=False)
    transport = LosingTransport(after_effect=True, on_import=on_import, status=status)
    with connecting_through(_only(target, transport)):
        run = product.apply(migration)
    assert run.state == "applied"
    assert transport.imports == 2  # datasets and charts, then the dashboard: none of them twice
    again = product.migrate(source, target, games, verify=False)
    assert again.plan is not None
    assert again.plan.write_count == 0


@pytest.mark.parametrize("on_import", [1, 2])
def test_an_import_that_was_not_carried_out_is_sent_again_once_that_is_proven(
    product: Product, dev: RunningSuperset, fresh_target: Lease, on_import: int
) -> None:
    source, target = product.register("dev", dev), short(product.register("prod", fresh_target()))
    games = product.uuids(source, "dashboard", title="Video Game Sales")
    migration = product.migrate(source, target, games, verify=False)
    transport = LosingTransport(after_effect=False, on_import=on_import)
    with connecting_through(_only(target, transport)):
        run = product.apply(migration)
    assert run.state == "applied"
    assert transport.imports == 3


@pytest.mark.parametrize("on_import", [1, 2])
def test_imports_that_are_never_carried_out_are_undone_as_a_whole(
    product: Product, dev: RunningSuperset, fresh_target: Lease, on_import: int
) -> None:
    source, target = product.register("dev", dev), short(product.register("prod", fresh_target()))
    before = fingerprints(product.read(target))
    games = product.uuids(source, "dashboard", title="Video Game Sales")
    migration = product.migrate(source, target, games, verify=False)
    transport = LosingTransport(after_effect=False, on_import=on_import, times=9)
    with connecting_through(_only(target, transport)):
        run = product.apply(migration, "failed")
    assert run.state == ("stopped" if on_import == 1 else "rolled_back")  # there was nothing to roll back
    # One more, after the target had proven that the first came to nothing.
    assert transport.imports == on_import + 1
    assert fingerprints(product.read(target)) == before
    assert "was not carried out" in run.error["message"]
    assert ("has been undone" in run.error["message"]) == (on_import == 2)


@pytest.mark.parametrize("version", ["6.1.0", "4.1.4"])
def test_half_an_import_is_none_to_superset_and_nobody_waits_for_it(
    product: Product, dev: RunningSuperset, fresh_target: Lease, settings: Any, version: str
) -> None:
    settings.WRITE_ENDS_PERCENT = 10_000  # were it settled by waiting, this test would not end
    source, target = product.register("dev", dev), short(product.register("prod", fresh_target(version)))
    games = product.uuids(source, "dashboard", title="Video Game Sales")
    migration = product.migrate(source, target, games, verify=False)
    transport = CuttingTransport()
    with connecting_through(_only(target, transport)):
        run = product.apply(migration)
    assert run.state == "applied"
    assert transport.assets[0] == transport.assets[1]
    assert b" 200 " not in transport.answers[0].partition(b"\r\n")[0]


def _only(
    target: Environment, transport: httpx.BaseTransport
) -> Callable[[Environment], httpx.BaseTransport | None]:
    return lambda environment: transport if environment.pk == target.pk else None
