"""REST: /api/v1/file-audits/."""

from __future__ import annotations

from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from django.db import IntegrityError
from django.db.models import QuerySet
from django.urls import path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import mixins, serializers, status, viewsets
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from environments.models import Environment
from environments.superset.trees import SHAPES
from migrations_app import services as migrations
from migrations_app.api.shapes import CarryingSerializer, MigrationDetailSerializer
from migrations_app.api.views import answer_migration
from migrations_app.engine.auditing import Severity
from migrations_app.models import Migration
from sstools.errors import Conflict, Invalid
from sstools.jobs.api import idempotency_key
from sstools.jobs.models import Source

from . import services, sources
from .models import FileAudit
from .reading import MAX_BYTES
from .rendering import MAX_VALUES_BYTES

KEY = OpenApiParameter(
    "Idempotency-Key",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    description="a request that is repeated with its key gets what the first one got",
)


class AuditFindingSerializer(serializers.Serializer[Any]):
    code = serializers.CharField(help_text="stable; docs/audit-of-files.md tells what each means")
    severity = serializers.ChoiceField(choices=[one.value for one in Severity])
    path = serializers.CharField(help_text="of the file in the tree")
    line = serializers.IntegerField(help_text="in that file, from 1")
    keys = serializers.ListField(child=serializers.CharField(), help_text="what leads to it in the file")
    kind = serializers.CharField(help_text="of the asset; empty where the file is none")
    uuid = serializers.CharField(help_text="of the asset; empty where the file is none")
    title = serializers.CharField()
    text = serializers.CharField(help_text="what is there")
    plain_import = serializers.CharField(help_text="what comes of it by Superset's own import")
    with_ss_tools = serializers.CharField(help_text="what ss-tools does instead")


class FileAuditSerializer(serializers.ModelSerializer[FileAudit]):
    target = serializers.SlugRelatedField(slug_field="slug", read_only=True)  # type: ignore[var-annotated]
    state = serializers.CharField(read_only=True, help_text="running, failed, clean or findings")
    shape = serializers.ChoiceField(
        choices=["", *SHAPES], read_only=True, help_text="what kind of tree it is"
    )
    counts = serializers.DictField(
        child=serializers.IntegerField(), read_only=True, help_text="number of files by kind of asset"
    )
    finding_counts = serializers.DictField(
        child=serializers.IntegerField(), read_only=True, help_text="number of findings by severity"
    )
    error = serializers.DictField(
        read_only=True, allow_null=True, help_text="code, message, remedy of an audit that failed"
    )
    version = serializers.CharField(read_only=True, help_text="of the target's Superset")
    job = serializers.UUIDField(source="job.uuid", default=None, allow_null=True, read_only=True)
    page = serializers.CharField(source="get_absolute_url", read_only=True, help_text="its page")

    class Meta:
        model = FileAudit
        fields = ["uuid", "name", "sha256", "size", "target", "state", "shape", "counts", "finding_counts"]
        fields += ["version", "read_at", "error", "job", "page", "created_at", "finished_at"]
        read_only_fields = fields


class FileAuditDetailSerializer(FileAuditSerializer):
    findings = AuditFindingSerializer(many=True, read_only=True)

    class Meta(FileAuditSerializer.Meta):
        fields = [*FileAuditSerializer.Meta.fields, "findings"]
        read_only_fields = fields


class FileAuditRequestSerializer(serializers.Serializer[Any]):
    file = serializers.FileField(help_text="an export ZIP, or a ZIP, tar or tar.gz of a tree")
    values = serializers.FileField(
        required=False, help_text="YAML: what the templates of the tree are rendered with"
    )
    target = serializers.CharField(max_length=50, help_text="slug of the environment")


@extend_schema_view(
    list=extend_schema(description="Reports on environments whose assets you may see, newest first."),
    retrieve=extend_schema(
        responses=FileAuditDetailSerializer, description="One report with its findings, the worst first."
    ),
)
class FileAuditViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[FileAudit]):
    """What an import of a tree of files would do to an environment. Nothing is written there."""

    lookup_field = "uuid"
    filter_backends: list[Any] = []
    queryset = FileAudit.objects.none()
    parser_classes = [MultiPartParser]

    def get_queryset(self) -> QuerySet[FileAudit]:
        rows = FileAudit.objects.visible_to(self.request.user).select_related("target", "job")
        return rows.defer("file", "values", "findings") if self.action == "list" else rows

    def get_serializer_class(self) -> type[serializers.BaseSerializer[FileAudit]]:
        return FileAuditSerializer if self.action == "list" else FileAuditDetailSerializer

    @extend_schema(
        request={"multipart/form-data": FileAuditRequestSerializer},
        responses={202: FileAuditSerializer},
        parameters=[KEY],
    )
    def create(self, request: Request) -> Response:
        """Audit a file. The report is made in the background: ask for it until its `state` is no longer running.

        Needs migration:plan and asset:view on the target.
        """
        asked = FileAuditRequestSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        data = asked.validated_data
        target = Environment.objects.visible_to(request.user).filter(slug=data["target"]).first()
        if target is None:
            raise Invalid("There is no such environment.", errors={"target": ["You see none of that name."]})
        row = services.request_audit(
            data["file"].read(MAX_BYTES + 1),
            data["file"].name,
            target,
            actor=request.user,
            values=data["values"].read(MAX_VALUES_BYTES + 1) if data.get("values") else None,
            source=Source.API,
            idempotency_key=idempotency_key(request),
        )
        return Response(FileAuditSerializer(row).data, status=status.HTTP_202_ACCEPTED)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, uuid: UUID) -> Response:
        """Forget a report now: one's own, or with migration:plan on its target."""
        services.remove_audit(self.get_object(), actor=request.user, source=Source.API)
        return Response(status=status.HTTP_204_NO_CONTENT)


class FromFilesRequestSerializer(serializers.Serializer[Any]):
    """What is asked of a migration whose source are files, wherever they are."""

    target = serializers.CharField(max_length=50, help_text="slug of the environment")
    selection = serializers.ListField(
        child=serializers.UUIDField(), required=False, help_text="uuids; none: everything in it"
    )
    left_out = serializers.ListField(child=serializers.UUIDField(), required=False)
    map = serializers.DictField(
        required=False,
        help_text="connection of the files -> connection of the target, by name or uuid; remembered",
    )
    title = serializers.CharField(required=False, allow_blank=True, max_length=200)
    with_dependencies = serializers.BooleanField(default=True)
    verify = serializers.BooleanField(default=True)
    roll_back_when_red = serializers.BooleanField(default=False)
    plan = serializers.BooleanField(default=False, help_text="make its first plan, too")


class FileMigrationRequestSerializer(FromFilesRequestSerializer):
    file = serializers.UUIDField(help_text="of an upload: POST /api/v1/comparisons/files/")
    carrying = CarryingSerializer(
        required=False, help_text="what comes along; none: saved queries, with everything"
    )


class FileMigrationsView(APIView):
    @extend_schema(
        request=FileMigrationRequestSerializer, responses={201: MigrationDetailSerializer}, parameters=[KEY]
    )
    def post(self, request: Request) -> Response:
        """A migration of a file that was uploaded: as of an environment from there on. Needs migration:plan on the
        target.
        """
        asked = FileMigrationRequestSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        data = dict(asked.validated_data)
        key = idempotency_key(request)
        uuid = uuid5(NAMESPACE_URL, f"file-migration:{request.user.pk}:{key}") if key else None
        try:
            migration = self._repeated(data, uuid) or self._create(data, uuid)
        except IntegrityError:  # the same request at the same moment: it was faster
            repeated = self._repeated(data, uuid)
            if repeated is None:
                raise _reused() from None
            migration = repeated
        if data["plan"]:
            migrations.request_plan(migration, actor=request.user, source=Source.API, idempotency_key=key)
        return answer_migration(migration, request, status.HTTP_201_CREATED)

    def _create(self, data: dict[str, Any], uuid: UUID | None) -> Migration:
        target = Environment.objects.visible_to(self.request.user).filter(slug=data["target"]).first()
        if target is None:
            raise Invalid("There is no such environment.", errors={"target": ["You see none of that name."]})
        return sources.create_migration(
            sources.find_file(data["file"], self.request.user),
            target,
            actor=self.request.user,
            selection=map(str, data.get("selection", ())),
            left_out=map(str, data.get("left_out", ())),
            databases=data.get("map"),
            title=data.get("title", ""),
            with_dependencies=data["with_dependencies"],
            verify=data["verify"],
            roll_back_when_red=data["roll_back_when_red"],
            carrying=data.get("carrying"),
            uuid=uuid,
        )

    def _repeated(self, data: dict[str, Any], uuid: UUID | None) -> Migration | None:
        """What the same request made before. Raises Conflict if its key belongs to another one, or to one that the
        person may not see any more.
        """
        if uuid is None or not Migration.objects.filter(uuid=uuid).exists():
            return None
        visible = Migration.objects.visible_to(self.request.user).filter(uuid=uuid)
        found: Migration | None = visible.filter(
            source_place=f"file:{data['file']}", target__slug=data["target"]
        ).first()
        selection = sorted({str(one) for one in data.get("selection", ())})
        if found is None or (selection and selection != found.selection):
            raise _reused()
        return found


def _reused() -> Conflict:
    return Conflict(
        "This idempotency key was used for another request.",
        code="idempotency_key_reused",
        remedy="Use a new key for a new request.",
    )


urlpatterns = [
    path("file-migrations/", FileMigrationsView.as_view(), name="file-migrations"),
    path("file-audits/", FileAuditViewSet.as_view({"get": "list", "post": "create"}), name="file-audits"),
    path(
        "file-audits/<uuid:uuid>/",
        FileAuditViewSet.as_view({"get": "retrieve", "delete": "destroy"}, detail=True),
        name="file-audit",
    ),
]
