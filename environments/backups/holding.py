"""Which backups hold an asset, and which contents it had over time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from environments.models import Environment, SnapshotEntry
from sstools.roles import policy
from sstools.roles.permissions import Permission

from .models import Backup, Span

MOST_BACKUPS = 1_000  # of an environment, the newest


@dataclass
class Version:
    """One content of an asset in an environment, and the backups in a row that have it, newest first. `sha`: "" where
    it could not be read.
    """

    environment: Environment
    uuid: str
    sha: str
    backups: list[Backup] = field(default_factory=list)

    @property
    def newest(self) -> Backup:
        return self.backups[0]

    @property
    def oldest(self) -> Backup:
        return self.backups[-1]

    @property
    def since(self) -> datetime:
        return self.oldest.started_at


def versions_of(uuids: Mapping[Environment, str], kind: str, user: Any) -> list[Version]:
    """By environment as given, newest first; of those whose backups `user` may see. Three queries for each."""
    return [
        version
        for environment, uuid in uuids.items()
        if uuid and policy.can(user, Permission.BACKUP_VIEW, environment)
        for version in _versions(environment, kind, uuid)
    ]


def _versions(environment: Environment, kind: str, uuid: str) -> Iterable[Version]:
    rows = environment.backups.readable().select_related("snapshot")
    fields = ("pk", "state", "title", "reason", "started_at", "snapshot__in_spans", "environment_id")
    backups = list(rows.only(*fields)[:MOST_BACKUPS])
    if not backups:
        return
    spans = list(
        Span.objects.filter(
            environment=environment, kind=kind, uuid=uuid, first__lte=backups[0].pk
        ).values_list("first", "last", "document_id")
    )
    entries = SnapshotEntry.objects.filter(
        kind=kind, uuid=uuid, snapshot__backup__in=[row.pk for row in backups]
    )
    held = dict(entries.values_list("snapshot_id", "document_id"))
    version: Version | None = None
    for backup in backups:
        if backup.snapshot.in_spans:
            found = [
                sha
                for first, last, sha in spans
                if first <= backup.pk and (last is None or last >= backup.pk)
            ]
        else:
            found = [held[backup.pk]] if backup.pk in held else []
        if not found:
            continue
        sha = found[0] or ""
        if version is not None and version.sha == sha:
            version.backups.append(backup)
            continue
        if version is not None:
            yield version
        version = Version(environment, uuid, sha, [backup])
    if version is not None:
        yield version
