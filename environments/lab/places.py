"""Where the lab keeps its files.

    <lab>/                      SSTOOLS_LAB_DIR, else var/lab in the checkout
      tools-…/                  uv, if there was none
      postgres-…/               PostgreSQL's programs
      superset-<version>-…/     one virtual environment per release
      templates/superset-…/     what a set-up Superset has in its metadata database, as SQL
      warehouse-…/              the example data
      locks/                    one process installs or builds, the others wait
      runs/<name>/              a running lab: databases, homes and logs of its Supersets

Everything but runs/ is a cache: made whole or not at all, and safe to delete while nothing runs.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
MARKER = "complete"  # written last into every folder of the cache


@dataclass(frozen=True)
class Places:
    root: Path

    @classmethod
    def default(cls) -> Places:
        configured = os.environ.get("SSTOOLS_LAB_DIR", "").strip()
        root = Path(configured).expanduser() if configured else REPOSITORY / "var" / "lab"
        return cls(root.absolute())

    def run(self, name: str) -> Path:
        return self.root / "runs" / name

    @contextlib.contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Only one process at a time, the others wait; ended by the kernel if the process dies."""
        folder = self.root / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"{name}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def is_complete(folder: Path) -> bool:
    return (folder / MARKER).is_file()


def mark_complete(folder: Path) -> None:
    (folder / MARKER).touch()
