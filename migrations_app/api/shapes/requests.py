"""What is sent to make, change, answer and apply migrations."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from environments.backups.models import Backup
from migrations_app.engine.plan import Answer

from .base import HASH_LENGTH, EnvironmentField, PlaceField, StrictSerializer, UuidField
from .mappings import database_entries
from .migrations import CarryingSerializer


class MigrationRequestSerializer(StrictSerializer):
    source = PlaceField(help_text="slug or uuid of an environment, or backup:<number>")  # type: ignore[assignment]
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
        help_text="also remove what this way brought and the source no longer has, of a whole backup over its own "
        "environment what came after it; needs migration:prune",
    )
    beside = serializers.BooleanField(
        required=False, default=False, help_text="of a backup: as a copy with uuids and names of its own"
    )
    copy_title = serializers.CharField(
        required=False,
        max_length=200,
        allow_blank=True,
        default="",
        help_text="names of copied dashboards, {title} is the original's; none: “{title} (backup 318)”",
    )
    map = database_entries(required=False)
    plan = serializers.BooleanField(required=False, default=False, help_text="also ask for a plan; see `job`")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["all"] == ("selection" in attrs):
            raise serializers.ValidationError({"selection": ["Give either a selection or all: true."]})
        if attrs["beside"] and not isinstance(attrs["source"], Backup):
            raise serializers.ValidationError({"beside": ["Only of a backup."]})
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
        help_text="uuid of an item or a companion -> one of the options of its conflict, of an item also leave_out; "
        "null takes an answer back",
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
