"""The processes of the stress test: `python -m tests.backups.stress DATABASE FOLDER` starts one for each of ROLES.

take     whole backups of an environment, of contents that come and go
plan     snapshots as plans and readings leave them, read back at once
remove   deletes backups, as many as there come
collect  forgets documents that nothing refers to

Each is at it until FOLDER has a file `stop`, and says after each round what it did so far in FOLDER/<its number>.json.
A day is two seconds here, so that documents grow old while others are about to use them; where the machine is so slow
that most backups are refused for it, a day is longer.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

DAY = timedelta(seconds=2)
LEFT = (
    4  # backups that removing leaves: they hold a part of all documents, so that the others can be collected
)
LONGEST = 180  # seconds, if nobody says stop
NAMES = [f"chart {number}" for number in range(40)]


ROLES = ("take", "take", "plan", "remove", "collect")


def main(database: str, folder: str) -> int:
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    from django.conf import settings

    settings.DATABASES["default"]["NAME"] = database
    import django

    django.setup()
    from environments import readings, store
    from environments.backups import retention, taking  # noqa: F401  once, and not in each of them

    readings.FORGOTTEN_AFTER, store.KEPT_AGAIN = DAY, DAY / 2
    readings.KEPT_SNAPSHOTS = 3
    context = multiprocessing.get_context("fork")  # nothing is open and no thread runs yet
    processes = [
        context.Process(target=_work, args=(role, number, Path(folder))) for number, role in enumerate(ROLES)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return max(abs(process.exitcode or 0) for process in processes)


def _work(role: str, number: int, folder: Path) -> None:
    chosen = random.Random(number)
    done: Counter[str] = Counter()
    work: Callable[..., None] = globals()[f"_{role}"]
    mine, until = folder / f"{number}.json", time.monotonic() + LONGEST
    while time.monotonic() < until and not (folder / "stop").exists():
        work(chosen, done, number, folder)
        mine.with_suffix(".new").write_text(json.dumps(done))
        mine.with_suffix(".new").replace(mine)


def total(folder: Path) -> Counter[str]:
    """What all of them did so far."""
    done: Counter[str] = Counter()
    for path in folder.glob("*.json"):
        done.update(json.loads(path.read_text()))
    return done


def _contents(chosen: random.Random) -> dict[str, Any]:
    from tests.factories import chart_document

    some = chosen.sample(NAMES, chosen.randint(5, 30))
    return {one.uuid: one for one in (chart_document(name, version=chosen.randint(0, 5)) for name in some)}


def _take(chosen: random.Random, done: Counter[str], number: int, folder: Path) -> None:
    from django.db import IntegrityError, transaction

    from environments import store
    from environments.backups import taking
    from environments.backups.models import Backup
    from environments.models import Environment

    environment = Environment.objects.get(slug=f"env-{number}")  # one at a time for each, as jobs have it
    documents = _contents(chosen)
    backup = taking._begin(environment, taking.Asked())
    store.put_documents(documents.values())
    time.sleep(chosen.random() / 50)
    held = {("chart", uuid): (1, one.fingerprint) for uuid, one in documents.items()}
    try:
        with transaction.atomic():
            taking.write_whole(backup, held, exported_at=None, notes=[])
        done["good"] += 1
    except (
        IntegrityError,
        store.StoreDamaged,
    ):  # a document grew old meanwhile, in so short a day: refused whole
        Backup.objects.filter(pk=backup.pk).update(state="failed")
        done["refused"] += 1


def _plan(chosen: random.Random, done: Counter[str], number: int, folder: Path) -> None:
    from django.db import IntegrityError

    from environments import readings, store
    from environments.models import Environment, Reason

    environment = Environment.objects.get(slug="env-plan")
    documents = _contents(chosen)
    reading = store.EnvironmentReading(str(environment.uuid), documents)
    try:
        snapshot = store.take_snapshot(environment, reading, Reason.PLAN)
    except IntegrityError:
        done["refused"] += 1
        return
    found = store.load_snapshot(snapshot)  # raises StoreDamaged where one is gone
    if {one.fingerprint for one in found.documents.values()} != {
        one.fingerprint for one in documents.values()
    }:
        raise SystemExit("A plan reads something else than it kept.")
    done["plans"] += 1
    readings.forget_snapshots(environment)


def _remove(chosen: random.Random, done: Counter[str], number: int, folder: Path) -> None:
    from django.db import transaction

    from environments.backups import retention
    from environments.backups.models import Backup

    rows = list(Backup.objects.exclude(state="running").order_by("pk").values_list("pk", flat=True))
    for one in chosen.sample(rows, max(0, len(rows) - LEFT)):
        with transaction.atomic():
            row = Backup.objects.select_for_update(of=("self",)).select_related("snapshot")
            found = row.filter(pk=one).first()
            if found is not None:
                retention.remove(found)
                done["removed"] += 1
    time.sleep(0.02)


def _collect(chosen: random.Random, done: Counter[str], number: int, folder: Path) -> None:
    from environments import readings

    others = total(folder)
    readings.FORGOTTEN_AFTER = DAY * max(1.0, others["refused"] / (others["good"] + 1))
    done["collected"] += readings.forget_documents()
    time.sleep(0.02)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
