"""Canonical documents: what an asset *is*, without what only one instance knows about it.

A document is the same for the same asset wherever it was read: integer ids are uuids, JSON kept in text is parsed,
lists without an order are sorted, fields that mean nothing to a reader are gone (`rules.py` names each,
with its reason).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any


class Kind(StrEnum):
    """Superset's assets, in the order in which they stand on each other."""

    DATABASE = "database"
    DATASET = "dataset"
    CHART = "chart"
    DASHBOARD = "dashboard"

    @property
    def plural(self) -> str:
        return f"{self.value}s"


#: What must exist before what: databases first, dashboards last.
DEPENDENCY_ORDER: tuple[Kind, ...] = (Kind.DATABASE, Kind.DATASET, Kind.CHART, Kind.DASHBOARD)

_TITLE_FIELDS = {
    Kind.DATABASE: "database_name",
    Kind.DATASET: "table_name",
    Kind.CHART: "slice_name",
    Kind.DASHBOARD: "dashboard_title",
}


def canonical_json(value: Any) -> str:
    """The one text of a JSON value: sorted keys, no spaces, UTF-8. Raises TypeError for what JSON cannot
    hold, NaN included.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def fingerprint_of(value: Any) -> str:
    """SHA-256 (64 hex digits) of the canonical text of a JSON value."""
    return hashlib.sha256(canonical_json(value).encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True)
class Document:
    """One asset in canonical form. `body` is plain JSON data and is never changed in place."""

    kind: Kind
    uuid: str
    body: Mapping[str, Any]

    @cached_property
    def fingerprint(self) -> str:
        """Content fingerprint: the key of the store. Equal content under another uuid is another document."""
        return fingerprint_of(self.to_json())

    @property
    def title(self) -> str:
        """The name a person knows the asset by; the uuid where it has none."""
        return str(self.body.get(_TITLE_FIELDS[self.kind]) or self.uuid)

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind.value, "uuid": self.uuid, "body": self.body}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Document:
        return cls(Kind(data["kind"]), str(data["uuid"]), data["body"])

    def replace(self, **changes: Any) -> Document:
        """The same asset with some top-level fields changed."""
        return Document(self.kind, self.uuid, {**self.body, **changes})


Documents = Mapping[str, Document]


@dataclass(frozen=True)
class Note:
    """Something a reader or a reviewer should know about one asset: what was left out, mended, or could
    not be resolved.

    `code` is stable; `text` is a sentence for people; `where` is a path in the asset, or empty.
    """

    code: str
    uuid: str
    text: str
    where: str = ""
