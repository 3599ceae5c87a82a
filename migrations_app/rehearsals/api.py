"""REST: /api/v1/rehearsals/."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, viewsets
from rest_framework.request import Request
from rest_framework.response import Response

from environments.models import Environment
from sstools.errors import Invalid
from sstools.jobs.api import JobDetailSerializer, accepted, idempotency_key
from sstools.jobs.models import Source

from . import services
from .filters import RehearsalFilter
from .models import Cleanup, Rehearsal


class RehearsalSerializer(serializers.ModelSerializer[Rehearsal]):
    """A backup that was restored for practice, and what came of it."""

    environment = serializers.CharField(
        source="environment.slug", read_only=True, help_text="whose backup it is"
    )
    scratch = serializers.CharField(source="scratch.slug", read_only=True, help_text="where it was restored")
    backup = serializers.IntegerField(source="backup_number", read_only=True, allow_null=True)
    cleanup = serializers.ChoiceField(
        choices=Cleanup.choices,
        read_only=True,
        help_text="what became of what was written; empty: not known yet",
    )
    migration = serializers.UUIDField(source="migration.uuid", read_only=True, default=None, allow_null=True)
    run = serializers.IntegerField(source="run_id", read_only=True, allow_null=True)
    compared = serializers.DictField(
        child=serializers.IntegerField(), read_only=True, help_text="equal, adapted, different, missing"
    )
    charts = serializers.DictField(
        child=serializers.IntegerField(), read_only=True, help_text="verdict: number"
    )
    companions = serializers.DictField(
        child=serializers.IntegerField(), read_only=True, help_text="action of the plan: number"
    )
    differences = serializers.ListField(
        child=serializers.DictField(child=serializers.CharField()),
        read_only=True,
        help_text="kind, uuid, title, text; the first 100",
    )
    notes = serializers.ListField(
        child=serializers.CharField(), read_only=True, help_text="what was decided without asking"
    )
    error = serializers.DictField(read_only=True, allow_null=True, help_text="code, message, remedy")
    job = serializers.UUIDField(source="job.uuid", read_only=True, default=None, allow_null=True)

    class Meta:
        model = Rehearsal
        fields = [
            "uuid",
            "number",
            "environment",
            "scratch",
            "backup",
            "state",
            "cleanup",
            "migration",
            "run",
            "compared",
            "present",
            "charts",
            "companions",
            "differences",
            "notes",
            "error",
            "job",
            "started_at",
            "ended_at",
        ]
        read_only_fields = fields


class AskSerializer(serializers.Serializer[Any]):
    environment = serializers.CharField(max_length=50, help_text="slug of the environment that was backed up")
    scratch = serializers.CharField(max_length=50, help_text="slug of a scratch environment")
    backup = serializers.IntegerField(
        required=False, allow_null=True, min_value=1, help_text="its number; left out: the latest good one"
    )


class RehearsalViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Rehearsal]):
    """Backups that were restored into a scratch environment, compared, verified, and taken away again."""

    lookup_field = "uuid"
    lookup_value_converter = "uuid"
    serializer_class = RehearsalSerializer
    filterset_class = RehearsalFilter
    queryset = Rehearsal.objects.none()

    def get_queryset(self) -> QuerySet[Rehearsal]:
        rows = Rehearsal.objects.visible_to(self.request.user)
        return rows.select_related("environment", "scratch", "migration", "job")

    def filter_queryset(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return super().filter_queryset(queryset) if self.action == "list" else queryset

    @extend_schema(request=AskSerializer, responses={202: JobDetailSerializer})
    def create(self, request: Request) -> Response:
        """Rehearse a backup now. One at a time in each scratch environment."""
        asked = AskSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        values = asked.validated_data
        found = {
            name: Environment.objects.visible_to(request.user).filter(slug=values[name]).first()
            for name in ("environment", "scratch")
        }
        if errors := {name: ["There is no such environment."] for name, row in found.items() if row is None}:
            raise Invalid("Some values are not right.", errors=errors)
        environment, scratch = found["environment"], found["scratch"]
        assert environment is not None
        assert scratch is not None
        number = values.get("backup")
        job = services.request_rehearsal(
            environment,
            scratch,
            actor=request.user,
            backup=services.find_backup(environment, str(number), request.user) if number else None,
            source=Source.API,
            idempotency_key=idempotency_key(request),
        )
        return accepted(job, request)


urlpatterns = [
    path("rehearsals/", RehearsalViewSet.as_view({"get": "list", "post": "create"}), name="rehearsals"),
    path("rehearsals/<uuid:uuid>/", RehearsalViewSet.as_view({"get": "retrieve"}), name="rehearsal"),
]
