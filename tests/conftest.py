"""People with their roles, and databases for tests that need real processes."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from rest_framework.test import APIClient

from sstools.roles.models import Grant
from tests.chromium import chromium, open_page  # noqa: F401  fixtures of all tests marked `browser`

PASSWORD = "a long password 1"  # for tests only


@pytest.fixture
def make_user(db: None) -> Callable[..., Any]:
    """make_user("ann", role="author", on="environment:…"): a user with that role, on everything if nothing is said."""

    def make(name: str, role: str = "", on: str = "*", **fields: Any) -> Any:
        user = get_user_model().objects.create_user(name, password=PASSWORD, **fields)
        if role:
            Grant.objects.create(user=user, role=role, scope=on)
        return user

    return make


@pytest.fixture
def viewer(make_user: Callable[..., Any]) -> Any:
    return make_user("viewer", "viewer")


@pytest.fixture
def author(make_user: Callable[..., Any]) -> Any:
    return make_user("author", "author")


@pytest.fixture
def release_lead(make_user: Callable[..., Any]) -> Any:
    return make_user("release_lead", "release_lead")


@pytest.fixture
def admin(make_user: Callable[..., Any]) -> Any:
    """An Admin by grant, not a superuser: grants must be enough."""
    return make_user("admin", "admin")


@pytest.fixture
def stranger(make_user: Callable[..., Any]) -> Any:
    """May sign in, and has no role at all."""
    return make_user("stranger")


@pytest.fixture
def signed_in() -> Callable[[Any], Client]:
    """A browser of that user."""

    def sign_in(user: Any) -> Client:
        client = Client()
        client.force_login(user)
        return client

    return sign_in


@pytest.fixture
def api() -> Callable[[Any], APIClient]:
    """A REST client of that user, with a bearer token as programs use it."""
    from sstools.roles.tokens import create_token

    def sign_in(user: Any) -> APIClient:
        client = APIClient()
        _, text = create_token(user, name="test")
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {text}")
        return client

    return sign_in


@pytest.fixture
def run_jobs() -> Callable[[], int]:
    """Runs the jobs that are queued, here and now, as a worker would. Returns how many."""
    from sstools.jobs.models import Job, State
    from sstools.jobs.runner import run_job

    def run() -> int:
        count = 0
        while uuids := list(
            Job.objects.filter(state=State.QUEUED).order_by("pk").values_list("uuid", flat=True)
        ):
            before = count
            for uuid in uuids:
                count += run_job(str(uuid)) != "nothing to claim"
            if count == before:  # the rest waits for locks
                break
        return count

    return run


@pytest.fixture(autouse=True)
def unpaced(request: pytest.FixtureRequest) -> Iterator[None]:
    """Clients of a Superset know nothing of others: the rows for that are written by a thread of its own, which waits
    for ever where a test keeps its transaction open. `paced` is for tests of it.
    """
    from environments.pacing import unpaced

    if "paced" in request.fixturenames:
        yield
    else:
        with unpaced():
            yield
