"""The queue library's database broker, with manners."""

import os
import socket
from time import sleep
from typing import Any

import psutil
from django.utils import timezone
from django_q.brokers.orm import ORM
from django_q.conf import Conf

from .clock import db_now
from .models import Job, State


class Broker(ORM):  # type: ignore[misc]
    """As shipped, a cluster fetches messages into its memory while all its workers are busy, and there they lie, hidden
    from the idle workers of other machines. This one fetches only while one of its own workers is free.
    """

    def dequeue(self) -> Any:
        rows = self.get_connection().filter(key=self.list_key, lock__lt=timezone.now())
        if not rows.exists() or not self._has_free_worker():
            sleep(Conf.POLL)
            return None
        return super().dequeue()

    def _has_free_worker(self) -> bool:
        """Is one of this cluster's workers without a job? Asked in its pusher, which is a sibling of the workers."""
        running = Job.objects.filter(
            state=State.RUNNING, lease_until__gt=db_now(), owner__startswith=f"{socket.gethostname()}:"
        )
        pids = [owner.split(":")[1:3] for owner in running.values_list("owner", flat=True)]
        ours = [int(pid) for pid, parent in pids if parent == str(os.getppid())]
        return sum(psutil.pid_exists(pid) for pid in ours) < int(Conf.WORKERS)
