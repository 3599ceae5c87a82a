"""Routes, rules and freezes in Django's admin, changed by their services; decisions and bypasses are to look at."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from environments.models import Environment
from sstools.roles import policy
from sstools.roles.permissions import Permission
from sstools.web.by_service import SOURCE, ByService, ServiceForm

from . import services
from .models import Bypass, Decision, FreezePeriod, Protection, Route


class _ReadOnly(admin.ModelAdmin):
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class _ByRight(ByService):
    """Shown and changed with the right on the environment that it is about."""

    right: Permission
    environment = "environment"

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        if obj is None:
            return policy.can_anywhere(request.user, self.right)
        return policy.can(request.user, self.right, getattr(obj, self.environment))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_view_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_view_permission(request, obj)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request)  # type: ignore[misc]
        where = policy.scopes(request.user, self.right)
        if where.everything:
            return rows
        return rows.filter(**{f"{self.environment}__uuid__in": where.uuids("environment")})

    def for_form(self, request: HttpRequest) -> dict[str, Any]:
        where = policy.scopes(request.user, self.right)
        seen = Environment.objects.visible_to(request.user)
        mine = seen if where.everything else seen.filter(uuid__in=where.uuids("environment"))
        return {"seen": seen, "mine": mine}


class _EnvironmentForm(ServiceForm):
    """`seen`, `mine`: environments that the actor may see, and those on which they have the right."""

    seen: QuerySet[Environment] = Environment.objects.none()
    mine: QuerySet[Environment] = Environment.objects.none()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, rows in (("environment", self.mine), ("target", self.mine), ("source", self.seen)):
            if isinstance(field := self.fields.get(name), forms.ModelChoiceField):
                field.queryset = rows


class RouteForm(_EnvironmentForm):
    class Meta:
        model = Route
        fields = [
            "name",
            "description",
            "source",
            "target",
            "is_enabled",
            "approvals",
            "users",
            "groups",
            "verify",
            "roll_back_when_red",
            "webhooks",
        ]

    def apply(self) -> Route:
        # A fresh row: the form must not hand down what the service then refuses.
        row = (
            Route.objects.select_related("source", "target").get(pk=self.instance.pk)
            if self.instance.pk
            else None
        )
        return services.save_route(row, self.cleaned_data, actor=self.actor, source=SOURCE)


@admin.register(Route)
class RouteAdmin(_ByRight, admin.ModelAdmin):
    form = RouteForm
    right, environment = Permission.ROUTE_EDIT, "target"
    list_display = ["name", "source", "target", "approvals", "verify", "roll_back_when_red", "is_enabled"]
    list_filter = ["is_enabled", "target", "source"]
    search_fields = ["name", "slug", "description", "source__name", "target__name"]
    list_select_related = ["source", "target"]
    filter_horizontal = ["users", "groups", "webhooks"]
    readonly_fields = ["uuid", "slug", "created_at", "created_by"]
    actions = ["switch_on", "switch_off"]

    def remove(self, obj: Route, request: HttpRequest) -> None:
        services.delete_route(obj, actor=request.user, source=SOURCE)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Whether it may go, the service says."""
        return [str(obj) for obj in objs], {}, set(), []

    @admin.action(description="Switch on")
    def switch_on(self, request: HttpRequest, rows: QuerySet[Route]) -> None:
        self._switch(request, rows, True)

    @admin.action(description="Switch off")
    def switch_off(self, request: HttpRequest, rows: QuerySet[Route]) -> None:
        self._switch(request, rows, False)

    def _switch(self, request: HttpRequest, rows: QuerySet[Route], on: bool) -> None:
        self.each(
            request,
            rows,
            lambda row: services.save_route(row, {"is_enabled": on}, actor=request.user, source=SOURCE),
        )


class ProtectionForm(_EnvironmentForm):
    class Meta:
        model = Protection
        fields = [
            "environment",
            "approvals",
            "users",
            "groups",
            "approval_hours",
            "rollbacks_too",
            "zone_name",
            "windows",
        ]

    def apply(self) -> Protection:
        values = dict(self.cleaned_data)
        environment = values.pop("environment", None) or self.instance.environment
        values["windows"] = values.get("windows") or []
        return services.save_protection(environment, values, actor=self.actor, source=SOURCE)


@admin.register(Protection)
class ProtectionAdmin(_ByRight, admin.ModelAdmin):
    """The rules of an environment. They are never removed: without approvals and windows they ask for nothing."""

    form = ProtectionForm
    right = Permission.ENVIRONMENT_EDIT
    list_display = ["environment", "approvals", "approval_hours", "rollbacks_too", "zone_name"]
    list_filter = ["approvals", "rollbacks_too"]
    search_fields = ["environment__name", "environment__slug"]
    list_select_related = ["environment"]
    filter_horizontal = ["users", "groups"]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["environment"] if obj else []


class FreezeForm(_EnvironmentForm):
    class Meta:
        model = FreezePeriod
        fields = ["environment", "since", "until", "reason"]

    def apply(self) -> FreezePeriod:
        given = dict(self.cleaned_data)
        return services.add_freeze(given.pop("environment"), **given, actor=self.actor, source=SOURCE)


@admin.register(FreezePeriod)
class FreezePeriodAdmin(_ByRight, admin.ModelAdmin):
    """Made and ended; one that was announced is not moved without a trace."""

    form = FreezeForm
    right = Permission.ENVIRONMENT_EDIT
    list_display = ["environment", "since", "until", "reason", "created_by"]
    list_filter = ["environment"]
    search_fields = ["reason", "environment__name"]
    list_select_related = ["environment", "created_by"]
    date_hierarchy = "since"

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def remove(self, obj: FreezePeriod, request: HttpRequest) -> None:
        services.end_freeze(obj, actor=request.user, source=SOURCE)


@admin.register(Decision)
class DecisionAdmin(_ReadOnly):
    list_display = ["plan", "user", "verdict", "at", "expires_at"]
    list_filter = ["verdict"]
    search_fields = ["user__username", "plan_hash"]
    list_select_related = ["plan", "user"]
    date_hierarchy = "at"


@admin.register(Bypass)
class BypassAdmin(_ReadOnly):
    list_display = ["run", "user", "reason", "at"]
    list_select_related = ["run", "user"]
    search_fields = ["reason", "user__username"]
    date_hierarchy = "at"
