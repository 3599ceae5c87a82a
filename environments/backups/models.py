"""Backups, what they hold over time, and for how long they are kept."""

from typing import Any, Self

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.urls import reverse
from django.utils import timezone

from environments.canonical.documents import Kind
from environments.models import UUID_LENGTH, Document, Environment, Snapshot, within
from sstools.roles import policy
from sstools.roles.permissions import Permission


class BackupReason(models.TextChoices):
    MANUAL = "manual", "by hand"
    SCHEDULE = "schedule", "by schedule"
    RESTORE_POINT = "restore_point", "restore point"
    IMPORTED = "imported", "imported"


class BackupState(models.TextChoices):
    RUNNING = "running", "running"
    GOOD = "good", "good"
    FAILED = "failed", "failed"
    CORRUPT = "corrupt", "corrupt"


#: Of these something can be read; what a running or failed one holds is nothing.
READABLE = (BackupState.GOOD, BackupState.CORRUPT)


class BackupQuerySet(models.QuerySet["Backup"]):
    def visible_to(self, user: Any) -> Self:
        """Those of environments on which `user` has `backup:view`. Absent and forbidden look alike."""
        return self.filter(within(policy.scopes(user, Permission.BACKUP_VIEW), "environment__uuid"))

    def readable(self) -> Self:
        return self.filter(state__in=READABLE)


class Backup(models.Model):
    """A snapshot that is kept, with what is known of it. Its number is the snapshot's: `backup:318`.

    ::

        running -- all was read, kept and is there --> good -- a document is missing or damaged --> corrupt
           \\-- anything else --> failed: holds nothing         <-- the next look finds it whole ----/

    `whole`: the whole environment; else `selection` says what was asked for (["dashboard:<uuid>", …]), and what that
    stands on is in it as well. `storage`: the name of the storage that keeps its documents. `counts`: {kind: number},
    assets and companions. `size_bytes`: of all that it holds, as canonical JSON; `added_documents` and `added_bytes`
    what it alone added to the store when it was taken (packed). `digest`: SHA-256 over its sorted lines
    "kind uuid fingerprint". `companions_read`: {kind of companion: "" or why it could not be read}; a kind that was not
    asked for is not in it. `problems`: [{"code", "uuid", "title", "text"}] of what was there and could not be read.
    `kept_by`: the rule that keeps it, in words. `verification`: {"state", "checked", "problems": [as above]}.
    `error`: {"code", "message", "remedy"} of one that failed.
    """

    snapshot = models.OneToOneField(
        Snapshot, primary_key=True, on_delete=models.CASCADE, related_name="backup"
    )
    environment = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="backups")
    title = models.CharField(max_length=200, blank=True)
    reason = models.CharField(max_length=20, choices=BackupReason.choices)
    state = models.CharField(max_length=10, choices=BackupState.choices, default=BackupState.RUNNING)
    whole = models.BooleanField(default=True)
    selection = models.JSONField(default=list, blank=True)
    storage = models.CharField(max_length=50, default="database")

    counts = models.JSONField(default=dict, blank=True)
    size_bytes = models.BigIntegerField(default=0)
    added_bytes = models.BigIntegerField(default=0)
    added_documents = models.PositiveIntegerField(default=0)
    digest = models.CharField(max_length=64, blank=True)
    companions_read = models.JSONField(default=dict, blank=True)
    problems = models.JSONField(default=list, blank=True)
    error = models.JSONField(null=True, blank=True)

    pinned = models.BooleanField(default=False)
    pinned_reason = models.CharField(max_length=200, blank=True)
    keep_until = models.DateTimeField(null=True, blank=True)  # whatever the rules say
    kept_by = models.CharField(max_length=200, blank=True)

    verified_at = models.DateTimeField(null=True, blank=True)
    verification = models.JSONField(null=True, blank=True)
    notes = models.TextField(blank=True)  # of people

    started_at = models.DateTimeField(default=timezone.now)
    seen_at = models.DateTimeField(null=True, blank=True)  # the server's clock at its newest content
    ended_at = models.DateTimeField(null=True, blank=True)
    job = models.UUIDField(null=True, blank=True)
    schedule = models.UUIDField(null=True, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    objects = BackupQuerySet.as_manager()

    class Meta:
        ordering = ["-snapshot_id"]
        indexes = [
            models.Index(fields=["environment", "state", "-snapshot"], name="backups_latest"),
            models.Index(fields=["environment", "whole", "snapshot"], name="backups_in_spans"),
            models.Index(fields=["started_at"], name="backups_by_age"),
        ]

    def __str__(self) -> str:
        return f"Backup {self.pk} of {self.environment}"

    def get_absolute_url(self) -> str:
        return reverse("backups:detail", args=[self.pk])

    @property
    def number(self) -> int:
        return int(self.pk)

    @property
    def concerns(self) -> list[Environment]:
        return [self.environment]

    @property
    def place(self) -> str:
        """How commands, the API and migrations name it."""
        return f"backup:{self.pk}"

    @property
    def is_readable(self) -> bool:
        return self.state in READABLE

    @property
    def is_good(self) -> bool:
        return self.state == BackupState.GOOD

    @property
    def is_kept_until(self) -> bool:
        """Whether somebody chose a moment until which it stays, and that is to come."""
        return self.keep_until is not None and self.keep_until > timezone.now()

    @property
    def asset_count(self) -> int:
        return sum(int(self.counts.get(kind.value, 0)) for kind in Kind)

    @property
    def companion_count(self) -> int:
        return sum(int(number) for number in self.counts.values()) - self.asset_count

    @property
    def seconds(self) -> float | None:
        """How long it took."""
        return (self.ended_at - self.started_at).total_seconds() if self.ended_at else None


class Span(models.Model):
    """One content of one asset or companion, and in which whole backups of its environment it is.

    In backup n of the environment are the spans with first <= n and (last is null or last >= n): a backup of thousands
    of assets costs rows for what changed. `last` is null while the newest one still has it. `kind`: of an asset
    (`canonical.documents.Kind`) or a companion (`canonical.companions.CompanionKind`). Without a document: it was
    there, and could not be read.
    """

    environment = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="spans")
    kind = models.CharField(max_length=20)
    uuid = models.CharField(max_length=UUID_LENGTH)
    superset_id = models.PositiveBigIntegerField(null=True, blank=True)
    document = models.ForeignKey(
        Document, null=True, blank=True, on_delete=models.PROTECT, related_name="spans"
    )
    first = models.BigIntegerField()
    last = models.BigIntegerField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["environment", "kind", "uuid", "first"], name="a_span_begins_once"
            ),
            models.UniqueConstraint(
                fields=["environment", "kind", "uuid"],
                condition=models.Q(last=None),
                name="one_open_span_of_each",
            ),
            models.CheckConstraint(
                condition=models.Q(last=None) | models.Q(last__gte=models.F("first")),
                name="a_span_ends_after_it_began",
            ),
        ]
        indexes = [
            models.Index(fields=["environment", "first", "last"], name="spans_by_backup"),
            models.Index(fields=["uuid"], name="spans_by_uuid"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.uuid} {self.first}-{self.last or ''}"


class QuotaAction(models.TextChoices):
    WARN = "warn", "warn"
    REFUSE = "refuse", "take no more"


class Policy(models.Model):
    """For how long the backups of an environment are kept, and how much they may take. Without a row: the defaults.

    A good backup stays if any rule keeps it: the last `keep_last`, the last one of each of the last `daily` days,
    `weekly` weeks (from Monday) and `monthly` months that have one, in ss-tools' time zone; pinned ones; those whose
    `keep_until` is to come. Restore points stay `restore_point_days`. The newest good one of the whole environment is
    never removed. `enabled` false: nothing is removed by itself.
    """

    environment = models.OneToOneField(
        Environment, primary_key=True, on_delete=models.CASCADE, related_name="backup_policy"
    )
    enabled = models.BooleanField(default=True)
    keep_last = models.PositiveIntegerField(
        default=14, validators=[MinValueValidator(1), MaxValueValidator(10_000)]
    )
    daily = models.PositiveIntegerField(default=14, validators=[MaxValueValidator(3650)])
    weekly = models.PositiveIntegerField(default=8, validators=[MaxValueValidator(520)])
    monthly = models.PositiveIntegerField(default=12, validators=[MaxValueValidator(120)])
    restore_point_days = models.PositiveIntegerField(
        default=180, validators=[MinValueValidator(1), MaxValueValidator(36_500)]
    )
    quota_bytes = models.PositiveBigIntegerField(null=True, blank=True)  # of `spans.usage`; None: no limit
    quota_action = models.CharField(max_length=10, choices=QuotaAction.choices, default=QuotaAction.WARN)
    updated_at = models.DateTimeField(auto_now=True)
    updated_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    class Meta:
        verbose_name_plural = "policies"

    def __str__(self) -> str:
        return f"Retention of {self.environment}"
