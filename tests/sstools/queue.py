"""For tests of jobs: workers that die, messages that get lost, many at once."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db import connections
from django_q.models import OrmQ

from sstools.jobs import services
from sstools.jobs.models import Job


def expire(job: Job) -> None:
    """Make the lease of a running job lie in the past, as if its worker had died."""
    Job.objects.filter(pk=job.pk).update(lease_until=services.db_now() - timedelta(seconds=1))


def forget_message(job: Job) -> None:
    OrmQ.objects.all().delete()
    Job.objects.filter(pk=job.pk).update(resend_at=services.db_now() - timedelta(seconds=1))


def in_threads(number: int, work: Callable[[int], Any]) -> list[Any]:
    """The results of `work(0..number-1)`, all started at the same moment."""
    gate, results = threading.Barrier(number), [None] * number

    def one(index: int) -> None:
        try:
            gate.wait()
            results[index] = work(index)
        except Exception as exc:
            results[index] = exc
        finally:
            connections.close_all()

    threads = [threading.Thread(target=one, args=(index,)) for index in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
