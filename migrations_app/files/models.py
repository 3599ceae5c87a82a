"""Audits of files: what an import of them would do to an environment."""

from __future__ import annotations

import uuid as uuid_module
from typing import Any, Self

from django.conf import settings
from django.db import models
from django.urls import reverse
from django.utils import timezone

from environments.models import Environment
from sstools.jobs.models import Job
from sstools.roles import policy
from sstools.roles.permissions import Permission
from sstools.secrets import SecretField

NAME_LENGTH = 200


class FileAuditQuerySet(models.QuerySet["FileAudit"]):
    def visible_to(self, user: Any) -> Self:
        """Those of environments whose assets `user` may see: a report names them (`asset:view`)."""
        scopes = policy.scopes(user, Permission.ASSET_VIEW)
        rows = self.defer("file", "values")
        return rows if scopes.everything else rows.filter(target__uuid__in=scopes.uuids("environment"))


class FileAudit(models.Model):
    """One tree of files held against one environment.

    `file` is what was uploaded (base64), and `values` what its templates were rendered with: both encrypted, as files
    that people keep hold secrets, and only until the job has read them. `findings`: of `engine.auditing`, in JSON, with
    `line`, and without a secret. `counts`: files by kind. `finding_counts`: by severity. `read_at`: when the target was
    read.
    """

    uuid = models.UUIDField(unique=True, default=uuid_module.uuid4, editable=False)
    name = models.CharField(max_length=NAME_LENGTH)
    sha256 = models.CharField(max_length=64)  # of the file
    size = models.PositiveIntegerField()  # bytes of the file
    target = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="file_audits")
    file = SecretField(blank=True)
    values = SecretField(blank=True)
    shape = models.CharField(max_length=20, blank=True)  # environments.superset.trees.SHAPES
    counts = models.JSONField(default=dict, blank=True)
    findings = models.JSONField(default=list, blank=True)
    finding_counts = models.JSONField(default=dict, blank=True)
    version = models.CharField(max_length=50, blank=True)  # of the target's Superset
    read_at = models.DateTimeField(null=True, blank=True)
    error = models.JSONField(null=True, blank=True)
    job = models.ForeignKey(Job, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = FileAuditQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"{self.name} against {self.target}"

    def get_absolute_url(self) -> str:
        return reverse("files:audit", args=[self.uuid])

    @property
    def concerns(self) -> list[Environment]:
        return [self.target]

    @property
    def state(self) -> str:
        """running, failed, clean or findings."""
        if self.finished_at is None:
            return "running"
        if self.error is not None:
            return "failed"
        return "findings" if self.findings else "clean"
