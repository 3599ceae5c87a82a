"""Asking two Supersets at the same time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from django.db import connections

T = TypeVar("T")


def side_by_side(calls: Sequence[Callable[[], T]]) -> list[T]:
    """Carry out calls to different Supersets at the same time; their results in order. They use no database of ours.

    All end before this returns; then the first error, by the order of the calls, is raised.
    """
    if len(calls) == 1:
        return [calls[0]()]

    def isolated(call: Callable[[], T]) -> T:
        try:
            return call()
        finally:
            connections.close_all()  # of this thread, should one have been opened after all

    with ThreadPoolExecutor(max_workers=len(calls)) as pool:
        futures = [pool.submit(isolated, call) for call in calls]
        return [future.result() for future in futures]
