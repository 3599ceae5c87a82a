"""`python -m environments.lab`: what it says when it is used wrongly. Starts no Superset."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from environments.lab.__main__ import main
from environments.lab.places import REPOSITORY


def lab(tmp_path: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], "SSTOOLS_LAB_DIR": str(tmp_path), "LANG": "C", **environ}
    command = [sys.executable, "-m", "environments.lab", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, env=env, timeout=60)


def test_the_demo_refuses_a_taken_port_before_it_starts_or_writes_anything(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        result = lab(tmp_path, "demo", SSTOOLS_DEMO_PROD_PORT=str(port))
    assert result.returncode == 1
    assert f"Port {port}, where Superset prod should listen, is taken." in result.stderr
    assert "SSTOOLS_DEMO_PROD_PORT=" in result.stderr
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_status_and_stop_without_a_lab(tmp_path: Path) -> None:
    assert lab(tmp_path, "status").stdout == "Nothing runs.\n"
    assert lab(tmp_path, "status", "--json").stdout == "[]\n"
    assert lab(tmp_path, "stop").stdout == "Nothing runs.\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [[], ["install", "3.0.0"], ["start"], ["start", "x", "--contents", "full"], ["demo", "--port", "x"]],
)
def test_wrong_arguments_end_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_the_lab_imports_nothing_but_the_standard_library_and_itself() -> None:
    # -S: no site-packages, as on a machine where nothing is installed yet
    script = "import environments.lab.__main__, environments.lab.estate, sys; print(*sorted(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-S", "-c", script], capture_output=True, text=True, cwd=REPOSITORY, timeout=60
    )
    assert result.returncode == 0, result.stderr
    loaded = {name.split(".")[0] for name in result.stdout.split()}
    assert loaded - set(sys.stdlib_module_names) == {"__main__", "environments"}
