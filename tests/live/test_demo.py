"""`make demo` from outside: what a person sees, that both are registered and read, that nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from environments.lab.install import find_python
from environments.lab.lab import Lab
from environments.lab.places import REPOSITORY, Places
from environments.lab.processes import free_port, is_port_free
from environments.lab.progress import quiet

pytestmark = pytest.mark.live

_READY_SECONDS = 240


def processes_of(folder: Path) -> list[str]:
    """Command lines of the programs that were started for this lab."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                environment = (entry / "environ").read_bytes()
                if str(folder).encode() in environment:
                    found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:
                continue
    return found


def read_json(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.loads(answer.read())


@pytest.fixture
def folder() -> Iterator[Path]:
    yield Places.default().run("demo-test")
    lab = Lab("demo-test", Places.default(), quiet(), disposable=False)
    lab.open()
    lab.close(forget=True)


def test_the_demo_shows_its_way_to_one_url_and_leaves_nothing_running(folder: Path, tmp_path: Path) -> None:
    ports = [free_port() for _ in range(3)]
    options = ["--name", "demo-test", "--fresh", "--python", sys.executable]
    options += ["--port", str(ports[0]), "--dev-port", str(ports[1]), "--prod-port", str(ports[2])]
    log = tmp_path / "output"
    # What the shell says about databases and the like must not reach the demo.
    env = os.environ | {"SSTOOLS_DATABASE_URL": "postgres://nobody@127.0.0.1:1/precious", "LANG": "C.UTF-8"}
    with log.open("wb") as output:
        demo = subprocess.Popen(
            [str(find_python()), "-m", "environments.lab", "demo", *options],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=REPOSITORY,
            env=env,
        )
    try:
        deadline = time.monotonic() + _READY_SECONDS
        while "Ctrl-C ends" not in log.read_text() and demo.poll() is None and time.monotonic() < deadline:
            time.sleep(0.2)
        text = log.read_text()
        assert f"http://localhost:{ports[0]}/" in text, text
        assert "Sign in as       admin / " in text
        assert read_json(f"http://127.0.0.1:{ports[0]}/readyz")["parts"]["workers"] == "ok"
        for port in ports[1:]:
            assert read_json(f"http://127.0.0.1:{port}/static/version_info.json")["version"] == "6.1.0"
        assert environments_of(folder) == {
            "dev": ("ok", {"dashboard": 9, "chart": 103, "dataset": 21, "database": 1}),
            "prod": ("ok", {"dashboard": 0, "chart": 0, "dataset": 0, "database": 1}),
        }
        assert len(processes_of(folder)) >= 5  # two Supersets with a worker each, web, workers
    finally:
        demo.send_signal(signal.SIGINT)
        code = demo.wait(60)
    assert code == 0
    assert "Ended." in log.read_text()
    assert processes_of(folder) == []
    assert all(is_port_free(port) for port in ports)


def environments_of(folder: Path) -> dict[str, tuple[str, dict[str, int]]]:
    """What ss-tools knows about its environments once its workers have read them, from its own database."""
    script = """
import json
from environments.models import Environment
print(json.dumps({e.slug: [e.check_state, e.asset_counts] for e in Environment.objects.all()}))
"""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("SSTOOLS_")}
    environ |= {"SSTOOLS_DATA_DIR": str(folder / "ss-tools"), "DJANGO_SETTINGS_MODULE": "sstools.settings"}
    deadline = time.monotonic() + 60
    while True:
        answer = subprocess.run(
            [sys.executable, "manage.py", "shell", "--verbosity", "0", "-c", script],
            capture_output=True,
            text=True,
            cwd=REPOSITORY,
            env=environ,
            check=True,
        )
        found = {slug: (state, counts) for slug, (state, counts) in json.loads(answer.stdout).items()}
        if (
            all(state != "unknown" and counts for state, counts in found.values())
            or time.monotonic() > deadline
        ):
            return found
        time.sleep(0.5)
