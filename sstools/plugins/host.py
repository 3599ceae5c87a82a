"""Calling a plugin: in a process of its own, with a deadline and a limit of memory. Whatever it does ends there."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from django.conf import settings

from sstools.audit.redact import redact_text
from sstools.errors import SSToolsError

from .discovery import Found, paths

CHILD = Path(__file__).with_name("host_child.py")
LOOK_SECONDS = 0.5  # between two looks whether somebody wants the end
MOST_ANSWER_BYTES = 32 * 2**20
MOST_ERROR_BYTES = 4000

OnLine = Callable[[dict[str, Any]], None]


class PluginFailed(SSToolsError):
    """What a plugin should have done it did not do. `code` says why; `trace` is for the log."""

    code, status = "plugin_failed", 502
    trace = ""


def call(
    found: Found,
    what: str,
    *,
    item: str = "",
    given: dict[str, Any] | None = None,
    seconds: float,
    secrets: Collection[str] = (),
    on_line: OnLine | None = None,
    still_wanted: Callable[[], None] | None = None,
) -> Any:
    """Its answer, as JSON; `secrets` are taken out of whatever it says.

    `what`: describe, job, plan_check, panel, health; `item` which of them.

    `on_line` gets what it says meanwhile ({"step"} or {"log"}); `still_wanted` is called twice a second and may raise.
    Raises PluginFailed: plugin_load_failed, plugin_invalid, plugin_failed, plugin_timed_out, plugin_out_of_memory,
    plugin_died, plugin_answer_invalid. The process and what it started are ended in any case.
    """
    asked = {
        "path": paths(),
        "name": found.name,
        "entry": found.entry,
        "what": what,
        "item": item,
        "given": given or {},
        "cpu_seconds": int(seconds) + 5,
        "memory_bytes": settings.PLUGIN_MEMORY_MB * 2**20,
    }
    hidden = sorted({str(one) for one in secrets if len(one) > 3}, key=len, reverse=True)
    tell = (lambda line: on_line(scrubbed(line, hidden))) if on_line is not None else None
    process = subprocess.Popen(
        [sys.executable, "-I", str(CHILD)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"PYTHONIOENCODING": "utf-8", "PATH": os.environ.get("PATH", ""), "LANG": "C.UTF-8"},
        start_new_session=True,
    )
    try:
        answer, said = _talk(process, json.dumps(asked).encode() + b"\n", seconds, tell, still_wanted)
    finally:
        _end(process)
    if answer is None:
        raise _died(said, hidden)
    if error := answer.get("error"):
        failed = PluginFailed(redact_text(scrubbed(error["text"], hidden)), code=error["code"])
        failed.trace = redact_text(scrubbed(error["trace"], hidden))
        raise failed
    return scrubbed(answer["answer"], hidden)


def _talk(
    process: subprocess.Popen[bytes],
    text: bytes,
    seconds: float,
    on_line: OnLine | None,
    still_wanted: Callable[[], None] | None,
) -> tuple[dict[str, Any] | None, bytes]:
    """Write what is asked and read what comes, at the same time: neither side may wait for the other for ever."""
    assert process.stdin
    assert process.stdout
    assert process.stderr
    end = time.monotonic() + seconds
    rest, said, left = bytearray(), b"", memoryview(text)
    with selectors.DefaultSelector() as selector:
        for pipe in (process.stdin, process.stdout, process.stderr):
            os.set_blocking(pipe.fileno(), False)
        selector.register(process.stdin, selectors.EVENT_WRITE)
        selector.register(process.stdout, selectors.EVENT_READ)
        selector.register(process.stderr, selectors.EVENT_READ)
        looked = time.monotonic()
        while True:
            if time.monotonic() > end:
                raise PluginFailed(f"It took longer than {seconds:g} seconds.", code="plugin_timed_out")
            if still_wanted is not None and time.monotonic() - looked > LOOK_SECONDS:
                looked = time.monotonic()
                still_wanted()
            for key, _ in selector.select(min(LOOK_SECONDS, max(end - time.monotonic(), 0.01))):
                if key.fileobj is process.stdin:
                    try:
                        left = left[os.write(process.stdin.fileno(), left[:65536]) :]
                    except BlockingIOError:
                        continue
                    except BrokenPipeError:
                        left = left[len(left) :]
                    if not left:
                        selector.unregister(process.stdin)
                        process.stdin.close()
                    continue
                chunk = os.read(key.fd, 65536)
                if key.fileobj is process.stderr:
                    if not chunk:
                        selector.unregister(process.stderr)
                    said = (said + chunk)[-MOST_ERROR_BYTES:]
                    continue
                if not chunk:
                    return None, said
                rest += chunk
                if len(rest) > MOST_ANSWER_BYTES:
                    raise PluginFailed("Its answer is too large.", code="plugin_answer_invalid")
                if b"\n" not in chunk:
                    continue
                *lines, last = bytes(rest).split(b"\n")
                rest = bytearray(last)
                for line in lines:
                    told = _parsed(line)
                    if "answer" in told or "error" in told:
                        return told, said
                    if on_line is not None:
                        on_line(told)


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        told = json.loads(line)
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise PluginFailed("Its process answered what is no answer.", code="plugin_answer_invalid")
    return told


def _end(process: subprocess.Popen[bytes]) -> None:
    """The process, and whatever it started: they share a group."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        process.kill()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None and not pipe.closed:
            pipe.close()
    process.wait()


def _died(said: bytes, hidden: list[str]) -> PluginFailed:
    text = said.decode("utf-8", "replace").strip()
    failed = PluginFailed("Its process ended without an answer.", code="plugin_died")
    if "MemoryError" in text:
        failed = PluginFailed("It needs more memory than it may have.", code="plugin_out_of_memory")
    failed.trace = redact_text(scrubbed(text, hidden))
    return failed


def scrubbed(value: Any, hidden: list[str]) -> Any:
    """A copy of JSON without what is hidden, and without what no database keeps (NUL, half surrogate pairs)."""
    if isinstance(value, dict):
        return {scrubbed(str(key), hidden): scrubbed(item, hidden) for key, item in value.items()}
    if isinstance(value, list):
        return [scrubbed(item, hidden) for item in value]
    if isinstance(value, str):
        value = value.replace("\0", "").encode("utf-8", "replace").decode()
        for secret in hidden:
            value = value.replace(secret, "***")
    return value
