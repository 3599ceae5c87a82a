"""`make bench`, or `make bench ARGS="estate search"` for some parts of it; `ARGS=--quick` tries all out on little.

migration  all of Superset's examples moved by ss-tools, the raw API and preset-cli (some minutes, two Supersets)
reading    a Superset with 2,000 charts: first and next readings, a plan of everything (ten minutes, two Supersets)
estate     list pages over four environments of 10,000 assets, on SQLite and PostgreSQL
search     searches among the same, on SQLite and PostgreSQL
backups    a hundred nights of 3,200 assets with 1 % changed, against plain ZIPs (a quarter of an hour, one Superset)
git        10,000 files committed and read, next to git itself (some minutes)
queue      how soon a job starts, and pages with a thousand jobs waiting
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from environments.lab.places import REPOSITORY

from .measuring import say
from .page import PAGE, stamped, with_sections


class Part(NamedTuple):
    """`quick`: what makes it small enough to try it out. `databases`: measured once on each of these."""

    quick: tuple[str, ...]
    databases: tuple[str, ...] = ("sqlite",)


PARTS = {
    "migration": Part(("--rounds", "1", "--no-preset")),
    "reading": Part(("--charts", "60", "--dashboards", "6", "--datasets", "30")),
    "estate": Part(("--assets", "500", "--rounds", "3"), ("sqlite", "postgres")),
    "search": Part(("--assets", "500", "--rounds", "1"), ("sqlite", "postgres")),
    "backups": Part(
        ("--charts", "60", "--dashboards", "6", "--datasets", "30", "--nights", "3", "--zips", "1")
    ),
    "git": Part(("--files", "300", "--rounds", "1")),
    "queue": Part(("--rounds", "3")),
}
SECTIONS = tuple(f"{name}-{database}" for name, part in PARTS.items() for database in part.databases)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", metavar="part", help=f"{', '.join(PARTS)}; all if none is named")
    parser.add_argument("--quick", action="store_true", help="small, and without writing the page")
    parser.add_argument("--no-write", action="store_true", help=f"leave {PAGE.relative_to(REPOSITORY)} alone")
    options = parser.parse_args()
    unknown = [name for name in options.parts if name not in PARTS]
    if unknown:
        parser.error(f"There is no part {', '.join(unknown)}: choose from {', '.join(PARTS)}.")
    failed = []
    for name in options.parts or PARTS:
        for database in PARTS[name].databases:
            say(f"--- {name}{', ' + database if len(PARTS[name].databases) > 1 else ''}")
            text = _measured(name, database, quick=options.quick)
            if text is None:
                failed.append(f"{name} on {database}")
            elif not (options.quick or options.no_write):
                new = {f"{name}-{database}": stamped(text)}
                PAGE.write_text(with_sections(PAGE.read_text() if PAGE.exists() else "", new, SECTIONS))
                say(f"Written to {PAGE.relative_to(REPOSITORY)}.")
    if failed:
        say(f"Failed: {', '.join(failed)}.")
    return 1 if failed else 0


def _measured(name: str, database: str, *, quick: bool) -> str | None:
    """The section that a part made, in a process of its own; None if it failed."""
    with tempfile.TemporaryDirectory(prefix="ss-tools-bench-") as folder:
        section = Path(folder) / "section.md"
        words = [sys.executable, "-m", f"tests.bench.{name}", "--section", str(section)]
        ended = subprocess.run(
            [*words, *(PARTS[name].quick if quick else ())],
            cwd=REPOSITORY,
            env={**os.environ, "SSTOOLS_TEST_DATABASE": database},
            check=False,
        )
        return section.read_text() if ended.returncode == 0 and section.exists() else None


if __name__ == "__main__":
    sys.exit(main())
