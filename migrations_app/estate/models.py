"""What a comparison of all environments found: one row for each asset of each ordered pair of them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Self

from django.conf import settings
from django.db import models
from django.utils import timezone

from environments.models import KIND_CHOICES, TITLE_LENGTH, UUID_LENGTH, Environment
from migrations_app.engine.sync import Sync
from sstools.roles import policy
from sstools.roles.permissions import Permission

STATE_CHOICES = [(state.value, state.value.replace("_", " ")) for state in Sync]
#: What comes first where attention is asked for. From `NEEDS_ATTENTION` on somebody has to decide something.
NEEDS_ATTENTION = 40
ATTENTION = {
    Sync.DIVERGED: 60,
    Sync.DRIFTED: 50,
    Sync.UNKNOWN: 40,
    Sync.DIFFERS: 30,
    Sync.BEHIND: 20,
    Sync.ABSENT: 10,
    Sync.ONLY_HERE: 5,
    Sync.IN_SYNC: 0,
}


class SyncStateQuerySet(models.QuerySet["SyncState"]):
    def visible_to(self, user: Any) -> Self:
        """Those of which `user` may see the assets of both sides (`asset:view`)."""
        scopes = policy.scopes(user, Permission.ASSET_VIEW)
        if scopes.everything:
            return self
        uuids = scopes.uuids("environment")
        return self.filter(source__uuid__in=uuids, target__uuid__in=uuids)

    def between(self, source: Environment, targets: Collection[Environment]) -> Self:
        return self.filter(source=source, target__in=[target.pk for target in targets])


class SyncState(models.Model):
    """How one asset of `source` stands to its counterpart on `target`, after mapping.

    `source_uuid` or `target_uuid` is empty where that side does not have it. `row` names it among all assets of the
    source: its uuid there, or "~" and the target's uuid of what the source does not have.

    `changes`: number of fields that differ. `sentences`: the first of them in words, from how it was to what the side
    that moved made of it (where both or neither did: from the target's to the source's). `changed_by`, `changed_at`:
    the last edit of the side that moved; of the target where both did.

    `wanted`, `present`: the comparison fingerprints that were held against one another (64 hex digits, empty: not
    read); `source_document`: the content fingerprint that `wanted` was made of.
    """

    source = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="states_from")
    target = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="states_to")
    kind = models.CharField(max_length=20, choices=KIND_CHOICES)
    source_uuid = models.CharField(max_length=UUID_LENGTH, blank=True)
    target_uuid = models.CharField(max_length=UUID_LENGTH, blank=True)
    row = models.CharField(max_length=UUID_LENGTH + 1)
    state = models.CharField(max_length=12, choices=STATE_CHOICES)
    attention = models.PositiveSmallIntegerField(default=0)  # ATTENTION, to sort by
    is_settled = models.BooleanField(default=False)  # it differs, and somebody decided that it may
    changes = models.PositiveIntegerField(default=0)
    sentences = models.JSONField(default=list, blank=True)
    title = models.CharField(max_length=TITLE_LENGTH)
    sort_key = models.CharField(max_length=200, blank=True)
    changed_by = models.CharField(max_length=150, blank=True)
    changed_at = models.DateTimeField(null=True, blank=True)
    wanted = models.CharField(max_length=64, blank=True)
    present = models.CharField(max_length=64, blank=True)
    source_document = models.CharField(max_length=64, blank=True)
    computed_at = models.DateTimeField(default=timezone.now)

    objects = SyncStateQuerySet.as_manager()

    class Meta:
        ordering = ["-attention", "sort_key", "pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["source", "target", "kind", "source_uuid", "target_uuid"],
                name="one_state_per_asset_and_pair",
            )
        ]
        indexes = [
            models.Index(
                fields=["source", "kind", "row", "target", "attention", "sort_key"], name="states_by_row"
            ),
            models.Index(fields=["source", "target", "state", "attention"], name="states_of_pair"),
            models.Index(fields=["source", "kind", "row", "state"], name="states_by_row_and_state"),
            models.Index(fields=["target", "target_uuid"], name="states_by_target_uuid"),
        ]

    def __str__(self) -> str:
        return f"{self.title}: {self.state}"

    @property
    def needs_attention(self) -> bool:
        return self.attention >= NEEDS_ATTENTION


class Pair(models.Model):
    """Two environments that are compared, in both directions at once. `first` is the one with the lower key.

    `revision` counts what was written, so that a comparison made of what is out of date by then is made anew.
    `mapping`: digest of the mappings that the states were computed with, both ways. `compared_at`: when last.
    """

    first = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="+")
    second = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="+")
    revision = models.PositiveIntegerField(default=0)
    mapping = models.CharField(max_length=64, blank=True)
    compared_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["first", "second"], name="a_pair_is_compared_once")]

    def __str__(self) -> str:
        return f"{self.first} and {self.second}"


class SavedView(models.Model):
    """Filters of a list that somebody gave a name. `page` is the URL name of the list, `query` without "?"."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="saved_views")
    page = models.CharField(max_length=50)
    name = models.CharField(max_length=60)
    query = models.CharField(max_length=1000, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["user", "page", "name"], name="a_view_has_a_name_of_its_own")
        ]

    def __str__(self) -> str:
        return self.name


class Selection(models.Model):
    """What somebody ticked among the assets of one environment: it outlives paging, filters and sessions.

    `rows`: ["<kind>:<uuid>", …] of `source`, in the order of ticking.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    source = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="+")
    rows = models.JSONField(default=list, blank=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "source"], name="one_selection_per_environment")
        ]

    def __str__(self) -> str:
        return f"{len(self.rows)} of {self.source}"
