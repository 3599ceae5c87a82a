"""REST: /api/v1/plugins/."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import Http404
from django.urls import path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import mixins, serializers, status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from sstools.errors import NotFoundError
from sstools.jobs.api import JobDetailSerializer, accepted, idempotency_key
from sstools.jobs.models import Source
from sstools.resources import EVERYTHING
from sstools.roles import places, policy
from sstools.roles.permissions import Permission

from . import running, services
from .models import Plugin, PluginResult


class EnablementSerializer(serializers.Serializer[Any]):
    environment = serializers.CharField(max_length=200, help_text='its slug, or "*" for everything')
    roles = serializers.ListField(
        child=serializers.CharField(max_length=50),
        required=False,
        max_length=50,
        help_text="keys of roles that may use it there; empty: whoever has the right",
    )


class PlaceSerializer(serializers.Serializer[Any]):
    environment = serializers.CharField(max_length=200, help_text='its slug, or "*" for everything')


class PluginJobSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    title = serializers.CharField()
    text = serializers.CharField()
    form = serializers.ListField(child=serializers.DictField(), source="fields", help_text="its fields")
    reads = serializers.ListField(
        child=serializers.CharField(), help_text="kinds of assets; empty: no environment"
    )
    on = serializers.ListField(child=serializers.CharField(), help_text="events that it follows")


class PluginSerializer(serializers.ModelSerializer[Plugin]):
    """A plugin. Secrets are written and never read: `secrets` names those that are stored."""

    title = serializers.CharField(source="__str__", read_only=True)
    state = serializers.CharField(read_only=True)
    problem = serializers.SerializerMethodField(help_text="why it cannot be used; null: it can")
    enabled = serializers.SerializerMethodField()
    settings = serializers.DictField(source="values", read_only=True)
    secrets = serializers.SerializerMethodField()
    jobs = serializers.SerializerMethodField()
    plan_checks = serializers.SerializerMethodField(help_text="titles")
    panels = serializers.SerializerMethodField(help_text="titles")
    failures = serializers.ListField(child=serializers.DictField(), read_only=True)

    class Meta:
        model = Plugin
        fields = [
            "name",
            "title",
            "summary",
            "version",
            "fits",
            "distribution",
            "is_builtin",
            "is_present",
            "state",
            "problem",
            "health",
            "looked_at",
            "enabled",
            "settings",
            "secrets",
            "jobs",
            "plan_checks",
            "panels",
            "failures",
        ]
        read_only_fields = fields

    @extend_schema_field({"type": "object", "nullable": True, "additionalProperties": {"type": "string"}})
    def get_problem(self, plugin: Plugin) -> dict[str, str] | None:
        return {"code": plugin.problem["code"], "text": plugin.problem["text"]} if plugin.problem else None

    @extend_schema_field(EnablementSerializer(many=True))
    def get_enabled(self, plugin: Plugin) -> list[dict[str, Any]]:
        known = {place.resource_name: place.slug for place in self.context["places"]} | {
            EVERYTHING: EVERYTHING
        }
        return [
            {"environment": known[row.scope], "roles": row.roles}
            for row in plugin.enablements.all()
            if row.scope in known
        ]

    def get_secrets(self, plugin: Plugin) -> list[str]:
        return sorted(plugin.stored_secrets) if plugin.secret_names else []

    @extend_schema_field(PluginJobSerializer(many=True))
    def get_jobs(self, plugin: Plugin) -> Any:
        return PluginJobSerializer(plugin.manifest.get("jobs", []), many=True).data

    def get_plan_checks(self, plugin: Plugin) -> list[str]:
        return [one["title"] for one in plugin.manifest.get("plan_checks", [])]

    def get_panels(self, plugin: Plugin) -> list[str]:
        return [one["title"] for one in plugin.manifest.get("panels", [])]


class PluginResultSerializer(serializers.ModelSerializer[PluginResult]):
    """What a job found, in short."""

    id = serializers.IntegerField(source="pk", read_only=True)
    job = serializers.UUIDField(source="job.uuid", read_only=True, allow_null=True, default=None)
    scope = serializers.CharField(read_only=True, help_text='"environment:<uuid>" or "*"')
    actor = serializers.CharField(source="actor.username", read_only=True, allow_null=True, default=None)
    counts = serializers.DictField(child=serializers.IntegerField(), read_only=True)
    numbers = serializers.DictField(child=serializers.FloatField(), read_only=True)

    class Meta:
        model = PluginResult
        fields = [
            "id",
            "name",
            "version",
            "summary",
            "scope",
            "actor",
            "counts",
            "numbers",
            "job",
            "created_at",
        ]
        read_only_fields = fields


class PluginResultDetailSerializer(PluginResultSerializer):
    findings = serializers.ListField(child=serializers.DictField(), read_only=True)
    tables = serializers.ListField(child=serializers.DictField(), read_only=True)
    payload = serializers.DictField(source="data", read_only=True, help_text="what it keeps beside, as JSON")

    class Meta(PluginResultSerializer.Meta):
        fields = [*PluginResultSerializer.Meta.fields, "findings", "tables", "payload"]
        read_only_fields = fields


class PluginRunSerializer(serializers.Serializer[Any]):
    environment = serializers.CharField(
        max_length=200,
        required=False,
        default=EVERYTHING,
        help_text='a slug; "*" for jobs that read no assets',
    )
    values = serializers.DictField(required=False, help_text="of the job's own fields")


class ForgottenSerializer(serializers.Serializer[Any]):
    left = serializers.DictField(
        child=serializers.IntegerField(), help_text="what was removed: words, number"
    )


class PluginViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Plugin]):
    """What is installed, where it is on, and its jobs."""

    lookup_field = "name"
    serializer_class = PluginSerializer
    queryset = Plugin.objects.none()
    filter_backends: list[Any] = []

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        policy.require_anywhere(request.user, Permission.PLUGIN_VIEW)

    def get_queryset(self) -> QuerySet[Plugin]:
        return services.all_plugins()

    def get_serializer_context(self) -> dict[str, Any]:
        return {**super().get_serializer_context(), "places": places.seen_by(self.request.user)}

    def get_object(self) -> Plugin:
        plugin = self.get_queryset().filter(name=self.kwargs["name"]).first()
        if plugin is None:
            raise NotFoundError("There is no such plugin.")
        return plugin

    def _scope(self, text: str) -> str:
        return services.require_seen(text, self.request.user)

    def _answer(self, code: int = status.HTTP_200_OK) -> Response:
        return Response(self.get_serializer(self.get_object()).data, status=code)

    @extend_schema(request=None, responses={202: JobDetailSerializer})
    @action(detail=False, methods=["post"])
    def look(self, request: Request) -> Response:
        """Have what is installed looked at."""
        key = idempotency_key(request)
        return accepted(
            services.request_look(actor=request.user, source=Source.API, idempotency_key=key), request
        )

    @extend_schema(responses={200: ForgottenSerializer})
    @action(detail=True, methods=["delete"])
    def forget(self, request: Request, name: str) -> Response:
        """Remove what it left: settings, results, schedules; and the plugin unless it is still installed."""
        return Response({"left": services.forget(self.get_object(), actor=request.user, source=Source.API)})

    @extend_schema(request=OpenApiTypes.OBJECT, responses=PluginSerializer)
    @action(detail=True, methods=["patch"])
    def configure(self, request: Request, name: str) -> Response:
        """Change settings by name; what is not given stays. Errors by field: 422."""
        given = serializers.DictField().run_validation(request.data)
        services.configure(self.get_object(), given, actor=request.user, source=Source.API)
        return self._answer()

    @extend_schema(request=EnablementSerializer, responses=PluginSerializer)
    @action(detail=True, methods=["post"])
    def enable(self, request: Request, name: str) -> Response:
        """Switch it on somewhere; asking again changes the roles."""
        given = EnablementSerializer(data=request.data)
        plugin = self.get_object()
        given.is_valid(raise_exception=True)
        values = given.validated_data
        services.enable(
            plugin,
            self._scope(values["environment"]),
            roles=values.get("roles", []),
            actor=request.user,
            source=Source.API,
        )
        return self._answer()

    @extend_schema(request=PlaceSerializer, responses=PluginSerializer)
    @action(detail=True, methods=["post"])
    def disable(self, request: Request, name: str) -> Response:
        """Switch it off there; its settings and results stay."""
        given = PlaceSerializer(data=request.data)
        plugin = self.get_object()
        given.is_valid(raise_exception=True)
        scope = self._scope(given.validated_data["environment"])
        services.disable(plugin, scope, actor=request.user, source=Source.API)
        return self._answer()

    @extend_schema(request=PluginRunSerializer, responses={202: JobDetailSerializer})
    @action(detail=True, methods=["post"])
    def run(self, request: Request, name: str, job: str) -> Response:
        """Ask for one of its jobs. The job's result has `result`, the number of what it found."""
        plugin = self.get_object()
        given = PluginRunSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        values = given.validated_data
        started = running.request_run(
            plugin,
            job,
            scope=self._scope(values["environment"]),
            values=values.get("values"),
            actor=request.user,
            source=Source.API,
            idempotency_key=idempotency_key(request),
        )
        return accepted(started, request)

    @extend_schema(responses=PluginResultSerializer(many=True))
    @action(detail=True)
    def results(self, request: Request, name: str) -> Response:
        """What its jobs found, the newest first."""
        rows = self.get_object().results.visible_to(request.user).select_related("job", "actor")
        page: Any = self.paginate_queryset(rows)  # type: ignore[arg-type]
        return self.get_paginated_response(PluginResultSerializer(page, many=True).data)

    @extend_schema(responses=PluginResultDetailSerializer)
    @action(detail=True)
    def result(self, request: Request, name: str, pk: int) -> Response:
        """All of what one job found."""
        rows = self.get_object().results.visible_to(request.user).select_related("job", "actor")
        found = rows.filter(pk=pk).first()
        if found is None:
            raise Http404("There is no such result.")
        return Response(PluginResultDetailSerializer(found).data)


def _view(actions: dict[str, str], **more: Any) -> Any:
    return PluginViewSet.as_view(actions, **more)  # type: ignore[arg-type]


urlpatterns = [
    path("plugins/", _view({"get": "list"}, pagination_class=None), name="plugins"),
    path("plugins/look/", _view({"post": "look"}), name="plugins-look"),
    path("plugins/<slug:name>/", _view({"get": "retrieve", "delete": "forget"}), name="plugin"),
    path("plugins/<slug:name>/settings/", _view({"patch": "configure"}), name="plugin-settings"),
    path("plugins/<slug:name>/enable/", _view({"post": "enable"}), name="plugin-enable"),
    path("plugins/<slug:name>/disable/", _view({"post": "disable"}), name="plugin-disable"),
    path("plugins/<slug:name>/jobs/<slug:job>/", _view({"post": "run"}), name="plugin-run"),
    path("plugins/<slug:name>/results/", _view({"get": "results"}), name="plugin-results"),
    path("plugins/<slug:name>/results/<int:pk>/", _view({"get": "result"}), name="plugin-result"),
]
