"""Migrations: from a selection to a verified, undoable change of one environment."""

from __future__ import annotations

import uuid as uuid_module
from functools import cached_property
from typing import Any, Self

from django.conf import settings
from django.db import models
from django.db.models import F
from django.urls import reverse
from django.utils import timezone

from environments.backups.models import Backup
from environments.canonical.companions import CompanionKind
from environments.models import KIND_CHOICES, TITLE_LENGTH, UUID_LENGTH, Document, Environment, Snapshot
from sstools.jobs.models import Job
from sstools.roles import policy
from sstools.roles.permissions import Permission
from sstools.texts import counted

from .engine.companions import companion_words


class MappingQuerySet(models.QuerySet["Mapping"]):
    def between(self, source: Environment | None, target: Environment) -> Mapping:
        """The mapping of a pair of environments, empty if there is none yet (not saved). Source None: of files of which
        nobody said where they are from.
        """
        return self.filter(source=source, target=target).first() or Mapping(source=source, target=target)


class Mapping(models.Model):
    """How one environment's terms become another's, remembered for the pair.

    `databases`: source uuid -> {"target": uuid, "schemas": {source: target}, "catalogs": {source:
    target}}; the empty text
    stands for "not set". `substitutions`: [{"find", "replace", "is_pattern"}], applied to SQL in order.
    `renames`: source uuid ->
    {field: value}, from answers to conflicts. `people`: e-mail address or user name on the source -> user name on the
    target; `roles`: name -> name; the empty text: nobody, none. What they do not name is matched by e-mail and name.
    """

    source = models.ForeignKey(
        Environment, null=True, blank=True, on_delete=models.CASCADE, related_name="mappings_from"
    )
    target = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="mappings_to")
    databases = models.JSONField(default=dict, blank=True)
    substitutions = models.JSONField(default=list, blank=True)
    renames = models.JSONField(default=dict, blank=True)
    people = models.JSONField(default=dict, blank=True)
    roles = models.JSONField(default=dict, blank=True)
    updated_at = models.DateTimeField(auto_now=True)
    updated_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    objects = MappingQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["source", "target"], name="one_mapping_per_pair"),
            models.UniqueConstraint(
                fields=["target"], condition=models.Q(source=None), name="one_mapping_for_files_per_target"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.source or 'files'} → {self.target}"


class Pairing(models.Model):
    """Two assets that are the same under different uuids. Without one, the same uuid means the same asset."""

    source = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="pairings_from")
    target = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="pairings_to")
    kind = models.CharField(max_length=20, choices=KIND_CHOICES)
    source_uuid = models.CharField(max_length=UUID_LENGTH)
    target_uuid = models.CharField(max_length=UUID_LENGTH)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["source", "target", "source_uuid"], name="an_asset_is_paired_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.source_uuid} = {self.target_uuid}"


class Baseline(models.Model):
    """What the last run left of an asset on a target: the base of three-way comparison.

    Both are comparison fingerprints in the target's terms: of what was wanted, and of what was read back, "" if it is
    to be absent. `document`: what was read back. `accepted`: {"by", "at", "reason"} if not a run but somebody's word
    made it the base.
    """

    target = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="baselines")
    uuid = models.CharField(max_length=UUID_LENGTH)
    wanted = models.CharField(max_length=64)
    present = models.CharField(max_length=64, blank=True)
    document = models.ForeignKey(
        Document, null=True, blank=True, on_delete=models.PROTECT, related_name="baselines"
    )
    accepted = models.JSONField(null=True, blank=True)
    run = models.ForeignKey("Run", null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["target", "uuid"], name="one_baseline_per_asset")]

    def __str__(self) -> str:
        return f"{self.uuid} on {self.target}"


class CompanionBaseline(models.Model):
    """What the last run left of what goes with assets, as `Baseline` does of assets. `uuid`: of the companion on the
    target; `asset_uuid`: whose facet it is there, "" for an object. `wanted`, `present`: what the source wanted and
    what was read back; null: nothing. `accepted`: as of assets.
    """

    target = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="companion_baselines")
    kind = models.CharField(max_length=20)  # canonical.companions.CompanionKind
    uuid = models.CharField(max_length=UUID_LENGTH)
    asset_uuid = models.CharField(max_length=UUID_LENGTH, blank=True)
    title = models.CharField(max_length=TITLE_LENGTH)
    wanted = models.ForeignKey(Document, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    present = models.ForeignKey(Document, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    accepted = models.JSONField(null=True, blank=True)
    run = models.ForeignKey("Run", null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["target", "uuid"], name="one_baseline_per_companion")]

    def __str__(self) -> str:
        return f"{self.words} on {self.target}"

    @property
    def words(self) -> str:
        """What it is: "owners of “Sales”", "annotation layer “Holidays”"."""
        return companion_words(CompanionKind(self.kind), self.title)


class MigrationState(models.TextChoices):
    DRAFT = "draft", "draft"
    PLANNED = "planned", "planned"
    APPLYING = "applying", "applying"
    VERIFYING = "verifying", "verifying"
    DONE = "done", "done"
    ROLLED_BACK = "rolled_back", "rolled back"
    NEEDS_ATTENTION = "needs_attention", "needs attention"
    ACCEPTED = "accepted", "left as it is"
    DISCARDED = "discarded", "discarded"


#: In these a migration may be planned again, changed and applied.
OPEN_STATES = (MigrationState.DRAFT, MigrationState.PLANNED)
BUSY_STATES = (MigrationState.APPLYING, MigrationState.VERIFYING)


class MigrationQuerySet(models.QuerySet["Migration"]):
    def visible_to(self, user: Any) -> Self:
        """Those whose target `user` may see migrations of (`migration:view`)."""
        scopes = policy.scopes(user, Permission.MIGRATION_VIEW)
        if scopes.everything:
            return self
        return self.filter(target__uuid__in=scopes.uuids("environment"))


class Migration(models.Model):
    """One change to one environment, from selection to verification.

    ::

        draft --plan--> planned --apply--> applying --> verifying --> done
          ^               |  ^                |  \\            \\--> rolled back
          +---- edit -----+  +-- run failed --+   +--> needs attention --accept--> accepted
        (draft, planned) --discard--> discarded

    `source_place` says where the assets come from: `env:<slug>`, `backup:<number>`, `file:<uuid>`,
    `git:<repository>@<hash>`, `run:<number>:before` for a roll back, `applied:<slug>` for what was last applied to the
    target, `repair:<slug>` for the target's own without damage, or `replace:<slug>` for the target's own with texts
    replaced.
    `selection` and `left_out` are uuids of the source. `answers`: uuid -> {"answer", "value"}. `carrying`: what comes
    along beside the assets, where it is not the default (`engine.carrying.OPTIONS`). `continues`: the run whose rest
    it writes. `copy_terms`: how it differs from the source, where it makes a copy (`engine.copies.Copy`, in JSON).
    """

    number = models.BigAutoField(primary_key=True)
    uuid = models.UUIDField(unique=True, default=uuid_module.uuid4, editable=False)
    title = models.CharField(max_length=200)
    state = models.CharField(max_length=20, choices=MigrationState.choices, default=MigrationState.DRAFT)
    source_place = models.CharField(max_length=200)
    source = models.ForeignKey(
        Environment, null=True, blank=True, on_delete=models.PROTECT, related_name="migrations_from"
    )
    target = models.ForeignKey(Environment, on_delete=models.PROTECT, related_name="migrations_to")
    rolls_back = models.ForeignKey(
        "Run", null=True, blank=True, on_delete=models.PROTECT, related_name="rollbacks"
    )
    continues = models.ForeignKey(
        "Run", null=True, blank=True, on_delete=models.PROTECT, related_name="continuations"
    )
    selection = models.JSONField(default=list, blank=True)
    with_dependencies = models.BooleanField(default=True)
    left_out = models.JSONField(default=list, blank=True)
    answers = models.JSONField(default=dict, blank=True)
    carrying = models.JSONField(default=dict, blank=True)
    prune = models.BooleanField(
        default=False
    )  # also remove what this way brought and the source no longer has
    copy_terms = models.JSONField(null=True, blank=True)
    override_reason = models.CharField(
        max_length=500, blank=True
    )  # why failed checks do not stop it; empty: they do
    verify = models.BooleanField(default=True)
    roll_back_when_red = models.BooleanField(default=False)
    plan = models.ForeignKey("Plan", null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    job = models.ForeignKey(
        Job, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )  # planning or running
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="migrations"
    )
    updated_at = models.DateTimeField(auto_now=True)

    objects = MigrationQuerySet.as_manager()

    class Meta:
        ordering = ["-number"]
        indexes = [models.Index(fields=["state", "-number"], name="migrations_by_state")]

    def __str__(self) -> str:
        return f"Migration {self.number}"

    def get_absolute_url(self) -> str:
        return reverse("migrations_app:detail", args=[self.number])

    @property
    def concerns(self) -> list[Environment]:
        """Where it writes: who may see migrations to there sees its history, and nobody who may only see the source."""
        return [self.target]

    @property
    def is_open(self) -> bool:
        return self.state in OPEN_STATES

    @property
    def is_busy(self) -> bool:
        return self.state in BUSY_STATES

    @property
    def is_rollback(self) -> bool:
        return self.rolls_back_id is not None

    @property
    def is_repair(self) -> bool:
        """It mends what other tools damaged in dashboards of the target."""
        return self.source_place.startswith("repair:")

    @property
    def is_replacement(self) -> bool:
        """It replaces texts in assets of the target: its `replacement` says which."""
        return self.source_place.startswith("replace:")

    @property
    def changes_own(self) -> bool:
        """What it wants is made of what the target holds: charts are held against how they ran there before."""
        return self.is_repair or self.is_replacement

    @property
    def is_of_file(self) -> bool:
        """Its assets come from files: those that somebody uploaded, `file:<uuid>`, or of a commit."""
        return self.source_place.startswith(("file:", "git:"))

    @property
    def is_of_commit(self) -> bool:
        """It deploys: its assets come from a commit, `git:<repository>@<hash>`."""
        return self.source_place.startswith("git:")

    @cached_property
    def file(self) -> UploadedBundle | CommitReading | None:
        """The files that its assets come from, None if they are forgotten, or if they come from elsewhere."""
        if not self.is_of_file:
            return None
        if self.is_of_commit:
            slug, _, sha = self.source_place.removeprefix("git:").partition("@")
            rows = CommitReading.objects.select_related("repository__environment")
            return rows.filter(repository__slug=slug, sha=sha, folder=F("repository__folder")).first()
        uuid = self.source_place.removeprefix("file:")
        return UploadedBundle.objects.select_related("origin").filter(uuid=uuid).first()

    @property
    def is_of_backup(self) -> bool:
        """It restores: its assets come from a backup, `backup:<number>`."""
        return self.source_place.startswith("backup:")

    @cached_property
    def backup(self) -> Backup | None:
        """The backup that its assets come from, None if it was removed, or if they come from elsewhere."""
        if not self.is_of_backup:
            return None
        rows = Backup.objects.select_related("environment", "snapshot")
        return rows.filter(pk=self.backup_number).first()

    @property
    def is_put_back(self) -> bool:
        """It restores an environment's own backup over what is there: nothing has to be mapped."""
        from .places import address_of  # which needs the models

        backup = self.backup
        is_own = backup is not None and address_of(backup.environment) == address_of(self.target)
        return is_own and not self.copy_terms

    @property
    def terms(self) -> Environment | None:
        """In whose terms its source is: the environment that it is, that its file was exported from, or that its
        backup is of.
        """
        if self.backup is not None:
            return self.backup.environment
        return self.source or (self.file.origin if self.file is not None else None)

    @property
    def backup_number(self) -> int | None:
        return int(self.source_place.removeprefix("backup:")) if self.is_of_backup else None

    @property
    def can_prune(self) -> bool:
        """Whether something can be missing on its source, and so be removed: see `services`."""
        if self.is_of_backup:
            return self.is_put_back and self.backup is not None and self.backup.whole
        return self.source_id is not None and not self.copy_terms

    @property
    def has_live_source(self) -> bool:
        """There is an environment to compare with now; else its charts are asked on the target alone."""
        return self.source_id is not None

    @property
    def maps_nothing(self) -> bool:
        """What it takes is the target's own of before: in its terms already, and with no source to verify against."""
        return self.source_id is None and not self.is_of_file and not self.is_of_backup

    @property
    def source_name(self) -> str:
        """How pages call the source: the environment's name, or the restore point."""
        if self.rolls_back_id is not None:
            return f"before run {self.rolls_back_id}"
        if self.is_repair:
            return "repair"
        if self.is_replacement:
            return "replacement"
        if self.is_of_file:
            return self.file.name if self.file is not None else "a commit" if self.is_of_commit else "a file"
        if self.is_of_backup:
            return self.source_place.replace(":", " ")
        return self.source.name if self.source is not None else "last applied"


#: Actions of a plan that change the target.
WRITES = ("create", "update", "remove")
ASKED = "asked"


class Plan(models.Model):
    """What one plan says. Never changed: another answer is another plan with another hash.

    `problems`, `losses`, `affected`: as the engine's dataclasses, in JSON. `databases`: for each source
    database the datasets that need it, its target, and suggestions. `mapping`: what was mapped how, as used.
    `hash` binds an apply to this plan. `companion_counts`: action -> number of `companions`, and under `ASKED` how many
    of them wait for an answer.
    """

    uuid = models.UUIDField(unique=True, default=uuid_module.uuid4, editable=False)
    migration = models.ForeignKey(Migration, on_delete=models.CASCADE, related_name="plans")
    hash = models.CharField(max_length=64)
    counts = models.JSONField(default=dict)
    companion_counts = models.JSONField(default=dict)
    problems = models.JSONField(default=list)
    losses = models.JSONField(default=list)
    affected = models.JSONField(default=list)
    pruning = models.JSONField(default=list)  # pruning.Candidate, in JSON
    databases = models.JSONField(default=list)
    mapping = models.JSONField(default=dict)
    source_snapshot = models.ForeignKey(Snapshot, null=True, on_delete=models.SET_NULL, related_name="+")
    target_snapshot = models.ForeignKey(Snapshot, null=True, on_delete=models.SET_NULL, related_name="+")
    request_count = models.PositiveIntegerField(default=0)
    stale_reason = models.CharField(max_length=500, blank=True)  # set when an apply found it stale
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"Plan {self.short_hash} of {self.migration}"

    @property
    def short_hash(self) -> str:
        return self.hash[:4]

    @property
    def blocked_count(self) -> int:
        """Number of assets, and of what comes along with them, that wait for an answer."""
        return int(self.counts.get("blocked", 0)) + int(self.companion_counts.get(ASKED, 0))

    @property
    def blocked_words(self) -> str:
        """ "2 assets and 1 of what comes along are blocked"."""
        assets, others = int(self.counts.get("blocked", 0)), int(self.companion_counts.get(ASKED, 0))
        named = [counted(assets, "asset")] if assets or not others else []
        named += [f"{others:,} of what comes along"] if others else []
        return f"{' and '.join(named)} {'is' if assets + others == 1 else 'are'} blocked"

    @property
    def kept_count(self) -> int:
        """Number of edits on the target that somebody answered to keep."""
        return sum(int(found.get("keep", 0)) for found in (self.counts, self.companion_counts))

    @property
    def asset_write_count(self) -> int:
        return sum(int(self.counts.get(action, 0)) for action in WRITES)

    @property
    def write_count(self) -> int:
        """Number of all that it writes, companions included."""
        counts = (self.counts, self.companion_counts)
        return sum(int(found.get(action, 0)) for found in counts for action in WRITES)

    @property
    def errors(self) -> list[dict[str, Any]]:
        return [problem for problem in self.problems if problem["severity"] == "error"]


class PlanItem(models.Model):
    """One asset in a plan: `uuid` of the source, `target_uuid` on the target. `changes`: [{"path",
    "before", "after", "sentence"}].
    """

    plan = models.ForeignKey(Plan, on_delete=models.CASCADE, related_name="items")
    position = models.PositiveIntegerField()
    kind = models.CharField(max_length=20, choices=KIND_CHOICES)
    uuid = models.CharField(max_length=UUID_LENGTH)
    target_uuid = models.CharField(max_length=UUID_LENGTH)
    title = models.CharField(max_length=TITLE_LENGTH)
    action = models.CharField(max_length=20)  # engine.plan.Action
    reasons = models.JSONField(
        default=list
    )  # [{"uuid", "kind", "title"}] that pulled it in; empty: selected itself
    changes = models.JSONField(default=list)
    conflict = models.JSONField(null=True)  # engine.conflicts.Conflict
    answer = models.JSONField(null=True)
    blocked_by = models.CharField(max_length=1000, blank=True)
    wanted = models.ForeignKey(Document, null=True, on_delete=models.PROTECT, related_name="+")
    present = models.ForeignKey(Document, null=True, on_delete=models.PROTECT, related_name="+")
    source_sha256 = models.CharField(max_length=64, blank=True)

    class Meta:
        ordering = ["position"]
        constraints = [models.UniqueConstraint(fields=["plan", "uuid"], name="an_asset_is_once_in_a_plan")]

    def __str__(self) -> str:
        return f"{self.action} {self.kind} {self.title}"


class PlanCompanion(models.Model):
    """What goes with the assets of a plan and is in no export: `uuid` of the source's, `target_uuid` of the target's
    (made of its kind and natural key). `asset_uuid`: the item of the plan whose facet it is, "" for an object of its
    own. `reason`: why it is left out or blocked. `changes`: sentences. `conflict`, `answer`: as of items. `wanted`:
    what the source wants there, also where the answer is to keep the target's.
    """

    plan = models.ForeignKey(Plan, on_delete=models.CASCADE, related_name="companions")
    position = models.PositiveIntegerField()
    kind = models.CharField(max_length=20)  # canonical.companions.CompanionKind
    uuid = models.CharField(max_length=UUID_LENGTH)
    target_uuid = models.CharField(max_length=UUID_LENGTH)
    asset_uuid = models.CharField(max_length=UUID_LENGTH, blank=True)
    title = models.CharField(max_length=TITLE_LENGTH)
    action = models.CharField(max_length=20)  # engine.plan.Action
    reason = models.CharField(max_length=1000, blank=True)
    changes = models.JSONField(default=list)
    wanted = models.ForeignKey(Document, null=True, on_delete=models.PROTECT, related_name="+")
    present = models.ForeignKey(Document, null=True, on_delete=models.PROTECT, related_name="+")
    source = models.ForeignKey(Document, null=True, on_delete=models.PROTECT, related_name="+")
    conflict = models.JSONField(null=True)  # engine.conflicts.Conflict
    answer = models.JSONField(null=True)

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["plan", "target_uuid"], name="a_companion_is_once_in_a_plan")
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.kind} {self.title}"

    @property
    def words(self) -> str:
        """What it is: "owners of “Sales”", "annotation layer “Holidays”"."""
        return companion_words(CompanionKind(self.kind), self.title)


class RunState(models.TextChoices):
    WAITING = "waiting", "waiting for the target"
    RESTORE_POINT = "restore_point", "taking the restore point"
    WRITING = "writing", "writing"
    READING_BACK = "reading_back", "reading back"
    VERIFYING = "verifying", "verifying"
    APPLIED = "applied", "applied"
    ROLLED_BACK = "rolled_back", "rolled back"
    STOPPED = "stopped", "stopped before writing"
    NEEDS_ATTENTION = "needs_attention", "needs attention"
    ACCEPTED = "accepted", "left as it is"  # needed attention, and somebody decided that it stays so


FINISHED_RUNS = (
    RunState.APPLIED,
    RunState.ROLLED_BACK,
    RunState.STOPPED,
    RunState.NEEDS_ATTENTION,
    RunState.ACCEPTED,
)


class RunQuerySet(models.QuerySet["Run"]):
    def visible_to(self, user: Any) -> Self:
        return self.filter(migration__in=Migration.objects.visible_to(user))

    def unfinished(self) -> Self:
        return self.exclude(state__in=FINISHED_RUNS)


class Run(models.Model):
    """One attempt to apply a plan.

    All of the following is what the target showed when it was last read for this run (`looked_at`; None: it was not,
    and what is there is not known). `written`: target uuids that are there as planned; `unwritten`: all others that
    the plan writes. `created`: uuids that are there and were not before.
    `error`: why it did not end as planned; of an undone run also the `cause`, and in `detail` the uuids `between`,
    which are neither as planned nor as before. `requests`: number of requests by purpose.
    """

    number = models.BigAutoField(primary_key=True)
    uuid = models.UUIDField(unique=True, default=uuid_module.uuid4, editable=False)
    migration = models.ForeignKey(Migration, on_delete=models.CASCADE, related_name="runs")
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="runs")
    state = models.CharField(max_length=20, choices=RunState.choices, default=RunState.WAITING)
    job = models.ForeignKey(Job, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    restore_point = models.ForeignKey(
        Snapshot, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    written = models.JSONField(default=list, blank=True)
    unwritten = models.JSONField(default=list, blank=True)
    created = models.JSONField(default=list, blank=True)
    looked_at = models.DateTimeField(null=True, blank=True)
    verdict_counts = models.JSONField(default=dict, blank=True)
    requests = models.JSONField(default=dict, blank=True)
    error = models.JSONField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    objects = RunQuerySet.as_manager()

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(
                fields=["migration"],
                condition=~models.Q(state__in=FINISHED_RUNS),
                name="one_unfinished_run_per_migration",
            )
        ]

    def __str__(self) -> str:
        return f"Run {self.number}"

    def get_absolute_url(self) -> str:
        return reverse("migrations_app:verify", args=[self.migration_id])

    @property
    def concerns(self) -> list[Environment]:
        return self.migration.concerns

    @property
    def is_finished(self) -> bool:
        return self.state in FINISHED_RUNS

    @property
    def place(self) -> str:
        """How its restore point is named as a source."""
        return f"run:{self.number}:before"


class StepState(models.TextChoices):
    PENDING = "pending", "to do"
    RUNNING = "running", "running"
    DONE = "done", "done"
    FAILED = "failed", "failed"
    SKIPPED = "skipped", "not needed"


class RunStep(models.Model):
    """One step of a run. `intent` is written before the step does anything, `result` after: what a successor works
    from.

    Of a step that writes: `intent` has `what` (import, connection, members, remove, companion, remove_companion), the
    target uuids it is for, `sent_at` and `request` of the request once it left, and `open`: uuid -> comparison
    fingerprint before it, of what it does not complete alone (`members`: of these a PUT of the layout does).
    `result["settled"]`: what became of a write without an answer (`done`, `not_done`, `partly`), or that it was
    `refused`.
    """

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="steps")
    position = models.PositiveIntegerField()
    name = models.CharField(max_length=30)
    title = models.CharField(max_length=200)
    state = models.CharField(max_length=10, choices=StepState.choices, default=StepState.PENDING)
    intent = models.JSONField(default=dict, blank=True)
    result = models.JSONField(default=dict, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["position"]
        constraints = [models.UniqueConstraint(fields=["run", "position"], name="a_position_is_one_step")]

    def __str__(self) -> str:
        return self.title

    @property
    def seconds(self) -> float | None:
        if self.started_at is None or self.finished_at is None:
            return None
        return (self.finished_at - self.started_at).total_seconds()


class Verdict(models.Model):
    """What the queries of one chart said on source and target. `details`: engine.queries, in JSON; no data rows."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="verdicts")
    uuid = models.CharField(max_length=UUID_LENGTH)  # of the chart on the target
    title = models.CharField(max_length=TITLE_LENGTH)
    viz_type = models.CharField(max_length=250)
    status = models.CharField(max_length=20)  # ok, differs, failed, not_checkable
    reason = models.CharField(max_length=2000, blank=True)
    details = models.JSONField(default=dict, blank=True)
    source_seconds = models.FloatField(null=True)
    target_seconds = models.FloatField(null=True)

    class Meta:
        ordering = ["title"]
        constraints = [models.UniqueConstraint(fields=["run", "uuid"], name="one_verdict_per_chart")]

    def __str__(self) -> str:
        return f"{self.status} {self.title}"


class Bystander(models.Model):
    """A chart of the target outside the plan that stands on what a run changes: asked before and after it.

    `before`, `after`: {"status": ok, failed or not_checkable, "reason", "columns" of each query, "seconds"}. `status`
    is the verdict, "" until it was asked again.
    """

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="bystanders")
    uuid = models.CharField(max_length=UUID_LENGTH)
    title = models.CharField(max_length=TITLE_LENGTH)
    viz_type = models.CharField(max_length=250, blank=True)
    before = models.JSONField(default=dict)
    after = models.JSONField(default=dict, blank=True)
    status = models.CharField(max_length=20, blank=True)  # ok, failed, was_broken, not_checkable
    reason = models.CharField(max_length=2000, blank=True)

    class Meta:
        ordering = ["title", "uuid"]
        constraints = [models.UniqueConstraint(fields=["run", "uuid"], name="one_row_per_bystander")]

    def __str__(self) -> str:
        return f"{self.status or 'asked'} {self.title}"


from .comparing.models import UploadedBundle  # noqa: E402  Django finds the models of this app from here
from .git.models import CommitReading  # noqa: E402
