"""Programs end when they are told to, and when whoever started them dies."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from environments.lab.errors import LabError
from environments.lab.places import REPOSITORY, Places
from environments.lab.processes import end_running, inherited_environment, run, spawn, stop_all


def until(condition: Callable[[], bool], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_program_is_stopped_with_what_it_started(tmp_path: Path) -> None:
    script = "import subprocess as s, time; print(s.Popen(['sleep', '60']).pid, flush=True); time.sleep(60)"
    process = spawn(
        "p", [sys.executable, "-c", script], log=tmp_path / "log", cwd=tmp_path, env=inherited_environment()
    )
    assert until(lambda: (tmp_path / "log").read_text().strip() != "")
    child = int((tmp_path / "log").read_text())
    assert process.is_running
    process.stop(timeout_seconds=5)
    assert not process.is_running
    assert until(lambda: not is_alive(child))


def test_a_program_that_ignores_the_signal_is_ended_by_force(tmp_path: Path) -> None:
    script = (
        "import signal as s, time; s.signal(s.SIGTERM, s.SIG_IGN); print('on', flush=True); time.sleep(60)"
    )
    process = spawn(
        "p", [sys.executable, "-c", script], log=tmp_path / "log", cwd=tmp_path, env=inherited_environment()
    )
    assert until(lambda: "on" in process.last_words())
    began = time.monotonic()
    stop_all([process], timeout_seconds=0.3)
    assert time.monotonic() - began < 5
    assert process.exit_code == -signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="the parent-death signal is Linux's")
def test_nothing_survives_a_kill_9_of_its_parent(tmp_path: Path) -> None:
    script = f"""
import sys, time, pathlib, threading
from environments.lab.processes import spawn, inherited_environment
def start():
    p = spawn("p", ["sleep", "60"], log=pathlib.Path({str(tmp_path)!r}) / "log", cwd=pathlib.Path("/"),
              env=inherited_environment())
    print(p.pid, flush=True)
t = threading.Thread(target=start); t.start(); t.join()   # a thread that ends must not take the program along
time.sleep(60)
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
    )
    assert parent.stdout
    with parent:
        child = int(parent.stdout.readline())
        time.sleep(0.3)
        assert is_alive(child)
        parent.kill()
    assert until(lambda: not is_alive(child))


def test_a_failed_command_tells_its_last_lines() -> None:
    with pytest.raises(LabError, match=r"Baking failed \(exit 3\):\nout\nno flour"):
        run(["sh", "-c", "echo out; echo no flour >&2; exit 3"], "Baking")
    assert run(["cat"], "Reading", stdin="in") == "in"


def test_a_command_in_another_thread_can_be_ended() -> None:
    caught: list[LabError] = []

    def work() -> None:
        try:
            run(["sleep", "60"], "Sleeping")
        except LabError as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    deadline = time.monotonic() + 10
    while thread.is_alive() and time.monotonic() < deadline:
        end_running()
        thread.join(0.1)
    assert not thread.is_alive()
    assert "Sleeping failed" in caught[0].message


def test_variables_that_mislead_another_python_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYTHONPATH", "DJANGO_SETTINGS_MODULE", "SUPERSET_CONFIG_PATH", "PGHOST", "VIRTUAL_ENV"):
        monkeypatch.setenv(name, "x")
    environment = inherited_environment(EXTRA="1")
    assert environment["EXTRA"] == "1"
    assert environment["PATH"] == os.environ["PATH"]
    assert not environment.keys() & {"PYTHONPATH", "DJANGO_SETTINGS_MODULE", "SUPERSET_CONFIG_PATH", "PGHOST"}


def test_a_lock_is_held_by_one_process_at_a_time(tmp_path: Path) -> None:
    script = f"""
import pathlib
from environments.lab.places import Places
with Places(pathlib.Path({str(tmp_path)!r})).locked("x"):
    print("in", flush=True)
"""
    with Places(tmp_path).locked("x"):
        other = subprocess.Popen(
            [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
        )
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(1)
    output, _ = other.communicate(timeout=10)
    assert output == "in\n"
