"""Who is let in with a password, and whose sessions are of the directory."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth.backends import ModelBackend
from django.http import HttpRequest

EVERYBODY, SUPERUSERS, NOBODY = "everybody", "superusers", "nobody"  # SSTOOLS_LOCAL_SIGN_IN


class LocalBackend(ModelBackend):
    """Name and password, for those whom SSTOOLS_LOCAL_SIGN_IN lets. Never asks the directory."""

    def authenticate(
        self, request: HttpRequest | None, username: Any = None, password: Any = None, **kwargs: Any
    ) -> Any:
        if settings.LOCAL_SIGN_IN == NOBODY:
            return None
        return super().authenticate(request, username=username, password=password, **kwargs)

    def user_can_authenticate(self, user: Any) -> bool:
        """Asked at each sign-in and at each request of a session: switching it off ends sessions too."""
        if settings.LOCAL_SIGN_IN == NOBODY or (
            settings.LOCAL_SIGN_IN == SUPERUSERS and not user.is_superuser
        ):
            return False
        return bool(super().user_can_authenticate(user))


class DirectoryBackend(ModelBackend):
    """Marks sessions that the directory opened. It takes no credentials itself: see views.Callback."""

    def authenticate(self, request: HttpRequest | None, **credentials: Any) -> None:  # type: ignore[override]
        return None

    def user_can_authenticate(self, user: Any) -> bool:
        return bool(settings.SSO) and bool(super().user_can_authenticate(user))
