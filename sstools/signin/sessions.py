"""Open sessions: how long they live, whose they are, and ending them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, SESSION_KEY
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from sstools.audit import services as audit
from sstools.logs import client_address

from .engine import ADDRESS, BROWSER, STARTED
from .models import UserSession

DIRECTORY_BACKEND = "sstools.signin.backends.DirectoryBackend"
SEEN_STEP = timedelta(minutes=1)  # `seen_at` is written at most this often
BATCH = 1000


# --- How long one lives ---------------------------------------------------------------------------------------------


def begin(request: HttpRequest) -> None:
    """Right after a sign-in: what ends it later counts from here."""
    request.session[STARTED] = timezone.now().isoformat()
    request.session[ADDRESS] = client_address(request)[:45]
    request.session[BROWSER] = request.headers.get("User-Agent", "")[:200]


def lifetime(session: Any) -> timedelta:
    """From the sign-in on, whatever is done meanwhile."""
    of_directory = session.get(BACKEND_SESSION_KEY) == DIRECTORY_BACKEND
    return (
        timedelta(hours=settings.SSO_SESSION_HOURS)
        if of_directory
        else timedelta(seconds=settings.SESSION_COOKIE_AGE)
    )


def why_over(session: Any, now: datetime) -> str:
    """Why a signed-in session counts no more: "idle" or "age"; "" while it does."""
    started, seen = session.get(STARTED), getattr(session, "seen_at", None)
    if started is None or now - datetime.fromisoformat(started) >= lifetime(session):
        return "age"
    if seen is not None and now - seen >= timedelta(minutes=settings.SESSION_IDLE_MINUTES):
        return "idle"
    return ""


def note_activity(session: Any, now: datetime) -> None:
    """Somebody did something: one UPDATE a minute, which changes nothing else of the session."""
    seen = getattr(session, "seen_at", None)
    if seen is not None and now - seen >= SEEN_STEP:
        UserSession.objects.filter(session_key=session.session_key).update(seen_at=now)
        session.seen_at = now


# --- Showing and ending them ----------------------------------------------------------------------------------------


def of_user(user: Any) -> QuerySet[UserSession]:
    """Those that still count, the one that was used last first."""
    now = timezone.now()
    idle = now - timedelta(minutes=settings.SESSION_IDLE_MINUTES)
    rows: QuerySet[UserSession] = UserSession.objects.filter(
        user_id=user.pk, expire_date__gt=now, seen_at__gt=idle
    )
    return rows.defer("session_data").order_by("-seen_at")


@transaction.atomic
def end_all(user: Any, *, actor: Any, why: str, keep: str | None = None, source: str = "page") -> int:
    """Sign somebody out everywhere, `keep`: but for that session. Returns in how many places.

    The caller has checked that `actor` may. why: asked, switched_off, password, deleted; it is in the history.
    """
    rows = UserSession.objects.filter(user_id=user.pk).exclude(session_key=keep or "")
    number: int = rows.delete()[0]
    if number:
        data = {"number": number, "why": why}
        audit.record("session:end_all", user, actor=actor, data=data, source=source)
    return number


def forget_expired() -> int:
    """For the nightly tidying."""
    number = 0
    while keys := list(
        UserSession.objects.filter(expire_date__lt=timezone.now()).values_list("pk", flat=True)[:BATCH]
    ):
        number += UserSession.objects.filter(pk__in=keys).delete()[0]
    return number


def is_signed_in(session: Any) -> bool:
    return SESSION_KEY in session
