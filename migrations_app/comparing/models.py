"""What comparing keeps: bundles that somebody uploaded, and what somebody has looked at."""

from __future__ import annotations

import uuid as uuid_module
from typing import Any, Self

from django.conf import settings
from django.db import models
from django.utils import timezone

from environments.canonical.companions import CompanionKind
from environments.models import KIND_CHOICES, UUID_LENGTH, Document, Environment
from sstools.roles import policy
from sstools.roles.permissions import Permission

NAME_LENGTH = 200
PLACE_LENGTH = 200
SAVED_QUERY = CompanionKind.SAVED_QUERY.value


class UploadedBundleQuerySet(models.QuerySet["UploadedBundle"]):
    def visible_to(self, user: Any) -> Self:
        """One's own; those who give out rights see all. A bundle of an environment needs `asset:view` there as well."""
        rows = self.filter(expires_at__gt=timezone.now())
        if not policy.can(user, Permission.ACCESS_EDIT):
            rows = rows.filter(uploaded_by=user)
        scopes = policy.scopes(user, Permission.ASSET_VIEW)
        if scopes.everything:
            return rows
        visible = models.Q(origin__uuid__in=scopes.uuids("environment"))
        return rows.filter(visible | models.Q(origin=None) if policy.has_role(user) else visible)


class UploadedBundle(models.Model):
    """An export ZIP that somebody uploaded, as canonical documents: the file itself is not kept.

    `origin`: the environment it was exported from, if the uploader said so; ids in its texts and the connections it
    names are those of there. `complete`: a full export, so what is not in it was not there. `notes`: as of a reading.
    """

    uuid = models.UUIDField(unique=True, default=uuid_module.uuid4, editable=False)
    name = models.CharField(max_length=NAME_LENGTH)
    sha256 = models.CharField(max_length=64)  # of the file
    size = models.PositiveIntegerField()  # bytes of the file
    origin = models.ForeignKey(
        Environment, null=True, blank=True, on_delete=models.CASCADE, related_name="uploads"
    )
    complete = models.BooleanField(default=False)
    exported_at = models.DateTimeField(null=True, blank=True)  # as the file says
    notes = models.JSONField(default=list, blank=True)
    uploaded_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="uploaded_bundles"
    )
    uploaded_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(db_index=True)

    objects = UploadedBundleQuerySet.as_manager()

    class Meta:
        ordering = ["-uploaded_at", "-pk"]

    def __str__(self) -> str:
        return self.name

    @property
    def place(self) -> str:
        return f"file:{self.uuid}"

    @property
    def documents(self) -> models.QuerySet[UploadedAsset]:
        """Its assets: what is compared and brought by itself."""
        return self.assets.exclude(kind=SAVED_QUERY)

    @property
    def queries(self) -> models.QuerySet[UploadedAsset]:
        """Its saved queries, which come along as of an environment."""
        return self.assets.filter(kind=SAVED_QUERY)

    @property
    def concerns(self) -> list[Environment]:
        return [self.origin] if self.origin is not None else []


class UploadedAsset(models.Model):
    """One asset of an uploaded bundle; or a saved query in it, with the uuid and the document of the companion."""

    bundle = models.ForeignKey(UploadedBundle, on_delete=models.CASCADE, related_name="assets")
    kind = models.CharField(max_length=20, choices=KIND_CHOICES)
    uuid = models.CharField(max_length=UUID_LENGTH)
    document = models.ForeignKey(Document, on_delete=models.PROTECT, related_name="uploads")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["bundle", "uuid"], name="an_asset_is_once_in_a_bundle")
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.uuid}"


class Viewed(models.Model):
    """Somebody looked at a difference between two places. `stamp` names its two sides: after an edit it is new."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    left = models.CharField(max_length=PLACE_LENGTH)
    right = models.CharField(max_length=PLACE_LENGTH)
    uuid = models.CharField(max_length=UUID_LENGTH)
    stamp = models.CharField(max_length=16)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["user", "left", "right", "uuid"], name="a_difference_is_viewed_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.uuid} of {self.left} and {self.right}"
