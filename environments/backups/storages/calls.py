"""Calls to a storage, several at a time and each with an end: a storage that stops answering stops nobody for long.

Limits of a library hold for one wait on a socket, and a file system that hangs has none. So each call is made in a
thread, and who waits for it looks at the clock. A call that is given up may still come to its end; keys are never used
twice, so what it leaves there is an object that nothing knows, and `verify_backups --orphans` finds it.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from .errors import StorageError, StorageUnreachable

T = TypeVar("T")
R = TypeVar("R")

AT_ONCE = 8  # small objects: what costs is the way there and back
LOOK_EVERY = 1.0  # seconds between two looks at the clock


def each(
    function: Callable[[T], R], items: Iterable[T], *, seconds: float, words: str, at_once: int = AT_ONCE
) -> Iterator[tuple[T, R | StorageError]]:
    """(item, what the function answered or the StorageError it raised), in the order in which they end.

    `seconds`: for each call. `words`: of the storage, for people. The function must not use the database: each thread
    would have a connection of its own. Raises StorageUnreachable when a call takes longer; anything else that the
    function raises.
    """
    todo: queue.SimpleQueue[T | _End] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[T, R | BaseException]] = queue.SimpleQueue()
    began: dict[int, float] = {}

    def work() -> None:
        me = threading.get_ident()
        while not isinstance(item := todo.get(), _End):
            began[me] = time.monotonic()
            try:
                answer: R | BaseException = function(item)
            except BaseException as exc:
                answer = exc
            began.pop(me, None)
            done.put((item, answer))

    source, waiting, threads = iter(items), 0, 0
    try:
        exhausted = False
        while True:
            while (
                not exhausted and waiting < 2 * at_once
            ):  # no more: what is not asked for yet may need memory
                try:
                    todo.put(next(source))
                except StopIteration:
                    exhausted = True
                    break
                waiting += 1
                if threads < min(waiting, at_once):
                    threading.Thread(target=work, daemon=True, name="storage").start()
                    threads += 1
            if not waiting:
                return
            try:
                item, answer = done.get(timeout=min(LOOK_EVERY, seconds))
            except queue.Empty:
                oldest = min(list(began.values()), default=None)
                if oldest is not None and time.monotonic() - oldest > seconds:
                    raise StorageUnreachable(
                        f"The {words} did not answer within {seconds:g} seconds."
                    ) from None
                continue
            waiting -= 1
            if isinstance(answer, BaseException) and not isinstance(answer, StorageError):
                raise answer
            yield item, answer
    finally:
        for _ in range(threads):
            todo.put(_End())


def once(function: Callable[[], R], *, seconds: float, words: str) -> R:
    """One call, as above. Raises what it raises."""
    for _, answer in each(lambda _: function(), [None], seconds=seconds, words=words, at_once=1):
        if isinstance(answer, StorageError):
            raise answer
        return answer
    raise AssertionError("one item gives one answer")


class _End:
    """There is nothing more to do."""
