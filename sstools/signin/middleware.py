"""Ends sessions that nobody used for a while, and those that are too old."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from sstools.audit import services as audit
from sstools.web.templatetags.web import count

from . import sessions


class SessionEndMiddleware:
    """What a page asks by itself (`HX-Poll`, see app.js) is nobody's doing and keeps no session alive."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if sessions.is_signed_in(request.session) and request.user.is_authenticated:
            now = timezone.now()
            if why := sessions.why_over(request.session, now):
                self._end(request, why)
            elif "HX-Poll" not in request.headers:
                sessions.note_activity(request.session, now)
        return self.get_response(request)

    def _end(self, request: HttpRequest, why: str) -> None:
        audit.record("session:expire", request.user, actor=request.user, data={"why": why}, source="page")
        request.session.flush()
        request.user = AnonymousUser()
        if why == "idle":
            minutes = settings.SESSION_IDLE_MINUTES
            words = count(minutes // 60, "hour") if minutes % 60 == 0 else count(minutes, "minute")
            messages.info(request, f"You were signed out: nothing was done here for {words}.")
        else:
            messages.info(request, "You were signed out: a sign-in does not last any longer.")
