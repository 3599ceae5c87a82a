"""Backups for tests, taken as the product takes them."""

from __future__ import annotations

from typing import Any

from environments.backups.models import Backup
from environments.canonical.companions import CompanionKind
from environments.connections import connect
from environments.models import Environment, Reason
from environments.reading import read_everything
from environments.store import take_snapshot
from environments.superset.companions import read_companions


def take_backup(environment: Environment, product: Any = None) -> Backup:
    """A whole backup of what is there now."""
    with connect(environment) as client:
        reading = read_everything(client, environment, fresh=True)
        beside = read_companions(client, list(CompanionKind), reading.ids)
        reading.companions = dict(beside.documents)
    snapshot = take_snapshot(environment, reading, Reason.BACKUP)
    return Backup.objects.create(
        snapshot=snapshot,
        environment=environment,
        reason="manual",
        state="good",
        companions_read={kind.value: beside.unreadable.get(kind, "") for kind in CompanionKind},
    )
