"""What the supervisor of every machine does again and again, besides sweeping. Apps register in `ready()`."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from django.db import close_old_connections, connections

from sstools.outages import is_outage

logger = logging.getLogger(__name__)


@dataclass
class Periodic:
    function: Callable[[], object]
    seconds: float
    next_at: float = 0.0  # of time.monotonic()


_registered: dict[str, Periodic] = {}


def every(seconds: float, name: str, function: Callable[[], object]) -> None:
    """Call `function` about every so many seconds, on each machine with workers; a name is registered once.

    Several supervisors call it at the same moment: what it does must be safe then. Short, as it holds up the sweep;
    an exception is logged, and the next round tries again.
    """
    _registered[name] = Periodic(function, seconds)


def run_due() -> None:
    """Call what is due now."""
    for name, periodic in _registered.items():
        if time.monotonic() < periodic.next_at:
            continue
        periodic.next_at = time.monotonic() + periodic.seconds
        try:
            close_old_connections()
            periodic.function()
        except Exception as exc:  # the database is away; the next round finds it again
            logger.warning("%s failed: %s", name, exc, exc_info=not is_outage(exc))
            connections.close_all()
