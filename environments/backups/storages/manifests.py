"""The list of what a backup holds, as an object beside its documents: with it, and the keys if there are any, a
storage can be read when the database of ss-tools is lost.

::

    backups/<uuid of the environment>/<number>-<uuid of the snapshot>.<four random bytes>

    {"format": 1, "backup": {…}, "environment": {…}, "snapshot": {…},
     "entries": [[kind, uuid, id in Superset or null, fingerprint or null], …]}

An object of a document begins with `Envelope.name_of` its fingerprint; whatever follows the dot, one that is proven by
the fingerprint is the right one.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from environments import store
from environments.backups.models import Backup
from environments.canonical.documents import canonical_json
from environments.models import Snapshot

from . import calls, named
from .base import Storage, StoredObject
from .copies import OBJECTS, listed, proven
from .envelope import Envelope
from .errors import ObjectDamaged, ObjectMissing, StorageError
from .models import Manifest

MANIFESTS = "backups/"
FORMAT = 1

#: kind, uuid, id in Superset, fingerprint of the document
Entry = tuple[str, str, int | None, str | None]


@dataclass(frozen=True)
class Unknown:
    """A backup in a storage that this ss-tools has no row of."""

    key: str
    title: str


def write(backup: Backup, entries: Iterable[Entry] | None = None) -> None:
    """Write the manifest of a backup into its storage; for `database` nothing. Again: a new one in place of the old.

    `entries`: what it will hold, of one that is being taken; None for what its rows say. Raises StorageError.
    """
    if backup.storage == named.DATABASE:
        return
    place = named.get(backup.storage)
    snapshot = backup.snapshot
    name = f"{backup.environment.uuid}/{backup.pk}-{snapshot.uuid}"
    text = canonical_json(_content(backup, entries_of(snapshot) if entries is None else entries))
    data = named.envelope().seal(zlib.compress(text.encode("utf-8", "surrogatepass")), name)
    key = f"{MANIFESTS}{name}.{secrets.token_hex(4)}"
    calls.once(lambda: place.put(key, data), seconds=named.seconds(), words=place.words)
    old = (
        Manifest.objects.filter(snapshot=snapshot.uuid, storage=place.name)
        .values_list("key", flat=True)
        .first()
    )
    values = {"key": key, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    Manifest.objects.update_or_create(snapshot=snapshot.uuid, storage=place.name, defaults=values)
    if old is not None:
        calls.once(lambda: place.delete(old), seconds=named.seconds(), words=place.words)


def entries_of(snapshot: Snapshot) -> Iterator[Entry]:
    """All that a snapshot holds, by its rows."""
    columns = ("kind", "uuid", "superset_id", "document_id")
    yield from store.entries_of(snapshot).values_list(*columns).iterator(chunk_size=2000)
    companions = store.companion_entries_of(snapshot).values_list("kind", "uuid", "document_id")
    yield from ((kind, uuid, None, sha) for kind, uuid, sha in companions.iterator(chunk_size=2000))


def digest_of(entries: Iterable[Entry]) -> str:
    """As `Backup.digest`."""
    lines = sorted(f"{kind} {uuid} {sha or '-'}\n" for kind, uuid, _, sha in entries)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _content(backup: Backup, entries: Iterable[Entry]) -> dict[str, Any]:
    environment, snapshot = backup.environment, backup.snapshot
    held = sorted(entries, key=lambda one: one[:2])
    return {
        "format": FORMAT,
        "backup": {
            "number": backup.pk,
            "title": backup.title,
            "reason": backup.reason,
            "whole": backup.whole,
            "selection": backup.selection,
            "started_at": backup.started_at.isoformat(),
            "digest": digest_of(held),
            "companions_read": backup.companions_read,
            "problems": backup.problems,
            "notes": backup.notes,
        },
        "environment": {
            "uuid": str(environment.uuid),
            "slug": environment.slug,
            "name": environment.name,
            "url": environment.url,
            "version": environment.version,
        },
        "snapshot": {
            "uuid": str(snapshot.uuid),
            "exported_at": snapshot.exported_at.isoformat() if snapshot.exported_at else None,
            "notes": snapshot.notes,
        },
        "entries": [list(one) for one in held],
    }


# --- Reading --------------------------------------------------------------------------------------------------------


def check(backup: Backup) -> None:
    """Read the manifest of a backup and compare it with what the database says.
    Raises ObjectMissing, ObjectDamaged, ObjectKeyUnknown, StorageError.
    """
    row = Manifest.objects.filter(snapshot=backup.snapshot.uuid, storage=backup.storage).first()
    place = named.get(backup.storage)
    if row is None:
        raise ObjectMissing(f"The manifest of backup {backup.pk} is not in the {place.words}.")
    found = read(place, row.key)
    said = found.get("entries", ())
    if digest_of(tuple(one) for one in said) != backup.digest:
        raise ObjectDamaged(f"The manifest of backup {backup.pk} does not list what the backup holds.")


def read(place: Storage, key: str) -> dict[str, Any]:
    """One manifest. Raises ObjectMissing, ObjectDamaged, ObjectKeyUnknown, StorageError."""
    data = calls.once(lambda: place.get(key), seconds=named.seconds(), words=place.words)
    name = key.removeprefix(MANIFESTS).rpartition(".")[0]
    try:
        text = zlib.decompress(named.envelope().open(data, name))
        found = json.loads(text.decode("utf-8", "surrogatepass"))
        if found["format"] != FORMAT or digest_of(map(tuple, found["entries"])) != found["backup"]["digest"]:
            raise ValueError
        UUID(found["snapshot"]["uuid"])
    except (zlib.error, ValueError, KeyError, TypeError):
        raise ObjectDamaged(f"{key} in the {place.words} is not a manifest that can be read.") from None
    return dict(found)


def unknown_manifests(place: Storage, objects: Iterable[StoredObject]) -> list[Unknown]:
    """Those of these manifests whose snapshot this ss-tools has no row of. One that cannot be read is unknown too."""
    found = []
    for one in objects:
        try:
            content = read(place, one.key)
        except StorageError:
            found.append(Unknown(one.key, "cannot be read"))
            continue
        if not Snapshot.objects.filter(uuid=content["snapshot"]["uuid"]).exists():
            environment = content["environment"]["name"]
            found.append(Unknown(one.key, f"backup {content['backup']['number']} of {environment}"))
    return found


@dataclass
class Bare:
    """A storage read without the rows of a database: for bringing backups back into a new ss-tools."""

    place: Storage
    envelope: Envelope = field(default_factory=named.envelope)
    _keys: Mapping[str, list[str]] | None = None

    def manifests(self) -> Iterator[tuple[str, Mapping[str, Any] | StorageError]]:
        """(key, manifest or what is wrong with it), of all backups that are there."""
        for one in sorted(listed(self.place, MANIFESTS), key=lambda one: str(one.key)):
            try:
                yield one.key, read(self.place, one.key)
            except StorageError as exc:
                yield one.key, exc

    def keys_of(self, fingerprint: str) -> list[str]:
        """Keys of the objects that should hold a document."""
        if self._keys is None:
            keys: dict[str, list[str]] = {}
            for one in listed(self.place, OBJECTS):
                keys.setdefault(one.key.rpartition("/")[2].partition(".")[0], []).append(one.key)
            self._keys = keys
        return [key for name in self.envelope.names_of(fingerprint) for key in self._keys.get(name, ())]

    def body(self, fingerprint: str) -> bytes:
        """The packed body of a document, proven. Raises ObjectError of some kind, StorageError."""
        failed: StorageError = ObjectMissing(f"No object in the {self.place.words} holds {fingerprint}.")
        for key in self.keys_of(fingerprint):
            get: Callable[[], bytes] = lambda key=key: self.place.get(key)  # type: ignore[misc] # noqa: E731
            try:
                data = calls.once(get, seconds=named.seconds(), words=self.place.words)
                return proven(self.envelope, data, fingerprint)
            except StorageError as exc:
                failed = exc
        raise failed
