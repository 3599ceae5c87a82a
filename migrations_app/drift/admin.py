"""To look at; findings are answered on their pages, where that is checked and written down."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from .models import Check, Finding, Watch


class _ReadOnly(admin.ModelAdmin):
    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Finding)
class FindingAdmin(_ReadOnly):
    list_display = ["title", "kind", "target", "how", "state", "changed_by", "changed_on", "updated_at"]
    list_filter = ["state", "how", "kind", "target"]
    search_fields = ["title", "asset_uuid", "changed_by"]
    list_select_related = ["target"]


@admin.register(Check)
class CheckAdmin(_ReadOnly):
    list_display = ["target", "at"]
    list_select_related = ["target"]


@admin.register(Watch)
class WatchAdmin(_ReadOnly):
    list_display = ["route", "user", "since"]
    list_select_related = ["route", "user"]
