"""A backup that cannot be restored is told of."""

from __future__ import annotations

from sstools.notices import events, services
from sstools.roles.permissions import Permission

from .models import Cleanup, Rehearsal

FAILED = events.register(
    "rehearsal.failed", "A backup could not be restored for practice", Permission.BACKUP_VIEW
)


def register() -> None:
    """They are registered by being imported."""


def tell(row: Rehearsal) -> None:
    """In the transaction that ends it."""
    error = row.error or {}
    left = f"What it wrote to {row.scratch.name} is still there." if row.cleanup == Cleanup.LEFT else ""
    services.publish(
        FAILED.key,
        title=f"Rehearsal failed: {row.backup_name} of {row.environment.name}",
        text=" ".join(str(one) for one in (error.get("message"), error.get("remedy"), left) if one),
        path=row.get_absolute_url(),
        about=[row.environment],
        people=[row.created_by],
        data={
            "rehearsal": row.number,
            "environment": row.environment.slug,
            "scratch": row.scratch.slug,
            "backup": row.backup_number,
            "code": error.get("code", ""),
            "cleanup": row.cleanup,
        },
    )
