"""Routes, the protection of environments, and what people decided about plans."""

from __future__ import annotations

import uuid as uuid_module
from datetime import datetime, time
from typing import Any, Self
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.validators import MaxValueValidator
from django.db import models
from django.urls import reverse
from django.utils import timezone

from environments.models import Environment
from migrations_app.engine.carrying import Carrying
from migrations_app.models import Migration, Plan, Run
from sstools.notices.models import Webhook
from sstools.roles import policy
from sstools.roles.models import Group
from sstools.roles.permissions import Permission

from .windows import Freeze, Opening, Weekly, opening

MOST_APPROVALS = 10
APPROVAL_HOURS = 72


class Approvers(models.Model):
    """How many people must approve, and who. Without users and groups: everybody with `migration:approve` there."""

    approvals = models.PositiveSmallIntegerField(default=0, validators=[MaxValueValidator(MOST_APPROVALS)])
    users: Any = models.ManyToManyField(settings.AUTH_USER_MODEL, blank=True, related_name="+")
    groups: Any = models.ManyToManyField(Group, blank=True, related_name="+")

    class Meta:
        abstract = True


class RouteQuerySet(models.QuerySet["Route"]):
    def visible_to(self, user: Any) -> Self:
        """Those to an environment of which one may see migrations."""
        where = policy.scopes(user, Permission.MIGRATION_VIEW)
        if where.everything:
            return self
        return self.filter(target__uuid__in=where.uuids("environment"))


class Route(Approvers):
    """A saved way from one environment to another: its mapping is that of the pair, its rules are here."""

    uuid = models.UUIDField(unique=True, default=uuid_module.uuid4, editable=False)
    slug = models.SlugField(max_length=60, unique=True)
    name = models.CharField(max_length=100, unique=True)
    description = models.CharField(max_length=500, blank=True)
    source = models.ForeignKey(Environment, on_delete=models.PROTECT, related_name="routes_from")
    target = models.ForeignKey(Environment, on_delete=models.PROTECT, related_name="routes_to")
    verify = models.BooleanField(default=True)
    roll_back_when_red = models.BooleanField(default=False)
    carrying = models.JSONField(
        default=dict, blank=True
    )  # as of a migration: what comes along with the assets
    prune = models.BooleanField(default=False)  # its migrations also remove what the source no longer has
    webhooks: Any = models.ManyToManyField(Webhook, blank=True, related_name="+")
    is_enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    objects = RouteQuerySet.as_manager()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("release:route", args=[self.slug])

    @property
    def carrying_words(self) -> list[tuple[str, str]]:
        """What comes along otherwise than usual: (what, how)."""
        return Carrying(self.carrying).words

    @property
    def concerns(self) -> list[Environment]:
        return [self.target]  # as of migrations: who may only see the source does not know of it


class RouteUse(models.Model):
    """Which route a migration takes."""

    migration = models.OneToOneField(
        Migration, primary_key=True, on_delete=models.CASCADE, related_name="route_use"
    )
    route = models.ForeignKey(Route, on_delete=models.PROTECT, related_name="uses")

    def __str__(self) -> str:
        return f"{self.migration} by {self.route}"


class Protection(Approvers):
    """The rules of one environment, whatever route leads there."""

    environment = models.OneToOneField(
        Environment, primary_key=True, on_delete=models.CASCADE, related_name="protection"
    )
    approval_hours = models.PositiveSmallIntegerField(default=APPROVAL_HOURS)  # how long an approval counts
    rollbacks_too = models.BooleanField(default=False)  # whether rules also hold for the way back
    zone_name = models.CharField(max_length=64, default="UTC")
    windows = models.JSONField(
        default=list, blank=True
    )  # [{"days": [0..6], "start": "HH:MM", "end": "HH:MM"}]
    updated_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"rules of {self.environment}"

    @property
    def concerns(self) -> list[Environment]:
        return [self.environment]

    @property
    def weekly(self) -> list[Weekly]:
        return [
            Weekly(frozenset(row["days"]), time.fromisoformat(row["start"]), time.fromisoformat(row["end"]))
            for row in self.windows
        ]

    def opening(self, now: datetime) -> Opening:
        """Whether the environment may be written to at `now`."""
        freezes = [] if self._state.adding else FreezePeriod.objects.filter(environment=self.environment)
        spans = [Freeze(row.since, row.until, row.reason) for row in freezes if row.until > now]
        return opening(now, ZoneInfo(self.zone_name), self.weekly, spans)


class FreezePeriod(models.Model):
    """A time in which an environment is not written to."""

    uuid = models.UUIDField(unique=True, default=uuid_module.uuid4, editable=False)
    environment = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="freezes")
    since = models.DateTimeField()
    until = models.DateTimeField()
    reason = models.CharField(max_length=300)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    class Meta:
        ordering = ["since"]

    def __str__(self) -> str:
        return f"{self.environment} {self.since:%Y-%m-%d} – {self.until:%Y-%m-%d}: {self.reason}"

    @property
    def concerns(self) -> list[Environment]:
        return [self.environment]


class Verdict(models.TextChoices):
    APPROVED = "approved", "approved"
    REJECTED = "rejected", "rejected"


class Decision(models.Model):
    """What somebody said of a plan, with the hash of what they saw. A later one of the same person replaces it."""

    plan = models.ForeignKey(Plan, on_delete=models.CASCADE, related_name="decisions")
    plan_hash = models.CharField(max_length=64)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    verdict = models.CharField(max_length=10, choices=Verdict.choices)
    comment = models.CharField(max_length=1000, blank=True)
    at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["at"]
        constraints = [models.UniqueConstraint(fields=["plan", "user"], name="one_decision_each")]

    def __str__(self) -> str:
        return f"{self.user} {self.verdict} {self.plan}"


class Bypass(models.Model):
    """A run that went on although it was not the time, and why."""

    run = models.OneToOneField(Run, on_delete=models.CASCADE, related_name="bypass")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    reason = models.CharField(max_length=500)
    obstacles = models.JSONField(default=list)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name_plural = "bypasses"

    def __str__(self) -> str:
        return f"{self.run}: {self.reason}"
