"""What each Superset version's import takes: the fields that an older one does not know (superset/fields.py)."""

from __future__ import annotations

from collections.abc import Mapping

from .canonical.documents import Kind
from .canonical.rendering import Dialect
from .superset.fields import of_kind, unknown_to
from .superset.versions import Capabilities

#: Of kinds that are written.
_WRITTEN = (Kind.DASHBOARD, Kind.CHART, Kind.DATASET)


def dialect_of(capabilities: Capabilities) -> Dialect:
    """How to write for a target."""
    unknown = {kind: frozenset(names) for kind, names in unknown_fields(capabilities).items()}
    return Dialect(unknown, currency_as_text=not capabilities.currency_as_map)


def unknown_fields(
    capabilities: Capabilities, *, with_metadata: bool = True
) -> Mapping[Kind, Mapping[str, str]]:
    """By kind the fields that the target does not know, and what an asset is without each.

    `with_metadata`: also settings in a dashboard's metadata, which an import takes and the target's own pages refuse to
    save. What is put back as it was keeps them.
    """
    unknown = unknown_to(capabilities)
    return {
        kind: {
            name: meaning
            for name, meaning in of_kind(unknown, kind.value).items()
            if with_metadata or not name.startswith("metadata.")
        }
        for kind in _WRITTEN
    }
