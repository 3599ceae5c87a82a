"""Backups, plans, removals and the collection of documents at once, each in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.db import connection, transaction

from environments import store
from environments.backups import retention, spans, taking
from environments.backups.models import Backup, Span
from environments.models import Document
from tests.factories import make_environment

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 5
ROLES = ("take", "take", "plan", "remove", "collect")


@pytest.mark.both_databases
@pytest.mark.django_db(transaction=True)
def test_nothing_that_is_referred_to_is_ever_collected() -> None:
    for slug in ("env-0", "env-1", "env-plan"):
        make_environment(slug)
    words = [sys.executable, "-m", "tests.backups.stress", str(connection.settings_dict["NAME"])]
    processes = [
        subprocess.Popen(
            [*words, role, str(seed), str(SECONDS)],
            cwd=ROOT,
            env={**os.environ, "SSTOOLS_TEST_KEEP": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed, role in enumerate(ROLES)
    ]
    done: dict[str, int] = {}
    for role, process in zip(ROLES, processes, strict=True):
        out, err = process.communicate(timeout=180)
        assert process.returncode == 0, f"{role}: {err[-3000:]}"
        for name, number in json.loads(out.strip().splitlines()[-1]).items():
            done[name] = done.get(name, 0) + number
    # All of them really were at it.
    assert min(done.get(name, 0) for name in ("good", "plans", "removed", "collected")) > 5, done
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
