"""What a plan says, as JSON."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.reverse import reverse

from environments.models import KIND_CHOICES
from environments.store import get_documents
from migrations_app.engine.checks import Severity
from migrations_app.engine.companions import KIND_NAMES
from migrations_app.engine.plan import Action, Answer
from migrations_app.models import (
    Plan,
    PlanCompanion,
    PlanItem,
)

from .base import Shape, shaped


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
    conflict = shaped(ConflictShape(allow_null=True), allow_null=True)
    answer = shaped(GivenAnswerShape(allow_null=True), allow_null=True)

    class Meta:
        model = PlanCompanion
        fields = [
            "kind",
            "uuid",
            "target_uuid",
            "asset_uuid",
            "title",
            "action",
            "reason",
            "changes",
            "conflict",
            "answer",
        ]
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
