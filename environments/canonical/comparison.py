"""When two documents say the same: what a comparison leaves out, and the comparison fingerprint.

"In sync", "equal" and "unchanged" always mean equal comparison fingerprints, of documents in the terms of the
same environment (`migrations_app.engine` brings a source's documents into the target's terms first).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .documents import Document, Kind, fingerprint_of
from .rules import DERIVED_METADATA

_EMPTY: tuple[Any, ...] = (None, "", [], {})


def comparison_form(document: Document) -> dict[str, Any]:
    """The document's body without what `rules.IGNORED_IN_COMPARISON` names."""
    if document.kind == Kind.DATABASE:
        return {"database_name": document.body.get("database_name")}
    body = {key: (None if value == "" else value) for key, value in document.body.items()}
    if document.kind == Kind.DASHBOARD:
        body["metadata"] = _metadata(document.body["metadata"])
    if document.kind == Kind.CHART:
        body.pop("query_context", None)
    form: dict[str, Any] = _numbers_alike({key: value for key, value in body.items() if value is not None})
    return form


def comparison_fingerprint(document: Document) -> str:
    """SHA-256 of kind, uuid and comparison form. Worked out once for each document, which never changes."""
    known: str | None = document.__dict__.get("_comparison")
    if known is None:
        form = {"kind": document.kind.value, "uuid": document.uuid, "body": comparison_form(document)}
        known = document.__dict__["_comparison"] = fingerprint_of(form)
    return known


def _numbers_alike(value: Any) -> Any:
    """1.0 as 1: JSON does not tell them apart, and a browser that saves an asset writes the one for the other."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {key: _numbers_alike(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_numbers_alike(item) for item in value]
    return value


def _metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    kept = {
        key: _without_scope_caches(value) for key, value in metadata.items() if key not in DERIVED_METADATA
    }
    return {key: value for key, value in kept.items() if value not in _EMPTY}


def _without_scope_caches(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            key: _without_scope_caches(item)
            for key, item in value.items()
            if key not in ("chartsInScope", "tabsInScope")
        }
    if isinstance(value, list):
        return [_without_scope_caches(item) for item in value]
    return value
