"""Every change of a job's state, by name; the rooms are beside it. The picture is in the docstring of `models.Job`.

asking    enqueue                           what pages, API, commands and schedules call
deciding  answer, cancel, retry             what people do with a job, and who may
claiming  claim, renew, write, log, finish  what a worker does
sweeping  lost messages, dead workers       what the supervisor does
lanes     which workers stay free for people
"""

from .asking import enqueue, of_request
from .claiming import (
    CANCEL_CHOICE,
    LeaseLost,
    ask,
    claim,
    claim_next,
    finish,
    hand_back,
    hand_over_locks,
    is_cancel_requested,
    log,
    release_leases,
    renew,
    wake,
    write,
)
from .clock import db_now
from .deciding import answer, link_of, may_cancel, may_drive, request_cancel, retry
from .messages import RUNNER, send_again
from .sweeping import Swept, oldest_wait_seconds, resend, stalled_seconds, sweep

__all__ = [
    "CANCEL_CHOICE",
    "RUNNER",
    "LeaseLost",
    "Swept",
    "answer",
    "ask",
    "claim",
    "claim_next",
    "db_now",
    "enqueue",
    "finish",
    "hand_back",
    "hand_over_locks",
    "is_cancel_requested",
    "link_of",
    "log",
    "may_cancel",
    "may_drive",
    "of_request",
    "oldest_wait_seconds",
    "release_leases",
    "renew",
    "request_cancel",
    "resend",
    "retry",
    "send_again",
    "stalled_seconds",
    "sweep",
    "wake",
    "write",
]
