"""From what people type to uuids: assets by title, slug or uuid, connections by name, out of the inventory
of an environment.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.db.models import QuerySet

from environments.backups.models import Backup
from environments.canonical.documents import Kind
from environments.models import Asset, Environment
from environments.store import entries_of
from environments.words import fold
from sstools.errors import Conflict, Invalid

from .comparing.models import UploadedAsset, UploadedBundle
from .filters import looks_like_uuid
from .git.models import CommitReading
from .models import Migration

MOVABLE = (Kind.DASHBOARD, Kind.CHART, Kind.DATASET)
SHOWN = 5  # candidates named in a message


class NeverRead(Conflict):
    """The inventory of an environment is empty because nobody looked yet."""

    code = "never_read"
    remedy = "Read the environment first."


def must_be_read(environment: Environment) -> None:
    """Raises NeverRead: without a reading, "all" would mean nothing and every name would be unknown."""
    if environment.inventory_at is None:
        raise NeverRead(f"Nobody has looked yet what is in {environment.name}.")


def all_assets(environment: Environment) -> list[str]:
    """uuids of every dashboard, chart and dataset that the inventory knows. Raises NeverRead; Invalid if
    there is none.
    """
    must_be_read(environment)
    rows = Asset.objects.filter(environment=environment, kind__in=[kind.value for kind in MOVABLE])
    uuids = sorted(set(rows.values_list("uuid", flat=True)))
    if not uuids:
        raise Invalid(
            f"{environment.name} has no assets.",
            code="empty_selection",
            errors={"selection": ["There is nothing to select."]},
        )
    return uuids


def find_asset(environment: Environment, kind: Kind, text: str) -> str:
    """The uuid of the asset that `text` names: its uuid, its slug (dashboards), its exact title, else its
    title in any case.

    Raises Invalid if there is none, or more than one: the message names the candidates.
    """
    rows = Asset.objects.filter(environment=environment, kind=kind.value)
    text = text.strip()
    if looks_like_uuid(text):
        found = list(rows.filter(uuid=text.lower()))
    else:
        found = list(rows.filter(slug=text)) if kind == Kind.DASHBOARD and text else []
        found = found or list(rows.filter(title=text)) or list(rows.filter(sort_key=fold(text)[:200]))
    if len(found) == 1:
        return found[0].uuid
    if not found:
        raise Invalid(
            f"{environment.name} has no {kind.value} “{text}”.",
            code="unknown_asset",
            remedy="Look at the name, or read the environment again.",
            errors={kind.value: [f"Unknown: {text}"]},
        )
    shown = ", ".join(asset.uuid for asset in found[:SHOWN])
    raise Invalid(
        f"{environment.name} has {len(found)} {kind.plural} “{text}”: {shown}{' …' if len(found) > SHOWN else ''}.",
        code="ambiguous_name",
        remedy="Name it by its uuid.",
        errors={kind.value: [f"Ambiguous: {text}"]},
    )


def find_assets(environment: Environment, names: Iterable[tuple[Kind, str]]) -> list[str]:
    """uuids of all that is named. Raises Invalid with every name that does not fit."""
    errors: dict[str, list[str]] = {}
    uuids: list[str] = []
    messages: list[str] = []
    for kind, text in names:
        try:
            uuids.append(find_asset(environment, kind, text))
        except Invalid as error:
            messages.append(error.message)
            for field, words in error.errors.items():
                errors.setdefault(field, []).extend(words)
    if errors:
        raise Invalid(
            " ".join(messages[:SHOWN]),
            code="unknown_asset",
            remedy="Look at the names, or read the environment again.",
            errors=errors,
        )
    return sorted(set(uuids))


def name_databases(source: Environment, target: Environment, entries: Mapping[str, Any]) -> dict[str, Any]:
    """Entries of a mapping with names of connections turned into uuids, on both sides; uuids stay as they are.

    An entry is {source: target}, {source: {"target": …, "schemas": …, "catalogs": …}} or {source: None} to forget it.
    Raises Invalid with every name that does not fit.
    """
    errors: dict[str, list[str]] = {}
    named: dict[str, Any] = {}
    for key, entry in entries.items():
        wanted = entry.get("target") if isinstance(entry, Mapping) else entry
        try:
            uuid = _database(source, str(key))
            if wanted in (None, ""):
                named[uuid] = None
                continue
            target_uuid = _database(target, str(wanted))
        except Invalid as error:
            errors[f"databases.{key}"] = [error.message]
            continue
        named[uuid] = {**entry, "target": target_uuid} if isinstance(entry, Mapping) else target_uuid
    if errors:
        raise Invalid(
            " ".join(message for messages in errors.values() for message in messages[:1]),
            code="wrong_mapping",
            errors=errors,
        )
    return named


def name_databases_of(migration: Migration, entries: Mapping[str, Any]) -> dict[str, Any]:
    """The same for what a migration takes: of a file by the names of the connections in it."""
    if migration.source is not None:
        return name_databases(migration.source, migration.target, entries)
    if migration.backup is not None:
        return name_databases_in(connections_in(migration.backup), migration.target, entries)
    return name_databases_of_file(migration.file, migration.target, entries)


def name_databases_of_file(
    file: UploadedBundle | CommitReading | None, target: Environment, entries: Mapping[str, Any]
) -> dict[str, Any]:
    held: QuerySet[Any] = file.assets.all() if file is not None else UploadedAsset.objects.none()
    rows = held.filter(kind=Kind.DATABASE.value)
    names = {title: uuid for uuid, title in rows.values_list("uuid", "document__title")}
    return name_databases_in(names, target, entries, "The file")


def connections_in(backup: Backup) -> dict[str, str]:
    """name -> uuid of the connections that a backup holds."""
    rows = entries_of(backup.snapshot).filter(kind=Kind.DATABASE.value, document__isnull=False)
    return {title: uuid for uuid, title in rows.values_list("uuid", "document__title")}


def name_databases_in(
    names: Mapping[str, str], target: Environment, entries: Mapping[str, Any], whose: str = "The backup"
) -> dict[str, Any]:
    """The same by the connections of something that is kept: name -> uuid."""
    unknown = [key for key in entries if key not in names and not looks_like_uuid(str(key).strip())]
    if unknown:
        text = f"{whose} has no connection “{unknown[0]}”."
        raise Invalid(text, code="wrong_mapping", errors={f"databases.{key}": [text] for key in unknown})
    return name_databases(target, target, {names.get(key, key): entry for key, entry in entries.items()})


def _database(environment: Environment, text: str) -> str:
    # A uuid need not be known yet: a mapping may be made before the first reading, and the plan says what is missing.
    return (
        text.strip().lower()
        if looks_like_uuid(text.strip())
        else find_asset(environment, Kind.DATABASE, text)
    )
