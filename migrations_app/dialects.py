"""What each Superset version's import takes: the fields an older one does not know, by capability.

Sources: marshmallow schemas of each version, and exports carried from one to the other (superset-api.md 7.9).
"""

from __future__ import annotations

from environments.canonical.documents import Kind
from environments.canonical.rendering import Dialect
from environments.superset.versions import Capabilities, version_tuple


def dialect_of(capabilities: Capabilities) -> Dialect:
    """How to write for a target."""
    number = version_tuple(capabilities.version)
    known = number if number != (0, 0, 0) else (99, 0, 0)
    unknown: dict[Kind, set[str]] = {Kind.DASHBOARD: set(), Kind.CHART: set(), Kind.DATASET: set()}
    if not capabilities.themes:
        unknown[Kind.DASHBOARD] |= {"theme_uuid"}
    if known < (6, 1, 0):
        unknown[Kind.DATASET] |= {"currency_code_column", "columns.datetime_format"}
    return Dialect(
        {kind: frozenset(names) for kind, names in unknown.items()},
        currency_as_text=not capabilities.currency_as_map,
    )
