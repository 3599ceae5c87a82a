"""Time by the clock beside what was computed: on a machine that does other things, only the second stays true."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path


def processor_ms() -> float:
    """What this process, and the one of PostgreSQL that works for it, have computed so far."""
    from django.db import connection

    own = time.process_time() * 1000
    if connection.vendor != "postgresql":
        return own
    connection.ensure_connection()
    backend = connection.connection.info.backend_pid
    return own + int(Path(f"/proc/{backend}/schedstat").read_text().split()[0]) / 1_000_000


def late(times: Sequence[float]) -> float:
    """What 95 of a hundred stay below."""
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]


def spread(times: Sequence[float]) -> str:
    return f"median {statistics.median(times):.0f} ms, 95 % below {late(times):.0f} ms"


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """As Markdown: the first column is text, the others are numbers."""
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
