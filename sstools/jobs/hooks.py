"""What other packages do when a job ends or rests: they say it in `ready()`, and it is done in that transaction."""

import logging
from collections.abc import Callable

from django.db import transaction

from .models import Job

logger = logging.getLogger(__name__)
Listener = Callable[[Job], None]

#: Called with a job that has ended, whatever the way, and with one that has asked. Database only, and short.
ended: list[Listener] = []
asked: list[Listener] = []


def call(listeners: list[Listener], job: Job) -> None:
    """Each in a savepoint: what a listener cannot do must not keep a job from ending."""
    for listener in listeners:
        try:
            with transaction.atomic():
                listener(job)
        except Exception:
            logger.exception("%s failed for job %s", listener.__qualname__, job.uuid)
