"""Spreading the load: schedules that are due at the same moment start within some seconds of each other."""

import hashlib
from datetime import UTC, datetime


def share(key: str, due: datetime, seconds: int) -> int:
    """0 to `seconds`, the same on every machine for the same schedule and run, evenly spread over them."""
    text = f"{key}:{due.astimezone(UTC).isoformat()}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) % (seconds + 1)
