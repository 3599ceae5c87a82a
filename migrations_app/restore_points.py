"""Restore points as backups: which run one is of, who needs it still, and what a run says once it is gone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django.db.models import Min

from environments.backups.origins import Origin

from .models import FINISHED_RUNS, OPEN_STATES, Migration, Run, RunState, RunStep, StepState


def origins(numbers: Iterable[int]) -> dict[int, Origin]:
    """By number of the backup; where several runs share one, the first."""
    found: dict[int, Origin] = {}
    rows = Run.objects.filter(restore_point__in=list(numbers)).select_related("migration").order_by("-number")
    for run in rows:
        assert run.restore_point_id is not None
        found[run.restore_point_id] = Origin(f"run {run.number}", run.get_absolute_url(), run.place)
    return found


def needs(numbers: Sequence[int]) -> dict[int, str]:
    """Those that a run or an open migration needs: rolling back, restoring, telling what was there before ss-tools."""
    found: dict[int, str] = {}
    runs = Run.objects.filter(restore_point__in=list(numbers))
    # Drift knows by it what was there before anything was brought.
    first = (
        Run.objects.exclude(restore_point=None)
        .values("migration__target")
        .annotate(first=Min("number"))
        .values("first")
    )
    for number, point in runs.filter(number__in=first).values_list("number", "restore_point"):
        found[point] = f"run {number} was the first there: it tells what was there before"
    for number, point in runs.exclude(state__in=FINISHED_RUNS).values_list("number", "restore_point"):
        found[point] = f"run {number} is at work"
    for number, point in runs.filter(state=RunState.NEEDS_ATTENTION).values_list("number", "restore_point"):
        found[point] = f"run {number} needs attention"
    back = Migration.objects.filter(state__in=OPEN_STATES, rolls_back__restore_point__in=list(numbers))
    for migration, point in back.values_list("number", "rolls_back__restore_point"):
        found[point] = f"migration {migration} rolls back by it"
    places = {f"backup:{number}": number for number in numbers}
    open_ones = Migration.objects.filter(state__in=OPEN_STATES, source_place__in=list(places))
    for migration, place in open_ones.values_list("number", "source_place"):
        found[places[place]] = f"migration {migration} restores it"
    at_work = Run.objects.exclude(state__in=FINISHED_RUNS).filter(migration__source_place__in=list(places))
    for run, place in at_work.values_list("number", "migration__source_place"):
        found[places[place]] = f"run {run} restores it"
    return found


def lets_go(numbers: Sequence[int]) -> None:
    """Runs whose restore point goes say so from now on, see `gone_of`."""
    Run.objects.filter(restore_point__in=list(numbers)).update(restore_point=None)


def gone_of(run: Run) -> int | None:
    """The number of the restore point that a run took and that was removed since; None where it has it or took none."""
    if run.restore_point_id is not None:
        return None
    steps = RunStep.objects.filter(run=run, name="restore_point", state=StepState.DONE)
    taken = (step.result.get("snapshot") for step in steps)
    return next((int(number) for number in taken if number), None)
