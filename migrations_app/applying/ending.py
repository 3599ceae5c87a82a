"""How a run ends: applied, stopped before writing, rolled back, or in need of attention."""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from environments.canonical.comparison import comparison_fingerprint
from environments.models import Reason
from environments.services import read_after_change
from environments.store import EnvironmentReading, take_snapshot
from environments.superset.errors import SupersetError
from migrations_app.engine.plan import Action
from migrations_app.errors import RunFailed, StalePlan
from migrations_app.models import Baseline, Migration, MigrationState, Pairing, Run, RunState
from migrations_app.models import Mapping as PairMapping
from sstools.audit import services as audit
from sstools.errors import JobCancelled

from .attempt import Attempt
from .errors import describe
from .proving import compare
from .reading import fresh_reading


def finish(attempt: Attempt, error: dict[str, Any] | None) -> None:
    assert attempt.after is not None
    migration = attempt.migration
    if attempt.may_have_written and attempt.after.complete:
        # What was just read is the newest there is: the next plan exports only what moves from here on.
        take_snapshot(migration.target, attempt.after, Reason.AFTER_RUN, attempt.ctx.job.actor)
    with attempt.ctx.fenced():
        _keep_baselines(attempt, attempt.after)
        _keep_answers(attempt)
        attempt.save(state=RunState.APPLIED, finished_at=timezone.now(), error=error)
        attempt.migration_state(MigrationState.DONE)
        if migration.rolls_back is not None:
            rolled = migration.rolls_back
            Run.objects.filter(pk=rolled.pk).update(state=RunState.ROLLED_BACK)
            Migration.objects.filter(pk=rolled.migration_id).update(state=MigrationState.ROLLED_BACK)
        read_after_change(migration.target, actor=attempt.ctx.job.actor)
        audit.record(
            "run:applied",
            migration,
            actor=attempt.ctx.job.actor,
            data={
                "run": attempt.row.number,
                "written": len(attempt.row.written),
                "verdicts": attempt.row.verdict_counts,
            },
        )


def _keep_baselines(attempt: Attempt, after: EnvironmentReading) -> None:
    """What is there now is what the next edit is measured against."""
    rows: list[Baseline] = []
    gone: list[str] = []
    for item in attempt.items:
        if item.action == Action.REMOVE:
            gone.append(item.uuid)
        now = after.documents.get(item.uuid)
        if (
            now is None
            or item.wanted is None
            or item.action in (Action.LEAVE_OUT, Action.BLOCKED, Action.REMOVE)
        ):
            continue
        rows.append(
            Baseline(
                target=attempt.migration.target,
                uuid=item.uuid,
                wanted=comparison_fingerprint(item.wanted),
                present=comparison_fingerprint(now),
                run=attempt.row,
                updated_at=timezone.now(),
            )
        )
    Baseline.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["target", "uuid"],
        update_fields=["wanted", "present", "run", "updated_at"],
        batch_size=500,
    )
    Baseline.objects.filter(target=attempt.migration.target, uuid__in=gone).delete()


def _keep_answers(attempt: Attempt) -> None:
    """Adopted and renamed assets stay so for the next plan of the same pair."""
    migration = attempt.migration
    if migration.source is None or migration.is_rollback:
        return
    for source_uuid, target_uuid in attempt.row.plan.mapping.get("pairs", {}).items():
        item = next((item for item in attempt.items if item.row.uuid == source_uuid), None)
        if item is not None and item.action != Action.LEAVE_OUT:
            Pairing.objects.update_or_create(
                source=migration.source,
                target=migration.target,
                source_uuid=source_uuid,
                defaults={
                    "target_uuid": target_uuid,
                    "kind": item.kind.value,
                    "created_by": attempt.ctx.job.actor,
                },
            )
    if renames := attempt.row.plan.mapping.get("renames"):
        mapping, _ = PairMapping.objects.get_or_create(source=migration.source, target=migration.target)
        mapping.renames = {**mapping.renames, **renames}
        mapping.save(update_fields=["renames", "updated_at"])


def stopped(attempt: Attempt, error: BaseException) -> dict[str, Any]:
    """Before the first write: nothing happened. After it: undo."""
    if attempt.may_have_written:
        return undo(attempt, error)
    described = describe(error)
    with attempt.ctx.fenced():
        attempt.save(state=RunState.STOPPED, finished_at=timezone.now(), error=described)
        if isinstance(error, StalePlan):
            attempt.row.plan.stale_reason = error.message[:500]
            attempt.row.plan.save(update_fields=["stale_reason"])
        attempt.migration_state(MigrationState.PLANNED)
        audit.record(
            "run:stopped",
            attempt.migration,
            actor=attempt.ctx.job.actor,
            data={"run": attempt.row.number, "error": described["code"]},
        )
    raise error


def undo(attempt: Attempt, error: BaseException) -> dict[str, Any]:
    from migrations_app.rollback import roll_back_now

    described = describe(error)
    attempt.ctx.log("error", described["message"])
    with attempt.ctx.fenced():
        attempt.save(error=described)  # whoever takes over from here goes on undoing
    if attempt.migration.is_rollback:
        _needs_attention(attempt, described)
        raise RunFailed(
            attempt.message(), code="needs_attention", detail={"run": attempt.row.number}
        ) from error
    try:
        left = attempt.after.documents if attempt.after is not None else None
        kept = roll_back_now(attempt.row, attempt.ctx, left)
    except (Exception, JobCancelled) as second:
        attempt.ctx.log("error", f"Rolling back failed: {describe(second)['message']}")
        _needs_attention(attempt, described, second)
        raise RunFailed(
            attempt.message(), code="needs_attention", detail={"run": attempt.row.number}
        ) from error
    with attempt.ctx.fenced():
        target = attempt.migration.target.name
        undone = f"Everything that was written has been undone; {target} was read and is as before the run."
        message = f"{described['message']} {undone}"
        if kept:
            message = f"{described['message']} Undone, except for {', '.join(kept)}: used or edited by others by now."
        attempt.save(
            state=RunState.NEEDS_ATTENTION if kept else RunState.ROLLED_BACK,
            finished_at=timezone.now(),
            error={**described, "message": message},
        )
        attempt.migration_state(MigrationState.NEEDS_ATTENTION if kept else MigrationState.ROLLED_BACK)
        audit.record(
            "run:rolled_back",
            attempt.migration,
            actor=attempt.ctx.job.actor,
            data={"run": attempt.row.number, "error": described["code"]},
        )
    raise RunFailed(
        message, code=described["code"], remedy=described["remedy"], detail={"run": attempt.row.number}
    ) from error


def _needs_attention(
    attempt: Attempt, described: dict[str, Any], second: BaseException | None = None
) -> None:
    """Say exactly what is on the target, if it can be asked."""
    message = described["message"]
    written, unwritten = attempt.row.written, attempt.row.unwritten
    try:
        reading = fresh_reading(attempt.target, attempt.migration.target, attempt.target_ids())
        written, unwritten = compare(attempt, reading)
        message += (
            f" On {attempt.migration.target.name} now: {len(written)} as planned, {len(unwritten)} not."
        )
    except SupersetError as unreachable:
        message += f" {attempt.migration.target.name} cannot be asked what is there: {unreachable.message}"
    if second is not None:
        message += f" Rolling back failed as well: {describe(second)['message']}"
    with attempt.ctx.fenced():
        attempt.save(
            state=RunState.NEEDS_ATTENTION,
            finished_at=timezone.now(),
            written=written,
            unwritten=unwritten,
            error={
                **described,
                "message": message[:4000],
                "remedy": "Look at the list, then roll back from the restore point or apply again.",
            },
        )
        attempt.migration_state(MigrationState.NEEDS_ATTENTION)
        audit.record(
            "run:needs_attention",
            attempt.migration,
            actor=attempt.ctx.job.actor,
            data={"run": attempt.row.number, "error": described["code"]},
        )
