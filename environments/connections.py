"""From an environment to a client that talks to it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx

from sstools import outbound

from . import pacing
from .certificates import pem_file
from .credentials import auth_for
from .models import Environment
from .sign_ins import shared
from .superset.answer import RequestRecord
from .superset.client import SupersetClient
from .superset.versions import Capabilities

TransportFor = Callable[[Environment], httpx.BaseTransport | None]

_transport_for: TransportFor = lambda environment: None  # noqa: E731


def connect(
    environment: Environment,
    *,
    on_request: Callable[[RequestRecord], None] | None = None,
    before_request: Callable[[str, str], None] | None = None,
    capabilities: Capabilities | None = None,
    sign_in_anew: bool = False,
) -> SupersetClient:
    """A client for this environment, with its credentials, certificate, proxy and timeouts; a context manager.

    `capabilities`: None takes those that the last test found, and detects where there are none.
    `before_request(method, path)`: called right before each request leaves; what it raises keeps it from being sent.
    `sign_in_anew`: prove that the credential is good, instead of using what this process is signed in with already.
    Sends nothing yet. Raises CredentialMissing, SupersetRefused(bad_url, bad_ca_file), AddressRefused.
    """
    transport = _transport_for(environment)
    if transport is None and not environment.proxy_url:
        outbound.check_environment(environment.url)
    auth = auth_for(environment)
    return SupersetClient(
        environment.url,
        auth if sign_in_anew else shared(environment, auth),
        ca_file=pem_file(environment.ca_certificate) if environment.ca_certificate else None,
        proxy=environment.proxy_url or None,
        read_timeout=environment.read_timeout_seconds,
        import_timeout=environment.import_timeout_seconds,
        max_parallel=environment.max_parallel,
        pace=pacing.visit(environment),
        transport=transport,
        on_request=on_request,
        before_request=before_request,
        capabilities=capabilities or environment.known_capabilities,
    )


@contextmanager
def connecting_through(transport_for: TransportFor) -> Iterator[None]:
    """For tests: all clients made inside use the transport that this function gives for their environment."""
    global _transport_for
    before, _transport_for = _transport_for, transport_for
    try:
        yield
    finally:
        _transport_for = before
