"""Sign-in through the directory, over a look-alike of ADFS; a real provider is in test_provider.py."""

from __future__ import annotations

import ssl
import time
from typing import Any

import httpx
import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from rest_framework.test import APIClient

from sstools.audit.models import AuditEvent
from sstools.roles.models import Grant, Group
from sstools.signin.models import Identity
from tests.fakes.adfs import CLIENT_SECRET, FakeAdfs

pytestmark = pytest.mark.django_db


def group(name: str, role: str = "") -> Group:
    made = Group.objects.create(name=name, source="adfs")
    if role:
        Grant.objects.create(group=made, role=role)
    return made


def answer_of(adfs: FakeAdfs, client: Client, user: str, next_url: str = "/me/") -> str:
    """Go to the provider, choose `user` there: the path that the browser comes back to."""
    address = client.get("/oauth2/login", {"next": next_url})["Location"]
    with httpx.Client(verify=ssl.create_default_context(cafile=str(adfs.ca_file))) as browser:
        assert browser.get(address).status_code == 200
        back = browser.post(address, data={"user": user}).headers["location"]
    return back.removeprefix("http://testserver")


def sign_in(adfs: FakeAdfs, client: Client, user: str, next_url: str = "/me/") -> Any:
    return client.get(answer_of(adfs, client, user, next_url))


def groups_of(name: str) -> set[str]:
    return set(get_user_model().objects.get(username=name).access_groups.values_list("name", flat=True))


def bearer(adfs: FakeAdfs, token: str) -> Any:
    return APIClient().get("/api/v1/environments/", HTTP_AUTHORIZATION=f"Bearer {token}")


def test_one_lands_where_one_wanted_with_the_names_and_groups_of_the_directory(
    adfs: FakeAdfs, client: Client
) -> None:
    group("bi-release", "release_lead")
    answer = sign_in(adfs, client, "alice", "/migrations/?mine=1")
    assert (answer.status_code, answer["Location"]) == (302, "/migrations/?mine=1")
    user = get_user_model().objects.get(username="alice")
    assert (user.get_full_name(), user.email, user.has_usable_password()) == (
        "Alice Ng",
        "alice@corp.test",
        False,
    )
    assert groups_of("alice") == {"bi-release"}
    assert client.get("/migrations/").status_code == 200
    started = AuditEvent.objects.get(action="session:start")
    assert (started.data, started.address) == ({"with": "directory"}, "127.0.0.1")


def test_a_group_that_was_taken_away_there_is_gone_at_the_next_sign_in(
    adfs: FakeAdfs, client: Client
) -> None:
    group("BI-Release", "release_lead")
    group("BI-Authors", "author")
    sign_in(adfs, client, "alice")
    adfs.users["alice"]["group"] = ["BI-Authors"]
    sign_in(adfs, Client(), "alice")
    assert groups_of("alice") == {"BI-Authors"}
    del adfs.users["alice"]["group"]  # ADFS leaves the claim out for who is in none
    sign_in(adfs, Client(), "alice")
    assert groups_of("alice") == set()


def test_a_wrong_address_of_the_directory_keeps_nobody_out(adfs: FakeAdfs, client: Client) -> None:
    assert sign_in(adfs, client, "bob").status_code == 302
    assert get_user_model().objects.get(username="bob").email == ""


@pytest.mark.parametrize("unsafe", ["https://evil.test/", "//evil.test/", "javascript:alert(1)"])
def test_next_never_leads_to_another_site(adfs: FakeAdfs, client: Client, unsafe: str) -> None:
    assert sign_in(adfs, client, "carol", unsafe)["Location"] == "/"


def test_somebody_elses_answer_signs_nobody_in(adfs: FakeAdfs, client: Client) -> None:
    stolen = answer_of(adfs, Client(), "alice")
    victim = Client()
    answer_of(adfs, victim, "bob")  # also with a sign-in of one's own under way
    for browser in (Client(), victim):
        answer = browser.get(stolen)
        assert answer.status_code == 400
        assert "not started in this browser" in answer.content.decode()
        assert "_auth_user_id" not in browser.session
    assert not Identity.objects.exists()


def test_an_answer_counts_once(adfs: FakeAdfs, client: Client) -> None:
    path = answer_of(adfs, client, "alice")
    assert client.get(path).status_code == 302
    assert client.get(path).status_code == 400


def test_two_tabs_can_sign_in_at_the_same_time(adfs: FakeAdfs, client: Client) -> None:
    first = answer_of(adfs, client, "alice", "/jobs/")
    second = answer_of(adfs, client, "alice", "/me/")
    assert client.get(first)["Location"] == "/jobs/"
    assert client.get(second)["Location"] == "/me/"


def test_an_answer_that_comes_late_is_refused(
    adfs: FakeAdfs, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = answer_of(adfs, client, "alice")
    later = time.time() + 601
    monkeypatch.setattr("sstools.signin.adfs.time.time", lambda: later)
    assert client.get(path).status_code == 400


def test_an_id_token_of_another_sign_in_is_refused(adfs: FakeAdfs, client: Client) -> None:
    adfs.lost_nonce = True
    answer = sign_in(adfs, client, "alice")
    assert answer.status_code == 401
    assert not get_user_model().objects.filter(username="alice").exists()


@pytest.mark.parametrize(
    "query", ["", "?code=x", "?state=x&code=x", "?error=access_denied&state=x", "?code=%00&state=%00"]
)
def test_garbage_at_the_callback_is_no_error_of_ours(adfs: FakeAdfs, client: Client, query: str) -> None:
    assert client.get(f"/oauth2/callback{query}").status_code == 400


def test_a_local_account_is_never_adopted_by_its_name(adfs: FakeAdfs, client: Client, make_user: Any) -> None:
    mine = make_user("Alice", is_superuser=True)
    answer = sign_in(adfs, client, "alice")
    assert answer.status_code == 403
    assert "another account called alice" in answer.content.decode()
    mine.refresh_from_db()
    assert (mine.is_superuser, mine.has_usable_password(), Identity.objects.count()) == (True, True, 0)
    event = AuditEvent.objects.get(action="session:refused")
    assert (event.actor_id, event.data["why"]) == (None, "name_taken")


def test_a_name_that_was_given_to_somebody_new_is_somebody_new(adfs: FakeAdfs, client: Client) -> None:
    sign_in(adfs, client, "alice")
    adfs.users["eve"] = {**adfs.users["alice"], "group": []}  # another subject, the same name
    assert sign_in(adfs, Client(), "eve").status_code == 403
    assert Identity.objects.count() == 1


def test_who_was_renamed_stays_the_same_user(adfs: FakeAdfs, client: Client) -> None:
    sign_in(adfs, client, "alice")
    adfs.users["alice"] |= {"winaccountname": "alice.berg", "family_name": "Berg"}
    sign_in(adfs, Client(), "alice")
    assert get_user_model().objects.get().username == "alice.berg"


def test_who_is_switched_off_here_is_not_let_in(adfs: FakeAdfs, client: Client) -> None:
    sign_in(adfs, client, "alice")
    get_user_model().objects.update(is_active=False)
    assert sign_in(adfs, Client(), "alice").status_code == 403
    assert client.get("/me/").status_code == 302  # the open session ended with it


def test_signing_out_ends_it_on_both_sides(adfs: FakeAdfs, client: Client) -> None:
    sign_in(adfs, client, "alice")
    assert client.get("/logout/").status_code == 405
    page = client.post("/logout/").content.decode()
    assert "/oauth2/logout?" in page
    assert "id_token_hint=" in page
    assert client.get("/me/").status_code == 302


def test_the_session_of_the_directory_has_a_life_of_its_own(
    adfs: FakeAdfs, client: Client, settings: Any
) -> None:
    settings.SSO_SESSION_HOURS = 3
    sign_in(adfs, client, "alice")
    assert client.session.get_expiry_age() == pytest.approx(3 * 3600, abs=60)


def test_no_token_and_no_secret_is_kept_in_clear(adfs: FakeAdfs, client: Client) -> None:
    sign_in(adfs, client, "alice")
    kept = str(dict(client.session.items()))
    assert "eyJ" not in kept  # how every JWT begins
    assert CLIENT_SECRET not in kept


# --- Tokens of the directory at the API ---------------------------------------------------------------------


def test_an_access_token_of_the_directory_opens_the_api(adfs: FakeAdfs) -> None:
    group("BI-View", "viewer")
    assert bearer(adfs, adfs.token("bob")).status_code == 200
    assert groups_of("bob") == {"BI-View"}


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": 1},
        {"aud": "https://other.test/"},
        {"iss": "https://evil.test/adfs"},
        {"nbf": 4_000_000_000},
        {"without": "exp"},
    ],
)
def test_a_token_that_is_not_good_does_not(adfs: FakeAdfs, claims: dict[str, Any]) -> None:
    answer = bearer(adfs, adfs.token("bob", **claims))
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"].startswith("Bearer")
    assert not get_user_model().objects.exists()


def test_a_tampered_and_a_foreign_token_do_not(adfs: FakeAdfs, tmp_path: Any) -> None:
    head, body, signature = adfs.token("bob").split(".")
    other = adfs.token("alice").split(".")[1]
    foreign = FakeAdfs(adfs.users, tmp_path)
    try:
        forged = foreign.token("bob", iss=adfs.issuer)
    finally:
        foreign.close()
    for token in (f"{head}.{other}.{signature}", f"{head}.{body}.", forged, "a.b.c", "é.b.c"):
        assert bearer(adfs, token).status_code == 401


def test_a_token_without_a_name_says_what_is_missing(adfs: FakeAdfs) -> None:
    answer = bearer(adfs, adfs.token("bob", without="winaccountname"))
    assert answer.status_code == 403
    assert "winaccountname" in answer.json()["detail"]


def test_an_older_token_does_not_bring_a_group_back(adfs: FakeAdfs) -> None:
    group("BI-View", "viewer")
    before = adfs.token("bob", iat=int(time.time()) - 100)
    assert bearer(adfs, before).status_code == 200
    adfs.users["bob"]["group"] = []
    assert bearer(adfs, adfs.token("bob")).status_code == 200
    assert groups_of("bob") == set()
    assert bearer(adfs, before).status_code == 200
    assert groups_of("bob") == set()


def test_a_repeated_token_costs_few_queries(adfs: FakeAdfs, django_assert_max_num_queries: Any) -> None:
    token = adfs.token("bob")
    bearer(adfs, token)
    with django_assert_max_num_queries(12):
        bearer(adfs, token)


# --- The directory has changed its keys, or does not answer ------------------------------------------------------


def test_new_signing_keys_are_known_when_they_are_needed(
    adfs: FakeAdfs, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datetime import timedelta

    assert bearer(adfs, adfs.token("bob")).status_code == 200
    adfs.rotate()
    asked = len(adfs.asked)
    assert (
        bearer(adfs, adfs.token("bob")).status_code == 401
    )  # asked a moment ago: not again for every forged token
    assert len(adfs.asked) == asked
    monkeypatch.setattr("sstools.signin.adfs.ASK_AGAIN", timedelta(0))
    assert bearer(adfs, adfs.token("bob")).status_code == 200
    assert sign_in(adfs, client, "alice").status_code == 302


def test_without_the_directory_passwords_work_and_the_rest_says_so(
    nobody_answers: None, client: Client, make_user: Any
) -> None:
    make_user("local")
    started = time.monotonic()
    wrong = client.post("/login/", {"username": "local", "password": "wrong"})
    assert wrong.status_code == 422
    right = client.post("/login/", {"username": "local", "password": "a long password 1"})
    assert right.status_code == 302
    assert time.monotonic() - started < 10  # no attempt waits for the directory
    answer = Client().get("/oauth2/login")
    assert answer.status_code == 503
    assert "does not answer" in answer.content.decode()
    assert APIClient().get("/api/v1/environments/", HTTP_AUTHORIZATION="Bearer a.b.c").status_code == 503


def test_known_keys_go_on_counting_while_the_directory_does_not_answer(
    adfs: FakeAdfs, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django_auth_adfs.config import provider_config
    from django_auth_adfs.config import settings as library

    assert bearer(adfs, adfs.token("bob")).status_code == 200
    monkeypatch.setattr(library, "SERVER", "localhost:9")
    monkeypatch.setattr(library, "CONFIG_RELOAD_INTERVAL", 0)
    assert provider_config._config_timestamp is not None
    assert bearer(adfs, adfs.token("bob")).status_code == 200


def test_without_a_directory_its_addresses_are_not_there(client: Client) -> None:
    assert client.get("/oauth2/login").status_code == 404
    assert client.get("/oauth2/callback?code=x&state=y").status_code == 404
    assert "oauth2" not in client.get("/login/").content.decode()
