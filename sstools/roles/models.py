"""Who has which role where, and tokens for programs."""

from django.conf import settings
from django.contrib.auth.models import Group
from django.db import models
from django.db.models import Q
from django.utils import timezone

from sstools.resources import EVERYTHING

from .permissions import ROLE_CHOICES


class Grant(models.Model):
    """A role given to one user or one group on one environment ("environment:<uuid>") or on everything ("*")."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.CASCADE, related_name="grants"
    )
    group = models.ForeignKey(Group, null=True, blank=True, on_delete=models.CASCADE, related_name="grants")
    role = models.CharField(max_length=50, choices=ROLE_CHOICES)
    scope = models.CharField(max_length=200, default=EVERYTHING)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(user__isnull=True, group__isnull=False)
                | Q(user__isnull=False, group__isnull=True),
                name="a_grant_is_for_a_user_or_a_group",
            ),
            models.UniqueConstraint(
                fields=["user", "role", "scope"],
                condition=Q(user__isnull=False),
                name="one_such_grant_per_user",
            ),
            models.UniqueConstraint(
                fields=["group", "role", "scope"],
                condition=Q(group__isnull=False),
                name="one_such_grant_per_group",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.role} for {self.user or self.group} on {self.scope}"


class KeyCheck(models.Model):
    """One row: a known text, encrypted. With the wrong field keys it cannot be read, and that is noticed at once."""

    value = models.TextField()

    def __str__(self) -> str:
        return "key check"


class ApiToken(models.Model):
    """A user's token for programs. Only its hash is kept; the token itself is shown once."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=16)  # the visible beginning, to recognise it by
    hash = models.CharField(
        max_length=64, unique=True
    )  # SHA-256: the token is random, so there is nothing to guess
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    @property
    def is_usable(self) -> bool:
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > timezone.now())
