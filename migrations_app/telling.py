"""Notices about runs."""

from sstools.jobs.models import Job
from sstools.notices import events, services
from sstools.notices import telling as jobs
from sstools.roles.permissions import Permission

from .leftovers import LOOK
from .models import Run, RunState
from .services import APPLY

EVENTS = {
    RunState.APPLIED: events.register("run.applied", "A run was applied", Permission.MIGRATION_VIEW),
    RunState.STOPPED: events.register(
        "run.stopped", "A run stopped before it wrote anything", Permission.MIGRATION_VIEW
    ),
    RunState.ROLLED_BACK: events.register(
        "run.rolled_back", "A run was rolled back", Permission.MIGRATION_VIEW
    ),
    RunState.NEEDS_ATTENTION: events.register(
        "run.needs_attention", "A run needs somebody", Permission.MIGRATION_VIEW
    ),
}
WORDS = {
    RunState.APPLIED: "Applied",
    RunState.STOPPED: "Stopped, nothing was written",
    RunState.ROLLED_BACK: "Rolled back",
    RunState.NEEDS_ATTENTION: "Needs attention",
}
jobs.told_otherwise |= {APPLY, LOOK}


def job_ended(job: Job) -> None:
    """Tell how the run of this job ended."""
    if job.kind not in (APPLY, LOOK):
        return
    runs = Run.objects.select_related("migration__source", "migration__target", "created_by")
    run = runs.filter(number=job.params.get("run")).first()
    if run is None or run.state not in EVENTS:
        return
    migration, state = run.migration, RunState(run.state)
    error = run.error or {}
    verdicts = ", ".join(f"{number} {status}" for status, number in sorted(run.verdict_counts.items()))
    lines = [
        f"{error.get('message', '')} {error.get('remedy', '')}".strip(),
        f"Written: {len(run.written)}, not written: {len(run.unwritten)}.",
        f"Charts: {verdicts}." if verdicts else "",
    ]
    services.publish(
        EVENTS[state].key,
        title=f"{WORDS[state]}: {migration.title or migration}, run {run.number} on {migration.target}",
        text="\n".join(line for line in lines if line),
        path=run.get_absolute_url(),
        about=migration.concerns,
        people=[run.created_by],
        data={
            "run": run.number,
            "migration": migration.number,
            "state": run.state,
            "target": migration.target.slug,
            "written": len(run.written),
            "unwritten": len(run.unwritten),
            "verdicts": run.verdict_counts,
            "code": error.get("code", ""),
        },
    )
