"""Restore points that were taken before there were backups become backups, with what is known of them."""

import hashlib
from collections import Counter
from typing import Any

from django.db import migrations


def make_backups(apps: Any, schema_editor: Any) -> None:
    Snapshot = apps.get_model("environments", "Snapshot")
    Backup = apps.get_model("backups", "Backup")
    rows = Snapshot.objects.filter(reason="restore_point", backup=None).order_by("pk")
    for snapshot in rows.iterator(chunk_size=200):
        columns = ("kind", "uuid", "document_id", "document__size")
        held = [
            *snapshot.entries.values_list(*columns).iterator(chunk_size=2000),
            *snapshot.companions.values_list(*columns).iterator(chunk_size=2000),
        ]
        lines = sorted(f"{kind} {uuid} {sha or '-'}\n" for kind, uuid, sha, _ in held)
        Backup.objects.create(
            snapshot=snapshot,
            environment_id=snapshot.environment_id,
            reason="restore_point",
            state="good",
            whole=False,
            counts=dict(Counter(kind for kind, _, sha, _ in held if sha)),
            size_bytes=sum(size or 0 for *_, size in held),
            digest=hashlib.sha256("".join(lines).encode()).hexdigest(),
            started_at=snapshot.created_at,
            ended_at=snapshot.created_at,
            created_by_id=snapshot.created_by_id,
        )


class Migration(migrations.Migration):
    dependencies = [("backups", "0001_backups")]

    operations = [migrations.RunPython(make_backups, migrations.RunPython.noop, elidable=True)]
