"""What plugins are given of environments: which Superset it is, and its assets as they were last read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .models import Asset, Environment
from .store import get_documents

NOUN = "environment:"


def place_of(resource: str) -> dict[str, Any] | None:
    """The fields of `sstools.plugins.extension.Place`."""
    row = find(resource)
    return as_place(row) if row is not None else None


def as_place(row: Environment) -> dict[str, Any]:
    return {
        "uuid": str(row.uuid),
        "slug": row.slug,
        "name": row.name,
        "url": row.url,
        "position": row.position,
        "is_protected": row.protected,
        "version": row.version,
    }


def assets_of(resource: str, kinds: Sequence[str]) -> list[dict[str, Any]]:
    """The fields of `sstools.plugins.extension.Asset`, of what was read with its content. Raises StoreDamaged."""
    row = find(resource)
    if row is None or not kinds:
        return []
    rows = Asset.objects.filter(environment=row, kind__in=list(kinds)).exclude(document=None)
    keys = list(rows.order_by("kind", "uuid").values_list("kind", "uuid", "title", "document_id"))
    documents = get_documents(sha for *_, sha in keys)
    return [
        {"kind": kind, "uuid": uuid, "title": title, "body": documents[sha].body}
        for kind, uuid, title, sha in keys
    ]


def find(resource: str) -> Environment | None:
    if not resource.startswith(NOUN):
        return None
    found: Environment | None = Environment.objects.filter(uuid=resource.removeprefix(NOUN)).first()
    return found
