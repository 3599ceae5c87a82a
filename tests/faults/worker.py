"""Workers that can be killed: a process with Django ready forks one for each piece of work.

`Stem` starts that process and talks to it, one line of JSON for each question and answer. A worker has the database it
is told, does one function of inside.py and ends; SIGKILL ends it in the middle, and the stem says so.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from .proxy import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
PR_SET_PDEATHSIG = 1


class Killed(Exception):
    """The worker ended by a signal before it had an answer."""


class WorkerFailed(Exception):
    """The function raised; the text is its traceback."""


class Stem:
    """One at a time; not for several threads. `postgres`: the address of a server for the databases, "" for SQLite."""

    def __init__(self, folder: Path, *, postgres: str = "") -> None:
        self.folder, self.postgres = folder, postgres
        env = {name: value for name, value in os.environ.items() if not name.startswith("SSTOOLS_")}
        env |= {
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "SSTOOLS_TEST_DATA": str(folder),
            "SSTOOLS_TEST_KEEP": "1",
            "SSTOOLS_DATA_DIR": str(folder),
            "SSTOOLS_LOG_LEVEL": "ERROR",
            "SSTOOLS_TARGET_PATIENCE_SECONDS": str(PATIENCE),
            # Nothing here waits for it: a lost worker's lease is ended by hand (inside.take_over).
            "SSTOOLS_JOB_LEASE_SECONDS": "60",
        }
        if postgres:
            env["SSTOOLS_DATABASE_URL"] = postgres
        self._log = (folder / "worker.log").open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.worker"],
            cwd=ROOT,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )

    def do(
        self,
        function: str,
        database: str,
        *,
        on_start: Callable[[int], None] = lambda pid: None,
        **arguments: Any,
    ) -> Any:
        """What the function returns. Raises Killed, WorkerFailed."""
        self._write({"do": function, "database": database, "arguments": arguments})
        on_start(int(self._read()["pid"]))
        self._write({"go": True})
        answer = self._read()
        if "signal" in answer:
            raise Killed(f"{function}: signal {answer['signal']}")
        if "error" in answer:
            raise WorkerFailed(f"{function} failed:\n{answer['error']}")
        return answer["result"]

    def log(self) -> str:
        return (self.folder / "worker.log").read_text(errors="replace")

    def close(self) -> None:
        with suppress(OSError):
            if self._process.stdin:
                self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._log.close()

    def _write(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # reading the answer says why
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"The stem of the workers ended:\n{self.log()[-3000:]}")
        message: dict[str, Any] = json.loads(line)
        return message


def _fork(questions: Any, answers: Any, function: str, database: str, arguments: dict[str, Any]) -> None:
    """The worker's answer goes to a file: a pipe would have to be read while the worker is at work."""
    handle, name = tempfile.mkstemp(prefix="answer-", dir=os.environ["SSTOOLS_TEST_DATA"])
    ready_read, ready_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(ready_write)
            if sys.platform == "linux":  # a worker whose stem is gone has nobody to tell
                ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            os.read(ready_read, 1)  # somebody knows our pid now
            from . import inside

            answer: dict[str, Any]
            try:
                answer = {"result": inside.run(function, database, arguments)}
            except BaseException:
                answer = {"error": traceback.format_exc()}
            with os.fdopen(handle, "w") as file:
                json.dump(answer, file)
            code = 0
        finally:
            os._exit(code)
    os.close(handle)
    os.close(ready_read)
    answers.write(json.dumps({"pid": pid}) + "\n")
    answers.flush()
    questions.readline()  # "go"
    os.close(ready_write)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        answer = {"signal": os.WTERMSIG(status)}
    else:
        text = Path(name).read_text()
        answer = json.loads(text) if text else {"error": "The worker ended without an answer."}
    os.unlink(name)
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever is printed goes to the log
    import django

    django.setup()
    from . import inside

    inside.prepare_process()
    questions = sys.stdin
    for line in iter(questions.readline, ""):
        question = json.loads(line)
        _fork(questions, answers, question["do"], question["database"], question["arguments"])


if __name__ == "__main__":
    main()
