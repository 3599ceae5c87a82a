"""What is remembered of a pair of environments, and how it is sent."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from migrations_app.models import (
    Mapping,
)

from .base import EnvironmentBriefSerializer, Shape, StrictSerializer, shaped


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
