"""`python -m tests.bench.reading [--charts 2000 --dashboards 200 --datasets 1000]`: what a large Superset costs.

Fills a real Superset, then each step is a process of its own, as a worker is after its start: the first reading, one
where nothing changed, one after 20 edits, and a plan of everything onto an empty Superset. Of each the time, the share
of it in which at least one request was under way at Superset, our own processor time (the one number that stays true
on a busy machine), the requests, and the most memory the process held.
Some minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from environments.lab.client import LabClient
from environments.lab.instance import RunningSuperset
from environments.lab.large import Sizes, build_large_estate, uuid_of
from environments.lab.places import REPOSITORY
from environments.lab.progress import Progress
from environments.lab.rest import Rest

from .measuring import table
from .product import Counting, peak_mib, setup_installation, timed

MOST_MIB, MOST_OVERHEAD = 300, 1.3


class Watched(Counting):
    """Counts requests, and remembers when they were under way."""

    spans: list[tuple[float, float]] = []
    _lock = threading.Lock()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        began = time.perf_counter()
        response = super().handle_request(request)
        response.read()
        with self._lock:
            self.spans.append((began, time.perf_counter()))
        return response

    @classmethod
    def busy(cls) -> float:
        """Seconds in which at least one request was under way."""
        total, until = 0.0, 0.0
        for began, ended in sorted(cls.spans):
            total += max(0.0, ended - max(began, until))
            until = max(until, ended)
        return total


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.reading", description=__doc__)
    for name in ("charts", "dashboards", "datasets"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Sizes, name))
    parser.add_argument("--section", type=Path, help="write the section of the page of benchmarks here")
    options = parser.parse_args()
    sizes = Sizes(options.charts, options.dashboards, options.datasets)
    progress = Progress()
    with LabClient() as lab, tempfile.TemporaryDirectory(prefix="ss-tools-bench-") as folder:
        with progress.step("Starting two Supersets", "Two Supersets answer"):
            source, target = lab.lease(contents="prod"), lab.lease(contents="prod")
        began = time.perf_counter()
        with progress.step(f"Filling one with {sizes.total} assets", "It is full"):
            build_large_estate(source, sizes)
        progress.say(
            f"Filled in {time.perf_counter() - began:.0f} s; load of the machine {os.getloadavg()[0]:.1f}"
        )
        _child(Path(folder), "setup", source, target)
        progress.say(f"{'':<22}{'s':>8}{'Superset':>10}{'ratio':>7}{'CPU':>7}{'MiB':>6}  requests")
        steps: list[tuple[str, str, Callable[[], None] | None]] = [
            ("first reading", "read", None),
            ("nothing changed", "read", None),
            ("after 20 edits", "read", lambda: edit(source, sizes)),
            ("plan of everything", "plan", None),
        ]
        results = {}
        for title, what, before in steps:
            if before is not None:
                before()
                time.sleep(3)  # an export within two seconds of an edit is made again by the next reading
            found = results[title] = _child(Path(folder), what, source, target)
            ratio = found["seconds"] / max(found["busy"], 0.001)
            progress.say(
                f"{title:<22}{found['seconds']:>8.1f}{found['busy']:>10.1f}{ratio:>7.2f}{found['cpu']:>7.1f}{found['peak_mib']:>6.0f}"
                f"  {found['told']}"
            )
    incremental = results["after 20 edits"]
    too_slow = incremental["seconds"] > MOST_OVERHEAD * incremental["busy"]
    too_large = max(found["peak_mib"] for found in results.values()) > MOST_MIB
    verdicts = [
        f"Incremental within {MOST_OVERHEAD} times Superset's own time: {'no' if too_slow else 'yes'}",
        f"Never more than {MOST_MIB} MiB: {'no' if too_large else 'yes'}",
    ]
    progress.say("\n".join(verdicts))
    if options.section:
        options.section.write_text(_section(sizes, source.version, results, verdicts))
    return 0


def _section(sizes: Sizes, version: str, results: dict[str, dict[str, Any]], verdicts: list[str]) -> str:
    rows = [
        (
            title,
            f"{found['seconds']:.1f}",
            f"{found['busy']:.1f}",
            f"{found['seconds'] / max(found['busy'], 0.001):.2f}",
            f"{found['cpu']:.1f}",
            f"{found['peak_mib']:.0f}",
            found["told"],
        )
        for title, found in results.items()
    ]
    heads = ("", "s", "of that Superset", "ratio", "CPU s", "MiB", "requests and what was found")
    return (
        f"## Reading a large Superset\n\nSuperset {version} with {sizes.charts:,} charts, {sizes.dashboards:,} "
        f"dashboards and {sizes.datasets:,} datasets, one worker with eight threads. *Of that Superset*: the time "
        f"in which at least one request was under way; CPU is that of ss-tools.\n\n{table(heads, rows)}\n\n"
        + "\n".join(f"- {verdict}" for verdict in verdicts)
        + "\n"
    )


def edit(superset: RunningSuperset, sizes: Sizes) -> None:
    """Twenty, as people make them: 10 charts, 5 datasets and 4 dashboards changed, 1 chart deleted."""
    rest = Rest(superset)

    def change(kind: str, number: int, field: str) -> None:
        found = rest.find(kind, "uuid", uuid_of(kind, number))
        rest.call("PUT", f"/api/v1/{kind}/{found}", {field: f"Edited {kind} {number}"})

    for place in range(10):
        change("chart", place * sizes.charts // 10, "slice_name")
    for place in range(5):
        change("dataset", place * sizes.datasets // 5, "description")
    for place in range(4):
        change("dashboard", place * sizes.dashboards // 4, "dashboard_title")
    gone = rest.find("chart", "uuid", uuid_of("chart", sizes.charts - 1))
    rest.call("DELETE", f"/api/v1/chart/{gone}")


# --- In a process of its own ----------------------------------------------------------------------------------


def _child(data: Path, what: str, source: RunningSuperset, target: RunningSuperset) -> dict[str, Any]:
    settings = {
        name: value for name, value in os.environ.items() if not name.startswith(("SSTOOLS_", "DJANGO_"))
    }
    ended = subprocess.run(
        [sys.executable, "-m", "tests.bench.reading", "--step", what, source.url, target.url],
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


def _step(what: str, source_url: str, target_url: str) -> dict[str, Any]:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sstools.settings")
    import django

    django.setup()
    from django_q.signals import post_spawn

    from environments import services as environments
    from environments.connections import connecting_through
    from environments.models import Environment
    from migrations_app import naming, services

    post_spawn.send(sender="bench", proc_name="bench")  # what a worker does when it starts
    with connecting_through(lambda environment: Watched()):
        if what == "setup":
            setup_installation(source_url, target_url, read=False)
            environments.run_reading(Environment.objects.get(slug="prod"))
            return {}
        source, target = (Environment.objects.get(slug=slug) for slug in ("dev", "prod"))
        admin = source.created_by
        cpu = time.process_time()
        if what == "read":
            seconds = timed(lambda: environments.request_reading(source, actor=admin))
            row = source.readings.first()
            assert row is not None
            told = f"{row.requests_text}; {row.added} new, {row.changed} changed, {row.gone} gone"
        else:
            pairs = zip(
                source.assets.filter(kind="database"), target.assets.filter(kind="database"), strict=True
            )
            mapped = {one.uuid: other.uuid for one, other in pairs}
            services.save_mapping(source, target, actor=admin, databases=mapped)
            selection = naming.all_assets(source)
            migration = services.create_migration(source, target, selection=selection, actor=admin)
            seconds = timed(lambda: services.request_plan(migration, actor=admin))
            migration.refresh_from_db()
            assert migration.plan is not None
            told = f"{dict(Watched.counts)}; {migration.plan.counts}"
        cpu = time.process_time() - cpu
    return {"seconds": seconds, "cpu": cpu, "busy": Watched.busy(), "peak_mib": peak_mib(), "told": told}


if __name__ == "__main__":
    if "--step" in sys.argv:
        sys.stdout.write(json.dumps(_step(*sys.argv[sys.argv.index("--step") + 1 :])) + "\n")
    else:
        sys.exit(main())
