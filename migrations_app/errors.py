"""What can be in the way of a migration, each with a stable code."""

from sstools.errors import Conflict, Invalid, SSToolsError


class PlanChanged(Conflict):
    """Another plan was made after the one that the caller looked at."""

    code = "plan_changed"
    message = "The plan changed after you opened it; nothing was started."
    remedy = "Look at the new plan, then apply that one."


class NotReady(Conflict):
    """The migration is in no state for this; the message says which and why."""

    code = "not_ready"


class StalePlan(SSToolsError):
    """Source or target moved after planning."""

    code, status = "stale_plan", 409
    message = "The plan is stale; nothing was written."
    remedy = "Plan again: what moved is then part of the plan."


class WrongConfirmation(Invalid):
    """The typed name of a protected target is missing or wrong."""

    code = "wrong_confirmation"


class RunFailed(SSToolsError):
    """A run did not end as planned. The message says what was written and what was undone."""

    code, status = "run_failed", 502
