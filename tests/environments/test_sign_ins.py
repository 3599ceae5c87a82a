"""One sign-in serves all clients of a process, and never one that is meant for another account or address."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from environments import services, sign_ins
from environments.connections import connect
from environments.models import Environment
from environments.superset.errors import SupersetRefused
from tests.fakes.superset import FakeSuperset

from .conftest import PASSWORD, fill

pytestmark = pytest.mark.django_db


def logins(fake: FakeSuperset) -> int:
    return sum(request.url.path.endswith("/security/login") for request in fake.requests)


def ask(environment: Environment) -> None:
    with connect(Environment.objects.get(pk=environment.pk)) as client:
        client.list_dashboards()


def test_clients_one_after_the_other_sign_in_once(environment: Environment, superset: FakeSuperset) -> None:
    for _ in range(3):
        ask(environment)
    assert logins(superset) == 1


def test_a_test_of_the_connection_proves_the_password(
    environment: Environment, superset: FakeSuperset
) -> None:
    ask(environment)
    superset.users = {"admin": "another"}
    services.run_check(environment)
    assert environment.check_report["stages"][-1]["code"] == "unauthorized"


@pytest.mark.parametrize(
    "change",
    [{"secret": "another"}, {"username": "somebody"}, {"url": "https://other.test", "secret": PASSWORD}],
)
def test_what_is_signed_in_is_not_used_for_another_password_account_or_address(
    environment: Environment, superset: FakeSuperset, owner: Any, change: dict[str, str]
) -> None:
    superset.users["somebody"] = PASSWORD
    ask(environment)
    superset.users["admin"] = change.get("secret", PASSWORD)
    services.update_environment(environment, change, actor=owner)
    ask(environment)
    assert logins(superset) == 2


def test_a_token_that_is_refused_is_replaced_for_all(
    environment: Environment, superset: FakeSuperset
) -> None:
    with connect(environment) as one, connect(environment) as other:
        one.list_dashboards()
        superset.expire_tokens()
        other.list_charts()
        one.list_datasets()
    assert logins(superset) == 2


def test_a_wrong_password_is_tried_anew_each_time(environment: Environment, superset: FakeSuperset) -> None:
    superset.users = {"admin": "another"}
    for _ in range(2):
        with pytest.raises(SupersetRefused):
            ask(environment)
    superset.users = {"admin": PASSWORD}
    ask(environment)


def test_two_environments_at_one_address_have_their_own(
    registered: Callable[..., Environment], superset: FakeSuperset
) -> None:
    fill(superset)
    for name in ("One", "Two"):
        ask(registered(superset, name))
    assert logins(superset) == 2


def test_what_nobody_uses_is_forgotten(
    environment: Environment, superset: FakeSuperset, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(environment)
    monkeypatch.setattr(sign_ins, "KEPT_SECONDS", -1.0)
    ask(environment)
    assert logins(superset) == 2
    assert len(sign_ins._signed_in) == 1
