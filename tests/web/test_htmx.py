"""Whole page or fragment; leaving a page; being signed out in the middle."""

from typing import Any

import pytest
from django.contrib import messages
from django.contrib.auth.models import AnonymousUser
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django_htmx.middleware import HtmxMiddleware

from sstools.errors import Conflict
from sstools.web.htmx import go_to, render_page
from sstools.web.middleware import ExpectedErrorMiddleware

FRAGMENT = {"HX-Request": "true"}
BOOSTED = {"HX-Request": "true", "HX-Boosted": "true"}
RESTORED = {"HX-Request": "true", "HX-History-Restore-Request": "true"}


def request_with(headers: dict[str, str], path: str = "/somewhere/") -> HttpRequest:
    """A request of nobody in particular, through the middleware that a view stands on."""
    request = RequestFactory().get(path, headers=headers)
    request.user = AnonymousUser()
    answer = lambda _: HttpResponse()  # noqa: E731
    for middleware in (SessionMiddleware, MessageMiddleware, HtmxMiddleware):
        middleware(answer)(request)
    return request


def show(headers: dict[str, str], **context: Any) -> HttpResponse:
    return render_page(
        request_with(headers), "error.html", "_empty.html", {"title": "Nothing yet", **context}
    )


@pytest.mark.parametrize("headers", [{}, BOOSTED, RESTORED], ids=["plain", "boosted", "history"])
def test_a_page_is_answered_whole_unless_htmx_asks_for_a_part(headers: dict[str, str]):
    response = show(headers)
    assert b"<!doctype html>" in response.content
    assert "HX-Request" in response["Vary"]


def test_htmx_gets_the_partial_alone_and_the_browser_does_not_keep_it():
    response = show(FRAGMENT)
    assert b"<html" not in response.content
    assert b"Nothing yet" in response.content
    assert "HX-Request" in response["Vary"]
    assert response["Cache-Control"] == "no-store"


def test_status_is_passed_on():
    assert render_page(request_with(FRAGMENT), "error.html", "_empty.html", {}, status=422).status_code == 422


def test_a_page_without_a_partial_is_answered_whole_to_htmx_too():
    assert b"<html" in render_page(request_with(FRAGMENT), "error.html", None, {}).content


def test_a_fragment_carries_the_pending_messages_and_what_screen_readers_hear():
    request = request_with(FRAGMENT)
    messages.success(request, "Saved <b>")
    content = render_page(request, "error.html", "_empty.html", {"live_text": "412 results"}).content.decode()
    assert 'hx-swap-oob="beforeend:#toasts"' in content
    assert "Saved &lt;b&gt;" in content
    assert (
        '<div class="sr" id="live" role="status" aria-live="polite" hx-swap-oob="true">412 results</div>'
        in content
    )


def test_a_fragment_with_nothing_to_say_carries_nothing_out_of_band():
    assert b"hx-swap-oob" not in show(FRAGMENT).content


def test_going_elsewhere_is_a_redirect_for_browsers_and_a_header_for_htmx():
    plain = go_to(request_with({}), "web:me")
    assert (plain.status_code, plain["Location"]) == (302, "/me/")
    boosted = go_to(request_with(BOOSTED), "web:me")
    assert boosted.status_code == 302
    htmx = go_to(request_with(FRAGMENT), "web:me")
    assert (htmx.status_code, htmx["HX-Redirect"]) == (200, "/me/")


# --- Signed out in the middle -------------------------------------------------------------------------------------
def test_a_signed_out_browser_is_sent_to_the_login_page(client: Client):
    response = client.get("/me/")
    assert (response.status_code, response["Location"]) == (302, "/login/?next=/me/")


def test_htmx_of_somebody_signed_out_leaves_for_the_login_page_and_comes_back_to_the_page(client: Client):
    headers = {**FRAGMENT, "HX-Current-URL": "http://testserver/jobs/?state=failed&page=2"}
    response = client.get("/me/", headers=headers)
    assert response.status_code == 401
    assert response["HX-Redirect"] == "/login/?next=%2Fjobs%2F%3Fstate%3Dfailed%26page%3D2"
    assert b"<form" not in response.content


def test_the_page_of_another_site_is_never_come_back_to(client: Client):
    response = client.get("/me/", headers={**FRAGMENT, "HX-Current-URL": "https://evil.example/me/"})
    assert (response.status_code, response["HX-Redirect"]) == (401, "/login/")


def test_redirects_of_people_signed_in_are_left_alone(viewer: Any, signed_in: Any):
    response = signed_in(viewer).get("/login/", headers=FRAGMENT)
    assert (response.status_code, response["Location"]) == (302, "/")


# --- Expected errors ----------------------------------------------------------------------------------------------
def raised(headers: dict[str, str], exception: Exception, path: str = "/somewhere/") -> Any:
    return ExpectedErrorMiddleware(lambda _: HttpResponse()).process_exception(
        request_with(headers, path), exception
    )


def test_an_expected_error_is_shown_with_its_own_words_and_status():
    error = Conflict("Sales overview changed on prod.", remedy="Make a new plan.")
    page = raised({}, error)
    assert page.status_code == 409
    assert b"<!doctype html>" in page.content
    fragment = raised(FRAGMENT, error)
    assert fragment.status_code == 409
    assert b"<html" not in fragment.content
    for answer in (page, fragment):
        assert b"Sales overview changed on prod." in answer.content
        assert b"Make a new plan." in answer.content


def test_bugs_and_the_api_are_left_to_others():
    assert raised({}, KeyError("x")) is None
    assert raised({}, Conflict("no"), path="/api/v1/jobs/") is None
