"""Plugins to look at, and a few actions by their services; settings are made on their pages."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from sstools.resources import EVERYTHING
from sstools.roles import policy
from sstools.roles.permissions import Permission
from sstools.web.by_service import SOURCE, ByService

from . import services
from .models import Enablement, Plugin, PluginResult


class _ReadOnly(admin.ModelAdmin):
    show_full_result_count = False

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return policy.can(request.user, Permission.PLUGIN_VIEW)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Plugin)
class PluginAdmin(ByService, _ReadOnly):
    list_display = ["name", "title", "version", "distribution", "is_present", "shown_state", "looked_at"]
    list_filter = ["is_present", "is_builtin"]
    search_fields = ["name", "title", "distribution"]
    exclude = ["secrets", "manifest", "mark"]
    actions = ["switch_on", "switch_off", "forget"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Plugin]:
        return services.all_plugins()

    @admin.display(description="state")
    def shown_state(self, obj: Plugin) -> str:
        return obj.state.removeprefix("plugin_")

    @admin.action(description="Enable on everything")
    def switch_on(self, request: HttpRequest, rows: QuerySet[Plugin]) -> None:
        self.each(
            request,
            rows,
            lambda row: services.enable(row, EVERYTHING, actor=request.user, source=SOURCE) and "it is on",
        )

    @admin.action(description="Disable everywhere")
    def switch_off(self, request: HttpRequest, rows: QuerySet[Plugin]) -> None:
        def off(row: Plugin) -> str:
            for one in list(row.enablements.all()):
                services.disable(row, one.scope, actor=request.user, source=SOURCE)
            return "it is off"

        self.each(request, rows, off)

    @admin.action(description="Forget what it left")
    def forget(self, request: HttpRequest, rows: QuerySet[Plugin]) -> None:
        def forget(row: Plugin) -> str:
            left = services.forget(row, actor=request.user, source=SOURCE)
            return ", ".join(f"{number} {words}" for words, number in left.items()) + " removed"

        self.each(request, rows, forget)


@admin.register(Enablement)
class EnablementAdmin(_ReadOnly):
    list_display = ["plugin", "scope", "roles", "created_by", "created_at"]
    list_select_related = ["plugin", "created_by"]


@admin.register(PluginResult)
class PluginResultAdmin(_ReadOnly):
    list_display = ["plugin", "name", "scope", "summary", "actor", "created_at"]
    list_filter = ["plugin", "name"]
    list_select_related = ["plugin", "actor"]
    exclude = ["data"]
