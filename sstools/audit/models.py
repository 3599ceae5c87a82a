"""The history: rows that are added and never changed."""

from typing import Any, NoReturn, Self

from django.db import models
from django.utils import timezone

GENESIS = "0" * 64


class AppendOnly(Exception):
    """Somebody tried to change or delete history."""


class AuditQuerySet(models.QuerySet["AuditEvent"]):
    def visible_to(self, user: Any) -> Self:
        """Everything for who has `audit:view` on everything; else what concerns things on which one has it."""
        from sstools.roles import policy
        from sstools.roles.permissions import Permission

        where = policy.scopes(user, Permission.AUDIT_VIEW)
        if where.everything:
            return self
        found = models.Q(pk__in=[])
        for name in where.resources:
            found |= models.Q(concerns__contains=f" {name} ")
        return self.filter(found)

    def update(self, **kwargs: Any) -> NoReturn:
        raise AppendOnly("Audit events are never changed.")

    def delete(self) -> NoReturn:
        raise AppendOnly("Audit events are never deleted.")


class AuditEvent(models.Model):
    """Who did what to which object, when, from where. `hash` covers the row and the hash before it.

    `concerns`: resource names between spaces, with one before and behind; what scoped readers are shown by.
    """

    number = models.PositiveBigIntegerField(unique=True)  # without gaps: a missing row is seen
    at = models.DateTimeField(default=timezone.now)
    # Plain values instead of a foreign key: deleting a user must not reach into history.
    actor_id = models.BigIntegerField(null=True, blank=True)
    actor_name = models.CharField(max_length=200, blank=True)
    source = models.CharField(max_length=20, blank=True)
    action = models.CharField(max_length=100)
    object_name = models.CharField(max_length=200)
    object_label = models.CharField(max_length=300, blank=True)
    data = models.JSONField(default=dict, blank=True)
    request_id = models.CharField(max_length=64, blank=True)
    address = models.CharField(max_length=64, blank=True)  # of the client, where there was one
    job = models.CharField(max_length=36, blank=True)  # uuid of the job that did it
    concerns = models.TextField(blank=True)
    prev_hash = models.CharField(max_length=64)
    hash = models.CharField(max_length=64, unique=True)

    objects = AuditQuerySet.as_manager()

    class Meta:
        ordering = ["-number"]
        indexes = [
            models.Index(fields=["object_name", "-number"], name="audit_by_object"),
            models.Index(fields=["actor_id", "-number"], name="audit_by_actor"),
            models.Index(fields=["action", "-number"], name="audit_by_action"),
        ]

    def __str__(self) -> str:
        return f"{self.number} {self.action} {self.object_name}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise AppendOnly("Audit events are never changed.")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise AppendOnly("Audit events are never deleted.")


class AuditChain(models.Model):
    """One row: both ends of the chain. Locking it makes writers take turns.

    `sealed_*`: the last event that was taken out by `services.seal`; what is kept follows it.
    """

    sealed_number = models.PositiveBigIntegerField(default=0)
    sealed_hash = models.CharField(max_length=64, default=GENESIS)
    last_number = models.PositiveBigIntegerField(default=0)
    last_hash = models.CharField(max_length=64, default=GENESIS)

    def __str__(self) -> str:
        return f"{self.last_number} {self.last_hash}"
