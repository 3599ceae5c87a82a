"""REST: /api/v1/assets/<kinds>/<uuid>/… and /api/v1/pairings/."""

from __future__ import annotations

from typing import Any

import django_filters
from django.db.models import QuerySet
from django.http import Http404
from django.urls import path
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import mixins, serializers, status, viewsets
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from environments.canonical.documents import Kind
from environments.models import Asset, Environment
from migrations_app import pairings
from migrations_app.models import Pairing
from sstools.jobs.models import Source

from . import (
    cards,
    converters,  # noqa: F401  registers "kinds"
    drawing,
    history,
    impact,
    suggesting,
)
from .families import Family, Member, find_family, visible_environments
from .reach import reach_of
from .shapes import (
    PAIRED,
    EventSerializer,
    FamilySerializer,
    GraphSerializer,
    ImpactSerializer,
    PairingRequestSerializer,
    PairingSerializer,
    SuggestionSerializer,
    graph_json,
)

PATH = [
    OpenApiParameter(
        "kind", str, OpenApiParameter.PATH, description="dashboards, charts, datasets or databases"
    ),
    OpenApiParameter("uuid", str, OpenApiParameter.PATH, description="of the asset on any environment"),
]
REFERENCE = OpenApiParameter(
    "ref", str, description="slug of the environment that states are against; left out: the first that has it"
)
ENVIRONMENT = OpenApiParameter(
    "environment", str, description="slug; left out: the reference, or all of them"
)


class FamilyView(APIView):
    """What all views of one asset share: finding it among the environments whose assets the caller may see."""

    def find(self, request: Request, kind: Kind, uuid: str) -> tuple[Family, Member | None]:
        family = find_family(kind, uuid.lower(), visible_environments(request.user))
        if family is None:
            raise Http404
        return family, family.reference(request.query_params.get("ref", ""))


class AssetView(FamilyView):
    @extend_schema(parameters=[*PATH, REFERENCE], responses=FamilySerializer)
    def get(self, request: Request, kind: Kind, uuid: str) -> Response:
        """An asset over all environments: its state, last edit, last run and pairing on each."""
        family, reference = self.find(request, kind, uuid)
        shown = {
            "kind": family.kind.value,
            "key": family.key,
            "title": family.title,
            "uuids": sorted(family.all_uuids),
            "reference": reference.environment.slug if reference else None,
            "environments": cards.cards_of(family, reference, request.user),
        }
        return Response(FamilySerializer(shown).data)


class GraphView(FamilyView):
    @extend_schema(parameters=[*PATH, REFERENCE, ENVIRONMENT], responses=GraphSerializer)
    def get(self, request: Request, kind: Kind, uuid: str) -> Response:
        """What it needs and who uses it on one environment, over any number of steps."""
        family, reference = self.find(request, kind, uuid)
        member = family.by_slug.get(request.query_params.get("environment", "")) or reference
        if member is None or not member.is_there:
            raise Http404
        reach = reach_of(member.environment, kind.value, member.uuid)
        graph = drawing.graph_of(reach, reference.environment if reference else None)
        return Response(GraphSerializer(graph_json(graph)).data)


class ImpactView(FamilyView):
    @extend_schema(
        parameters=[
            *PATH,
            ENVIRONMENT,
            OpenApiParameter(
                "column", str, description="of a dataset, or a metric; left out: the whole asset"
            ),
        ],
        responses=ImpactSerializer(many=True),
    )
    def get(self, request: Request, kind: Kind, uuid: str) -> Response:
        """The blast radius: who would feel it if the asset, or one column of a dataset, went."""
        family, _ = self.find(request, kind, uuid)
        column = request.query_params.get("column", "").strip()[:255]
        found = impact.impacts_of(family, column, request.query_params.get("environment", ""))
        return Response([ImpactSerializer(one).data for one in found])


class HistoryView(FamilyView):
    @extend_schema(parameters=PATH, responses=EventSerializer(many=True))
    def get(self, request: Request, kind: Kind, uuid: str) -> Response:
        """What happened to it, newest first."""
        family, _ = self.find(request, kind, uuid)
        return Response([EventSerializer(one).data for one in history.events_of(family, request.user)])


# --- Pairings -----------------------------------------------------------------------------------------------------


class PairingFilter(django_filters.FilterSet):  # type: ignore[misc]
    """?source=dev&target=prod&kind=chart&uuid=… (of either side)"""

    source = django_filters.CharFilter(field_name="source__slug")
    target = django_filters.CharFilter(field_name="target__slug")
    kind = django_filters.ChoiceFilter(choices=[(kind, kind) for kind in PAIRED])
    uuid = django_filters.UUIDFilter(method="by_uuid")

    class Meta:
        model = Pairing
        fields: list[str] = []

    def by_uuid(self, rows: QuerySet[Pairing], name: str, value: Any) -> QuerySet[Pairing]:
        return rows.filter(source_uuid=str(value)) | rows.filter(target_uuid=str(value))


class PairingViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Pairing]):
    """Which asset here is which asset there, where the uuids differ. Deciding needs migration:plan on the target."""

    serializer_class = PairingSerializer
    filterset_class = PairingFilter
    queryset = Pairing.objects.none()

    def get_queryset(self) -> QuerySet[Pairing]:
        seen = visible_environments(self.request.user)
        rows = Pairing.objects.filter(source__in=seen, target__in=seen)
        return rows.select_related("source", "target", "created_by").order_by("pk")

    @extend_schema(request=PairingRequestSerializer, responses={200: PairingSerializer, 204: None})
    def create(self, request: Request) -> Response:
        """Pair two assets. What either was paired with before is not any more. Equal uuids: 204, no pairing is left."""
        asked = PairingRequestSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        values = asked.validated_data
        source, target = _environments(request, values["source"], values["target"])
        made = pairings.pair(
            source,
            target,
            values["kind"],
            values["source_uuid"],
            values["target_uuid"],
            actor=request.user,
            via=Source.API,
        )
        if made is None:
            return Response(status=status.HTTP_204_NO_CONTENT)
        return Response(self.get_serializer(made).data)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: int) -> Response:
        """The same uuid means the same asset again."""
        pairings.unpair(self.get_object(), actor=request.user, via=Source.API)
        return Response(status=status.HTTP_204_NO_CONTENT)


class SuggestionsView(APIView):
    @extend_schema(
        parameters=[
            OpenApiParameter("source", str, required=True, description="slug of an environment"),
            OpenApiParameter("target", str, required=True, description="slug of an environment"),
            OpenApiParameter("kind", str, required=True, description="dashboard, chart or dataset"),
            OpenApiParameter("uuid", str, required=True, description="of the asset on the source"),
        ],
        responses=SuggestionSerializer(many=True),
    )
    def get(self, request: Request) -> Response:
        """What an asset of the source may be on the target, best first."""
        asked = request.query_params
        source, target = _environments(request, asked.get("source", ""), asked.get("target", ""))
        if asked.get("kind") not in PAIRED:
            raise serializers.ValidationError({"kind": [f"One of {', '.join(PAIRED)}."]})
        rows = Asset.objects.filter(environment=source, kind=asked["kind"])
        asset = rows.filter(uuid=asked.get("uuid", "").strip().lower()).first()
        if asset is None:
            raise Http404
        return Response([SuggestionSerializer(one).data for one in suggesting.suggestions_for(asset, target)])


def _environments(request: Request, *slugs: str) -> list[Environment]:
    """By slug, of those whose assets may be seen: the others do not exist."""
    seen = {environment.slug: environment for environment in visible_environments(request.user)}
    if missing := [slug for slug in slugs if slug not in seen]:
        raise Http404(f"There is no environment {missing[0][:50]}, or you may not see its assets.")
    return [seen[slug] for slug in slugs]


urlpatterns = [
    path("assets/<kinds:kind>/<slug:uuid>/", AssetView.as_view(), name="asset"),
    path("assets/<kinds:kind>/<slug:uuid>/graph/", GraphView.as_view(), name="asset-graph"),
    path("assets/<kinds:kind>/<slug:uuid>/impact/", ImpactView.as_view(), name="asset-impact"),
    path("assets/<kinds:kind>/<slug:uuid>/history/", HistoryView.as_view(), name="asset-history"),
    path("pairings/", PairingViewSet.as_view({"get": "list", "post": "create"}), name="pairings"),
    path("pairings/suggestions/", SuggestionsView.as_view(), name="pairing-suggestions"),
    path(
        "pairings/<int:pk>/",
        PairingViewSet.as_view({"get": "retrieve", "delete": "destroy"}, detail=True),
        name="pairing",
    ),
]
