"""Events of approvals and windows."""

from sstools.notices import events
from sstools.roles.permissions import Permission

ASKED = events.register("approval.asked", "Your approval is asked for", Permission.MIGRATION_APPROVE)
DECIDED = events.register("approval.decided", "A plan was approved or rejected", Permission.MIGRATION_VIEW)
BYPASSED = events.register(
    "window.bypassed", "Somebody writes outside of the windows", Permission.MIGRATION_VIEW
)


def register() -> None:
    """They are registered by being imported."""
