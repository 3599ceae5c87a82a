"""Plugins as they were last looked at, where each is enabled, how it is set, and what its jobs found."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Self

from django.conf import settings
from django.db import models
from django.urls import reverse
from django.utils import timezone

from sstools.resources import EVERYTHING
from sstools.secrets import SecretField

from .discovery import Found
from .extension import FieldKind


class Plugin(models.Model):
    """One that is installed, or was and left something.

    `manifest`: what it brings, as its process told it; empty while it cannot be loaded. `mark`: of what was looked at.
    `problem`: why it cannot be used, {"code", "text", "trace"}; None if it can. `failures`: the last calls that went
    wrong, newest first, [{"at", "what", "code", "text"}].
    """

    name = models.CharField(max_length=50, unique=True)
    title = models.CharField(max_length=100, blank=True)
    summary = models.TextField(blank=True)
    version = models.CharField(max_length=50, blank=True)
    fits = models.CharField(max_length=100, blank=True)
    distribution = models.CharField(max_length=200, blank=True)
    entry = models.CharField(max_length=300, blank=True)
    mark = models.CharField(max_length=700, blank=True)
    is_builtin = models.BooleanField(default=False)
    is_present = models.BooleanField(default=True)
    manifest = models.JSONField(default=dict, blank=True)
    problem = models.JSONField(null=True, blank=True)
    failures = models.JSONField(default=list, blank=True)
    health = models.CharField(max_length=1000, blank=True)  # "" if it said that all is well
    looked_at = models.DateTimeField(null=True, blank=True)
    found_at = models.DateTimeField(default=timezone.now, editable=False)

    values = models.JSONField(default=dict, blank=True)  # of its settings, without secrets
    secrets: Any = SecretField(blank=True)  # JSON: name -> secret
    configured_at = models.DateTimeField(null=True, blank=True)
    configured_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.title or self.name

    def get_absolute_url(self) -> str:
        return reverse("plugins:detail", args=[self.name])

    @property
    def resource_name(self) -> str:
        return f"plugin:{self.name}"

    @property
    def found(self) -> Found:
        return Found(self.name, self.entry, self.distribution, self.version, self.is_builtin)

    @property
    def fields(self) -> list[dict[str, Any]]:
        """Of its settings."""
        return list(self.manifest.get("settings", []))

    @property
    def secret_names(self) -> set[str]:
        return {one["name"] for one in self.fields if one["kind"] == FieldKind.SECRET}

    @property
    def stored_secrets(self) -> dict[str, str]:
        """Raises SecretUnreadable."""
        return dict(json.loads(str(self.secrets))) if self.secrets else {}

    @property
    def can_be_used(self) -> bool:
        return self.is_present and self.problem is None and bool(self.manifest)

    @property
    def state(self) -> str:
        """One of sstools.web.states. Takes `enablements`, prefetched where there are many."""
        if not self.is_present:
            return "plugin_gone"
        if self.looked_at is None:
            return "plugin_new"
        if self.problem is not None:
            return "plugin_broken"
        if not self.enablements.all():
            return "plugin_off"
        return "plugin_ill" if self.health else "plugin_on"

    def item(self, group: str, name: str) -> dict[str, Any] | None:
        """`group`: jobs, plan_checks or panels."""
        known: list[dict[str, Any]] = self.manifest.get(group, [])
        return next((one for one in known if one["name"] == name), None)


class Enablement(models.Model):
    """Where a plugin is switched on: on everything ("*") or on one environment. `roles`: keys of those who may run its
    jobs and see its panels there; empty: whoever has the right. Its plan checks look at everybody's plans.
    """

    plugin = models.ForeignKey(Plugin, on_delete=models.CASCADE, related_name="enablements")
    scope = models.CharField(max_length=200, default=EVERYTHING)
    roles = models.JSONField(default=list, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    class Meta:
        ordering = ["scope"]
        constraints = [models.UniqueConstraint(fields=["plugin", "scope"], name="enabled_once_there")]

    def __str__(self) -> str:
        return f"{self.plugin} on {self.scope}"


class ResultQuerySet(models.QuerySet["PluginResult"]):
    def visible_to(self, user: Any) -> Self:
        """Those about what the user may see with `plugin:view`."""
        from sstools.roles import policy
        from sstools.roles.permissions import Permission

        where = policy.scopes(user, Permission.PLUGIN_VIEW)
        return self if where.everything else self.filter(scope__in=where.resources)


class PluginResult(models.Model):
    """What came of one job of a plugin. `findings`, `tables`, `numbers`, `data`: as extension.Result, in JSON."""

    plugin = models.ForeignKey(Plugin, on_delete=models.CASCADE, related_name="results")
    name = models.CharField(max_length=50)  # of the plugin's kind of job
    job = models.OneToOneField(
        "jobs.Job", null=True, blank=True, on_delete=models.SET_NULL, related_name="plugin_result"
    )
    scope = models.CharField(max_length=200, default=EVERYTHING)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    values = models.JSONField(default=dict, blank=True)
    version = models.CharField(max_length=50, blank=True)  # of the plugin then
    summary = models.CharField(max_length=1000, blank=True)
    findings = models.JSONField(default=list, blank=True)
    tables = models.JSONField(default=list, blank=True)
    numbers = models.JSONField(default=dict, blank=True)
    data = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = ResultQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["plugin", "name", "scope", "-id"], name="results_of_a_job")]

    def __str__(self) -> str:
        return f"{self.plugin.name}.{self.name}: {self.summary}"

    def get_absolute_url(self) -> str:
        return reverse("plugins:result", args=[self.plugin.name, self.pk])

    @property
    def counts(self) -> Mapping[str, int]:
        """Findings by severity, the worst first."""
        found = [one["severity"] for one in self.findings]
        return {name: found.count(name) for name in ("error", "warning", "info") if name in found}
