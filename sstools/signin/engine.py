"""SESSION_ENGINE: sessions in our database that know whose they are, when they began and when somebody last did
something, so that they can be shown and ended.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.utils import timezone

STARTED, ADDRESS, BROWSER = "started_at", "address", "browser"  # in the session, since the sign-in


class SessionStore(DatabaseStore):
    """As Django's, with columns of what lists ask for (models.UserSession)."""

    seen_at: datetime | None = None  # of the row as it was loaded

    @classmethod
    def get_model_class(cls) -> Any:
        from .models import UserSession

        return UserSession

    def _get_session_from_db(self) -> Any:
        row = super()._get_session_from_db()  # type: ignore[misc]  # unknown to the stubs
        self.seen_at = row.seen_at if row is not None else None
        return row

    def create_model_instance(self, data: dict[str, Any]) -> Any:
        row: Any = super().create_model_instance(data)
        row.user_id = data.get(SESSION_KEY)
        row.started_at = datetime.fromisoformat(data[STARTED]) if STARTED in data else None
        row.seen_at = self.seen_at or timezone.now()
        row.address, row.browser = str(data.get(ADDRESS, "")), str(data.get(BROWSER, ""))
        return row
