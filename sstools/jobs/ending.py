"""A queue cluster that was told to end does so, also where the queue's own code waits for itself.

django-q2 1.x: a signal that comes while `Cluster.start` asks whether the cluster is ready finds the lock of that event
taken. The handler then waits for the sentinel, which waits for the lock: neither ends, and where the supervisor is gone
nobody kills them.
"""

import os
import signal
from types import FrameType
from typing import Any

from django_q.cluster import Cluster

LONGEST_STOP_SECONDS = 45  # more than a supervisor gives steps in progress before it kills


def end_in_any_case() -> None:
    """From now on a cluster of this process kills itself and its workers if it has not ended in time after a signal."""
    handle = Cluster.sig_handler

    def sig_handler(cluster: Any, signum: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGALRM, _kill_group)
        signal.alarm(LONGEST_STOP_SECONDS)
        handle(cluster, signum, frame)
        signal.alarm(0)

    Cluster.sig_handler = sig_handler


def _kill_group(signum: int, frame: FrameType | None) -> None:
    if os.getpgrp() == os.getpid():  # started by a supervisor: the group is the cluster and nobody else
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
