"""An answer, read completely, and a line about each request for the log."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any

_UNREAD = object()


@dataclass(frozen=True)
class Answer:
    """`headers` has lower-case names. `seconds` is the time from the first byte sent to the last byte received."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    seconds: float = 0.0

    @cached_property
    def text(self) -> str:
        return self.content.decode("utf-8", "replace")

    @cached_property
    def is_html(self) -> bool:
        return "html" in self.headers.get("content-type", "") or self.content[:200].lstrip()[:1] == b"<"

    @cached_property
    def json(self) -> Any:
        """The parsed body, or None: whatever the content type says, a body that does not parse is not JSON."""
        if self.is_html:
            return None
        try:
            return json.loads(self.content)
        except (ValueError, RecursionError):
            return None

    @property
    def location(self) -> str:
        return self.headers.get("location", "")

    @property
    def date(self) -> datetime | None:
        """The server's clock (aware, whole seconds), None without a usable Date header."""
        try:
            moment = parsedate_to_datetime(self.headers.get("date", ""))
            moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        except (ValueError, TypeError, OverflowError):
            return None
        return moment if 1990 <= moment.year <= 9000 else None  # beyond, no arithmetic is possible


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request that went out. `path` is below the base address, with its (shortened) query; never a secret.

    `status` is None when no complete answer came; `error` is then the code. `sent` and `size` are bytes of the bodies.
    """

    method: str
    path: str
    status: int | None
    seconds: float
    size: int
    sent: int = 0
    attempt: int = 1
    error: str | None = None

    @property
    def is_mutating(self) -> bool:
        """Whether it could have changed an asset: not reads, sign-in, tokens or chart queries."""
        sign_in = (
            "/api/v1/security/login",
            "/api/v1/security/refresh",
            "/api/v1/security/csrf_token",
            "/login/",
        )
        harmless = (*sign_in, "/api/v1/chart/data")
        return self.method not in ("GET", "HEAD") and not self.path.startswith(harmless)
