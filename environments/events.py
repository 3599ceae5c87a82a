"""What others do when an environment was read: they register here, and the job calls them."""

import logging
from collections.abc import Callable
from contextlib import nullcontext

from django.db import connection, transaction

from .models import Environment

logger = logging.getLogger(__name__)

#: (kind, uuid) of what was added, changed or is gone; None: anything may have.
Changed = frozenset[tuple[str, str]] | None
Receiver = Callable[[Environment, Changed], None]

_receivers: list[Receiver] = []


def after_reading(receiver: Receiver) -> Receiver:
    """Have `receiver(environment, changed)` called after each reading, once its rows are committed, inside the job.

    Register in the `ready()` of an app. Also called where nothing changed (an empty set): a reading was made.
    """
    if receiver not in _receivers:
        _receivers.append(receiver)
    return receiver


def was_read(environment: Environment, changed: Changed) -> None:
    """Tell everybody. What fails is logged, and fails neither the reading nor the others."""
    for receiver in list(_receivers):
        try:
            # They write for as long as they need, in transactions of their own; within one of ours, behind a savepoint.
            with transaction.atomic() if connection.in_atomic_block else nullcontext():
                receiver(environment, changed)
        except Exception:
            logger.exception(
                "After reading %s, %s.%s failed.", environment, receiver.__module__, receiver.__qualname__
            )
