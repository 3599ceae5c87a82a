"""A directory for tests: the look-alike, and ss-tools configured for it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.adfs import CLIENT_ID, CLIENT_SECRET, RESOURCE, FakeAdfs

USERS: dict[str, dict[str, Any]] = {
    "alice": {
        "winaccountname": "alice",
        "given_name": "Alice",
        "family_name": "Ng",
        "email": "alice@corp.test",
        "group": ["BI-Release", "BI-Authors"],
    },
    "bob": {
        "winaccountname": "bob",
        "given_name": "Bob",
        "family_name": "Old",
        "email": "no address",
        "group": "BI-View",
    },
    "carol": {"winaccountname": "carol"},
}


@pytest.fixture(scope="session")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeAdfs]:
    made = FakeAdfs(USERS, tmp_path_factory.mktemp("adfs"))
    yield made
    made.close()


@pytest.fixture
def configure(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """configure("localhost:1234", ca_file): ss-tools signs people in there, and knows nothing of it yet."""

    def point(host: str, ca_file: str) -> None:
        settings.SSO = True
        settings.AUTH_ADFS = {
            "SERVER": host,
            "CLIENT_ID": CLIENT_ID,
            "CLIENT_SECRET": CLIENT_SECRET,
            "RELYING_PARTY_ID": RESOURCE,
            "AUDIENCE": [RESOURCE],
            "USERNAME_CLAIM": "winaccountname",
            "GROUPS_CLAIM": "group",
            "TIMEOUT": 2,
            "RETRIES": 0,
            "CONFIG_RELOAD_INTERVAL": 1,
        }
        from django_auth_adfs.config import provider_config
        from django_auth_adfs.config import settings as library  # kept by the library for the whole process

        from sstools.signin import adfs  # noqa: F401  puts the guards in place

        for name, value in settings.AUTH_ADFS.items():
            monkeypatch.setattr(library, name, value)
        monkeypatch.setattr(provider_config.session, "verify", ca_file)
        for name in (
            "_config_timestamp",
            "_mode",
            "authorization_endpoint",
            "signing_keys",
            "token_endpoint",
        ):
            monkeypatch.setattr(provider_config, name, None)

    return point


@pytest.fixture
def adfs(provider: FakeAdfs, configure: Callable[[str, str], None]) -> FakeAdfs:
    """The directory, with the users of this module and nothing asked yet."""
    configure(provider.host, str(provider.ca_file))
    provider.asked.clear()
    provider.lost_nonce = False
    provider.users = {name: dict(claims) for name, claims in USERS.items()}
    return provider


@pytest.fixture
def nobody_answers(configure: Callable[[str, str], None], tmp_path: Path, provider: FakeAdfs) -> None:
    """A directory that cannot be reached."""
    configure("localhost:9", str(provider.ca_file))
