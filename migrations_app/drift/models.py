"""What somebody did to a target by hand, what was answered, and who wants to hear of it."""

from __future__ import annotations

import uuid as uuid_module
from typing import Any, Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from environments.canonical.companions import CompanionKind
from environments.models import KIND_CHOICES, TITLE_LENGTH, UUID_LENGTH, Document, Environment
from migrations_app.engine.companions import companion_words
from migrations_app.engine.drift import How
from migrations_app.models import Migration, Run
from migrations_app.release.models import Route
from sstools.roles import policy
from sstools.roles.permissions import Permission

HOW_CHOICES = [
    (How.CHANGED.value, "changed"),
    (How.DELETED.value, "deleted"),
    (How.CREATED.value, "created by hand"),
]


class FindingState(models.TextChoices):
    OPEN = "open", "open"
    GONE = "gone", "gone by itself"
    TAKEN = "taken", "taken into the source"
    REVERTED = "reverted", "reverted"
    ACCEPTED = "accepted", "accepted"
    SETTLED = "settled", "settled by a run"


class Answer(models.TextChoices):
    TAKE = "take", "take into the source"
    REVERT = "revert", "revert"


#: As which state of `sstools/web/states.py` each is shown.
STATE_LOOKS = {
    FindingState.OPEN: "drifted",
    FindingState.GONE: "same",
    FindingState.TAKEN: "adopt",
    FindingState.REVERTED: "rolled_back",
    FindingState.ACCEPTED: "keep",
    FindingState.SETTLED: "applied",
}
HOW_LOOKS = {How.CHANGED: "update", How.DELETED: "removed", How.CREATED: "create"}


#: Kinds of what goes with assets: found by a check alone, and answered with *accept* or by a migration.
BESIDE_KINDS = frozenset(kind.value for kind in CompanionKind)


class FindingQuerySet(models.QuerySet["Finding"]):
    def visible_to(self, user: Any) -> Self:
        """Those on environments of which `user` may see migrations (`migration:view`)."""
        scopes = policy.scopes(user, Permission.MIGRATION_VIEW)
        return self if scopes.everything else self.filter(target__uuid__in=scopes.uuids("environment"))

    def open(self) -> Self:
        return self.filter(state=FindingState.OPEN)

    def beside(self) -> Self:
        """Of what goes with assets."""
        return self.filter(kind__in=BESIDE_KINDS)

    def of_assets(self) -> Self:
        return self.exclude(kind__in=BESIDE_KINDS)

    def of_route(self, route: Route) -> Self:
        """What a route is concerned by: its target, without what is known to come from another source."""
        return self.filter(Q(source=route.source_id) | Q(source=None), target=route.target_id)


class Finding(models.Model):
    """One asset of a target that is not as ss-tools left it, or one thing that goes with it (`kind` is that of a
    companion then, `asset_uuid` its uuid). Open as long as that is so; the same row for every edit.

    `content`: comparison fingerprint of what is there, "" for nothing; `base`: of what was left. `document` and
    `base_document`: the same with their content, as far as it is known. `changes`: [{"path", "before", "after",
    "sentence"}], from what was left to what is there. `changed_by` and `changed_on` are Superset's own, and empty for
    a deletion, of which it tells nothing. `run`: the last one that touched it before. `source`, `source_uuid`: where
    that run had it from. `migration`: the one that answers it. `told`: the content that people were told of.
    """

    uuid = models.UUIDField(unique=True, default=uuid_module.uuid4, editable=False)
    target = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="drift")
    source = models.ForeignKey(
        Environment, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    kind = models.CharField(max_length=20, choices=KIND_CHOICES)
    asset_uuid = models.CharField(max_length=UUID_LENGTH)
    source_uuid = models.CharField(max_length=UUID_LENGTH, blank=True)
    title = models.CharField(max_length=TITLE_LENGTH)
    how = models.CharField(max_length=10, choices=HOW_CHOICES)
    state = models.CharField(max_length=10, choices=FindingState.choices, default=FindingState.OPEN)
    content = models.CharField(max_length=64, blank=True)
    base = models.CharField(max_length=64, blank=True)
    document = models.ForeignKey(Document, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    base_document = models.ForeignKey(
        Document, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    changes = models.JSONField(default=list, blank=True)
    edits = models.PositiveIntegerField(default=1)  # how often it was found with another content
    changed_by = models.CharField(max_length=150, blank=True)
    changed_on = models.DateTimeField(null=True, blank=True)
    last_seen_at = models.DateTimeField(null=True, blank=True)  # of what was deleted: when it was still there
    run = models.ForeignKey(Run, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    found_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    closed_at = models.DateTimeField(null=True, blank=True)
    closed_by = models.ForeignKey(Run, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    told = models.CharField(max_length=64, blank=True, default="-")
    answer = models.CharField(max_length=10, choices=Answer.choices, blank=True)
    answered_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    answered_at = models.DateTimeField(null=True, blank=True)
    reason = models.CharField(max_length=500, blank=True)
    migration = models.ForeignKey(
        Migration, null=True, blank=True, on_delete=models.SET_NULL, related_name="answers_drift"
    )

    objects = FindingQuerySet.as_manager()

    class Meta:
        ordering = ["-updated_at", "-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["target", "asset_uuid"], condition=Q(state="open"), name="one_open_finding_per_asset"
            )
        ]
        indexes = [models.Index(fields=["target", "state", "-updated_at"], name="drift_by_target")]

    def __str__(self) -> str:
        return f"{self.words} on {self.target}"

    def get_absolute_url(self) -> str:
        return reverse("drift:finding", args=[self.uuid])

    @property
    def is_beside(self) -> bool:
        return self.kind in BESIDE_KINDS

    @property
    def words(self) -> str:
        """What it is: "chart “Sales”", "owners of “Sales”"."""
        if self.is_beside:
            return companion_words(CompanionKind(self.kind), self.title)
        return f"{self.kind} “{self.title}”"

    @property
    def name(self) -> str:
        """As lists name it beside its sign."""
        return self.words if self.is_beside else self.title

    @property
    def sign(self) -> str:
        return "people" if self.is_beside else self.kind

    @property
    def concerns(self) -> list[Environment]:
        return [self.target]

    @property
    def is_open(self) -> bool:
        return self.state == FindingState.OPEN

    @property
    def state_look(self) -> str:
        return STATE_LOOKS[FindingState(self.state)]

    @property
    def how_look(self) -> str:
        return HOW_LOOKS[How(self.how)]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The changes with their paths as people read them."""
        return [{**change, "path": " › ".join(change["path"])} for change in self.changes]

    @property
    def sentences(self) -> list[str]:
        return [str(change["sentence"]) for change in self.changes]


class Check(models.Model):
    """When a target was last held against what was left there."""

    target = models.OneToOneField(
        Environment, primary_key=True, on_delete=models.CASCADE, related_name="drift_check"
    )
    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.target} {self.at:%Y-%m-%d %H:%M}"


class Watch(models.Model):
    """Somebody wants to be mailed of the drift of a route."""

    route = models.ForeignKey(Route, on_delete=models.CASCADE, related_name="watches")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    since = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name_plural = "watches"
        constraints = [models.UniqueConstraint(fields=["route", "user"], name="one_watch_each")]

    def __str__(self) -> str:
        return f"{self.user} watches {self.route}"
