"""The queue library's database broker, with manners."""

import os
import socket
from datetime import timedelta
from time import sleep
from typing import Any

import psutil
from django.utils import timezone
from django_q.brokers.orm import ORM
from django_q.conf import Conf

from .clock import db_now
from .models import Job, State

SOON_SECONDS = 1.0  # a worker whose job began within this is as good as free: most jobs are short


class Broker(ORM):  # type: ignore[misc]
    """As shipped, a cluster fetches messages into its memory while all its workers are at long jobs: there they lie,
    hidden from idle workers of other machines. This one fetches only while one of its own is free, or will be soon.
    """

    def dequeue(self) -> Any:
        rows = self.get_connection().filter(key=self.list_key, lock__lt=timezone.now())
        if not rows.exists() or not self._has_free_worker():
            sleep(Conf.POLL)
            return None
        return super().dequeue()

    def _has_free_worker(self) -> bool:
        """Asked in the cluster's pusher, which is a sibling of the workers."""
        now = db_now()
        at_work = Job.objects.filter(
            state=State.RUNNING,
            lease_until__gt=now,
            started_at__lt=now - timedelta(seconds=SOON_SECONDS),
            owner__startswith=f"{socket.gethostname()}:",
        )
        pids = [owner.split(":")[1:3] for owner in at_work.values_list("owner", flat=True)]
        ours = [int(pid) for pid, parent in pids if parent == str(os.getppid())]
        return sum(psutil.pid_exists(pid) for pid in ours) < int(Conf.WORKERS)
