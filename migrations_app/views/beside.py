"""What comes along with the assets, for the pages of a plan and of a run."""

from __future__ import annotations

from typing import Any

from migrations_app.engine.carrying import Carrying
from migrations_app.models import ASKED, WRITES, Migration, Plan, Run

MOST = 100


def listed(migration: Migration, plan: Plan) -> dict[str, Any]:
    """Rows that are written, blocked or left out, those of most concern first; and the options that are not usual. One
    query.
    """
    counts = plan.companion_counts
    total = sum(number for action, number in counts.items() if action != ASKED)
    same = int(counts.get("unchanged", 0))
    shown = list(plan.companions.exclude(action="unchanged")[: MOST + 1]) if total > same else []
    order = {
        action: place
        for place, action in enumerate(("blocked", "leave_out", "keep", "remove", "update", "create"))
    }
    shown.sort(key=lambda one: order.get(one.action, len(order)))
    return {
        "rows": [{"one": one, "is_open": one.action in ("blocked", "leave_out")} for one in shown[:MOST]],
        "more": max(0, total - same - MOST),
        "same": same,
        "count": total,
        "written": sum(int(counts.get(action, 0)) for action in WRITES),
        "options": [] if migration.maps_nothing else Carrying(migration.carrying).words,
    }


def written(run: Run) -> list[dict[str, Any]]:
    """The companions that a run's plan writes, and whether they are there as planned. One query; none without any."""
    if not any(run.plan.companion_counts.get(action) for action in WRITES):
        return []
    equal = set(run.written)
    rows = run.plan.companions.filter(action__in=WRITES)
    return [{"one": one, "is_equal": one.target_uuid in equal} for one in rows]
