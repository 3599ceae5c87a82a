"""Asking two Supersets at the same time, or one while our own database is busy."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

from django.db import connections

T = TypeVar("T")

#: How often whoever waits looks whether to go on waiting.
LOOK_SECONDS = 0.5


def side_by_side(calls: Sequence[Callable[[], T]]) -> list[T]:
    """Carry out calls to different Supersets at the same time; their results in order. They use no database of ours.

    All end before this returns; then the first error, by the order of the calls, is raised.
    """
    if len(calls) == 1:
        return [calls[0]()]
    with ThreadPoolExecutor(max_workers=len(calls)) as pool:
        futures = [pool.submit(_isolated, call) for call in calls]
        return [future.result() for future in futures]


@contextmanager
def meanwhile(
    call: Callable[[Callable[[], None]], T], checkpoint: Callable[[], None]
) -> Iterator[Callable[[], T]]:
    """Carry out a call to a Superset, which uses no database of ours, while the body uses it. The body gets a function
    that waits for the result, with `checkpoint` called now and then, and raises what either raised.

    The call is given a function for the time between its requests: it ends the call once the body was left by an
    error, so that nobody waits for answers that are of no use.
    """
    left = threading.Event()

    def going_on() -> None:
        if left.is_set():
            raise _Left

    with ThreadPoolExecutor(max_workers=1) as pool:
        future = pool.submit(_isolated, lambda: call(going_on))

        def result() -> T:
            while not wait([future], LOOK_SECONDS).done:
                checkpoint()
            return future.result()

        try:
            yield result
        except BaseException:
            left.set()
            raise


class _Left(Exception):
    """Nobody waits any more."""


def _isolated(call: Callable[[], T]) -> T:
    try:
        return call()
    finally:
        connections.close_all()  # of this thread, should one have been opened after all
