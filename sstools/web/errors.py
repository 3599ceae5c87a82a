"""Error pages, and the same as fragments for htmx."""

from collections.abc import Sequence

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string

from sstools import logs
from sstools.outages import OwnDatabaseOutage

from .htmx import wants_fragment

TITLES = {
    400: "The request is not well formed",
    403: "You may not do that",
    404: "There is nothing here",
    405: "This address does not take that",
    409: "That does not fit the present state",
    422: "Some values are not right",
    500: "Something unexpected happened",
    503: "A service that is needed does not answer",
}


def error_response(
    request: HttpRequest,
    status: int,
    message: str,
    *,
    remedy: str = "",
    code: str = "",
    title: str = "",
    ask: Sequence[dict[str, str]] = (),
) -> HttpResponse:
    """The error as a whole page, or as `_error.html` for htmx. Says what happened, what to do, the request id.

    `ask`: people who can help, as name and email.
    """
    context = {
        "status": status,
        "title": title or TITLES.get(status, TITLES[500] if status >= 500 else TITLES[400]),
        "message": message,
        "remedy": remedy,
        "code": code,
        "ask": [person for person in ask if person.get("email")],
        "request_id": logs.request_id.get(),
        "is_fragment": wants_fragment(request),
    }
    template = "_error.html" if context["is_fragment"] else "error.html"
    response = render(request, template, context, status=status)
    response["Cache-Control"] = "no-store"
    return response


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """handler400. Without `request`: a host name or session that cannot be trusted may be the very reason."""
    return HttpResponse(render_to_string("400.html", {"request_id": logs.request_id.get()}), status=400)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """handler403. The words of `PermissionDenied("…")` are shown."""
    words = str(exception) or "Your roles do not allow this."
    return error_response(
        request,
        403,
        words,
        remedy="Ask an administrator of ss-tools for a role that allows it.",
        code="not_allowed",
    )


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """handler404. Absent and not visible look the same on purpose."""
    return error_response(
        request,
        404,
        "This page does not exist, or you may not see it.",
        remedy="Check the address, or start from the overview.",
        code="not_found",
    )


def server_error(request: HttpRequest) -> HttpResponse:
    """handler500. Uses neither database nor session: either may be what broke."""
    fragment = request.headers.get("HX-Request") == "true" and "HX-Boosted" not in request.headers
    template = "_error.html" if fragment else "500.html"
    context = {
        "status": 500,
        "title": TITLES[500],
        "message": "The page could not be made. Nothing more is known here; the log has the details.",
        "remedy": "Try again. If it stays, tell an administrator the request id.",
        "code": "unexpected",
        "request_id": logs.request_id.get(),
        "is_fragment": fragment,
    }
    return HttpResponse(render_to_string(template, context), status=500)


def own_database_away(request: HttpRequest, error: OwnDatabaseOutage) -> HttpResponse:
    """503 without database, session and user. Whoever sent a form is told to look before sending it again."""
    fragment = request.headers.get("HX-Request") == "true" and "HX-Boosted" not in request.headers
    sent = request.method not in ("GET", "HEAD")
    context = {
        "status": error.status,
        "title": "ss-tools' own database does not work at the moment",
        "message": error.message,
        "written": "Look whether ss-tools kept what you sent before you send it again." if sent else "",
        "remedy": error.remedy,
        "code": error.code,
        "request_id": logs.request_id.get(),
        "is_fragment": fragment,
    }
    template = "_error.html" if fragment else "503.html"
    response = HttpResponse(render_to_string(template, context), status=error.status)
    response["Cache-Control"] = "no-store"
    return response


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """CSRF_FAILURE_VIEW. `reason` is Django's own text and shown only while debugging."""
    request.csrf_failed = True  # type: ignore[attr-defined]  # a form gone stale, not a refusal for the history
    return error_response(
        request,
        403,
        "The form could not be trusted: its token was missing or out of date."
        + (f" {reason}" if settings.DEBUG else ""),
        remedy="Reload the page and send the form again. Cookies of this site must be allowed.",
        code="csrf",
        title="The form has expired",
    )
