"""REST of comparisons: the same places and filters as the pages."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.urls import path
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import mixins, serializers, status, viewsets
from rest_framework.exceptions import NotFound
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from environments.models import Environment
from environments.superset.yaml_text import readable_yaml
from migrations_app.api.shapes import MigrationDetailSerializer
from migrations_app.api.views import answer_migration
from migrations_app.files.rendering import MAX_VALUES_BYTES
from sstools.api.pagination import NumberedPages
from sstools.errors import Invalid
from sstools.jobs.models import Source

from . import services, uploads
from .beside import beside_of
from .details import Detail, detail_of
from .forms import KIND_CHOICES, STATE_CHOICES
from .lines import form_of
from .listing import KINDS, STATES, Comparison, Row, compare, select
from .models import UploadedBundle
from .places import PlaceContents, read_place

PLACES = [
    OpenApiParameter(
        "left",
        str,
        required=True,
        description="env:<slug>, run:<number>:before, run:<number>:after or file:<uuid>",
    ),
    OpenApiParameter("right", str, required=True, description="another one; what would change there is told"),
]
KIND = OpenApiParameter("kind", str, OpenApiParameter.PATH, enum=[kind.value for kind in KINDS])


class ComparedSerializer(serializers.Serializer[Any]):
    """What is compared, and with which filters."""

    left = serializers.CharField(max_length=200)
    right = serializers.CharField(max_length=200)
    type = serializers.ChoiceField(
        choices=[key for key, _ in KIND_CHOICES if key], required=False, help_text="only this kind"
    )
    state = serializers.ChoiceField(
        choices=[key for key, _ in STATE_CHOICES if key],
        required=False,
        help_text="left out: all that differs",
    )
    q = serializers.CharField(
        max_length=200, required=False, allow_blank=True, help_text="words of title or uuid"
    )
    tag = serializers.CharField(
        max_length=250,
        required=False,
        allow_blank=True,
        help_text="as the environment of either side has it",
    )


class ComparisonMigrationSerializer(ComparedSerializer):
    assets = serializers.ListField(
        child=serializers.UUIDField(),
        required=False,
        allow_empty=False,
        help_text="uuids; left out: all that the filters find",
    )
    count = serializers.IntegerField(
        required=False, min_value=0, help_text="how many are expected; 409 if it is another number by now"
    )


class SideSerializer(serializers.Serializer[PlaceContents]):
    place = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]
    read_at = serializers.DateTimeField(allow_null=True)
    complete = serializers.BooleanField(help_text="false: what is not in it was not looked for")


class ComparedAssetSerializer(serializers.Serializer[Any]):
    """One asset of a comparison."""

    kind = serializers.CharField()
    uuid = serializers.CharField(help_text="on the left; on the right if it is only there")
    left_uuid = serializers.CharField(help_text="empty: not there")
    right_uuid = serializers.CharField(help_text="empty: not there")
    title = serializers.CharField()
    state = serializers.ChoiceField(choices=STATES)
    direction = serializers.CharField(
        help_text="of a change between environments: who moved; empty if not known"
    )
    changes = serializers.IntegerField(allow_null=True, help_text="number of fields, if it was counted")
    why = serializers.CharField(help_text="what blocks it, or why it is not known")
    changed_by = serializers.CharField()
    changed_at = serializers.DateTimeField(allow_null=True)


class ComparisonSerializer(serializers.Serializer[Any]):
    """A page of a comparison. `counts` are of all of it: kind -> state -> number."""

    left = SideSerializer()
    right = SideSerializer()
    counts = serializers.DictField(child=serializers.DictField(child=serializers.IntegerField()))
    plannable = serializers.IntegerField(help_text="how many a migration of what the filters find would take")
    count = serializers.IntegerField()
    next = serializers.CharField(allow_null=True)
    previous = serializers.CharField(allow_null=True)
    results = ComparedAssetSerializer(many=True)


class ComparedChangeSerializer(serializers.Serializer[Any]):
    path = serializers.ListField(child=serializers.CharField())
    before = serializers.JSONField(allow_null=True, help_text="on the right now")
    after = serializers.JSONField(allow_null=True, help_text="as on the left")


class ComparedDetailSerializer(ComparedAssetSerializer):
    """One asset with what differs, in the terms of one side and without secrets."""

    sentences = serializers.ListField(child=serializers.CharField())
    mapped = serializers.ListField(
        child=serializers.CharField(), help_text="what mapping makes another: no changes"
    )
    ignored = serializers.ListField(
        child=serializers.CharField(), help_text="fields that differ and do not count"
    )
    changes = ComparedChangeSerializer(many=True)  # type: ignore[assignment]
    now = serializers.CharField(help_text="YAML of the right side, empty: not there")
    then = serializers.CharField(help_text="YAML of the left side, empty: not there")


class UploadSerializer(serializers.ModelSerializer[UploadedBundle]):
    """An upload: its `place` is what comparisons name it by."""

    place = serializers.CharField(read_only=True)
    origin = serializers.CharField(
        source="origin.slug",
        read_only=True,
        allow_null=True,
        default=None,
        help_text="slug of an environment",
    )

    class Meta:
        model = UploadedBundle
        fields = [
            "uuid",
            "place",
            "name",
            "sha256",
            "size",
            "origin",
            "complete",
            "exported_at",
            "uploaded_at",
        ]
        fields += ["expires_at"]
        read_only_fields = fields


class UploadRequestSerializer(serializers.Serializer[Any]):
    file = serializers.FileField(help_text="an export ZIP of Superset, or a ZIP, tar or tar.gz of a tree")
    values = serializers.FileField(
        required=False, help_text="YAML: what the templates of a tree are rendered with"
    )
    origin = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=50,
        help_text="slug of the environment it was exported from",
    )


def _compared(request: Request, data: Any) -> Comparison:
    left, right = (read_place(data[side], request.user) for side in ("left", "right"))
    if left.place == right.place:
        raise Invalid(
            "Choose two different places.", code="same_place", errors={"right": ["The same as left."]}
        )
    return compare(left, right)


def _asked(serializer: type[ComparedSerializer], data: Any) -> dict[str, Any]:
    given = serializer(data=data)
    given.is_valid(raise_exception=True)
    return dict(given.validated_data)


def _filters(data: dict[str, Any]) -> dict[str, str]:
    names = {"kind": "type", "state": "state", "words": "q", "tag": "tag"}
    return {name: data.get(asked, "") for name, asked in names.items()}


class ComparisonsView(APIView):
    """Two places side by side. Nothing is written, and no Superset is asked: both are as they were last read."""

    @extend_schema(
        parameters=[
            *PLACES,
            OpenApiParameter("type", str, enum=[key for key, _ in KIND_CHOICES if key]),
            OpenApiParameter(
                "state",
                str,
                enum=[key for key, _ in STATE_CHOICES if key],
                description="left out: all that differs",
            ),
            OpenApiParameter("q", str, description="words of title or uuid"),
            OpenApiParameter("tag", str, description="as the environment of either side has it"),
            OpenApiParameter("assets", str, description="uuids of either side, with commas between"),
            OpenApiParameter("page", int),
            OpenApiParameter("page_size", int),
        ],
        responses=ComparisonSerializer,
    )
    def get(self, request: Request) -> Response:
        """What would change on the right if it became as it is on the left, asset by asset. Needs asset:view."""
        data = _asked(ComparedSerializer, request.query_params)
        comparison = _compared(request, data)
        found = select(comparison, **_filters(data), assets=str(data.get("assets", "")))
        pages = NumberedPages()
        rows = pages.paginate_queryset(found, request, view=self)
        answer = {
            "left": comparison.left,
            "right": comparison.right,
            "counts": {
                kind: {state: counts[state] for state in STATES} for kind, counts in comparison.counts.items()
            },
            "plannable": len(services.plannable(found)),
            "count": len(found),
            "next": pages.get_next_link(),
            "previous": pages.get_previous_link(),
            "results": rows,
        }
        return Response(ComparisonSerializer(answer).data)

    @extend_schema(request=ComparisonMigrationSerializer, responses={201: MigrationDetailSerializer})
    def post(self, request: Request) -> Response:
        """A migration from left to right, of exactly these assets: nothing is pulled in, and nothing removed."""
        data = _asked(ComparisonMigrationSerializer, request.data)
        comparison = _compared(request, data)
        if picked := {str(uuid) for uuid in data.get("assets", ())}:
            rows = [row for row in comparison.rows if row.uuid in picked]
            expected = len(picked) if data.get("count") is None else data["count"]
        else:
            rows, expected = select(comparison, **_filters(data)), data.get("count")
        migration = services.plan_migration(comparison, rows, actor=request.user, expected=expected)
        return answer_migration(migration, request, status.HTTP_201_CREATED)


class HeldShape(serializers.Serializer[Any]):
    label = serializers.CharField(help_text="where it is from")  # type: ignore[assignment]
    at = serializers.DateTimeField()


class BesideRowShape(serializers.Serializer[Any]):
    kind = serializers.CharField(help_text="owners, rls, tags …")
    uuid = serializers.CharField(help_text="made of kind and name: the same on every side")
    title = serializers.CharField()
    state = serializers.CharField(help_text="changed, added, removed or same")
    sentences = serializers.ListField(child=serializers.CharField())


class BesideShape(serializers.Serializer[Any]):
    left = HeldShape(allow_null=True)
    right = HeldShape(allow_null=True)
    kinds = serializers.ListField(
        child=serializers.CharField(), help_text="in words: those that both sides know"
    )
    counts = serializers.DictField(child=serializers.IntegerField())
    rows = BesideRowShape(many=True)


class ComparedBesideView(APIView):
    @extend_schema(parameters=PLACES, responses=BesideShape, operation_id="comparisons_companions_retrieve")
    def get(self, request: Request) -> Response:
        """What goes with the assets of two places, as far as it was read: by backups, and by restore points."""
        asked = {side: request.query_params.get(side, "") for side in ("left", "right")}
        return Response(BesideShape(beside_of(_compared(request, asked))).data)


class ComparedAssetView(APIView):
    @extend_schema(
        parameters=[KIND, *PLACES],
        responses=ComparedDetailSerializer,
        operation_id="comparisons_asset_retrieve",
    )
    def get(self, request: Request, kind: str, uuid: UUID) -> Response:
        """One asset: in sentences, field by field, and both sides as YAML."""
        asked = {side: request.query_params.get(side, "") for side in ("left", "right")}
        comparison = _compared(request, asked)
        row = comparison.row_of(str(uuid))
        if row is None or row.kind != kind:
            raise NotFound("Neither side has this asset.")
        return Response(ComparedDetailSerializer(_shape(row, detail_of(comparison, row))).data)


def _shape(row: Row, detail: Detail) -> dict[str, Any]:
    return {
        **row._asdict(),
        "sentences": [said.text for said in detail.sentences],
        "mapped": detail.mapped,
        "ignored": detail.ignored,
        "changes": [change.to_json() for change in detail.changes],
        "now": readable_yaml(form_of(detail.now)) if detail.now is not None else "",
        "then": readable_yaml(form_of(detail.then)) if detail.then is not None else "",
    }


class UploadsViewSet(
    mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[UploadedBundle]
):
    """Exports that were uploaded to compare with. Only their assets are kept, without secrets, for a while."""

    lookup_field = "uuid"
    serializer_class = UploadSerializer
    filter_backends: list[Any] = []
    queryset = UploadedBundle.objects.none()
    parser_classes = [MultiPartParser]

    def get_queryset(self) -> QuerySet[UploadedBundle]:
        rows: QuerySet[UploadedBundle] = UploadedBundle.objects.visible_to(self.request.user)
        return rows.select_related("origin")

    @extend_schema(
        request={"multipart/form-data": UploadRequestSerializer}, responses={201: UploadSerializer}
    )
    def create(self, request: Request) -> Response:
        """Upload an export ZIP. 422 `bundle_invalid` names the file inside of it that is not right."""
        given = UploadRequestSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        data = given.validated_data
        origin = None
        if slug := data.get("origin"):
            origin = Environment.objects.visible_to(request.user).filter(slug=slug).first()
            if origin is None:
                raise Invalid(
                    "There is no such environment.", errors={"origin": ["You see none of that name."]}
                )
        kept = uploads.store_upload(
            data["file"],
            data["file"].name,
            actor=request.user,
            origin=origin,
            values=data["values"].read(MAX_VALUES_BYTES + 1) if data.get("values") else None,
            source=Source.API,
        )
        return Response(UploadSerializer(kept).data, status=status.HTTP_201_CREATED)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, uuid: UUID) -> Response:
        """Forget it now."""
        uploads.remove_upload(self.get_object(), actor=request.user, source=Source.API)
        return Response(status=status.HTTP_204_NO_CONTENT)


urlpatterns = [
    path("comparisons/", ComparisonsView.as_view(), name="comparisons"),
    path("comparisons/companions/", ComparedBesideView.as_view(), name="comparison-companions"),
    path(
        "comparisons/files/",
        UploadsViewSet.as_view({"get": "list", "post": "create"}),
        name="comparison-files",
    ),
    path(
        "comparisons/files/<uuid:uuid>/",
        UploadsViewSet.as_view({"get": "retrieve", "delete": "destroy"}, detail=True),
        name="comparison-file",
    ),
    path("comparisons/<str:kind>/<uuid:uuid>/", ComparedAssetView.as_view(), name="comparison-asset"),
]
