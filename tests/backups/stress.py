"""One process of the stress test: `python -m tests.backups.stress DATABASE ROLE SEED SECONDS`, where ROLE is one of

take     whole backups of an environment, of contents that come and go
plan     snapshots as plans and readings leave them, read back at once
remove   deletes backups, and forgets old snapshots
collect  forgets documents that nothing refers to

A day is two seconds here, so that documents grow old while others are about to use them. Prints what it did as JSON.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

DAY = timedelta(seconds=2)
FEWEST, PATIENCE = 10, 60  # on a busy machine it takes as long as it takes to have done something
NAMES = [f"chart {number}" for number in range(40)]


def main(database: str, role: str, seed: str, seconds: str) -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    from django.conf import settings

    settings.DATABASES["default"]["NAME"] = database
    import django

    django.setup()
    from environments import readings, store

    readings.FORGOTTEN_AFTER, store.KEPT_AGAIN = DAY, DAY / 2
    readings.KEPT_SNAPSHOTS = 3
    chosen = random.Random(int(seed))
    done: Counter[str] = Counter()
    until = time.monotonic() + float(seconds)
    work: Callable[[random.Random, Counter[str]], None] = globals()[f"_{role}"]
    while time.monotonic() < until or (sum(done.values()) < FEWEST and time.monotonic() < until + PATIENCE):
        work(chosen, done)
    sys.stdout.write(json.dumps(done) + "\n")


def _contents(chosen: random.Random) -> dict[str, Any]:
    from tests.factories import chart_document

    some = chosen.sample(NAMES, chosen.randint(5, 30))
    return {one.uuid: one for one in (chart_document(name, version=chosen.randint(0, 5)) for name in some)}


def _take(chosen: random.Random, done: Counter[str]) -> None:
    from django.db import IntegrityError, transaction

    from environments import store
    from environments.backups import taking
    from environments.backups.models import Backup
    from environments.models import Environment

    environment = Environment.objects.get(
        slug=f"env-{sys.argv[3]}"
    )  # one at a time for each, as jobs have it
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


def _plan(chosen: random.Random, done: Counter[str]) -> None:
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


def _remove(chosen: random.Random, done: Counter[str]) -> None:
    from django.db import transaction

    from environments.backups import retention
    from environments.backups.models import Backup

    rows = list(Backup.objects.exclude(state="running").order_by("pk").values_list("pk", flat=True))
    if len(rows) > 4:
        with transaction.atomic():
            row = Backup.objects.select_for_update(of=("self",)).select_related("snapshot")
            found = row.filter(pk=chosen.choice(rows)).first()
            if found is not None:
                retention.remove(found)
                done["removed"] += 1
    time.sleep(0.02)


def _collect(chosen: random.Random, done: Counter[str]) -> None:
    from environments import readings

    done["collected"] += readings.forget_documents()
    time.sleep(0.02)


if __name__ == "__main__":
    main(*sys.argv[1:])
