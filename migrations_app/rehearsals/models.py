"""What came of restoring a backup for practice."""

from __future__ import annotations

import uuid as uuid_module
from typing import Any, Self

from django.conf import settings
from django.db import models
from django.urls import reverse
from django.utils import timezone

from environments.backups.models import Backup
from environments.models import Environment
from migrations_app.models import Migration, Run
from sstools.jobs.models import Job
from sstools.roles import policy
from sstools.roles.permissions import Permission


class RehearsalState(models.TextChoices):
    RUNNING = "running", "at work"
    PASSED = "passed", "passed"
    FAILED = "failed", "failed"
    CANCELLED = "cancelled", "cancelled"


class Cleanup(models.TextChoices):
    NOT_YET = "", "not yet"
    NOTHING = "nothing", "nothing was written"
    CLEAN = "clean", "as before"
    LEFT = "left", "something was left"


#: As which state of `sstools/web/states.py` each is shown.
LOOKS = {
    RehearsalState.RUNNING: "running",
    RehearsalState.PASSED: "ok",
    RehearsalState.FAILED: "failed",
    RehearsalState.CANCELLED: "cancelled",
}


class RehearsalQuerySet(models.QuerySet["Rehearsal"]):
    def visible_to(self, user: Any) -> Self:
        """Those of backups that `user` may see (`backup:view` on the environment that was backed up)."""
        scopes = policy.scopes(user, Permission.BACKUP_VIEW)
        return self if scopes.everything else self.filter(environment__uuid__in=scopes.uuids("environment"))

    def ended(self) -> Self:
        return self.exclude(state=RehearsalState.RUNNING)


class Rehearsal(models.Model):
    """One backup, restored into a scratch environment by a migration like any, and rolled back.

    ::

        running -- restored, everything equal, every chart answers, taken away again --> passed
           \\-- anything else: what was written is rolled back all the same --> failed, cancelled

    `backup_number`: of the backup, also once that is removed. `run` wrote it, `roll_back` took it away. `compared`:
    {"equal", "adapted", "different", "missing"} -> number of assets; "adapted" are as the plan says for another version
    of Superset. `present`: number of those that were there before. `charts`: verdict -> number. `companions`: action of
    the plan -> number. `differences`: [{"kind", "uuid", "title", "text"}]. `notes`: sentences of what was decided
    without asking. `cleanup`: what became of what was written. `error`: {"code", "message", "remedy"} why it failed.
    """

    number = models.BigAutoField(primary_key=True)
    uuid = models.UUIDField(unique=True, default=uuid_module.uuid4, editable=False)
    environment = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="rehearsals")
    scratch = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="rehearsed_in")
    backup = models.ForeignKey(
        Backup, null=True, blank=True, on_delete=models.SET_NULL, related_name="rehearsals"
    )
    backup_number = models.BigIntegerField(null=True, blank=True)
    state = models.CharField(max_length=10, choices=RehearsalState.choices, default=RehearsalState.RUNNING)
    cleanup = models.CharField(max_length=10, choices=Cleanup.choices, default=Cleanup.NOT_YET, blank=True)
    migration = models.ForeignKey(
        Migration, null=True, blank=True, on_delete=models.SET_NULL, related_name="rehearsals"
    )
    run = models.ForeignKey(Run, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    roll_back = models.ForeignKey(
        Migration, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    compared = models.JSONField(default=dict, blank=True)
    present = models.PositiveIntegerField(default=0)
    charts = models.JSONField(default=dict, blank=True)
    companions = models.JSONField(default=dict, blank=True)
    differences = models.JSONField(default=list, blank=True)
    notes = models.JSONField(default=list, blank=True)
    error = models.JSONField(null=True, blank=True)
    job = models.ForeignKey(Job, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    started_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    objects = RehearsalQuerySet.as_manager()

    class Meta:
        ordering = ["-number"]
        indexes = [models.Index(fields=["environment", "state", "-number"], name="rehearsals_latest")]

    def __str__(self) -> str:
        return f"Rehearsal {self.number}"

    def get_absolute_url(self) -> str:
        return reverse("rehearsals:detail", args=[self.number])

    @property
    def concerns(self) -> list[Environment]:
        return [self.environment, self.scratch]

    @property
    def is_ended(self) -> bool:
        return self.state != RehearsalState.RUNNING

    @property
    def look(self) -> str:
        return LOOKS[RehearsalState(self.state)]

    @property
    def backup_name(self) -> str:
        return f"backup {self.backup_number}" if self.backup_number else "no backup"

    @property
    def restored(self) -> int:
        """Number of assets of the backup that were as they should be."""
        return int(self.compared.get("equal", 0)) + int(self.compared.get("adapted", 0))

    @property
    def asset_total(self) -> int:
        return sum(int(number) for number in self.compared.values())

    @property
    def chart_total(self) -> int:
        return sum(int(number) for number in self.charts.values())

    @property
    def seconds(self) -> float | None:
        return (self.ended_at - self.started_at).total_seconds() if self.ended_at else None

    @property
    def words(self) -> str:
        """What came of it, in a few words."""
        if self.state == RehearsalState.PASSED:
            return f"{self.asset_total} assets restored and equal, {self.chart_total} charts answer"
        if self.error:
            return str(self.error["message"])
        return self.get_state_display()
