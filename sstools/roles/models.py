"""Who has which role where: roles of one's own, groups and their members, grants. And tokens for programs."""

from datetime import datetime
from typing import Any, Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower
from django.utils import timezone

from sstools.resources import EVERYTHING

from .permissions import Permission, Role


class Source(models.TextChoices):
    """Where a person or a group comes from, and who decides who is a member."""

    LOCAL = "local", "ss-tools"
    ADFS = "adfs", "directory"
    PROGRAM = "program", "a program"  # users only: a service account, which has tokens and no way to sign in


class CustomRole(models.Model):
    """A role beside the built-in ones, which are code (permissions.py). Grants name both by `key`."""

    key = models.SlugField(max_length=50, unique=True, editable=False)
    name = models.CharField(max_length=100, unique=True)
    description = models.CharField(max_length=500, blank=True)
    permissions = models.JSONField(default=list)  # texts; one that this version does not know gives nothing
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def role(self) -> Role:
        known = {str(permission) for permission in Permission}
        held = frozenset(Permission(text) for text in self.permissions if text in known)
        return Role(self.key, self.name, self.description, held, is_builtin=False)


class Account(models.Model):
    """What ss-tools knows of a user beside Django's row. Without one: a local user."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, primary_key=True, on_delete=models.CASCADE, related_name="account"
    )
    source = models.CharField(max_length=10, choices=Source.choices, default=Source.LOCAL)
    synced_at = models.DateTimeField(null=True, blank=True)  # when its groups were last taken over

    def __str__(self) -> str:
        return f"{self.user} of {self.get_source_display()}"


class Group(models.Model):
    """People who get roles together. A directory's group has the members whose last sign-in named it."""

    name = models.CharField(max_length=255)  # as the directory says it
    source = models.CharField(max_length=10, choices=Source.choices, default=Source.LOCAL)
    description = models.CharField(max_length=500, blank=True)
    members: Any = models.ManyToManyField(
        settings.AUTH_USER_MODEL, through="Membership", related_name="access_groups"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    seen_at = models.DateTimeField(null=True, blank=True)  # when a sign-in last named it

    class Meta:
        ordering = ["name", "source"]
        constraints = [
            # Directories do not tell "BI-Release" from "bi-release".
            models.UniqueConstraint(Lower("name"), "source", name="one_such_group_per_source")
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_directory(self) -> bool:
        """True if the directory decides who is a member."""
        return self.source != Source.LOCAL


class Membership(models.Model):
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    group = models.ForeignKey(Group, on_delete=models.CASCADE, related_name="memberships")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["group", "user"], name="a_member_once")]

    def __str__(self) -> str:
        return f"{self.user} in {self.group}"


class GrantQuerySet(models.QuerySet["Grant"]):
    def in_force(self) -> Self:
        """Those that count now: an expired grant gives nothing from that moment on, and stays to be seen."""
        return self.filter(Q(expires_at=None) | Q(expires_at__gt=timezone.now()))

    def of(self, user: Any) -> Self:
        """Those of a user, directly and through groups, expired ones included."""
        mine = Membership.objects.filter(user_id=user.pk)
        return self.filter(Q(user_id=user.pk) | Q(group__in=mine.values("group_id")))

    def visible_to(self, user: Any) -> Self:
        """Those that decide about something on which `user` has `access:view`."""
        from . import policy

        where = policy.scopes(user, Permission.ACCESS_VIEW)
        if where.everything:
            return self
        return self.filter(scope__in=[*where.resources, EVERYTHING]) if where else self.none()


class Grant(models.Model):
    """A role given to one user or one group on one environment ("environment:<uuid>") or on everything ("*")."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.CASCADE, related_name="grants"
    )
    group = models.ForeignKey(Group, null=True, blank=True, on_delete=models.CASCADE, related_name="grants")
    role = models.CharField(max_length=50)  # the key of a built-in or of a custom role
    scope = models.CharField(max_length=200, default=EVERYTHING)
    expires_at = models.DateTimeField(null=True, blank=True)
    reason = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    objects = GrantQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        indexes = [models.Index(fields=["scope", "role"], name="grants_by_scope")]
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

    @property
    def holder(self) -> Any:
        """The user or the group that has it."""
        return self.user or self.group

    @property
    def is_expired(self) -> bool:
        return self.has_expired_by(timezone.now())

    def has_expired_by(self, moment: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= moment


class AccessLock(models.Model):
    """One row, locked by whoever changes who may do what: two that each take one of two admins take turns."""

    def __str__(self) -> str:
        return "lock of access"


class KeyCheck(models.Model):
    """One row: a known text, encrypted. With the wrong field keys it cannot be read, and that is noticed at once."""

    value = models.TextField()

    def __str__(self) -> str:
        return "key check"


class ApiToken(models.Model):
    """A user's token for programs. Only its hash is kept; the token itself is shown once.

    `permissions` and `scopes` (resource names) narrow what the user may do, and never add to it; empty: all of it.
    """

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
    permissions = models.JSONField(default=list, blank=True)
    scopes = models.JSONField(default=list, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    @property
    def is_narrowed(self) -> bool:
        """True if it may do less than its user."""
        return bool(self.permissions or self.scopes)

    @property
    def is_usable(self) -> bool:
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > timezone.now())
