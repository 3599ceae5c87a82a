"""Verifying a run: each chart's query on source and target, and what the answers say about each other. Reads only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils import timezone

from environments.canonical.charts import render_chart
from environments.canonical.context import RenderContext
from environments.canonical.documents import Document, Kind
from environments.connections import connect
from environments.store import EnvironmentReading
from environments.superset.client import SupersetClient
from environments.superset.errors import SupersetError
from sstools.jobs.runner import JobContext

from .engine import queries
from .engine.plan import Action
from .errors import NotReady
from .models import PlanItem, Run, Verdict

#: Charts asked at the same time. Each asks the source, then the target, so with three both sides are kept
#: busy and neither is
#: asked more than two or three things at once (superset-api.md 15: more gains nothing on a one-worker Superset).
PARALLEL = 3
#: Rows that one query asks for at most; counts and sums beyond that are compared by a query of their own.
ROW_CAP = 10_000


def is_red(status: str) -> bool:
    """A chart that works on the source and fails on the target."""
    return status == "failed"


@dataclass(frozen=True)
class Side:
    """One environment's view of one chart."""

    client: SupersetClient
    reading: EnvironmentReading
    chart: Document
    dataset: Document
    dataset_id: int


@dataclass(frozen=True)
class Check:
    """One chart to be checked; `problem` says why it cannot be, before any question is asked."""

    item: PlanItem
    source: Side | None
    target: Side | None
    problem: str = ""


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
    checks = list(_checks(run, source, source_reading, target, target_reading))
    now = timezone.now()
    counts: Counter[str] = Counter()
    Verdict.objects.filter(run=run).exclude(uuid__in=[check.item.target_uuid for check in checks]).delete()
    with ThreadPoolExecutor(max_workers=PARALLEL) as pool:
        futures: list[Future[Outcome]] = [pool.submit(_checked, check, now) for check in checks]
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
    from .applying import fresh_reading

    migration = run.migration
    if migration.source is None:
        raise NotReady("A roll back has no source to compare with.")
    ids: dict[Kind, set[int]] = {kind: set() for kind in Kind}
    with connect(migration.source) as source, connect(migration.target) as target:
        ctx.step(f"Reading {migration.source.name} and {migration.target.name}")
        source_reading = fresh_reading(source, migration.source, ids)
        target_reading = fresh_reading(target, migration.target, ids)
        counts = verify_run(run, ctx, source, source_reading, target, target_reading)
    with ctx.fenced():
        Run.objects.filter(pk=run.pk).update(verdict_counts=counts)
    return counts


def _checks(
    run: Run,
    source: SupersetClient,
    source_reading: EnvironmentReading,
    target: SupersetClient,
    target_reading: EnvironmentReading,
) -> Iterator[Check]:
    skipped = (Action.LEAVE_OUT.value, Action.BLOCKED.value, Action.REMOVE.value)
    for item in run.plan.items.filter(kind=Kind.CHART.value).exclude(action__in=skipped):
        one = _side(source, source_reading, item.uuid)
        other = _side(target, target_reading, item.target_uuid)
        problem = one if isinstance(one, str) else other if isinstance(other, str) else ""
        yield Check(
            item, one if isinstance(one, Side) else None, other if isinstance(other, Side) else None, problem
        )


def _side(client: SupersetClient, reading: EnvironmentReading, uuid: str) -> Side | str:
    chart = reading.documents.get(uuid)
    if chart is None:
        return "The chart could not be read."
    dataset = reading.documents.get(str(chart.body.get("dataset_uuid")))
    number = reading.ids.id_of(Kind.DATASET, dataset.uuid) if dataset else None
    if dataset is None or number is None:
        return "The dataset of the chart could not be read."
    return Side(client, reading, chart, dataset, number)


def _checked(check: Check, now: datetime) -> Outcome:
    """Ask both sides. Runs in a thread: no database in here."""
    if check.source is None or check.target is None:
        return Outcome(check, "not_checkable", check.problem, {}, None, None)
    one, other = _built(check.source, now), _built(check.target, now)
    for built in (one, other):
        if isinstance(built, queries.NotCheckable):
            return Outcome(check, "not_checkable", built.reason, {}, None, None)
    assert isinstance(one, queries.Built) and isinstance(other, queries.Built)
    answers, seconds = [], []
    totals = []
    for side, built in ((check.source, one), (check.target, other)):
        try:
            answers.append(side.client.chart_data(built.with_datasource(side.dataset_id), force=True))
        except SupersetError as error:
            where = "source" if side is check.source else "target"
            return Outcome(
                check, "not_checkable", f"The {where} could not be asked: {error.message}", {}, None, None
            )
        seconds.append(sum(result.seconds for result in answers[-1]))
    if one.limit_reached(*answers):
        for side, built in ((check.source, one), (check.target, other)):
            payload = built.totals_with_datasource(side.dataset_id)
            try:
                totals.append(side.client.chart_data(payload, force=True) if payload is not None else None)
            except SupersetError:
                totals.append(None)
    verdict = queries.compare(answers[0], answers[1], one, totals=tuple(totals) if len(totals) == 2 else None)
    return Outcome(check, verdict.status, verdict.reason, verdict.details, seconds[0], seconds[1])


def _built(side: Side, now: datetime) -> queries.Built | queries.NotCheckable:
    form_data = render_chart(side.chart.body, RenderContext(side.reading.ids, ""))["params"]
    form_data.setdefault("viz_type", side.chart.body.get("viz_type"))
    facts = queries.DatasetFacts.from_mapping(side.dataset.body)
    return queries.build_queries(form_data, facts, now=now, row_limit_cap=ROW_CAP)


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
