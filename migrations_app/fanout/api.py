"""REST: /api/v1/fan-outs/ and /api/v1/fan-out-runs/."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.urls import path
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import mixins, serializers, status, viewsets
from rest_framework.request import Request
from rest_framework.response import Response

from environments.models import Environment
from migrations_app.engine.copies import WHERE
from sstools.errors import Invalid
from sstools.jobs.models import Source

from . import running, services
from .models import FanOut, FanOutCopy, FanOutRun
from .states import Standing, counts_of, seen_of, standings
from .table import Row, parse


class FanOutChangeSerializer(serializers.Serializer[Any]):
    find = serializers.CharField(max_length=1000, trim_whitespace=False)
    replace = serializers.CharField(
        max_length=1000, allow_blank=True, trim_whitespace=False, help_text="{name} stands for a copy's value"
    )
    where = serializers.ChoiceField(choices=WHERE, default="sql")
    is_pattern = serializers.BooleanField(default=False, help_text="whether find is a regular expression")


def _names(help_text: str) -> Any:
    child = serializers.CharField(max_length=500, allow_blank=True)
    return serializers.DictField(child=child, required=False, help_text=help_text)


class FanOutSerializer(serializers.ModelSerializer[FanOut]):
    """A template: what is selected, and how its copies differ."""

    source = serializers.SlugRelatedField(  # type: ignore[assignment]
        slug_field="slug", queryset=Environment.objects.none(), help_text="slug of the environment"
    )
    selection = serializers.ListField(
        child=serializers.CharField(max_length=36),
        help_text="uuids of dashboards, charts or datasets of the source",
    )
    changes = FanOutChangeSerializer(many=True, required=False)
    created_by = serializers.CharField(
        source="created_by.username", read_only=True, default=None, allow_null=True
    )

    class Meta:
        model = FanOut
        fields = [
            "uuid",
            "name",
            "description",
            "source",
            "selection",
            "title",
            "slug",
            "chart_title",
            "dataset_name",
            "shares_datasets",
            "changes",
            "verify",
            "roll_back_when_red",
            "created_at",
            "created_by",
            "updated_at",
        ]
        read_only_fields = ["uuid", "created_at", "updated_at"]
        extra_kwargs: dict[str, Any] = {"name": {"validators": []}}

    def get_fields(self) -> dict[str, Any]:
        fields = super().get_fields()
        request = self.context.get("request")
        if request is not None:
            source: Any = fields["source"]
            source.queryset = Environment.objects.visible_to(request.user)
        return fields


class FanOutCopySerializer(serializers.Serializer[Any]):
    """One copy. Patterns and mappings that are not given are the template's, or those of the pair of environments."""

    key = serializers.CharField(max_length=60)
    target = serializers.CharField(max_length=50, help_text="slug of the environment")
    values = _names("name -> text, for {name} in patterns and [[name]] in the source")
    title = serializers.CharField(max_length=200, required=False, allow_blank=True)
    slug = serializers.CharField(max_length=200, required=False, allow_blank=True)
    databases = _names("connection of the source (name or uuid, * for all) -> of the target")
    schemas = _names("schema of the source (* for all) -> of the target")
    catalogs = _names("catalog of the source (* for all) -> of the target")
    changes = FanOutChangeSerializer(many=True, required=False)
    keeps_uuids = serializers.BooleanField(
        required=False, default=False, help_text="a plain promotion: the assets are the source's own"
    )


class FanOutCopiesSerializer(serializers.Serializer[Any]):
    """The table of copies, as data or as CSV."""

    copies = FanOutCopySerializer(many=True, required=False)
    table = serializers.CharField(required=False, allow_blank=True, help_text="CSV; instead of copies")
    only_add = serializers.BooleanField(
        required=False, default=False, help_text="copies that are not named stay, else they are taken out"
    )


class FanOutShownCopySerializer(FanOutCopySerializer):
    uuid = serializers.UUIDField()
    is_wanted = serializers.BooleanField(
        help_text="false: taken out of the table, its assets are still there"
    )


def _shown(copy: FanOutCopy) -> dict[str, Any]:
    return {
        "uuid": copy.uuid,
        "key": copy.key,
        "target": copy.target.slug,
        "values": copy.values,
        "keeps_uuids": copy.keeps_uuids,
        "is_wanted": copy.is_wanted,
        **copy.parameters,
    }


class FanOutKeysSerializer(serializers.Serializer[Any]):
    keys = serializers.ListField(
        child=serializers.CharField(max_length=60),
        required=False,
        default=list,
        help_text="of these copies; [] of all",
    )


class FanOutRollBackSerializer(FanOutKeysSerializer):
    confirmed = serializers.ListField(
        child=serializers.CharField(max_length=50),
        required=False,
        default=list,
        help_text="slugs of the protected targets that are written to",
    )


class FanOutApplySerializer(FanOutRollBackSerializer):
    seen = serializers.CharField(
        max_length=64, help_text="the run's `seen`: 409 if a plan is another by now, nothing is begun then"
    )
    stops_at_failure = serializers.BooleanField(required=False, default=True)


class FanOutEntrySerializer(serializers.Serializer[Any]):
    key = serializers.CharField(source="entry.copy.key")
    target = serializers.CharField(source="entry.copy.target.slug")
    state = serializers.CharField(
        source="name",
        help_text="planning, blocked, waiting (for an approval), planned (ready), same (nothing to do), applying, "
        "verifying, applied, stopped, rolled_back, needs_attention, accepted, rolling_back, failed, discarded",
    )
    text = serializers.CharField(help_text="why, in words")
    counts = serializers.DictField(
        child=serializers.IntegerField(), help_text="of its plan: action -> number"
    )
    migration = serializers.UUIDField(source="entry.migration.uuid", allow_null=True, default=None)
    run = serializers.UUIDField(source="entry.apply_run.uuid", allow_null=True, default=None)
    roll_back = serializers.UUIDField(source="entry.roll_back.uuid", allow_null=True, default=None)


class FanOutRunSerializer(serializers.ModelSerializer[FanOutRun]):
    """All copies of a template taken one step on; each has a migration of its own."""

    fan_out = serializers.UUIDField(source="fan_out.uuid", read_only=True)
    name = serializers.CharField(source="fan_out.name", read_only=True)
    created_by = serializers.CharField(
        source="created_by.username", read_only=True, default=None, allow_null=True
    )

    class Meta:
        model = FanOutRun
        fields = [
            "uuid",
            "number",
            "fan_out",
            "name",
            "state",
            "stops_at_failure",
            "created_at",
            "created_by",
            "updated_at",
        ]
        read_only_fields = fields


class FanOutRunDetailSerializer(FanOutRunSerializer):
    entries = serializers.SerializerMethodField()
    counts = serializers.SerializerMethodField(help_text="state -> number of copies")
    seen = serializers.SerializerMethodField(help_text="what is to be sent along to apply these plans")

    class Meta(FanOutRunSerializer.Meta):
        fields = [*FanOutRunSerializer.Meta.fields, "counts", "seen", "entries"]
        read_only_fields = fields

    def _standings(self, run: FanOutRun) -> list[Standing]:
        context: Any = self.context
        known: dict[int, list[Standing]] = context.setdefault("standings", {})
        if run.pk not in known:
            known[run.pk] = standings(running.visible_entries(run, self.context["user"]))
        return known[run.pk]

    @extend_schema_field(FanOutEntrySerializer(many=True))
    def get_entries(self, run: FanOutRun) -> list[dict[str, Any]]:
        return list(FanOutEntrySerializer(self._standings(run), many=True).data)

    def get_counts(self, run: FanOutRun) -> dict[str, int]:
        return counts_of(self._standings(run))

    def get_seen(self, run: FanOutRun) -> str:
        return seen_of(self._standings(run))


def shown_run(run: FanOutRun, user: Any) -> dict[str, Any]:
    """A fan-out run as the API has it, with what `user` may see of it."""
    return dict(FanOutRunDetailSerializer(run, context={"user": user}).data)


class FanOutViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[FanOut]):
    """Templates of copies."""

    lookup_field = "uuid"
    lookup_value_converter = "uuid"
    serializer_class = FanOutSerializer
    queryset = FanOut.objects.none()

    def get_queryset(self) -> QuerySet[FanOut]:
        return FanOut.objects.visible_to(self.request.user).select_related("source", "created_by")

    def create(self, request: Request) -> Response:
        """A template without copies."""
        asked = self.get_serializer(data=request.data)
        asked.is_valid(raise_exception=True)
        data = dict(asked.validated_data)
        made = services.create(data.pop("source"), actor=request.user, via=Source.API, **data)
        return Response(self.get_serializer(made).data, status=status.HTTP_201_CREATED)

    def partial_update(self, request: Request, uuid: UUID) -> Response:
        """What is not named stays; the source stays in any case."""
        fan_out = self.get_object()
        asked = self.get_serializer(fan_out, data=request.data, partial=True)
        asked.is_valid(raise_exception=True)
        data = dict(asked.validated_data)
        if data.pop("source", fan_out.source) != fan_out.source:
            raise Invalid(
                "The source stays.", errors={"source": ["It cannot be changed: make another fan-out."]}
            )
        services.update(fan_out, actor=request.user, via=Source.API, **data)
        return Response(self.get_serializer(self.get_object()).data)

    def destroy(self, request: Request, uuid: UUID) -> Response:
        """Forget a template that nothing was applied of."""
        services.delete(self.get_object(), actor=request.user, via=Source.API)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(responses=FanOutShownCopySerializer(many=True), filters=False)
    def copies(self, request: Request, uuid: UUID) -> Response:
        """The table of copies, with those that are no longer wanted."""
        rows = FanOutCopy.objects.visible_to(request.user).filter(fan_out=self.get_object())
        shown = [_shown(copy) for copy in rows.select_related("target")]
        return Response(FanOutShownCopySerializer(shown, many=True).data)

    @extend_schema(
        request=FanOutCopiesSerializer, responses=FanOutShownCopySerializer(many=True), filters=False
    )
    def set_copies(self, request: Request, uuid: UUID) -> Response:
        """Make the table be this one. Nothing is kept of a table with an error in it."""
        fan_out = self.get_object()
        asked = FanOutCopiesSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        data = asked.validated_data
        rows = (
            parse(data["table"]) if data.get("table") else [_row(dict(one)) for one in data.get("copies", ())]
        )
        services.save_copies(fan_out, rows, actor=request.user, via=Source.API, only_add=data["only_add"])
        return self.copies(request, uuid)

    @extend_schema(request=FanOutKeysSerializer, responses={201: FanOutRunDetailSerializer})
    def plan(self, request: Request, uuid: UUID) -> Response:
        """Queue a plan for each copy: a fan-out run that shows them side by side."""
        fan_out = self.get_object()
        asked = FanOutKeysSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        run = running.plan(fan_out, actor=request.user, keys=asked.validated_data["keys"], via=Source.API)
        return Response(shown_run(run, request.user), status=status.HTTP_201_CREATED)


def _row(data: dict[str, Any]) -> Row:
    own = {
        name: data[name] for name in ("title", "slug", "databases", "schemas", "catalogs") if data.get(name)
    }
    if data.get("changes"):
        own["changes"] = [dict(one) for one in data["changes"]]
    return Row(data["key"], data["target"], dict(data.get("values") or {}), own, data["keeps_uuids"])


class FanOutRunViewSet(mixins.ListModelMixin, viewsets.GenericViewSet[FanOutRun]):
    """Fan-outs that were planned, and what became of them."""

    lookup_field = "uuid"
    lookup_value_converter = "uuid"
    serializer_class = FanOutRunSerializer
    queryset = FanOutRun.objects.none()

    def get_queryset(self) -> QuerySet[FanOutRun]:
        return FanOutRun.objects.visible_to(self.request.user).select_related("fan_out__source", "created_by")

    def _answer(self, request: Request) -> Response:
        return Response(shown_run(self.get_object(), request.user))

    @extend_schema(responses=FanOutRunDetailSerializer)
    def retrieve(self, request: Request, uuid: UUID) -> Response:
        """Where each copy stands."""
        return self._answer(request)

    @extend_schema(request=FanOutKeysSerializer, responses=FanOutRunDetailSerializer)
    def plan(self, request: Request, uuid: UUID) -> Response:
        """Queue new plans for what is not applied."""
        asked = FanOutKeysSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        keys = asked.validated_data["keys"]
        running.plan_again(self.get_object(), actor=request.user, keys=keys, via=Source.API)
        return self._answer(request)

    @extend_schema(request=FanOutApplySerializer, responses=FanOutRunDetailSerializer)
    def apply(self, request: Request, uuid: UUID) -> Response:
        """Begin to apply what is green, in order and one run on a target at a time."""
        asked = FanOutApplySerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        running.apply(self.get_object(), actor=request.user, via=Source.API, **asked.validated_data)
        return self._answer(request)

    @extend_schema(request=FanOutRollBackSerializer, responses=FanOutRunDetailSerializer)
    def roll_back(self, request: Request, uuid: UUID) -> Response:
        """Begin to roll back what was applied, the last first."""
        asked = FanOutRollBackSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        running.roll_back(self.get_object(), actor=request.user, via=Source.API, **asked.validated_data)
        return self._answer(request)

    @extend_schema(request=None, responses=FanOutRunDetailSerializer)
    def halt(self, request: Request, uuid: UUID) -> Response:
        """Begin nothing more; what is at work goes on to its end."""
        running.halt(self.get_object(), actor=request.user, via=Source.API)
        return self._answer(request)


def _fan_outs(actions: dict[str, str], **options: Any) -> Any:
    return FanOutViewSet.as_view(actions, **options)  # type: ignore[arg-type]


def _runs(actions: dict[str, str]) -> Any:
    return FanOutRunViewSet.as_view(actions)  # type: ignore[arg-type]


_one = {"get": "retrieve", "patch": "partial_update", "delete": "destroy"}
urlpatterns = [
    path("fan-outs/", _fan_outs({"get": "list", "post": "create"}), name="fan-outs"),
    path("fan-outs/<uuid:uuid>/", _fan_outs(_one), name="fan-out"),
    path(
        "fan-outs/<uuid:uuid>/copies/",
        _fan_outs({"get": "copies", "put": "set_copies"}, detail=True, pagination_class=None),
        name="fan-out-copies",
    ),
    path("fan-outs/<uuid:uuid>/plan/", _fan_outs({"post": "plan"}), name="fan-out-plan"),
    path("fan-out-runs/", _runs({"get": "list"}), name="fan-out-runs"),
    path("fan-out-runs/<uuid:uuid>/", _runs({"get": "retrieve"}), name="fan-out-run"),
    path("fan-out-runs/<uuid:uuid>/plan/", _runs({"post": "plan"}), name="fan-out-run-plan"),
    path("fan-out-runs/<uuid:uuid>/apply/", _runs({"post": "apply"}), name="fan-out-run-apply"),
    path("fan-out-runs/<uuid:uuid>/roll-back/", _runs({"post": "roll_back"}), name="fan-out-run-roll-back"),
    path("fan-out-runs/<uuid:uuid>/halt/", _runs({"post": "halt"}), name="fan-out-run-halt"),
]
