"""Writes down what a request tried and was refused."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from sstools.logs import client_address

from . import denials, places


class DenialsMiddleware:
    """After the request, when its transactions are over: see denials.py."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        source = "api" if request.path.startswith("/api/") else "page"
        facts = {
            "address": client_address(request),
            "method": request.method or "",
            "path": request.path[:300],
        }
        with denials.collected(source, **facts) as noted:
            response = self.get_response(request)
            is_refusal = response.status_code == 403 and not getattr(request, "csrf_failed", False)
            # Refused without naming a right: Django's admin, and rules that are no right.
            if is_refusal and not noted and getattr(request, "user", None) is not None:
                noted.append(denials.Denial(request.user, "", places.ALL))
        return response
