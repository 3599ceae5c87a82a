"""ss-tools as a contender: a process of its own, as a worker is after its start, with an installation of its own
(SSTOOLS_DATA_DIR).

`python -m tests.bench.product setup|move|move-and-verify|replan SOURCE_URL TARGET_URL` prints one JSON object. Times
are of the jobs as a worker does them; peak memory is of the whole process, Django included.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sstools.settings")

USER, PASSWORD = "admin", "admin"  # of the Supersets of the lab


class Counting(httpx.BaseTransport):
    """Passes requests on and counts them by what they are for: an independent witness of what was sent."""

    counts: Counter[str] = Counter()

    def __init__(self) -> None:
        from environments.superset.transport import tls_context

        self._inner = httpx.HTTPTransport(verify=tls_context(None), limits=httpx.Limits(max_connections=10))

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.counts[purpose(request)] += 1
        return self._inner.handle_request(request)

    def close(self) -> None:
        self._inner.close()


def purpose(request: httpx.Request) -> str:
    path = request.url.path
    if path.startswith("/api/v1/security/"):
        return "sign_in"
    if path.startswith("/api/v1/chart/data"):
        return "verify"
    if re.match(r"/api/v1/database/\d+/(tables|table_metadata|schemas|catalogs)", path):
        return "warehouse"
    return "read" if request.method == "GET" else "write"


def peak_mib() -> float:
    """The most memory this process ever held (VmHWM); unlike ru_maxrss it forgets what came before exec."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def setup_installation(source_url: str, target_url: str, *, read: bool = True) -> tuple[Any, Any, Any]:
    """An installation with its administrator and the environments dev and prod, tested and (with `read`) read."""
    from django.contrib.auth import get_user_model
    from django.core.management import call_command

    from environments import services as environments

    call_command("migrate", verbosity=0)
    admin = get_user_model().objects.create_superuser("bench", password="a long password 1")
    made = []
    for name, url in (("dev", source_url), ("prod", target_url)):
        data = {"name": name, "slug": name, "tag": name, "url": url, "username": USER, "secret": PASSWORD}
        environment = environments.register_environment(data, actor=admin)
        environments.run_check(environment)
        if read:
            environments.run_reading(environment)
        made.append(environment)
    return made[0], made[1], admin


def setup(source_url: str, target_url: str) -> dict[str, Any]:
    """Not timed: what is done once in the life of an installation."""
    from migrations_app import services

    source, target, admin = setup_installation(source_url, target_url)
    databases = {
        row.uuid: target.assets.get(kind="database").uuid for row in source.assets.filter(kind="database")
    }
    services.save_mapping(source, target, actor=admin, databases=databases)
    return {"peak_mib": peak_mib()}


def move(*, verify: bool) -> dict[str, Any]:
    from migrations_app import naming, services
    from migrations_app.models import Run

    source, target, admin = _known()
    cpu = time.process_time()
    migration = services.create_migration(
        source, target, selection=naming.all_assets(source), actor=admin, verify=verify
    )
    planning = timed(lambda: services.request_plan(migration, actor=admin))
    migration.refresh_from_db()
    plan = migration.plan
    assert plan is not None
    if plan.blocked_count or plan.errors:
        raise SystemExit(f"The plan is not clean: {plan.counts} {plan.errors[:3]}")
    applying = timed(lambda: services.request_apply(migration, plan_hash=plan.hash, actor=admin))
    run = Run.objects.get(migration=migration)
    return {
        "plan_seconds": planning,
        "apply_seconds": applying,
        "cpu_seconds": time.process_time() - cpu,
        "counts": plan.counts,
        "state": run.state,
        "verdicts": run.verdict_counts,
        "requests": dict(Counting.counts),
        "peak_mib": peak_mib(),
    }


def replan() -> dict[str, Any]:
    """The same plan again where nothing changed, and beside it how long the listings alone take."""
    from environments.connections import connect
    from environments.inventory import list_everything
    from migrations_app import naming, services

    source, target, admin = _known()

    def listings() -> float:
        began = time.perf_counter()
        for environment in (source, target):
            with connect(environment) as client:
                list_everything(client)
        return time.perf_counter() - began

    def plan() -> tuple[float, Any]:
        selection = naming.all_assets(source)
        migration = services.create_migration(source, target, selection=selection, actor=admin)
        seconds = timed(lambda: services.request_plan(migration, actor=admin))
        migration.refresh_from_db()
        return seconds, migration.plan

    # The first plan after a run exports once more what changed within two seconds before its re-read: a server's clock
    # has no finer answer to "before or after". From then on nothing is exported.
    plan()
    first = listings()
    Counting.counts.clear()
    seconds, made = plan()
    requests = dict(Counting.counts)
    return {
        "seconds": seconds,
        "listings_seconds": min(first, listings()),
        "counts": made.counts,
        "requests": requests,
        "peak_mib": peak_mib(),
    }


def _known() -> tuple[Any, Any, Any]:
    from django.contrib.auth import get_user_model

    from environments.models import Environment

    return (
        Environment.objects.get(slug="dev"),
        Environment.objects.get(slug="prod"),
        get_user_model().objects.get(username="bench"),
    )


def timed(ask: Any) -> float:
    """Seconds from asking for a job to its end, done here as a worker does it."""
    from sstools.jobs.runner import run_job

    began = time.perf_counter()
    job = ask()
    run_job(str(job.uuid))
    seconds = time.perf_counter() - began
    job.refresh_from_db()
    if job.state != "succeeded":
        raise SystemExit(f"{job}: {job.state} {job.error}")
    return seconds


def main(words: list[str]) -> None:
    import django

    django.setup()
    from django_q.signals import post_spawn

    from environments.connections import connecting_through

    post_spawn.send(sender="bench", proc_name="bench")  # what a worker does when it starts
    what, source_url, target_url = words
    with connecting_through(lambda environment: Counting()):
        if what == "setup":
            result = setup(source_url, target_url)
        elif what == "replan":
            result = replan()
        else:
            result = move(verify=what == "move-and-verify")
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
