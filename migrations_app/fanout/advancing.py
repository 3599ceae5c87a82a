"""How a fan-out run goes on when something of it has ended: no worker and no lock is held in between."""

from __future__ import annotations

import logging
from typing import Any

from django.contrib.auth import get_user_model
from django.db import transaction

from migrations_app import leftovers, promoting, promotions
from migrations_app import services as migrations
from migrations_app.errors import PlanChanged
from sstools.errors import NotAllowed, SSToolsError
from sstools.jobs.models import Job

from .models import FanOutEntry, FanOutRun, FanOutRunState
from .states import Standing, entries_of, standings

logger = logging.getLogger(__name__)
KINDS = (migrations.PLAN, migrations.APPLY, promotions.PROMOTE, leftovers.LOOK)


def job_ended(job: Job) -> None:
    """Something that a fan-out waits for may have ended: look, once the end of the job is written down."""
    if job.kind in KINDS and FanOutRun.objects.at_work().exists():
        transaction.on_commit(advance_all, robust=True)


def advance_all() -> int:
    """Let every fan-out go on as far as it can. Returns how many are at work. Safe at the same time in several
    processes.
    """
    runs = list(FanOutRun.objects.at_work().order_by("pk"))
    for run in runs:
        try:
            advance(run)
        except Exception:  # the next round tries again, and other fan-outs have their turn
            logger.exception("%s could not go on", run)
    return len(runs)


@transaction.atomic
def advance(run: FanOutRun) -> FanOutRun:
    """Begin what can be begun, and say so where it has come to its end."""
    run = FanOutRun.objects.select_for_update(of=("self",)).select_related("fan_out").get(pk=run.pk)
    if run.state == FanOutRunState.PLANNING:
        if not any(one.is_busy for one in standings(entries_of(run))):
            _enter(run, FanOutRunState.PLANNED)
    elif run.state == FanOutRunState.APPLYING:
        _apply(run)
    elif run.state == FanOutRunState.ROLLING_BACK:
        _roll_back(run)
    return run


def _apply(run: FanOutRun) -> None:
    found = standings(entries_of(run))
    asked = [one for one in found if one.entry.plan_hash]
    failed = any(one.is_failure for one in asked)
    busy = {one.entry.copy.target_id for one in found if one.is_busy}
    left = [
        one for one in asked if one.entry.apply_run is None and one.entry.error is None and not one.is_settled
    ]
    for one in left:
        if failed and run.stops_at_failure:
            break
        target = one.entry.copy.target_id
        if target in busy:
            continue
        if _begin(run, one.entry):
            busy.add(target)
        else:
            failed = True
    found = standings(entries_of(run))
    waits = any(
        one.entry.plan_hash and one.entry.apply_run is None and one.entry.error is None and not one.is_settled
        for one in found
    )
    if any(one.is_busy for one in found) or (waits and not (failed and run.stops_at_failure)):
        return
    done = all(one.is_settled for one in found)
    run.entries.exclude(plan_hash="").update(plan_hash="")
    _enter(run, FanOutRunState.DONE if done else FanOutRunState.HELD)


def _begin(run: FanOutRun, entry: FanOutEntry) -> bool:
    """Asks for the entry's apply, with the rights of this moment. False where that was refused."""
    migration = entry.migration
    assert migration is not None
    target = entry.copy.target
    try:
        with transaction.atomic():
            if migration.plan is None:
                raise PlanChanged()
            job = migrations.request_apply(
                migration,
                plan_hash=entry.plan_hash,
                actor=_actor_now(run),
                confirmation=target.slug if target.slug in run.confirmed else "",
                source=run.source_of_request or "page",
            )
    except SSToolsError as error:
        entry.error = error.as_dict()
        entry.save(update_fields=["error"])
        return False
    entry.apply_run_id = job.params["run"]
    entry.save(update_fields=["apply_run"])
    return True


def _roll_back(run: FanOutRun) -> None:
    found = standings(entries_of(run))
    busy = {one.entry.copy.target_id for one in found if one.is_busy}
    for one in reversed(found):  # what came last may stand on what came before it
        target = one.entry.copy.target_id
        if not one.entry.goes_back or target in busy:
            continue
        if _begin_back(run, one.entry):
            busy.add(target)
    found = standings(entries_of(run))
    if any(one.is_busy or one.entry.goes_back for one in found):
        return
    _enter(run, FanOutRunState.HELD if any(_is_open(one) for one in found) else FanOutRunState.DONE)


def _is_open(one: Standing) -> bool:
    return one.name in ("needs_attention", "failed", "stopped", "blocked", "waiting")


def _begin_back(run: FanOutRun, entry: FanOutEntry) -> bool:
    """Asks for the way back of what the entry applied. False where that was refused."""
    target = entry.copy.target
    assert entry.apply_run is not None
    entry.goes_back = False
    try:
        with transaction.atomic():
            actor = _actor_now(run)
            entry.roll_back = migrations.create_rollback(entry.apply_run, actor=actor)
            promoting.request_promotion(
                entry.roll_back,
                actor=actor,
                confirmation=target.slug if target.slug in run.confirmed else "",
                source=run.source_of_request or "page",
            )
    except SSToolsError as error:
        entry.roll_back = None
        entry.error = error.as_dict()
        entry.save(update_fields=["goes_back", "roll_back", "error"])
        return False
    entry.save(update_fields=["goes_back", "roll_back"])
    return True


def _actor_now(run: FanOutRun) -> Any:
    """Who asked, with the rights of this moment: hours may have gone by."""
    actor = get_user_model().objects.filter(pk=run.actor_id, is_active=True).first() if run.actor_id else None
    if actor is None:
        raise NotAllowed(
            "Whoever asked for this is no longer a user here; somebody else has to go on with it."
        )
    return actor


def _enter(run: FanOutRun, state: FanOutRunState) -> None:
    run.state = state
    run.save(update_fields=["state", "updated_at"])
