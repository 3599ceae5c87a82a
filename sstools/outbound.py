"""The one HTTP client for what is not a Superset: webhooks, forges, language models.

Whoever may enter an address could have ss-tools look into the network that it stands in (SSRF). So an address is
resolved here, looked at, and then the connection goes to just that address, whatever the name says a moment later.
Redirects are not followed, the proxies of the environment are not used, answers are read up to a limit.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

import httpx
from django.conf import settings

from sstools.errors import Invalid, Unavailable

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

CONNECT_SECONDS, READ_SECONDS = 5.0, 15.0
MOST_BYTES = 1_000_000
#: Where clouds tell a machine its credentials: refused whatever is allowed. All of link-local is; these are not in it.
METADATA = frozenset(
    map(ipaddress.ip_address, ("fd00:ec2::254", "100.100.100.200", "192.0.0.192", "168.63.129.16"))
)

NAT64 = ipaddress.ip_network("64:ff9b::/96")


class AddressRefused(Invalid):
    """Not an address that ss-tools calls."""

    code = "address_refused"


class NoAnswer(Unavailable):
    code = "no_answer"


def client(**options: Any) -> httpx.Client:
    """A client for calls to the outside. Close it, or use it in a `with`. `options` as of httpx.Client."""
    timeout = httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
    return httpx.Client(
        transport=GuardedTransport(), follow_redirects=False, trust_env=False, timeout=timeout, **options
    )


def post(url: str, body: bytes, headers: dict[str, str]) -> tuple[int, str]:
    """Send `body`: (status, the beginning of the answer). Raises AddressRefused; NoAnswer."""
    try:
        with client() as http, http.stream("POST", url, content=body, headers=headers) as answer:
            text = b""
            for part in answer.iter_bytes():
                text += part
                if len(text) >= 2000:
                    break
            return answer.status_code, text[:2000].decode("utf-8", "replace")
    except httpx.TimeoutException:
        raise NoAnswer("The other side did not answer in time.") from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise NoAnswer(f"The other side cannot be reached: {_words(error)}") from None


def check(url: str) -> None:
    """Whether ss-tools would call this address now. Raises AddressRefused, with the reason in words."""
    target(httpx.URL(url))


def check_environment(url: str) -> None:
    """Whether a Superset at `url` may be talked to. They stand inside of networks, so those are allowed; where clouds
    keep credentials is not, and with SSTOOLS_ENVIRONMENT_HOSTS nothing that it does not name. A name that is not known
    is left to the connection, which has better words for it. Raises AddressRefused.
    """
    parsed = httpx.URL(url)
    host = parsed.host
    allowed = settings.ENVIRONMENT_HOSTS
    is_named = any(fnmatchcase(host.casefold(), entry.casefold()) for entry in allowed)
    if allowed and not is_named and not _is_within(_literal(host), allowed):
        raise AddressRefused(
            f"{host} is none of the hosts that ss-tools may talk to.",
            code="host_not_allowed",
            remedy="An administrator of the machine can add it to SSTOOLS_ENVIRONMENT_HOSTS.",
        )
    try:
        found = _resolve(host, parsed.port or (443 if parsed.scheme == "https" else 80))
    except NoAnswer:
        return
    if any(_is_forbidden(address) for address in found):
        raise AddressRefused(
            f"{host} is an address at which no Superset is: machines keep their own credentials there.",
            remedy="Enter the address that people use in their browser.",
        )


def target(url: httpx.URL) -> IPAddress | None:
    """The address to connect to; None where the configured proxy connects. Raises AddressRefused; NoAnswer."""
    if url.scheme not in ("https", "http") or not url.host:
        raise AddressRefused("The address must begin with https://.")
    allowed = settings.OUTBOUND_ALLOW
    is_named = url.host.casefold() in {entry.casefold() for entry in allowed}
    if url.scheme == "http" and not is_named and not _is_within(_literal(url.host), allowed):
        raise AddressRefused(
            "The address must begin with https://.",
            remedy="An administrator of the machine can allow a host in SSTOOLS_OUTBOUND_ALLOW.",
        )
    if url.userinfo:
        raise AddressRefused("The address must not hold a user name or a password.")
    found = _allowed(url.host, url.port or (443 if url.scheme == "https" else 80))
    return None if settings.OUTBOUND_PROXY else found[0]


def check_host(host: str, port: int) -> IPAddress:
    """The address to connect to for what is not HTTP: the same rules, no proxy. Raises AddressRefused; NoAnswer."""
    return _allowed(host, port)[0]


def _allowed(host: str, port: int) -> list[IPAddress]:
    """The addresses of a host, if all of them may be called. Raises AddressRefused; NoAnswer."""
    allowed = settings.OUTBOUND_ALLOW
    is_named = host.casefold() in {entry.casefold() for entry in allowed}
    found = _resolve(host, port)
    for address in found:
        if _is_forbidden(address) or not (is_named or _is_public(address) or _is_within(address, allowed)):
            raise AddressRefused(
                f"{host} is an address inside of a network ({address}), and ss-tools does not call those.",
                remedy="An administrator of the machine can allow the host or its network in SSTOOLS_OUTBOUND_ALLOW.",
            )
    return found


def _resolve(host: str, port: int) -> list[IPAddress]:
    if (literal := _literal(host)) is not None:
        return [literal]
    try:
        rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise NoAnswer(f"There is no host {host}.", code="name_not_resolved") from None
    return [ipaddress.ip_address(str(row[4][0]).partition("%")[0]) for row in rows]


def _literal(host: str) -> IPAddress | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None


def _plain(address: IPAddress) -> IPAddress:
    """::ffff:10.0.0.1 and its like as the IPv4 address that is meant."""
    if isinstance(address, ipaddress.IPv6Address):
        if address in NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        return address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1] or address
    return address


def _is_forbidden(address: IPAddress) -> bool:
    plain = _plain(address)
    return plain.is_link_local or plain.is_multicast or plain.is_unspecified or plain in METADATA


def _is_public(address: IPAddress) -> bool:
    return _plain(address).is_global


def _is_within(address: IPAddress | None, entries: Iterable[str]) -> bool:
    if address is None:
        return False
    for entry in entries:
        try:
            if _plain(address) in ipaddress.ip_network(entry, strict=False):
                return True
        except ValueError:  # a host name
            continue
    return False


class GuardedTransport(httpx.BaseTransport):
    """Connects to the address that was looked at, and to no other; TLS is checked against the name."""

    def __init__(self) -> None:
        proxy = settings.OUTBOUND_PROXY or None
        context = httpx.create_ssl_context(trust_env=False)
        if settings.OUTBOUND_CA_BUNDLE:
            context.load_verify_locations(settings.OUTBOUND_CA_BUNDLE)
        self._inner = httpx.HTTPTransport(verify=context, retries=0, trust_env=False, proxy=proxy)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Raises AddressRefused; NoAnswer if the name is not known."""
        if (address := target(request.url)) is not None:
            host = request.url.host
            request.url = request.url.copy_with(host=str(address))
            request.extensions = {**request.extensions, "sni_hostname": host}
        return self._inner.handle_request(request)

    def close(self) -> None:
        self._inner.close()


def _words(error: Exception) -> str:
    return str(error)[:200] or type(error).__name__
