"""The job kinds of plugins."""

from typing import Any

from django.urls import reverse

from sstools.jobs.models import Job
from sstools.jobs.registry import job_kind
from sstools.jobs.runner import JobContext
from sstools.roles.permissions import Permission

from . import discovery, running, scheduling, services
from .models import Plugin, PluginResult


def _link(job: Job) -> tuple[str, str] | None:
    result = PluginResult.objects.filter(job=job).select_related("plugin").first()
    if result is not None:
        return ("What it found", result.get_absolute_url())
    plugin = Plugin.objects.filter(name=job.params.get("plugin", "")).first()
    return (str(plugin), plugin.get_absolute_url()) if plugin is not None else None


@job_kind(
    running.RUN,
    title="A job of a plugin",
    permission=Permission.PLUGIN_RUN,
    link=_link,
    schedulable=scheduling.RUNNING,
)
def run(
    ctx: JobContext,
    *,
    plugin: str,
    name: str,
    scope: str,
    values: dict[str, Any],
    event: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Safe to run again: the plugin only reads, and its result replaces that of the attempt before."""
    return running.run(ctx, plugin=plugin, name=name, scope=scope, values=values, event=event)


@job_kind(
    services.LOOK,
    title="Look for plugins",
    permission=Permission.PLUGIN_EDIT,
    link=lambda job: ("Plugins", reverse("plugins:list")),
)
def look(ctx: JobContext) -> dict[str, Any]:
    """Safe to run again: what is there is what counts."""
    found = discovery.find_all()
    broken = 0
    for done, one in enumerate(found.values()):
        ctx.step("Looking at plugins", done=done, total=len(found))
        plugin = services.look_at(one)
        if plugin.problem is not None:
            broken += 1
            ctx.log("error", f"{one.name}: {plugin.problem['text']}\n{plugin.problem['trace']}".strip())
    with ctx.fenced():
        known = Plugin.objects.filter(is_present=True).values_list("name", flat=True)
        gone = services.gone(set(known) - set(found))
    return {"found": len(found), "broken": broken, "gone": gone}
