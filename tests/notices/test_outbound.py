"""What ss-tools calls, and what it does not."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from sstools import outbound
from sstools.outbound import AddressRefused, NoAnswer

from .receiver import Receiver, serve


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    server = serve(made)
    yield made
    server.shutdown()
    server.server_close()


@pytest.fixture
def resolves(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """resolves("hook.test", "10.0.0.1", …): what the name means, each look-up the next of these and then the last."""

    def to(host: str, *addresses: str) -> None:
        left = list(addresses)
        real = socket.getaddrinfo

        def look_up(name: str, port: int, *args: Any, **kwargs: Any) -> Any:
            if name != host:
                return real(name, port, *args, **kwargs)
            address = left.pop(0) if len(left) > 1 else left[0]
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            return [(family, socket.SOCK_STREAM, 6, "", (address, port))]

        monkeypatch.setattr(outbound.socket, "getaddrinfo", look_up)

    return to


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "127.0.0.1",
        "::1",
        "fc00::1",
        "100.64.0.1",
        "0.0.0.0",
        "169.254.169.254",
        "fe80::1",
        "fd00:ec2::254",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "2002:0a00:0001::1",
        "64:ff9b::a00:1",
    ],
)
def test_what_is_inside_of_a_network_is_not_called(address: str, resolves: Any, settings: Any) -> None:
    resolves("hook.test", address)
    with pytest.raises(AddressRefused):
        outbound.check("https://hook.test/x")
    literal = f"[{address}]" if ":" in address else address
    with pytest.raises(AddressRefused):
        outbound.check(f"https://{literal}/x")


@pytest.mark.parametrize(
    "url",
    ["http://8.8.8.8/", "ftp://8.8.8.8/", "file:///etc/passwd", "https://", "https://user:pw@8.8.8.8/", "x"],
)
def test_what_is_no_address_for_us(url: str) -> None:
    with pytest.raises(AddressRefused):
        outbound.check(url)


def test_what_is_public_is(resolves: Any) -> None:
    resolves("hook.test", "8.8.8.8")
    outbound.check("https://hook.test/x")


def test_hosts_and_networks_can_be_allowed_and_metadata_never(resolves: Any, settings: Any) -> None:
    settings.OUTBOUND_ALLOW = ["hook.test", "10.0.0.0/8", "169.254.0.0/16", "meta.test"]
    resolves("hook.test", "192.168.1.1")
    outbound.check("http://hook.test/x")
    outbound.check("http://10.1.2.3/x")
    resolves("meta.test", "169.254.169.254")
    with pytest.raises(AddressRefused):
        outbound.check("http://meta.test/latest/meta-data")


def test_a_name_that_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NoAnswer, match="no host"):
        outbound.check("https://nobody.invalid/")


def test_the_connection_goes_to_the_address_that_was_looked_at(
    resolves: Any, settings: Any, receiver: Receiver
) -> None:
    """A name may mean something else a moment later (DNS rebinding): it is looked up once."""
    settings.OUTBOUND_ALLOW = ["hook.test"]
    resolves("hook.test", "127.0.0.1", "10.255.255.1")
    status, text = outbound.post(f"http://hook.test:{receiver.port}/hook", b"{}", {})
    assert (status, text) == (200, "thank you")
    assert receiver.calls[0].headers["Host"] == f"hook.test:{receiver.port}"


def test_redirects_are_not_followed(settings: Any, receiver: Receiver) -> None:
    settings.OUTBOUND_ALLOW = ["127.0.0.1"]
    receiver.answers, receiver.leads_to = [302], f"http://127.0.0.1:{receiver.port}/elsewhere"
    assert outbound.post(receiver.url, b"{}", {})[0] == 302
    assert [call.path for call in receiver.calls] == ["/hook?key=canary-in-the-address"]


def test_proxies_of_the_environment_are_not_used(
    settings: Any, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    settings.OUTBOUND_ALLOW = ["127.0.0.1"]
    assert outbound.post(receiver.url, b"{}", {})[0] == 200


def test_who_does_not_answer_is_an_error_of_ours(settings: Any) -> None:
    settings.OUTBOUND_ALLOW = ["127.0.0.1"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
        with pytest.raises(NoAnswer):
            outbound.post(url, b"", {})


def test_tls_is_checked_against_the_name(resolves: Any, settings: Any, tmp_path: Any) -> None:
    from tests.fakes.adfs import FakeAdfs

    provider = FakeAdfs({}, tmp_path)  # some server with TLS, of an authority that nobody knows
    try:
        settings.OUTBOUND_ALLOW = ["hook.test"]
        resolves("hook.test", "127.0.0.1")
        with pytest.raises(NoAnswer, match="certificate"):
            outbound.post(f"https://hook.test:{provider.host.rpartition(':')[2]}/", b"", {})
    finally:
        provider.close()


def test_a_client_does_not_take_what_is_not_allowed() -> None:
    with outbound.client() as client, pytest.raises(AddressRefused):
        client.get("https://127.0.0.1/")
    assert issubclass(outbound.GuardedTransport, httpx.BaseTransport)
