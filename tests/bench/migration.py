"""`python -m tests.bench.migration [--rounds 4] [--no-preset]`: examples moved by ss-tools, API, preset-cli."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from environments.lab.client import LabClient
from environments.lab.install import Installer
from environments.lab.instance import RunningSuperset
from environments.lab.places import REPOSITORY, Places
from environments.lab.progress import Progress
from environments.lab.rest import Rest

from .contenders import PRESET_CLI, preset_cli, raw_api
from .report import Results, section, terminal

KINDS = ("dashboard", "chart", "dataset", "database")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.migration", description=__doc__)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--no-preset", action="store_true", help="leave preset-cli out")
    parser.add_argument("--section", type=Path, help="write the section of the page of benchmarks here")
    options = parser.parse_args()
    progress = Progress()
    program = (
        None
        if options.no_preset
        else Installer(Places.default(), progress).program("preset-cli", *PRESET_CLI)
    )
    results = Results()
    with LabClient() as lab, tempfile.TemporaryDirectory(prefix="ss-tools-bench-") as folder:
        with progress.step("Starting two Supersets", "Two Supersets answer"):
            source, target = lab.lease(contents="examples"), lab.lease(contents="prod")
        results.assets = _count(source)
        raw_api(source, target)  # not counted: first requests of a fresh process load half of Superset
        for number in range(1, options.rounds + 1):
            progress.say(f"Round {number} of {options.rounds}")
            _round(lab, source, target, program, Path(folder) / str(number), results, progress)
    progress.say("")
    progress.say(terminal(results))
    if options.section:
        versions = f"Superset {source.version} on PostgreSQL, one worker with eight threads"
        options.section.write_text(section(results, versions=versions))
    return 0


def _round(
    lab: LabClient,
    source: RunningSuperset,
    target: RunningSuperset,
    program: Path | None,
    folder: Path,
    results: Results,
    progress: Progress,
) -> None:
    _reset(lab, target)
    work = Work(source, target)
    timing = replace(raw_api(source, target), cpu=work.seconds())
    _must_hold(target, results.assets, "raw API")
    results.raw.append(timing)
    progress.say(f"  raw API            {timing.total:5.1f} s")

    if program is not None:
        _reset(lab, target)
        work = Work(source, target)
        timing = replace(preset_cli(program, source, target, folder / "preset"), cpu=work.seconds())
        _must_hold(target, results.assets, "preset-cli")
        results.preset.append(timing)
        progress.say(f"  preset-cli         {timing.total:5.1f} s")

    ways = [("move", results.moves)]
    if not results.verified:  # once: it is mostly the charts' own queries, and takes longer than all the rest
        ways.append(("move-and-verify", results.verified))
    for words, kept in ways:
        _reset(lab, target)
        data = folder / words
        _product(data, "setup", source, target)
        work = Work(
            source, target, children=False
        )  # of its own it tells itself: its start is no part of a job
        moved = _product(data, words, source, target)
        moved["cpu_seconds"] += work.seconds()
        _must_hold(target, results.assets, "ss-tools")
        kept.append(moved)
        total = moved["plan_seconds"] + moved["apply_seconds"]
        progress.say(f"  ss-tools {words:<17} {total:5.1f} s, {moved['peak_mib']:.0f} MiB")
        if words == "move":
            again = _product(data, "replan", source, target)
            if again["counts"]["unchanged"] != sum(again["counts"].values()):
                raise SystemExit(f"The second plan is not unchanged: {again['counts']}")
            results.replans.append(again)
            progress.say(
                f"  ss-tools again     {again['seconds']:5.1f} s, listings {again['listings_seconds']:.1f} s"
            )


class Work:
    """Processor seconds from now on: of both Supersets with their workers, of this process, of the programs it runs.

    On a machine that does other things at the same time, the one number that stays true.
    """

    def __init__(self, *supersets: RunningSuperset, children: bool = True) -> None:
        self._pids = [superset.pid for superset in supersets]
        self._children = children
        self._began = self._now()

    def seconds(self) -> float:
        return self._now() - self._began

    def _now(self) -> float:
        own = os.times()
        mine = own.user + own.system + own.children_user + own.children_system if self._children else 0.0
        return mine + sum(_tree_seconds(pid) for pid in self._pids)


def _tree_seconds(pid: int) -> float:
    """Processor seconds of a process and of all below it that run (proc(5): fields 14 and 15 of stat, in ticks)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0.0
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return own + sum(_tree_seconds(int(child)) for child in children)


def _reset(lab: LabClient, target: RunningSuperset) -> None:
    lab.reset(target, contents="prod")
    _count(
        target
    )  # its connections to the database were cut: the next request pays for new ones, not the contender


def _product(data: Path, what: str, source: RunningSuperset, target: RunningSuperset) -> dict[str, Any]:
    """One step of ss-tools in a process of its own, with an installation of its own."""
    settings = {
        name: value for name, value in os.environ.items() if not name.startswith(("SSTOOLS_", "DJANGO_"))
    }
    ended = subprocess.run(
        [sys.executable, "-m", "tests.bench.product", what, source.url, target.url],
        cwd=REPOSITORY,
        env={**settings, "SSTOOLS_DATA_DIR": str(data), "SSTOOLS_LOG_LEVEL": "ERROR"},
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        raise SystemExit(f"ss-tools ({what}) failed:\n{ended.stderr[-3000:]}")
    result: dict[str, Any] = json.loads(ended.stdout.strip().splitlines()[-1])
    return result


def _count(superset: RunningSuperset) -> int:
    """Dashboards, charts, datasets and connections."""
    rest = Rest(superset)
    return sum(int(rest.call("GET", f"/api/v1/{kind}/?q=(page_size:1)")["count"]) for kind in KINDS)


def _must_hold(target: RunningSuperset, assets: int, who: str) -> None:
    held = _count(target)
    if held < assets:  # a contender that leaves something out is not faster
        raise SystemExit(f"{who} brought {held} of {assets} assets.")


if __name__ == "__main__":
    sys.exit(main())
