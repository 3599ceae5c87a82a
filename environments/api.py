"""REST: /api/v1/environments/ and /api/v1/assets/."""

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django.urls import path
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import mixins, serializers, status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from sstools.jobs.api import JobDetailSerializer, accepted, idempotency_key
from sstools.jobs.models import Source
from sstools.roles import policy
from sstools.roles.permissions import Permission

from . import services
from .canonical.documents import Kind
from .filters import AssetFilter, EnvironmentFilter, ordering
from .models import Asset, AuthKind, Colour, Environment, Position, Reading

IDEMPOTENCY = OpenApiParameter(
    "Idempotency-Key",
    str,
    OpenApiParameter.HEADER,
    description="Repeats of a request get the job of the first one.",
)


class EnvironmentSerializer(serializers.ModelSerializer[Environment]):
    """What an environment is and what was last seen of it. Its secret is in no answer."""

    credential = serializers.CharField(
        read_only=True, help_text="A reference, or that it is stored; never the secret"
    )
    has_ca_certificate = serializers.SerializerMethodField()
    asset_counts = serializers.DictField(child=serializers.IntegerField(), read_only=True)
    check_report = serializers.DictField(read_only=True, help_text="What the last test found, stage by stage")

    class Meta:
        model = Environment
        fields = [
            "uuid",
            "slug",
            "name",
            "tag",
            "url",
            "position",
            "colour",
            "protected",
            "scratch",
            "auth_kind",
            "username",
            "credential",
            "has_ca_certificate",
            "proxy_url",
            "read_timeout_seconds",
            "import_timeout_seconds",
            "max_parallel",
            "version",
            "check_state",
            "check_report",
            "last_checked_at",
            "last_reached_at",
            "latency_ms",
            "asset_counts",
            "inventory_at",
            "inventory_error",
            "created_at",
            "updated_at",
        ]
        read_only_fields = fields

    def get_has_ca_certificate(self, environment: Environment) -> bool:
        return bool(environment.ca_certificate)


class EnvironmentWriteSerializer(serializers.Serializer[Environment]):
    """What may be set. Values are judged by the service: 422 with the errors by field."""

    name = serializers.CharField(max_length=100)
    url = serializers.CharField(max_length=500, help_text="http or https, without user, password and query")
    slug = serializers.CharField(max_length=50, required=False, allow_blank=True)
    tag = serializers.CharField(max_length=12, required=False, allow_blank=True)
    position = serializers.ChoiceField(choices=Position.choices, required=False)
    colour = serializers.ChoiceField(choices=Colour.choices, required=False)
    protected = serializers.BooleanField(
        required=False, help_text="Left out: true for production (position 3)"
    )
    scratch = serializers.BooleanField(
        required=False,
        help_text="Everything in it may be replaced at any time, so that backups are rehearsed there; never protected",
    )
    auth_kind = serializers.ChoiceField(choices=AuthKind.choices, required=False)
    username = serializers.CharField(max_length=150, required=False, allow_blank=True)
    secret = serializers.CharField(
        max_length=65_536,
        required=False,
        allow_blank=True,
        trim_whitespace=False,
        write_only=True,
        style={"input_type": "password"},
        help_text="Password or token. Empty or left out: keep the stored one",
    )
    secret_reference = serializers.CharField(
        max_length=500,
        required=False,
        allow_blank=True,
        help_text="env:NAME or file:/path, instead of a secret",
    )
    ca_certificate = serializers.CharField(
        required=False, allow_blank=True, trim_whitespace=False, help_text="PEM"
    )
    proxy_url = serializers.CharField(max_length=500, required=False, allow_blank=True)
    read_timeout_seconds = serializers.IntegerField(required=False)
    import_timeout_seconds = serializers.IntegerField(required=False)
    max_parallel = serializers.IntegerField(required=False)


class AssetSerializer(serializers.ModelSerializer[Asset]):
    """One asset as its environment's lists showed it at the last reading."""

    environment = serializers.CharField(source="environment.slug", read_only=True, help_text="its slug")
    key = serializers.CharField(read_only=True, help_text='"<environment>:<kind>:<uuid>"')
    url = serializers.SerializerMethodField(help_text="its page in Superset")
    owners = serializers.ListField(child=serializers.DictField(), read_only=True)
    tags = serializers.ListField(
        child=serializers.CharField(), read_only=True, help_text="of dashboards and charts"
    )
    dashboard_uuids = serializers.ListField(child=serializers.CharField(), read_only=True)
    damage = serializers.ListField(
        child=serializers.DictField(child=serializers.CharField()),
        read_only=True,
        help_text="what other tools damaged in a dashboard: code, text, where",
    )
    fingerprint = serializers.CharField(
        source="document_id",
        read_only=True,
        allow_null=True,
        help_text="of its content at the last full reading",
    )

    class Meta:
        model = Asset
        fields = [
            "key",
            "environment",
            "kind",
            "uuid",
            "superset_id",
            "title",
            "slug",
            "published",
            "viz_type",
            "schema",
            "catalog",
            "is_virtual",
            "backend",
            "changed_on",
            "changed_by",
            "owners",
            "tags",
            "dataset_uuid",
            "database_uuid",
            "dashboard_uuids",
            "url",
            "fingerprint",
            "damage",
            "first_seen_at",
            "last_seen_at",
        ]
        read_only_fields = fields

    def get_url(self, asset: Asset) -> str:
        return asset.environment.url + asset.url_path


class ReadingSerializer(serializers.ModelSerializer[Reading]):
    """What one reading of an environment cost, and what it found."""

    requests = serializers.DictField(
        child=serializers.IntegerField(),
        read_only=True,
        help_text="list, export, sweep (exports of what no list said had changed), other (sign-in, version)",
    )
    found = serializers.DictField(
        child=serializers.DictField(child=serializers.IntegerField()),
        read_only=True,
        help_text="by kind: added, changed, gone and same, against what was known before",
    )
    swept = serializers.IntegerField(read_only=True, help_text="assets that came with the sweep")
    snapshot = serializers.IntegerField(
        source="snapshot_id",
        read_only=True,
        allow_null=True,
        help_text="number of the snapshot, while it is kept",
    )
    seconds = serializers.FloatField(read_only=True, allow_null=True)

    class Meta:
        model = Reading
        fields = [
            "uuid",
            "job",
            "state",
            "mode",
            "started_at",
            "ended_at",
            "seconds",
            "requests",
            "found",
            "swept",
            "snapshot",
            "error",
        ]
        read_only_fields = fields


class EnvironmentViewSet(
    mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Environment]
):
    """The Supersets. Registering and changing one needs environment:edit, testing and reading environment:test."""

    lookup_field = "uuid"
    filterset_class = EnvironmentFilter
    serializer_class = EnvironmentSerializer
    queryset = Environment.objects.none()

    def get_queryset(self) -> QuerySet[Environment]:
        rows: QuerySet[Environment] = Environment.objects.visible_to(self.request.user).in_order()
        return rows

    @extend_schema(request=EnvironmentWriteSerializer, responses={201: EnvironmentSerializer})
    def create(self, request: Request) -> Response:
        """Register one. It is neither tested nor read by that: see check and read."""
        given = EnvironmentWriteSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        made = services.register_environment(given.validated_data, actor=request.user, source=Source.API)
        return Response(self.get_serializer(made).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=EnvironmentWriteSerializer(partial=True), responses=EnvironmentSerializer)
    def partial_update(self, request: Request, uuid: str) -> Response:
        """Change the given fields."""
        given = EnvironmentWriteSerializer(data=request.data, partial=True)
        given.is_valid(raise_exception=True)
        changed = services.update_environment(
            self.get_object(), given.validated_data, actor=request.user, source=Source.API
        )
        return Response(self.get_serializer(changed).data)

    @extend_schema(
        parameters=[
            OpenApiParameter("confirm", str, required=True, description="the slug of the environment"),
            OpenApiParameter("backups", int, description="how many backups go with it, where it has any"),
        ],
        responses={204: None},
    )
    def destroy(self, request: Request, uuid: str) -> Response:
        """Forget it with its inventory, snapshots and backups. The Superset itself is not touched."""
        asked = request.query_params
        services.remove_environment(
            self.get_object(),
            actor=request.user,
            confirm=asked.get("confirm", ""),
            backups=asked.get("backups"),
            source=Source.API,
        )
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(request=None, responses={202: JobDetailSerializer}, parameters=[IDEMPOTENCY])
    @action(detail=True, methods=["post"])
    def check(self, request: Request, uuid: str) -> Response:
        """Test the connection in the background; the result is in check_state and check_report."""
        key = idempotency_key(request)
        job = services.request_check(
            self.get_object(), actor=request.user, source=Source.API, idempotency_key=key
        )
        return accepted(job, request)

    @extend_schema(request=None, responses={202: JobDetailSerializer}, parameters=[IDEMPOTENCY])
    @action(detail=True, methods=["post"])
    def read(self, request: Request, uuid: str) -> Response:
        """Read what is there now, in the background: its lists, and an export of what they say has changed."""
        key = idempotency_key(request)
        job = services.request_reading(
            self.get_object(), actor=request.user, source=Source.API, idempotency_key=key
        )
        return accepted(job, request)

    @extend_schema(responses=AssetSerializer(many=True), filters=False)
    @action(detail=True)
    def databases(self, request: Request, uuid: str) -> Response:
        """Its connections, as of the last reading. Needs asset:view."""
        environment = self.get_object()
        policy.require(request.user, Permission.ASSET_VIEW, environment)
        rows = environment.assets.filter(kind=Kind.DATABASE).select_related("environment")
        return Response(AssetSerializer(rows, many=True).data)


class ReadingViewSet(mixins.ListModelMixin, viewsets.GenericViewSet[Reading]):
    """The readings of an environment, newest first."""

    serializer_class = ReadingSerializer
    queryset = Reading.objects.none()

    def get_queryset(self) -> QuerySet[Reading]:
        if getattr(self, "swagger_fake_view", False):
            return Reading.objects.none()
        environment = get_object_or_404(
            Environment.objects.visible_to(self.request.user), uuid=self.kwargs["uuid"]
        )
        rows: QuerySet[Reading] = Reading.objects.filter(environment=environment)
        return rows


class AssetViewSet(mixins.ListModelMixin, viewsets.GenericViewSet[Asset]):
    """The inventory of all environments: what their lists said at the last reading."""

    filterset_class = AssetFilter
    serializer_class = AssetSerializer
    queryset = Asset.objects.none()

    def get_queryset(self) -> QuerySet[Asset]:
        rows = Asset.objects.visible_to(self.request.user).select_related("environment").defer("search_text")
        return rows.order_by(*ordering(""))


urlpatterns = [
    path("environments/", EnvironmentViewSet.as_view({"get": "list", "post": "create"}), name="environments"),
    path(
        "environments/<uuid:uuid>/",
        EnvironmentViewSet.as_view({"get": "retrieve", "patch": "partial_update", "delete": "destroy"}),
        name="environment",
    ),
    path(
        "environments/<uuid:uuid>/check/",
        EnvironmentViewSet.as_view({"post": "check"}, detail=True),
        name="environment-check",
    ),
    path(
        "environments/<uuid:uuid>/read/",
        EnvironmentViewSet.as_view({"post": "read"}, detail=True),
        name="environment-read",
    ),
    path(
        "environments/<uuid:uuid>/databases/",
        EnvironmentViewSet.as_view({"get": "databases"}, detail=True, pagination_class=None),
        name="environment-databases",
    ),
    path(
        "environments/<uuid:uuid>/readings/",
        ReadingViewSet.as_view({"get": "list"}),
        name="environment-readings",
    ),
    path("assets/", AssetViewSet.as_view({"get": "list"}), name="assets"),
]
