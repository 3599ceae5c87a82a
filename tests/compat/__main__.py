"""`make compat`, or `python -m tests.compat --pair 4.1.4:6.1.0 --resume`: from every release to every release.

The example assets of 6.1.0 are first written down to the source's release, by ss-tools itself; then each pair is
planned, applied, verified, planned again and rolled back. Some minutes for each pair. What was tried is kept line by
line in var/compat.jsonl; --resume goes on from there. See docs/versions.md, which it writes the table into.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from environments.lab.client import LabClient
from environments.lab.install import Installer
from environments.lab.instance import RunningSuperset
from environments.lab.places import REPOSITORY, Places
from environments.lab.progress import Progress
from environments.lab.versions import CURRENT, SUPERSETS
from tests.bench.page import commit

from .released import differences
from .report import terminal, write_page

STATE = REPOSITORY / "var" / "compat.jsonl"
Pair = tuple[str, str]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.compat", description=__doc__)
    parser.add_argument(
        "--pair", action="append", default=[], metavar="FROM:TO", help="only this one; as often as wanted"
    )
    parser.add_argument("--resume", action="store_true", help="leave out what is written down and held")
    parser.add_argument("--state", type=Path, default=STATE, help="where each pair is written down")
    parser.add_argument("--no-write", action="store_true", help="do not write docs/versions.md")
    options = parser.parse_args()
    wanted = [_pair(text) for text in options.pair] or [
        (one, other) for one in SUPERSETS for other in SUPERSETS
    ]
    known = _rows(options.state)
    if options.resume:
        wanted = [pair for pair in wanted if (row := known.get(pair)) is None or row["problems"]]
    options.state.parent.mkdir(parents=True, exist_ok=True)
    for version in SUPERSETS:  # what the tables of the code stand on
        if told := differences(Installer(Places.default(), Progress()), version):
            raise SystemExit(f"Superset {version} is not as the tables say: {told}")
    _say(f"{len(wanted)} pairs to try")
    try:
        with LabClient() as lab, tempfile.TemporaryDirectory(prefix="ss-tools-compat-") as folder:
            for version in dict.fromkeys(source for source, _ in wanted):
                targets = [target for source, target in wanted if source == version]
                for row in _from(lab, Path(folder), version, targets):
                    known[row["source"], row["target"]] = row
                    with options.state.open("a") as kept:
                        kept.write(json.dumps(row) + "\n")
    except KeyboardInterrupt:
        _say("Interrupted; --resume goes on.")
    _say("\n" + terminal(known))
    if not options.no_write:
        _say(f"Written to {write_page(known).relative_to(REPOSITORY)}.")
    return 1 if any(row["problems"] for row in known.values()) else 0


def _from(lab: LabClient, folder: Path, version: str, targets: list[str]) -> Any:
    """Rows of the pairs from one release. The source is filled once, and only read afterwards."""
    source = lab.lease(CURRENT, "examples")
    if version != CURRENT:
        examples, source = source, lab.lease(version)
        _say(f"Writing the examples of {CURRENT} down to {version}")
        brought = _product(folder / f"to-{version}", "bring", examples, source)
        lab.release(examples)
        if brought["problems"]:
            _say(f"They do not arrive: {brought['problems']}")
            lab.release(source)
            return
    for number, target_version in enumerate(targets):
        began = time.monotonic()
        target = lab.lease(target_version)
        found = _product(folder / f"{version}-{target_version}-{number}", "try", source, target)
        lab.release(target)
        row = {
            "source": version,
            "target": target_version,
            "commit": commit(),
            "when": f"{datetime.now(UTC):%Y-%m-%d}",
            "seconds": round(time.monotonic() - began),
            **found,
        }
        _say(
            f"{version} → {target_version}: {'holds' if not row['problems'] else 'DOES NOT HOLD'}, {row['seconds']} s"
        )
        for problem in row["problems"]:
            _say(f"    {problem}")
        yield row
    lab.release(source)


def _product(data: Path, what: str, source: RunningSuperset, target: RunningSuperset) -> dict[str, Any]:
    """One step of ss-tools in a process of its own, with an installation of its own."""
    settings = {
        name: value for name, value in os.environ.items() if not name.startswith(("SSTOOLS_", "DJANGO_"))
    }
    ended = subprocess.run(
        [sys.executable, "-m", "tests.compat.pair", what, source.url, target.url],
        cwd=REPOSITORY,
        env={**settings, "SSTOOLS_DATA_DIR": str(data), "SSTOOLS_LOG_LEVEL": "ERROR"},
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        return {"problems": [f"it could not be brought to an end: {ended.stderr.strip()[-3000:]}"]}
    result: dict[str, Any] = json.loads(ended.stdout.strip().splitlines()[-1])
    return result


def _pair(text: str) -> Pair:
    source, _, target = text.partition(":")
    if source not in SUPERSETS or target not in SUPERSETS:
        raise SystemExit(f"{text} is no pair of {', '.join(SUPERSETS)}: write 4.1.4:6.1.0.")
    return source, target


def _rows(state: Path) -> dict[Pair, dict[str, Any]]:
    """The last that is known of each pair."""
    if not state.exists():
        return {}
    rows = [json.loads(line) for line in state.read_text().splitlines()]
    return {(row["source"], row["target"]): row for row in rows}


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
