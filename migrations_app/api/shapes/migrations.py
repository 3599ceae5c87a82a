"""Migrations and their answers, as JSON."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.reverse import reverse

from migrations_app import services
from migrations_app.engine.carrying import OPTIONS, RECIPIENTS, Carrying
from migrations_app.models import (
    Migration,
)
from sstools.jobs.api import JobSerializer

from .base import EnvironmentBriefSerializer, StrictSerializer, shaped
from .plans import GivenAnswerShape, PlanCountsShape
from .runs import RunBriefSerializer


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
        read_only=True,
        help_text="env:<slug>, backup:<number>, git:<repository>@<commit>, file:<uuid>, repair:<slug>, "
        "replace:<slug>, or run:<number>:before for a roll back",
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
