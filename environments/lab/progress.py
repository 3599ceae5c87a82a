"""What the lab is doing, for the person who waits: one line when something starts, one when it is done."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator

_REMIND_SECONDS = 20.0

Say = Callable[[str], None]


class Progress:
    """Prints whole lines only, so that things done side by side stay readable, also in a CI log."""

    def __init__(self, write: Say | None = None) -> None:
        self._write = write or _print
        self._lock = threading.Lock()
        self.started_at = time.monotonic()

    def say(self, text: str) -> None:
        with self._lock:
            self._write(text)

    @contextlib.contextmanager
    def step(self, doing: str, done: str) -> Iterator[None]:
        """`doing` now and every 20 s, `done` with the seconds it took afterwards; nothing afterwards if it failed."""
        self.say(f"  … {doing}")
        began = time.monotonic()
        ended = threading.Event()

        def remind() -> None:
            while not ended.wait(_REMIND_SECONDS):
                self.say(f"  … {doing}: {duration(time.monotonic() - began)} so far")

        threading.Thread(target=remind, name="lab-progress", daemon=True).start()
        try:
            yield
        finally:
            ended.set()
        self.say(f"  ✓ {done} ({duration(time.monotonic() - began)})")


def duration(seconds: float) -> str:
    """0.4 s, 41 s, 2 min 5 s."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    return f"{whole} s" if whole < 100 else f"{whole // 60} min {whole % 60} s"


def quiet() -> Progress:
    return Progress(lambda text: None)


def _print(text: str) -> None:
    # A terminal that cannot show the tick (LANG=C) must not end the demo.
    encoding = sys.stdout.encoding or "ascii"
    sys.stdout.write(text.encode(encoding, "replace").decode(encoding) + "\n")
    sys.stdout.flush()
