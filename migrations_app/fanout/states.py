"""Where each copy of a fan-out run stands, out of its migration, its plan, its run and the way back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from environments.canonical.documents import fingerprint_of
from migrations_app import gates
from migrations_app.models import Migration, MigrationState, Run, RunState
from migrations_app.services import why_not_applicable
from sstools.jobs.models import Job
from sstools.jobs.models import State as JobState

from .models import FanOutEntry, FanOutRun

#: A run in these did not do what was asked of it.
FAILED_RUNS = (RunState.STOPPED, RunState.ROLLED_BACK, RunState.NEEDS_ATTENTION)
#: In these something of a run is on the target and can be taken back.
UNDOABLE_RUNS = (RunState.APPLIED, RunState.NEEDS_ATTENTION, RunState.ACCEPTED)


@dataclass(frozen=True)
class Standing:
    """`name` is one of: planning, blocked, waiting, planned, same, applying, verifying, applied, stopped, rolled_back,
    needs_attention, accepted, rolling_back, failed, discarded. `text`: why, in words.
    """

    entry: FanOutEntry
    name: str
    text: str = ""

    @property
    def is_green(self) -> bool:
        """It can be applied, now."""
        return self.name == "planned"

    @property
    def is_busy(self) -> bool:
        return self.name in ("planning", "applying", "verifying", "rolling_back")

    @property
    def is_failure(self) -> bool:
        return self.name in ("failed", "stopped", "rolled_back", "needs_attention")

    @property
    def is_settled(self) -> bool:
        """The target holds what it should of this copy."""
        return self.name in ("applied", "same", "accepted")

    @property
    def can_be_rolled_back(self) -> bool:
        run = self.entry.apply_run
        return run is not None and run.state in UNDOABLE_RUNS and self.name != "rolling_back"

    @property
    def look(self) -> str:
        """As which state of `sstools/web/states.py` it is shown."""
        return {"rolling_back": "applying"}.get(self.name, self.name)

    @property
    def word(self) -> str:
        return {"planned": "ready", "same": "nothing to do", "rolling_back": "rolling back"}.get(
            self.name, ""
        )

    @property
    def counts(self) -> dict[str, int]:
        plan = self.entry.migration.plan if self.entry.migration is not None else None
        return dict(plan.counts) if plan is not None else {}


def entries_of(run: FanOutRun) -> list[FanOutEntry]:
    """With all that `standings` looks at, in one query."""
    related = (
        "copy__target",
        "migration__plan",
        "migration__job",
        "migration__target",
        "migration__source",
        "apply_run__job",
        "roll_back__job",
        "roll_back__target",
    )
    return list(run.entries.select_related(*related))


def standings(entries: Iterable[FanOutEntry]) -> list[Standing]:
    """One for each, in order. A fixed number of queries where nobody's approval is needed."""
    free: dict[Any, bool] = {}  # targets on which nothing is asked for, whatever the plan
    found: list[Standing] = []
    for entry in entries:
        standing = _standing(entry)
        if standing.is_green:
            assert entry.migration is not None
            assert entry.migration.plan is not None
            if not free.get(entry.copy.target_id):
                obstacles = gates.obstacles(entry.migration, entry.migration.plan)
                free[entry.copy.target_id] = not obstacles
                if obstacles:
                    words = " ".join(one.text for one in obstacles)
                    standing = Standing(entry, "waiting", words)
        found.append(standing)
    return found


def _standing(entry: FanOutEntry) -> Standing:
    if (back := entry.roll_back) is not None and (shown := _going_back(entry, back)) is not None:
        return shown
    if entry.error is not None:
        return Standing(
            entry, "failed", f"{entry.error['message']} {entry.error.get('remedy') or ''}".strip()
        )
    if (run := entry.apply_run) is not None:
        return _of_run(entry, run)
    migration = entry.migration
    if migration is None:
        return Standing(entry, "failed", "It has no migration.")
    return _before_applying(entry, migration)


def _going_back(entry: FanOutEntry, back: Migration) -> Standing | None:
    if back.is_busy or _is_at_work(back.job):
        return Standing(entry, "rolling_back")
    if back.state == MigrationState.DONE:
        return Standing(entry, "rolled_back", "It was rolled back.")
    if back.is_open and back.job is not None:
        waits = back.job.state == JobState.NEEDS_INPUT
        question = (
            (back.job.question or {}).get("text", "") if waits else (back.job.error or {}).get("message")
        )
        return Standing(entry, "needs_attention", f"Its roll back is open. {question or ''}".strip())
    return None


def _of_run(entry: FanOutEntry, run: Run) -> Standing:
    if not run.is_finished:
        return Standing(entry, "verifying" if run.state == RunState.VERIFYING else "applying")
    error = (run.error or {}).get("message", "")
    if run.state == RunState.APPLIED:
        red = int(run.verdict_counts.get("failed", 0))
        if red:
            error = f"{red} {'chart fails' if red == 1 else 'charts fail'} on the target. {error}".strip()
        return Standing(entry, "applied", error)
    return Standing(entry, run.state, error)


def _before_applying(entry: FanOutEntry, migration: Migration) -> Standing:
    if migration.state == MigrationState.DISCARDED:
        return Standing(entry, "discarded", "Its migration was discarded.")
    if migration.is_busy:
        return Standing(entry, "applying", "Somebody applied its migration.")
    if migration.state == MigrationState.DONE:
        return Standing(entry, "applied", "Somebody applied its migration.")
    if _is_at_work(migration.job):
        return Standing(entry, "planning")
    plan = migration.plan
    if plan is None:
        job = migration.job
        error = (job.error or {}).get("message", "") if job is not None else ""
        return Standing(entry, "failed", error or "Its plan counts no more: plan again.")
    if not (plan.write_count or plan.blocked_count or plan.kept_count):
        return Standing(entry, "same")
    why_not = why_not_applicable(migration, with_gates=False)
    return Standing(entry, "blocked", why_not) if why_not else Standing(entry, "planned")


def _is_at_work(job: Job | None) -> bool:
    return job is not None and not job.is_finished and job.state != JobState.NEEDS_INPUT


def seen_of(found: Sequence[Standing]) -> str:
    """What somebody looked at when they say apply: the plans of all copies."""
    return fingerprint_of(
        [
            [one.entry.copy.key, one.entry.migration.plan.hash]
            for one in found
            if one.entry.migration is not None and one.entry.migration.plan is not None
        ]
    )


def counts_of(found: Iterable[Standing]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for one in found:
        counts[one.name] = counts.get(one.name, 0) + 1
    return counts
