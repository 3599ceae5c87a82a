"""REST: /api/v1/drift-findings/, and checking and watching a route."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, status, viewsets
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from environments.models import Environment
from migrations_app.api.shapes import MigrationDetailSerializer
from migrations_app.release.models import Route
from sstools.errors import Invalid
from sstools.jobs.api import JobDetailSerializer, accepted
from sstools.jobs.models import Source

from . import answers, services
from .filters import FindingFilter
from .models import Finding


class FindingSerializer(serializers.ModelSerializer[Finding]):
    """One asset of a target that is not as the last run left it."""

    target = serializers.CharField(source="target.slug", read_only=True, help_text="slug of the environment")
    source = serializers.CharField(  # type: ignore[assignment]
        source="source.slug",
        read_only=True,
        default=None,
        allow_null=True,
        help_text="where the last run had it from",
    )
    sentences = serializers.ListField(
        child=serializers.CharField(), read_only=True, help_text="what changed, in words"
    )
    kind = serializers.CharField(
        read_only=True, help_text="dashboard, chart, dataset; or of what goes with them: owners, rls, tags …"
    )
    content = serializers.CharField(
        read_only=True, help_text='digest of what is there, "" for nothing; send it along to accept just that'
    )
    run = serializers.IntegerField(
        source="run_id", read_only=True, allow_null=True, help_text="the last one before"
    )
    migration = serializers.SerializerMethodField(help_text="uuid of the migration that answers it")
    answered_by = serializers.CharField(
        source="answered_by.username", read_only=True, default=None, allow_null=True
    )
    answer = serializers.CharField(read_only=True, help_text="take or revert; empty: neither")

    class Meta:
        model = Finding
        fields = [
            "uuid",
            "target",
            "source",
            "kind",
            "asset_uuid",
            "title",
            "how",
            "state",
            "sentences",
            "content",
            "edits",
            "changed_by",
            "changed_on",
            "last_seen_at",
            "run",
            "found_at",
            "updated_at",
            "closed_at",
            "answer",
            "answered_by",
            "answered_at",
            "reason",
            "migration",
        ]
        read_only_fields = fields

    def get_migration(self, finding: Finding) -> str | None:
        return str(finding.migration.uuid) if finding.migration is not None else None


class TakeSerializer(serializers.Serializer[Any]):
    into = serializers.CharField(
        required=False, allow_blank=True, default="", help_text="slug, for what no run brought there"
    )


class AcceptSerializer(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=500, allow_blank=True, help_text="shown with every later plan")
    content = serializers.CharField(
        required=False,
        max_length=64,
        allow_blank=True,
        help_text="what was looked at; 409 if it is another by now",
    )


class FindingViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Finding]):
    """What somebody edited by hand on targets of routes. Without `state` the list has what is open."""

    lookup_field = "uuid"
    lookup_value_converter = "uuid"
    serializer_class = FindingSerializer
    filterset_class = FindingFilter
    queryset = Finding.objects.none()

    def get_queryset(self) -> QuerySet[Finding]:
        return Finding.objects.visible_to(self.request.user).select_related(
            "target", "source", "migration", "answered_by"
        )

    def filter_queryset(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return super().filter_queryset(queryset) if self.action == "list" else queryset

    @extend_schema(request=TakeSerializer, responses={201: MigrationDetailSerializer})
    def take(self, request: Request, uuid: UUID) -> Response:
        """Start a migration of just this asset from the target into its source; its plan is being made. What was
        deleted on the target is removed from the source, which needs migration:prune there.
        """
        asked = TakeSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        source = None
        if slug := asked.validated_data["into"]:
            source = Environment.objects.visible_to(request.user).filter(slug=slug).first()
            if source is None:
                raise Invalid(
                    "Some values are not right.", errors={"into": ["There is no such environment."]}
                )
        migration = answers.take([self.get_object()], actor=request.user, source=source, via=Source.API)
        return self._started(migration)

    @extend_schema(request=None, responses={201: MigrationDetailSerializer})
    def revert(self, request: Request, uuid: UUID) -> Response:
        """Start a migration that brings back what was last applied; its plan is being made."""
        return self._started(answers.revert([self.get_object()], actor=request.user, via=Source.API))

    @extend_schema(request=AcceptSerializer, responses=FindingSerializer)
    def accept(self, request: Request, uuid: UUID) -> Response:
        """What is there is right: it is no drift any more, and later plans keep it."""
        asked = AcceptSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        finding = self.get_object()
        content = asked.validated_data.get("content")
        seen = {str(finding.uuid): content} if content is not None else None
        answers.accept(
            [finding], reason=asked.validated_data["reason"], actor=request.user, seen=seen, via=Source.API
        )
        return Response(self.get_serializer(self.get_object()).data)

    def _started(self, migration: Any) -> Response:
        shown = MigrationDetailSerializer(migration, context=self.get_serializer_context())
        return Response(shown.data, status=status.HTTP_201_CREATED)


def _route(request: Request, slug: str) -> Route:
    rows = Route.objects.visible_to(request.user).select_related("source", "target")
    found: Route = get_object_or_404(rows, slug=slug)
    return found


class CheckView(APIView):
    """Checking a route for drift."""

    @extend_schema(request=None, responses={202: JobDetailSerializer})
    def post(self, request: Request, slug: str) -> Response:
        """Read the target and hold it against what the last runs left there."""
        route = _route(request, slug)
        key = request.headers.get("Idempotency-Key")
        job = services.request_check(route, actor=request.user, source=Source.API, idempotency_key=key)
        return accepted(job, request)


class WatchSerializer(serializers.Serializer[Any]):
    is_watched = serializers.BooleanField(help_text="whether one is mailed of drift on this route")


class WatchView(APIView):
    """Being mailed of the drift of a route."""

    @extend_schema(responses=WatchSerializer)
    def get(self, request: Request, slug: str) -> Response:
        route = _route(request, slug)
        return Response({"is_watched": services.is_watched(route, request.user)})

    @extend_schema(request=WatchSerializer, responses=WatchSerializer)
    def put(self, request: Request, slug: str) -> Response:
        """Watch it, or not any more."""
        asked = WatchSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        is_on = asked.validated_data["is_watched"]
        services.set_watch(_route(request, slug), is_on, actor=request.user, source=Source.API)
        return Response({"is_watched": is_on})


def _findings(actions: dict[str, str]) -> Any:
    return FindingViewSet.as_view(actions)  # type: ignore[arg-type]


urlpatterns = [
    path("drift-findings/", _findings({"get": "list"}), name="drift-findings"),
    path("drift-findings/<uuid:uuid>/", _findings({"get": "retrieve"}), name="drift-finding"),
    path("drift-findings/<uuid:uuid>/take/", _findings({"post": "take"}), name="drift-finding-take"),
    path("drift-findings/<uuid:uuid>/revert/", _findings({"post": "revert"}), name="drift-finding-revert"),
    path("drift-findings/<uuid:uuid>/accept/", _findings({"post": "accept"}), name="drift-finding-accept"),
    path("routes/<slug:slug>/check/", CheckView.as_view(), name="route-check"),
    path("routes/<slug:slug>/watch/", WatchView.as_view(), name="route-watch"),
]
