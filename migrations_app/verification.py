"""Verifying a run: each chart's query on source and target, and what the answers say about each other. Reads only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from environments.canonical.documents import Kind
from environments.connections import connect
from environments.store import EnvironmentReading
from environments.superset.client import SupersetClient
from environments.superset.errors import SupersetError
from environments.superset.rows import QueryResult
from sstools.jobs.runner import JobContext
from sstools.texts import counted

from . import bystanders
from .asking_charts import PARALLEL, Side, build, side_of
from .engine import queries
from .engine.plan import Action
from .errors import NotReady
from .models import PlanItem, Run, RunState, Verdict

#: Of the last runs on a target, those whose answers a restored chart is held beside.
RUNS_BEFORE = 20


def is_red(status: str) -> bool:
    """A chart that works on the source and fails on the target."""
    return status == "failed"


@dataclass(frozen=True)
class Check:
    """One chart to be checked; `problem` says why it cannot be, before any question is asked. `rows_before`: of one
    that is asked alone, how many rows it gave when an earlier run asked it there, and which run.
    """

    item: PlanItem
    source: Side | None
    target: Side | None
    problem: str = ""
    rows_before: tuple[int, int] | None = None


@dataclass(frozen=True)
class Outcome:
    check: Check
    status: str
    reason: str
    details: dict[str, Any]
    source_seconds: float | None
    target_seconds: float | None


def verify_run(
    run: Run,
    ctx: JobContext,
    source: SupersetClient,
    source_reading: EnvironmentReading,
    target: SupersetClient,
    target_reading: EnvironmentReading,
) -> dict[str, int]:
    """Check every chart of the run's plan and keep a verdict for each. Returns how many have which status.

    A failing query is a verdict, not an error. Raises JobCancelled; SupersetError only where a whole side is gone.
    """
    migration = run.migration
    names = (migration.source.name if migration.source else "source", migration.target.name)
    checks = list(_checks(run, names, source, source_reading, target, target_reading))
    return _ask_all(run, ctx, checks, _checked)


def verify_alone(
    run: Run, ctx: JobContext, target: SupersetClient, target_reading: EnvironmentReading
) -> dict[str, int]:
    """The same where there is no source to ask, as of files and backups: whether each chart answers on the target."""
    checks = []
    before = _rows_before(run) if run.migration.is_put_back else {}
    for item in _items(run):
        side = side_of(run.migration.target.name, target, target_reading, item.target_uuid)
        found = side if isinstance(side, Side) else None
        problem = side if isinstance(side, str) else ""
        checks.append(Check(item, None, found, problem, before.get(item.target_uuid)))
    whence = run.migration.source_name if run.migration.is_of_backup else "a file"
    return _ask_all(run, ctx, checks, partial(_checked_alone, whence=whence))


def _rows_before(run: Run) -> dict[str, tuple[int, int]]:
    """Chart on the target -> (rows, run) when one of the last runs there asked it and it answered."""
    runs = Run.objects.filter(migration__target=run.migration.target, state=RunState.APPLIED)
    last = list(runs.exclude(pk=run.pk).values_list("pk", flat=True)[:RUNS_BEFORE])
    found: dict[str, tuple[int, int]] = {}
    rows = Verdict.objects.filter(run__in=last, status__in=("ok", "differs")).order_by("run")
    for uuid, number, details in rows.values_list("uuid", "run", "details").iterator(chunk_size=500):
        counts = [query.get("rows", {}).get("target") for query in details.get("queries", ())]
        if counts and all(isinstance(count, int) for count in counts):
            found[uuid] = (sum(counts), number)
    return found


def _ask_all(
    run: Run, ctx: JobContext, checks: list[Check], ask: Callable[[Check, datetime], Outcome]
) -> dict[str, int]:
    """Ask some charts at a time, and keep each verdict as it comes."""
    now = timezone.now()
    counts: Counter[str] = Counter()
    with ctx.fenced():
        Verdict.objects.filter(run=run).exclude(
            uuid__in=[check.item.target_uuid for check in checks]
        ).delete()
    with ThreadPoolExecutor(max_workers=PARALLEL) as pool:
        futures: list[Future[Outcome]] = [pool.submit(ask, check, now) for check in checks]
        try:
            for done, future in enumerate(as_completed(futures), start=1):
                outcome = future.result()
                counts[outcome.status] += 1
                with ctx.fenced():
                    _keep(run, outcome)
                ctx.step("Verifying charts", done=done, total=len(checks))
                if is_red(outcome.status):
                    ctx.log("error", f"{outcome.check.item.title}: {outcome.reason}")
        except BaseException:
            for future in futures:
                future.cancel()
            raise
    return dict(counts)


def verify_again(run: Run, ctx: JobContext) -> dict[str, Any]:
    """Verify a finished run once more, against what both sides hold now."""
    from .applying import fresh_reading, inventory_ids

    migration = run.migration
    if migration.is_of_file or migration.is_of_backup:
        return _verify_alone_again(run, ctx)
    if migration.source is None:
        raise NotReady("A roll back has no source to compare with.")
    items = run.plan.items.values_list("uuid", "target_uuid")

    def still_mine(method: str, path: str) -> None:
        ctx.still_mine()  # a worker that lost the job asks nothing more

    with (
        connect(migration.source, before_request=still_mine) as source,
        connect(migration.target, before_request=still_mine) as target,
    ):
        ctx.step(f"Reading {migration.source.name} and {migration.target.name}")
        source_ids = inventory_ids(migration.source, {uuid for uuid, _ in items})
        target_ids = inventory_ids(migration.target, {uuid for _, uuid in items})
        source_reading = fresh_reading(source, migration.source, source_ids)
        target_reading = fresh_reading(target, migration.target, target_ids)
        counts = verify_run(run, ctx, source, source_reading, target, target_reading)
        outside = bystanders.verify(run, ctx, target, target_reading, inventory_ids)
    with ctx.fenced():
        Run.objects.filter(pk=run.pk).update(verdict_counts=counts)
    return {**counts, **({"outside": outside} if outside else {})}


def _verify_alone_again(run: Run, ctx: JobContext) -> dict[str, Any]:
    from .applying import fresh_reading, inventory_ids

    target = run.migration.target
    with connect(target, before_request=lambda method, path: ctx.still_mine()) as client:
        ctx.step(f"Reading {target.name}")
        ids = inventory_ids(target, set(run.plan.items.values_list("target_uuid", flat=True)))
        reading = fresh_reading(client, target, ids)
        counts = verify_alone(run, ctx, client, reading)
        outside = bystanders.verify(run, ctx, client, reading, inventory_ids)
    with ctx.fenced():
        Run.objects.filter(pk=run.pk).update(verdict_counts=counts)
    return {**counts, **({"outside": outside} if outside else {})}


def _items(run: Run) -> QuerySet[PlanItem]:
    """The charts of a plan that are on the target after it."""
    skipped = (Action.LEAVE_OUT.value, Action.BLOCKED.value, Action.REMOVE.value)
    return run.plan.items.filter(kind=Kind.CHART.value).exclude(action__in=skipped)


def _checks(
    run: Run,
    names: tuple[str, str],
    source: SupersetClient,
    source_reading: EnvironmentReading,
    target: SupersetClient,
    target_reading: EnvironmentReading,
) -> Iterator[Check]:
    for item in _items(run):
        one = side_of(names[0], source, source_reading, item.uuid)
        other = side_of(names[1], target, target_reading, item.target_uuid)
        problem = one if isinstance(one, str) else other if isinstance(other, str) else ""
        yield Check(
            item, one if isinstance(one, Side) else None, other if isinstance(other, Side) else None, problem
        )


def _checked(check: Check, now: datetime) -> Outcome:
    """Ask both sides. Runs in a thread: no database in here."""
    if check.source is None or check.target is None:
        return Outcome(check, "not_checkable", check.problem, {}, None, None)
    ranges: dict[str, str] = {}
    one = build(check.source, now, ranges)
    other = build(check.target, now, ranges)
    for built in (one, other):
        if isinstance(built, queries.NotCheckable):
            return Outcome(check, "not_checkable", built.reason, {}, None, None)
    assert isinstance(one, queries.Built)
    assert isinstance(other, queries.Built)
    asked: list[list[QueryResult]] = []
    for name, side, built in (("source", check.source, one), ("target", check.target, other)):
        try:
            asked.append(side.client.chart_data(built.with_datasource(side.dataset_id), force=True))
        except SupersetError as error:
            return Outcome(
                check, "not_checkable", f"The {name} could not be asked: {error.message}", {}, None, None
            )
    spec = queries.Spec.of(one, source_name=check.source.name, target_name=check.target.name)
    totals: dict[str, list[QueryResult]] = {}
    if one.limit_reached(*asked):
        for name, side, built in (
            ("source_totals", check.source, one),
            ("target_totals", check.target, other),
        ):
            payload = built.totals_with_datasource(side.dataset_id)
            if payload is not None:
                try:
                    totals[name] = side.client.chart_data(payload, force=True)
                except SupersetError:
                    totals.clear()  # the rows that came are compared all the same
                    break
    verdict = queries.compare(asked[0], asked[1], spec, **totals)
    seconds = verdict.details.get("seconds", {})
    if verdict.status in ("ok", "differs") and (dropped := _dropped_filters(*asked)):
        columns = ", ".join(dropped)
        reason = f"{check.target.name} drops its filter on {columns}: the dataset there has no such column"
        verdict = replace(verdict, status="failed", reason=reason)
    return Outcome(
        check, verdict.status, verdict.reason, verdict.details, seconds.get("source"), seconds.get("target")
    )


def _checked_alone(check: Check, now: datetime, *, whence: str) -> Outcome:
    """Ask the target. Runs in a thread: no database in here."""
    if check.target is None:
        return Outcome(check, "not_checkable", check.problem, {}, None, None)
    built = build(check.target, now, {})
    if isinstance(built, queries.NotCheckable):
        return Outcome(check, "not_checkable", built.reason, {}, None, None)
    try:
        results = check.target.client.chart_data(built.with_datasource(check.target.dataset_id), force=True)
    except SupersetError as error:
        return Outcome(
            check, "not_checkable", f"The target could not be asked: {error.message}", {}, None, None
        )
    seconds = round(max((result.seconds for result in results), default=0.0), 3)
    details = {
        "seconds": {"target": seconds},
        "queries": [{"rows": {"source": None, "target": result.rowcount}} for result in results],
    }
    failed = next((result for result in results if result.status != "success"), None)
    if failed is not None:
        reason = f"{check.target.name}: {queries.explain(failed.error or failed.status)}"
        return Outcome(check, "failed", reason, details, None, seconds)
    if dropped := _dropped_filters([], results):
        columns = ", ".join(dropped)
        reason = f"It answers without its filter on {columns}: the dataset has no such column."
        return Outcome(check, "differs", reason, details, None, seconds)
    reason = f"It answers. There is no source to compare with: its assets came from {whence}."
    if check.rows_before is not None:
        number, run = check.rows_before
        now_there = sum(result.rowcount for result in results)
        reason += f" {counted(now_there, 'row')} now, {number} when run {run} asked it."
    return Outcome(check, "ok", reason, details, None, seconds)


def _dropped_filters(source: list[QueryResult], target: list[QueryResult]) -> list[str]:
    """Filters that the target ignores and the source does not: a chart that answers with rows it should not show."""
    on_source = {column for result in source for column in result.rejected_filters}
    return sorted({column for result in target for column in result.rejected_filters} - on_source)


def _keep(run: Run, outcome: Outcome) -> None:
    item = outcome.check.item
    chart = outcome.check.target.chart if outcome.check.target else None
    Verdict.objects.update_or_create(
        run=run,
        uuid=item.target_uuid,
        defaults={
            "title": item.title,
            "viz_type": str(chart.body.get("viz_type") or "") if chart else "",
            "status": outcome.status,
            "reason": outcome.reason[:2000],
            "details": outcome.details,
            "source_seconds": outcome.source_seconds,
            "target_seconds": outcome.target_seconds,
        },
    )
