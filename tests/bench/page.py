"""docs/benchmarks.md: a section for each part, each with when and where it was measured."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime

from environments.lab.places import REPOSITORY

PAGE = REPOSITORY / "docs" / "benchmarks.md"
HEAD = """# Benchmarks

Written by `make bench`; do not edit. `make bench ARGS="reading search"` measures some parts anew and leaves the others
as they were. *Computed* is processor time of ss-tools, and of PostgreSQL where that is the database: the one number
that stays true on a machine that does other things as well.
"""
_SECTION = re.compile(r"<!-- (?P<name>[\w-]+) -->\n(?P<text>.*?)(?=\n<!-- [\w-]+ -->|\Z)", re.DOTALL)


def with_sections(page: str, new: Mapping[str, str], order: tuple[str, ...]) -> str:
    """The page with these sections written anew. `order`: of all there may be; what it does not name is left out."""
    sections = {found["name"]: found["text"].strip() for found in _SECTION.finditer(page)} | dict(new)
    parts = [f"<!-- {name} -->\n{sections[name].strip()}" for name in order if name in sections]
    return "\n\n".join([HEAD.strip(), *parts]) + "\n"


def stamped(section: str) -> str:
    """A section with when, of what and where it was measured, below its heading."""
    heading, _, text = section.strip().partition("\n")
    when = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}, load {os.getloadavg()[1]:.1f}"
    return f"{heading}\n\n*{when}, commit {commit()}, {machine}.*\n{text}"


def commit() -> str:
    """Short hash of what is checked out."""
    ended = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    return ended.stdout.strip() or "unknown"
