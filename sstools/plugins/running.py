"""Jobs of plugins: asked for by hand, by a schedule or by an event, and done in the plugin's own process."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.db import transaction

from sstools.audit import services as audit
from sstools.errors import Invalid, NotFoundError, SSToolsError
from sstools.jobs import services as jobs
from sstools.jobs.models import Job, Source
from sstools.jobs.runner import JobContext
from sstools.resources import EVERYTHING
from sstools.roles import policy
from sstools.roles.permissions import Permission

from . import host, services, sources
from .extension import Event
from .models import Plugin, PluginResult
from .values import checked

logger = logging.getLogger(__name__)
RUN = "plugins.run"
KEPT_RESULTS = 200  # of one job of one plugin on one place
MOST_FINDINGS = 5000
MOST_ROWS = 5000


def find(name: str) -> Plugin:
    """Raises NotFoundError."""
    plugin = services.all_plugins().filter(name=name).first()
    if plugin is None:
        raise NotFoundError("The plugin was removed.")
    return plugin


def find_job(plugin: Plugin, name: str) -> dict[str, Any]:
    """What it said of one of its kinds of jobs. Raises NotFoundError."""
    job = plugin.item("jobs", name)
    if job is None:
        raise NotFoundError("The plugin has no such job any more.")
    return job


def require_run(user: Any, plugin: Plugin, kind: Mapping[str, Any], scope: str) -> None:
    """Raises NotAllowed; Conflict("plugin_off")."""
    where = None if scope == EVERYTHING else scope
    policy.require(user, Permission.PLUGIN_RUN, where)
    if kind["reads"]:
        policy.require(user, Permission.ASSET_VIEW, where)
    services.require_use(user, plugin, scope)


@transaction.atomic
def request_run(
    plugin: Plugin,
    name: str,
    *,
    scope: str = EVERYTHING,
    values: Mapping[str, Any] | None = None,
    actor: Any,
    source: str = Source.PAGE,
    idempotency_key: str | None = None,
    event: Mapping[str, Any] | None = None,
) -> Job:
    """Ask for one of a plugin's jobs, in the name of `actor`. `scope`: the environment that it works on.

    Raises NotFoundError; NotAllowed; Conflict("plugin_off"); Invalid by field.
    """
    kind = find_job(plugin, name)
    if kind["reads"] and scope == EVERYTHING:
        text = "Choose the environment that it works on."
        raise Invalid("Some values are not right.", errors={"environment": [text]})
    require_run(actor, plugin, kind, scope)
    taken, errors = checked(kind["fields"], values or {})
    if errors:
        raise Invalid("Some values are not right.", errors=errors)
    params: dict[str, Any] = {"plugin": plugin.name, "name": name, "scope": scope, "values": taken}
    if event:
        params["event"] = dict(event)
    job = jobs.enqueue(
        RUN,
        params,
        actor=actor,
        about=[plugin, *([scope] if scope != EVERYTHING else [])],
        title=f"{plugin}: {kind['title']}",
        source=source,
        idempotency_key=idempotency_key,
    )
    audit.record("plugin:run", plugin, actor=actor, data={"job": name, "on": scope}, source=source)
    return job


def run(
    ctx: JobContext, *, plugin: str, name: str, scope: str, values: dict[str, Any], event: Any
) -> dict[str, Any]:
    """Do the job. Rights are looked at again: they may have gone while it waited. Raises PluginFailed."""
    row = find(plugin)
    kind = find_job(row, name)
    actor = ctx.job.actor
    if actor is None:
        raise NotFoundError("Nobody asked for it any more: a plugin acts in somebody's name only.")
    require_run(actor, row, kind, scope)
    ctx.step("Gathering what it works on")
    place = sources.place_of(scope) if scope != EVERYTHING else None
    given = {
        "settings": services.settings_of(row),
        "values": values,
        "environment": place,
        "assets": sources.assets_of(scope, kind["reads"]) if place else [],
        "event": event or {},
        "actor": actor.get_username(),
    }
    ctx.step(f"{row} works")
    seconds = min(float(kind["seconds"]), settings.JOB_TIMEOUT_SECONDS / 2)
    try:
        answer = host.call(
            row.found,
            "job",
            item=name,
            given=given,
            seconds=seconds,
            secrets=services.secrets_of(row),
            on_line=lambda line: _tell(ctx, line),
            still_wanted=ctx.checkpoint,
        )
    except host.PluginFailed as failed:
        if failed.trace:
            ctx.log("error", failed.trace)
        services.note_failure(row, f"job {name}", failed)
        raise
    with ctx.fenced():
        result = _keep(row, name, scope, values, answer, ctx.job)
    return {"result": result.pk, "summary": result.summary, "findings": dict(result.counts)}


def _tell(ctx: JobContext, line: dict[str, Any]) -> None:
    if isinstance(step := line.get("step"), dict):
        counts = {
            key: step[key] for key in ("done", "total") if type(step.get(key)) is int and step[key] >= 0
        }
        ctx.step(str(step.get("title") or "working"), **counts)
    elif isinstance(log := line.get("log"), dict):
        level = log.get("level") if log.get("level") in ("debug", "info", "warning", "error") else "info"
        ctx.log(str(level), str(log.get("text"))[:5000])


def _keep(
    plugin: Plugin, name: str, scope: str, values: dict[str, Any], answer: dict[str, Any], job: Job
) -> PluginResult:
    tables = [{**table, "rows": table["rows"][:MOST_ROWS]} for table in answer["tables"]]
    result, _ = PluginResult.objects.update_or_create(
        job=job,
        defaults={
            "plugin": plugin,
            "name": name,
            "scope": scope,
            "actor": job.actor,
            "values": values,
            "version": plugin.version,
            "summary": str(answer["summary"])[:1000],
            "findings": answer["findings"][:MOST_FINDINGS],
            "tables": tables,
            "numbers": answer["numbers"],
            "data": answer["data"],
        },
    )
    older = PluginResult.objects.filter(plugin=plugin, name=name, scope=scope).order_by("-id")
    PluginResult.objects.filter(pk__in=list(older.values_list("pk", flat=True)[KEPT_RESULTS:])).delete()
    return result


# --- Events ------------------------------------------------------------------------------------------------------


def follow(event: Event, data: Mapping[str, Any], *, scope: str, actor: Any) -> list[Job]:
    """Ask for the jobs of plugins that follow an event on an environment, in the name of whom it happened for.

    Database only. A job that this person may not start is left out, and the plugin's page says so.
    """
    started = []
    for plugin in services.enabled_on(scope):
        for kind in plugin.manifest["jobs"]:
            if event not in kind["on"]:
                continue
            try:
                with transaction.atomic():
                    told = {"event": str(event), **data}
                    job = request_run(
                        plugin, kind["name"], scope=scope, actor=actor, source=Source.SCHEDULE, event=told
                    )
            except SSToolsError as error:
                failed = host.PluginFailed(f"Not started for {actor or 'nobody'}: {error}", code=error.code)
                services.note_failure(plugin, f"job {kind['name']} after {event}", failed)
            else:
                started.append(job)
    return started
