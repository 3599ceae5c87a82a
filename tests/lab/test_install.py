"""Finding a Python, names in the cache, interrupted installations. Nothing is downloaded here."""

import os
import stat
import sys
from pathlib import Path

import pytest

from environments.lab import install
from environments.lab.errors import LabError, ToolMissing
from environments.lab.install import Installer, find_python
from environments.lab.places import Places, is_complete
from environments.lab.progress import Progress, quiet
from environments.lab.versions import SUPERSETS, SupersetVersion, superset_version


def program(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def no_python_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine whose only programs are those in the folder that comes back."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(sys, "executable", str(folder / "python3.13"))
    monkeypatch.setattr(install, "SYSTEM_FOLDERS", ())
    return folder


def test_python_on_the_path_is_found_by_its_real_place(no_python_here: Path) -> None:
    program(no_python_here, "python3.11", 'echo "(3, 11) /opt/real/python3.11"')
    assert find_python() == Path("/opt/real/python3.11")


def test_a_shim_for_another_version_is_no_python_3_11(no_python_here: Path) -> None:
    program(no_python_here, "python3.11", 'echo "(3, 12) /opt/real/python3.12"')
    with pytest.raises(ToolMissing, match=r"needs python3\.11.*apt install python3\.11 python3\.11-venv"):
        find_python()


def test_a_python_that_cannot_be_run_is_passed_over(
    no_python_here: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (no_python_here / "python3.11").write_text("not executable")
    other = program(tmp_path / "other", "python3.11", 'echo "(3, 11) /opt/real/python3.11"')
    monkeypatch.setenv("PATH", f"{tmp_path / 'absent'}:{no_python_here}:{other.parent}")
    assert find_python() == Path("/opt/real/python3.11")


def test_a_python_without_venv_is_said_to_lack_it(no_python_here: Path) -> None:
    program(no_python_here, "python3.11", 'echo "(3, 11) /usr/bin/python3.11"; exit 1')
    with pytest.raises(ToolMissing, match=r"not its venv module.*apt install python3\.11-venv"):
        find_python()


def test_every_release_has_a_place_of_its_own_and_tried_dependencies() -> None:
    assert set(SUPERSETS) == {"4.1.4", "5.0.0", "6.0.0", "6.1.0"}
    assert len({version.key for version in SUPERSETS.values()}) == 4
    for version in SUPERSETS.values():
        assert f"apache-superset=={version.version}" in version.requirements
        assert version.constraints is not None
        lines = [line for line in version.constraints.read_text().splitlines() if not line.startswith("#")]
        assert len(lines) > 100
        assert all(line.count("==") == 1 and " " not in line for line in lines)


def test_other_pins_are_another_installation() -> None:
    assert SupersetVersion("6.1.0", ("a==1",)).key != SupersetVersion("6.1.0", ("a==2",)).key


def test_an_unknown_release_is_refused_with_the_known_ones() -> None:
    with pytest.raises(LabError, match=r"No Superset 3\.1\.0 .*4\.1\.4, 5\.0\.0, 6\.0\.0, 6\.1\.0"):
        superset_version("3.1.0")


class RecordingInstaller(Installer):
    """Makes files where the real one installs packages."""

    def __init__(self, root: Path) -> None:
        super().__init__(Places(root), quiet())
        self.installed: list[list[str]] = []
        self.fails = False

    def _tools(self, python: Path) -> tuple[Path, Path | None]:
        return python, None

    def _new_environment(self, python: Path, folder: Path) -> None:
        folder.mkdir(parents=True)

    def _pip_install(self, python: Path, uv: Path | None, wanted: list[str], what: str) -> None:
        self.installed.append(wanted)
        if self.fails:
            raise ToolMissing("no internet")


def test_an_installation_is_done_once(tmp_path: Path) -> None:
    installer = RecordingInstaller(tmp_path)
    version = superset_version("6.1.0")
    first, second = installer.superset(version), installer.superset(version)
    assert first == second
    assert is_complete(first.folder)
    (wanted,) = installer.installed
    assert wanted[-2:] == ["--constraint", str(version.constraints)]


def test_an_interrupted_installation_is_done_again_from_nothing(tmp_path: Path) -> None:
    installer = RecordingInstaller(tmp_path)
    installer.fails = True
    version = superset_version("5.0.0")
    with pytest.raises(ToolMissing, match="no internet"):
        installer.superset(version)
    half = tmp_path / version.key
    (half / "half-written").touch()
    installer.fails = False
    installed = installer.superset(version)
    assert len(installer.installed) == 2
    assert not (installed.folder / "half-written").exists()


def test_where_uv_cannot_reach_the_index_pip_is_tried(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # uv reads no pip.conf, so a mirror or an authority named there is known to pip alone.
    commands: list[str] = []

    def run(command: list[str], what: str, **options: object) -> str:
        commands.append(Path(command[0]).name)
        if command[0] == "uv":
            raise LabError("Installing failed (exit 2):\nerror: invalid peer certificate")
        return ""

    monkeypatch.setattr(install, "run", run)
    said: list[str] = []
    installer = Installer(Places(tmp_path), Progress(said.append))
    installer._pip_install(Path("python"), Path("uv"), ["apache-superset"], "Installing")
    assert commands == ["uv", "python"]
    assert "invalid peer certificate" in said[0]


def test_files_go_where_the_variable_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SSTOOLS_LAB_DIR", str(tmp_path))
    assert Places.default().root == tmp_path
    monkeypatch.setenv("SSTOOLS_LAB_DIR", "~/lab")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Places.default().root == tmp_path / "lab"
    monkeypatch.delenv("SSTOOLS_LAB_DIR")
    assert Places.default().root.parts[-2:] == ("var", "lab")
    assert os.path.isabs(Places.default().root)
