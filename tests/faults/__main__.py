"""`make faults`, or `python -m tests.faults --estate small --situation forward --fault kill`. See --help."""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from environments.lab.client import LabClient
from environments.lab.places import REPOSITORY
from tests.postgres import server_url

from . import matrix
from .estates import ESTATES
from .report import PAGE, failures, page, table
from .stage import Stage
from .sweep import Bench, Point

STATE = REPOSITORY / "var" / "faults.jsonl"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--estate", choices=sorted(ESTATES), default="examples")
    parser.add_argument("--version", default="6.1.0", help="of the target's Superset")
    parser.add_argument(
        "--situation", action="append", help="plan, forward, undo, back_plan, back; all if left out"
    )
    parser.add_argument("--fault", action="append", help="of this kind only")
    parser.add_argument("--where", default="", help="only at requests or commits whose name contains this")
    parser.add_argument("--commits", action="store_true", help="death of the worker at every commit, too")
    parser.add_argument(
        "--slice", default="1/1", metavar="K/N", help="every Nth point, beginning with the Kth"
    )
    parser.add_argument("--quick", action="store_true", help="only what `make test-faults` tries")
    parser.add_argument("--seed", type=int, help="in random order")
    parser.add_argument("--stop-after", type=float, metavar="MINUTES")
    parser.add_argument("--state", type=Path, default=STATE, help="where each point is written down")
    parser.add_argument("--resume", action="store_true", help="leave out what is written there")
    parser.add_argument("--postgres", action="store_true", help="ss-tools on PostgreSQL")
    parser.add_argument("--list", action="store_true", help="only say what would be tried")
    parser.add_argument(
        "--write", action="store_true", help=f"say in {PAGE.relative_to(REPOSITORY)} what was tried"
    )
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    _say(f"The estate “{options.estate}”, to a Superset {options.version}")
    rows = _rows(options.state) if options.resume else []
    options.state.parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="ss-tools-faults-", ignore_cleanup_errors=True) as folder,
        LabClient() as lab,
        Stage(lab, estate=options.estate, version=options.version) as stage,
        Bench(stage, postgres=server_url(folder) if options.postgres else "", say=_say) as bench,
        options.state.open("a" if options.resume else "w") as kept,
    ):
        points = _points(bench, options)
        total = len(points)
        done = {row["point"] for row in rows}
        points = [point for point in points if str(point) not in done]
        _say(f"{len(points)} points to try")
        if options.list:
            for point in points:
                _say(str(point))
            return 0
        end = time.monotonic() + options.stop_after * 60 if options.stop_after else float("inf")
        try:
            for number, point in enumerate(points, 1):
                if time.monotonic() > end:
                    _say(f"Stopped with {len(points) - number + 1} points left; --resume goes on.")
                    break
                tried = bench.try_point(point)
                row = tried.row()
                rows.append(row)
                kept.write(json.dumps(row) + "\n")
                kept.flush()
                if options.verbose or tried.problems or not tried.fired:
                    note = "" if tried.fired else " (not reached)"
                    _say(f"{number}/{len(points)} {point} -> {tried.outcome}{note}, {tried.seconds:.1f} s")
                    for problem in tried.problems:
                        _say(f"    {problem}")
                    if tried.problems and tried.said:
                        _say(f"    it said: {tried.said[:400]}")
                elif number % 50 == 0:
                    _say(f"{number}/{len(points)}")
        except KeyboardInterrupt:
            _say("Interrupted; --resume goes on.")
    _say("\n" + table(rows))
    if options.write:
        PAGE.write_text(page(rows, total, estate=options.estate, version=options.version))
        _say(f"Written to {PAGE.relative_to(REPOSITORY)}.")
    if wrong := failures(rows):
        _say("\n" + wrong)
    return 1 if any(row["problems"] for row in rows) else 0


def _points(bench: Bench, options: argparse.Namespace) -> list[Point]:
    points: list[Point] = []
    for name in options.situation or bench.situations:
        if options.quick:
            points += [point for group in matrix.GROUPS for point in matrix.points(bench, name, group)]
            points += bench.points_at_steps(name)
            continue
        points += bench.points_at_requests(name)
        if options.commits:
            points += bench.points_at_commits(name)
    if options.fault:
        points = [point for point in points if point.fault in options.fault]
    points = [point for point in points if options.where in str(point)]
    if options.seed is not None:
        random.Random(options.seed).shuffle(points)
    first, _, every = options.slice.partition("/")
    return points[int(first) - 1 :: int(every or 1)]


def _rows(state: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in state.read_text().splitlines()] if state.exists() else []


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
