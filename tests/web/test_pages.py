"""Overview, sign in and out, preferences, the style page, errors."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client

from sstools.web import home, navigation
from sstools.web.models import Preference
from tests.conftest import PASSWORD


@pytest.fixture
def browser(viewer: Any, signed_in: Any) -> Client:
    return signed_in(viewer)


# --- Signing in ---------------------------------------------------------------------------------------------------
def sign_in(client: Client, name: str, password: str, **more: str) -> Any:
    return client.post("/login/", {"username": name, "password": password, **more})


def test_signing_in_leads_to_the_page_that_was_asked_for(client: Client, viewer: Any):
    response = sign_in(client, "viewer", PASSWORD, next="/me/")
    assert (response.status_code, response["Location"]) == (302, "/me/")


@pytest.mark.parametrize(
    "address",
    [
        "https://evil.example/",
        "//evil.example/",
        "javascript:alert(1)",
        "http:///evil.example",
        "\\\\evil.example",
    ],
)
def test_signing_in_never_leads_to_another_site(client: Client, viewer: Any, address: str):
    assert sign_in(client, "viewer", PASSWORD, next=address)["Location"] == "/"


def test_a_wrong_password_is_refused_without_saying_which_half_was_wrong(client: Client, viewer: Any):
    texts = []
    for name in ("viewer", "nobody"):
        response = sign_in(client, name, "pass-that-is-wrong")
        assert response.status_code == 422
        assert "pass-that-is-wrong" not in response.content.decode()
        texts.append(list(response.context["form"].non_field_errors()))
    assert texts[0] == texts[1] != []


def test_who_has_no_role_is_told_so_instead_of_being_sent_to_register(stranger: Any, signed_in: Any):
    page = signed_in(stranger).get("/").content.decode()
    assert "You have no role yet" in page
    assert "Start here" not in page
    assert "New migration" not in page


def test_signing_out_needs_a_post(browser: Client):
    assert browser.get("/logout/").status_code == 405
    assert browser.get("/").status_code == 200
    assert browser.post("/logout/")["Location"] == "/login/"
    assert browser.get("/").status_code == 302


def test_the_login_page_shows_nothing_of_what_is_inside(client: Client, db: None):
    content = client.get("/login/").content.decode()
    assert 'class="rail"' not in content
    assert "<h1" in content


# --- Overview -----------------------------------------------------------------------------------------------------
class Speaker:
    done: tuple[str, ...] = ()

    def done_steps(self, user: Any) -> tuple[str, ...]:
        return self.done

    def facts(self, user: Any) -> list[home.Fact]:
        return [home.Fact("Drift on Prod", 3, note="since yesterday", state="drifted")]


@pytest.fixture
def speaker(monkeypatch: pytest.MonkeyPatch) -> Speaker:
    speaker = Speaker()
    monkeypatch.setattr(home, "_sources", [])
    home.register(speaker)
    home.register(speaker)
    return speaker


def test_an_empty_installation_starts_with_three_steps(browser: Client, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(home, "_sources", [])
    response = browser.get("/")
    assert [step.is_next for step in response.context["steps"]] == [True, False, False]
    assert b"Start here" in response.content
    assert b"<table" not in response.content


def test_steps_that_are_done_are_ticked_and_the_next_one_leads_on(browser: Client, speaker: Speaker):
    speaker.done = ("environments",)
    steps = browser.get("/").context["steps"]
    assert [(step.is_done, step.is_next) for step in steps] == [(True, False), (False, True), (False, False)]


def test_the_steps_go_when_all_are_done_and_what_is_known_stays(browser: Client, speaker: Speaker):
    speaker.done = ("environments", "reading", "migration")
    response = browser.get("/")
    assert b"Start here" not in response.content
    assert response.content.count(b"Drift on Prod") == 1
    assert b"drifted" in response.content


def test_the_rail_names_only_pages_that_exist_and_marks_the_one_shown(browser: Client):
    response = browser.get("/me/")
    links = [link for _, links in response.context["shell"].rail for link in links]
    assert links
    assert not any(link.is_current for link in links)
    for link in links:
        assert browser.get(link.url).status_code == 200
    current = [
        link for _, links in browser.get("/").context["shell"].rail for link in links if link.is_current
    ]
    assert [link.label for link in current] == ["Overview"]


def test_every_key_of_the_rail_is_used_once():
    keys = [entry.key for group in navigation.GROUPS for entry in group.entries]
    assert len(set(keys)) == len(keys)


# --- Preferences --------------------------------------------------------------------------------------------------
def test_the_theme_is_in_the_page_itself_so_that_nothing_flashes(browser: Client, viewer: Any):
    assert 'data-theme="system" data-density="cosy"' in browser.get("/").content.decode()
    answer = browser.post(
        "/me/", {"theme": "dark", "density": "compact", "time_zone": "Asia/Tokyo", "shortcuts": ""}
    )
    assert answer["Location"] == "/me/"
    content = browser.get("/me/").content.decode()
    assert 'data-theme="dark" data-density="compact" data-shortcuts="off"' in content
    assert "Your preferences are saved." in content
    assert Preference.objects.get(user=viewer).time_zone == "Asia/Tokyo"


def test_times_are_shown_in_the_persons_zone_with_utc_in_the_title(browser: Client, viewer: Any):
    Preference.objects.create(user=viewer, time_zone="Asia/Tokyo")
    viewer.last_login = datetime(2024, 3, 1, 22, 30, tzinfo=UTC)
    viewer.save()
    content = browser.get("/me/").content.decode()
    assert 'title="2024-03-01 22:30:00 UTC">2 Mar 2024</time>' in content


def test_a_zone_that_the_system_lost_breaks_no_page(browser: Client, viewer: Any):
    Preference.objects.create(user=viewer, time_zone="Mars/Olympus")
    assert browser.get("/").status_code == 200


def test_preferences_that_do_not_exist_are_refused(browser: Client, viewer: Any):
    response = browser.post("/me/", {"theme": "pink", "density": "cosy"})
    assert response.status_code == 422
    assert b'role="alert"' in response.content
    assert not Preference.objects.exists()


def test_a_signed_in_page_costs_few_queries_for_its_frame(
    browser: Client, django_assert_max_num_queries: Any
):
    browser.get("/me/")
    with django_assert_max_num_queries(8):
        browser.get("/me/")
    with django_assert_max_num_queries(22):  # with what the packages have to say on the overview
        browser.get("/")


# --- Style page ---------------------------------------------------------------------------------------------------
def test_the_style_page_is_for_staff_only(browser: Client, make_user: Any, signed_in: Any):
    assert browser.get("/styleguide/").status_code == 404
    response = signed_in(make_user("designer", is_staff=True)).get("/styleguide/")
    assert response.status_code == 200
    content = response.content.decode()
    assert content.count("<h1") == 1
    for id_ in set(re.findall(r'\bid="([^"]+)"', content)):
        assert content.count(f' id="{id_}"') == 1, id_


# --- Errors -------------------------------------------------------------------------------------------------------
def test_an_address_that_does_not_exist(browser: Client, client: Client):
    page = browser.get("/no/such/page/")
    assert page.status_code == 404
    assert b'class="rail"' in page.content
    assert page["X-Request-ID"].encode() in page.content
    fragment = browser.get("/no/such/page/", headers={"HX-Request": "true"})
    assert fragment.status_code == 404
    assert b"<html" not in fragment.content
    assert b'role="alert"' in fragment.content


def test_an_address_that_does_not_exist_tells_strangers_nothing(client: Client, db: None):
    response = client.get("/no/such/page/")
    assert response.status_code == 404
    assert b'class="rail"' not in response.content


def test_a_form_without_its_token_is_explained(viewer: Any):
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(viewer)
    response = strict.post("/me/", {"theme": "dark"})
    assert response.status_code == 403
    assert b"The form has expired" in response.content


def test_a_bug_is_shown_without_its_details(viewer: Any, monkeypatch: pytest.MonkeyPatch):
    def broken(user: Any) -> None:
        raise RuntimeError("the secret cause")

    monkeypatch.setattr(home, "facts", broken)
    browser = Client(raise_request_exception=False)
    browser.force_login(viewer)
    page = browser.get("/")
    assert page.status_code == 500
    assert b"Something unexpected happened" in page.content
    assert b"secret cause" not in page.content
    assert page["X-Request-ID"].encode() in page.content


def test_a_host_that_is_not_ours_gets_the_plain_400_page(client: Client, db: None):
    response = client.get("/login/", headers={"host": "evil.example"})
    assert response.status_code == 400
    assert b"not well formed" in response.content


@pytest.mark.parametrize("path", ["/login/", "/no/such/page/"])
def test_every_page_forbids_scripts_and_styles_from_elsewhere(client: Client, db: None, path: str):
    policy = client.get(path)["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for directive in (
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "frame-ancestors 'none'",
    ):
        assert directive in policy
