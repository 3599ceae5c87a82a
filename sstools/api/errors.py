"""Errors of the REST API: `application/problem+json` (RFC 9457) with our stable `code`, always.

::

    {"type": "about:blank", "title": "Conflict", "status": 409, "code": "stale_plan",
     "detail": "what happened", "remedy": "what to do", "errors": {"field": ["…"]}, "request_id": "…"}
"""

import logging
import sys
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponseBase, JsonResponse
from rest_framework import exceptions
from rest_framework.views import set_rollback

from sstools import logs
from sstools.errors import SSToolsError, as_expected
from sstools.outages import OwnDatabaseOutage, outage
from sstools.web import errors as pages

logger = logging.getLogger(__name__)
PROBLEM_JSON = "application/problem+json"
RETRY_SECONDS = 5

# DRF's own exceptions and the code that a program may rely on.
CODES: tuple[tuple[type[Exception], str], ...] = (
    (exceptions.ParseError, "malformed"),
    (exceptions.ValidationError, "invalid"),
    (exceptions.AuthenticationFailed, "authentication_failed"),
    (exceptions.NotAuthenticated, "not_authenticated"),
    (exceptions.PermissionDenied, "not_allowed"),
    (exceptions.NotFound, "not_found"),
    (exceptions.MethodNotAllowed, "method_not_allowed"),
    (exceptions.NotAcceptable, "not_acceptable"),
    (exceptions.UnsupportedMediaType, "unsupported_media_type"),
    (exceptions.Throttled, "throttled"),
)


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    remedy: str = "",
    errors: dict[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """The body of a problem."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
        "request_id": logs.request_id.get(),
    }
    if remedy:
        body["remedy"] = remedy
    if errors:
        body["errors"] = errors
    return body | more


def from_error(error: SSToolsError) -> dict[str, Any]:
    detail = dict(error.detail)
    errors = detail.pop("errors", None)
    return problem(
        error.status,
        error.code,
        error.message,
        remedy=error.remedy,
        errors=errors,
        **({"more": detail} if detail else {}),
    )


def exception_handler(exc: Exception, context: dict[str, Any]) -> JsonResponse | None:
    """DRF's exception handler. None (a bug) leads to `handler500`, after Django logged it whole."""
    if isinstance(exc, Http404):
        exc = exceptions.NotFound("There is no such thing, or you may not see it.")
    elif isinstance(exc, PermissionDenied):
        exc = exceptions.PermissionDenied()
    if isinstance(exc, exceptions.APIException):
        headers: dict[str, str] = {}
        if auth_header := getattr(exc, "auth_header", None):
            headers["WWW-Authenticate"] = auth_header
        if (wait := getattr(exc, "wait", None)) is not None:
            headers["Retry-After"] = str(int(wait))
        code = next((code for kind, code in CODES if isinstance(exc, kind)), "failed")
        detail, errors = _words(exc)
        body = problem(exc.status_code, code, detail, errors=errors)
    elif (expected := as_expected(exc)) is not None:
        headers, body = {}, from_error(expected)
        if isinstance(expected, OwnDatabaseOutage):
            headers["Retry-After"] = str(RETRY_SECONDS)
    else:
        return None
    set_rollback()
    # Not DRF's Response: its renderer is what the client asked for, and a schema as YAML has no problem+json.
    return JsonResponse(body, status=body["status"], headers=headers, content_type=PROBLEM_JSON)


def _words(exc: exceptions.APIException) -> tuple[str, dict[str, Any] | None]:
    if isinstance(exc, exceptions.ValidationError):
        detail = exc.detail
        errors = detail if isinstance(detail, dict) else {"": detail}
        return "Some values are not right.", errors
    return str(exc.detail), None


def _is_api(request: HttpRequest) -> bool:
    return request.path.startswith("/api/")


def _answer(status: int, code: str, detail: str) -> JsonResponse:
    return JsonResponse(problem(status, code, detail), status=status, content_type=PROBLEM_JSON)


def handler400(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    if _is_api(request):
        return _answer(400, "malformed", "The request is not well formed.")
    return pages.bad_request(request, exception)


def handler403(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    if _is_api(request):
        return _answer(403, "not_allowed", "You may not do that.")
    return pages.permission_denied(request, exception)


def handler404(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    if _is_api(request):
        return _answer(404, "not_found", "There is no such address below /api/, or no such thing.")
    return pages.page_not_found(request, exception)


def own_database_away(request: HttpRequest, error: OwnDatabaseOutage) -> HttpResponseBase:
    """503, made without the database. Before sending something again one looks: its end may have come too late."""
    if _is_api(request):
        response: HttpResponseBase = JsonResponse(
            from_error(error), status=error.status, content_type=PROBLEM_JSON
        )
    else:
        response = pages.own_database_away(request, error)
    response["Retry-After"] = str(RETRY_SECONDS)
    return response


def handler500(request: HttpRequest) -> HttpResponseBase:
    """Also where an outage of our own database ends up that a middleware met: sessions and sign-in come first."""
    exc = sys.exc_info()[1]
    if exc is not None and (error := outage(exc)) is not None:
        return own_database_away(request, error)
    if _is_api(request):
        return _answer(
            500, "unexpected", "Something unexpected happened. The log has it under this request id."
        )
    return pages.server_error(request)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponseBase:
    if _is_api(request):
        request.csrf_failed = True  # type: ignore[attr-defined]
        return _answer(
            403, "csrf", "The CSRF token is missing or wrong. Programs use a bearer token instead."
        )
    return pages.csrf_failure(request, reason)
