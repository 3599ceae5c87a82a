"""Charts of the target outside the plan that stand on what a run changes: they ran before, so they must run after.

There is no source to hold them against. Each is asked on the target before the first write and again when the charts
of the plan are verified: one that ran and no longer does is red, as is one that lost a column.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

from django.utils import timezone

from environments.canonical.dashboards import chart_uuids
from environments.canonical.documents import Kind
from environments.models import Asset, Environment
from environments.reading import read_selected
from environments.store import EnvironmentReading, get_documents
from environments.superset.client import SupersetClient
from environments.superset.errors import SupersetError
from sstools.jobs.runner import JobContext

from .asking_charts import PARALLEL, Side, build, side_of
from .engine import queries
from .models import Bystander, Plan, Run

#: Charts that are asked, at most; a dataset that half an estate stands on must not hold up a run for an hour.
MOST = 50
#: Of a repair or a replacement: they are what it is for.
MOST_MENDED = 300
#: Rows that are asked for: whether it runs, and with which columns, the first one tells.
ROWS = 10

RAN, BROKEN, UNKNOWN = "ok", "failed", "not_checkable"
Found = dict[str, Any]  # {"status", "reason", "columns": [names of each query], "seconds"}
IdsOf = Callable[[Environment, Sequence[str]], dict[Kind, set[int]]]


def charts_of(plan: Plan) -> list[tuple[str, str]]:
    """(uuid, title) of every chart that the plan touches without writing it, by title: what stands on what it changes,
    and of a repair what its dashboards show, of a replacement also those that it writes: there is no source to hold
    them against but themselves.
    """
    found = {row["uuid"]: str(row["title"]) for row in plan.affected if row["kind"] == Kind.CHART.value}
    if plan.migration.is_repair:
        items = plan.items.filter(action="update", wanted__isnull=False)
        documents = get_documents(sha for sha in items.values_list("wanted_id", flat=True) if sha)
        shown = {uuid for item in documents.values() for uuid in chart_uuids(item.body["position"])}
        charts = Asset.objects.filter(
            environment=plan.migration.target, kind=Kind.CHART.value, uuid__in=shown
        )
        found |= dict(charts.values_list("uuid", "title"))
    if plan.migration.is_replacement:
        found |= dict(
            plan.items.filter(action="update", kind=Kind.CHART.value).values_list("target_uuid", "title")
        )
    return sorted(found.items(), key=lambda pair: (pair[1].casefold(), pair[0]))


def ask_before(
    plan: Plan, client: SupersetClient, reading: EnvironmentReading, ids_of: IdsOf
) -> list[Bystander]:
    """Unsaved rows with what each chart answers now, MOST of them; for `run` to be set. Never raises SupersetError."""
    chosen = charts_of(plan)[: MOST_MENDED if plan.migration.changes_own else MOST]
    found = _ask(plan.migration.target, client, reading, [uuid for uuid, _ in chosen], ids_of)
    return [
        Bystander(uuid=uuid, title=title[:500], viz_type=viz_type[:250], before=answer)
        for (uuid, title), (viz_type, answer) in zip(chosen, found, strict=True)
    ]


def verify(
    run: Run, ctx: JobContext, client: SupersetClient, reading: EnvironmentReading, ids_of: IdsOf
) -> dict[str, int]:
    """Ask those of a run again and keep a verdict for each. Returns how many have which status; empty where none was
    asked before. Never raises SupersetError.
    """
    rows = list(run.bystanders.all())
    found = _ask(run.migration.target, client, reading, [row.uuid for row in rows], ids_of)
    for row, (_, answer) in zip(rows, found, strict=True):
        row.after = answer
        row.status, row.reason = verdict(row.before, answer)
        if row.status == BROKEN:
            whose = "" if run.migration.changes_own else ", outside the plan"
            ctx.log("error", f"{row.title}{whose}: {row.reason}")
    with ctx.fenced():
        Bystander.objects.bulk_update(rows, ["after", "status", "reason"])
    return dict(Counter(row.status for row in rows))


def verdict(before: Found, after: Found) -> tuple[str, str]:
    """(status, reason): ok, failed (it ran before), was_broken, not_checkable.

    >>> ran = {"status": "ok", "reason": "", "columns": [["region", "n"]], "seconds": 0.1}
    >>> verdict(ran, {**ran, "columns": [["region"]]})
    ('failed', 'It answers without the column n.')
    """
    if before["status"] == UNKNOWN or after["status"] == UNKNOWN:
        return UNKNOWN, before["reason"] if before["status"] == UNKNOWN else after["reason"]
    if before["status"] == BROKEN:
        if after["status"] == BROKEN:
            return "was_broken", f"It was broken before: {after['reason']}"
        return RAN, "It was broken before, and runs now."
    if after["status"] == BROKEN:
        return BROKEN, f"It ran before: {after['reason']}"
    if len(before["columns"]) != len(after["columns"]):
        return BROKEN, "It answers another number of queries."
    lost = [
        name
        for old, new in zip(before["columns"], after["columns"], strict=True)
        for name in old
        if name not in new
    ]
    if lost:
        noun = "column" if len(lost) == 1 else "columns"
        return BROKEN, f"It answers without the {noun} {', '.join(lost[:5])}."
    return RAN, ""


# --- Asking ---------------------------------------------------------------------------------------------------


def _ask(
    environment: Environment,
    client: SupersetClient,
    reading: EnvironmentReading,
    uuids: Sequence[str],
    ids_of: IdsOf,
) -> list[tuple[str, Found]]:
    """(viz type, what was found) of each chart, in their order."""
    if not uuids:
        return []
    problem = ""
    missing = [uuid for uuid in uuids if uuid not in reading.documents]
    if missing and not reading.complete:
        try:
            reading = read_selected(client, environment, ids_of(environment, uuids))
        except SupersetError as error:
            problem = error.message
    now = timezone.now()

    def one(uuid: str) -> tuple[str, Found]:
        if problem:
            return "", _unknown(problem)
        side = side_of(environment.name, client, reading, uuid)
        if isinstance(side, str):
            return "", _unknown(side)
        return str(side.chart.body.get("viz_type") or ""), _answer(side, now)

    with ThreadPoolExecutor(max_workers=PARALLEL) as pool:
        return list(pool.map(one, uuids))


def _answer(side: Side, now: datetime) -> Found:
    """Runs in a thread: no database in here."""
    built = build(side, now, {}, row_cap=ROWS)
    if isinstance(built, queries.NotCheckable):
        return _unknown(built.reason)
    try:
        results = side.client.chart_data(built.with_datasource(side.dataset_id), force=True)
    except SupersetError as error:
        return _unknown(f"It could not be asked: {error.message}")
    failed = next((result for result in results if result.status != "success"), None)
    seconds = round(max((result.seconds for result in results), default=0.0), 3)
    if failed is not None:
        return {**_found(BROKEN, queries.explain(failed.error or failed.status)), "seconds": seconds}
    return {**_found(RAN, ""), "columns": [list(result.columns) for result in results], "seconds": seconds}


def _found(status: str, reason: str) -> Found:
    return {"status": status, "reason": reason[:1000], "columns": [], "seconds": None}


def _unknown(reason: str) -> Found:
    return _found(UNKNOWN, reason)
