"""The life of a plugin: looked at, enabled, configured, disabled, forgotten. Page, API, admin and jobs call these."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from sstools.audit import services as audit
from sstools.errors import Conflict, Invalid
from sstools.jobs import services as jobs
from sstools.jobs.models import Job, Source
from sstools.resources import EVERYTHING
from sstools.roles import places, policy
from sstools.roles.models import CustomRole
from sstools.roles.permissions import ROLES, Permission

from . import discovery, host
from .discovery import Found
from .extension import INTERFACE
from .models import Enablement, Plugin
from .values import checked, fits, problem_of

LOOK = "plugins.look"
LOOK_SECONDS = 30.0  # to import a plugin and tell what it brings; the same for its health
MOST_FAILURES = 20


def all_plugins() -> QuerySet[Plugin]:
    return Plugin.objects.prefetch_related("enablements").select_related("configured_by")


# --- Looking -----------------------------------------------------------------------------------------------------


def request_look(*, actor: Any, source: str = Source.PAGE, idempotency_key: str | None = None) -> Job:
    """Have what is installed looked at, in a job. Raises NotAllowed."""
    policy.require(actor, Permission.PLUGIN_EDIT)
    return jobs.enqueue(LOOK, actor=actor, source=source, join_key=LOOK, idempotency_key=idempotency_key)


def ask_for_look() -> None:
    """Ask for a look if something was installed, changed or taken away since the last one."""
    rows = Plugin.objects.filter(is_present=True)
    known = dict(rows.values_list("name", "mark"))
    if known != {name: found.mark for name, found in discovery.find_all().items()}:
        jobs.enqueue(LOOK, actor=None, source=Source.SCHEDULE, join_key=LOOK)


def look_at(found: Found) -> Plugin:
    """Have one tell what it brings, and keep that, or why it could not. Calls its process; no PluginFailed."""
    problem: dict[str, Any] | None = None
    manifest: dict[str, Any] = {}
    try:
        manifest = host.call(found, "describe", seconds=LOOK_SECONDS)
    except host.PluginFailed as failed:
        problem = {"code": failed.code, "text": failed.message, "trace": failed.trace}
    else:
        problem = _unusable(manifest)
    with transaction.atomic():
        plugin, _ = Plugin.objects.select_for_update().get_or_create(name=found.name)
        plugin.entry, plugin.distribution, plugin.mark = (
            found.entry[:300],
            found.distribution[:200],
            found.mark[:700],
        )
        plugin.is_builtin, plugin.is_present = found.is_builtin, True
        plugin.problem, plugin.looked_at = problem, timezone.now()
        if problem is None:
            plugin.manifest = manifest
            plugin.title, plugin.summary = manifest["title"][:100], str(manifest["summary"])
            plugin.version, plugin.fits = str(manifest["version"])[:50], manifest["fits"][:100]
        else:
            plugin.version = str(manifest.get("version") or found.version)[:50]
            plugin.health = ""
        plugin.save()
    if problem is None:
        _ask_for_health(plugin)
    return plugin


def _unusable(manifest: Mapping[str, Any]) -> dict[str, Any] | None:
    try:
        if not fits(str(manifest["fits"])):
            text = f"It is made for interface {manifest['fits']}; this ss-tools has {INTERFACE}."
            return {"code": "plugin_unfit", "text": text, "trace": ""}
    except ValueError as error:
        return {"code": "plugin_invalid", "text": str(error), "trace": ""}
    text = problem_of(manifest)
    return {"code": "plugin_invalid", "text": text, "trace": ""} if text else None


def _ask_for_health(plugin: Plugin) -> None:
    try:
        given = settings_of(plugin)
        text = host.call(
            plugin.found,
            "health",
            given={"settings": given},
            seconds=LOOK_SECONDS,
            secrets=secrets_of(plugin),
        )
    except host.PluginFailed as failed:
        note_failure(plugin, "health", failed)
        text = failed.message
    Plugin.objects.filter(pk=plugin.pk).update(health=str(text)[:1000])


def gone(names: Iterable[str]) -> int:
    """Of these nothing is installed any more; what they left stays until somebody forgets it."""
    return Plugin.objects.filter(name__in=list(names), is_present=True).update(is_present=False)


def note_failure(plugin: Plugin, what: str, failed: host.PluginFailed) -> None:
    """Keep for the plugin's page that a call went wrong. `what`: "job report", "plan check names", …"""
    line = {
        "at": timezone.now().isoformat(),
        "what": what,
        "code": failed.code,
        "text": failed.message[:1000],
    }
    with transaction.atomic():
        row = Plugin.objects.select_for_update().get(pk=plugin.pk)
        row.failures = [line, *row.failures][:MOST_FAILURES]
        row.save(update_fields=["failures"])


# --- Enabling ----------------------------------------------------------------------------------------------------


@transaction.atomic
def enable(
    plugin: Plugin, scope: str, *, roles: Sequence[str] = (), actor: Any, source: str = Source.PAGE
) -> Enablement:
    """Switch it on for an environment ("environment:<uuid>") or everything ("*"); `roles`: who may use it there.

    Asking again changes the roles. Raises NotAllowed; Invalid, also for a place that the actor may not see;
    Conflict("plugin_unusable"), Conflict("not_configured").
    """
    require_seen(scope, actor)
    policy.require(actor, Permission.PLUGIN_EDIT, None if scope == EVERYTHING else scope)
    plugin = Plugin.objects.select_for_update(of=("self",)).get(pk=plugin.pk)
    if not plugin.can_be_used:
        raise Conflict(
            f"{plugin} cannot be used: {(plugin.problem or {}).get('text') or 'it is not installed.'}",
            code="plugin_unusable",
            remedy="See its page for what is wrong, mend it, and have plugins looked at again.",
        )
    if missing := checked(plugin.fields, {}, stored=settings_of(plugin))[1]:
        raise Conflict(
            f"{plugin} has settings without a value: {', '.join(sorted(missing))}.",
            code="not_configured",
            remedy="Configure it first.",
        )
    roles = sorted(set(roles))
    if unknown := set(roles) - known_roles().keys():
        raise Invalid(
            "Some values are not right.", errors={"roles": [f"There is no role {sorted(unknown)[0]}."]}
        )
    row, is_new = Enablement.objects.get_or_create(
        plugin=plugin, scope=scope, defaults={"roles": roles, "created_by": actor}
    )
    if not is_new and row.roles != roles:
        row.roles = roles
        row.save(update_fields=["roles"])
    audit.record("plugin:enable", plugin, actor=actor, data={"on": scope, "roles": roles}, source=source)
    return row


@transaction.atomic
def disable(plugin: Plugin, scope: str, *, actor: Any, source: str = Source.PAGE) -> None:
    """Switch it off there. What runs goes on, nothing new starts; its settings and results stay. Raises NotAllowed."""
    policy.require(actor, Permission.PLUGIN_EDIT, None if scope == EVERYTHING else scope)
    removed, _ = Enablement.objects.filter(plugin=plugin, scope=scope).delete()
    if removed:
        audit.record("plugin:disable", plugin, actor=actor, data={"on": scope}, source=source)


def require_seen(text: str, actor: Any) -> str:
    """The resource name of a place by its slug or name. Raises Invalid: absent and hidden are the same."""
    place = places.find(text, actor)
    if place is None:
        text = "There is no such environment, or you may not see it."
        raise Invalid("Some values are not right.", errors={"environment": [text]})
    return place.resource_name


def known_roles() -> dict[str, str]:
    """Key -> title, of those that an enablement can name."""
    custom = {row.key: row.role.title for row in CustomRole.objects.all()}
    return {key: role.title for key, role in ROLES.items()} | custom


def enabled_on(scope: str) -> list[Plugin]:
    """Those that may do something there now, in order."""
    rows = Plugin.objects.filter(
        enablements__scope__in=[EVERYTHING, scope], is_present=True, problem__isnull=True
    )
    return list(rows.distinct().order_by("name"))


def may_use(user: Any, plugin: Plugin, scope: str) -> bool:
    """Whether it is enabled there for a role of the user. The exact environment counts before everything."""
    rows = {row.scope: row for row in plugin.enablements.all() if row.scope in (EVERYTHING, scope)}
    row = rows.get(scope) or rows.get(EVERYTHING)
    if row is None or not plugin.can_be_used:
        return False
    if not row.roles or getattr(user, "is_superuser", False):
        return True
    return any(
        grant.role in row.roles for grant in policy.grants_of(user) if grant.scope in (EVERYTHING, scope)
    )


def require_use(user: Any, plugin: Plugin, scope: str) -> None:
    """Raises Conflict("plugin_off"): it is not enabled there, or not for this user's roles."""
    if not may_use(user, plugin, scope):
        raise Conflict(
            f"{plugin} is not switched on there for you.",
            code="plugin_off",
            remedy="Ask an administrator to enable it, on its page.",
        )


# --- Configuring -------------------------------------------------------------------------------------------------


def settings_of(plugin: Plugin) -> dict[str, Any]:
    """All its settings as it gets them, with secrets. Raises SecretUnreadable."""
    stored = {**plugin.values, **plugin.stored_secrets}
    return {one["name"]: stored.get(one["name"], one["default"]) for one in plugin.fields}


def secrets_of(plugin: Plugin) -> list[str]:
    return list(plugin.stored_secrets.values())


@transaction.atomic
def configure(plugin: Plugin, given: Mapping[str, Any], *, actor: Any, source: str = Source.PAGE) -> Plugin:
    """Change settings; what is not given stays, and an empty secret too. Raises NotAllowed; Invalid by field."""
    policy.require(actor, Permission.PLUGIN_EDIT)
    plugin = Plugin.objects.select_for_update(of=("self",)).get(pk=plugin.pk)
    secrets = plugin.stored_secrets
    values, errors = checked(plugin.fields, given, stored={**plugin.values, **secrets})
    if errors:
        raise Invalid("Some values are not right.", errors=errors)
    hidden = plugin.secret_names
    kept = {name: value for name, value in values.items() if name in hidden and value}
    plain = {name: value for name, value in values.items() if name not in hidden}
    changed = {
        name: {"before": plugin.values.get(name), "after": value}
        for name, value in plain.items()
        if plugin.values.get(name) != value
    } | {name: "changed" for name in hidden if kept.get(name) != secrets.get(name)}
    plugin.values, plugin.secrets = plain, json.dumps(kept) if kept else ""
    plugin.configured_at, plugin.configured_by = timezone.now(), actor
    plugin.save(update_fields=["values", "secrets", "configured_at", "configured_by"])
    audit.record("plugin:configure", plugin, actor=actor, data={"changed": changed}, source=source)
    return plugin


# --- Removing ----------------------------------------------------------------------------------------------------


def left_by(plugin: Plugin) -> dict[str, int]:
    """What it would leave, or left: words -> number."""
    return {
        "stored settings": sum(value not in (None, "") for value in plugin.values.values()),
        "stored secrets": len(plugin.stored_secrets) if plugin.secrets else 0,
        "results": plugin.results.count(),
        "schedules": schedules_of(plugin).count(),
    }


def schedules_of(plugin: Plugin) -> QuerySet[Any]:
    from sstools.schedules.models import Schedule

    return Schedule.objects.filter(kind="plugins.run", params__plugin=plugin.name)


@transaction.atomic
def forget(plugin: Plugin, *, actor: Any, source: str = Source.PAGE) -> dict[str, int]:
    """Remove what it left: settings, secrets, results, schedules; and the plugin itself unless it is still installed.

    Returns what that was. Raises NotAllowed; Conflict("plugin_on") while it is enabled anywhere.
    """
    from sstools.schedules.services import delete_schedule

    policy.require(actor, Permission.PLUGIN_EDIT)
    plugin = Plugin.objects.select_for_update(of=("self",)).get(pk=plugin.pk)
    if plugin.is_present and plugin.enablements.exists():
        raise Conflict(f"{plugin} is switched on.", code="plugin_on", remedy="Disable it everywhere first.")
    left = left_by(plugin)
    for schedule in schedules_of(plugin):
        delete_schedule(schedule, actor=actor, source=source)
    plugin.results.all().delete()
    audit.record("plugin:forget", plugin, actor=actor, data={"left": left}, source=source)
    if plugin.is_present:
        plugin.values, plugin.secrets, plugin.failures = {}, "", []
        plugin.configured_at = plugin.configured_by = None
        plugin.save()
    else:
        plugin.delete()
    return left
