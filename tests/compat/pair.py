"""One pair of Supersets, with an installation of ss-tools of its own (SSTOOLS_DATA_DIR), in a process of its own.

`python -m tests.compat.pair bring|try SOURCE_URL TARGET_URL` prints one JSON object: `bring` moves everything and
leaves it there, `try` moves it, asks every chart, plans once more and takes everything back.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections import Counter
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sstools.settings")

LACKING = "has no charts of the type"  # environments/superset/viz_types.py
_FIELD = re.compile(r"“([a-z_]+)”(?: of its (columns|metrics))?")


@dataclass
class Move:
    """`left_out`: what the target cannot draw, with the plan's own reason."""

    plan: Any
    run: Any
    selection: list[str]
    left_out: dict[str, str]


def move(source: Any, target: Any, admin: Any, *, verify: bool) -> Move:
    """Plan everything of the source, map each connection to the best one of the target, leave out the charts that the
    target has no type for, and apply.
    """
    from migrations_app import naming, services

    selection = naming.all_assets(source)
    migration = services.create_migration(source, target, selection=selection, actor=admin, verify=verify)
    plan = _planned(migration, admin)
    unmapped = {row["uuid"]: row["suggestions"][0]["uuid"] for row in plan.databases if not row["target"]}
    if unmapped:
        services.save_mapping(source, target, actor=admin, databases=unmapped)
        plan = _planned(migration, admin)
    undrawn = [item for item in plan.items.filter(action="blocked") if LACKING in item.blocked_by]
    if undrawn:
        out = [item.uuid for item in undrawn]
        migration = services.create_migration(
            source, target, selection=selection, left_out=out, actor=admin, verify=verify
        )
        plan = _planned(migration, admin)
    left_out = {item.uuid: f"{item.title}: {item.blocked_by}" for item in undrawn}
    return Move(plan, _applied(migration, plan, admin), selection, left_out)


def try_pair(source: Any, target: Any, admin: Any) -> dict[str, Any]:
    """`problems` is empty where the pair holds: all of it arrives, no chart fails that works on the source, a second
    plan has nothing to do, and afterwards every asset of the target is as before.
    """
    from migrations_app import services

    problems: list[str] = []
    before = _fingerprints(target)
    moved = move(source, target, admin, verify=True)
    plan, run = moved.plan, moved.run
    problems += [f"failed check: {problem['text']}" for problem in plan.errors]
    if run.state != "applied":
        problems.append(f"the run ended {run.state}: {run.error}")
    failed = run.verdicts.filter(status="failed")
    problems += [f"chart “{row.title}” ({row.viz_type}) fails: {row.reason}" for row in failed]
    again = services.create_migration(
        source, target, selection=moved.selection, left_out=list(moved.left_out), actor=admin
    )
    second = _planned(again, admin)
    if second.counts["unchanged"] + second.counts["leave_out"] != sum(second.counts.values()):
        problems += [
            f"second plan: {item.action} {item.kind} “{item.title}” "
            f"{['.'.join(map(str, change['path'])) for change in item.changes[:4]]}"
            for item in second.items.exclude(action__in=("unchanged", "leave_out"))
        ]
    back = services.create_rollback(run, actor=admin)
    undone = _applied(back, _planned(back, admin), admin)
    if undone.state != "applied":
        problems.append(f"rolling back ended {undone.state}: {undone.error}")
    after = _fingerprints(target)
    if after != before:
        differing = [uuid for uuid in {*before, *after} if before.get(uuid) != after.get(uuid)]
        problems.append(f"not as before after rolling back: {len(differing)} assets")
    return {
        "counts": {key: number for key, number in plan.counts.items() if number},
        "verdicts": run.verdict_counts,
        "differing": [
            f"{row.title} ({row.viz_type}): {row.reason}" for row in run.verdicts.filter(status="differs")
        ],
        "losses": _losses(plan),
        "left_out": list(moved.left_out.values()),
        "converted": _converted(run),
        "problems": problems,
    }


def _losses(plan: Any) -> dict[str, int]:
    """How many assets lose what: a field by its name, else by the loss's code."""
    found: Counter[str] = Counter()
    for loss in plan.losses:
        if not loss["uuid"]:
            continue  # what no import of any version carries
        name = loss["code"]
        if name == "unknown_field" and (match := _FIELD.search(loss["text"].partition(": ")[2])):
            name = f"{match[2]}.{match[1]}" if match[2] else match[1]
        found[name] += 1
    return dict(sorted(found.items()))


def _converted(run: Any) -> dict[str, int]:
    """How many charts Superset turned into another type at import, by "old -> new"."""
    found: Counter[str] = Counter()
    for step in run.steps.filter(name="read_back"):
        for chart in step.result.get("converted", []):
            found[f"{chart['from']} → {chart['to']}"] += 1
    return dict(sorted(found.items()))


def _planned(migration: Any, admin: Any) -> Any:
    from migrations_app import services

    _do(services.request_plan(migration, actor=admin))
    migration.refresh_from_db()
    return migration.plan


def _applied(migration: Any, plan: Any, admin: Any) -> Any:
    from migrations_app import services

    slug = migration.target.slug
    _do(services.request_apply(migration, plan_hash=plan.hash, actor=admin, confirmation=slug))
    return migration.runs.first()


def _do(job: Any) -> None:
    from sstools.jobs.runner import run_job

    run_job(str(job.uuid))
    job.refresh_from_db()
    if job.state != "succeeded":
        lines = "\n".join(line.text for line in job.logs.all()[:60])
        raise SystemExit(f"{job}: {job.state} {job.error}\n{lines}")


def _fingerprints(environment: Any) -> dict[str, str]:
    from environments.canonical.comparison import comparison_fingerprint
    from environments.canonical.documents import Kind
    from environments.connections import connect
    from environments.reading import read_everything

    with connect(environment) as client:
        documents = read_everything(client, environment, fresh=True).documents
    return {
        uuid: document.fingerprint if document.kind == Kind.DATABASE else comparison_fingerprint(document)
        for uuid, document in documents.items()
    }


def main(words: list[str]) -> None:
    import django

    django.setup()
    from tests.bench.product import setup_installation

    what, source_url, target_url = words
    source, target, admin = setup_installation(source_url, target_url)
    if what == "bring":
        moved = move(source, target, admin, verify=False)
        result = {
            "counts": moved.plan.counts,
            "problems": [] if moved.run.state == "applied" else [f"{moved.run.state}: {moved.run.error}"],
            "losses": _losses(moved.plan),
            "left_out": list(moved.left_out.values()),
        }
    else:
        result = try_pair(source, target, admin)
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
