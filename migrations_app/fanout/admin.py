"""To look at; fan-outs are changed on their pages, where that is checked and written down."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from .models import FanOut, FanOutCopy, FanOutEntry, FanOutRun


class _ReadOnly(admin.ModelAdmin):
    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(FanOut)
class FanOutAdmin(_ReadOnly):
    list_display = ["name", "source", "created_by", "updated_at"]
    search_fields = ["name", "description"]
    list_select_related = ["source", "created_by"]


@admin.register(FanOutCopy)
class FanOutCopyAdmin(_ReadOnly):
    list_display = ["key", "fan_out", "target", "is_wanted", "updated_at"]
    list_filter = ["is_wanted", "target"]
    search_fields = ["key"]
    list_select_related = ["fan_out", "target"]


@admin.register(FanOutRun)
class FanOutRunAdmin(_ReadOnly):
    list_display = ["number", "fan_out", "state", "actor", "updated_at"]
    list_filter = ["state"]
    list_select_related = ["fan_out", "actor"]


@admin.register(FanOutEntry)
class FanOutEntryAdmin(_ReadOnly):
    list_display = ["run", "copy", "migration"]
    list_select_related = ["run__fan_out", "copy", "migration"]
