"""Templates, the copies that are made of them, and what was done with all copies at once."""

from __future__ import annotations

import uuid as uuid_module
from typing import Any, Self

from django.conf import settings
from django.db import models
from django.urls import reverse
from django.utils import timezone

from environments.models import Environment
from migrations_app.models import Migration, Run
from sstools.roles import policy
from sstools.roles.permissions import Permission


class FanOutQuerySet(models.QuerySet["FanOut"]):
    def visible_to(self, user: Any) -> Self:
        """Those whose source `user` may see. Which copies of them is another question: `FanOutCopy`."""
        return self.filter(source__in=Environment.objects.visible_to(user))


class FanOut(models.Model):
    """A template: what is selected on one environment, and how its copies differ.

    `selection`: uuids of the source. The patterns and `changes` ([{"find", "replace", "where", "is_pattern"}]) are as
    in `engine.copies.Copy`; a copy may have patterns of its own. `uuid` is the namespace of the uuids of all copies.
    """

    uuid = models.UUIDField(unique=True, default=uuid_module.uuid4, editable=False)
    name = models.CharField(max_length=100, unique=True)
    description = models.CharField(max_length=300, blank=True)
    source = models.ForeignKey(Environment, on_delete=models.PROTECT, related_name="fan_outs")
    selection = models.JSONField(default=list)
    title = models.CharField(max_length=200, default="{title} ({key})")
    slug = models.CharField(max_length=200, default="{slug}-{key}", blank=True)
    chart_title = models.CharField(max_length=200, default="{title}")
    dataset_name = models.CharField(max_length=200, default="{name}")
    shares_datasets = models.BooleanField(default=False)
    changes = models.JSONField(default=list, blank=True)
    verify = models.BooleanField(default=True)
    roll_back_when_red = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    updated_at = models.DateTimeField(auto_now=True)

    objects = FanOutQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        verbose_name = "fan-out"

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("fanout:detail", args=[self.uuid])

    @property
    def concerns(self) -> list[Environment]:
        return [self.source, *Environment.objects.filter(fan_out_copies__fan_out=self).distinct()]


class FanOutCopyQuerySet(models.QuerySet["FanOutCopy"]):
    def visible_to(self, user: Any) -> Self:
        """Those whose target `user` may see migrations of (`migration:view`)."""
        scopes = policy.scopes(user, Permission.MIGRATION_VIEW)
        return self if scopes.everything else self.filter(target__uuid__in=scopes.uuids("environment"))

    def wanted(self) -> Self:
        return self.filter(is_wanted=True)


class FanOutCopy(models.Model):
    """One copy: where it goes, and what is its own.

    `values`: name -> text, for {name} in patterns and [[name]] in the source. `parameters`: what else it says itself,
    of "title", "slug", "databases", "schemas", "catalogs", "changes" (`engine.copies.Copy`). `is_wanted`: False once it
    was taken out of the table after it had been applied: its assets are on the target until somebody removes them.
    """

    uuid = models.UUIDField(unique=True, default=uuid_module.uuid4, editable=False)
    fan_out = models.ForeignKey(FanOut, on_delete=models.CASCADE, related_name="copies")
    key = models.CharField(max_length=60)
    position = models.PositiveIntegerField(default=0)
    target = models.ForeignKey(Environment, on_delete=models.PROTECT, related_name="fan_out_copies")
    values = models.JSONField(default=dict, blank=True)
    parameters = models.JSONField(default=dict, blank=True)
    keeps_uuids = models.BooleanField(default=False)
    is_wanted = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    objects = FanOutCopyQuerySet.as_manager()

    class Meta:
        ordering = ["position", "pk"]
        verbose_name = "copy"
        verbose_name_plural = "copies"
        constraints = [models.UniqueConstraint(fields=["fan_out", "key"], name="one_copy_per_key")]

    def __str__(self) -> str:
        return self.key

    @property
    def concerns(self) -> list[Environment]:
        return [self.target]


class FanOutRunState(models.TextChoices):
    PLANNING = "planning", "planning"
    PLANNED = "planned", "planned"
    APPLYING = "applying", "applying"
    ROLLING_BACK = "rolling_back", "rolling back"
    DONE = "done", "done"
    HELD = "held", "held up"


WORKING = (FanOutRunState.PLANNING, FanOutRunState.APPLYING, FanOutRunState.ROLLING_BACK)


class FanOutRunQuerySet(models.QuerySet["FanOutRun"]):
    def visible_to(self, user: Any) -> Self:
        return self.filter(fan_out__in=FanOut.objects.visible_to(user))

    def at_work(self) -> Self:
        return self.filter(state__in=WORKING)


class FanOutRun(models.Model):
    """All copies of a template (or some) taken one step on: each has a migration of its own, with its plan and its run.

    ::

        planning --> planned --apply--> applying --> done (each is applied or had nothing to do)
                        ^---------- apply again ---- held (some failed, or are not ready to be applied)

    `actor`: who asked for the last step; each copy goes on with the rights that they have at that moment.
    `stops_at_failure`: nothing is begun any more after the first that fails. `confirmed`: slugs of protected targets
    that were typed when applying was asked for.
    """

    number = models.BigAutoField(primary_key=True)
    uuid = models.UUIDField(unique=True, default=uuid_module.uuid4, editable=False)
    fan_out = models.ForeignKey(FanOut, on_delete=models.CASCADE, related_name="runs")
    state = models.CharField(max_length=15, choices=FanOutRunState.choices, default=FanOutRunState.PLANNING)
    stops_at_failure = models.BooleanField(default=True)
    confirmed = models.JSONField(default=list, blank=True)
    source_of_request = models.CharField(max_length=20, blank=True)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    updated_at = models.DateTimeField(auto_now=True)

    objects = FanOutRunQuerySet.as_manager()

    class Meta:
        ordering = ["-number"]
        verbose_name = "fan-out run"

    def __str__(self) -> str:
        return f"{self.fan_out}, fan-out {self.number}"

    def get_absolute_url(self) -> str:
        return reverse("fanout:run", args=[self.number])

    @property
    def concerns(self) -> list[Environment]:
        return [
            self.fan_out.source,
            *Environment.objects.filter(fan_out_copies__entries__run=self).distinct(),
        ]

    @property
    def is_at_work(self) -> bool:
        return self.state in WORKING


class FanOutEntry(models.Model):
    """One copy in a fan-out run. `plan_hash`: of the plan that is to be applied, while it is; `apply_run`: what was
    begun for the copy; `goes_back`: a roll back is to be begun; `roll_back`: the way back; `error`: {"code",
    "message", "remedy"} why nothing could be begun.
    """

    run = models.ForeignKey(FanOutRun, on_delete=models.CASCADE, related_name="entries")
    copy = models.ForeignKey(FanOutCopy, on_delete=models.CASCADE, related_name="entries")
    position = models.PositiveIntegerField(default=0)
    migration = models.ForeignKey(
        Migration, null=True, blank=True, on_delete=models.CASCADE, related_name="fan_out_entries"
    )
    apply_run = models.ForeignKey(Run, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    roll_back = models.ForeignKey(
        Migration, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    plan_hash = models.CharField(max_length=64, blank=True)
    goes_back = models.BooleanField(default=False)
    error = models.JSONField(null=True, blank=True)

    class Meta:
        ordering = ["position", "pk"]
        verbose_name_plural = "entries"
        constraints = [
            models.UniqueConstraint(fields=["run", "copy"], name="a_copy_is_once_in_a_fan_out_run")
        ]

    def __str__(self) -> str:
        return f"{self.copy} in {self.run}"
