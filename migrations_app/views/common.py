"""What every page of one migration needs: finding it, its steps, what the reader may do, the job in the background."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urljoin

from django.http import HttpRequest
from django.urls import reverse

from environments.models import Asset, Environment
from migrations_app import gates, promotions, services
from migrations_app.models import Migration, MigrationState, Run, RunState
from sstools.jobs import services as jobs
from sstools.jobs import steps as job_steps
from sstools.jobs.models import Job
from sstools.jobs.models import State as JobState
from sstools.jobs.pages import Step
from sstools.roles import policy
from sstools.roles.permissions import Permission

KINDS = ("dashboard", "chart", "dataset", "database")
KIND_LABELS = {"dashboard": "Dashboards", "chart": "Charts", "dataset": "Datasets", "database": "Databases"}
_STEPS = (
    ("select", "Select"),
    ("map", "Map"),
    ("plan", "Plan"),
    ("approve", "Approve"),
    ("apply", "Apply"),
    ("verify", "Verify"),
)
_APPROVAL = {"given": "done", "waiting": "blocked", "rejected": "failed"}  # else as it is called


def find_migration(request: HttpRequest, number: int) -> Migration:
    """Raises NotFoundError for what is absent or not visible, which the middleware shows as 404."""
    return services.find_migration(number, request.user)


# --- Rights ---------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Right:
    """Whether somebody may do something; if not, `reason` names the missing right and the roles that have it."""

    allowed: bool
    reason: str = ""

    def __bool__(self) -> bool:
        return self.allowed


def right(user: Any, permission: Permission, environment: Environment) -> Right:
    if policy.can(user, permission, environment):
        return Right(True)
    return Right(False, policy.explain(user, permission, environment).sentence)


def _right_to_plan(user: Any, migration: Migration) -> Right:
    """Planning reads the source: who may not look there may not have it read."""
    if migration.source is not None and not (
        sees := right(user, Permission.ENVIRONMENT_VIEW, migration.source)
    ):
        return sees
    return right(user, Permission.MIGRATION_PLAN, migration.target)


def right_to_apply(user: Any, migration: Migration) -> Right:
    permission = Permission.MIGRATION_ROLLBACK if migration.is_rollback else Permission.MIGRATION_APPLY
    return right(user, permission, migration.target)


# --- The job in the background --------------------------------------------------------------------------------------
def planning_job(migration: Migration) -> Job | None:
    """The job that makes the next plan, or the last try if that failed and no plan came after it."""
    job = migration.job
    if job is None or job.kind not in (services.PLAN, promotions.PROMOTE) or not migration.is_open:
        return None
    if job.state == JobState.NEEDS_INPUT:
        return None  # its plan is there, and what it asks is asked there
    if not job.is_finished:
        return job
    if job.state == JobState.SUCCEEDED:
        return None
    plan = migration.plan
    return job if plan is None or plan.created_at < job.created_at else None


def promotion_of(migration: Migration) -> Job | None:
    """The job that plans and applies it, while it asks or after it failed; what it asks is asked on these pages."""
    job = migration.job
    if job is None or job.kind != promotions.PROMOTE or not migration.is_open:
        return None
    return job if job.state in (JobState.NEEDS_INPUT, JobState.FAILED) else None


def planning_context(request: HttpRequest, migration: Migration) -> dict[str, Any]:
    job = planning_job(migration)
    if job is None:
        return {"planning": None}
    if not job.is_finished and not job.logs.filter(is_step=True).exists():
        steps = [Step("Waiting for a worker", "waiting")]
    else:
        steps = job_steps.steps_of(job)
    return {
        "planning": job,
        "planning_steps": steps,
        "planning_failed": job.is_finished,
        "may_cancel": jobs.may_cancel(job, request.user),
        "waits_for": job.waits_for(),
    }


# --- The page around a step -----------------------------------------------------------------------------------------
def unmapped_count(migration: Migration) -> int:
    return sum(not row["target"] for row in migration.plan.databases) if migration.plan else 0


def steps_of(
    migration: Migration, current: str, has_run: bool, approval: gates.Approval | None
) -> list[dict[str, str]]:
    """The stepper: done, current, failed, blocked, or skipped where nobody has to approve; without an address where
    there is nothing to see yet.
    """
    plan = migration.plan
    unmapped = unmapped_count(migration)
    states = dict.fromkeys((name for name, _ in _STEPS), "todo") | {"select": "done"}
    notes = dict.fromkeys(states, "")
    if approval is not None:
        states["approve"] = _APPROVAL.get(approval.state, approval.state)
        notes["approve"] = approval.note
    if plan is not None:
        states["map"] = "blocked" if unmapped else "done"
        notes["map"] = f"{unmapped} open" if unmapped else ""
        stuck = plan.blocked_count or (plan.errors and not migration.override_reason)
        states["plan"] = "failed" if plan.stale_reason else "blocked" if stuck else "done"
        notes["plan"] = (
            "stale" if plan.stale_reason else f"{plan.blocked_count} blocked" if plan.blocked_count else ""
        )
    if migration.state in (MigrationState.VERIFYING, MigrationState.DONE, MigrationState.ROLLED_BACK):
        states["apply"] = "done"
    if migration.state == MigrationState.DONE:
        states["verify"] = "done"
    if migration.state == MigrationState.NEEDS_ATTENTION:
        states["apply"], states["verify"] = "failed", "failed"
    reachable = {"select", "map", "plan"}
    if plan is not None and migration.state == MigrationState.PLANNED:
        reachable.add("apply")
    if has_run:
        reachable.add("verify")
    out = []
    for name, label in _STEPS:
        if name == "map" and migration.maps_nothing:
            continue
        if name == "approve":
            if approval is None:
                continue
            url = approval.url
        else:
            url = reverse(f"migrations_app:{name}", args=[migration.number]) if name in reachable else ""
        out.append(
            {
                "label": label,
                "url": url,
                "state": "current" if name == current else states[name],
                "note": "" if name == current and name != "approve" else notes[name],
            }
        )
    return out


def page_context(request: HttpRequest, migration: Migration, step: str) -> dict[str, Any]:
    """What `migrations_app/step.html` and everything on it stands on."""
    user, target = request.user, migration.target
    last_run = migration.runs.order_by("-number").first()
    if step == "verify" and migration.state == MigrationState.APPLYING:
        step = "apply"  # the run's page shows both
    standing = gates.approval_of(migration)
    return {
        "migration": migration,
        "plan": migration.plan,
        "source": migration.source,
        "target": target,
        "step": step,
        "steps": steps_of(migration, step, last_run is not None, standing),
        "standing": standing,
        "last_run": last_run,
        "can_plan": _right_to_plan(user, migration),
        "can_apply": right_to_apply(user, migration),
        "can_prune": right(user, Permission.MIGRATION_PRUNE, target),
        "can_roll_back": right(user, Permission.MIGRATION_ROLLBACK, target),
        "unmapped": unmapped_count(migration),
        "promotion": promotion_of(migration),
        **planning_context(request, migration),
    }


def where_it_stands(migration: Migration) -> str:
    """The name of the step that a migration is at: where its bare address leads to."""
    if migration.is_busy or migration.state in (
        MigrationState.DONE,
        MigrationState.ROLLED_BACK,
        MigrationState.NEEDS_ATTENTION,
    ):
        return "verify"
    if planning_job(migration) is not None:
        return "plan"
    if migration.plan is None:
        return "select"
    return "map" if unmapped_count(migration) and not migration.maps_nothing else "plan"


# --- Links into Superset --------------------------------------------------------------------------------------------
def superset_links(environment: Environment | None, uuids: Iterable[str]) -> dict[str, str]:
    """Addresses of assets in their Superset, by uuid, for those that the inventory knows."""
    if environment is None:
        return {}
    rows = Asset.objects.filter(environment=environment, uuid__in=list(uuids)).exclude(url_path="")
    base = environment.url.rstrip("/") + "/"
    return {uuid: urljoin(base, path.lstrip("/")) for uuid, path in rows.values_list("uuid", "url_path")}


def superset_link(environment: Environment, kind: str, uuid: str, links: dict[str, str]) -> str:
    """As the inventory says. A dashboard that it does not know yet opens by uuid (superset/dashboards/api.py)."""
    if found := links.get(uuid):
        return found
    return f"{environment.url.rstrip('/')}/superset/dashboard/{quote(uuid)}/" if kind == "dashboard" else ""


def new_connection_url(environment: Environment) -> str:
    """Superset's own page for making a connection: ss-tools never sends the secrets of one."""
    return f"{environment.url.rstrip('/')}/databaseview/list/"


# --- Small things ---------------------------------------------------------------------------------------------------
def state_of(migration: Migration) -> str:
    """The state as shown: a plan that went stale shows, and so does a plan in the making."""
    if (
        migration.state == MigrationState.PLANNED
        and migration.plan is not None
        and migration.plan.stale_reason
    ):
        return "stale"
    return migration.state


def state_of_run(run: Run) -> str:
    return "waiting_for_target" if run.state == RunState.WAITING else run.state


def split_list(text: str) -> list[str]:
    """Uuids as a hidden field carries them."""
    return [part for part in (piece.strip().lower() for piece in text.split(",")) if part]


def page_of(request: HttpRequest, name: str = "page") -> str:
    return str((request.POST if request.method == "POST" else request.GET).get(name) or "1")
