"""What pages show of plugins, for one reader."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from sstools.resources import EVERYTHING
from sstools.roles import places, policy
from sstools.roles.permissions import Permission

from . import services
from .models import Enablement, Plugin, PluginResult

TREND_LENGTH = 30  # results


class Seen:
    """The places that a reader may know of; where else a plugin is on is not told. One query."""

    def __init__(self, user: Any) -> None:
        self.known = {place.resource_name: place for place in places.seen_by(user)}
        self.labels: dict[str, str] = {name: place.label for name, place in self.known.items()}
        self.edits = policy.scopes(user, Permission.PLUGIN_EDIT)
        self.titles = services.known_roles()

    def where(self, plugin: Plugin) -> list[dict[str, Any]]:
        return [
            self._shown(row) for row in plugin.enablements.all() if row.scope in (EVERYTHING, *self.known)
        ]

    def _shown(self, row: Enablement) -> dict[str, Any]:
        place = self.known.get(row.scope)
        return {
            "scope": row.scope,
            "label": place.label if place else "everything",
            "environment": place.obj if place else None,
            "roles": [self.titles.get(key, key) for key in row.roles],
            "at": row.created_at,
            "may_disable": self.edits.everything or row.scope in self.edits.resources,
        }


def jobs_of(plugin: Plugin, user: Any) -> list[dict[str, Any]]:
    return [{**kind, "why_not": why_not(user, plugin, kind)} for kind in plugin.manifest.get("jobs", [])]


def why_not(user: Any, plugin: Plugin, kind: Mapping[str, Any], found: list[Any] | None = None) -> str:
    """Why this reader may not run that job anywhere; "" if they may. `found`: places on which they may."""
    if not plugin.can_be_used:
        return f"{plugin} cannot be used now."
    scopes = policy.scopes(user, Permission.PLUGIN_RUN)
    if not scopes:
        return policy.explain(user, Permission.PLUGIN_RUN).sentence
    if kind["reads"]:
        names = [one.resource_name for one in found] if found is not None else _usable(user, plugin)
        return "" if names else f"{plugin} is switched on nowhere for you."
    if not services.may_use(user, plugin, EVERYTHING):
        return f"{plugin} is not switched on for everything, and this job works on no environment."
    return "" if scopes.everything else policy.explain(user, Permission.PLUGIN_RUN).sentence


def _usable(user: Any, plugin: Plugin) -> list[str]:
    names = [one.resource_name for one in places.seen_by(user)]
    return [name for name in names if services.may_use(user, plugin, name)]


def settings_shown(plugin: Plugin) -> list[tuple[str, str]]:
    """(label, value) of its settings; of secrets only whether there is one."""
    shown = []
    stored = plugin.stored_secrets if plugin.secret_names else {}
    for one in plugin.fields:
        value = plugin.values.get(one["name"], one["default"])
        if one["name"] in plugin.secret_names:
            text = "stored, never shown" if stored.get(one["name"]) else "none"
        elif isinstance(value, bool):
            text = "yes" if value else "no"
        elif one["kind"] == "choice":
            text = dict(one["choices"]).get(value, str(value or "none"))
        else:
            text = "none" if value in (None, "") else str(value)
        shown.append((one["label"], text))
    return shown


@dataclass(frozen=True)
class Trend:
    """One number of a job on one place over its last results, the oldest first."""

    name: str
    place: str
    values: tuple[float, ...]

    @property
    def last(self) -> float:
        return self.values[-1]

    @property
    def sentence(self) -> str:
        return f"{self.name}: {self.values[0]:g} at first, {self.values[-1]:g} last, of {len(self.values)} results"


def trends(results: QuerySet[PluginResult], labels: Mapping[str, str]) -> list[Trend]:
    rows = list(results.order_by("-id").values_list("scope", "numbers")[: TREND_LENGTH * 5])
    found: dict[tuple[str, str], list[float]] = {}
    for scope, values in reversed(rows):
        for name, value in values.items():
            if isinstance(value, int | float):
                found.setdefault((name, scope), []).append(value)
    return [
        Trend(name, labels.get(scope, ""), tuple(values[-TREND_LENGTH:]))
        for (name, scope), values in found.items()
        if len(values) > 1
    ]


def numbers(result: PluginResult) -> list[tuple[str, str]]:
    return [(name, f"{value:g}") for name, value in result.numbers.items() if isinstance(value, int | float)]
