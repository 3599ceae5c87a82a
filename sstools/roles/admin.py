"""Grants may be edited here, by superusers; the audit has them too. Tokens are only looked at."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from sstools.audit import services as audit

from .models import ApiToken, Grant


@admin.register(Grant)
class GrantAdmin(admin.ModelAdmin):
    list_display = ["role", "user", "group", "scope", "created_at", "created_by"]
    list_filter = ["role"]
    list_select_related = ["user", "group", "created_by"]
    search_fields = ["user__username", "group__name", "scope"]
    autocomplete_fields = ["user", "group"]
    readonly_fields = ["created_at", "created_by"]
    actions = None  # deleting many at once would pass by the audit

    def save_model(self, request: HttpRequest, obj: Grant, form: Any, change: bool) -> None:
        if not change:
            obj.created_by = request.user  # type: ignore[assignment]
        super().save_model(request, obj, form, change)
        data = {"role": obj.role, "scope": obj.scope, "changed": change}
        audit.record("role:grant", obj.user or obj.group, actor=request.user, data=data, source="admin")

    def delete_model(self, request: HttpRequest, obj: Grant) -> None:
        data = {"role": obj.role, "scope": obj.scope}
        audit.record("role:revoke", obj.user or obj.group, actor=request.user, data=data, source="admin")
        super().delete_model(request, obj)


@admin.register(ApiToken)
class ApiTokenAdmin(admin.ModelAdmin):
    list_display = ["name", "user", "prefix", "created_at", "last_used_at", "expires_at", "revoked_at"]
    list_select_related = ["user"]
    exclude = ["hash"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: ApiToken | None = None) -> bool:
        return False
