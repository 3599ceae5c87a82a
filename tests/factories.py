"""Rows for tests, as the product itself would leave them: plain typed functions, each with a realistic default."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from django.utils import timezone

from environments.canonical.documents import Document, Kind
from environments.models import Asset, Environment, Reason, Snapshot
from environments.store import put_documents
from migrations_app.engine.plan import Action
from migrations_app.models import (
    Migration,
    MigrationState,
    Plan,
    PlanItem,
    Run,
    RunState,
    RunStep,
    StepState,
    Verdict,
)
from sstools.jobs.models import Job
from sstools.jobs.models import State as JobState

_numbers = itertools.count(1)


def uuid_for(name: str) -> str:
    """The same uuid for the same name, so that tests can speak of assets by name."""
    return str(uuid5(NAMESPACE_URL, f"https://tests.example/{name}"))


# --- Environments ---------------------------------------------------------------------------------------------------
def make_environment(slug: str = "", *, protected: bool = False, **fields: Any) -> Environment:
    slug = slug or f"env-{next(_numbers)}"
    position = {"dev": 1, "stage": 2, "prod": 3}.get(slug, 0)
    defaults: dict[str, Any] = {
        "name": slug.replace("-", " ").title(),
        "tag": slug.upper()[:12],
        "url": f"https://{slug}.example.org",
        "position": position,
        "colour": {1: "dev", 2: "stage", 3: "prod"}.get(position, "test"),
        "version": "6.1.0",
    }
    made: Environment = Environment.objects.create(slug=slug, protected=protected, **{**defaults, **fields})
    return made


def make_asset(environment: Environment, kind: str, title: str, **fields: Any) -> Asset:
    """An asset as the inventory lists it; its uuid follows from the title unless given."""
    number = next(_numbers)
    paths = {
        "dashboard": f"/superset/dashboard/{number}/",
        "chart": f"/explore/?slice_id={number}",
        "dataset": f"/explore/?datasource_type=table&datasource_id={number}",
    }
    defaults: dict[str, Any] = {
        "uuid": uuid_for(title),
        "superset_id": number,
        "changed_on": timezone.now() - timedelta(hours=number),
        "changed_by": "Irina Petrova",
        "last_seen_at": timezone.now(),
        "url_path": paths.get(kind, ""),
        "viz_type": "echarts_timeseries_bar" if kind == "chart" else "",
    }
    asset = Asset(environment=environment, kind=kind, title=title, **{**defaults, **fields})
    asset.fill_derived()
    asset.save()
    return asset


def tag_asset(environment: Environment, title: str, *tags: str) -> None:
    """As a reading that found these tags leaves it."""
    for asset in environment.assets.filter(title=title):
        asset.tags = list(tags)
        asset.fill_derived()
        asset.save()
    known = {*environment.asset_tags, *tags}
    environment.asset_tags = sorted(known)
    environment.save(update_fields=["asset_tags"])


def make_estate(environment: Environment, dashboards: int = 2, charts: int = 3) -> dict[str, Asset]:
    """Dashboards of `charts` charts each, all charts of a dashboard over one dataset, all in one database. By title."""
    made = [make_asset(environment, "database", "DWH", backend="postgresql")]
    for one in range(1, dashboards + 1):
        dashboard = make_asset(environment, "dashboard", f"Sales {one}", slug=f"sales-{one}", published=True)
        dataset = make_asset(
            environment,
            "dataset",
            f"sales_fact_{one}",
            schema="dwh",
            database_uuid=made[0].uuid,
            is_virtual=False,
        )
        made += [dashboard, dataset]
        made += [
            make_asset(
                environment,
                "chart",
                f"Revenue {one}.{two}",
                dataset_uuid=dataset.uuid,
                database_uuid=made[0].uuid,
                dashboard_uuids=[dashboard.uuid],
            )
            for two in range(1, charts + 1)
        ]
    return {asset.title: asset for asset in made}


# --- Migrations and plans -------------------------------------------------------------------------------------------
def make_migration(
    source: Environment | None = None, target: Environment | None = None, *, actor: Any = None, **fields: Any
) -> Migration:
    """A draft from dev to prod with one dashboard selected."""
    source = source or Environment.objects.filter(slug="dev").first() or make_environment("dev")
    target = (
        target or Environment.objects.filter(slug="prod").first() or make_environment("prod", protected=True)
    )
    defaults: dict[str, Any] = {
        "title": "Q4 finance fixes",
        "source_place": f"env:{source.slug}",
        "source": source,
        "selection": [uuid_for("Sales 1")],
        "created_by": actor,
    }
    return Migration.objects.create(target=target, **{**defaults, **fields})


def chart_document(title: str, metric: str = "SUM(amount)", **body: Any) -> Document:
    content = {
        "slice_name": title,
        "viz_type": "echarts_timeseries_bar",
        "dataset_uuid": uuid_for("sales_fact_1"),
        "params": {"metrics": [metric], "row_limit": 1000, "time_range": "Last quarter"},
        "query_context": None,
        "description": None,
    }
    return Document(Kind.CHART, uuid_for(title), {**content, **body})


def make_item(
    plan: Plan, kind: str, title: str, action: str | Action, *, position: int | None = None, **fields: Any
) -> PlanItem:
    """One line of a plan. An update of a chart gets both documents and a change of its metric."""
    action = str(action)
    values: dict[str, Any] = {
        "uuid": uuid_for(title),
        "target_uuid": uuid_for(title),
        "reasons": [],
        "changes": [],
    }
    if kind == "chart" and action in ("create", "update", "keep"):
        wanted = chart_document(title, "SUM(net_amount)")
        documents = [wanted]
        if action != "create":
            documents.append(chart_document(title))
            values["present_id"] = documents[1].fingerprint
            values["changes"] = [
                {
                    "path": ["params", "metrics"],
                    "before": ["SUM(amount)"],
                    "after": ["SUM(net_amount)"],
                    "sentence": "metrics: SUM(amount) → SUM(net_amount)",
                },
                {
                    "path": ["params", "row_limit"],
                    "before": 1000,
                    "after": None,
                    "sentence": "row limit: 1000 removed",
                },
            ]
        put_documents(documents)
        values["wanted_id"] = wanted.fingerprint
    position = plan.items.count() if position is None else position
    return PlanItem.objects.create(
        plan=plan, kind=kind, title=title, action=action, position=position, **{**values, **fields}
    )


def conflict(code: str = "drifted", **fields: Any) -> dict[str, Any]:
    """What the engine says of a conflict, in JSON."""
    options = {
        "drifted": ["keep", "take", "leave_out"],
        "diverged": ["keep", "take", "leave_out"],
        "slug_taken": ["adopt", "rename", "leave_out"],
        "table_taken": ["adopt", "keep", "rename", "leave_out"],
        "doubled": ["rename", "leave_out"],
        "in_use": ["keep", "take"],
    }[code]
    texts = {
        "drifted": "The target's was edited by J. Doe on 2026-11-20 09:40 UTC after the last run.",
        "diverged": "Edited on both sides since the last run: the target's by J. Doe.",
        "slug_taken": "The slug “sales” belongs to another dashboard of the target, “Sales (old)”.",
    }
    return {
        "code": code,
        "text": texts.get(code, "The target has another dataset on dwh.sales_fact, “sales_fact”."),
        "options": options,
        "other_uuid": uuid_for("other"),
        "other_title": "Sales (old)",
        "who": "J. Doe",
        "when": "2026-11-20T09:40:00+00:00",
        **fields,
    }


def database_row(name: str = "DWH", target: str = "", **fields: Any) -> dict[str, Any]:
    """What a plan says of one source database."""
    choice = {"uuid": uuid_for("DWH_PROD"), "name": "DWH_PROD", "backend": "postgresql"}
    return {
        "uuid": uuid_for(name),
        "name": name,
        "backend": "postgresql",
        "dataset_count": 2,
        "datasets": ["geo", "sales_fact_1"],
        "schemas": ["dwh"],
        "catalogs": ["dev"],
        "target": target,
        "target_name": "DWH_PROD" if target else "",
        "default_catalog": "prod" if target else None,
        "choices": [
            choice,
            {"uuid": uuid_for("ClickHouse"), "name": "ClickHouse", "backend": "clickhousedb"},
        ],
        "suggestions": []
        if target
        else [
            {
                **choice,
                "score": 94,
                "reason": "postgresql as the source, name 100 % alike, 2 of 2 tables found",
                "tables_found": 2,
                "tables_needed": 2,
                "reached": True,
            }
        ],
        **fields,
    }


def make_plan(
    migration: Migration,
    items: Iterable[tuple[str, str, str] | tuple[str, str, str, dict[str, Any]]] | None = None,
    **fields: Any,
) -> Plan:
    """The current plan of a migration: `items` are (kind, title, action[, fields])."""
    number = next(_numbers)
    defaults: dict[str, Any] = {
        "hash": f"{number:064x}",
        "databases": [database_row(target=uuid_for("DWH_PROD"))],
        "losses": [{"uuid": "", "code": "owners", "text": "Owners: those of the target stay."}],
        "request_count": 7,
    }
    plan = Plan.objects.create(migration=migration, **{**defaults, **fields})
    rows: Sequence[Any] = (
        (
            ("dataset", "sales_fact_1", "unchanged"),
            ("chart", "Revenue 1.1", "update"),
            ("chart", "Revenue 1.2", "create"),
            ("dashboard", "Sales 1", "update"),
        )
        if items is None
        else tuple(items)
    )
    counts = dict.fromkeys((action.value for action in Action), 0)
    for position, (kind, title, action, *more) in enumerate(rows):
        make_item(plan, kind, title, action, position=position, **(more[0] if more else {}))
        counts[str(action)] += 1
    plan.counts = counts
    plan.save()
    migration.plan = plan
    migration.state = MigrationState.PLANNED
    migration.save()
    return plan


def make_job(kind: str = "migrations_app.make_plan", state: str = JobState.RUNNING, **fields: Any) -> Job:
    now = timezone.now()
    times = {} if state == JobState.QUEUED else {"started_at": now - timedelta(seconds=12)}
    if state in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED):
        times["finished_at"] = now
    return Job.objects.create(kind=kind, state=state, **{"title": "A job of a test", **times, **fields})


# --- Runs -----------------------------------------------------------------------------------------------------------
def make_run(migration: Migration, state: str = RunState.APPLIED, *, actor: Any = None, **fields: Any) -> Run:
    """A run of the migration's plan with its steps, as far as `state` says; the migration follows."""
    plan = migration.plan or make_plan(migration)
    now = timezone.now()
    finished = state in (RunState.APPLIED, RunState.ROLLED_BACK, RunState.STOPPED, RunState.NEEDS_ATTENTION)
    writing = [item for item in plan.items.all() if item.action in ("create", "update", "remove")]
    wrote = state in (RunState.APPLIED, RunState.VERIFYING)
    values: dict[str, Any] = {
        "started_at": now - timedelta(seconds=40),
        "finished_at": now if finished else None,
        "looked_at": now if finished and state != RunState.STOPPED else None,
        "written": [item.target_uuid for item in writing] if wrote else [],
        "unwritten": [] if wrote else [item.target_uuid for item in writing],
        "created": [item.target_uuid for item in writing if item.action == "create"] if wrote else [],
        "requests": {"sign_in": 4, "read": 4, "write": 1, "warehouse": 3, "verify": 6},
        "created_by": actor,
    }
    if state != RunState.STOPPED and "restore_point" not in fields:
        values["restore_point"] = Snapshot.objects.create(
            environment=migration.target, reason=Reason.RESTORE_POINT, complete=False, exported_at=now
        )
    run = Run.objects.create(migration=migration, plan=plan, state=state, **{**values, **fields})
    steps: tuple[tuple[str, str, dict[str, int]], ...] = (
        ("check", "Check that nothing moved since the plan", {"read": 4, "moved": 0}),
        ("restore_point", "Take the restore point", {"snapshot": 1, "assets": len(writing)}),
        ("write", f"Write {len(writing)} assets", {"imported": len(writing)}),
        ("read_back", "Read back and compare with the plan", {"equal": len(writing), "different": 0}),
        ("verify", "Verify each chart on source and target", {}),
    )
    order = ("waiting", "restore_point", "writing", "reading_back", "verifying")
    begun = order.index(state) if state in order else 1 if state == RunState.STOPPED else len(steps)
    for position, (name, title, result) in enumerate(steps[: begun + 1 if not finished and begun else begun]):
        is_done = position < begun
        RunStep.objects.create(
            run=run,
            position=position,
            name=name,
            title=title,
            state=StepState.DONE if is_done else StepState.RUNNING,
            started_at=now - timedelta(seconds=40 - 8 * position),
            finished_at=now - timedelta(seconds=33 - 8 * position) if is_done else None,
            result=result if is_done else {},
        )
    migration.state = {
        RunState.APPLIED: MigrationState.DONE,
        RunState.VERIFYING: MigrationState.VERIFYING,
        RunState.ROLLED_BACK: MigrationState.ROLLED_BACK,
        RunState.STOPPED: MigrationState.PLANNED,
        RunState.NEEDS_ATTENTION: MigrationState.NEEDS_ATTENTION,
    }.get(RunState(state), MigrationState.APPLYING)
    migration.save()
    return run


def make_verdict(run: Run, title: str = "Revenue 1.1", status: str = "ok", **fields: Any) -> Verdict:
    reasons = {
        "differs": "Rows: 120 on the source, 118 on the target.",
        "failed": "Superset said: unknown column net_amount.",
        "not_checkable": "The chart type deck_polygon has no query that can be built from its form.",
    }
    defaults: dict[str, Any] = {
        "uuid": uuid_for(title),
        "viz_type": "echarts_timeseries_bar",
        "reason": reasons.get(status, ""),
        "details": {
            "slower": False,
            "queries": [{"rows": {"source": 120, "target": 118 if status == "differs" else 120}}],
        }
        if status in ("ok", "differs")
        else {},
        "source_seconds": 0.84,
        "target_seconds": 0.91,
    }
    verdict = Verdict.objects.create(run=run, title=title, status=status, **{**defaults, **fields})
    counts = dict(run.verdict_counts)
    counts[status] = counts.get(status, 0) + 1
    run.verdict_counts = counts
    run.save()
    return verdict
