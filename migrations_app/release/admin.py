"""To look at; rules, routes and decisions are changed on their pages, where they are checked and written down."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from .models import Bypass, Decision, FreezePeriod, Protection, Route


class _ReadOnly(admin.ModelAdmin):
    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Route)
class RouteAdmin(_ReadOnly):
    list_display = ["name", "source", "target", "approvals", "is_enabled"]
    list_filter = ["is_enabled", "target"]
    search_fields = ["name"]
    list_select_related = ["source", "target"]


@admin.register(Protection)
class ProtectionAdmin(_ReadOnly):
    list_display = ["environment", "approvals", "approval_hours", "rollbacks_too", "zone_name"]
    list_select_related = ["environment"]


@admin.register(FreezePeriod)
class FreezePeriodAdmin(_ReadOnly):
    list_display = ["environment", "since", "until", "reason", "created_by"]
    list_filter = ["environment"]
    list_select_related = ["environment", "created_by"]


@admin.register(Decision)
class DecisionAdmin(_ReadOnly):
    list_display = ["plan", "user", "verdict", "at", "expires_at"]
    list_filter = ["verdict"]
    search_fields = ["user__username", "plan_hash"]
    list_select_related = ["plan", "user"]


@admin.register(Bypass)
class BypassAdmin(_ReadOnly):
    list_display = ["run", "user", "reason", "at"]
    list_select_related = ["run", "user"]
