"""Charts outside the plan that stand on what it changes: asked before the first write, and again at the end."""

from __future__ import annotations

from migrations_app import bystanders
from migrations_app.models import Bystander

from .attempt import Attempt
from .reading import inventory_ids


def ask_bystanders(attempt: Attempt) -> None:
    """Keep what each answers before anything is written. Not after that: a worker that goes on finds what was kept."""
    migration, plan = attempt.migration, attempt.row.plan
    puts_back = migration.maps_nothing and not migration.changes_own
    if not migration.verify or puts_back or attempt.may_have_written:
        return
    found = bystanders.charts_of(plan)
    if not found or attempt.row.bystanders.exists():
        return
    assert attempt.before is not None
    with attempt.step("bystanders", f"Ask charts outside the plan on {migration.target.name}") as step:
        rows = bystanders.ask_before(plan, attempt.target, attempt.before, inventory_ids)
        for row in rows:
            row.run = attempt.row
        with attempt.ctx.fenced():
            Bystander.objects.bulk_create(rows)
        left_out = len(found) - len(rows)
        step.result |= {"asked": len(rows), "left_out": left_out}
        if left_out:
            attempt.ctx.log(
                "warning",
                f"{left_out} of {len(found)} charts outside the plan are not asked: the first {len(rows)} are.",
            )


def ask_bystanders_again(attempt: Attempt) -> dict[str, int]:
    """How many have which verdict now."""
    assert attempt.after is not None
    return bystanders.verify(attempt.row, attempt.ctx, attempt.target, attempt.after, inventory_ids)
