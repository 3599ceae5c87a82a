"""How migrations, plans, mappings and runs look as JSON: in the REST API, and in what commands print with --json."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.reverse import reverse

from environments.models import KIND_CHOICES, Environment
from environments.store import get_documents
from migrations_app import services
from migrations_app.engine.carrying import OPTIONS, RECIPIENTS, Carrying
from migrations_app.engine.checks import Severity
from migrations_app.engine.companions import KIND_NAMES
from migrations_app.engine.plan import Action, Answer
from migrations_app.filters import find_environments
from migrations_app.models import (
    Bystander,
    Mapping,
    Migration,
    Plan,
    PlanCompanion,
    PlanItem,
    Run,
    RunStep,
    Verdict,
)
from sstools.jobs.api import JobSerializer

HASH_LENGTH = 12  # of a plan's hash that name it well enough for an apply


# The shape of a JSON value, for the schema; the value itself passes as it is stored.
class Shape(serializers.Serializer[Any]):
    pass


def shaped(shape: Any, **kwargs: Any) -> serializers.JSONField:
    """A read-only field for stored JSON that looks like `shape` (an instance; with many=True for a list)."""
    field: type[serializers.JSONField] = extend_schema_field(shape)(
        type("ShapedField", (serializers.JSONField,), {})
    )
    return field(read_only=True, **kwargs)


# Refuses fields that it does not know: a misspelt `verfy: false` must not pass in silence. (A docstring would be taken
# for the description of every request in the schema.)
class StrictSerializer(serializers.Serializer[Any]):
    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict) and (unknown := sorted(set(data) - set(self.fields))):
            raise serializers.ValidationError({name: ["There is no such field."] for name in unknown})
        return super().to_internal_value(data)


# --- Environments, as others speak of them ------------------------------------------------------------------


class EnvironmentBriefSerializer(serializers.ModelSerializer[Environment]):
    class Meta:
        model = Environment
        fields = ["uuid", "slug", "name", "tag", "protected"]
        read_only_fields = fields


class EnvironmentField(serializers.CharField):
    """An environment that the user may see, by slug or uuid."""

    default_error_messages = {"unknown": "There is no environment “{name}”, or you may not see it."}

    def to_internal_value(self, data: Any) -> Any:
        key = super().to_internal_value(data)
        user = self.context["request"].user
        found = (
            Environment.objects.visible_to(user).filter(pk__in=find_environments(key).values("pk")).first()
        )
        if found is None:
            self.fail("unknown", name=key)
        return found


# --- What a plan says ---------------------------------------------------------------------------------------


class PlanCountsShape(Shape):
    create = serializers.IntegerField()  # type: ignore[assignment]  # a count of that name, not the method
    update = serializers.IntegerField()  # type: ignore[assignment]
    remove = serializers.IntegerField()
    unchanged = serializers.IntegerField()
    keep = serializers.IntegerField()
    leave_out = serializers.IntegerField()
    blocked = serializers.IntegerField()


class PlanProblemShape(Shape):
    severity = serializers.ChoiceField(choices=[severity.value for severity in Severity])
    code = serializers.CharField()
    uuid = serializers.CharField(help_text="of the item it is about; empty: of the whole plan")
    text = serializers.CharField()
    remedy = serializers.CharField()


class PlanLossShape(Shape):
    uuid = serializers.CharField(help_text="of the item it is about; empty: of all")
    code = serializers.CharField()
    text = serializers.CharField()


class PlanAffectedShape(Shape):
    kind = serializers.CharField()
    uuid = serializers.CharField()
    title = serializers.CharField()
    by = serializers.CharField(help_text="the target's uuid of the item that it stands on")


class DatabaseChoiceShape(Shape):
    uuid = serializers.CharField()
    name = serializers.CharField()
    backend = serializers.CharField()


class DatabaseSuggestionShape(DatabaseChoiceShape):
    score = serializers.IntegerField(help_text="0 to 100")
    reason = serializers.CharField()
    tables_found = serializers.IntegerField(allow_null=True)
    tables_needed = serializers.IntegerField()
    reached = serializers.BooleanField(allow_null=True)


class PlanDatabaseShape(Shape):
    uuid = serializers.CharField(help_text="of the source")
    name = serializers.CharField()
    backend = serializers.CharField()
    dataset_count = serializers.IntegerField()
    datasets = serializers.ListField(
        child=serializers.CharField(), help_text="titles of those that need it, at most 20"
    )
    schemas = serializers.ListField(child=serializers.CharField())
    catalogs = serializers.ListField(child=serializers.CharField())
    target = serializers.CharField(help_text="uuid of the connection it is mapped to; empty: not mapped")
    target_name = serializers.CharField()
    default_catalog = serializers.CharField(allow_null=True)
    suggestions = DatabaseSuggestionShape(many=True)
    choices = DatabaseChoiceShape(many=True)


class ConflictShape(Shape):
    code = serializers.CharField()
    text = serializers.CharField()
    options = serializers.ListField(
        child=serializers.ChoiceField(choices=[answer.value for answer in Answer])
    )
    other_uuid = serializers.CharField()
    other_title = serializers.CharField()
    who = serializers.CharField()
    when = serializers.CharField(help_text="ISO 8601, UTC; empty: not known")


class GivenAnswerShape(Shape):
    answer = serializers.ChoiceField(choices=[answer.value for answer in Answer])
    value = serializers.CharField(help_text="the new name, for rename; empty: one is made")


class ReasonShape(Shape):
    uuid = serializers.CharField()
    kind = serializers.CharField()
    title = serializers.CharField()


class ChangeShape(Shape):
    path = serializers.ListField(child=serializers.CharField())
    sentence = serializers.CharField()


class FullChangeShape(ChangeShape):
    before = serializers.JSONField(allow_null=True)
    after = serializers.JSONField(allow_null=True)


class PlanItemSerializer(serializers.ModelSerializer[PlanItem]):
    action = serializers.ChoiceField(choices=[action.value for action in Action], read_only=True)
    kind = serializers.ChoiceField(choices=KIND_CHOICES, read_only=True)
    reasons = shaped(ReasonShape(many=True), help_text="what pulled it in; empty: it was selected itself")
    changes = serializers.SerializerMethodField(
        help_text="field by field; the values are at the item's own address"
    )
    conflict = shaped(ConflictShape(allow_null=True), allow_null=True)
    answer = shaped(GivenAnswerShape(allow_null=True), allow_null=True)

    class Meta:
        model = PlanItem
        fields = [
            "uuid",
            "target_uuid",
            "kind",
            "title",
            "action",
            "reasons",
            "changes",
            "conflict",
            "answer",
            "blocked_by",
        ]
        read_only_fields = fields

    @extend_schema_field(ChangeShape(many=True))
    def get_changes(self, item: PlanItem) -> list[dict[str, Any]]:
        return [{"path": change["path"], "sentence": change["sentence"]} for change in item.changes]


class DocumentShape(Shape):
    kind = serializers.CharField()
    uuid = serializers.CharField()
    sha256 = serializers.CharField(help_text="content fingerprint")
    body = serializers.DictField(help_text="the asset in canonical form")


class PlanItemDetailSerializer(PlanItemSerializer):
    wanted = serializers.SerializerMethodField(
        help_text="what the target shall hold; null: nothing is written"
    )
    present = serializers.SerializerMethodField(help_text="what the target held; null: it had no such asset")

    class Meta(PlanItemSerializer.Meta):
        fields = [*PlanItemSerializer.Meta.fields, "wanted", "present"]
        read_only_fields = fields

    @extend_schema_field(FullChangeShape(many=True))
    def get_changes(self, item: PlanItem) -> list[dict[str, Any]]:
        return list(item.changes)

    @extend_schema_field(DocumentShape(allow_null=True))
    def get_wanted(self, item: PlanItem) -> dict[str, Any] | None:
        return _document(item.wanted_id)

    @extend_schema_field(DocumentShape(allow_null=True))
    def get_present(self, item: PlanItem) -> dict[str, Any] | None:
        return _document(item.present_id)


def _document(sha256: str | None) -> dict[str, Any] | None:
    if sha256 is None:
        return None
    document = get_documents([sha256])[sha256]
    return {"kind": document.kind.value, "uuid": document.uuid, "sha256": sha256, "body": document.body}


class PlanCompanionSerializer(serializers.ModelSerializer[PlanCompanion]):
    kind = serializers.ChoiceField(choices=KIND_NAMES, read_only=True)
    action = serializers.ChoiceField(choices=[action.value for action in Action], read_only=True)
    asset_uuid = serializers.CharField(
        read_only=True, help_text="of the item whose owners, roles … it is; empty: an object of its own"
    )
    reason = serializers.CharField(read_only=True, help_text="why it is left out or blocked")
    changes = shaped(serializers.ListField(child=serializers.CharField()), help_text="in sentences")

    class Meta:
        model = PlanCompanion
        fields = ["kind", "uuid", "target_uuid", "asset_uuid", "title", "action", "reason", "changes"]
        read_only_fields = fields


class PlanSerializer(serializers.ModelSerializer[Plan]):
    url = serializers.SerializerMethodField()
    migration = serializers.UUIDField(source="migration.uuid", read_only=True)
    is_current = serializers.SerializerMethodField(
        help_text="false: another plan was made, or this one does not count any more"
    )
    counts = shaped(PlanCountsShape(), help_text="number of items by action")
    write_count = serializers.IntegerField(read_only=True)
    problems = shaped(PlanProblemShape(many=True))
    losses = shaped(PlanLossShape(many=True), help_text="what an import does not carry")
    affected = shaped(
        PlanAffectedShape(many=True), help_text="assets outside the plan that stand on what is written"
    )
    databases = shaped(PlanDatabaseShape(many=True))
    mapping = serializers.DictField(read_only=True, help_text="what was mapped how, as used")
    items = PlanItemSerializer(many=True, read_only=True)
    companions = PlanCompanionSerializer(
        many=True, read_only=True, help_text="what comes along with the items and is in no export"
    )

    pruning = serializers.ListField(
        child=serializers.DictField(),
        read_only=True,
        help_text="what this way brought and the source no longer has: kind, uuid, title, run, removes, reason",
    )

    class Meta:
        model = Plan
        fields = [
            "uuid",
            "url",
            "hash",
            "migration",
            "is_current",
            "stale_reason",
            "created_at",
            "counts",
            "write_count",
            "problems",
            "losses",
            "affected",
            "databases",
            "mapping",
            "request_count",
            "items",
            "companions",
            "pruning",
        ]
        read_only_fields = fields

    def get_url(self, plan: Plan) -> str:
        return reverse("api:plan", kwargs={"uuid": plan.uuid}, request=self.context.get("request"))

    def get_is_current(self, plan: Plan) -> bool:
        return plan.migration.plan_id == plan.pk


# --- Migrations ---------------------------------------------------------------------------------------------


class CarryingSerializer(StrictSerializer):
    """What comes along beside the assets, and how far."""

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        fields: dict[str, serializers.Field[Any, Any, Any, Any]] = {
            option.name: serializers.ChoiceField(
                choices=list(option.choices),
                required=False,
                help_text=f"{option.label}; not given: {option.default}",
            )
            for option in OPTIONS
        }
        fields[RECIPIENTS] = serializers.CharField(
            required=False,
            max_length=2000,
            help_text="of alerts and reports: keep (not given), none, or e-mail addresses separated by commas",
        )
        return fields


class MigrationSerializer(serializers.ModelSerializer[Migration]):
    carrying = serializers.SerializerMethodField(help_text="what comes along beside the assets, every option")
    url = serializers.SerializerMethodField()
    source = EnvironmentBriefSerializer(read_only=True, allow_null=True)  # type: ignore[assignment]
    source_place = serializers.CharField(
        read_only=True, help_text="env:<slug>, file:<uuid>, or run:<number>:before for a roll back"
    )
    target = EnvironmentBriefSerializer(read_only=True)
    rolls_back = serializers.UUIDField(
        source="rolls_back.uuid", default=None, allow_null=True, read_only=True, help_text="uuid of a run"
    )
    counts = shaped(
        PlanCountsShape(allow_null=True), source="plan.counts", default=None, help_text="of the current plan"
    )
    plan_hash = serializers.CharField(source="plan.hash", default=None, read_only=True, allow_null=True)
    job = JobSerializer(read_only=True, allow_null=True)
    created_by = serializers.CharField(
        source="created_by.username", default=None, read_only=True, allow_null=True
    )

    class Meta:
        model = Migration
        fields = [
            "uuid",
            "url",
            "number",
            "title",
            "state",
            "source_place",
            "source",
            "target",
            "rolls_back",
            "with_dependencies",
            "verify",
            "roll_back_when_red",
            "carrying",
            "prune",
            "counts",
            "plan_hash",
            "job",
            "created_at",
            "created_by",
            "updated_at",
        ]
        read_only_fields = fields

    def get_url(self, migration: Migration) -> str:
        return reverse("api:migration", kwargs={"uuid": migration.uuid}, request=self.context.get("request"))

    @extend_schema_field(CarryingSerializer)
    def get_carrying(self, migration: Migration) -> dict[str, str]:
        return Carrying(migration.carrying).to_json()


class RunBriefSerializer(serializers.ModelSerializer[Run]):
    url = serializers.SerializerMethodField()

    class Meta:
        model = Run
        fields = ["uuid", "url", "number", "state", "created_at", "finished_at"]
        read_only_fields = fields

    def get_url(self, run: Run) -> str:
        return reverse("api:run", kwargs={"uuid": run.uuid}, request=self.context.get("request"))


class MigrationDetailSerializer(MigrationSerializer):
    selection = serializers.ListField(
        child=serializers.CharField(), read_only=True, help_text="uuids of the source"
    )
    left_out = serializers.ListField(child=serializers.CharField(), read_only=True)
    answers = shaped(serializers.DictField(child=GivenAnswerShape()))
    why_not_applicable = serializers.SerializerMethodField(help_text="empty: the plan can be applied now")
    runs = RunBriefSerializer(many=True, read_only=True)

    class Meta(MigrationSerializer.Meta):
        fields = [
            *MigrationSerializer.Meta.fields,
            "selection",
            "left_out",
            "answers",
            "override_reason",
            "why_not_applicable",
            "runs",
        ]
        read_only_fields = fields

    def get_why_not_applicable(self, migration: Migration) -> str:
        return services.why_not_applicable(migration)


@extend_schema_field(
    {
        "oneOf": [
            {"type": "string", "description": "uuid or name of a connection of the target"},
            {
                "type": "object",
                "properties": {
                    "target": {"type": "string", "description": "uuid or name of a connection of the target"},
                    "schemas": {"type": "object", "additionalProperties": {"type": "string"}},
                    "catalogs": {"type": "object", "additionalProperties": {"type": "string"}},
                },
                "required": ["target"],
            },
        ],
        "nullable": True,
    }
)
class DatabaseEntryField(serializers.JSONField):
    """Where a database goes: a connection, with schemas and catalogs if they are called otherwise; null forgets it."""

    default_error_messages = {"entry": "A connection of the target, an object with “target”, or null."}

    def to_internal_value(self, data: Any) -> Any:
        value = super().to_internal_value(data)
        fits = value is None or isinstance(value, str)
        if isinstance(value, dict) and isinstance(value.get("target"), str):
            names = [value.get("schemas") or {}, value.get("catalogs") or {}]
            fits = all(isinstance(one, dict) for one in names) and not set(value) - {
                "target",
                "schemas",
                "catalogs",
            }
        if not fits:
            self.fail("entry")
        return value


def database_entries(**kwargs: Any) -> serializers.DictField:
    text = "source database (uuid or name) -> connection of the target; remembered for the pair"
    return serializers.DictField(child=DatabaseEntryField(allow_null=True), help_text=text, **kwargs)


class UuidField(serializers.UUIDField):
    """A uuid as the text that assets are known by."""

    def to_internal_value(self, data: Any) -> Any:
        return str(super().to_internal_value(data))


class MigrationRequestSerializer(StrictSerializer):
    source = EnvironmentField(help_text="slug or uuid")  # type: ignore[assignment]
    target = EnvironmentField(help_text="slug or uuid")
    selection = serializers.ListField(
        child=UuidField(), required=False, help_text="uuids of dashboards, charts and datasets of the source"
    )
    all = serializers.BooleanField(
        required=False, default=False, help_text="instead of a selection: everything"
    )
    left_out = serializers.ListField(child=UuidField(), required=False, default=list)
    title = serializers.CharField(required=False, max_length=200, allow_blank=True, default="")
    with_dependencies = serializers.BooleanField(required=False, default=True)
    verify = serializers.BooleanField(required=False, default=True)
    roll_back_when_red = serializers.BooleanField(required=False, default=False)
    carrying = CarryingSerializer(required=False)
    prune = serializers.BooleanField(
        required=False,
        default=False,
        help_text="also remove what this way brought and the source no longer has; needs migration:prune",
    )
    map = database_entries(required=False)
    plan = serializers.BooleanField(required=False, default=False, help_text="also ask for a plan; see `job`")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["all"] == ("selection" in attrs):
            raise serializers.ValidationError({"selection": ["Give either a selection or all: true."]})
        return attrs


class MigrationChangeSerializer(StrictSerializer):
    title = serializers.CharField(required=False, max_length=200, allow_blank=True)
    selection = serializers.ListField(child=UuidField(), required=False)
    left_out = serializers.ListField(child=UuidField(), required=False)
    with_dependencies = serializers.BooleanField(required=False)
    verify = serializers.BooleanField(required=False)
    roll_back_when_red = serializers.BooleanField(required=False)
    carrying = CarryingSerializer(required=False, help_text="options that are not named stay")
    prune = serializers.BooleanField(required=False, help_text="needs migration:prune to switch on")
    override_reason = serializers.CharField(
        required=False,
        max_length=500,
        allow_blank=True,
        help_text="why failed checks shall not stop the apply",
    )


@extend_schema_field(
    {
        "oneOf": [
            {"type": "string", "enum": [answer.value for answer in Answer]},
            {
                "type": "object",
                "properties": {"answer": {"type": "string"}, "value": {"type": "string"}},
                "required": ["answer"],
            },
        ],
        "nullable": True,
    }
)
class AnswerField(serializers.JSONField):
    default_error_messages = {"answer": "An answer, an object with “answer” and “value”, or null."}

    def to_internal_value(self, data: Any) -> Any:
        value = super().to_internal_value(data)
        if isinstance(value, dict):
            known = isinstance(value.get("answer"), str) and not set(value) - {"answer", "value"}
            if not known or not isinstance(value.get("value", ""), str | None):
                self.fail("answer")
        elif value is not None and not isinstance(value, str):
            self.fail("answer")
        return value


class AnswersRequestSerializer(StrictSerializer):
    answers = serializers.DictField(
        child=AnswerField(allow_null=True),
        allow_empty=False,
        help_text="uuid of an item -> one of the options of its conflict, or leave_out; null takes an answer back",
    )
    plan = serializers.BooleanField(
        required=False, default=False, help_text="also ask for a new plan: 202 with its job"
    )


class ApplyRequestSerializer(StrictSerializer):
    plan_hash = serializers.CharField(
        min_length=HASH_LENGTH,
        max_length=64,
        help_text="of the plan that was looked at, its first 12 characters at least",
    )
    confirmation = serializers.CharField(
        required=False,
        allow_blank=True,
        default="",
        max_length=100,
        help_text="the target's slug, where it is protected",
    )
    override_reason = serializers.CharField(
        required=False, allow_blank=True, max_length=500, help_text="why failed checks shall not stop it"
    )
    bypass_reason = serializers.CharField(
        required=False,
        allow_blank=True,
        default="",
        max_length=500,
        help_text="why it goes on outside of the target's windows; needs migration:bypass",
    )


class PromoteRequestSerializer(StrictSerializer):
    confirmation = serializers.CharField(
        required=False,
        allow_blank=True,
        default="",
        max_length=100,
        help_text="the target's slug, where it is protected: asked for now, as nobody may be there when it applies",
    )


class RollbackRequestSerializer(StrictSerializer):
    plan = serializers.BooleanField(
        required=False, default=True, help_text="also ask for its plan; see `job`"
    )


class AcceptRequestSerializer(StrictSerializer):
    comment = serializers.CharField(
        required=False, allow_blank=True, default="", max_length=500, help_text="why it may stay so"
    )


# --- Mappings -----------------------------------------------------------------------------------------------


class DatabaseTargetShape(Shape):
    target = serializers.CharField()
    schemas = serializers.DictField(child=serializers.CharField())
    catalogs = serializers.DictField(child=serializers.CharField())


class SubstitutionSerializer(StrictSerializer):
    find = serializers.CharField(max_length=1000, trim_whitespace=False)
    replace = serializers.CharField(
        max_length=1000, trim_whitespace=False, allow_blank=True, default="", required=False
    )
    is_pattern = serializers.BooleanField(default=False, required=False)


class MappingSerializer(serializers.ModelSerializer[Mapping]):
    source = EnvironmentBriefSerializer(read_only=True)  # type: ignore[assignment]
    target = EnvironmentBriefSerializer(read_only=True)
    databases = shaped(
        serializers.DictField(child=DatabaseTargetShape()), help_text="by uuid of the source database"
    )
    substitutions = shaped(SubstitutionSerializer(many=True), help_text="applied to SQL, in order")
    renames = shaped(
        serializers.DictField(child=serializers.DictField()),
        help_text="by uuid of the source: field -> value",
    )
    people = shaped(
        serializers.DictField(child=serializers.CharField()),
        help_text="by e-mail address or user name on the source: user name on the target, empty for nobody",
    )
    roles = shaped(
        serializers.DictField(child=serializers.CharField()),
        help_text="by name on the source: name on the target, empty for none",
    )
    updated_by = serializers.CharField(
        source="updated_by.username", default=None, read_only=True, allow_null=True
    )

    updated_at = serializers.DateTimeField(
        read_only=True, allow_null=True, help_text="null: nothing was entered yet"
    )

    class Meta:
        model = Mapping
        fields = [
            "source",
            "target",
            "databases",
            "substitutions",
            "renames",
            "people",
            "roles",
            "updated_at",
            "updated_by",
        ]
        read_only_fields = fields


def names_field(text: str) -> serializers.DictField:
    """Names to names; null forgets an entry."""
    child = serializers.CharField(allow_blank=True, allow_null=True, max_length=256)
    return serializers.DictField(child=child, required=False, help_text=f"{text}, null to forget")


class MappingRequestSerializer(StrictSerializer):
    """With PUT, what is not given is emptied; with PATCH it stays, and so do databases that are not named."""

    databases = database_entries(required=False)
    substitutions = SubstitutionSerializer(many=True, required=False)
    renames = serializers.DictField(
        child=serializers.DictField(child=serializers.CharField(allow_blank=True)), required=False
    )
    people = names_field(
        "by e-mail address or user name on the source: user name on the target, empty for nobody"
    )
    roles = names_field("by name on the source: name on the target, empty for none")


# --- Runs ---------------------------------------------------------------------------------------------------


class RunErrorShape(Shape):
    code = serializers.CharField()
    message = serializers.CharField()
    remedy = serializers.CharField()


class RunMigrationSerializer(serializers.ModelSerializer[Migration]):
    class Meta:
        model = Migration
        fields = ["uuid", "number", "title"]
        read_only_fields = fields


class RunSerializer(RunBriefSerializer):
    migration = RunMigrationSerializer(read_only=True)
    target = EnvironmentBriefSerializer(source="migration.target", read_only=True)
    plan_hash = serializers.CharField(source="plan.hash", read_only=True)
    is_finished = serializers.BooleanField(read_only=True)
    verdict_counts = shaped(
        serializers.DictField(child=serializers.IntegerField()),
        help_text="charts by ok, differs, failed, not_checkable",
    )
    requests = shaped(
        serializers.DictField(child=serializers.IntegerField()),
        help_text="number of requests by purpose: sign_in, read, write, warehouse, verify",
    )
    error = shaped(RunErrorShape(allow_null=True), allow_null=True)
    created_by = serializers.CharField(
        source="created_by.username", default=None, read_only=True, allow_null=True
    )

    class Meta(RunBriefSerializer.Meta):
        fields = [
            *RunBriefSerializer.Meta.fields,
            "started_at",
            "migration",
            "target",
            "plan_hash",
            "is_finished",
            "verdict_counts",
            "requests",
            "error",
            "created_by",
        ]
        read_only_fields = fields


class RunStepSerializer(serializers.ModelSerializer[RunStep]):
    result = serializers.DictField(read_only=True)
    seconds = serializers.FloatField(read_only=True, allow_null=True)

    class Meta:
        model = RunStep
        fields = ["name", "title", "state", "result", "started_at", "finished_at", "seconds"]
        read_only_fields = fields


class BystanderSerializer(serializers.ModelSerializer[Bystander]):
    """A chart of the target outside the plan that stands on what the run changed."""

    status = serializers.ChoiceField(
        choices=["", "ok", "failed", "was_broken", "not_checkable"],
        read_only=True,
        help_text="held against how it ran before the run; empty: not asked again",
    )
    before = serializers.DictField(read_only=True, help_text="status, reason, columns, seconds; no data rows")
    after = serializers.DictField(read_only=True, help_text="the same after the run")

    class Meta:
        model = Bystander
        fields = ["uuid", "title", "viz_type", "status", "reason", "before", "after"]
        read_only_fields = fields


class VerdictSerializer(serializers.ModelSerializer[Verdict]):
    status = serializers.ChoiceField(choices=["ok", "differs", "failed", "not_checkable"], read_only=True)
    details = serializers.DictField(read_only=True, help_text="what was compared; no data rows")

    class Meta:
        model = Verdict
        fields = [
            "uuid",
            "title",
            "viz_type",
            "status",
            "reason",
            "details",
            "source_seconds",
            "target_seconds",
        ]
        read_only_fields = fields


class RunDetailSerializer(RunSerializer):
    job = JobSerializer(read_only=True, allow_null=True)
    steps = RunStepSerializer(many=True, read_only=True)
    written = serializers.ListField(
        child=serializers.CharField(), read_only=True, help_text="target uuids that are there as planned"
    )
    unwritten = serializers.ListField(
        child=serializers.CharField(), read_only=True, help_text="all others that the plan writes"
    )
    created = serializers.ListField(
        child=serializers.CharField(),
        read_only=True,
        help_text="that are there and were not before",
    )
    looked_at = serializers.DateTimeField(
        read_only=True, allow_null=True, help_text="when the target was read for these lists; null: not known"
    )
    restore_point = serializers.IntegerField(
        source="restore_point_id", read_only=True, allow_null=True, help_text="number of a snapshot"
    )
    rollbacks: Any = serializers.SlugRelatedField(
        slug_field="uuid", many=True, read_only=True, help_text="migrations that put it back"
    )
    verdicts = VerdictSerializer(many=True, read_only=True)
    bystanders = BystanderSerializer(many=True, read_only=True)

    class Meta(RunSerializer.Meta):
        fields = [
            *RunSerializer.Meta.fields,
            "job",
            "steps",
            "written",
            "unwritten",
            "created",
            "looked_at",
            "restore_point",
            "rollbacks",
            "verdicts",
            "bystanders",
        ]
        read_only_fields = fields
