"""From an environment to a client that talks to it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx

from .certificates import pem_file
from .credentials import auth_for
from .models import Environment
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
) -> SupersetClient:
    """A client for this environment, with its credentials, certificate, proxy and timeouts; a context manager.

    `capabilities`: None takes those that the last test found, and detects where there are none.
    `before_request(method, path)`: called right before each request leaves; what it raises keeps it from being sent.
    Sends nothing yet. Raises CredentialMissing, SupersetRefused(bad_url, bad_ca_file).
    """
    return SupersetClient(
        environment.url,
        auth_for(environment),
        ca_file=pem_file(environment.ca_certificate) if environment.ca_certificate else None,
        proxy=environment.proxy_url or None,
        read_timeout=environment.read_timeout_seconds,
        import_timeout=environment.import_timeout_seconds,
        max_parallel=environment.max_parallel,
        transport=_transport_for(environment),
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
