"""What every page needs around its view. The request id is given out in `sstools.logs`."""

import logging
from collections.abc import Callable
from urllib.parse import urlencode, urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import resolve_url
from django.utils import timezone
from django.utils.cache import patch_vary_headers

from sstools.errors import as_expected
from sstools.outages import OwnDatabaseOutage

from .errors import error_response
from .preferences import Preferences

logger = logging.getLogger(__name__)
GetResponse = Callable[[HttpRequest], HttpResponse]


class PreferencesMiddleware:
    """Puts `request.preferences` in place and lets the view run in the user's time zone."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path.startswith("/api/") or not request.user.is_authenticated:
            request.preferences = Preferences()  # type: ignore[attr-defined]
            return self.get_response(request)
        preferences = Preferences.of(request.user)
        request.preferences = preferences  # type: ignore[attr-defined]
        with timezone.override(preferences.zone):
            return self.get_response(request)


class SignedOutMiddleware:
    """Turns the redirect to the login page into 401 with `HX-Redirect` for htmx.

    htmx follows a 302 and would put the login form into the table that it wanted to refresh. `next` is the page
    the person looks at, not the fragment's address, and never an address of another site.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if response.get("Content-Type", "").startswith("text/html"):
            patch_vary_headers(response, ["HX-Request"])
        htmx = getattr(request, "htmx", None)
        if not htmx or response.status_code != 302 or request.user.is_authenticated:
            return response
        login = resolve_url(settings.LOGIN_URL)
        if urlsplit(response["Location"]).path != login:
            return response
        page = htmx.current_url_abs_path  # None for another origin
        answer = HttpResponse("You are signed out. Sign in again.", status=401, content_type="text/plain")
        answer["HX-Redirect"] = f"{login}?{urlencode({'next': page})}" if page else login
        answer["Cache-Control"] = "no-store"
        return answer


class ExpectedErrorMiddleware:
    """Shows an expected error (`SSToolsError` and what translates to one) as a page, or as a fragment for htmx.

    Views need no try/except for errors they have nothing better to say about. Bugs pass through.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponseBase | None:
        if request.path.startswith("/api/"):
            return None  # the API has its own shape for them
        error = as_expected(exception)
        if error is None:
            return None
        if isinstance(error, OwnDatabaseOutage):
            return None  # handler500 has a page that needs no database
        if error.status >= 500:
            logger.warning("%s answered %s: %s", request.path, error.status, error.message)
        return error_response(
            request,
            error.status,
            error.message,
            remedy=error.remedy,
            code=error.code,
            ask=error.detail.get("holders", ()),
        )


class PlainTextMiddleware:
    """Refuses texts with a NUL character in addresses and forms: PostgreSQL takes none, and no person types one."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, *view: object) -> HttpResponse | None:
        if request.path.startswith("/api/"):
            return None  # its parser and its filters look themselves
        given = [request.GET, request.POST] if request.method == "POST" else [request.GET]
        texts = (text for data in given for name, values in data.lists() for text in (name, *values))
        if any("\0" in str(text) for text in texts):
            return error_response(request, 400, "A text holds a NUL character.", code="malformed")
        return None
