"""Plans and runs as text for a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from migrations_app.models import Migration, Plan, PlanItem, Run
from migrations_app.run_page import converted

SIGNS = {
    "create": "+",
    "update": "~",
    "remove": "-",
    "blocked": "!",
    "keep": "=",
    "leave_out": "·",
    "unchanged": " ",
}
CHANGES_SHOWN = 5  # per asset
LINES_SHOWN = 200  # assets
TITLES_SHOWN = 4  # of those that are blocked by the same


def counts_text(counts: Mapping[str, int]) -> str:
    """ "3 create · 1 update"; what is zero is left out."""
    return (
        " · ".join(f"{number} {action.replace('_', ' ')}" for action, number in counts.items() if number)
        or "empty"
    )


def plan_text(migration: Migration, plan: Plan) -> str:
    return "\n".join(_plan_lines(migration, plan))


def _plan_lines(migration: Migration, plan: Plan) -> Iterator[str]:
    yield f"Migration {migration.number}: {migration.title}"
    yield f"{migration.source_name} → {migration.target.name} · plan {plan.hash[:12]} · {counts_text(plan.counts)}"
    items = [item for item in plan.items.all() if item.action != "unchanged"]
    together: dict[str, list[PlanItem]] = {}  # one reason may block a hundred assets: say it once
    for item in items:
        if item.action == "blocked" and not item.conflict:
            together.setdefault(item.blocked_by, []).append(item)
    shown = [item for item in items if item.action != "blocked" or item.conflict]
    for item in shown[:LINES_SHOWN]:
        yield f"  {SIGNS.get(item.action, '?')} {item.kind:<9} {item.title}  [{item.uuid}]"
        if item.conflict and item.blocked_by:
            yield f"      {item.blocked_by}"
            yield f"      answers: {', '.join(item.conflict['options'])}"
        if item.action in ("update", "keep"):
            for change in item.changes[:CHANGES_SHOWN]:
                yield f"      {change['sentence']}"
            if len(item.changes) > CHANGES_SHOWN:
                yield f"      and {len(item.changes) - CHANGES_SHOWN} more fields"
    if len(shown) > LINES_SHOWN:
        yield f"  and {len(shown) - LINES_SHOWN} more"
    for reason, blocked in together.items():
        names = ", ".join(f"{item.kind} {item.title}" for item in blocked[:TITLES_SHOWN])
        more = f" and {len(blocked) - TITLES_SHOWN} more" if len(blocked) > TITLES_SHOWN else ""
        yield f"  ! {names}{more}"
        yield f"      {reason}"
    for row in plan.databases:
        if row["target"]:
            yield f"  database {row['name']} → {row['target_name']}"
        else:
            best = row["suggestions"][0] if row["suggestions"] else None
            hint = (
                f"perhaps {best['name']} ({best['reason']})"
                if best
                else "nothing on the target looks like it"
            )
            yield f"  database {row['name']} is not mapped: {hint}"
    for one in plan.companions.exclude(action="unchanged")[:LINES_SHOWN] if plan.companion_counts else ():
        yield f"  {one.action}: {one.words}{f': {one.reason}' if one.reason else ''}"
        if one.conflict and one.action == "blocked":
            yield f"      answers: {', '.join(one.conflict['options'])}  [{one.uuid}]"
    for problem in plan.problems:
        yield f"  {problem['severity']}: {problem['text']}"
    for entry in plan.affected:
        yield f"  also changes: {entry['kind']} {entry['title']}"
    for loss in plan.losses if plan.write_count else ():
        yield f"  not carried: {loss['text']}"


def run_text(run: Run) -> str:
    return "\n".join(_run_lines(run))


def _run_lines(run: Run) -> Iterator[str]:
    yield f"Run {run.number} to {run.migration.target.name}: {run.get_state_display()}"
    if run.written:
        yield f"  written: {len(run.written)} ({len(run.created)} of them new)"
    for chart in converted(run):
        yield f"  Superset turned “{chart['title']}” from {chart['from']} into {chart['to']}"
    if run.unwritten:
        yield f"  not written: {len(run.unwritten)}"
    if run.requests:
        yield f"  requests: {', '.join(f'{name} {number}' for name, number in run.requests.items())}"
    yield from verdict_lines(run)


def verdict_lines(run: Run) -> Iterator[str]:
    if run.verdict_counts:
        yield f"  charts: {_counted(run.verdict_counts)}"
        yield from _bad(run.verdicts.exclude(status="ok").order_by("status", "title"))
    outside = run.bystanders.exclude(status="")
    if found := Counter(outside.values_list("status", flat=True)):
        yield f"  charts outside the plan: {_counted(found)}"
        yield from _bad(outside.exclude(status="ok").order_by("status", "title"))


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {status.replace('_', ' ')}" for status, number in sorted(counts.items()))


def _bad(rows: Iterable[Any]) -> Iterator[str]:
    for row in rows:
        yield f"    {row.status.replace('_', ' ')}: {row.title} ({row.viz_type}): {row.reason}"


def red_count(run: Run, *, strict: bool) -> int:
    """Charts that count as failed: those that fail on the target, with `strict` also those whose answers differ; and
    those outside the plan that ran there before.
    """
    counts = run.verdict_counts
    outside = run.bystanders.filter(status="failed").count()
    return int(counts.get("failed", 0)) + (int(counts.get("differs", 0)) if strict else 0) + outside
