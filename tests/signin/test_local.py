"""Names and passwords: who may use them, and how often."""

from typing import Any

import pytest
from django.test import Client

from sstools.audit.models import AuditEvent

pytestmark = pytest.mark.django_db
PASSWORD = "a long password 1"


def attempt(client: Client, name: str, password: str = PASSWORD, **extra: Any) -> Any:
    return client.post("/login/", {"username": name, "password": password}, **extra)


@pytest.mark.parametrize(
    ("mode", "ann", "root"), [("everybody", 302, 302), ("superusers", 422, 302), ("nobody", 422, 422)]
)
def test_who_may_use_a_password(
    client: Client, make_user: Any, settings: Any, mode: str, ann: int, root: int
) -> None:
    settings.LOCAL_SIGN_IN = mode
    make_user("ann")
    make_user("root", is_superuser=True)
    assert attempt(Client(), "ann").status_code == ann
    assert attempt(Client(), "root").status_code == root


def test_switching_passwords_off_ends_the_sessions_that_they_opened(
    client: Client, make_user: Any, settings: Any
) -> None:
    make_user("ann")
    attempt(client, "ann")
    assert client.get("/me/").status_code == 200
    settings.LOCAL_SIGN_IN = "superusers"
    assert client.get("/me/").status_code == 302


def test_the_form_is_one_click_away_where_passwords_are_for_emergencies(
    client: Client, settings: Any
) -> None:
    settings.LOCAL_SIGN_IN, settings.SSO = "superusers", True
    assert "Emergency account" in client.get("/login/").content.decode()
    assert 'type="password"' not in client.get("/login/").content.decode()
    assert 'type="password"' in client.get("/login/?local").content.decode()


def test_too_many_wrong_passwords_close_sign_in_from_there_and_not_from_elsewhere(
    client: Client, make_user: Any, settings: Any
) -> None:
    settings.AXES_FAILURE_LIMIT = 3
    make_user("ann")
    make_user("bea")
    for _ in range(2):
        assert attempt(client, "ann", "wrong").status_code == 422
    closed = attempt(client, "ann", "wrong")
    assert (closed.status_code, closed["Retry-After"]) == (429, "900")
    assert attempt(client, "ann").status_code == 429  # the right one too
    assert "Too many attempts" in attempt(client, "ann").content.decode()
    assert attempt(Client(), "bea").status_code == 302
    assert attempt(Client(REMOTE_ADDR="10.0.0.9"), "ann").status_code == 302


def test_the_same_words_for_a_user_that_there_is_not(client: Client, make_user: Any, settings: Any) -> None:
    settings.AXES_FAILURE_LIMIT = 2
    make_user("ann")
    answers = {}
    for name in ("ann", "nobody"):
        attempt(Client(), name, "wrong")
        answers[name] = attempt(Client(), name, "wrong")
    assert {answer.status_code for answer in answers.values()} == {429}


def test_a_right_password_forgets_the_wrong_ones(client: Client, make_user: Any, settings: Any) -> None:
    settings.AXES_FAILURE_LIMIT = 3
    make_user("ann")
    for _ in range(3):
        attempt(Client(), "ann", "wrong")
        attempt(Client(), "ann", "wrong")
        assert attempt(Client(), "ann").status_code == 302


def test_behind_a_proxy_the_address_that_the_proxy_saw_counts(
    client: Client, make_user: Any, settings: Any
) -> None:
    settings.TRUST_PROXY = True
    make_user("ann")
    attempt(
        client, "ann", HTTP_X_FORWARDED_FOR="1.2.3.4, 10.1.1.1"
    )  # the first was written by the client itself
    assert AuditEvent.objects.get(action="session:start").address == "10.1.1.1"


def test_history_has_sign_ins_refusals_and_sign_outs_and_never_what_was_typed(
    client: Client, make_user: Any
) -> None:
    make_user("ann")
    attempt(client, "ann", "hunter2-typed-wrong")
    attempt(client, "hunter2-in-the-wrong-field", "x")
    attempt(client, "ann")
    client.post("/logout/")
    events = list(AuditEvent.objects.order_by("number"))
    assert [event.action for event in events] == ["session:refused", "session:start", "session:end"]
    from axes.models import AccessAttempt

    everything = str([vars(event) for event in events]) + str(
        list(AccessAttempt.objects.values_list("get_data", "post_data"))
    )
    assert "hunter2" not in everything
