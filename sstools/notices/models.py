"""Notices, who wants which, and what became of each."""

import uuid as uuid_module
from typing import Any, Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from sstools.resources import EVERYTHING
from sstools.secrets import SecretField


class Notice(models.Model):
    """Something that happened. `data`: what webhooks get beside the words; no secrets. `path`: the page about it."""

    uuid = models.UUIDField(unique=True, default=uuid_module.uuid4, editable=False)
    event = models.CharField(max_length=100)
    title = models.CharField(max_length=300)
    text = models.TextField(blank=True)
    path = models.CharField(max_length=500, blank=True)
    data = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.title


class Wish(models.Model):
    """What somebody wants to be mailed of. Without a row: what `Event.mails_you` says, and nothing of others."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="notice_wishes")
    event = models.CharField(max_length=100)
    mine = models.BooleanField(default=True)  # what concerns me
    others = models.BooleanField(default=False)  # whatever I may see

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "event"], name="one_wish_per_event")]
        verbose_name_plural = "wishes"

    def __str__(self) -> str:
        return f"{self.user}: {self.event}"


class WebhookQuerySet(models.QuerySet["Webhook"]):
    def visible_to(self, user: Any) -> Self:
        from sstools.roles import policy
        from sstools.roles.permissions import Permission

        where = policy.scopes(user, Permission.WEBHOOK_EDIT)
        return self if where.everything else self.filter(scope__in=where.resources)


class Webhook(models.Model):
    """An address that is told. The address itself is a secret: chat services put the key into it."""

    uuid = models.UUIDField(unique=True, default=uuid_module.uuid4, editable=False)
    name = models.CharField(max_length=100, unique=True)
    url: Any = SecretField()
    host = models.CharField(max_length=255, editable=False)  # of the address: what may be shown
    secret: Any = SecretField(blank=True)  # signs what is sent
    events = models.JSONField(default=list)  # keys; empty: all
    scope = models.CharField(max_length=200, default=EVERYTHING)  # "environment:<uuid>" or "*"
    is_enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    objects = WebhookQuerySet.as_manager()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def concerns(self) -> list[str]:
        return [] if self.scope == EVERYTHING else [self.scope]


class DeliveryState(models.TextChoices):
    WAITING = "waiting", "waiting"
    SENT = "sent", "sent"
    FAILED = "failed", "given up"


class Delivery(models.Model):
    """A notice to one person or one webhook, and how often that was tried."""

    uuid = models.UUIDField(unique=True, default=uuid_module.uuid4, editable=False)
    notice = models.ForeignKey(Notice, on_delete=models.CASCADE, related_name="deliveries")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.CASCADE, related_name="+")
    webhook = models.ForeignKey(Webhook, null=True, on_delete=models.CASCADE, related_name="deliveries")
    state = models.CharField(max_length=10, choices=DeliveryState.choices, default=DeliveryState.WAITING)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_at = models.DateTimeField(default=timezone.now)
    answer = models.CharField(
        max_length=300, blank=True
    )  # of the last attempt: a status, or why there was none
    sent_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "deliveries"
        indexes = [models.Index(fields=["state", "next_at"], name="deliveries_due")]
        constraints = [
            models.UniqueConstraint(
                fields=["notice", "user"], condition=Q(user__isnull=False), name="one_mail_each"
            ),
            models.UniqueConstraint(
                fields=["notice", "webhook"], condition=Q(webhook__isnull=False), name="one_call_each"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.notice} to {self.user or self.webhook}"
