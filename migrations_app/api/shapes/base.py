"""What every shape is made of."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from environments.models import Environment
from migrations_app.filters import find_environments
from migrations_app.restoring.services import find_by_place
from sstools.errors import NotFoundError

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


class PlaceField(EnvironmentField):
    """An environment as above, or a backup that the user may see: `backup:<number>`."""

    def to_internal_value(self, data: Any) -> Any:
        key = serializers.CharField.to_internal_value(self, data)
        if not key.startswith("backup:"):
            return super().to_internal_value(key)
        try:
            return find_by_place(key, self.context["request"].user)
        except NotFoundError as error:
            raise serializers.ValidationError(error.message) from None


class UuidField(serializers.UUIDField):
    """A uuid as the text that assets are known by."""

    def to_internal_value(self, data: Any) -> Any:
        return str(super().to_internal_value(data))
