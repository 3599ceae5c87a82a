"""Backups, plans, removals and the collection of documents at once, each in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from django.db import connection, transaction

from environments import store
from environments.backups import retention, spans, taking
from environments.backups.models import Backup, Span
from environments.models import Document
from tests.backups import stress
from tests.factories import make_environment

ROOT = Path(__file__).resolve().parents[2]
ENOUGH = {
    "good": 25,
    "plans": 15,
    "removed": 15,
    "collected": 25,
}  # of each, so that all of them really were at it
PATIENCE = 150  # seconds; on a busy machine it takes as long as it takes


@pytest.mark.both_databases
@pytest.mark.django_db(transaction=True)
def test_nothing_that_is_referred_to_is_ever_collected(tmp_path: Path) -> None:
    for slug in ("env-0", "env-1", "env-plan"):
        make_environment(slug)
    words = ["-m", "tests.backups.stress", str(connection.settings_dict["NAME"]), str(tmp_path)]
    all_of_them = subprocess.Popen(
        [sys.executable, *words],
        cwd=ROOT,
        env={**os.environ, "SSTOOLS_TEST_KEEP": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until and all_of_them.poll() is None:
            done = stress.total(tmp_path)
            if all(done[name] >= number for name, number in ENOUGH.items()):
                break
            time.sleep(0.1)
    finally:
        (tmp_path / "stop").touch()
        _, err = all_of_them.communicate(timeout=60)
    assert all_of_them.returncode == 0, err[-5000:]
    done = stress.total(tmp_path)
    assert all(done[name] >= number for name, number in ENOUGH.items()), done
    rows = list(Backup.objects.filter(state="good").select_related("snapshot__environment"))
    assert rows
    for row in rows:
        digest = row.digest
        taking.describe(row)
        assert row.digest == digest, (row, done)
        store.load_snapshot(row.snapshot)  # every document is there, and what its hash says
    numbers = sorted(row.pk for row in rows)
    assert all(spans.has_any(numbers, span.first, span.last) for span in Span.objects.all())
    with transaction.atomic():
        for row in rows:
            retention.remove(row)
    assert not Span.objects.exists()
    assert Document.objects.exists()
