"""The last step: a run at work, what came of it, the verdict on every chart, and the way back."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.db.models import Case, IntegerField, Value, When
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from migrations_app import bystanders, leftovers, run_page, services
from migrations_app.models import Migration, Run, RunState, StepState
from sstools.errors import Conflict, Invalid
from sstools.jobs.models import UNFINISHED, Job
from sstools.texts import counted
from sstools.web.htmx import go_to, render_page, wants_fragment

from . import beside
from .common import KIND_LABELS, find_migration, page_context, superset_link, superset_links
from .progress import find_run, log_context, run_context

PAGE_SIZE = 50
MOST_LOSSES = 100
VERDICTS = ("failed", "differs", "failed_on_both", "not_checkable", "ok")
PURPOSES = (
    ("sign_in", "sign in"),
    ("read", "read"),
    ("write", "write"),
    ("warehouse", "ask the connections"),
    ("verify", "verify"),
)


@require_safe
@login_required
def migration_verify(request: HttpRequest, number: int) -> HttpResponse:
    """The last run, or ?run=; verdicts by ?status=, ?q=, ?page=."""
    migration = find_migration(request, number)
    chosen = request.GET.get("run", "")
    if not migration.runs.exists():
        return go_to(request, "migrations_app:detail", migration.number)
    run = find_run(migration, int(chosen) if chosen.isdecimal() and len(chosen) < 12 else None)
    if wants_fragment(request) and "verifying" in request.GET:  # asked until the new verdicts are there
        at_work = _verifying_again(run) or run_page.looking(run)
        return go_to(request, run) if at_work is None else HttpResponse(status=204)
    if wants_fragment(request) and request.htmx.target == "verdicts":  # type: ignore[attr-defined]
        return render_page(
            request,
            "migrations_app/verify.html",
            "migrations_app/_verdicts.html",
            _verdicts(request, migration, run),
        )
    return verify_page(request, migration, run)


def verify_page(
    request: HttpRequest,
    migration: Migration,
    run: Run,
    more: dict[str, Any] | None = None,
    status: int = 200,
) -> HttpResponse:
    context = {
        **page_context(request, migration, "verify"),
        **run_context(request, migration, run),
        **log_context(run),
        "runs": list(migration.runs.order_by("-number").only("number", "state", "created_at")[:20]),
        "plan": run.plan,
    }
    if run.is_finished:
        context |= (
            _result(request, run)
            | _written(request, migration, run)
            | _verdicts(request, migration, run)
            | _bystanders(run)
            | {
                "came_along": beside.written(run),
                "embedded": run_page.embedded(run),
                "losses": run.plan.losses[:MOST_LOSSES],
                "losses_left": max(0, len(run.plan.losses) - MOST_LOSSES),
            }
        )
    return render_page(
        request, "migrations_app/verify.html", None, {**context, **(more or {})}, status=status
    )


@require_POST
@login_required
def migration_rollback(request: HttpRequest, number: int) -> HttpResponse:
    """Make the migration that undoes a run, plan it, and go there. Twice gives the same one."""
    migration = find_migration(request, number)
    run = find_run(migration, _run_number(request))
    try:
        rollback = services.create_rollback(run, actor=request.user)
        if rollback.plan is None:
            services.request_plan(rollback, actor=request.user)
    except Conflict as error:
        return verify_page(request, migration, run, {"problem": error}, error.status)
    return go_to(request, "migrations_app:plan", rollback.number)


@require_POST
@login_required
def migration_verify_again(request: HttpRequest, number: int) -> HttpResponse:
    migration = find_migration(request, number)
    run = find_run(migration, _run_number(request))
    try:
        services.request_verification(run, actor=request.user)
    except Conflict as error:
        return verify_page(request, migration, run, {"problem": error}, error.status)
    messages.info(request, "The charts are asked again.")
    return go_to(request, "migrations_app:verify", migration.number)


@require_POST
@login_required
def migration_retry_rest(request: HttpRequest, number: int) -> HttpResponse:
    """Make the migration that writes what a run did not, plan it, and go there. Twice gives the same one."""
    migration = find_migration(request, number)
    run = find_run(migration, _run_number(request))
    try:
        rest = leftovers.retry_rest(run, actor=request.user)
        if rest.plan is None:
            services.request_plan(rest, actor=request.user)
    except (Conflict, Invalid) as error:
        return verify_page(request, migration, run, {"problem": error}, error.status)
    return go_to(request, "migrations_app:plan", rest.number)


@require_POST
@login_required
def migration_look_again(request: HttpRequest, number: int) -> HttpResponse:
    """See what of a run is on the target by now; its page then shows the corrected lists."""
    migration = find_migration(request, number)
    run = find_run(migration, _run_number(request))
    try:
        leftovers.look_again(run, actor=request.user)
    except Conflict as error:
        return verify_page(request, migration, run, {"problem": error}, error.status)
    messages.info(request, f"{migration.target} is asked what is there.")
    return go_to(request, run)


@require_POST
@login_required
def migration_accept(request: HttpRequest, number: int) -> HttpResponse:
    """Leave the target as a run left it; `comment` says why."""
    migration = find_migration(request, number)
    run = find_run(migration, _run_number(request))
    try:
        leftovers.accept(run, actor=request.user, comment=request.POST.get("comment", ""))
    except Conflict as error:
        return verify_page(request, migration, run, {"problem": error}, error.status)
    messages.success(
        request, f"Run {run.number} is left as it is. Nothing was written to {migration.target}."
    )
    return go_to(request, run)


def _run_number(request: HttpRequest) -> int | None:
    text = request.POST.get("run", "")
    return int(text) if text.isdecimal() and len(text) < 12 else None


def _verifying_again(run: Run) -> Job | None:
    rows = Job.objects.filter(kind=services.VERIFY, params={"run": run.number}, state__in=UNFINISHED)
    return rows.first()


# --- The result -----------------------------------------------------------------------------------------------------
def _result(request: HttpRequest, run: Run) -> dict[str, Any]:
    rollbacks = list(run.rollbacks.order_by("-number")[:1])
    again = _verifying_again(run)
    failed = next((step for step in run.steps.all() if step.state == StepState.FAILED), None)
    seconds = (
        (run.finished_at - run.started_at).total_seconds() if run.finished_at and run.started_at else None
    )
    written, rest = run_page.written_and_rest(run)
    ways = [action for action in run_page.ways_on(run, request.user) if action.is_post]
    accept = reverse("migrations_app:accept", args=[run.migration_id])
    return {
        "headline": run_page.headline(run, len(written), len(rest)),
        "listings": run_page.listings(run, written, rest),
        "actions": [action for action in ways if action.url != accept],
        "accepting": next((action for action in ways if action.url == accept), None),
        "looking": run_page.looking(run) if run.state == RunState.NEEDS_ATTENTION else None,
        "continuation": run.continuations.order_by("-number").first(),
        "rollback": rollbacks[0] if rollbacks else None,
        "verifying_again": again,
        "failed_step": failed,
        "run_seconds": seconds,
        "requests": [(label, run.requests[name]) for name, label in PURPOSES if run.requests.get(name)],
        "request_total": sum(value for value in run.requests.values() if isinstance(value, int)),
        "can_be_verified": run.state == RunState.APPLIED and not run.migration.maps_nothing,
    }


def _bystanders(run: Run) -> dict[str, Any]:
    """Charts outside the plan, the red ones first; and how many more were not asked."""
    rows = list(run.bystanders.all())
    if not rows:
        return {"bystanders": []}
    order = [*VERDICTS, "was_broken", ""]
    rows.sort(key=lambda row: (order.index(row.status), row.title.casefold()))
    links = superset_links(run.migration.target, [row.uuid for row in rows])
    for row in rows:
        row.link = links.get(row.uuid, "")  # type: ignore[attr-defined]
    return {
        "bystanders": rows,
        "red_count": run.verdict_counts.get("failed", 0) + sum(row.status == "failed" for row in rows),
        "bystanders_left_out": max(0, len(bystanders.charts_of(run.plan)) - len(rows)),
        "bystanders_most": bystanders.MOST,
    }


# --- What was written -----------------------------------------------------------------------------------------------
def _written(request: HttpRequest, migration: Migration, run: Run) -> dict[str, Any]:
    """Every asset that the plan wrote, and whether it was read back as planned: unequal ones first, then charts that
    Superset turned into another type.
    """
    equal = set(run.written)
    converted = {chart["uuid"]: chart for chart in run_page.converted(run)}
    rows: list[dict[str, Any]] = [
        {
            "kind": kind,
            "uuid": uuid,
            "target_uuid": target_uuid,
            "title": title,
            "action": action,
            "is_equal": target_uuid in equal,
            "converted": converted.get(target_uuid),
        }
        for kind, uuid, target_uuid, title, action in run.plan.items.filter(
            action__in=("create", "update", "remove")
        ).values_list("kind", "uuid", "target_uuid", "title", "action")
    ]
    kinds = list(KIND_LABELS)
    rows.sort(
        key=lambda row: (
            row["is_equal"],
            not row["converted"],
            kinds.index(row["kind"]),
            row["title"].casefold(),
        )
    )
    page = Paginator(rows, PAGE_SIZE).get_page(request.GET.get("written"))
    links = superset_links(migration.target, [row["target_uuid"] for row in page.object_list])
    sources = superset_links(migration.source, [row["uuid"] for row in page.object_list])
    for row in page.object_list:
        put_back = run.state == RunState.ROLLED_BACK and row["action"] == "create"
        row["link"] = (
            ""
            if put_back or row["action"] == "remove"
            else superset_link(migration.target, row["kind"], row["target_uuid"], links)
            or _link_soon(run, row["kind"], row["target_uuid"])
        )
        row["source_link"] = sources.get(row["uuid"], "")
    dashboards = [row for row in rows if row["kind"] == "dashboard" and row["action"] != "remove"]
    opens = dashboards[0] if run.state == RunState.APPLIED and len(dashboards) == 1 else None
    return {
        "written_page": page,
        "opens": opens and superset_link(migration.target, "dashboard", opens["target_uuid"], links),
        "equal_count": sum(row["is_equal"] and not row["converted"] for row in rows),
        "converted_count": len(converted),
        "unequal": [row for row in rows if not row["is_equal"]][:PAGE_SIZE],
        "unequal_count": sum(not row["is_equal"] for row in rows),
        "write_total": len(rows),
        "written_open": len(equal) < len(rows) or len(rows) <= 12 or "written" in request.GET,
    }


def _link_soon(run: Run, kind: str, uuid: str) -> str:
    """To what a run just wrote and no reading has seen yet: its id is looked up at the click, a moment later."""
    target = run.migration.target
    is_read = target.inventory_at is not None and run.finished_at and target.inventory_at > run.finished_at
    if run.state != RunState.APPLIED or is_read:
        return ""
    return reverse("environments:go", args=[target.slug, kind, uuid])


# --- The verdicts ---------------------------------------------------------------------------------------------------
def _verdicts(request: HttpRequest, migration: Migration, run: Run) -> dict[str, Any]:
    counts = {status: int(run.verdict_counts.get(status, 0)) for status in VERDICTS}
    order = Case(
        *(When(status=status, then=Value(rank)) for rank, status in enumerate(VERDICTS)),
        default=Value(0),
        output_field=IntegerField(),
    )
    rows = run.verdicts.annotate(rank=order).order_by("rank", "title", "pk")
    status, words = request.GET.get("status", ""), request.GET.get("q", "").strip()[:200]
    if status in VERDICTS:
        rows = rows.filter(status=status)
    if words:
        rows = rows.filter(title__icontains=words)
    page = Paginator(rows, PAGE_SIZE).get_page(request.GET.get("page"))
    found: list[Any] = list(page.object_list)
    links = superset_links(migration.target, [verdict.uuid for verdict in found])
    sources = dict(
        run.plan.items.filter(target_uuid__in=[verdict.uuid for verdict in found]).values_list(
            "target_uuid", "uuid"
        )
    )
    source_links = superset_links(migration.source, sources.values())
    for verdict in found:
        verdict.link = links.get(verdict.uuid) or _link_soon(run, "chart", verdict.uuid)
        verdict.source_link = source_links.get(sources.get(verdict.uuid, ""), "")
        verdict.rows_text = rows_text(verdict.details)
        verdict.is_slower = bool(verdict.details.get("slower"))
    return {
        "run": run,
        "migration": migration,
        "target": migration.target,
        "source": migration.source,
        "verdicts": page,
        "verdict_rows": found,
        "verdict_total": sum(counts.values()),
        "red_count": counts["failed"],
        "verdict_counts": [(name, counts[name]) for name in VERDICTS if counts[name]],
        "status": status if status in VERDICTS else "",
        "words": words,
        "live_text": counted(page.paginator.count, "chart"),
    }


def rows_text(details: dict[str, Any]) -> tuple[str, str]:
    """Rows on the source and on the target, summed over the chart's queries; empty where it is not known.

    `details` is what `engine.queries.compare` found: {"queries": [{"rows": {"source", "target"}}]}.
    """
    queries = details.get("queries") or []
    sums: list[str] = []
    for side in ("source", "target"):
        known = [query["rows"][side] for query in queries if isinstance(query["rows"][side], int)]
        sums.append(f"{sum(known):,}" if known else "")
    return sums[0], sums[1]
