"""What becomes of a run that did not come to its end: it is looked at, and somebody decides what to do about it."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from sstools.audit import services as audit
from sstools.jobs import services as jobs
from sstools.jobs.models import Job, Source
from sstools.roles import policy
from sstools.roles.permissions import Permission

from . import services
from .applying.attempt import may_have_written
from .errors import NotReady
from .models import (
    BUSY_STATES,
    FINISHED_RUNS,
    OPEN_STATES,
    WRITES,
    Migration,
    MigrationState,
    Run,
    RunState,
)
from .restoring.services import create_rest

LOOK = "migrations_app.settle_run"
#: So many looks follow each other where all workers of one died; then somebody has to find out what kills them.
MOST_LOOKS = 3


# --- What somebody decides ------------------------------------------------------------------------------------


@transaction.atomic
def look_again(run: Run, *, actor: Any, source: str = Source.PAGE, idempotency_key: str | None = None) -> Job:
    """Queue a look at the target: what of this run is there by now. Reads only, but waits for its turn like a run.

    Raises NotAllowed; NotReady for a run that needs no attention.
    """
    policy.require(actor, Permission.MIGRATION_PLAN, run.migration.target)
    run = _needing_attention(run)
    return _queue_look(
        run,
        actor=actor,
        locks=services.write_locks(run.migration.target),
        source=source,
        idempotency_key=idempotency_key,
    )


@transaction.atomic
def retry_rest(run: Run, *, actor: Any) -> Migration:
    """A migration of what a run did not write, and of nothing else. Plan, look at and apply it like any; when it is
    applied, the first run is complete. Of a roll back: another one of the same run.

    Asking twice gives the same one while it is open. Raises NotAllowed; NotReady where nothing is left; Invalid where
    the source no longer has it.
    """
    policy.require(actor, Permission.MIGRATION_PLAN, run.migration.target)
    run = _needing_attention(run)
    first = run.migration
    if first.rolls_back is not None:
        return services.create_rollback(first.rolls_back, actor=actor)
    existing = run.continuations.filter(state__in=OPEN_STATES).first()
    if existing is not None:
        return existing
    rest = run.plan.items.filter(target_uuid__in=run.unwritten, action__in=("create", "update"))
    uuids = set(rest.values_list("uuid", flat=True)) | _beside(run)
    if run.looked_at is None:
        raise NotReady(f"What run {run.number} wrote is not known yet.", remedy="Look again first.")
    if not uuids or (first.source is None and not first.is_of_backup):
        raise NotReady(f"Everything that run {run.number} was to write is there.")
    migration = _rest(run, uuids, actor)
    migration.continues = run
    migration.answers = {uuid: answer for uuid, answer in first.answers.items() if uuid in uuids}
    migration.save(update_fields=["continues", "answers", "updated_at"])
    audit.record(
        "run:retry_rest", first, actor=actor, data={"run": run.number, "migration": migration.number}
    )
    return migration


@transaction.atomic
def accept(run: Run, *, actor: Any, comment: str = "") -> Run:
    """Leave the target as the run left it, and say so: nothing is written, and the run asks for no more attention.

    It can still be rolled back. Raises NotAllowed, NotReady.
    """
    policy.require(actor, Permission.MIGRATION_APPLY, run.migration.target)
    run = _needing_attention(run)
    migration = run.migration
    run.state = RunState.ACCEPTED
    run.error = {**(run.error or {}), "comment": comment.strip()[:500]}
    run.save(update_fields=["state", "error"])
    if migration.state == MigrationState.NEEDS_ATTENTION:
        migration.state = MigrationState.ACCEPTED
        migration.save(update_fields=["state", "updated_at"])
    audit.record(
        "run:accept",
        migration,
        actor=actor,
        data={
            "run": run.number,
            "comment": comment.strip()[:500],
            "written": len(run.written),
            "unwritten": len(run.unwritten),
        },
    )
    return run


def _rest(run: Run, uuids: set[str], actor: Any) -> Migration:
    first = run.migration
    if first.source is None:
        return create_rest(run, uuids, actor=actor)
    return services.create_migration(
        first.source,
        first.target,
        selection=uuids,
        actor=actor,
        title=f"Rest of run {run.number}: {first.title}",
        with_dependencies=False,
        verify=first.verify,
        roll_back_when_red=first.roll_back_when_red,
        copy_terms=first.copy_terms,
        carrying=first.carrying,
    )


def _beside(run: Run) -> set[str]:
    """Source uuids of assets whose companions are not there as planned: of a rule or a report, all of the plan."""
    owed = set(run.plan.companions.filter(target_uuid__in=run.unwritten).values_list("asset_uuid", flat=True))
    if "" in owed:
        taken = run.plan.items.filter(action__in=("create", "update", "unchanged"))
        owed |= set(taken.values_list("uuid", flat=True))
    return owed - {""}


def _needing_attention(run: Run) -> Run:
    run = (
        Run.objects.select_for_update(of=("self",))
        .select_related("migration__source", "migration__target", "migration__rolls_back", "plan")
        .get(pk=run.pk)
    )
    if run.state != RunState.NEEDS_ATTENTION:
        raise NotReady(f"Run {run.number} is {run.get_state_display()}: it needs no attention.")
    return run


def _queue_look(
    run: Run, *, actor: Any, locks: list[Any], source: str, idempotency_key: str | None = None
) -> Job:
    target = run.migration.target
    return jobs.enqueue(
        LOOK,
        {"run": run.number},
        actor=actor,
        locks=locks,
        about=[target],
        join_key=f"look:{run.number}",
        idempotency_key=idempotency_key,
        title=f"Run {run.number}: see what is on {target.name}",
        source=source,
    )


# --- Jobs that ended ------------------------------------------------------------------------------------------


def apply_ended(job: Job) -> None:
    """A job that ended without bringing its run to an end (cancelled before its start, worker lost too often) closes
    it. Where something may have been written and nobody could see what, the next job looks: it takes over the locks,
    so that nobody writes to the target before it is known what is there.
    """
    run = Run.objects.select_related("migration__target").filter(number=job.params.get("run")).first()
    if run is None:
        return
    if run.state not in FINISHED_RUNS:
        for undo in Run.objects.unfinished().filter(migration__rolls_back=run, job=job):
            _close(undo, job)
        _close(run, job)
    if run.state == RunState.NEEDS_ATTENTION and run.looked_at is None:
        names: list[Any] = job.lock_names()
        jobs.hand_over_locks(job, _queue_look(run, actor=job.actor, locks=names, source=job.source))


def _close(run: Run, job: Job) -> None:
    touched = any(may_have_written(step) for step in run.steps.all())
    target = run.migration.target.name
    cause = (run.error or {}).get("cause")  # it was being undone
    run.state = RunState.NEEDS_ATTENTION if touched else RunState.STOPPED
    run.finished_at = job.finished_at
    run.written, run.created, run.looked_at = [], [], None
    run.unwritten = _planned(run)
    if touched:
        begun = f"{cause['message']} Undoing it" if cause else "The run"
        message = f"{begun} did not come to its end. {target} is being asked what is there."
    else:
        message = "The run ended before anything was written."
    run.error = {
        "code": (cause or {}).get("code") or (job.error or {}).get("code", job.state),
        "message": message,
        "remedy": "Wait for the answer." if touched else "Apply again.",
        **({"cause": cause} if cause else {}),
    }
    run.save(update_fields=["state", "finished_at", "error", "written", "unwritten", "created", "looked_at"])
    if run.migration.state in BUSY_STATES:
        run.migration.state = MigrationState.NEEDS_ATTENTION if touched else MigrationState.PLANNED
        run.migration.save(update_fields=["state", "updated_at"])


def _planned(run: Run) -> list[str]:
    plan = run.plan
    found = [rows.filter(action__in=WRITES) for rows in (plan.items.all(), plan.companions.all())]
    return [uuid for rows in found for uuid in rows.values_list("target_uuid", flat=True)]


def look_ended(job: Job) -> None:
    """A look that ended without seeing anything leaves a run of which nobody knows: say so, and what to do. Where its
    workers died, the next one takes over what it has locked, so that still nobody writes to what nobody has seen.
    """
    run = Run.objects.select_related("migration__target").filter(number=job.params.get("run")).first()
    if run is None or run.state != RunState.NEEDS_ATTENTION or run.looked_at is not None:
        return
    if _lost_its_workers(job) and _lost_looks(run) < MOST_LOOKS:
        names: list[Any] = job.lock_names()
        jobs.hand_over_locks(job, _queue_look(run, actor=job.actor, locks=names, source=job.source))
        return
    error = run.error or {}
    cause = error.get("cause")
    begun = f"{cause['message']} Undoing it" if cause else "The run"
    unknown = f"What is on {run.migration.target.name} is not known."
    why = (job.error or {}).get("message", "")
    run.error = {
        **error,
        "message": f"{begun} did not come to its end. {unknown} {why}".strip(),
        "remedy": "Look again, or roll back from the restore point.",
    }
    run.save(update_fields=["error"])


def _lost_looks(run: Run) -> int:
    """How many looks at a run in a row lost all their workers, since it was closed or somebody asked for one."""
    ended = Job.objects.filter(kind=LOOK, params={"run": run.number}, finished_at__isnull=False)
    number = 0
    for job in ended.order_by("-pk")[:MOST_LOOKS]:
        if not _lost_its_workers(job):
            break
        number += 1
    return number


def _lost_its_workers(job: Job) -> bool:
    return (job.error or {}).get("code") == "worker_lost"
