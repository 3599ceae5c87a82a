"""Plugins and plans: what their checks say of a plan, and which of their jobs follow plans and verifications."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from environments.canonical.documents import Document
from environments.for_plugins import as_place
from sstools.jobs.models import Job, State
from sstools.jobs.runner import JobContext
from sstools.plugins import host, running, services
from sstools.plugins.extension import Event
from sstools.plugins.models import Plugin
from sstools.resources import resource_name

from .engine.checks import Problem, Severity
from .engine.plan import Plan as EnginePlan
from .models import Migration, Run, RunState
from .promotions import PROMOTE
from .services import APPLY

MAKE_PLAN, VERIFY = "migrations_app.make_plan", "migrations_app.verify_run"
MOST_FINDINGS = 500  # of one check in one plan
TEXT_LENGTH = 1000


def plan_problems(migration: Migration, plan: EnginePlan, ctx: JobContext) -> list[Problem]:
    """What plugins that are enabled on the target say of a plan, each in a process of its own. One that fails or takes
    too long is a warning that its check could not be made; it never takes the plan with it. Raises JobCancelled.
    """
    return [
        problem
        for plugin in services.enabled_on(resource_name(migration.target))
        for check in plugin.manifest["plan_checks"]
        for problem in _checked(plugin, check, migration, plan, ctx)
    ]


def _checked(
    plugin: Plugin, check: dict[str, Any], migration: Migration, plan: EnginePlan, ctx: JobContext
) -> Iterator[Problem]:
    ctx.step(f"{plugin}: {check['title']}")
    given = {
        "settings": services.settings_of(plugin),
        "source": as_place(migration.source) if migration.source is not None else None,
        "target": as_place(migration.target),
        "items": [
            {
                "kind": item.kind.value,
                "uuid": item.uuid,
                "target_uuid": item.target_uuid,
                "title": item.title,
                "action": item.action.value,
                "wanted": _body(item.wanted),
                "present": _body(item.present),
            }
            for item in plan.items
        ],
    }
    try:
        found = host.call(
            plugin.found,
            "plan_check",
            item=check["name"],
            given=given,
            seconds=float(check["seconds"]),
            secrets=services.secrets_of(plugin),
            still_wanted=ctx.checkpoint,
        )
    except host.PluginFailed as failed:
        services.note_failure(plugin, f"plan check {check['name']}", failed)
        ctx.log("warning", f"{plugin}: {check['title']}: {failed.message}\n{failed.trace}".strip())
        yield Problem(
            Severity.WARNING,
            "plugin_check_failed",
            "",
            f"The check “{check['title']}” of the plugin {plugin} could not be made: {failed.message}"[
                :TEXT_LENGTH
            ],
            "Nothing is known of what it looks for. Mend or disable the plugin, then plan again.",
        )
        return
    known = {item.uuid for item in plan.items}
    for one in found[:MOST_FINDINGS]:
        uuid = one["uuid"] if one["uuid"] in known else ""
        severity = Severity(one["severity"]) if one["severity"] in set(Severity) else Severity.WARNING
        code = f"plugin.{plugin.name}.{one['code']}"[:200]
        yield Problem(severity, code, uuid, str(one["text"])[:TEXT_LENGTH], str(one["remedy"])[:TEXT_LENGTH])
    if len(found) > MOST_FINDINGS:
        text = f"“{check['title']}” of the plugin {plugin} found {len(found) - MOST_FINDINGS} more."
        yield Problem(Severity.WARNING, "plugin_more_findings", "", text)


def _body(document: Document | None) -> Any:
    return document.body if document is not None else None


def job_ended(job: Job) -> None:
    """Have the jobs of plugins follow a plan that was made, or charts that were verified, for who asked for that."""
    if job.state != State.SUCCEEDED:
        return
    if job.kind in (MAKE_PLAN, PROMOTE):
        rows = Migration.objects.select_related("target", "plan")
        migration = rows.filter(uuid=job.params.get("migration")).first()
        if migration is not None and migration.plan is not None:
            told: dict[str, Any] = {"migration": migration.number, "plan": migration.plan.hash}
            _follow(Event.PLAN_MADE, migration, told, job)
    elif job.kind in (APPLY, VERIFY):
        runs = Run.objects.select_related("migration__target").filter(number=job.params.get("run"))
        run = runs.first()
        if run is not None and run.state == RunState.APPLIED and run.verdict_counts:
            told = {"migration": run.migration.number, "run": run.number, "verdicts": run.verdict_counts}
            _follow(Event.RUN_VERIFIED, run.migration, told, job)


def _follow(event: Event, migration: Migration, told: dict[str, Any], job: Job) -> None:
    target = migration.target
    running.follow(event, {**told, "target": target.slug}, scope=resource_name(target), actor=job.actor)
