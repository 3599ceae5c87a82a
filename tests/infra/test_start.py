"""What somebody reads when ss-tools cannot start, and starts that meet."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.sstools.test_workers import ROOT, Installation, wait_for, works

pytestmark = [pytest.mark.xdist_group("infra")]


def refused(installation: Installation, *command: str) -> str:
    """What it says instead of starting: one sentence or two, no traceback."""
    ended = subprocess.run(
        [sys.executable, "manage.py", *(command or ["up"])],
        cwd=ROOT,
        env=installation.env,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1, ended.stderr
    return ended.stderr


def test_a_data_folder_that_cannot_be_made(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    (tmp_path / "file").touch()
    installation.env["SSTOOLS_DATA_DIR"] = str(tmp_path / "file" / "data")
    assert "SSTOOLS_DATA_DIR" in refused(installation)


def test_a_data_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """A folder where the file should be: nobody can write that, not even the superuser whom modes do not stop."""
    installation = Installation(tmp_path)
    (tmp_path / "start.lock").mkdir()
    text = refused(installation)
    assert "start.lock cannot be written" in text
    assert "SSTOOLS_DATA_DIR" in text


def test_a_database_file_that_cannot_be_opened_or_is_none(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    installation.env.pop("SSTOOLS_DATABASE_URL", None)
    database = tmp_path / "ss-tools.sqlite3"
    database.mkdir()
    assert "own database cannot be reached" in refused(installation)
    database.rmdir()
    database.write_bytes(b"no database at all\n" * 1000)
    assert "own database is damaged" in refused(installation)


def test_a_database_server_that_is_not_there(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    installation.env["SSTOOLS_DATABASE_URL"] = "postgresql://me:hunter2hunter2@127.0.0.1:1/sstools"
    for command in (["up", "--only", "jobs"], ["worker_alive"], ["sweep"]):
        text = refused(installation, *command)
        assert "own database cannot be reached" in text
        assert "hunter2" not in text


def test_two_that_start_at_once_on_one_new_data_folder_both_work(tmp_path: Path) -> None:
    """The second one waits for the first one's migrations; on one port it would be refused."""
    first = Installation(tmp_path)
    second = Installation(tmp_path)
    second.env["SSTOOLS_DATABASE_URL"] = first.env.get("SSTOOLS_DATABASE_URL", "")
    second.log = tmp_path / "second.log"
    try:
        first.launch()
        second.launch()
        for one in (first, second):
            wait_for(lambda: one.parts().get("workers") == "ok", 180, one.log.read_text)  # noqa: B023
        assert first.rows("SELECT username FROM auth_user") == [("admin",)]
        uuids = [first.enqueue("trial.write", name=f"both/{number}") for number in range(4)]
        wait_for(lambda: {first.job(uuid)["state"] for uuid in uuids} == {"succeeded"}, 40)
        processes = [*first.processes(), *second.processes()]
    finally:
        first.stop()
        second.stop()
    wait_for(lambda: not any(map(works, processes)), 20)
