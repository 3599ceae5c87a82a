"""`python -m tests.bench.backups [--nights 100 --zips 10]`: nightly backups against plain ZIPs of Superset's export.

Fills a real Superset, then each night edits 1 % of its assets as people do, and backs it up as a schedule does: by a
job, with all that goes with assets. Every so many nights the plain ZIP of everything (`GET /api/v1/assets/export/`) is
fetched and timed beside it; the bytes of all nights are the mean of those times the nights. What ss-tools takes is all
that its database grew by since it was empty: documents, spans, indexes, jobs, logs, inventory and search. At the end
the first, a middle and the last backup are read back whole and checked by their hashes. A quarter of an hour for a
hundred nights of 3,200 assets.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from environments.lab.client import LabClient
from environments.lab.large import Sizes, build_large_estate, uuid_of
from environments.lab.places import REPOSITORY
from environments.lab.progress import Progress

from .measuring import table
from .product import PASSWORD, USER, Counting, peak_mib, setup_installation, timed

BYTES_GOAL, TIME_GOAL = 1 / 10, 1 / 5
SHARE = 0.01  # of all assets, edited each night


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.backups", description=__doc__)
    for name in ("charts", "dashboards", "datasets"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Sizes, name))
    parser.add_argument("--nights", type=int, default=100)
    parser.add_argument(
        "--zips", type=int, default=10, help="nights in which the plain ZIP is fetched as well"
    )
    parser.add_argument("--section", type=Path, help="write the section of the page of benchmarks here")
    options = parser.parse_args()
    sizes = Sizes(options.charts, options.dashboards, options.datasets)
    progress = Progress()
    with LabClient() as lab, tempfile.TemporaryDirectory(prefix="ss-tools-bench-") as folder:
        with progress.step("Starting a Superset", "It answers"):
            superset = lab.lease(contents="prod")
        with progress.step(f"Filling it with {sizes.total} assets", "It is full"):
            build_large_estate(superset, sizes)
        words = [superset.url, *map(str, (*_numbers(sizes), options.nights, options.zips))]
        found = _child(Path(folder), words)
        text = _section(sizes, superset.version, options.nights, found)
    progress.say(text)
    if options.section:
        options.section.write_text(text)
    return 0


def _numbers(sizes: Sizes) -> tuple[int, int, int]:
    return sizes.charts, sizes.dashboards, sizes.datasets


def _section(sizes: Sizes, version: str, nights: int, found: dict[str, Any]) -> str:
    zip_bytes, zip_seconds = statistics.mean(found["zip_bytes"]), statistics.mean(found["zip_seconds"])
    seconds = statistics.mean(found["seconds"])
    plain, ours = zip_bytes * nights, found["grown"]
    by_bytes, by_time = ours / plain, seconds / zip_seconds
    heads = ("", "ss-tools", "plain ZIPs", "share", "goal")
    rows = (
        (
            f"{nights} nights, MB",
            f"{ours / 1e6:.1f}",
            f"{plain / 1e6:.1f}",
            f"{by_bytes:.3f}",
            f"{BYTES_GOAL:.1f}",
        ),
        ("of them backups, MB", f"{found['held'] / 1e6:.1f}", "", "", ""),
        ("the first, s", f"{found['first']:.1f}", f"{found['zip_seconds'][0]:.1f}", "", ""),
        ("a night, s", f"{seconds:.1f}", f"{zip_seconds:.1f}", f"{by_time:.2f}", f"{TIME_GOAL:.1f}"),
        ("requests of a night", str(found["requests"]), "1", "", ""),
        ("CPU of ss-tools a night, s", f"{found['cpu']:.2f}", "", "", ""),
    )
    verdicts = (
        f"Bytes: a {_part(by_bytes)} of the ZIPs, goal a tenth: {'yes' if by_bytes <= BYTES_GOAL else 'MISSED'}",
        f"Time of a night: {by_time:.2f} of that of a ZIP, goal a fifth: {'yes' if by_time <= TIME_GOAL else 'MISSED'}",
        f"Never more than {found['peak_mib']:.0f} MiB of memory",
        f"Read back whole at the end: backups {', '.join(map(str, found['checked']))}",
    )
    return (
        f"## Nightly backups\n\nSuperset {version} with {sizes.charts:,} charts, {sizes.dashboards:,} dashboards and "
        f"{sizes.datasets:,} datasets, of which {SHARE:.0%} are edited each night. *ss-tools*: all that its database "
        "grew by, inventory, search and jobs included, and with what no ZIP has: owners, rules, tags, themes, reports. "
        f"*Plain ZIPs*: `/api/v1/assets/export/`, {len(found['zip_bytes'])} of them measured.\n\n"
        f"{table(heads, rows)}\n\n" + "\n".join(f"- {one}" for one in verdicts) + "\n"
    )


def _part(share: float) -> str:
    return f"{1 / share:.0f}th" if share else "nothing"


# --- In a process of its own ----------------------------------------------------------------------------------


def _child(data: Path, words: list[str]) -> dict[str, Any]:
    settings = {
        name: value for name, value in os.environ.items() if not name.startswith(("SSTOOLS_", "DJANGO_"))
    }
    ended = subprocess.run(
        [sys.executable, "-m", "tests.bench.backups", "--nightly", *words],
        cwd=REPOSITORY,
        env={**settings, "SSTOOLS_DATA_DIR": str(data), "SSTOOLS_LOG_LEVEL": "ERROR"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    result: dict[str, Any] = json.loads(ended.stdout.strip().splitlines()[-1])
    return result


def _nightly(url: str, *numbers: str) -> dict[str, Any]:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sstools.settings")
    import django

    django.setup()
    from django_q.signals import post_spawn

    from environments.backups import retention, services, verifying
    from environments.backups.models import Backup
    from environments.connections import connecting_through
    from environments.models import Environment

    post_spawn.send(sender="bench", proc_name="bench")  # what a worker does when it starts
    charts, dashboards, datasets, nights, zips = map(int, numbers)
    sizes = Sizes(charts, dashboards, datasets)
    every = max(1, nights // max(1, zips))
    found: dict[str, Any] = {"seconds": [], "zip_bytes": [], "zip_seconds": []}
    with connecting_through(lambda environment: Counting()):
        setup_installation(url, url, read=False)
        environment = Environment.objects.get(slug="dev")
        empty = _database_bytes()
        found["first"] = timed(lambda: services.request_backup(environment, actor=environment.created_by))
        _zip(url, found)
        cpu = 0.0
        for night in range(1, nights):
            _edit(url, sizes, night)
            time.sleep(2.1)  # an export within two seconds of an edit is made again by the next reading
            Counting.counts.clear()
            before = time.process_time()
            found["seconds"].append(
                timed(
                    lambda: services.request_backup(
                        environment, actor=environment.created_by, title="Nightly"
                    )
                )
            )
            cpu += time.process_time() - before
            if night % every == 0:
                _zip(url, found)
            sys.stderr.write(
                f"night {night}: {found['seconds'][-1]:.1f} s, {dict(Counting.counts)}, "
                f"{(_database_bytes() - empty) / 1e6:.1f} MB\n"
            )
        found["cpu"] = cpu / max(1, nights - 1)
        found["requests"] = sum(Counting.counts.values())
        found["held"] = retention.usage(environment).size
        found["grown"] = _database_bytes() - empty
        rows = list(
            Backup.objects.filter(state="good").select_related("snapshot__environment").order_by("pk")
        )
        if len(rows) != nights:
            raise SystemExit(f"{len(rows)} good backups of {nights}")
        found["checked"] = []
        for row in (rows[0], rows[len(rows) // 2], rows[-1]):
            if verifying.verify(row).state != "good":
                raise SystemExit(f"{row} is not what it was: {row.verification}")
            found["checked"].append(row.pk)
    found["peak_mib"] = peak_mib()
    return found


def _zip(url: str, found: dict[str, Any]) -> None:
    """What a nightly script would keep: everything, as Superset exports it."""
    import httpx

    with httpx.Client(base_url=url, trust_env=False, timeout=600) as client:
        credentials = {"username": USER, "password": PASSWORD, "provider": "db", "refresh": False}
        token = (
            client.post("/api/v1/security/login", json=credentials).raise_for_status().json()["access_token"]
        )
        began = time.perf_counter()
        answer = client.get("/api/v1/assets/export/", headers={"Authorization": f"Bearer {token}"})
        answer.raise_for_status()
        found["zip_seconds"].append(time.perf_counter() - began)
        found["zip_bytes"].append(len(answer.content))


def _edit(url: str, sizes: Sizes, night: int) -> None:
    """1 % of the assets, each night others: mostly charts, as people do."""
    import httpx

    chosen = random.Random(night)
    wanted = max(1, round(sizes.total * SHARE))
    shares = (
        ("chart", sizes.charts, 0.7),
        ("dataset", sizes.datasets, 0.2),
        ("dashboard", sizes.dashboards, 0.1),
    )
    with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        credentials = {"username": USER, "password": PASSWORD, "provider": "db", "refresh": False}
        token = client.post("/api/v1/security/login", json=credentials).json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        client.headers["X-CSRFToken"] = client.get("/api/v1/security/csrf_token/").json()["result"]
        client.headers["Referer"] = f"{url}/"
        for kind, count, share in shares:
            number = max(1, round(wanted * share))
            for one in chosen.sample(range(count), min(number, count)):
                found = _id_of(client, kind, uuid_of(kind, one))
                field = "slice_name" if kind == "chart" else "description"
                body = {
                    "dashboard_title"
                    if kind == "dashboard"
                    else field: f"{kind} {one}, edited in night {night}"
                }
                client.put(f"/api/v1/{kind}/{found}", json=body).raise_for_status()


def _id_of(client: Any, kind: str, uuid: str) -> int:
    query = f"(filters:!((col:uuid,opr:eq,value:'{uuid}')),columns:!(id))"
    rows = client.get(f"/api/v1/{kind}/", params={"q": query}).raise_for_status().json()["result"]
    return int(rows[0]["id"])


def _database_bytes() -> int:
    """What the database takes on the disk, its log written back first."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        cursor.execute("SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()")
        return int(cursor.fetchone()[0])


if __name__ == "__main__":
    if "--nightly" in sys.argv:
        sys.stdout.write(json.dumps(_nightly(*sys.argv[sys.argv.index("--nightly") + 1 :])) + "\n")
    else:
        sys.exit(main())
