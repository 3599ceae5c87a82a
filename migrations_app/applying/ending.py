"""How a run ends: applied, stopped before writing, rolled back, or in need of attention."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NoReturn

from django.utils import timezone

from environments.canonical.companions import Companion
from environments.canonical.comparison import comparison_fingerprint
from environments.canonical.damage import unmarked
from environments.canonical.documents import Document, Documents
from environments.models import Reason
from environments.services import read_after_change
from environments.store import EnvironmentReading, put_documents, take_snapshot
from environments.superset.errors import SupersetError, SupersetUnreachable
from migrations_app.engine.companions import TOUCHED_BY_IMPORT, beside, same
from migrations_app.engine.plan import Action
from migrations_app.errors import RunFailed, StalePlan
from migrations_app.models import (
    Baseline,
    CompanionBaseline,
    Migration,
    MigrationState,
    Pairing,
    Run,
    RunState,
)
from migrations_app.models import Mapping as PairMapping
from migrations_app.repairing import without_marks
from sstools.audit import services as audit
from sstools.errors import JobCancelled
from sstools.outages import OwnDatabaseFull, outage
from sstools.roles import policy
from sstools.texts import counted

from .attempt import Attempt
from .errors import describe, recorded
from .patience import patiently, read_target
from .proving import Truth, as_planned, look
from .settling import settle_lost_writes

NOT_VERIFIED = "verification_incomplete"
WAYS_ON = "Look at the list; then roll back, write the rest, or leave it as it is."


def finish(attempt: Attempt, error: dict[str, Any] | None) -> None:
    """Everything is on the target as planned."""
    assert attempt.after is not None
    migration, actor = attempt.migration, attempt.ctx.job.actor
    others = _told_of_others(attempt, attempt.after)
    with attempt.ctx.fenced():
        if attempt.may_have_written and attempt.after.complete:
            # What was just read is the newest there is: the next plan exports only what moves from here on.
            take_snapshot(migration.target, without_marks(attempt.after), Reason.AFTER_RUN, actor)
        keep_baselines(attempt, attempt.after)
        _keep_answers(attempt)
        attempt.put(
            state=RunState.APPLIED,
            finished_at=timezone.now(),
            error=error,
            written=attempt.planned,
            unwritten=[],
            looked_at=timezone.now(),
        )
        attempt.migration_state(MigrationState.DONE)
        for other, state, values in others:
            Run.objects.filter(pk=other.pk).update(**values)
            Migration.objects.filter(pk=other.migration_id).update(state=state)
        read_after_change(migration.target, actor=actor)
        audit.record(
            "run:applied",
            migration,
            actor=actor,
            data={
                "run": attempt.row.number,
                "written": len(attempt.row.written),
                "verdicts": attempt.row.verdict_counts,
            },
        )


Other = tuple[Run, MigrationState, dict[str, Any]]


def _told_of_others(attempt: Attempt, after: EnvironmentReading) -> list[Other]:
    """What becomes of other runs by this one: of the one that it rolled back for somebody, and of one whose rest it
    wrote or took back. As (run, state of its migration, its fields).
    """
    migration = attempt.migration
    others: list[Other] = []
    rolled = migration.rolls_back
    if rolled is not None and not attempt.is_undo:
        # What is left of it is what the roll back's plan kept, as somebody wished.
        values = {"state": RunState.ROLLED_BACK, **_lists(look(attempt.of(rolled), after))}
        others.append((rolled, MigrationState.ROLLED_BACK, values))
        migration = rolled.migration
    first = migration.continues
    if first is not None and first.state in (RunState.NEEDS_ATTENTION, RunState.APPLIED):
        others.append(_continued(attempt, first, look(attempt.of(first), after)))
    return others


def _continued(attempt: Attempt, first: Run, truth: Truth) -> Other:
    by = f"run {attempt.row.number}"
    if truth.is_as_planned:
        state, migration_state = RunState.APPLIED, MigrationState.DONE
        code, message = "completed", f"The rest of its plan was written by {by}."
        remedy = "Verify it again to ask all of its charts."
    else:
        state, migration_state = RunState.NEEDS_ATTENTION, MigrationState.NEEDS_ATTENTION
        code, remedy = "needs_attention", WAYS_ON
        message = f"After {by}: {len(truth.written)} as planned, {len(truth.unwritten)} not."
    error = {"code": code, "message": message, "remedy": remedy}
    return first, migration_state, {"state": state, "error": error, **_lists(truth)}


def keep_baselines(attempt: Attempt, after: EnvironmentReading, only: Collection[str] | None = None) -> None:
    """What is there now is what the next edit is measured against. `only`: of these assets.

    What was replaced on an environment is in no source: to the next migration it is an edit, and asked about.
    """
    if attempt.migration.is_replacement:
        return
    rows: list[Baseline] = []
    gone: list[str] = []
    left: list[Document] = []
    # What stays by somebody's word, now or earlier, stays until one of the sides moves.
    word = {
        "by": policy.name_of(by) if (by := attempt.row.created_by) is not None else "somebody",
        "at": timezone.now().isoformat(),
        "reason": f"kept by run {attempt.row.number}",
    }
    known = Baseline.objects.filter(target=attempt.migration.target, accepted__isnull=False)
    accepted = dict(known.values_list("uuid", "accepted"))
    brought: dict[str, str] = {}
    if attempt.migration.is_repair:  # it brings nothing: what no run brought has no base by it
        uuids = [item.uuid for item in attempt.items]
        bases = Baseline.objects.filter(target=attempt.migration.target, uuid__in=uuids)
        brought = dict(bases.values_list("uuid", "present"))
    for item in attempt.items:
        if only is not None and item.uuid not in only:
            continue
        if attempt.migration.is_repair and not _is_ours(attempt, after, item.uuid, brought.get(item.uuid)):
            continue  # edited by hand besides its damage: that stays a question
        if item.action == Action.REMOVE:
            gone.append(item.uuid)
        now = after.documents.get(item.uuid)
        if (
            now is None
            or item.wanted is None
            or item.action in (Action.LEAVE_OUT, Action.BLOCKED, Action.REMOVE)
        ):
            continue
        if attempt.was_read_back and item.action.writes and not as_planned(item, now):
            now = item.wanted  # it was read back as planned; what it is by now is somebody's edit, not ours
        now, wanted = unmarked(now), unmarked(item.wanted)
        left.append(now)
        rows.append(
            Baseline(
                target=attempt.migration.target,
                uuid=item.uuid,
                wanted=comparison_fingerprint(beside(wanted, now, item.aside)),
                present=comparison_fingerprint(now),
                document_id=now.fingerprint,
                accepted=(accepted.get(item.uuid) or word) if item.action == Action.KEEP else None,
                run=attempt.row,
                updated_at=timezone.now(),
            )
        )
    put_documents(left)
    Baseline.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["target", "uuid"],
        update_fields=["wanted", "present", "document", "accepted", "run", "updated_at"],
        batch_size=500,
    )
    Baseline.objects.filter(target=attempt.migration.target, uuid__in=gone).delete()
    _keep_companion_baselines(attempt, after, only)


def _keep_companion_baselines(
    attempt: Attempt, after: EnvironmentReading, only: Collection[str] | None
) -> None:
    target = attempt.migration.target
    meant = [one for one in attempt.companions if only is None or one.uuid in only]
    rows: list[CompanionBaseline] = []
    left: list[Companion] = []
    for one in meant:
        now = after.companions.get(one.uuid)
        if attempt.was_read_back and (one.action.writes or one.is_touched) and not same(one.wanted, now):
            now = one.wanted  # it was read back as planned: somebody edited it since
        left += [document for document in (one.brought, now) if document is not None]
        rows.append(
            CompanionBaseline(
                target=target,
                kind=one.kind.value,
                uuid=one.uuid,
                asset_uuid=_whose(one.brought or now),
                title=one.row.title,
                wanted_id=one.brought.fingerprint if one.brought else None,
                present_id=now.fingerprint if now else None,
                run=attempt.row,
                updated_at=timezone.now(),
            )
        )
    put_documents(left)
    CompanionBaseline.objects.bulk_create(
        [row for row in rows if row.wanted_id or row.present_id],
        update_conflicts=True,
        unique_fields=["target", "uuid"],
        update_fields=["asset_uuid", "title", "wanted", "present", "accepted", "run", "updated_at"],
        batch_size=500,
    )
    nothing = {row.uuid for row in rows if not (row.wanted_id or row.present_id)}
    carried = {one.uuid for one in attempt.companions}
    items = [item for item in attempt.items if only is None or item.uuid in only]
    written = {item.uuid for item in items if item.action in (Action.CREATE, Action.UPDATE)}
    removed = {item.uuid for item in items if item.action == Action.REMOVE}
    known = CompanionBaseline.objects.filter(target=target)
    gone = [
        pk
        for pk, uuid, asset, kind in known.values_list("pk", "uuid", "asset_uuid", "kind")
        # What an import changes by itself, and no run looked at, is nobody's edit; nor is what went with its asset.
        if uuid in nothing
        or asset in removed
        or (asset in written and kind in TOUCHED_BY_IMPORT and uuid not in carried)
    ]
    for start in range(0, len(gone), 500):
        known.filter(pk__in=gone[start : start + 500]).delete()


def _whose(companion: Companion | None) -> str:
    asset = companion.asset if companion is not None else None
    return asset[1] if asset is not None else ""


def _is_ours(attempt: Attempt, after: EnvironmentReading, uuid: str, base: str | None) -> bool:
    """Whether a mended asset is what a run left there, before it was mended or by that."""
    readings = (attempt.untouched, after)
    sides = [one.documents[uuid] for one in readings if one is not None and uuid in one.documents]
    return base in {comparison_fingerprint(unmarked(one)) for one in sides}


def _keep_answers(attempt: Attempt) -> None:
    """Adopted and renamed assets stay so for the next plan of the same pair."""
    migration = attempt.migration
    if migration.maps_nothing or migration.is_rollback or migration.copy_terms or migration.is_put_back:
        return  # what was answered for a copy is the copy's, and not of all between the two
    terms = migration.terms
    # A file of nobody knows where belongs to no pair: what was adopted is asked for again with the next one.
    pairs = attempt.row.plan.mapping.get("pairs", {}) if terms is not None else {}
    for source_uuid, target_uuid in pairs.items():
        item = next((item for item in attempt.items if item.row.uuid == source_uuid), None)
        if item is not None and item.action != Action.LEAVE_OUT:
            Pairing.objects.update_or_create(
                source=terms,
                target=migration.target,
                source_uuid=source_uuid,
                defaults={
                    "target_uuid": target_uuid,
                    "kind": item.kind.value,
                    "created_by": attempt.ctx.job.actor,
                },
            )
    if renames := attempt.row.plan.mapping.get("renames"):
        mapping, _ = PairMapping.objects.get_or_create(source=terms, target=migration.target)
        mapping.renames = {**mapping.renames, **renames}
        mapping.save(update_fields=["renames", "updated_at"])


def stopped(attempt: Attempt, error: BaseException) -> dict[str, Any]:
    """Before the first write, or where every write is proven to have come to nothing: nothing happened. Else undo."""
    # No room for the restore point: that can still be said, as it is a small thing to write.
    if attempt.may_have_written or not isinstance(outage(error), OwnDatabaseFull):
        attempt.ctx.abandon_on_outage(error)
    if attempt.refresh_may_have_written():
        return undo(attempt, error)
    described = describe(error)
    with attempt.ctx.fenced():
        attempt.put(
            state=RunState.STOPPED,
            finished_at=timezone.now(),
            error=described,
            written=[],
            unwritten=attempt.planned,
            created=[],
        )
        if isinstance(error, StalePlan):
            attempt.row.plan.stale_reason = error.message[:500]
            attempt.row.plan.save(update_fields=["stale_reason"])
        attempt.migration_state(MigrationState.PLANNED)
        _record(attempt, "run:stopped", described)
    raise error


def undo(attempt: Attempt, error: BaseException) -> dict[str, Any]:
    """Put back what was written. Raises what the job ends with: RunFailed, or JobCancelled where somebody wanted it."""
    from migrations_app.rollback import roll_back_now

    described = describe(error)
    described["cause"] = dict(described)  # the message will also say how the undoing went
    attempt.ctx.log("error", described["message"])
    attempt.save(error=described)  # whoever takes over from here goes on undoing
    if attempt.migration.is_rollback:
        _needs_attention(attempt, described, error)
    try:
        settle_lost_writes(attempt)  # or what is undone now comes back a moment later
        kept = roll_back_now(attempt.row, attempt.ctx, _left(attempt))
        truth = look(attempt, patiently(attempt, lambda: read_target(attempt)))
    except (Exception, JobCancelled) as second:
        attempt.ctx.abandon_on_outage(second)
        attempt.ctx.log("error", f"Rolling back failed: {describe(second)['message']}")
        _needs_attention(attempt, described, error, second)
    is_whole = not kept and truth.is_as_before
    target = attempt.migration.target.name
    message = f"Everything that was written has been undone; {target} was read and is as before the run."
    if kept:
        message = f"Undone, except for {', '.join(kept)}: used or edited by others by now."
    elif truth.connections:
        message = f"What was written has been undone, but not what became of {', '.join(truth.connections)}."
    elif not is_whole:
        changed = counted(len(truth.written) + len(truth.between), "asset is", "assets are")
        message = f"Undone, but {changed} not as before the run."
    described = {**described, "message": f"{described['message']} {message}"}
    if not is_whole:
        described["remedy"] = WAYS_ON
    with attempt.ctx.fenced():
        attempt.put(
            state=RunState.ROLLED_BACK if is_whole else RunState.NEEDS_ATTENTION,
            finished_at=timezone.now(),
            error=described,
            **_lists(truth),
        )
        attempt.migration_state(MigrationState.ROLLED_BACK if is_whole else MigrationState.NEEDS_ATTENTION)
        _record(attempt, "run:rolled_back" if is_whole else "run:needs_attention", described)
    if not is_whole:
        raise _failed(attempt, described) from error
    ended = recorded(described)
    ended.detail = {**ended.detail, "run": attempt.row.number}
    raise ended from error


def _left(attempt: Attempt) -> Documents | None:
    """What this run left of each asset; what differs from it by now, somebody edited. None where the run has not come
    so far that anybody could have.
    """
    if not attempt.is_resumed:
        return without_marks(attempt.after).documents if attempt.after is not None else None
    now = attempt.after or attempt.before
    left = dict(attempt.untouched.documents) if attempt.untouched is not None else {}
    done = attempt.done_before()
    for item in attempt.items:
        present = now.documents.get(item.uuid) if now is not None else None
        if present is not None and as_planned(item, present):
            left[item.uuid] = present
        elif item.uuid in done and item.wanted is not None:
            left[item.uuid] = item.wanted
    return {uuid: unmarked(document) for uuid, document in left.items()}


def _lists(truth: Truth) -> dict[str, Any]:
    return {
        "written": truth.written,
        "unwritten": truth.unwritten,
        "created": truth.created,
        "looked_at": timezone.now(),
    }


def _failed(attempt: Attempt, described: dict[str, Any]) -> RunFailed:
    return RunFailed(
        described["message"],
        code="needs_attention",
        remedy=described["remedy"],
        detail={"run": attempt.row.number},
    )


# --- Half done ------------------------------------------------------------------------------------------------


def _needs_attention(
    attempt: Attempt, described: dict[str, Any], error: BaseException, second: BaseException | None = None
) -> NoReturn:
    """It was to be undone, and could not be. Say exactly what is on the target, if it can be asked; if not, the job's
    end has another one ask until it answers.
    """
    also = f" Rolling back failed as well: {describe(second)['message']}" if second is not None else ""
    target = attempt.migration.target.name
    # It was waited for already; from here on somebody else does.
    attempt.is_looking = isinstance(second or error, SupersetUnreachable)
    try:
        settle_lost_writes(attempt)
        reading = patiently(attempt, lambda: read_target(attempt))
    except SupersetError as away:
        message = f"{described['message']}{also} {target} cannot be asked what is there: {away.message}"
        described = {**described, "message": message[:4000], "remedy": "It is asked until it answers."}
        with attempt.ctx.fenced():
            attempt.put(
                state=RunState.NEEDS_ATTENTION, finished_at=timezone.now(), error=described, looked_at=None
            )
            attempt.migration_state(MigrationState.NEEDS_ATTENTION)
            _record(attempt, "run:needs_attention", described)
    else:
        described = conclude(attempt, reading, described["cause"], also)
        if attempt.row.state != RunState.NEEDS_ATTENTION:
            raise recorded(described) from error
    raise _failed(attempt, described) from error


def conclude(
    attempt: Attempt, reading: EnvironmentReading, decided: dict[str, Any] | None, also: str = ""
) -> dict[str, Any]:
    """Close a run that did not come to its end as the target shows it: nothing of it is there, all of it, or part.
    Returns the error as it is kept. `decided`: why the run was to be undone, None if it was not.
    """
    truth = look(attempt, reading)
    target = attempt.migration.target.name
    wrote = attempt.refresh_may_have_written()
    before = decided["message"] + also if decided else "The run was interrupted."
    if truth.is_as_before:
        undone = wrote and not attempt.migration.is_rollback
        state = RunState.ROLLED_BACK if undone else RunState.STOPPED
        migration_state = MigrationState.ROLLED_BACK if undone else MigrationState.PLANNED
        what, remedy = f"{target} was read and is as before the run: nothing of it is there.", "Apply again."
        remedy = "Plan again." if undone else remedy
    elif truth.is_as_planned and decided is None:
        state, migration_state = RunState.APPLIED, MigrationState.DONE
        what = f"{target} was read: everything is there as planned. It was not verified."
        remedy = "Verify again."
    else:
        state, migration_state = RunState.NEEDS_ATTENTION, MigrationState.NEEDS_ATTENTION
        what, remedy = _in_words(target, truth), WAYS_ON
    error = {
        **(decided or {}),
        "code": decided["code"] if decided else NOT_VERIFIED if state == RunState.APPLIED else "interrupted",
        "message": f"{before} {what}"[:4000],
        "remedy": remedy,
        "detail": {**((decided or {}).get("detail") or {}), "between": truth.between[:50]},
        **({"cause": decided} if decided else {}),
    }
    with attempt.ctx.fenced():
        attempt.put(
            state=state, finished_at=attempt.row.finished_at or timezone.now(), error=error, **_lists(truth)
        )
        attempt.migration_state(migration_state)
        if wrote:
            # What is there as planned is ours: the next plan must not take it for somebody's edit.
            keep_baselines(attempt, reading, only=truth.written)
            read_after_change(attempt.migration.target, actor=attempt.ctx.job.actor)
        _record(attempt, f"run:{state.value}", error)
    return error


def _in_words(target: str, truth: Truth) -> str:
    parts = [f"{len(truth.written)} as planned", f"{len(truth.unwritten)} not"]
    text = f"On {target} now: {', '.join(parts)}"
    if truth.between:
        text += f", of which {len(truth.between)} are neither as planned nor as before"
    if truth.connections:
        text += f". Changed connections: {', '.join(truth.connections)}"
    return f"{text}."


def _record(attempt: Attempt, action: str, described: dict[str, Any]) -> None:
    audit.record(
        action,
        attempt.migration,
        actor=attempt.ctx.job.actor,
        data={"run": attempt.row.number, "error": described["code"]},
    )
