"""REST: /api/v1/backups/, and how long the backups of an environment are kept."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import FileResponse
from django.urls import path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import mixins, serializers, status, viewsets
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from environments.models import Environment
from sstools.errors import Invalid, NotFoundError
from sstools.jobs.api import JobDetailSerializer, accepted, idempotency_key
from sstools.jobs.models import Source
from sstools.roles import policy
from sstools.roles.permissions import Permission

from . import contents, downloads, origins, retention, services
from .filters import BackupFilter
from .models import Backup, BackupReason, Policy, QuotaAction
from .storages import named

IDEMPOTENCY = OpenApiParameter(
    "Idempotency-Key",
    str,
    OpenApiParameter.HEADER,
    description="Repeats of a request get the job of the first one.",
)

FORMAT = (
    "dashboards, charts, datasets: a ZIP that Superset imports at /api/v1/dashboard/import/ and so on; "
    "tree: all of it as files"
)


class BackupSerializer(serializers.ModelSerializer[Backup]):
    """A snapshot that is kept."""

    number = serializers.IntegerField(read_only=True)
    place = serializers.CharField(
        read_only=True, help_text="how migrations and comparisons name it: backup:318"
    )
    environment = serializers.CharField(source="environment.slug", read_only=True, help_text="its slug")
    counts = serializers.DictField(
        child=serializers.IntegerField(),
        read_only=True,
        help_text="by kind, of assets and what is set up beside",
    )
    run_place = serializers.SerializerMethodField(
        help_text="of a restore point its other name: run:42:before"
    )
    created_by = serializers.CharField(
        source="created_by.username", default=None, allow_null=True, read_only=True
    )

    class Meta:
        model = Backup
        fields = [
            "number",
            "place",
            "environment",
            "title",
            "reason",
            "state",
            "whole",
            "storage",
            "counts",
            "size_bytes",
            "added_bytes",
            "added_documents",
            "digest",
            "pinned",
            "pinned_reason",
            "keep_until",
            "kept_by",
            "verified_at",
            "error",
            "started_at",
            "ended_at",
            "job",
            "schedule",
            "run_place",
            "created_by",
        ]
        read_only_fields = fields

    def get_run_place(self, backup: Backup) -> str:
        origin = getattr(backup, "origin", None)
        return origin.place if origin else ""


class BackupDetailSerializer(BackupSerializer):
    """With what could not be read, and what was found when it was verified."""

    selection = serializers.ListField(child=serializers.CharField(), read_only=True)
    companions_read = serializers.DictField(
        child=serializers.CharField(allow_blank=True),
        read_only=True,
        help_text="by kind of what is set up beside assets: why it could not be read, empty where it was",
    )
    problems = serializers.ListField(
        child=serializers.DictField(),
        read_only=True,
        help_text="code, uuid, title, text of what could not be read",
    )
    verification = serializers.DictField(
        read_only=True,
        allow_null=True,
        help_text="state, checked and problems, of the last time it was verified",
    )

    class Meta(BackupSerializer.Meta):
        fields = [
            *BackupSerializer.Meta.fields,
            "selection",
            "companions_read",
            "problems",
            "verification",
            "notes",
        ]
        read_only_fields = fields


class BackupWriteSerializer(serializers.Serializer[Backup]):
    environment = serializers.CharField(help_text="slug")
    title = serializers.CharField(
        max_length=services.TITLE_LENGTH, required=False, allow_blank=True, default=""
    )
    notes = serializers.CharField(
        max_length=services.NOTES_LENGTH, required=False, allow_blank=True, default=""
    )
    selection = serializers.ListField(
        child=serializers.CharField(max_length=100),
        required=False,
        help_text="assets as kind:uuid, with what they stand on; left out: the whole environment",
    )
    storage = serializers.ChoiceField(
        choices=named.NAMES, required=False, help_text="left out: where backups go by default"
    )


class BackupEditSerializer(serializers.Serializer[Backup]):
    title = serializers.CharField(max_length=services.TITLE_LENGTH, required=False, allow_blank=True)
    notes = serializers.CharField(max_length=services.NOTES_LENGTH, required=False, allow_blank=True)
    keep_until = serializers.DateTimeField(
        required=False,
        allow_null=True,
        help_text="it is kept at least until then; null: the rules alone decide",
    )


class PinSerializer(serializers.Serializer[Backup]):
    reason = serializers.CharField(
        max_length=services.REASON_LENGTH, required=False, allow_blank=True, default=""
    )


class BackupEntrySerializer(serializers.Serializer[Any]):
    """One thing in a backup."""

    kind = serializers.CharField(
        read_only=True, help_text="of an asset or of what is set up beside: rls, owners, …"
    )
    uuid = serializers.CharField(read_only=True)
    title = serializers.CharField(read_only=True)
    fingerprint = serializers.CharField(
        source="sha", read_only=True, help_text="of its content; empty: it was there, and could not be read"
    )
    state = serializers.CharField(
        read_only=True,
        help_text="against the environment as last read: same, differs, deleted, unknown; empty for what is no asset",
    )


class BackupEntryDetailSerializer(BackupEntrySerializer):
    body = serializers.DictField(
        read_only=True,
        allow_null=True,
        help_text="canonical content without secrets; null: it could not be read",
    )


class BackupRulesSerializer(serializers.ModelSerializer[Policy]):
    """How long backups are kept. A good one stays if any rule keeps it."""

    quota_action = serializers.ChoiceField(
        choices=QuotaAction.choices,
        required=False,
        help_text="what happens when they take more than quota_bytes",
    )

    class Meta:
        model = Policy
        fields = list(services.POLICY_FIELDS)


class BackupDecisionSerializer(serializers.Serializer[Any]):
    backup = serializers.IntegerField(source="backup.pk", read_only=True)
    keeps = serializers.BooleanField(read_only=True)
    why = serializers.CharField(read_only=True, help_text="the rule, in words")


class BackupRulesPreviewSerializer(serializers.Serializer[Any]):
    """What a tidying would remove."""

    frees = serializers.IntegerField(read_only=True, help_text="bytes that nothing else needs")
    decisions = BackupDecisionSerializer(many=True, read_only=True)


class BackupViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Backup]):
    """Backups, newest first. Taking one needs backup:create, pinning backup:pin, deleting, unpinning and editing
    backup:edit.
    """

    lookup_field = "pk"
    lookup_url_kwarg = "number"
    serializer_class = BackupSerializer
    filterset_class = BackupFilter
    queryset = Backup.objects.none()

    def get_queryset(self) -> QuerySet[Backup]:
        rows = Backup.objects.visible_to(self.request.user).select_related(
            "environment", "snapshot", "created_by"
        )
        return rows.defer("snapshot__notes")

    def get_object(self) -> Backup:
        found = services.find_backup(self.kwargs["number"], self.request.user)
        _add_origins([found])
        return found

    def paginate_queryset(self, queryset: Any) -> Any:
        page = super().paginate_queryset(queryset)
        _add_origins(page or [])
        return page

    @extend_schema(responses=BackupDetailSerializer)
    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """One of them, with what could not be read."""
        return Response(BackupDetailSerializer(self.get_object()).data)

    @extend_schema(
        request=BackupWriteSerializer, responses={202: JobDetailSerializer}, parameters=[IDEMPOTENCY]
    )
    def create(self, request: Request) -> Response:
        """Back an environment up, in the background; the job's result has the number: {"backup": 318, …}."""
        given = BackupWriteSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        values = dict(given.validated_data)
        slug = values.pop("environment")
        environment = Environment.objects.visible_to(request.user).filter(slug=slug).first()
        if environment is None:
            raise Invalid(
                "Some values are not right.", errors={"environment": ["There is no such environment."]}
            )
        key = idempotency_key(request)
        job = services.request_backup(
            environment, actor=request.user, source=Source.API, idempotency_key=key, **values
        )
        return accepted(job, request)

    @extend_schema(request=BackupEditSerializer(partial=True), responses=BackupDetailSerializer)
    def partial_update(self, request: Request, number: int) -> Response:
        """Change its title, its notes, or until when it is kept at least."""
        backup = self.get_object()
        policy.require(request.user, Permission.BACKUP_EDIT, backup.environment)
        given = BackupEditSerializer(data=request.data, partial=True)
        given.is_valid(raise_exception=True)
        services.edit_backup(backup, given.validated_data, actor=request.user, source=Source.API)
        return Response(BackupDetailSerializer(self.get_object()).data)

    @extend_schema(
        parameters=[
            OpenApiParameter("confirm", str, required=True, description="the slug of the environment")
        ],
        responses={204: None},
    )
    def destroy(self, request: Request, number: int) -> Response:
        """Forget it. What only it holds goes with the next tidying; Superset is not touched."""
        backup = self.get_object()
        confirm = request.query_params.get("confirm", "")
        services.delete_backup(backup, actor=request.user, confirm=confirm, source=Source.API)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(request=PinSerializer, responses=BackupDetailSerializer)
    def pin(self, request: Request, number: int) -> Response:
        """Keep it whatever the rules say."""
        given = PinSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        reason = given.validated_data["reason"]
        services.pin(self.get_object(), actor=request.user, reason=reason, source=Source.API)
        return Response(BackupDetailSerializer(self.get_object()).data)

    @extend_schema(responses={204: None})
    def unpin(self, request: Request, number: int) -> Response:
        """From now on the rules decide when it goes."""
        services.unpin(self.get_object(), actor=request.user, source=Source.API)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(request=None, responses={202: JobDetailSerializer}, parameters=[IDEMPOTENCY])
    def verify(self, request: Request, number: int) -> Response:
        """Read every document of it and say what is missing or damaged, in the background."""
        key = idempotency_key(request)
        job = services.request_verification(
            self.get_object(), actor=request.user, source=Source.API, idempotency_key=key
        )
        return accepted(job, request)

    @extend_schema(
        parameters=[
            OpenApiParameter("as", str, enum=list(downloads.FORMATS), required=True, description=FORMAT)
        ],
        responses={(200, "application/zip"): OpenApiTypes.BINARY},
        filters=False,
    )
    def download(self, request: Request, number: int) -> FileResponse:
        """As a file. Never passwords: addresses of connections are masked."""
        format_ = request.query_params.get("as", "")
        file, name = downloads.download(self.get_object(), format_, actor=request.user, source=Source.API)
        return FileResponse(file, as_attachment=True, filename=name, content_type="application/zip")


class ContentsViewSet(viewsets.GenericViewSet[Any]):
    """What is in a backup."""

    serializer_class = BackupEntrySerializer
    queryset = Backup.objects.none()

    def _find(self) -> Backup:
        backup = services.find_backup(self.kwargs["number"], self.request.user)
        services.must_be_readable(backup)
        return backup

    @extend_schema(
        parameters=[
            OpenApiParameter("kind", str, enum=list(contents.KINDS)),
            OpenApiParameter("state", str, enum=[*contents.STATES, "different"], description="against now"),
            OpenApiParameter("q", str, description="words in the title, or a part of the uuid"),
        ],
        filters=False,
    )
    def list(self, request: Request, number: int) -> Response:
        """By kind and title."""
        held = contents.contents_of(self._find())
        asked = request.query_params
        found = list(
            contents.select(
                held.items, kind=asked.get("kind", ""), state=asked.get("state", ""), words=asked.get("q", "")
            )
        )
        page = self.paginate_queryset(found)
        return self.get_paginated_response(BackupEntrySerializer(page, many=True).data)

    @extend_schema(responses=BackupEntryDetailSerializer)
    def retrieve(self, request: Request, number: int, kind: str, uuid: str) -> Response:
        """One thing in it, with its content."""
        if kind not in contents.KINDS:
            raise NotFoundError("There is no such kind.")
        entry = contents.entry_of(self._find(), kind, uuid.lower())
        return Response(BackupEntryDetailSerializer({**entry.item._asdict(), "body": entry.body}).data)


class PolicyView(APIView):
    """For how long the backups of an environment are kept."""

    @extend_schema(responses=BackupRulesSerializer)
    def get(self, request: Request, slug: str) -> Response:
        """Its rules; where nobody set any, those that hold by default."""
        return Response(BackupRulesSerializer(services.policy_of(_environment(request, slug))).data)

    @extend_schema(request=BackupRulesSerializer(partial=True), responses=BackupRulesSerializer)
    def patch(self, request: Request, slug: str) -> Response:
        """Change the given rules. Nothing is removed by that; the next tidying does, see the preview."""
        given = BackupRulesSerializer(data=request.data, partial=True)
        environment = _environment(request, slug)
        policy.require(request.user, Permission.BACKUP_EDIT, environment)
        given.is_valid(raise_exception=True)
        row = services.set_policy(environment, given.validated_data, actor=request.user, source=Source.API)
        return Response(BackupRulesSerializer(row).data)


class PreviewView(APIView):
    """What the rules would remove."""

    @extend_schema(request=BackupRulesSerializer(partial=True), responses=BackupRulesPreviewSerializer)
    def post(self, request: Request, slug: str) -> Response:
        """With the given rules in place of the saved ones; none given: as they are. Changes nothing."""
        environment = _environment(request, slug)
        given = BackupRulesSerializer(data=request.data, partial=True)
        given.is_valid(raise_exception=True)
        asked = services.changed_policy(environment, given.validated_data)
        return Response(BackupRulesPreviewSerializer(retention.preview(environment, asked)).data)


def _environment(request: Request, slug: str) -> Environment:
    environment: Environment = get_object_or_404(Environment.objects.visible_to(request.user), slug=slug)
    policy.require(request.user, Permission.BACKUP_VIEW, environment)
    return environment


def _add_origins(backups: Any) -> None:
    known = origins.of(row.pk for row in backups if row.reason == BackupReason.RESTORE_POINT)
    for row in backups:
        row.origin = known.get(row.pk)


def _backups(actions: dict[str, str]) -> Any:
    return BackupViewSet.as_view(actions)  # type: ignore[arg-type]


urlpatterns = [
    path("backups/", _backups({"get": "list", "post": "create"}), name="backups"),
    path(
        "backups/<int:number>/",
        _backups({"get": "retrieve", "patch": "partial_update", "delete": "destroy"}),
        name="backup",
    ),
    path("backups/<int:number>/pin/", _backups({"put": "pin", "delete": "unpin"}), name="backup-pin"),
    path("backups/<int:number>/verify/", _backups({"post": "verify"}), name="backup-verify"),
    path("backups/<int:number>/download/", _backups({"get": "download"}), name="backup-download"),
    path("backups/<int:number>/contents/", ContentsViewSet.as_view({"get": "list"}), name="backup-contents"),
    path(
        "backups/<int:number>/contents/<slug:kind>/<slug:uuid>/",
        ContentsViewSet.as_view({"get": "retrieve"}),
        name="backup-entry",
    ),
    path("environments/<slug:slug>/backup-rules/", PolicyView.as_view(), name="environment-backup-rules"),
    path(
        "environments/<slug:slug>/backup-rules/preview/",
        PreviewView.as_view(),
        name="environment-backup-rules-preview",
    ),
]
