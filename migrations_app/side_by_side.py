"""Asking two Supersets at the same time, or one while our own database is busy."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from types import TracebackType
from typing import Self, TypeVar

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


class Meanwhile:
    """Calls to a Superset, which use no database of ours, carried out one after the other while the body uses it.

    A call is given a function for the time between its requests: it ends the call once the body was left by an error,
    so that nobody waits for answers that are of no use. All have ended when the body was left.
    """

    def __init__(self, checkpoint: Callable[[], None]) -> None:
        self._checkpoint = checkpoint
        self._left = threading.Event()
        self._pool = ThreadPoolExecutor(max_workers=1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            self._left.set()
        self._pool.shutdown(cancel_futures=error is not None)

    def start(self, call: Callable[[Callable[[], None]], T]) -> Callable[[], T]:
        """What waits for the result: it calls `checkpoint` now and then, and raises what that or the call raised."""
        future = self._pool.submit(_isolated, lambda: call(self._going_on))

        def result() -> T:
            while not wait([future], LOOK_SECONDS).done:
                self._checkpoint()
            return future.result()

        return result

    def _going_on(self) -> None:
        if self._left.is_set():
            raise _Left


class _Left(Exception):
    """Nobody waits any more."""


def _isolated(call: Callable[[], T]) -> T:
    try:
        return call()
    finally:
        connections.close_all()  # of this thread, should one have been opened after all
