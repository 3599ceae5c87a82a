"""Environments, what was seen in them, and the store of documents and snapshots."""

import uuid as uuid_module
from typing import Any, Self

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.urls import reverse
from django.utils import timezone

from sstools.roles import policy
from sstools.roles.permissions import Permission
from sstools.secrets import SecretField

from .canonical.documents import Kind
from .superset.versions import Capabilities
from .words import fold

UUID_LENGTH = 36
# Codes of SupersetUnreachable: later may help.
UNREACHABLE_CODES = frozenset(
    {
        "name_not_resolved",
        "connection_refused",
        "host_unreachable",
        "tls_failed",
        "proxy_failed",
        "timeout",
        "connection_lost",
        "server_error",
        "rate_limited",
    }
)
TITLE_LENGTH = 500  # Superset's longest: dashboards.dashboard_title
KIND_CHOICES = [(kind.value, kind.value) for kind in Kind]


class AuthKind(models.TextChoices):
    PASSWORD = "password", "User and password"
    LDAP = "ldap", "User and password of a directory (LDAP)"
    SESSION = "session", "User and password through the sign-in page"
    TOKEN = "token", "Token or API key"


class Position(models.IntegerChoices):
    """Where an environment stands on the way to production."""

    OTHER = 0, "somewhere else"
    DEV = 1, "development"
    STAGE = 2, "staging"
    PROD = 3, "production"


class Colour(models.TextChoices):
    DEV = "dev", "slate"
    TEST = "test", "blue"
    STAGE = "stage", "violet"
    PROD = "prod", "crimson"


class CheckState(models.TextChoices):
    UNKNOWN = "unknown", "not tested"
    OK = "ok", "reached"
    WARNING = "warning", "reached, with warnings"
    FAILED = "failed", "failed"


class EnvironmentQuerySet(models.QuerySet["Environment"]):
    def visible_to(self, user: Any) -> Self:
        """Those on which `user` has `environment:view`. Fetching is authorising: absent and forbidden look alike."""
        return self.filter(within(policy.scopes(user, Permission.ENVIRONMENT_VIEW), "uuid"))

    def in_order(self) -> Self:
        """Along the way to production, those outside of it last."""
        rank = models.Case(
            models.When(position=Position.OTHER, then=9),
            default="position",
            output_field=models.IntegerField(),
        )
        return self.annotate(rank=rank).order_by("rank", "name")


class EnvironmentManager(models.Manager.from_queryset(EnvironmentQuerySet)):  # type: ignore[misc]
    def get_queryset(self) -> EnvironmentQuerySet:
        """Without the secret: it is fetched and decrypted where somebody signs in, and a lost key spoils no list."""
        rows: EnvironmentQuerySet = super().get_queryset()
        return rows.defer("secret")


class Environment(models.Model):
    """One Superset: its address, how to sign in, how it is shown, and what the last test found."""

    uuid = models.UUIDField(unique=True, default=uuid_module.uuid4, editable=False)
    slug = models.SlugField(max_length=50, unique=True)
    name = models.CharField(max_length=100, unique=True)
    tag = models.CharField("short name", max_length=12)
    url = models.CharField("address", max_length=500)
    position = models.PositiveSmallIntegerField(choices=Position.choices, default=Position.OTHER)
    colour = models.CharField(max_length=10, choices=Colour.choices, default=Colour.DEV)
    protected = models.BooleanField(default=False)  # writing to it asks for its name
    scratch = models.BooleanField(default=False)  # everything in it may be replaced; never protected

    auth_kind = models.CharField(
        "sign-in", max_length=10, choices=AuthKind.choices, default=AuthKind.PASSWORD
    )
    username = models.CharField("user", max_length=150, blank=True)
    secret = SecretField("password or token", blank=True)
    secret_reference = models.CharField(
        max_length=500, blank=True
    )  # "env:NAME" or "file:/path", see credentials.py
    ca_certificate = models.TextField("certificate authority", blank=True)  # PEM, trusted beside the system's
    proxy_url = models.CharField("proxy", max_length=500, blank=True)
    read_timeout_seconds = models.PositiveIntegerField(
        default=60, validators=[MinValueValidator(5), MaxValueValidator(3600)]
    )
    import_timeout_seconds = models.PositiveIntegerField(
        default=600, validators=[MinValueValidator(30), MaxValueValidator(7200)]
    )
    # More than two requests at once gain nothing on one worker of Superset (measured on 6.1.0).
    max_parallel = models.PositiveSmallIntegerField(
        "parallel requests", default=2, validators=[MinValueValidator(1), MaxValueValidator(8)]
    )

    version = models.CharField(max_length=50, blank=True)
    capabilities = models.JSONField(default=dict, blank=True)  # Capabilities.to_dict()
    check_state = models.CharField(max_length=10, choices=CheckState.choices, default=CheckState.UNKNOWN)
    check_report = models.JSONField(default=dict, blank=True)  # ConnectionReport.to_dict()
    last_checked_at = models.DateTimeField(null=True, blank=True)
    last_reached_at = models.DateTimeField(null=True, blank=True)
    latency_ms = models.FloatField(null=True, blank=True)

    asset_counts = models.JSONField(default=dict, blank=True)  # kind -> number, of the last inventory
    asset_tags = models.JSONField(default=list, blank=True)  # names of all tags in it, in order
    inventory_at = models.DateTimeField(null=True, blank=True)
    inventory_error = models.JSONField(null=True, blank=True)  # of a failed reading after `inventory_at`

    created_at = models.DateTimeField(default=timezone.now, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        editable=False,
        on_delete=models.SET_NULL,
        related_name="+",
    )
    updated_at = models.DateTimeField(auto_now=True)

    objects = EnvironmentManager()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("environments:detail", args=[self.slug])

    @property
    def short_name(self) -> str:
        return self.tag

    @property
    def is_protected(self) -> bool:
        return self.protected

    @property
    def is_scratch(self) -> bool:
        return self.scratch

    @property
    def credential(self) -> str:
        """Where the secret is, in words; never the secret."""
        return self.secret_reference or "stored, encrypted"

    @property
    def state(self) -> str:
        """How it is shown: reached, warning, unreachable, refused or untested."""
        if self.check_state == CheckState.FAILED:
            failed = (stage for stage in self.check_report.get("stages", ()) if stage.get("ok") is False)
            codes = {stage.get("code") for stage in failed}
            return "unreachable" if codes & UNREACHABLE_CODES else "refused"
        return {CheckState.OK: "reached", CheckState.WARNING: "warning"}.get(
            CheckState(self.check_state), "untested"
        )

    @property
    def state_word(self) -> str:
        return {"warning": "reached, with warnings", "untested": "not tested"}.get(self.state, self.state)

    @property
    def problem(self) -> dict[str, Any] | None:
        """The stage at which the last test failed: {"name", "text", "remedy", "code", …}."""
        stages = self.check_report.get("stages", ())
        return next((stage for stage in stages if stage.get("ok") is False), None)

    @property
    def asset_total(self) -> int | None:
        """Number of assets at the last inventory, None before the first."""
        return sum(self.asset_counts.values()) if self.asset_counts else None

    @property
    def known_capabilities(self) -> Capabilities | None:
        """What the last test found, None before the first."""
        return Capabilities.from_dict(self.capabilities) if self.capabilities.get("version") else None


class Document(models.Model):
    """One canonical document, once for all environments and times: the content-addressed store. Never changed.

    Without a body it is in a storage of backups only; `store.get_documents` reads it wherever it is.
    """

    sha256 = models.CharField(max_length=64, primary_key=True)  # content fingerprint
    kind = models.CharField(max_length=20, choices=KIND_CHOICES)
    uuid = models.CharField(max_length=UUID_LENGTH)
    title = models.CharField(max_length=TITLE_LENGTH)
    body = models.BinaryField(null=True)  # canonical JSON of the whole document, zlib
    size = models.PositiveIntegerField()  # bytes of that JSON, not packed
    created_at = models.DateTimeField(default=timezone.now)
    # When somebody last asked to keep it: what nothing refers to is forgotten, but not while it is being written.
    kept_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes = [models.Index(fields=["uuid"], name="documents_by_uuid")]

    def __str__(self) -> str:
        return f"{self.kind} {self.title}"


class Reason(models.TextChoices):
    MANUAL = "manual", "by hand"
    PLAN = "plan", "for a plan"
    RESTORE_POINT = "restore_point", "restore point"
    READING = "reading", "reading"
    AFTER_RUN = "after_run", "after a run"
    BACKUP = "backup", "backup"


class Snapshot(models.Model):
    """What was where in one environment at one moment. The content of its entries never changes.

    `complete`: it holds every asset the environment had, so what is not in it was not there. `exported_at` is the
    server's clock at its oldest content; `confirmed_at` when a later reading found exactly the same. `in_spans`: what
    it holds is in `backups.Span`, not in entries and companions of its own; `store.entries_of` reads either.
    """

    number = models.BigAutoField(primary_key=True)
    uuid = models.UUIDField(unique=True, default=uuid_module.uuid4, editable=False)
    environment = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="snapshots")
    reason = models.CharField(max_length=20, choices=Reason.choices)
    complete = models.BooleanField(default=False)
    in_spans = models.BooleanField(default=False, editable=False)
    exported_at = models.DateTimeField(null=True, blank=True)
    confirmed_at = models.DateTimeField(null=True, blank=True)
    notes = models.JSONField(default=list, blank=True)  # [{"code", "uuid", "text", "where"}]
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    class Meta:
        ordering = ["-number"]
        indexes = [
            models.Index(fields=["environment", "complete", "-number"], name="snapshots_latest_complete")
        ]

    def __str__(self) -> str:
        return f"Snapshot {self.number} of {self.environment}"


class SnapshotEntry(models.Model):
    """One asset in a snapshot. Without a document: it was there, and could not be read (a note says why).

    `exported_at` is the server's clock when the content was exported, `mark` a digest of what its list said then:
    a later reading takes the content from here where neither moved.
    """

    snapshot = models.ForeignKey(Snapshot, on_delete=models.CASCADE, related_name="entries")
    kind = models.CharField(max_length=20, choices=KIND_CHOICES)
    uuid = models.CharField(max_length=UUID_LENGTH)
    superset_id = models.PositiveBigIntegerField(null=True, blank=True)
    document = models.ForeignKey(
        Document, null=True, blank=True, on_delete=models.PROTECT, related_name="entries"
    )
    exported_at = models.DateTimeField(null=True, blank=True)
    mark = models.CharField(max_length=40, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["snapshot", "uuid"], name="an_asset_is_once_in_a_snapshot")
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.uuid}"


class SnapshotCompanion(models.Model):
    """What a snapshot holds beside its assets: owners, roles, rules, layers and whatever else is in no export."""

    snapshot = models.ForeignKey(Snapshot, on_delete=models.CASCADE, related_name="companions")
    kind = models.CharField(max_length=20)  # canonical.companions.CompanionKind
    uuid = models.CharField(max_length=UUID_LENGTH)
    document = models.ForeignKey(Document, on_delete=models.PROTECT, related_name="+")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["snapshot", "uuid"], name="a_companion_is_once_in_a_snapshot")
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.uuid}"


def tag_key(tag: str) -> str:
    """A tag as `Asset.tag_text` has it: no other one can be found by it. Folded texts have no line ends."""
    return f"\n{fold(tag)}\n"


class AssetQuerySet(models.QuerySet["Asset"]):
    def visible_to(self, user: Any) -> Self:
        """Assets of the environments on which `user` has `asset:view`."""
        return self.filter(within(policy.scopes(user, Permission.ASSET_VIEW), "environment__uuid"))


class Asset(models.Model):
    """One asset as the lists of its environment showed it at the last reading."""

    environment = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="assets")
    kind = models.CharField(max_length=20, choices=KIND_CHOICES)
    uuid = models.CharField(max_length=UUID_LENGTH)
    superset_id = models.PositiveBigIntegerField()
    title = models.CharField(max_length=TITLE_LENGTH)
    slug = models.CharField(max_length=255, blank=True)
    published = models.BooleanField(null=True)  # dashboards only
    viz_type = models.CharField(max_length=250, blank=True)  # charts
    schema = models.CharField(max_length=255, blank=True)  # datasets
    catalog = models.CharField(max_length=256, blank=True)  # datasets
    is_virtual = models.BooleanField(null=True)  # datasets only
    backend = models.CharField(max_length=100, blank=True)  # databases
    changed_on = models.DateTimeField(null=True, blank=True)
    changed_by = models.CharField(max_length=150, blank=True)
    owners = models.JSONField(default=list, blank=True)  # [{"name", "email"}]
    tags = models.JSONField(
        default=list, blank=True
    )  # names, of dashboards and charts; Superset's own left out
    dataset_uuid = models.CharField(max_length=UUID_LENGTH, blank=True)  # of a chart
    database_uuid = models.CharField(
        max_length=UUID_LENGTH, blank=True
    )  # of a dataset, and of a chart through it
    dashboard_uuids = models.JSONField(default=list, blank=True)  # dashboards that a chart is a member of
    url_path = models.CharField(max_length=500, blank=True)  # below the environment's address
    document = models.ForeignKey(Document, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    # Comparison fingerprint of the document in this environment's own terms; "" while it was not read.
    comparable = models.CharField(max_length=64, blank=True)
    first_seen_at = models.DateTimeField(default=timezone.now)
    last_seen_at = models.DateTimeField()
    # What other tools damaged in a dashboard, and a digest of what was looked at to know it ("": not looked at yet).
    damage = models.JSONField(
        default=list, blank=True
    )  # [{"code", "text", "where"}], see canonical/damage.py
    damage_codes = models.CharField(max_length=400, blank=True)  # ",wrong_chart,foreign_ids,"
    damage_seen = models.CharField(max_length=64, blank=True)
    # For sorting and searching alike on every database: folded case, ё as е.
    sort_key = models.CharField(max_length=200, blank=True)
    owner_text = models.CharField(max_length=500, blank=True)
    tag_text = models.TextField(blank=True)  # all of `tags`, each as `tag_key` has it
    search_text = models.TextField(blank=True)

    objects = AssetQuerySet.as_manager()

    class Meta:
        ordering = ["sort_key", "pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["environment", "kind", "uuid"], name="an_asset_once_per_environment"
            )
        ]
        indexes = [
            models.Index(fields=["uuid"], name="assets_by_uuid"),
            models.Index(fields=["kind", "sort_key"], name="assets_by_title"),
            models.Index(fields=["environment", "kind", "superset_id"], name="assets_by_superset_id"),
            models.Index(fields=["environment", "dataset_uuid"], name="assets_by_dataset"),
            models.Index(fields=["environment", "kind", "database_uuid"], name="assets_by_database"),
        ]

    def __str__(self) -> str:
        return self.title

    def fill_derived(self) -> None:
        """Set what is derived from the other fields; the inventory writes rows in bulk."""
        names = [str(owner.get("name") or "") for owner in self.owners]
        emails = [str(owner.get("email") or "") for owner in self.owners]
        self.sort_key = fold(self.title)[:200]
        self.owner_text = fold(", ".join(name for name in names if name))[:500]
        self.tag_text = "".join(dict.fromkeys(tag_key(tag) for tag in self.tags))
        words = [self.title, self.slug, self.uuid, self.schema, self.viz_type, *names, *emails, *self.tags]
        self.search_text = fold(" ".join(word for word in words if word))

    @property
    def key(self) -> str:
        """How pages and the API name an asset of an environment: "<slug>:<kind>:<uuid>"."""
        return f"{self.environment.slug}:{self.kind}:{self.uuid}"

    @property
    def owner_names(self) -> list[str]:
        return [str(owner["name"]) for owner in self.owners if owner.get("name")]


class AssetReference(models.Model):
    """What an asset names, of the contents last read. `how`: "needs" (cannot work without it), or "mentions".

    What is named may not be there any more: then the environment has no such asset.
    """

    environment = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="references")
    from_kind = models.CharField(max_length=20, choices=KIND_CHOICES)
    from_uuid = models.CharField(max_length=UUID_LENGTH)
    to_kind = models.CharField(max_length=20, choices=KIND_CHOICES)
    to_uuid = models.CharField(max_length=UUID_LENGTH)
    how = models.CharField(max_length=10)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["environment", "from_kind", "from_uuid", "to_kind", "to_uuid"],
                name="a_reference_once_per_environment",
            )
        ]
        indexes = [
            models.Index(fields=["environment", "to_kind", "to_uuid"], name="references_by_what_is_named")
        ]

    def __str__(self) -> str:
        return f"{self.from_kind} {self.from_uuid} {self.how} {self.to_kind} {self.to_uuid}"


class GoneAsset(models.Model):
    """An asset that was there at an earlier reading and is not any more, with what it was last. Back again: no row."""

    environment = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="gone_assets")
    kind = models.CharField(max_length=20, choices=KIND_CHOICES)
    uuid = models.CharField(max_length=UUID_LENGTH)
    title = models.CharField(max_length=TITLE_LENGTH)
    document = models.ForeignKey(Document, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    last_seen_at = models.DateTimeField()
    gone_at = models.DateTimeField()  # when a reading first missed it

    class Meta:
        ordering = ["-gone_at", "pk"]
        constraints = [
            models.UniqueConstraint(fields=["environment", "kind", "uuid"], name="gone_once_per_environment")
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.title}"


class ReadingState(models.TextChoices):
    RUNNING = "running", "running"
    DONE = "done", "done"
    FAILED = "failed", "failed"
    CANCELLED = "cancelled", "cancelled"


class ReadingMode(models.TextChoices):
    FIRST = "first", "first reading"  # nothing was known: everything is exported
    CHANGES = "changes", "changes only"  # lists, and an export of what they say has changed


class ReadingQuerySet(models.QuerySet["Reading"]):
    def visible_to(self, user: Any) -> Self:
        return self.filter(within(policy.scopes(user, Permission.ENVIRONMENT_VIEW), "environment__uuid"))


class Reading(models.Model):
    """One reading of an environment: what it cost, and what it found. Written by the job alone.

    `requests`: {"list", "export", "sweep", "other"} -> number; `sweep`: exports of what no list said had changed, to
    find what lists do not tell. `swept`: assets that came with those. `found`: kind -> {"added", "changed", "gone",
    "same"}, against the reading before. `error`: {"code", "message", "remedy"} of one that failed; it changed nothing.
    """

    uuid = models.UUIDField(unique=True, default=uuid_module.uuid4, editable=False)
    environment = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="readings")
    job = models.UUIDField(null=True, blank=True)
    state = models.CharField(max_length=10, choices=ReadingState.choices, default=ReadingState.RUNNING)
    mode = models.CharField(max_length=10, choices=ReadingMode.choices, default=ReadingMode.CHANGES)
    started_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, blank=True)
    requests = models.JSONField(default=dict, blank=True)
    found = models.JSONField(default=dict, blank=True)
    swept = models.PositiveIntegerField(default=0)
    snapshot = models.ForeignKey(
        Snapshot, null=True, blank=True, on_delete=models.SET_NULL, related_name="readings"
    )
    error = models.JSONField(null=True, blank=True)

    objects = ReadingQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        indexes = [models.Index(fields=["environment", "-id"], name="readings_latest")]

    def __str__(self) -> str:
        return f"Reading of {self.environment}"

    @property
    def seconds(self) -> float | None:
        return (self.ended_at - self.started_at).total_seconds() if self.ended_at else None

    @property
    def counts(self) -> dict[str, int]:
        """How many assets there were, by kind."""
        return {
            kind: sum(int(numbers.get(what, 0)) for what in ("added", "changed", "same"))
            for kind, numbers in self.found.items()
        }

    @property
    def added(self) -> int:
        return self._total("added")

    @property
    def changed(self) -> int:
        return self._total("changed")

    @property
    def gone(self) -> int:
        return self._total("gone")

    @property
    def found_text(self) -> str:
        """What it found, in words: "12 new, 3 changed", or that nothing changed."""
        numbers = (("new", self.added), ("changed", self.changed), ("gone", self.gone))
        return ", ".join(f"{number} {word}" for word, number in numbers if number) or "nothing changed"

    @property
    def requests_text(self) -> str:
        """What it cost, in words: "4 lists, 1 export, and 1 of what seemed unchanged"."""
        lists, exports, sweeps = (int(self.requests.get(name, 0)) for name in ("list", "export", "sweep"))
        text = (
            f"{lists} list{'' if lists == 1 else 's'}, {exports or 'no'} export{'' if exports == 1 else 's'}"
        )
        return f"{text}, and {sweeps} of what seemed unchanged" if sweeps else text

    def _total(self, what: str) -> int:
        return sum(int(numbers.get(what, 0)) for numbers in self.found.values())


def within(scopes: policy.Scopes, field: str) -> models.Q:
    """The rows whose environment is in scope."""
    if scopes.everything:
        return models.Q()
    return models.Q(**{f"{field}__in": scopes.uuids("environment")})


class Pace(models.Model):
    """What all workers of all machines know of the traffic to one Superset, by its address. See `pacing.py`."""

    address = models.CharField(max_length=500, unique=True)
    paused_until = models.DateTimeField(
        null=True, blank=True
    )  # it answered with a 429: nobody sends until then
    wanted_at = models.DateTimeField(null=True, blank=True)  # when somebody last waited for a slot in vain

    def __str__(self) -> str:
        return self.address


class Slot(models.Model):
    """The right to have one request under way at a Superset. Held by a process for as long as it is busy there."""

    address = models.CharField(max_length=500)
    number = models.PositiveSmallIntegerField()  # from 0; whoever may send n at once takes those below n
    holder = models.CharField(max_length=100, blank=True)
    until = models.DateTimeField()  # free again then, unless it is renewed

    class Meta:
        constraints = [models.UniqueConstraint(fields=["address", "number"], name="slots_are_numbered")]

    def __str__(self) -> str:
        return f"{self.address} {self.number}"
