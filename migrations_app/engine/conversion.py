"""Obsolete chart types, which every import of Superset turns into their successors. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from environments.canonical.comparison import comparison_form
from environments.canonical.documents import Document, Kind
from environments.canonical.rules import CONVERTED_VIZ_TYPES

#: What an import itself writes anew; everything else of a chart is as it was sent.
_REWRITTEN = ("viz_type", "params")
#: A line that was drawn smooth or in steps (MigrateLineChart in superset/migrations/shared/migrate_viz/processors.py).
_ALSO = {"line": frozenset({"echarts_timeseries_smooth", "echarts_timeseries_step"})}


def successors(viz_type: str) -> frozenset[str]:
    """What a chart of that type may be after an import; empty for a type that stays as it is."""
    successor = CONVERTED_VIZ_TYPES.get(viz_type)
    return frozenset({successor}) | _ALSO.get(viz_type, frozenset()) if successor else frozenset()


def was_converted(wanted: Document | None, now: Document | None) -> bool:
    """Whether `now` can be what Superset made of `wanted`: another type and its settings, and nothing else."""
    if wanted is None or now is None or wanted.kind != Kind.CHART or now.kind != Kind.CHART:
        return False
    if now.body.get("viz_type") not in successors(str(wanted.body.get("viz_type"))):
        return False
    return _rest(wanted) == _rest(now)


def _rest(chart: Document) -> Mapping[str, Any]:
    return {key: value for key, value in comparison_form(chart).items() if key not in _REWRITTEN}
