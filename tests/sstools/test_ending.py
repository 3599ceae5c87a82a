"""A cluster that hangs while it ends, as the queue's own code can bring it about."""

import contextlib
import subprocess
import sys

import psutil

HANGS = """
import os, signal, sys, threading
os.setsid()
import django
django.setup()
from django_q.cluster import Cluster
from sstools.jobs import ending
ending.LONGEST_STOP_SECONDS = 1
child = os.fork()
if child == 0:
    signal.pause()
lock = threading.Lock()
lock.acquire()
Cluster.stop = lambda self: lock.acquire()  # as the handler waits for a sentinel that waits for us
ending.end_in_any_case()
cluster = Cluster()
print(child, flush=True)
os.kill(os.getpid(), signal.SIGTERM)
"""


def test_a_cluster_that_hangs_while_it_ends_is_killed_with_its_workers() -> None:
    done = subprocess.run([sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=60)
    assert done.returncode == -9, done.stderr
    with contextlib.suppress(psutil.NoSuchProcess):
        assert psutil.Process(int(done.stdout)).status() == psutil.STATUS_ZOMBIE
