"""Errors as a run keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from migrations_app.errors import RunFailed
from sstools.errors import JobCancelled, SSToolsError, as_expected


class RollBackWanted(JobCancelled):
    """Somebody cancelled the run after its first write, and chose to undo it."""

    message = "Somebody cancelled the run and chose to roll it back."


def describe(error: BaseException) -> dict[str, Any]:
    expected = as_expected(error)
    if expected is None:
        return {
            "code": "unexpected",
            "message": f"An unexpected error: {type(error).__name__}.",
            "remedy": "The job's log and the server's log say more.",
        }
    return {
        "code": expected.code,
        "message": expected.message,
        "remedy": expected.remedy,
        **({"detail": expected.detail} if expected.detail else {}),
    }


def recorded(error: Mapping[str, Any]) -> SSToolsError:
    """What a run says went wrong, as an error again: JobCancelled where it was cancelled, else RunFailed."""
    kind = JobCancelled if error.get("code") == JobCancelled.code else RunFailed
    return kind(
        str(error.get("message") or "The run did not end as planned."),
        code=str(error.get("code") or ""),
        remedy=str(error.get("remedy") or ""),
        detail=error.get("detail") or None,
    )
