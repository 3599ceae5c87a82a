"""Runs, their steps and verdicts, as JSON."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers
from rest_framework.reverse import reverse

from migrations_app.models import (
    Bystander,
    Migration,
    Run,
    RunStep,
    Verdict,
)
from sstools.jobs.api import JobSerializer

from .base import EnvironmentBriefSerializer, Shape, shaped


class RunBriefSerializer(serializers.ModelSerializer[Run]):
    url = serializers.SerializerMethodField()

    class Meta:
        model = Run
        fields = ["uuid", "url", "number", "state", "created_at", "finished_at"]
        read_only_fields = fields

    def get_url(self, run: Run) -> str:
        return reverse("api:run", kwargs={"uuid": run.uuid}, request=self.context.get("request"))


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
