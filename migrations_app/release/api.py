"""REST: /api/v1/routes/, /api/v1/environments/<slug>/rules/, /api/v1/migrations/<uuid>/approval/."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.urls import path
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, status, viewsets
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from environments.models import Environment
from migrations_app.api.shapes import CarryingSerializer, MigrationDetailSerializer
from migrations_app.models import Migration
from sstools.errors import Invalid
from sstools.notices.models import Webhook
from sstools.roles import policy
from sstools.roles.permissions import Permission

from . import gate, services
from .models import MOST_APPROVALS, Decision, FreezePeriod, Protection, Route, Verdict

# --- The approval of a plan ---------------------------------------------------------------------------------------


class DecisionSerializer(serializers.ModelSerializer[Decision]):
    user = serializers.CharField(source="user.username", read_only=True)

    class Meta:
        model = Decision
        fields = ["user", "verdict", "comment", "at", "expires_at", "plan_hash"]
        read_only_fields = fields


class NeedSerializer(serializers.Serializer[Any]):
    of = serializers.CharField(help_text="whose rules")
    number = serializers.IntegerField(help_text="approvals that are needed")
    given = serializers.SerializerMethodField(help_text="user names whose approvals count now")

    def get_given(self, need: gate.Need) -> list[str]:
        return [decision.user.get_username() for decision in need.given]


class ApprovalSerializer(serializers.Serializer[Any]):
    plan_hash = serializers.CharField()
    is_needed = serializers.BooleanField()
    is_given = serializers.BooleanField()
    needs = NeedSerializer(many=True)
    decisions = DecisionSerializer(many=True)
    window_is_open = serializers.BooleanField(help_text="whether the target may be written to now")
    opens_at = serializers.DateTimeField(allow_null=True)


class DecisionRequestSerializer(serializers.Serializer[Any]):
    plan_hash = serializers.CharField(
        min_length=12,
        max_length=64,
        help_text="of the plan that was looked at, its first 12 characters at least",
    )
    verdict = serializers.ChoiceField(choices=Verdict.choices)
    comment = serializers.CharField(required=False, allow_blank=True, default="", max_length=1000)


class ApprovalView(APIView):
    """Whether the plan of a migration is approved by whom it must be."""

    def _migration(self, request: Request, uuid: UUID) -> Migration:
        rows = Migration.objects.visible_to(request.user).select_related("source", "target", "plan")
        found: Migration = get_object_or_404(rows, uuid=uuid)
        if found.plan is None:
            raise Invalid("There is no plan yet.", code="no_plan", status=409)
        return found

    @extend_schema(responses=ApprovalSerializer)
    def get(self, request: Request, uuid: UUID) -> Response:
        """What is needed, and what was said of this very plan."""
        migration = self._migration(request, uuid)
        plan = migration.plan
        assert plan is not None
        approval = gate.approval_of(migration, plan)
        window = gate.protection_of(migration.target).opening(timezone.now())
        shown = {
            "plan_hash": plan.hash,
            "is_needed": approval.is_needed,
            "is_given": approval.is_given,
            "needs": approval.needs,
            "decisions": gate.decisions_on(plan),
            "window_is_open": window.is_open,
            "opens_at": window.opens_at,
        }
        return Response(ApprovalSerializer(shown).data)

    @extend_schema(request=DecisionRequestSerializer, responses=ApprovalSerializer)
    def post(self, request: Request, uuid: UUID) -> Response:
        """Approve or reject the plan that was looked at; never one's own."""
        migration = self._migration(request, uuid)
        asked = DecisionRequestSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        services.decide(migration, actor=request.user, source="api", **asked.validated_data)
        return self.get(request, uuid)


class AskView(APIView):
    """Telling those who may approve."""

    @extend_schema(request=None, responses={200: serializers.ListSerializer(child=serializers.CharField())})
    def post(self, request: Request, uuid: UUID) -> Response:
        """Ask for the approval of the current plan. Answers with the names of those who were told."""
        rows = Migration.objects.visible_to(request.user).select_related("source", "target", "plan")
        people = services.ask_for_approval(
            get_object_or_404(rows, uuid=uuid), actor=request.user, source="api"
        )
        return Response([user.get_username() for user in people])


# --- Rules and freezes --------------------------------------------------------------------------------------------


class WindowSerializer(serializers.Serializer[Any]):
    days = serializers.ListField(
        child=serializers.IntegerField(min_value=0, max_value=6), help_text="0 is Monday"
    )
    start = serializers.CharField(max_length=5, help_text="HH:MM")
    end = serializers.CharField(max_length=5, help_text="HH:MM; before the start: past midnight")


class ApproversSerializer(serializers.Serializer[Any]):
    approvals = serializers.IntegerField(min_value=0, max_value=MOST_APPROVALS, required=False)
    users = serializers.ListField(
        child=serializers.CharField(max_length=150), required=False, help_text="names of users"
    )
    groups = serializers.ListField(
        child=serializers.CharField(max_length=255), required=False, help_text="names of groups"
    )


def _people(values: dict[str, Any]) -> dict[str, Any]:
    """With users and groups in the place of their names. Raises Invalid."""
    users, groups = services.find_people(values.get("users", []), values.get("groups", []))
    return {
        **values,
        **({"users": users} if "users" in values else {}),
        **({"groups": groups} if "groups" in values else {}),
    }


class RulesSerializer(ApproversSerializer):
    approval_hours = serializers.IntegerField(
        min_value=0,
        max_value=services.MOST_HOURS,
        required=False,
        help_text="how long an approval counts; 0: no end",
    )
    rollbacks_too = serializers.BooleanField(required=False)
    zone_name = serializers.CharField(max_length=64, required=False)
    windows = WindowSerializer(many=True, required=False)


class FreezeSerializer(serializers.ModelSerializer[FreezePeriod]):
    created_by = serializers.CharField(
        source="created_by.username", read_only=True, default=None, allow_null=True
    )

    class Meta:
        model = FreezePeriod
        fields = ["uuid", "since", "until", "reason", "created_by"]
        read_only_fields = ["uuid"]


def _environment(request: Request, slug: str) -> Environment:
    found: Environment = get_object_or_404(Environment.objects.visible_to(request.user), slug=slug)
    return found


class RulesView(APIView):
    """Who must approve what is written to an environment, and when it may be."""

    @extend_schema(responses=RulesSerializer)
    def get(self, request: Request, slug: str) -> Response:
        return Response(services.shown_protection(gate.protection_of(_environment(request, slug))))

    @extend_schema(request=RulesSerializer, responses=RulesSerializer)
    def patch(self, request: Request, slug: str) -> Response:
        """What is not named stays."""
        environment = _environment(request, slug)
        policy.require(request.user, Permission.ENVIRONMENT_EDIT, environment)
        asked = RulesSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        values = _people(dict(asked.validated_data))
        if "windows" in values:
            values["windows"] = [dict(window) for window in values["windows"]]
        row: Protection = services.save_protection(environment, values, actor=request.user, source="api")
        return Response(services.shown_protection(row))


class FreezesView(APIView):
    """Times in which an environment is not written to."""

    @extend_schema(responses=FreezeSerializer(many=True))
    def get(self, request: Request, slug: str) -> Response:
        rows = FreezePeriod.objects.filter(
            environment=_environment(request, slug), until__gt=timezone.now()
        ).select_related("created_by")
        return Response(FreezeSerializer(rows, many=True).data)

    @extend_schema(request=FreezeSerializer, responses={201: FreezeSerializer})
    def post(self, request: Request, slug: str) -> Response:
        environment = _environment(request, slug)
        policy.require(request.user, Permission.ENVIRONMENT_EDIT, environment)
        asked = FreezeSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        row = services.add_freeze(environment, actor=request.user, source="api", **asked.validated_data)
        return Response(FreezeSerializer(row).data, status=status.HTTP_201_CREATED)


class FreezeView(APIView):
    @extend_schema(responses={204: None})
    def delete(self, request: Request, uuid: UUID) -> Response:
        """End a freeze, or take it back before it begins."""
        rows = FreezePeriod.objects.filter(environment__in=Environment.objects.visible_to(request.user))
        services.end_freeze(get_object_or_404(rows, uuid=uuid), actor=request.user, source="api")
        return Response(status=status.HTTP_204_NO_CONTENT)


# --- Routes -------------------------------------------------------------------------------------------------------


class RouteSerializer(ApproversSerializer):
    slug = serializers.CharField(read_only=True)
    name = serializers.CharField(max_length=100)
    description = serializers.CharField(max_length=500, required=False, allow_blank=True)
    source = serializers.CharField(max_length=60, help_text="slug of the environment")  # type: ignore[assignment]
    target = serializers.CharField(max_length=60, help_text="slug of the environment")
    verify = serializers.BooleanField(required=False)
    roll_back_when_red = serializers.BooleanField(required=False)
    prune = serializers.BooleanField(required=False, help_text="needs migration:prune to switch on")
    carrying = CarryingSerializer(
        required=False, help_text="what comes along with migrations by this route, unless they say otherwise"
    )
    webhooks = serializers.ListField(
        child=serializers.CharField(max_length=100), required=False, help_text="names"
    )
    is_enabled = serializers.BooleanField(required=False)

    def to_representation(self, instance: Route) -> dict[str, Any]:
        return {"slug": instance.slug, **services.shown_route(instance)}


class RouteMigrationSerializer(serializers.Serializer[Any]):
    selection = serializers.ListField(
        child=serializers.UUIDField(), min_length=1, help_text="uuids of dashboards, charts or datasets"
    )
    title = serializers.CharField(required=False, allow_blank=True, default="", max_length=200)
    with_dependencies = serializers.BooleanField(required=False, default=True)
    carrying = CarryingSerializer(required=False, help_text="instead of what the route says")


class RouteViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Route]):
    """Saved ways from one environment to another."""

    lookup_field = "slug"
    serializer_class = RouteSerializer
    queryset = Route.objects.none()
    filter_backends: list[Any] = []

    def get_queryset(self) -> QuerySet[Route]:
        return Route.objects.visible_to(self.request.user).select_related("source", "target")

    def create(self, request: Request) -> Response:
        policy.require_anywhere(request.user, Permission.ROUTE_EDIT)
        asked = RouteSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        route = services.save_route(None, self._values(asked), actor=request.user, source="api")
        return Response(RouteSerializer(route).data, status=status.HTTP_201_CREATED)

    def partial_update(self, request: Request, slug: str) -> Response:
        route = self.get_object()
        policy.require(request.user, Permission.ROUTE_EDIT, route.target)
        asked = RouteSerializer(data=request.data, partial=True)
        asked.is_valid(raise_exception=True)
        route = services.save_route(route, self._values(asked), actor=request.user, source="api")
        return Response(RouteSerializer(route).data)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, slug: str) -> Response:
        services.delete_route(self.get_object(), actor=request.user, source="api")
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(request=RouteMigrationSerializer, responses={201: MigrationDetailSerializer})
    def migrate(self, request: Request, slug: str) -> Response:
        """Start a migration that takes this route."""
        asked = RouteMigrationSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        values = {
            **asked.validated_data,
            "selection": [str(uuid) for uuid in asked.validated_data["selection"]],
        }
        migration = services.start_by_route(self.get_object(), actor=request.user, **values)
        context = self.get_serializer_context()
        return Response(
            MigrationDetailSerializer(migration, context=context).data, status=status.HTTP_201_CREATED
        )

    def _values(self, asked: RouteSerializer) -> dict[str, Any]:
        values = _people(dict(asked.validated_data))
        seen = Environment.objects.visible_to(self.request.user)
        for name in ("source", "target"):
            if name in values:
                values[name] = seen.filter(slug=values[name]).first()
                if values[name] is None:
                    raise Invalid(
                        "Some values are not right.", errors={name: ["There is no such environment."]}
                    )
        if "webhooks" in values:
            wanted = set(values["webhooks"])
            hooks = list(Webhook.objects.visible_to(self.request.user).filter(name__in=wanted))
            if missing := wanted - {hook.name for hook in hooks}:
                raise Invalid(
                    "Some values are not right.", errors={"webhooks": [f"No webhook {sorted(missing)[0]}."]}
                )
            values["webhooks"] = hooks
        return values


def _routes(actions: dict[str, str]) -> Any:
    return RouteViewSet.as_view(actions)  # type: ignore[arg-type]


urlpatterns = [
    path("migrations/<uuid:uuid>/approval/", ApprovalView.as_view(), name="migration-approval"),
    path("migrations/<uuid:uuid>/approval/ask/", AskView.as_view(), name="migration-approval-ask"),
    path("environments/<slug:slug>/rules/", RulesView.as_view(), name="environment-rules"),
    path("environments/<slug:slug>/freezes/", FreezesView.as_view(), name="environment-freezes"),
    path("freezes/<uuid:uuid>/", FreezeView.as_view(), name="freeze"),
    path("routes/", _routes({"get": "list", "post": "create"}), name="routes"),
    path(
        "routes/<slug:slug>/",
        _routes({"get": "retrieve", "patch": "partial_update", "delete": "destroy"}),
        name="route",
    ),
    path("routes/<slug:slug>/migrations/", _routes({"post": "migrate"}), name="route-migrations"),
]
